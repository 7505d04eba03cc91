//! WebSocket frames (RFC 6455), pure: encode a frame once, parse client bytes in place.

use bytes::Bytes;

/// One frame as it goes over the wire, header and payload, encoded once and shared by every socket it is sent to.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Bytes);

impl Frame {
    pub fn text(payload: &str) -> Frame {
        let _ = payload;
        todo!()
    }
    pub fn binary(payload: &[u8]) -> Frame {
        let _ = payload;
        todo!()
    }
    pub fn ping(payload: &[u8]) -> Frame {
        let _ = payload;
        todo!()
    }
    pub fn pong(payload: &[u8]) -> Frame {
        let _ = payload;
        todo!()
    }
    /// `code` `None` = close frame without a body. The reason is cut at 123 bytes on a character boundary.
    pub fn close(code: Option<u16>, reason: &str) -> Frame {
        let _ = (code, reason);
        todo!()
    }
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// Something whole that the peer has said.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
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

/// Reads the frames of one peer. Owns memory only while a frame or a fragmented message is incomplete.
#[derive(Debug)]
pub struct FrameReader {
    message_bytes_max: usize,
}

impl FrameReader {
    pub fn new(message_bytes_max: usize) -> FrameReader {
        FrameReader { message_bytes_max }
    }
    /// Takes bytes from the front of `input` until one message is complete or `input` is used up.
    /// Returns how many bytes were taken, and the message if one was completed.
    pub fn feed<'a>(
        &'a mut self,
        input: &'a mut [u8],
    ) -> Result<(usize, Option<Message<'a>>), FrameError> {
        let _ = (input, self.message_bytes_max);
        todo!()
    }
}
