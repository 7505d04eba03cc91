//! The header of a frame, judged byte by byte, and the mask on what follows it.

use super::super::{CONTROL_BYTES_MAX, FIN, FrameError, Opcode};

/// The three bits of the first byte that extensions would use. We negotiate none.
const RESERVED_BITS: u8 = 0x70;

/// The bit of the second byte that says that a masking key follows.
pub(super) const MASKED: u8 = 0x80;

/// A checked header, and how far its payload has come.
#[derive(Clone, Copy)]
pub(super) struct FrameHead {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) key: [u8; 4],
    pub(super) payload_bytes: usize,
    pub(super) arrived_bytes: usize,
}

impl FrameHead {
    /// Reads the header at the front of `bytes` and returns it with its length; `None` while bytes are missing.
    /// Each byte is judged as soon as it is here, in the light of the message that is under way, of which so many bytes have come.
    pub(super) fn parse(
        bytes: &[u8],
        under_way: Option<usize>,
        message_bytes_max: usize,
    ) -> Result<Option<(FrameHead, usize)>, FrameError> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let fin = first & FIN != 0;
        let opcode = checked_opcode(first, under_way.is_some())?;

        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        if second & MASKED == 0 {
            return Err(FrameError::protocol("Unmasked frame"));
        }
        let short_length = second & !MASKED;
        if opcode.is_control() && usize::from(short_length) > CONTROL_BYTES_MAX {
            return Err(FrameError::protocol("Control frame too long"));
        }

        let Some((length, rest)) = split_length(short_length, &bytes[2..]) else {
            return Ok(None);
        };
        if length >> 63 != 0 {
            return Err(FrameError::protocol("Invalid frame length"));
        }
        let payload_bytes = usize::try_from(length).map_err(|_| FrameError::MESSAGE_TOO_BIG)?;
        if !opcode.is_control() {
            let gathered_bytes = under_way.unwrap_or(0);
            if payload_bytes > message_bytes_max.saturating_sub(gathered_bytes) {
                return Err(FrameError::MESSAGE_TOO_BIG);
            }
        }

        let Some((&key, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let frame = FrameHead {
            fin,
            opcode,
            key,
            payload_bytes,
            arrived_bytes: 0,
        };
        Ok(Some((frame, bytes.len() - rest.len())))
    }

    pub(super) fn missing_bytes(&self) -> usize {
        self.payload_bytes - self.arrived_bytes
    }

    pub(super) fn is_whole_message(&self) -> bool {
        self.fin && self.opcode != Opcode::Continuation
    }
}

/// Checks what the first byte of a header tells.
fn checked_opcode(first: u8, message_under_way: bool) -> Result<Opcode, FrameError> {
    if first & RESERVED_BITS != 0 {
        return Err(FrameError::protocol("Reserved bits set"));
    }
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(FrameError::protocol("Reserved opcode"))?;
    match opcode {
        Opcode::Continuation if !message_under_way => {
            Err(FrameError::protocol("Nothing to continue"))
        }
        Opcode::Text | Opcode::Binary if message_under_way => {
            Err(FrameError::protocol("Message begun inside another"))
        }
        Opcode::Close | Opcode::Ping | Opcode::Pong if first & FIN == 0 => {
            Err(FrameError::protocol("Fragmented control frame"))
        }
        _ => Ok(opcode),
    }
}

/// The payload length and what follows it. Longer forms than needed are taken: other servers take them too,
/// and they do no harm.
fn split_length(short_length: u8, bytes: &[u8]) -> Option<(u64, &[u8])> {
    match short_length {
        126 => {
            let (&length, rest) = bytes.split_first_chunk::<2>()?;
            Some((u16::from_be_bytes(length).into(), rest))
        }
        127 => {
            let (&length, rest) = bytes.split_first_chunk::<8>()?;
            Some((u64::from_be_bytes(length), rest))
        }
        _ => Some((short_length.into(), bytes)),
    }
}

/// Takes the mask off a piece of payload that begins `offset` bytes into its frame, eight bytes at a time.
pub(super) fn unmask(payload: &mut [u8], mut key: [u8; 4], offset: usize) {
    key.rotate_left(offset % 4);
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(word.to_ne_bytes()) {
        *byte ^= key;
    }
}
