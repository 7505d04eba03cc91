//! The transport: both ends of it, and what it does at each call.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::hub::link::Transport;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Read,
    Write,
}

impl Direction {
    /// How this direction can fail; `None`: the end of what the peer says, a write that takes nothing.
    pub fn kinds(self) -> &'static [Option<ErrorKind>] {
        match self {
            Direction::Read => &[
                None,
                Some(ErrorKind::ConnectionReset),
                Some(ErrorKind::TimedOut),
            ],
            Direction::Write => &[
                None,
                Some(ErrorKind::ConnectionReset),
                Some(ErrorKind::BrokenPipe),
            ],
        }
    }
}

/// Where the transport breaks: after so many bytes of one direction.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub of: Direction,
    pub at: usize,
    pub kind: Option<ErrorKind>,
}

/// What both ends share.
#[derive(Default)]
pub struct Wire {
    /// what the peer has said and the server hasn't read
    pub said: VecDeque<u8>,
    /// the peer says nothing more
    pub is_ended: bool,
    /// what the peer has got
    pub got: Vec<u8>,
    pub bytes_read: usize,
    /// calls that came to nothing: blocked or interrupted
    pub stops: usize,
    is_vectored: bool,
    /// `None`: everything goes at once
    chance: Option<SmallRng>,
    fault: Option<Fault>,
    is_broken: bool,
    reader: Side,
    writer: Side,
}

/// One direction's task.
#[derive(Default)]
struct Side {
    waker: Option<Waker>,
    /// it waits although there is something to do
    is_blocked: bool,
    /// it was released, and the next call comes to something
    may_go: bool,
}

impl Side {
    fn wait(&mut self, cx: &Context<'_>, is_blocked: bool) {
        self.waker = Some(cx.waker().clone());
        self.is_blocked = is_blocked;
    }

    fn release(&mut self) -> bool {
        let was_blocked = std::mem::take(&mut self.is_blocked);
        self.may_go |= was_blocked;
        if was_blocked && let Some(waker) = self.waker.take() {
            waker.wake();
        }
        was_blocked
    }
}

/// What a call may do.
enum Step {
    Go(usize),
    Stop(Poll<io::Result<usize>>),
}

impl Wire {
    pub fn new(seed: Option<u64>, is_vectored: bool, fault: Option<Fault>) -> Rc<RefCell<Wire>> {
        Rc::new(RefCell::new(Wire {
            chance: seed.map(SmallRng::seed_from_u64),
            is_vectored,
            fault,
            ..Wire::default()
        }))
    }

    /// The peer says something.
    pub fn say(&mut self, bytes: &[u8]) {
        self.said.extend(bytes);
        self.wake_reader();
    }

    pub fn end(&mut self) {
        self.is_ended = true;
        self.wake_reader();
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.waker.take() {
            waker.wake();
        }
    }

    /// Lets go on who is blocked; `false` if nobody is.
    pub fn release(&mut self) -> bool {
        let [reader, writer] = [&mut self.reader, &mut self.writer].map(Side::release);
        reader || writer
    }

    fn side(&mut self, of: Direction) -> &mut Side {
        match of {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }

    /// What becomes of a call that could move so many bytes, of so many that were moved before.
    fn step(&mut self, of: Direction, cx: &Context<'_>, moved: usize, bytes: usize) -> Step {
        let mut bytes = bytes;
        if let Some(fault) = self.fault.filter(|fault| fault.of == of) {
            bytes = bytes.min(fault.at.saturating_sub(moved));
            if moved >= fault.at {
                return Step::Stop(self.fail(fault));
            }
        }
        let Some(chance) = &mut self.chance else {
            return Step::Go(bytes);
        };
        let most = if chance.random_bool(0.5) { 3 } else { bytes };
        let bytes = chance.random_range(1..=bytes.max(1)).min(most).min(bytes);
        let is_blocked = chance.random_bool(0.3);
        if std::mem::take(&mut self.side(of).may_go) || !is_blocked {
            return Step::Go(bytes);
        }
        self.stops += 1;
        self.side(of).wait(cx, true);
        Step::Stop(Poll::Pending)
    }

    fn fail(&mut self, fault: Fault) -> Poll<io::Result<usize>> {
        let Some(kind) = fault.kind else {
            return Poll::Ready(Ok(0));
        };
        if kind == ErrorKind::Interrupted {
            self.fault = None;
            self.stops += 1;
        } else {
            self.is_broken = true;
        }
        Poll::Ready(Err(kind.into()))
    }

    fn read(&mut self, cx: &Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Poll::Ready(Ok(()));
        }
        let bytes = buffer.remaining().min(self.said.len());
        let is_at_fault = self
            .fault
            .is_some_and(|fault| fault.of == Direction::Read && self.bytes_read >= fault.at);
        if bytes == 0 && !is_at_fault {
            if self.is_ended {
                return Poll::Ready(Ok(()));
            }
            self.reader.wait(cx, false);
            return Poll::Pending;
        }
        match self.step(Direction::Read, cx, self.bytes_read, bytes) {
            Step::Go(bytes) => {
                self.bytes_read += bytes;
                let bytes: Vec<u8> = self.said.drain(..bytes).collect();
                buffer.put_slice(&bytes);
                Poll::Ready(Ok(()))
            }
            Step::Stop(stopped) => stopped.map_ok(|_| ()),
        }
    }

    fn write(&mut self, cx: &Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.is_broken {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        match self.step(Direction::Write, cx, self.got.len(), bytes) {
            Step::Go(bytes) => {
                let all = slices.iter().flat_map(|slice| slice.iter().copied());
                self.got.extend(all.take(bytes));
                Poll::Ready(Ok(bytes))
            }
            Step::Stop(stopped) => stopped,
        }
    }

    /// A flush or a shutdown.
    fn finish(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        }
        let is_blocked = self
            .chance
            .as_mut()
            .is_some_and(|chance| chance.random_bool(0.2));
        if is_blocked && !std::mem::take(&mut self.writer.may_go) {
            self.stops += 1;
            self.writer.wait(cx, true);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

/// The server's end.
pub struct FaultyIo(pub Rc<RefCell<Wire>>);

impl AsyncRead for FaultyIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.borrow_mut().read(cx, buffer)
    }
}

impl AsyncWrite for FaultyIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.borrow_mut();
        let first = slices.iter().position(|slice| !slice.is_empty());
        let all = match (wire.is_vectored, first) {
            (false, Some(first)) => &slices[first..=first],
            _ => slices,
        };
        wire.write(cx, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().is_vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().finish(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().finish(cx)
    }
}

impl Transport for FaultyIo {}

impl Transport for tokio_rustls::server::TlsStream<FaultyIo> {}
