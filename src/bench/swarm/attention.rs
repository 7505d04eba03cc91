//! What those who use sockets tell the worker that drives them.

use std::time::Instant;

/// What needs to be looked after once work has been done.
#[derive(Debug, Default)]
pub struct Attention {
    /// that have something to send
    pub sockets: Vec<usize>,
    /// when there is more to do
    pub at: Option<Instant>,
}
