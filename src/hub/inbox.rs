//! What other threads may ask of a hub, and the handle to ask it. Commands are pushed while the directory holds the
//! channel's lock, so that every worker sees one order; the queue itself takes no lock.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};
use std::time::{Duration, Instant};
use std::{any::Any, fmt};

use tokio::sync::{Notify, mpsc, oneshot};

use super::SocketKey;
use crate::{
    frame::Frame,
    protocol::{channel::ChannelName, codes::CloseReason, socket_id::SocketId},
};

/// A worker thread, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerId(pub u16);

/// A channel of one app inside this process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChannelKey {
    /// [`App::index`](crate::apps::App::index)
    pub app: u32,
    pub name: ChannelName,
}

/// A place in the order of everything that happens to a channel. Never repeats and never goes back, also when the
/// channel is vacated and occupied again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// What a hub can be asked to do.
#[derive(Debug)]
pub enum Command {
    /// Hand a frame to the channel's subscribers of this worker.
    Deliver {
        channel: ChannelKey,
        /// subscribers that joined at this position or later don't get it
        position: Position,
        frame: Frame,
        except: Option<SocketId>,
        /// when the event came in: how long it took is measured from here
        published: Instant,
    },
    /// Close the channel's subscribers of this worker.
    Close {
        channel: ChannelKey,
        /// subscribers that joined at this position or later are not meant
        position: Position,
        reason: CloseReason,
    },
    /// Subscribe a socket that asked for it a while ago, or tell it why not.
    Admit(Box<Admission>),
    /// Read what has come for the sockets by now, then say so: after a standstill whoever has gone meanwhile has left his
    /// channels by then.
    CatchUp { done: oneshot::Sender<()> },
    /// Close every socket of an app.
    CloseApp { app: u32, reason: CloseReason },
    /// Close every socket with 4200, spread over this time (C-34).
    Drain { over: Duration },
}

/// The late answer to a socket of this hub.
pub struct Admission {
    pub socket: SocketKey,
    /// whose it was: the key may have gone to another socket since
    pub socket_id: SocketId,
    /// the channels that it is on from now on, and since when
    pub channels: Vec<(ChannelKey, Position)>,
    /// for the socket, before anything else of the channels
    pub frames: Vec<Frame>,
    /// for the socket's conversation. Dropped unread if there is none any more.
    pub letter: Letter,
}

/// What a conversation asked for, answered by whoever it asked. The hub only passes it on.
pub struct Letter(pub Box<dyn Any + Send>);

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("socket_id", &self.socket_id)
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

/// The handle to one hub's queue.
#[derive(Clone, Debug)]
pub struct Inbox {
    sender: mpsc::UnboundedSender<Command>,
    gauge: Arc<Gauge>,
}

/// The hub's end of the queue.
#[derive(Debug)]
pub struct Commands {
    receiver: mpsc::UnboundedReceiver<Command>,
    gauge: Arc<Gauge>,
}

#[derive(Debug)]
struct Gauge {
    depth: AtomicUsize,
    depth_max: usize,
    /// how often it has become full
    fillings: AtomicU64,
    room: Notify,
}

impl Gauge {
    fn is_full(&self) -> bool {
        self.depth.load(Ordering::Relaxed) >= self.depth_max
    }
}

/// A queue that counts as full when `depth_max` commands wait. Publishers look before they push; what must never be
/// lost (a member that left) is pushed all the same, and connections stop reading while any inbox is full.
pub fn inbox(depth_max: usize) -> (Inbox, Commands) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let gauge = Arc::new(Gauge {
        depth: AtomicUsize::new(0),
        depth_max,
        fillings: AtomicU64::new(0),
        room: Notify::new(),
    });
    (
        Inbox {
            sender,
            gauge: gauge.clone(),
        },
        Commands { receiver, gauge },
    )
}

impl Inbox {
    pub fn is_full(&self) -> bool {
        self.gauge.is_full()
    }

    /// Commands that wait.
    pub fn depth(&self) -> usize {
        self.gauge.depth.load(Ordering::Relaxed)
    }

    /// How often the queue has become full.
    pub fn fillings(&self) -> u64 {
        self.gauge.fillings.load(Ordering::Relaxed)
    }

    /// Queues a command. A worker that is gone takes nothing: its sockets are gone with it.
    pub fn push(&self, command: Command) {
        let before = self.gauge.depth.fetch_add(1, Ordering::Relaxed);
        if before + 1 == self.gauge.depth_max {
            self.gauge.fillings.fetch_add(1, Ordering::Relaxed);
        }
        if self.sender.send(command).is_err() {
            self.gauge.depth.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Completes when the hub has made room after a time of being full. May complete early: look again.
    pub fn room(&self) -> tokio::sync::futures::Notified<'_> {
        self.gauge.room.notified()
    }
}

impl Commands {
    /// Waits for commands and takes up to `limit` of them; 0 = no more senders.
    pub async fn take(&mut self, batch: &mut Vec<Command>, limit: usize) -> usize {
        let taken = self.receiver.recv_many(batch, limit).await;
        self.note_taken(taken);
        taken
    }

    /// Takes what is there without waiting.
    pub fn take_now(&mut self, batch: &mut Vec<Command>, limit: usize) {
        let mut taken = 0;
        while taken < limit
            && let Ok(command) = self.receiver.try_recv()
        {
            batch.push(command);
            taken += 1;
        }
        self.note_taken(taken);
    }

    /// Whether more waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Whether connections have to wait with reading for this queue's sake.
    pub fn is_full(&self) -> bool {
        self.gauge.is_full()
    }

    /// As [`Inbox::fillings`].
    pub fn fillings(&self) -> u64 {
        self.gauge.fillings.load(Ordering::Relaxed)
    }

    fn note_taken(&self, taken: usize) {
        let before = self.gauge.depth.fetch_sub(taken, Ordering::Relaxed);
        if before >= self.gauge.depth_max && before - taken < self.gauge.depth_max {
            self.gauge.room.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command::Drain {
            over: Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn a_full_inbox_says_so_and_tells_when_there_is_room() {
        let (inbox, mut commands) = inbox(2);
        inbox.push(command());
        assert!(!inbox.is_full());
        inbox.push(command());
        assert!(inbox.is_full());
        let room = inbox.room();
        let mut batch = Vec::new();
        assert_eq!(commands.take(&mut batch, 1).await, 1);
        room.await;
        assert!(!inbox.is_full());
    }

    #[tokio::test]
    async fn what_must_not_be_lost_is_taken_beyond_the_limit() {
        let (inbox, mut commands) = inbox(1);
        (0..3).for_each(|_| inbox.push(command()));
        let mut batch = Vec::new();
        commands.take_now(&mut batch, 10);
        assert_eq!(batch.len(), 3);
        assert!(!inbox.is_full());
    }
}
