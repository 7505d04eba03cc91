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
    rc::{Rc, Weak},
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use slab::Slab;
use tokio::sync::oneshot;

use self::{
    inbox::{Admission, ChannelKey, Command, Commands, Letter, Position, WorkerId},
    link::{Link, Phase},
    ticker::{Clock, Due, Limits},
};
use crate::{
    frame::Frame,
    metrics::worker::WorkerMetrics,
    protocol::{channel::ChannelName, codes::CloseReason, socket_id::SocketId},
};

/// Commands taken in one turn.
const COMMANDS_PER_TURN: usize = 256;

/// Appends after which a turn goes over to flushing, whatever still waits in the inbox: keeps a burst to large channels
/// from piling frames up where one write could have taken them.
const APPENDS_PER_TURN: usize = 16 * 1024;

/// Sockets flushed before the worker's other tasks get their turn: at 3 µs a write about 0.8 ms.
const FLUSHES_PER_SLICE: usize = 256;

/// Sockets to each turn that catching up takes. The runtime hears of 1,024 sockets at once; a worker has others, too.
const SOCKETS_PER_CATCH_UP_TURN: usize = 256;

/// Turns that catching up takes besides, for peers of which more has come than is read at once.
const CATCH_UP_TURNS: usize = 8;

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
    clock: Cell<Clock>,
    sockets: RefCell<Slab<Rc<Link>>>,
    channels: RefCell<HashMap<ChannelKey, Subscribers>>,
    touched: RefCell<VecDeque<Rc<Link>>>,
    /// touched sockets that were flushed since the start
    flushed: Cell<u64>,
    /// When events came in whose subscribers aren't all flushed, each with what `flushed` will be then. As a slice of
    /// flushes follows every 256 commands, there are never many more than touched sockets.
    unmeasured: RefCell<VecDeque<(u64, Instant)>>,
    metrics: Arc<WorkerMetrics>,
    /// for conversations that haven't been polled since
    letters: RefCell<HashMap<SocketKey, Vec<Letter>>>,
    /// connections that wait with reading until the inboxes have room
    parked: RefCell<Vec<Waker>>,
    /// when the log was told at info of a connection that was given up, in seconds of the clock
    eviction_logged_s: Cell<Option<u32>>,
}

impl Hub {
    /// `metrics`: this worker's own.
    pub fn new(worker: WorkerId, limits: Limits, metrics: Arc<WorkerMetrics>) -> Rc<Hub> {
        Rc::new(Hub {
            worker,
            limits,
            clock: Cell::new(Clock::new(Instant::now())),
            sockets: RefCell::default(),
            channels: RefCell::default(),
            touched: RefCell::default(),
            flushed: Cell::new(0),
            unmeasured: RefCell::default(),
            metrics,
            letters: RefCell::default(),
            parked: RefCell::default(),
            eviction_logged_s: Cell::new(None),
        })
    }

    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Seconds of the hub's own coarse clock (as fine as [`ticker::TICK`]).
    pub fn now_s(&self) -> u32 {
        self.clock.get().now_s()
    }

    /// Whether a connection that is given up is to be logged at info: the first in a second. On a flooded channel a thousand may
    /// be given up in one turn.
    pub fn may_log_eviction(&self) -> bool {
        let now_s = Some(self.now_s());
        self.eviction_logged_s.replace(now_s) != now_s
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
        drop(sockets);
        // Dropped outside the borrow: a letter may lead to something.
        let unread = self.letters.borrow_mut().remove(&socket);
        drop(unread);
    }

    /// What came for the socket's conversation.
    pub fn take_letters(&self, socket: SocketKey) -> Vec<Letter> {
        let mut letters = self.letters.borrow_mut();
        if letters.is_empty() {
            return Vec::new();
        }
        letters.remove(&socket).unwrap_or_default()
    }

    /// Subscribes a socket that has waited for it. If it is gone or closing, its letter goes unread.
    fn admit(&self, admission: Admission) {
        let Admission {
            socket,
            socket_id,
            channels,
            frames,
            letter,
        } = admission;
        let link = self.sockets.borrow().get(socket.0).cloned();
        let link = link.filter(|link| link.socket_id() == socket_id && link.phase() == Phase::Open);
        let Some(link) = link else {
            return;
        };
        for (channel, since) in channels {
            self.subscribe(channel, socket, since);
        }
        for frame in &frames {
            link.push(frame);
        }
        self.letters
            .borrow_mut()
            .entry(socket)
            .or_default()
            .push(letter);
        link.wake();
    }

    /// From now on the socket gets what is published after `since`. Returns the channel's name as all of its subscribers
    /// here may share it: thousands of copies would be kept otherwise.
    pub fn subscribe(
        &self,
        channel: ChannelKey,
        socket: SocketKey,
        since: Position,
    ) -> ChannelName {
        let mut channels = self.channels.borrow_mut();
        let subscribers = channels.entry(channel);
        let name = subscribers.key().name.clone();
        subscribers.or_default().insert(socket, since);
        name
    }

    /// The name of a channel as all of its subscribers here share it.
    pub fn shared_name(&self, channel: ChannelKey) -> ChannelName {
        let channels = self.channels.borrow();
        let known = channels.get_key_value(&channel);
        known.map_or(channel.name, |(known, _)| known.name.clone())
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

    #[cfg(test)]
    pub(crate) fn subscriptions(&self) -> usize {
        self.channels.borrow().values().map(Subscribers::len).sum()
    }

    #[cfg(test)]
    pub(crate) fn sockets(&self) -> usize {
        self.sockets.borrow().len()
    }

    /// Wakes the connection when the inboxes may have room again.
    pub fn park(&self, waker: &Waker) {
        self.parked.borrow_mut().push(waker.clone());
    }

    /// A connection found that the inboxes have room: so will the others.
    pub fn unpark(&self) {
        if !self.parked.borrow().is_empty() {
            self.wake_parked();
        }
    }

    /// Has one connection look whether there is room. It isn't known here whose inbox they wait for, and while another worker
    /// stands still all of them would look, and wait again, at each turn.
    fn wake_one_parked(&self) {
        let parked = self.parked.borrow_mut().pop();
        parked.into_iter().for_each(Waker::wake);
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
        published: Instant,
    ) -> usize {
        let channels = self.channels.borrow();
        let Some(subscribers) = channels.get(channel) else {
            return 0;
        };
        let sockets = self.sockets.borrow();
        let mut touched = self.touched.borrow_mut();
        let mut delivered = 0;
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
            delivered += 1;
            if link.touch() {
                touched.push_back(link.clone());
            }
        }
        if delivered > 0 {
            self.metrics.deliveries.add(delivered);
            // Sockets are flushed in this order, so the last of them has its turn then.
            let measured_at = self.flushed.get() + touched.len() as u64;
            self.unmeasured
                .borrow_mut()
                .push_back((measured_at, published));
        }
        subscribers.len()
    }

    /// Closes a channel's subscribers; returns how many.
    fn close(&self, channel: &ChannelKey, position: Position, reason: CloseReason) -> usize {
        let channels = self.channels.borrow();
        let Some(subscribers) = channels.get(channel) else {
            return 0;
        };
        let sockets = self.sockets.borrow();
        for (socket, since) in subscribers {
            // Who has come since, perhaps because the app let him in again, is not meant.
            if *since < position
                && let Some(link) = sockets.get(socket.0)
            {
                link.close(reason);
            }
        }
        subscribers.len()
    }

    /// Closes an app's sockets; returns how many.
    fn close_app(&self, app: u32, reason: CloseReason) -> usize {
        let sockets = self.sockets.borrow();
        let of_app = sockets.iter().filter(|(_, link)| link.app() == Some(app));
        of_app.map(|(_, link)| link.close(reason)).count()
    }

    /// Flushes the sockets touched longest ago; `true` if more are waiting.
    fn flush_slice(&self) -> bool {
        for _ in 0..FLUSHES_PER_SLICE {
            let Some(link) = self.touched.borrow_mut().pop_front() else {
                break;
            };
            link.flush();
            self.flushed.set(self.flushed.get() + 1);
        }
        self.measure_latency();
        !self.touched.borrow().is_empty()
    }

    /// Notes how long the events took whose subscribers are all flushed by now.
    fn measure_latency(&self) {
        let mut unmeasured = self.unmeasured.borrow_mut();
        if unmeasured.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some((measured_at, published)) = unmeasured.front().copied()
            && measured_at <= self.flushed.get()
        {
            let time = now.saturating_duration_since(published);
            self.metrics.latency.observe(time);
            unmeasured.pop_front();
        }
    }

    /// Does what the clock asks for, for every socket.
    fn sweep(&self, now: Instant) {
        self.metrics.ticks.add(1);
        let mut clock = self.clock.get();
        let has_stood_still = clock.tick(now);
        self.clock.set(clock);
        let now_s = clock.now_s();
        if has_stood_still {
            // Pongs may have come that nobody has read yet, or pings never have arrived: whoever owes one is asked again.
            let sockets = self.sockets.borrow();
            sockets.iter().for_each(|(_, link)| link.forget_ping());
        }
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
                Due::PongTimeout => link.close(CloseReason::PongTimeout),
                Due::AuthorizationTimeout => link.close(CloseReason::NotAuthorizedInTime),
                Due::MessageTimeout => link.close(CloseReason::MessageTimeout),
                Due::Cut => {
                    tracing::debug!(socket_id = %link.socket_id(), "cutting a socket that takes nothing or doesn't finish closing");
                    link.give_up();
                }
            }
        }
        self.wake_parked();
    }

    /// Closes every socket there is, a few at a time.
    async fn drain(self: Rc<Self>, over: Duration) {
        // Not owners: a socket that ends while this goes on must not stay open until it is over.
        let links: Vec<Weak<Link>> = {
            let sockets = self.sockets.borrow();
            sockets
                .iter()
                .map(|(_, link)| Rc::downgrade(link))
                .collect()
        };
        let steps =
            usize::try_from(over.as_millis() / DRAIN_STEP.as_millis()).unwrap_or(usize::MAX);
        let steps = steps.max(1);
        let mut closed = 0;
        // Not a pause after each step: what closing takes must not make the drain last longer than was asked for.
        let mut due_steps = tokio::time::interval(DRAIN_STEP);
        for step in 1..=steps {
            due_steps.tick().await;
            let due = (links.len().saturating_mul(step)).div_ceil(steps);
            for link in links[closed..due].iter().filter_map(Weak::upgrade) {
                link.close(CloseReason::ServerClosing);
            }
            closed = due;
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
    let mut fillings = commands.fillings();
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
        if !commands.is_full() {
            // Our own having been full is what connections of this worker wait for most.
            let before = std::mem::replace(&mut fillings, commands.fillings());
            match before == fillings {
                true => hub.wake_one_parked(),
                false => hub.wake_parked(),
            }
        }
        has_touched = hub.flush_slice();
        // Also when nothing is left to flush: taking commands never waits while there are some, and the worker's sockets
        // would not be read until the inbox is empty.
        if has_touched || !commands.is_empty() {
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
            published,
        } => hub.deliver(&channel, position, &frame, except, published),
        Command::Close {
            channel,
            position,
            reason,
        } => hub.close(&channel, position, reason),
        Command::Admit(admission) => {
            hub.admit(*admission);
            1
        }
        Command::CatchUp { done } => {
            let turns = CATCH_UP_TURNS + hub.sockets.borrow().len() / SOCKETS_PER_CATCH_UP_TURN;
            actix_rt::spawn(catch_up(turns, done));
            0
        }
        Command::CloseApp { app, reason } => hub.close_app(app, reason),
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

/// In each turn the runtime hears of sockets that something has come for, and wakes their connections, before it goes on here.
async fn catch_up(turns: usize, done: oneshot::Sender<()>) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
    // whoever asked may have given up
    let _ = done.send(());
}

/// The hub of the thread that asks, made by `make` at the first call.
pub fn worker_hub(make: impl FnOnce() -> Option<Rc<Hub>>) -> Option<Rc<Hub>> {
    thread_local! {
        static HUB: RefCell<Option<Rc<Hub>>> = const { RefCell::new(None) };
    }
    HUB.with_borrow_mut(|hub| {
        if hub.is_none() {
            *hub = make();
        }
        hub.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::ticker::KeepAlive;
    use proptest::{collection::vec, prelude::*};
    use std::{
        collections::BTreeMap,
        future::Future,
        sync::atomic::{AtomicUsize, Ordering},
        task::{Context, Wake},
    };

    fn deliver(position: u64) -> Command {
        Command::Deliver {
            channel: ChannelKey {
                app: 0,
                name: crate::protocol::channel::ChannelName::parse("a", 200).expect("name"),
            },
            position: Position(position),
            frame: Frame::text("{}"),
            except: None,
            published: Instant::now(),
        }
    }

    #[tokio::test]
    async fn other_tasks_get_their_turn_while_the_inbox_is_never_empty() {
        let local = tokio::task::LocalSet::new();
        let served = async {
            let (inbox, commands) = inbox::inbox(1);
            (1..=10 * COMMANDS_PER_TURN as u64).for_each(|n| inbox.push(deliver(n)));
            let hub = Hub::new(WorkerId(0), Limits::USUAL, Arc::default());
            tokio::task::spawn_local(tokio::task::unconstrained(run(hub, commands)));
            tokio::task::yield_now().await;
            assert!(inbox.is_full(), "the hub took everything at once");
            while inbox.is_full() {
                tokio::task::yield_now().await;
            }
        };
        local.run_until(served).await;
    }

    /// More sockets than the runtime hears of at once have ended while the worker stood still.
    #[tokio::test]
    async fn who_has_gone_is_known_to_have_gone_when_the_worker_has_caught_up() {
        const SOCKETS: u32 = 2_500;
        rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
        let hub = Hub::new(WorkerId(0), Limits::USUAL, Arc::default());
        let local = tokio::task::LocalSet::new();
        let served = async {
            let mut peers = Vec::new();
            for number in 1..=SOCKETS {
                let (mut ours, theirs) = tokio::net::UnixStream::pair().expect("a pair");
                peers.push(theirs.into_std().expect("a socket"));
                let (hub, key) = (hub.clone(), hub.add(link(number).0));
                tokio::task::spawn_local(async move {
                    let read = tokio::io::AsyncReadExt::read(&mut ours, &mut [0]).await;
                    assert_eq!(read.expect("an end"), 0);
                    hub.remove(key);
                });
            }
            let (inbox, commands) = inbox::inbox(10);
            tokio::task::spawn_local(tokio::task::unconstrained(run(hub.clone(), commands)));
            for asked in 0..2 {
                let (done, is_done) = oneshot::channel();
                inbox.push(Command::CatchUp { done });
                if asked == 1 {
                    peers.clear();
                }
                is_done.await.expect("an answer");
                let left = [SOCKETS as usize, 0];
                assert_eq!(hub.sockets(), left[asked]);
            }
        };
        local.run_until(served).await;
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_waits_for_another_worker_costs_this_one_no_turn() {
        let (inbox, commands) = inbox::inbox(4);
        let hub = Hub::new(WorkerId(0), Limits::USUAL, Arc::default());
        let mut running = std::pin::pin!(run(hub.clone(), commands));
        let woken = Arc::new(Counted::default());
        let waker = Waker::from(woken.clone());
        // all of those who were woken look and wait again
        let mut check = |commands: u64, expected: usize| {
            let missing = 1000 - hub.parked.borrow().len();
            (0..missing).for_each(|_| hub.park(&waker));
            woken.0.store(0, Ordering::Relaxed);
            (0..commands).for_each(|n| inbox.push(deliver(n)));
            let polled = running
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
            assert_eq!(woken.0.load(Ordering::Relaxed), expected, "{commands}");
        };
        check(1, 1);
        check(1, 1);
        check(4, 1000);
        check(3, 1);
        check(9, 1000);
        check(1, 1);
        hub.unpark();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1000);
    }

    #[tokio::test]
    async fn a_drain_keeps_no_socket_that_has_ended() {
        let local = tokio::task::LocalSet::new();
        let drained = async {
            let hub = Hub::new(WorkerId(0), Limits::USUAL, Arc::default());
            let keep_alive = KeepAlive {
                ping_interval_s: 30,
                pong_timeout_s: 30,
            };
            let (ours, mut theirs) = tokio::io::duplex(64);
            let socket_id = SocketId::new(1, 1);
            let link = Link::new(ours, socket_id, None, keep_alive, 65_536, 0, Arc::default());
            let key = hub.add(link);
            tokio::task::spawn_local(hub.clone().drain(Duration::from_secs(3600)));
            tokio::task::yield_now().await;
            hub.remove(key);
            let mut byte = [0];
            let end = tokio::io::AsyncReadExt::read(&mut theirs, &mut byte);
            let end = tokio::time::timeout(Duration::ZERO, end).await;
            assert_eq!(end.expect("closed").expect("the end"), 0);
        };
        local.run_until(drained).await;
    }

    type Ends = (Rc<Link<tokio::io::DuplexStream>>, tokio::io::DuplexStream);

    /// A link in the hub, and the other end of its socket, which takes one byte: asked after 30 s, waited for 20 s.
    fn asked_each_30_s(hub: &Hub, number: u32) -> Ends {
        let ends = link(number);
        hub.add(ends.0.clone());
        ends
    }

    fn link(number: u32) -> Ends {
        let keep_alive = KeepAlive {
            ping_interval_s: 30,
            pong_timeout_s: 20,
        };
        let (ours, theirs) = tokio::io::duplex(1);
        let socket_id = SocketId::new(1, number);
        let link = Link::new(ours, socket_id, None, keep_alive, 65_536, 0, Arc::default());
        link.set_task(Waker::noop());
        (link, theirs)
    }

    /// One that never gets further than a tick without standing still: who answers stays, who doesn't goes all the same.
    #[test]
    fn c20_standstills_without_end_keep_no_dead_peer() {
        let hub = Hub::new(WorkerId(0), Limits::USUAL, Arc::default());
        let [dead, answering] = [1, 2].map(|number| asked_each_30_s(&hub, number));
        let mut now = Instant::now();
        for n in 1..=200 {
            // each second tick, or each tick, comes late
            let is_late = n > 100 || n % 2 == 0;
            now += if is_late {
                Duration::from_secs(6)
            } else {
                ticker::TICK
            };
            hub.sweep(now);
            if answering.0.take_ping_due() {
                answering.0.note_received(hub.now_s());
            }
            assert_eq!(answering.0.phase(), Phase::Open, "at {n}");
            // after 30 s a ping, three more as it was forgotten so often, and the time for an answer to the last
            let expected = if n < 30 + 6 + 20 {
                Phase::Open
            } else {
                Phase::Closing
            };
            if n <= 56 {
                assert_eq!(dead.0.phase(), expected, "at {n}");
            }
        }
        assert_eq!(dead.0.phase(), Phase::Cut);
    }

    /// A machine that sleeps, a process that is stopped: what was due in the meantime isn't, for anybody.
    #[test]
    fn c20_after_a_standstill_every_peer_gets_the_time_that_it_had_left_and_a_new_ping() {
        let hub = Hub::new(WorkerId(0), Limits::USUAL, Arc::default());
        let mut now = Instant::now();
        let mut tick = |after: Duration| {
            now += after;
            hub.sweep(now);
            hub.now_s()
        };
        let [silent, answering, stalled, closing, stranger] =
            [1, 2, 3, 4, 5].map(|number| asked_each_30_s(&hub, number));
        stranger.0.require_authorization(Some(65));
        for _ in 0..48 {
            tick(ticker::TICK);
        }
        assert!(silent.0.take_ping_due() && answering.0.take_ping_due());
        stalled.0.note_received(48);
        stalled.0.push(&Frame::text("more than one byte"));
        stalled.0.flush();
        closing.0.close(CloseReason::ServerClosing);

        let woken = tick(Duration::from_secs(36_000));
        assert_eq!(woken, 49);
        let phases = |expected: [Phase; 5]| {
            let links = [&silent, &answering, &stalled, &closing, &stranger];
            assert_eq!(links.map(|(link, _)| link.phase()), expected);
        };
        let (open, shut) = (Phase::Open, Phase::Closing);
        phases([open, open, open, shut, open]);
        assert!(silent.0.take_ping_due() && answering.0.take_ping_due());
        answering.0.note_received(woken);
        stranger.0.note_received(woken);

        let mut ticks = |n| (0..n).for_each(|_| assert!(tick(ticker::TICK) > woken));
        ticks(5);
        phases([open, open, open, Phase::Cut, open]);
        ticks(5);
        phases([open, open, Phase::Cut, Phase::Cut, open]);
        ticks(10);
        phases([shut, open, Phase::Cut, Phase::Cut, shut]);
    }

    proptest! {
        /// Which sockets get an event of a channel, against a map of who is subscribed since when.
        #[test]
        fn an_event_goes_to_those_who_are_subscribed(
            steps in vec((0..4_u64, 0..5_usize, any::<bool>()), 0..100),
        ) {
            let hub = Hub::new(WorkerId(0), Limits::USUAL, Arc::default());
            let mut model: BTreeMap<(u64, usize), u64> = BTreeMap::new();
            for (position, (channel, socket, is_join)) in (1..).zip(steps) {
                let (key, at) = (channel_key(channel), (channel, socket));
                if is_join {
                    hub.subscribe(key.clone(), SocketKey(socket), Position(position));
                    model.insert(at, position);
                } else {
                    hub.unsubscribe(&key, SocketKey(socket));
                    model.remove(&at);
                }
                let channels = hub.channels.borrow();
                let of_channel = channels.get(&key).into_iter().flatten();
                let known: BTreeMap<_, _> = of_channel
                    .map(|(socket, since)| ((channel, socket.0), since.0))
                    .collect();
                let mut expected = model.clone();
                expected.retain(|(other, _), _| *other == channel);
                prop_assert_eq!(known, expected);
                drop(channels);
                prop_assert_eq!(hub.subscriptions(), model.len());
            }
            for (channel, socket) in model.into_keys() {
                hub.unsubscribe(&channel_key(channel), SocketKey(socket));
            }
            prop_assert!(hub.channels.borrow().is_empty());
        }
    }

    fn channel_key(number: u64) -> ChannelKey {
        let name = format!("channel-{number}");
        ChannelKey {
            app: 0,
            name: crate::protocol::channel::ChannelName::parse(&name, 200).expect("name"),
        }
    }
}
