//! WebSocket frames (RFC 6455), pure: encode a frame once, parse a client's bytes in place.
//! What a message means, when to answer a ping or a close and when to give up on a peer is left to the caller.

mod masked;
mod reader;

use std::fmt;

use bytes::Bytes;

pub use masked::write_masked;
pub use reader::FrameReader;

/// Longest payload of a control frame, in bytes (RFC 6455 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Longest reason of a close frame, in bytes: what the code leaves of a control frame (C-30).
const CLOSE_REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// The final-fragment bit of a frame's first byte.
const FIN: u8 = 0x80;

/// One frame as it goes over the wire, header and payload, encoded once and shared by every socket it is sent to.
/// Server frames are unmasked and always a whole message.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Bytes);

impl Frame {
    /// A text message of any length.
    pub fn text(payload: &str) -> Frame {
        Frame::encode(Opcode::Text, &[payload.as_bytes()])
    }

    /// A binary message of any length. The Pusher protocol itself has none (C-6).
    pub fn binary(payload: &[u8]) -> Frame {
        Frame::encode(Opcode::Binary, &[payload])
    }

    /// A ping; the peer answers with a pong of the same payload. The payload is cut at 125 bytes.
    pub fn ping(payload: &[u8]) -> Frame {
        Frame::encode(Opcode::Ping, &[cut_control(payload)])
    }

    /// The answer to a ping, with that ping's payload (C-19). The payload is cut at 125 bytes.
    pub fn pong(payload: &[u8]) -> Frame {
        Frame::encode(Opcode::Pong, &[cut_control(payload)])
    }

    /// A close frame; with `code` `None` it has no body and the reason is left out. The reason is cut at
    /// 123 bytes on a character boundary (C-30). The code is sent as given: which ones may be sent is the caller's matter.
    pub fn close(code: Option<u16>, reason: &str) -> Frame {
        match code {
            None => Frame::encode(Opcode::Close, &[]),
            Some(code) => {
                let reason = cut_reason(reason).as_bytes();
                Frame::encode(Opcode::Close, &[&code.to_be_bytes(), reason])
            }
        }
    }

    /// Header and payload, ready for the wire.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// What follows the head.
    pub fn payload(&self) -> &[u8] {
        let head = match self.0.get(1).map(|length| length & 0x7f) {
            Some(126) => 4,
            Some(127) => 10,
            _ => 2,
        };
        self.0.get(head..).unwrap_or_default()
    }

    /// As [`Frame::as_bytes`], without counting one more owner.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Writes the frame into one allocation of exactly its size, which `Bytes` takes over without copying.
    fn encode(opcode: Opcode, parts: &[&[u8]]) -> Frame {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut bytes = Vec::with_capacity(header_bytes(length) + length);
        bytes.push(FIN | opcode as u8);
        match header_bytes(length) {
            2 => bytes.push(length as u8),
            4 => {
                bytes.push(126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        for part in parts {
            bytes.extend_from_slice(part);
        }
        Frame(Bytes::from(bytes))
    }
}

/// Opcode and payload length only: payloads may hold what must not be logged, and are long.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = match self.0.get(1).copied().unwrap_or_default() {
            127 => 10,
            126 => 4,
            _ => 2,
        };
        let opcode = self
            .0
            .first()
            .and_then(|byte| Opcode::from_bits(byte & 0x0f));
        f.debug_struct("Frame")
            .field("opcode", &opcode)
            .field("payload_bytes", &self.0.len().saturating_sub(header))
            .finish()
    }
}

/// Something whole that the peer has said.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message: valid UTF-8, all fragments joined.
    Text(&'a str),
    /// A binary message, all fragments joined.
    Binary(&'a [u8]),
    /// To be answered with a pong of the same payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// An answer to a ping, or a sign of life that nobody asked for.
    Pong(&'a [u8]),
    /// The peer closes; the code and reason it gave, already checked (`None`: empty body).
    Close(Option<(u16, &'a str)>),
}

/// A violation that ends the connection: the close code to send (1002, 1007 or 1009) and the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    pub code: u16,
    pub reason: &'static str,
}

impl FrameError {
    /// 1009 of the limit on messages; the text is Reverb's.
    pub const MESSAGE_TOO_BIG: FrameError = FrameError {
        code: 1009,
        reason: "Maximum message size exceeded",
    };

    /// 1007: a text message or a close reason isn't UTF-8.
    pub const NOT_UTF8: FrameError = FrameError {
        code: 1007,
        reason: "Invalid UTF-8",
    };

    /// 1002: the peer breaks the rules of RFC 6455.
    const fn protocol(reason: &'static str) -> FrameError {
        FrameError { code: 1002, reason }
    }
}

/// What a frame is, by the lower four bits of its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    /// `None`: reserved, no frame may have it.
    fn from_bits(bits: u8) -> Option<Opcode> {
        match bits {
            0x0 => Some(Opcode::Continuation),
            0x1 => Some(Opcode::Text),
            0x2 => Some(Opcode::Binary),
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xa => Some(Opcode::Pong),
            _ => None,
        }
    }

    fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// Bytes of an unmasked frame's header: the shortest form that holds `length`.
fn header_bytes(length: usize) -> usize {
    match length {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

fn cut_control(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(CONTROL_BYTES_MAX)]
}

fn cut_reason(reason: &str) -> &str {
    let mut end = reason.len().min(CLOSE_REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks header and payload, and that the frame was written into exactly one allocation of its size.
    fn check(frame: Frame, header: &[u8], payload: &[u8]) {
        let bytes = frame.into_bytes();
        assert_eq!(&bytes[..header.len()], header);
        assert_eq!(&bytes[header.len()..], payload);
        let vec = Vec::from(bytes);
        assert_eq!(vec.capacity(), vec.len());
    }

    #[test]
    fn frames_have_the_shortest_header() {
        check(Frame::text(""), &[0x81, 0], b"");
        check(Frame::text("Hällo"), &[0x81, 6], "Hällo".as_bytes());
        check(Frame::binary(&[7; 125]), &[0x82, 125], &[7; 125]);
        check(Frame::binary(&[7; 126]), &[0x82, 126, 0, 126], &[7; 126]);
        let long = vec![b'x'; 65_536];
        check(
            Frame::binary(&long[..65_535]),
            &[0x82, 126, 0xff, 0xff],
            &long[..65_535],
        );
        check(
            Frame::binary(&long),
            &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0],
            &long,
        );
    }

    #[test]
    fn c19_control_payloads_are_cut_at_125_bytes() {
        check(Frame::ping(b""), &[0x89, 0], b"");
        check(Frame::pong(b"12"), &[0x8a, 2], b"12");
        check(Frame::pong(&[1; 125]), &[0x8a, 125], &[1; 125]);
        check(Frame::ping(&[1; 126]), &[0x89, 125], &[1; 125]);
        check(Frame::pong(&[1; 70_000]), &[0x8a, 125], &[1; 125]);
    }

    #[test]
    fn c30_close_reasons_are_cut_at_123_bytes_between_characters() {
        check(Frame::close(None, "ignored"), &[0x88, 0], b"");
        check(Frame::close(Some(1000), ""), &[0x88, 2], &[3, 232]);
        check(
            Frame::close(Some(4001), "No app"),
            &[0x88, 8],
            b"\x0f\xa1No app",
        );
        let longest = "x".repeat(123);
        let body = [b"\x0f\xa1", longest.as_bytes()].concat();
        check(Frame::close(Some(4001), &longest), &[0x88, 125], &body);
        check(
            Frame::close(Some(4001), &"x".repeat(500)),
            &[0x88, 125],
            &body,
        );
        // Byte 123 is inside the 31st of these four-byte characters: 30 of them remain.
        let body = [b"\x0f\xa1", "🚀".repeat(30).as_bytes()].concat();
        check(
            Frame::close(Some(4001), &"🚀".repeat(31)),
            &[0x88, 122],
            &body,
        );
    }

    #[test]
    fn debug_shows_no_payload() {
        let check = |frame: Frame, expected: &str| assert_eq!(format!("{frame:?}"), expected);
        check(
            Frame::text("secret"),
            "Frame { opcode: Some(Text), payload_bytes: 6 }",
        );
        check(
            Frame::binary(&[0; 126]),
            "Frame { opcode: Some(Binary), payload_bytes: 126 }",
        );
        check(
            Frame::binary(&[0; 65_536]),
            "Frame { opcode: Some(Binary), payload_bytes: 65536 }",
        );
        check(
            Frame::close(None, ""),
            "Frame { opcode: Some(Close), payload_bytes: 0 }",
        );
    }
}
