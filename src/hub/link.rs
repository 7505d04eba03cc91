//! What the hub and the connection share of one socket: its io, the frames it is owed, and the marks its timeouts are
//! judged by. Lives on one thread.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    outbox::{FRAME_OVERHEAD_BYTES, Outbox, Written},
    ticker::{Due, KeepAlive, Vitals},
};
use crate::{
    frame::Frame,
    metrics::worker::SocketMetrics,
    protocol::{codes::CloseReason, server, socket_id::SocketId},
};

/// A byte stream to a peer: TCP, or TLS over it.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// The stream is to be given up: dropped, it must leave nothing behind that the peer might still take.
    fn reset_at_end(&mut self) {}
}

#[cfg(test)]
impl Transport for tokio::io::DuplexStream {}

/// Where a socket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Messages are exchanged.
    Open,
    /// Our close frame is on its way or sent; only the peer's close frame is still of interest.
    Closing,
    /// Nothing more can be said; the connection drops the transport.
    Cut,
}

/// Why a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// the server closed it
    Server(CloseReason),
    /// the client closed it, with this code
    Client(Option<u16>),
    /// the client's frames broke RFC 6455
    Violation(u16),
    /// what waited for the client wasn't taken in time (`socket.write_timeout_s`)
    WriteTimeout,
    /// the transport broke, or was closed without a word
    Lost,
}

impl End {
    /// What metrics and the live stream call it.
    pub fn reason(self) -> &'static str {
        match self {
            End::Server(reason) => reason.name(),
            End::Client(_) => "client",
            End::Violation(_) => "protocol_violation",
            End::WriteTimeout => "write_timeout",
            End::Lost => "lost",
        }
    }

    pub fn code(self) -> Option<u16> {
        match self {
            End::Server(reason) => Some(reason.code()),
            End::Client(code) => code,
            End::Violation(code) => Some(code),
            End::WriteTimeout | End::Lost => None,
        }
    }

    /// Why the server gave the connection up: its client takes nothing, says nothing, or comes to no end. `None` for other ends.
    pub fn eviction(self) -> Option<&'static str> {
        match self {
            End::WriteTimeout => {
                Some("took nothing of what waited for it (socket.write_timeout_s)")
            }
            End::Server(CloseReason::SlowConsumer) => {
                Some("reads too slowly: what waits for it is too much (socket.outbox_bytes_max)")
            }
            End::Server(CloseReason::MessageTimeout) => Some(
                "began a message and didn't come to its end in time (socket.message_timeout_s)",
            ),
            End::Server(CloseReason::PongTimeout) => {
                Some("answered no ping in time (app_defaults.pong_timeout_s)")
            }
            End::Server(_) | End::Client(_) | End::Violation(_) | End::Lost => None,
        }
    }
}

/// One socket as the hub sees it. The connection future holds it with its concrete transport; the hub behind `dyn`.
pub struct Link<T: ?Sized = dyn Transport> {
    socket_id: SocketId,
    /// the app's index; `None` for a peer that is refused
    app: Option<u32>,
    outbox_bytes_max: usize,
    outbox: RefCell<Outbox>,
    phase: Cell<Phase>,
    /// known once the connection is no longer open
    end: Cell<Option<End>>,
    metrics: Arc<SocketMetrics>,
    /// whether the hub already means to flush it in this turn
    is_touched: Cell<bool>,
    is_ping_due: Cell<bool>,
    vitals: Cell<Vitals>,
    keep_alive: KeepAlive,
    /// the connection's task, known from its first poll on
    task: RefCell<Option<Waker>>,
    io: RefCell<T>,
}

impl<T: Transport> Link<T> {
    /// `now_s`: the hub's clock. `metrics`: those of the socket's app and worker.
    pub fn new(
        io: T,
        socket_id: SocketId,
        app: Option<u32>,
        keep_alive: KeepAlive,
        outbox_bytes_max: usize,
        now_s: u32,
        metrics: Arc<SocketMetrics>,
    ) -> Rc<Link<T>> {
        Rc::new(Link {
            socket_id,
            app,
            outbox_bytes_max,
            outbox: RefCell::default(),
            phase: Cell::new(Phase::Open),
            end: Cell::new(None),
            metrics,
            is_touched: Cell::new(false),
            is_ping_due: Cell::new(false),
            vitals: Cell::new(Vitals::new(now_s)),
            keep_alive,
            task: RefCell::new(None),
            io: RefCell::new(io),
        })
    }
}

impl<T: Transport + ?Sized> Link<T> {
    pub fn socket_id(&self) -> SocketId {
        self.socket_id
    }

    pub fn app(&self) -> Option<u32> {
        self.app
    }

    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub fn metrics(&self) -> &SocketMetrics {
        &self.metrics
    }

    /// Why the connection has ended, or would if its transport went now.
    pub fn end(&self) -> End {
        self.end.get().unwrap_or(End::Lost)
    }

    /// The first reason is the one that counts.
    fn note_end(&self, end: End) {
        if self.end.get().is_none() {
            self.end.set(Some(end));
        }
    }

    pub fn has_frames_waiting(&self) -> bool {
        !self.outbox.borrow().is_empty()
    }

    /// Queues a frame; a socket that is closing gets nothing more. If it doesn't fit into the outbox besides what waits
    /// there, the peer is too slow: what waits is dropped and the socket closes with 4100 (C-35). One frame alone is
    /// never too much, however long a member list may be. Never blocks, and writes only at the limit: what was queued in
    /// this turn says nothing about the peer before it has been offered to the socket.
    pub fn push(&self, frame: &Frame) {
        if self.phase.get() != Phase::Open {
            return;
        }
        if !self.has_room_for(frame) {
            self.write();
        }
        if self.has_room_for(frame) {
            self.outbox.borrow_mut().push(frame.as_bytes().clone());
            return;
        }
        self.outbox.borrow_mut().abandon();
        self.close(CloseReason::SlowConsumer);
        self.note_slow();
    }

    /// The frame that is on its way isn't counted: the list of a large presence channel may be longer than the limit, and
    /// says nothing about the peer either.
    fn has_room_for(&self, frame: &Frame) -> bool {
        let outbox = self.outbox.borrow();
        let bytes = frame.as_bytes().len() + FRAME_OVERHEAD_BYTES;
        outbox.is_empty() || outbox.behind_front_bytes() + bytes <= self.outbox_bytes_max
    }

    /// Queues bytes that aren't a frame: the end of the HTTP conversation that came before.
    pub fn push_raw(&self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.outbox.borrow_mut().push_raw(bytes);
        }
    }

    /// Says goodbye: `pusher:error`, then the close frame with the same code (C-30), after what is queued already.
    pub fn close(&self, reason: CloseReason) {
        if self.phase.get() != Phase::Open {
            return;
        }
        match reason {
            CloseReason::SlowConsumer => self.metrics.evicted_outbox_full.add(1),
            CloseReason::PongTimeout => self.metrics.evicted_pong_timeout.add(1),
            CloseReason::MessageTimeout => self.metrics.evicted_message_timeout.add(1),
            _ => {}
        }
        self.note_end(End::Server(reason));
        let mut outbox = self.outbox.borrow_mut();
        outbox.push(server::fatal_error(reason).into_bytes());
        outbox.push(server::close(reason).into_bytes());
        drop(outbox);
        self.begin_closing();
    }

    /// Ends the connection with a close frame alone: answers to the peer's own close, violations of RFC 6455.
    pub fn close_with(&self, frame: Frame, end: End) {
        if self.phase.get() != Phase::Open {
            return;
        }
        self.note_end(end);
        self.outbox.borrow_mut().push(frame.into_bytes());
        self.begin_closing();
    }

    fn begin_closing(&self) {
        self.phase.set(Phase::Closing);
        let mut vitals = self.vitals.get();
        vitals.closing_since_s = Some(vitals.now_s);
        self.vitals.set(vitals);
        self.wake();
    }

    /// Ends a connection that takes nothing, or doesn't finish closing. If it hasn't taken all, or seems dead, what the system still
    /// holds for it goes at once. Whoever only leaves closing to us may still read why it was closed.
    pub fn give_up(&self) {
        if self.phase.get() == Phase::Open {
            self.note_end(End::WriteTimeout);
            self.metrics.evicted_write_timeout.add(1);
        }
        if !self.outbox.borrow().is_empty() || self.end().eviction().is_some() {
            self.io.borrow_mut().reset_at_end();
        }
        self.cut();
    }

    /// Ends the connection at once.
    pub fn cut(&self) {
        self.phase.set(Phase::Cut);
        self.wake();
    }

    /// Polls the connection's task soon.
    pub fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }

    /// Only a peer that goes on reading is waited for until it has read why it is closed.
    fn note_slow(&self) {
        let mut vitals = self.vitals.get();
        vitals.is_slow = true;
        self.vitals.set(vitals);
    }

    /// How far the peer has come with its messages. `is_within`: the last one isn't whole. `is_another`: and it isn't the one
    /// of which that was last said.
    pub fn note_message(&self, is_within: bool, is_another: bool) {
        let mut vitals = self.vitals.get();
        let since = vitals.message_since_s.filter(|_| !is_another);
        vitals.message_since_s = is_within.then(|| since.unwrap_or(vitals.now_s));
        self.vitals.set(vitals);
    }

    /// The connection tells which task to wake.
    pub fn set_task(&self, waker: &Waker) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    /// Something arrived from the peer (C-20).
    pub fn note_received(&self, now_s: u32) {
        let mut vitals = self.vitals.get();
        vitals.note_received(now_s);
        self.vitals.set(vitals);
    }

    /// The worker stood still: the answer to the last ping may wait to be read, or the ping never have arrived.
    pub fn forget_ping(&self) {
        let mut vitals = self.vitals.get();
        vitals.forget_ping();
        self.vitals.set(vitals);
    }

    /// The connection must show who it is within this time, or not any more (C-36).
    pub fn require_authorization(&self, within_s: Option<u32>) {
        let mut vitals = self.vitals.get();
        vitals.authorize_by_s = within_s.map(|seconds| vitals.now_s.saturating_add(seconds));
        self.vitals.set(vitals);
    }

    /// The same, while somebody else takes time over it. Returns by when it would have been.
    pub fn suspend_authorization(&self) -> Option<u32> {
        let mut vitals = self.vitals.get();
        let by_s = vitals.authorize_by_s.take();
        self.vitals.set(vitals);
        by_s
    }

    /// The connection must show who it is by then after all, as [`Link::suspend_authorization`] said.
    pub fn resume_authorization(&self, by_s: u32) {
        let mut vitals = self.vitals.get();
        vitals.authorize_by_s = Some(by_s);
        self.vitals.set(vitals);
    }

    /// What a look at the clock asks for.
    pub fn due(&self, now_s: u32, limits: &super::ticker::Limits) -> Due {
        let mut vitals = self.vitals.get();
        vitals.now_s = now_s;
        let due = vitals.due(self.has_frames_waiting(), self.keep_alive, limits);
        if due == Due::Ping {
            vitals.pinged_s = Some(now_s);
            self.is_ping_due.set(true);
        }
        self.vitals.set(vitals);
        due
    }

    /// Whether the connection is to send a ping; asked once for each.
    pub fn take_ping_due(&self) -> bool {
        self.is_ping_due.replace(false)
    }

    /// Marks the socket for the hub's next flush; `false` if it is marked already.
    pub fn touch(&self) -> bool {
        !self.is_touched.replace(true)
    }

    /// The hub's flush: writes directly if the socket takes it, else leaves the rest to the connection's task, which is
    /// woken when the socket is writable again.
    pub fn flush(&self) {
        self.is_touched.set(false);
        self.write();
    }

    /// Writes what the socket takes.
    fn write(&self) {
        let task = self.task.borrow();
        // Without a task the connection hasn't been polled yet: its first poll flushes.
        if let Some(task) = &*task
            && let Poll::Ready(Err(_)) = self.poll_flush(&mut Context::from_waker(task))
        {
            self.cut();
        }
    }

    /// Writes what waits.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = self.outbox.borrow_mut();
        if outbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut written = Written::default();
        let flushed = outbox.poll_flush(&mut *self.io.borrow_mut(), cx, &mut written);
        let mut vitals = self.vitals.get();
        vitals.note_write(written.bytes > 0, flushed.is_ready());
        self.vitals.set(vitals);
        self.metrics.sent_bytes.add(written.bytes as u64);
        self.metrics.sent_messages.add(written.frames as u64);
        flushed
    }

    /// The transport, for reading and for the shutdown. Never hold it across a call that may flush.
    pub fn io(&self) -> std::cell::RefMut<'_, T> {
        self.io.borrow_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: KeepAlive = KeepAlive {
        ping_interval_s: 30,
        pong_timeout_s: 30,
    };

    /// A link with room for ten frames of 100 bytes to a peer whose socket takes so many bytes; both ends are returned.
    fn link(socket_bytes: usize) -> (Rc<Link<tokio::io::DuplexStream>>, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(socket_bytes);
        let socket_id = SocketId::new(1, 1);
        let room = 10 * (100 + FRAME_OVERHEAD_BYTES);
        let link = Link::new(ours, socket_id, None, KEEP_ALIVE, room, 0, Arc::default());
        link.set_task(Waker::noop());
        (link, theirs)
    }

    #[test]
    fn the_time_of_a_message_begins_with_its_first_byte_and_ends_with_its_last() {
        let (link, _theirs) = link(1000);
        let limits = super::super::ticker::Limits {
            write_timeout_s: 10,
            close_timeout_s: 5,
            message_timeout_s: 20,
        };
        let mut now_s = 0;
        let mut check = |is_within: bool, is_another: bool, after_s: u32, expected: Due| {
            link.note_received(now_s);
            link.note_message(is_within, is_another);
            now_s += after_s;
            assert_eq!(link.due(now_s, &limits), expected, "at {now_s}");
        };
        check(true, true, 15, Due::Nothing);
        check(true, false, 5, Due::Nothing);
        // the next one, of which the beginning came with the end of the last
        check(true, true, 20, Due::Nothing);
        check(false, true, 25, Due::Nothing);
        check(true, false, 20, Due::Nothing);
        check(true, false, 1, Due::MessageTimeout);
    }

    #[test]
    fn c35_a_burst_within_one_turn_is_offered_to_the_socket_before_the_peer_is_called_slow() {
        let frame = Frame::text(&"x".repeat(98));
        let (link, _theirs) = link(100_000);
        (0..100).for_each(|_| link.push(&frame));
        assert_eq!(link.phase(), Phase::Open);
    }

    #[test]
    fn c35_a_peer_that_takes_less_than_it_is_owed_is_closed_at_the_limit() {
        let frame = Frame::text(&"x".repeat(98));
        let (link, _theirs) = link(200);
        // two that the socket takes, one on its way, ten that wait behind it
        (0..13).for_each(|_| link.push(&frame));
        assert_eq!(link.phase(), Phase::Open);
        link.push(&frame);
        assert_eq!(link.phase(), Phase::Closing);
    }

    /// A client that asks for pongs and reads none must not have us keep many times the limit for it.
    #[test]
    fn c35_small_frames_count_with_what_they_take_besides_their_bytes() {
        let (link, _theirs) = link(2);
        let pong = Frame::pong(b"");
        let most = 1640 / (2 + FRAME_OVERHEAD_BYTES);
        // one that the socket takes, one on its way
        (0..2 + most).for_each(|_| link.push(&pong));
        assert_eq!(link.phase(), Phase::Open);
        link.push(&pong);
        assert_eq!(link.phase(), Phase::Closing);
        assert_eq!(link.end(), End::Server(CloseReason::SlowConsumer));
    }

    #[test]
    fn c35_one_frame_alone_is_never_too_much_and_others_may_wait_behind_it() {
        let (link, _theirs) = link(200);
        link.push(&Frame::text(&"x".repeat(5000)));
        link.flush();
        let frame = Frame::text(&"x".repeat(98));
        (0..10).for_each(|_| link.push(&frame));
        assert_eq!(link.phase(), Phase::Open);
        link.push(&frame);
        assert_eq!(link.phase(), Phase::Closing);
    }
}
