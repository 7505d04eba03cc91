//! Hub: this worker's sockets and local channels. One thread, no locks; knows frames and ids, not JSON, HTTP or apps.
//!
//! A turn takes the commands that wait, appends their frames to the outboxes of the sockets concerned, then flushes each
//! touched socket once. Flushing is done in slices, so that the worker's other sockets are read in between; appending
//! isn't, so the order within a channel never changes.

pub mod inbox;
pub mod link;
pub mod outbox;
pub mod ticker;

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::Rc,
    task::Waker,
    time::{Duration, Instant},
};

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use slab::Slab;

use self::{
    inbox::{ChannelKey, Command, Commands, Position, WorkerId},
    link::{Link, Phase},
    ticker::{Due, Limits},
};
use crate::{frame::Frame, protocol::codes::CloseReason, protocol::socket_id::SocketId};

/// Commands taken in one turn.
const COMMANDS_PER_TURN: usize = 256;

/// Appends after which a turn goes over to flushing, whatever still waits in the inbox: keeps a burst to large channels
/// from piling frames up where one write could have taken them.
const APPENDS_PER_TURN: usize = 16 * 1024;

/// Sockets flushed before the worker's other tasks get their turn: at 3 µs a write about 0.8 ms.
const FLUSHES_PER_SLICE: usize = 256;

/// Steps in which a drain closes its sockets.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// The name of a socket inside its hub; used again after the socket has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketKey(usize);

type Subscribers = IndexMap<SocketKey, Position, FxBuildHasher>;

/// One worker's sockets.
pub struct Hub {
    worker: WorkerId,
    limits: Limits,
    epoch: Instant,
    /// seconds since `epoch`, renewed by each sweep
    now_s: Cell<u32>,
    sockets: RefCell<Slab<Rc<Link>>>,
    channels: RefCell<HashMap<ChannelKey, Subscribers>>,
    touched: RefCell<VecDeque<Rc<Link>>>,
    /// connections that wait with reading until the inboxes have room
    parked: RefCell<Vec<Waker>>,
}

impl Hub {
    pub fn new(worker: WorkerId, limits: Limits) -> Rc<Hub> {
        Rc::new(Hub {
            worker,
            limits,
            epoch: Instant::now(),
            now_s: Cell::new(0),
            sockets: RefCell::default(),
            channels: RefCell::default(),
            touched: RefCell::default(),
            parked: RefCell::default(),
        })
    }

    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Seconds of the hub's own coarse clock (as fine as [`ticker::TICK`]).
    pub fn now_s(&self) -> u32 {
        self.now_s.get()
    }

    pub fn add(&self, link: Rc<Link>) -> SocketKey {
        SocketKey(self.sockets.borrow_mut().insert(link))
    }

    /// Forgets a socket, which must have left its channels before.
    pub fn remove(&self, socket: SocketKey) {
        let mut sockets = self.sockets.borrow_mut();
        if sockets.contains(socket.0) {
            sockets.remove(socket.0);
        }
    }

    /// From now on the socket gets what is published after `since`.
    pub fn subscribe(&self, channel: ChannelKey, socket: SocketKey, since: Position) {
        self.channels
            .borrow_mut()
            .entry(channel)
            .or_default()
            .insert(socket, since);
    }

    /// From now on the socket gets nothing more of the channel, whatever is on its way to this hub (S-19).
    pub fn unsubscribe(&self, channel: &ChannelKey, socket: SocketKey) {
        let mut channels = self.channels.borrow_mut();
        if let Some(subscribers) = channels.get_mut(channel) {
            subscribers.swap_remove(&socket);
            if subscribers.is_empty() {
                channels.remove(channel);
            }
        }
    }

    /// Wakes the connection when the inboxes may have room again.
    pub fn park(&self, waker: &Waker) {
        self.parked.borrow_mut().push(waker.clone());
    }

    fn wake_parked(&self) {
        // Taken out first: a waker may run code of its own.
        let parked = std::mem::take(&mut *self.parked.borrow_mut());
        parked.into_iter().for_each(Waker::wake);
    }

    /// Appends a frame to the outboxes of a channel's subscribers; returns to how many.
    fn deliver(
        &self,
        channel: &ChannelKey,
        position: Position,
        frame: &Frame,
        except: Option<SocketId>,
    ) -> usize {
        let channels = self.channels.borrow();
        let Some(subscribers) = channels.get(channel) else {
            return 0;
        };
        let sockets = self.sockets.borrow();
        let mut touched = self.touched.borrow_mut();
        for (socket, since) in subscribers {
            if *since >= position {
                continue;
            }
            let Some(link) = sockets.get(socket.0) else {
                continue;
            };
            if Some(link.socket_id()) == except {
                continue;
            }
            link.push(frame);
            if link.touch() {
                touched.push_back(link.clone());
            }
        }
        subscribers.len()
    }

    /// Closes a channel's subscribers; returns how many.
    fn close(&self, channel: &ChannelKey, reason: CloseReason) -> usize {
        let channels = self.channels.borrow();
        let Some(subscribers) = channels.get(channel) else {
            return 0;
        };
        let sockets = self.sockets.borrow();
        for socket in subscribers.keys() {
            if let Some(link) = sockets.get(socket.0) {
                link.close(reason);
            }
        }
        subscribers.len()
    }

    /// Flushes the sockets touched longest ago; `true` if more are waiting.
    fn flush_slice(&self) -> bool {
        for _ in 0..FLUSHES_PER_SLICE {
            let Some(link) = self.touched.borrow_mut().pop_front() else {
                return false;
            };
            link.flush();
        }
        !self.touched.borrow().is_empty()
    }

    /// Does what the clock asks for, for every socket.
    fn sweep(&self) {
        let now_s = u32::try_from(self.epoch.elapsed().as_secs()).unwrap_or(u32::MAX);
        self.now_s.set(now_s);
        // The list is taken first: what is due may reach back into the hub.
        let due: Vec<(Rc<Link>, Due)> = self
            .sockets
            .borrow()
            .iter()
            .map(|(_, link)| (link, link.due(now_s, &self.limits)))
            .filter(|(_, due)| *due != Due::Nothing)
            .map(|(link, due)| (link.clone(), due))
            .collect();
        for (link, due) in due {
            match due {
                Due::Nothing => {}
                // The connection owns what a ping says: it is woken to send it.
                Due::Ping => link.wake(),
                Due::PongTimeout => {
                    tracing::debug!(socket_id = %link.socket_id(), "closing a socket that answers no ping");
                    link.close(CloseReason::PongTimeout);
                }
                Due::AuthorizationTimeout => link.close(CloseReason::NotAuthorizedInTime),
                Due::Cut => link.cut(),
            }
        }
        self.wake_parked();
    }

    /// Closes every socket there is, a few at a time.
    async fn drain(self: Rc<Self>, over: Duration) {
        let links: Vec<Rc<Link>> = {
            let sockets = self.sockets.borrow();
            sockets.iter().map(|(_, link)| link.clone()).collect()
        };
        let steps = (over.as_millis() / DRAIN_STEP.as_millis()).max(1);
        let per_step = links.len().div_ceil(usize::try_from(steps).unwrap_or(1));
        for some in links.chunks(per_step.max(1)) {
            for link in some {
                link.close(CloseReason::ServerClosing);
            }
            tokio::time::sleep(DRAIN_STEP).await;
        }
    }

    /// Sockets that came while a drain was going on would be missed by it: a new one is closed at once.
    fn close_newcomers(&self) {
        for (_, link) in &*self.sockets.borrow() {
            if link.phase() == Phase::Open {
                link.close(CloseReason::ServerClosing);
            }
        }
    }
}

/// Serves the hub's inbox until no one can send to it any more.
pub async fn run(hub: Rc<Hub>, mut commands: Commands) {
    let mut batch = Vec::with_capacity(COMMANDS_PER_TURN);
    let mut has_touched = false;
    loop {
        if has_touched {
            commands.take_now(&mut batch, COMMANDS_PER_TURN);
        } else if commands.take(&mut batch, COMMANDS_PER_TURN).await == 0 {
            return;
        }
        let mut appended = 0;
        for command in batch.drain(..) {
            appended += obey(&hub, command);
            if appended >= APPENDS_PER_TURN {
                appended = 0;
                // Not to the end: the rest is flushed with what the next commands add.
                hub.flush_slice();
                tokio::task::yield_now().await;
            }
        }
        hub.wake_parked();
        has_touched = hub.flush_slice();
        if has_touched {
            tokio::task::yield_now().await;
        }
    }
}

/// Carries a command out; returns the number of frames appended.
fn obey(hub: &Rc<Hub>, command: Command) -> usize {
    match command {
        Command::Deliver {
            channel,
            position,
            frame,
            except,
        } => hub.deliver(&channel, position, &frame, except),
        Command::Close { channel, reason } => hub.close(&channel, reason),
        Command::Drain { over } => {
            let hub = hub.clone();
            actix_rt::spawn(async move {
                hub.clone().drain(over).await;
                hub.close_newcomers();
            });
            0
        }
    }
}
