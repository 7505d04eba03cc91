//! Finds the messages in what a server sends over a WebSocket (RFC 6455): in place, without an allocation unless a message
//! comes in fragments. What they mean is the socket's matter.

/// Bytes of the largest message that is taken; a presence channel's list of 10,000 members has about half of that.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// One thing that a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// a text or binary message
    Message(&'a [u8]),
    Ping(&'a [u8]),
    Pong,
    Close {
        code: Option<u16>,
        reason: &'a [u8],
    },
}

/// What no server may send. `Display` is a part of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a message of {0} bytes, more than the {MESSAGE_BYTES_MAX} that are read")]
    TooLong(u64),
    #[error("a frame with reserved bits, opcodes or a mask")]
    Reserved,
    #[error("fragments in the wrong order")]
    Fragments,
}

/// What has to be remembered between two reads: the fragments of an unfinished message.
#[derive(Debug, Default)]
pub struct Scanner {
    fragments: Option<Vec<u8>>,
    /// they have been handed out
    is_whole: bool,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame that is there as a whole.
struct Frame<'a> {
    is_last: bool,
    opcode: u8,
    payload: &'a [u8],
    /// with its header
    bytes: usize,
}

impl Scanner {
    /// The next item of `bytes`, from `at` on, which moves behind it. `None` if the rest of it hasn't come yet: then call
    /// again with the same bytes from `at` on and more behind them.
    pub fn next<'a>(
        &'a mut self,
        bytes: &'a [u8],
        at: &mut usize,
    ) -> Result<Option<Item<'a>>, Malformed> {
        if std::mem::take(&mut self.is_whole) {
            self.fragments = None;
        }
        while let Some(frame) = Frame::read(bytes.get(*at..).unwrap_or_default())? {
            *at += frame.bytes;
            match frame.opcode {
                TEXT | BINARY if self.fragments.is_some() => return Err(Malformed::Fragments),
                TEXT | BINARY if frame.is_last => return Ok(Some(Item::Message(frame.payload))),
                TEXT | BINARY => self.fragments = Some(frame.payload.to_vec()),
                CONTINUATION => {
                    let fragments = self.fragments.as_mut().ok_or(Malformed::Fragments)?;
                    fragments.extend_from_slice(frame.payload);
                    if fragments.len() > MESSAGE_BYTES_MAX {
                        return Err(Malformed::TooLong(fragments.len() as u64));
                    }
                    if frame.is_last {
                        self.is_whole = true;
                        let whole = self.fragments.as_ref();
                        return Ok(whole.map(|whole| Item::Message(whole)));
                    }
                }
                PING => return Ok(Some(Item::Ping(frame.payload))),
                PONG => return Ok(Some(Item::Pong)),
                CLOSE => return Ok(Some(close(frame.payload))),
                _ => return Err(Malformed::Reserved),
            }
        }
        Ok(None)
    }
}

impl Frame<'_> {
    fn read(bytes: &[u8]) -> Result<Option<Frame<'_>>, Malformed> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & 0x70 != 0 || second & 0x80 != 0 {
            return Err(Malformed::Reserved);
        }
        let (length, header) = match second {
            126 => match rest.first_chunk() {
                Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(length) => (u64::from_be_bytes(*length), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        let payload_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if payload_bytes > MESSAGE_BYTES_MAX {
            return Err(Malformed::TooLong(length));
        }
        let end = header + payload_bytes;
        Ok(bytes.get(header..end).map(|payload| Frame {
            is_last: first & 0x80 != 0,
            opcode: first & 0x0f,
            payload,
            bytes: end,
        }))
    }
}

fn close(payload: &[u8]) -> Item<'_> {
    match payload {
        [high, low, reason @ ..] => Item::Close {
            code: Some(u16::from_be_bytes([*high, *low])),
            reason,
        },
        _ => Item::Close {
            code: None,
            reason: b"",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the items are, in words.
    fn scan(pieces: &[&[u8]]) -> Result<Vec<String>, Malformed> {
        let mut scanner = Scanner::default();
        let mut waiting = Vec::new();
        let mut found = Vec::new();
        for piece in pieces {
            waiting.extend_from_slice(piece);
            let mut at = 0;
            while let Some(item) = scanner.next(&waiting, &mut at)? {
                found.push(match item {
                    Item::Message(text) => format!("message {}", String::from_utf8_lossy(text)),
                    Item::Ping(text) => format!("ping {}", String::from_utf8_lossy(text)),
                    Item::Pong => "pong".to_owned(),
                    Item::Close { code, reason } => {
                        format!("close {code:?} {}", String::from_utf8_lossy(reason))
                    }
                });
            }
            waiting.drain(..at);
        }
        Ok(found)
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            short @ ..126 => bytes.push(short as u8),
            medium @ ..65_536 => {
                bytes.push(126);
                bytes.extend((medium as u16).to_be_bytes());
            }
            long => {
                bytes.push(127);
                bytes.extend((long as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn items_are_the_same_however_the_bytes_are_cut() {
        let medium = "m".repeat(126);
        let bytes = [
            frame(0x81, b"first"),
            frame(0x82, b""),
            frame(0x89, b"are you there"),
            frame(0x01, b"in "),
            frame(0x00, b"three "),
            frame(0x8a, b""),
            frame(0x80, b"pieces"),
            frame(0x81, medium.as_bytes()),
            frame(0x81, b"last"),
            frame(0x88, b"\x10\x04gone"),
            frame(0x88, b""),
        ]
        .concat();
        let medium = format!("message {medium}");
        let expected = [
            "message first",
            "message ",
            "ping are you there",
            "pong",
            "message in three pieces",
            medium.as_str(),
            "message last",
            "close Some(4100) gone",
            "close None ",
        ];
        let check = |pieces: &[&[u8]]| assert_eq!(scan(pieces).expect("well-formed"), expected);
        check(&[&bytes]);
        for size in 1..bytes.len() {
            check(&bytes.chunks(size).collect::<Vec<_>>());
            check(&[&bytes[..size], &bytes[size..]]);
        }
    }

    #[test]
    fn long_messages_are_taken_up_to_the_limit() {
        let long = vec![b'x'; MESSAGE_BYTES_MAX];
        let bytes = frame(0x81, &long);
        let found = scan(&[&bytes[..100], &bytes[100..]]).expect("well-formed");
        assert_eq!(found[0].len(), "message ".len() + long.len());
        let header = frame(0x81, &[&long[..], b"y"].concat())[..10].to_vec();
        assert_eq!(scan(&[&header]), Err(Malformed::TooLong(1_048_577)));
    }

    #[test]
    fn what_no_server_may_send_is_refused() {
        let check = |bytes: &[u8], expected: Malformed| assert_eq!(scan(&[bytes]), Err(expected));
        check(&[0xc1, 0], Malformed::Reserved);
        check(&[0x81, 0x80, 0, 0, 0, 0], Malformed::Reserved);
        check(&[0x83, 0], Malformed::Reserved);
        check(&[0x80, 0], Malformed::Fragments);
        check(&[0x01, 0, 0x81, 0], Malformed::Fragments);
        check(
            &[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255],
            Malformed::TooLong(u64::MAX),
        );
        let half = frame(0x01, &vec![b'x'; MESSAGE_BYTES_MAX]);
        let bytes = [&half[..], &frame(0x00, b"y")].concat();
        check(&bytes, Malformed::TooLong(1_048_577));
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut state = 1_u64;
        for _ in 0..2_000 {
            let bytes: Vec<u8> = (0..64)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            let _ = scan(&bytes.chunks(7).collect::<Vec<_>>());
        }
    }
}
