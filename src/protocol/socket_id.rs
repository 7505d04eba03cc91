//! SocketId (C-14).
use std::fmt;

/// The id of a connection: two unsigned decimal integers joined by a dot (C-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId {
    first: u32,
    second: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSocketId;

impl SocketId {
    /// An id that a client may be given: both numbers must lie in 1..=1_000_000_000 (C-14); the caller brings the randomness.
    pub fn new(first: u32, second: u32) -> SocketId {
        SocketId { first, second }
    }
    /// Accepts `^\d+\.\d+$`. Ids this server never gives out (leading zeros, numbers beyond u32) are valid in form and
    /// become `0.0`, which no connection has (H-24: an unknown id is ignored).
    pub fn parse(text: &str) -> Result<SocketId, InvalidSocketId> {
        let _ = text;
        todo!()
    }
}
impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.first, self.second)
    }
}
