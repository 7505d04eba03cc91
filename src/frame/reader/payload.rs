//! Payloads: gathered from pieces, and as the message they make.

use std::str;

use super::super::{FrameError, Message, Opcode};

/// The payloads of a message's frames, joined and unmasked.
pub(super) struct Gathered {
    pub(super) is_text: bool,
    pub(super) bytes: Vec<u8>,
    /// So many bytes are known to be whole characters; at most three more wait for the rest of theirs.
    pub(super) utf8_bytes: usize,
}

impl Gathered {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn opcode(&self) -> Opcode {
        if self.is_text {
            Opcode::Text
        } else {
            Opcode::Binary
        }
    }

    /// Looks at the bytes that are new since the last check: text fails at its first wrong byte, not at its end.
    pub(super) fn check_utf8(&mut self) -> Result<(), FrameError> {
        if !self.is_text {
            return Ok(());
        }
        match str::from_utf8(&self.bytes[self.utf8_bytes..]) {
            Ok(_) => self.utf8_bytes = self.bytes.len(),
            Err(error) if error.error_len().is_none() => self.utf8_bytes += error.valid_up_to(),
            Err(_) => return Err(FrameError::NOT_UTF8),
        }
        Ok(())
    }
}

/// Appends. Grows to at most twice what has arrived, so memory is never given for a declared length alone, and not
/// beyond what is still to come, so that the last piece leaves none over.
pub(super) fn append(bytes: &mut Vec<u8>, piece: &[u8], still_to_come: usize) {
    let needed = bytes.len() + piece.len();
    if needed > bytes.capacity() {
        let spare = needed.min(still_to_come);
        bytes.reserve_exact(piece.len() + spare);
    }
    bytes.extend_from_slice(piece);
}

pub(super) fn message(opcode: Opcode, payload: &[u8]) -> Result<Message<'_>, FrameError> {
    match opcode {
        Opcode::Text => Ok(Message::Text(utf8(payload)?)),
        // A message carries the opcode of its first frame, so a continuation never gets here.
        Opcode::Binary | Opcode::Continuation => Ok(Message::Binary(payload)),
        Opcode::Ping => Ok(Message::Ping(payload)),
        Opcode::Pong => Ok(Message::Pong(payload)),
        Opcode::Close => Ok(Message::Close(close_body(payload)?)),
    }
}

fn close_body(payload: &[u8]) -> Result<Option<(u16, &str)>, FrameError> {
    match payload.split_first_chunk::<2>() {
        None if payload.is_empty() => Ok(None),
        None => Err(FrameError::protocol("Close frame without a whole code")),
        Some((&code, reason)) => {
            let code = u16::from_be_bytes(code);
            if !may_be_sent(code) {
                return Err(FrameError::protocol("Invalid close code"));
            }
            Ok(Some((code, utf8(reason)?)))
        }
    }
}

/// Codes that may stand in a close frame: RFC 6455 7.4 and IANA's registry (1012 to 1014), and those of libraries and
/// applications. 1004 is reserved; 1005, 1006 and 1015 stand for what never was on the wire.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

fn utf8(bytes: &[u8]) -> Result<&str, FrameError> {
    str::from_utf8(bytes).map_err(|_| FrameError::NOT_UTF8)
}
