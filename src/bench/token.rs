//! What each message carries so that it can be counted: a word found in its bytes without reading its JSON. Servers order
//! members and escape slashes as they like; of these characters none is ever escaped.
use std::fmt;

/// Bytes of a token, always the same.
pub const TOKEN_BYTES: usize = 40;

const FENCE: u8 = b'~';
const DOT: u8 = b'.';

/// Which message it is: `~SSSSSSSS.NNNNNNNNNNNN.TTTTTTTTTTTTTTTT~` in lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// A row of messages that one sender sends one after the other.
    pub stream: u32,
    /// Its place in that row, from 0, below 2^48.
    pub sequence: u64,
    /// When it was sent, in nanoseconds since the run began.
    pub sent_ns: u64,
}

impl Token {
    /// The first token in a message.
    pub fn find(message: &[u8]) -> Option<Token> {
        memchr::memchr_iter(FENCE, message).find_map(|at| Token::parse(message.get(at..)?))
    }

    /// The token with which these bytes begin.
    fn parse(bytes: &[u8]) -> Option<Token> {
        let bytes: &[u8; TOKEN_BYTES] = bytes.first_chunk()?;
        if bytes[39] != FENCE || bytes[9] != DOT || bytes[22] != DOT {
            return None;
        }
        Some(Token {
            stream: u32::try_from(number(&bytes[1..9])?).ok()?,
            sequence: number(&bytes[10..22])?,
            sent_ns: number(&bytes[23..39])?,
        })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Token {
            stream,
            sequence,
            sent_ns,
        } = self;
        write!(f, "~{stream:08x}.{sequence:012x}.{sent_ns:016x}~")
    }
}

/// At most 16 lower-case hex digits.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token {
        stream: 7,
        sequence: 0xfffe_dcba_9876,
        sent_ns: 1_700_000_000_000,
    };

    #[test]
    fn tokens_are_found_however_servers_write_their_json() {
        let check = |message: &str| assert_eq!(Token::find(message.as_bytes()), Some(TOKEN));
        let token = TOKEN.to_string();
        assert_eq!(token.len(), TOKEN_BYTES);
        check(&token);
        check(&format!(
            r#"{{"event":"e","channel":"c","data":"{{\"t\":\"{token}\"}}"}}"#
        ));
        check(&format!(
            r#"{{"event":"e","data":"{{\"url\":\"http:\\/\\/~x\",\"t\":\"{token}\"}}","channel":"c"}}"#
        ));
        check(&format!("{{\"data\":{{\"t\":\"{token}\"}}}}"));
        check(&format!("~~{token}~"));
        // the second one is somebody else's
        check(&format!("{token}{}", token.replace('7', "1")));
    }

    #[test]
    fn what_is_no_token_is_none() {
        let check = |message: &str| assert_eq!(Token::find(message.as_bytes()), None, "{message}");
        let token = TOKEN.to_string();
        check("");
        check("~");
        check(&"~".repeat(100));
        check(&token[..39]);
        check(&token[1..]);
        check(&token.to_uppercase());
        check(&token.replace('.', ","));
        check(&token.replace("00000007", "0000000g"));
        check(&format!("{} ", &token[..39]));
    }

    #[test]
    fn every_number_comes_back() {
        for bits in 0..64 {
            let token = Token {
                stream: (1_u64 << bits.min(31)) as u32,
                sequence: 1 << bits.min(47),
                sent_ns: 1 << bits,
            };
            assert_eq!(Token::find(token.to_string().as_bytes()), Some(token));
        }
    }
}
