//! A connection: bytes of one peer in, frames out. What the messages mean is the [`Conversation`]'s business. Who the
//! peer is and whether it may talk at all was decided before (see [`upgrade`](crate::upgrade)).

pub mod connection;

use std::task::{Context, Poll};

use crate::{
    frame::FrameError,
    hub::{inbox::Letter, link::End},
};

/// What is talked over a socket. Answers go into the socket's [`Link`](crate::hub::link::Link), which a conversation gets
/// when it is made. Dropping it ends it, with all that follows (C-37).
pub trait Conversation {
    /// Whether another message can be taken now; `Pending` stops the reading until `cx` is woken.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Whether the message after the last one can be taken right away: a look between the messages of one read, which costs
    /// nothing. What it keeps waiting, [`poll_ready`](Conversation::poll_ready) and a letter set going again.
    fn takes_more(&self) -> bool {
        true
    }

    fn text(&mut self, text: &str);

    fn binary(&mut self, bytes: &[u8]);

    /// The peer's frames can't be understood any more: the connection closes.
    fn violated(&mut self, error: &FrameError);

    /// The late answer to something that the conversation asked for.
    fn letter(&mut self, _: Letter) {}
}

/// What lasts as long as a connection's transport.
pub trait Held {
    /// The connection is about to go; why, its link knows.
    fn ended(&mut self, end: End);
}
