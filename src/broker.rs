//! Broker: how an event reaches the subscribers of other nodes. Today a node is alone.

pub mod local;

use crate::directory::{Full, Publication};

/// Makes an event reach every subscriber on every node, in one order per channel.
pub trait Broker: Send + Sync {
    /// Hands the event on without waiting. [`Full`]: a worker of this node has no room, nothing happened anywhere.
    fn publish(&self, publication: &Publication) -> Result<(), Full>;
}
