//! The client's end of the wire: writes masked frames, right or wrong, and reads what a server sends.

use std::fmt;

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;

/// The final-fragment bit of a frame's first byte.
pub const FIN: u8 = 0x80;

/// A frame from a server.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// The length and the beginning: payloads have up to 16 MiB.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.payload[..self.payload.len().min(40)];
        let (opcode, length) = (self.opcode, self.payload.len());
        write!(
            f,
            "{opcode:#x}[{length}] {:?}",
            start.escape_ascii().to_string()
        )
    }
}

/// A client's frame with the given first byte, the shortest form of length, and a key that differs between frames.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut bytes = Vec::with_capacity(14 + length);
    bytes.push(first);
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let seed = (length as u32) << 8 | u32::from(first);
    let key = (seed + 1).wrapping_mul(0x9e37_79b9).to_be_bytes();
    bytes.extend_from_slice(&key);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    mask(&mut bytes[start..], key);
    bytes
}

/// Eight bytes at a time: byte by byte would take most of the tests' time in a build without optimisation.
fn mask(payload: &mut [u8], [a, b, c, d]: [u8; 4]) {
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(word.to_ne_bytes()) {
        *byte ^= key;
    }
}

/// The body of a close frame.
pub fn close_body(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

/// Takes one server frame from the front of `bytes`; `None` while it isn't whole.
///
/// # Panics
/// If the frame is none that a server may send: masked, with reserved bits, in a longer form than needed, or a
/// fragment (Resound sends whole messages).
pub fn take_reply(bytes: &[u8]) -> Option<(Reply, usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    assert_eq!(first & 0xf0, FIN, "a whole message without reserved bits");
    assert_eq!(second & 0x80, 0, "unmasked");
    let (length, rest) = match second {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            assert!(length > 125, "shortest form");
            (length, rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_be_bytes(*length)).expect("a length in memory");
            assert!(length > 0xffff, "shortest form");
            (length, rest)
        }
        _ => (usize::from(second), rest),
    };
    let opcode = first & 0x0f;
    assert!(opcode < CLOSE || length <= 125, "short control frame");
    let payload = rest.get(..length)?.to_vec();
    let taken = bytes.len() - rest.len() + length;
    Some((Reply { opcode, payload }, taken))
}
