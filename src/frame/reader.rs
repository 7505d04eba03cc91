//! `FrameReader`: the frames of one client, read from bytes that arrive in pieces of any size.
//! A message that lies in one piece is handed out where it lies; only what is incomplete is copied and kept.

mod head;
mod payload;

use std::{fmt, ops::Range};

use self::{
    head::{FrameHead, unmask},
    payload::{Gathered, append, message},
};
use super::{FrameError, Message, Opcode};

/// Longest header of a client's frame: two bytes, a 64-bit length, the masking key.
const HEADER_BYTES_MAX: usize = 14;

/// Reads the frames of one peer. Owns memory only while a frame or a fragmented message is incomplete.
pub struct FrameReader {
    message_bytes_max: usize,
    /// In a box since it exists only between the pieces of something, while the reader exists once per socket.
    unfinished: Option<Box<Unfinished>>,
    /// The message last handed out, if it couldn't be handed out of the input; freed by the next call.
    delivered: Vec<u8>,
}

/// What has arrived of a frame, a message or both.
#[derive(Default)]
struct Unfinished {
    /// The first bytes of a header that isn't here whole.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    /// The frame whose payload isn't here whole.
    frame: Option<FrameHead>,
    /// The message whose last frame isn't here whole.
    message: Option<Gathered>,
    /// Payload of a control frame that isn't here whole.
    control: Vec<u8>,
}

/// Where a whole message lies: range of the input, or `delivered`.
struct Whole {
    opcode: Opcode,
    place: Place,
}

enum Place {
    Input(Range<usize>),
    Delivered,
}

impl FrameReader {
    /// `message_bytes_max` limits the payload of a message, all its fragments together. Control frames, which
    /// can't have more than 125 bytes, don't count.
    pub fn new(message_bytes_max: usize) -> FrameReader {
        FrameReader {
            message_bytes_max,
            unfinished: None,
            delivered: Vec::new(),
        }
    }

    /// Takes bytes from the front of `input` until one message is complete or `input` is used up.
    /// Returns how many bytes were taken, and the message if one was completed. Taken bytes are
    /// unmasked in place or copied: they are of no further use to the caller.
    ///
    /// Call it until it gives no message, even with nothing left of the input: a message that had to be put
    /// together is freed by the next call, and that last one leaves no memory behind unless something is incomplete.
    ///
    /// # Errors
    /// The first violation of RFC 6455, as soon as it can be seen: 1002 for the framing and close codes, 1007 for
    /// text and reasons that aren't UTF-8, 1009 for a message whose header declares more than the
    /// limit (C-24), before any of that payload is waited for.
    ///
    /// After an error the place in the stream is lost, and after [`Message::Close`] nothing more may come. The reader
    /// doesn't watch over that: the caller stops feeding it.
    pub fn feed<'a>(
        &'a mut self,
        input: &'a mut [u8],
    ) -> Result<(usize, Option<Message<'a>>), FrameError> {
        self.delivered = Vec::new();
        let mut taken = 0;
        match self.next_whole(input, &mut taken) {
            Ok(None) => Ok((taken, None)),
            Ok(Some(Whole { opcode, place })) => {
                let payload = match place {
                    Place::Input(range) => &input[range],
                    Place::Delivered => &self.delivered[..],
                };
                Ok((taken, Some(message(opcode, payload)?)))
            }
            Err(error) => {
                self.unfinished = None;
                Err(error)
            }
        }
    }

    /// Whether the beginning of a frame or of a fragmented message has come, and not its end.
    pub fn is_within(&self) -> bool {
        self.unfinished.is_some()
    }

    /// Whether fragments of a message have come, and not the last one. Control frames may come in between.
    pub fn is_within_message(&self) -> bool {
        let unfinished = self.unfinished.as_ref();
        unfinished.is_some_and(|unfinished| unfinished.message.is_some())
    }

    /// Goes through frames until a message is whole; `None` when the input is used up before.
    fn next_whole(
        &mut self,
        input: &mut [u8],
        taken: &mut usize,
    ) -> Result<Option<Whole>, FrameError> {
        while let Some(mut frame) = self.next_head(&input[*taken..], taken)? {
            let arrived = (input.len() - *taken).min(frame.missing_bytes());
            let range = *taken..*taken + arrived;
            *taken = range.end;
            let payload = &mut input[range.clone()];
            unmask(payload, frame.key, frame.arrived_bytes);

            let starts_here = frame.arrived_bytes == 0;
            frame.arrived_bytes += arrived;
            let ends_here = frame.missing_bytes() == 0;
            if starts_here && ends_here && frame.is_whole_message() {
                self.drop_unless_needed();
                return Ok(Some(Whole {
                    opcode: frame.opcode,
                    place: Place::Input(range),
                }));
            }
            self.gather(frame, payload)?;
            if !ends_here {
                return Ok(None);
            }
            if frame.fin {
                return self.deliver(frame).map(Some);
            }
        }
        Ok(None)
    }

    /// The frame that is under way, or the next one from its header. `None`: the header isn't here whole,
    /// and what is here of it has been taken.
    fn next_head(
        &mut self,
        input: &[u8],
        taken: &mut usize,
    ) -> Result<Option<FrameHead>, FrameError> {
        let message = match &mut self.unfinished {
            None => None,
            Some(unfinished) => {
                if let Some(frame) = unfinished.frame.take() {
                    return Ok(Some(frame));
                }
                if unfinished.header_bytes > 0 {
                    return unfinished.continue_header(input, taken, self.message_bytes_max);
                }
                unfinished.message.as_ref().map(Gathered::len)
            }
        };
        match FrameHead::parse(input, message, self.message_bytes_max)? {
            Some((frame, header_bytes)) => {
                *taken += header_bytes;
                Ok(Some(frame))
            }
            None if input.is_empty() => Ok(None),
            None => {
                let unfinished = self.unfinished.get_or_insert_default();
                unfinished.header[..input.len()].copy_from_slice(input);
                unfinished.header_bytes = input.len();
                *taken += input.len();
                Ok(None)
            }
        }
    }

    /// Keeps a piece of payload, already unmasked, and the frame if more of it is to come.
    fn gather(&mut self, frame: FrameHead, payload: &[u8]) -> Result<(), FrameError> {
        let unfinished = self.unfinished.get_or_insert_default();
        let missing_bytes = frame.missing_bytes();
        if missing_bytes > 0 {
            unfinished.frame = Some(frame);
            if payload.is_empty() {
                // Nothing but the header is here: the payload may still come in one piece and need no copy.
                return Ok(());
            }
        }
        if frame.opcode.is_control() {
            append(&mut unfinished.control, payload, missing_bytes);
            return Ok(());
        }
        let message = unfinished.message.get_or_insert_with(|| Gathered {
            is_text: frame.opcode == Opcode::Text,
            bytes: Vec::new(),
            utf8_bytes: 0,
        });
        let still_to_come = if frame.fin {
            missing_bytes
        } else {
            self.message_bytes_max
        };
        append(&mut message.bytes, payload, still_to_come);
        message.check_utf8()
    }

    /// Moves what the final frame has completed to where it can be handed out from.
    fn deliver(&mut self, frame: FrameHead) -> Result<Whole, FrameError> {
        let mut opcode = frame.opcode;
        if let Some(unfinished) = &mut self.unfinished {
            if opcode.is_control() {
                self.delivered = std::mem::take(&mut unfinished.control);
            } else if let Some(message) = unfinished.message.take() {
                if message.is_text && message.utf8_bytes < message.bytes.len() {
                    return Err(FrameError::NOT_UTF8);
                }
                opcode = message.opcode();
                self.delivered = message.bytes;
            }
        }
        self.drop_unless_needed();
        Ok(Whole {
            opcode,
            place: Place::Delivered,
        })
    }

    /// Between frames, only a fragmented message needs anything kept.
    fn drop_unless_needed(&mut self) {
        if self
            .unfinished
            .as_ref()
            .is_some_and(|unfinished| unfinished.message.is_none())
        {
            self.unfinished = None;
        }
    }

    /// Bytes of heap memory that payloads occupy at present.
    fn gathered_bytes(&self) -> usize {
        let unfinished = self.unfinished.as_ref().map_or(0, |unfinished| {
            let message = unfinished.message.as_ref();
            unfinished.control.capacity() + message.map_or(0, |message| message.bytes.capacity())
        });
        unfinished + self.delivered.capacity()
    }
}

/// Sizes only: what is gathered may hold what must not be logged.
impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReader")
            .field("message_bytes_max", &self.message_bytes_max)
            .field("gathered_bytes", &self.gathered_bytes())
            .finish()
    }
}

impl Unfinished {
    /// Adds to a header whose first bytes came earlier.
    fn continue_header(
        &mut self,
        input: &[u8],
        taken: &mut usize,
        message_bytes_max: usize,
    ) -> Result<Option<FrameHead>, FrameError> {
        let before = self.header_bytes;
        let added = input.len().min(HEADER_BYTES_MAX - before);
        let here = before + added;
        self.header[before..here].copy_from_slice(&input[..added]);
        let head = FrameHead::parse(
            &self.header[..here],
            self.message.as_ref().map(Gathered::len),
            message_bytes_max,
        )?;
        match head {
            Some((frame, header_bytes)) => {
                self.header_bytes = 0;
                *taken += header_bytes - before;
                Ok(Some(frame))
            }
            None => {
                self.header_bytes = here;
                *taken += added;
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests;
