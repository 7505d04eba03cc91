//! A socket's queue of encoded bytes: what it is still owed, counted in bytes. Who decides what happens at the limit is
//! the [`Link`](super::link::Link).

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

/// Buffers handed to one write call. More would seldom fit the socket's send buffer at once.
const SLICES_MAX: usize = 64;

/// Queue slots an empty outbox keeps: enough for steady traffic, 32 bytes. An idle socket that once had more gives
/// them back.
const IDLE_SLOTS: usize = 1;

/// What a frame takes in memory besides its bytes: its place in the queue, and the head of what holds its bytes. It counts, or half a
/// million pongs of two bytes, each in an allocation of its own, would wait for a peer that asks for them and reads none.
pub const FRAME_OVERHEAD_BYTES: usize = 64;

/// Frames waiting for one socket, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    frames: VecDeque<Bytes>,
    /// bytes of the front frame that are written already
    front_written: usize,
    /// bytes waiting, the written part of the front frame not counted
    bytes: usize,
    /// the transport may hold back what it took (TLS does) until it is flushed
    is_unflushed: bool,
    /// the front isn't a frame: the end of what came before the frames
    is_front_raw: bool,
}

/// What a flush has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub bytes: usize,
    /// frames of which the last byte is out
    pub frames: usize,
}

impl Outbox {
    pub fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Queues bytes that aren't a frame; nothing else may be queued before.
    pub fn push_raw(&mut self, bytes: Bytes) {
        self.is_front_raw = true;
        self.push(bytes);
    }

    /// Nothing waits, neither here nor in the transport.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && !self.is_unflushed
    }

    /// Bytes that wait to be written.
    pub fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// What waits behind the first frame, in bytes of memory: [`FRAME_OVERHEAD_BYTES`] for each frame besides its own.
    pub fn behind_front_bytes(&self) -> usize {
        let Some(front) = self.frames.front() else {
            return 0;
        };
        let behind = self.frames.len() - 1;
        self.bytes - (front.len() - self.front_written) + behind * FRAME_OVERHEAD_BYTES
    }

    /// Drops everything that isn't on its way yet. A frame that is partly written stays, since what follows must begin
    /// at a frame boundary.
    pub fn abandon(&mut self) {
        let keep = usize::from(self.front_written > 0);
        self.frames.truncate(keep);
        self.frames.shrink_to(IDLE_SLOTS);
        self.bytes = self
            .frames
            .front()
            .map_or(0, |frame| frame.len() - self.front_written);
    }

    /// Writes until the queue is empty (`Ready(Ok)`) or the socket takes no more (`Pending`, with `cx` to be woken).
    /// Returns what went out through `written`, also when it ends in `Pending`.
    pub fn poll_flush<W>(
        &mut self,
        io: &mut W,
        cx: &mut Context<'_>,
        written: &mut Written,
    ) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        while !self.frames.is_empty() {
            let called = self.poll_write(io, cx);
            let n = ready!(try_again_if_interrupted(cx, called))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.is_unflushed = true;
            written.bytes += n;
            written.frames += self.advance(n);
        }
        self.frames.shrink_to(IDLE_SLOTS);
        ready!(Pin::new(io).poll_flush(cx))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_write<W>(&self, io: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        if let [front] = self.frames.as_slices().0
            && self.frames.len() == 1
        {
            return Pin::new(io).poll_write(cx, &front[self.front_written..]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.frames) {
            let skip = if count == 0 { self.front_written } else { 0 };
            *slice = IoSlice::new(&frame[skip..]);
            count += 1;
        }
        Pin::new(io).poll_write_vectored(cx, &slices[..count])
    }

    /// Takes bytes off the front; returns how many frames that ended.
    fn advance(&mut self, mut n: usize) -> usize {
        let mut frames = 0;
        self.bytes -= n;
        while n > 0 {
            let Some(front) = self.frames.front() else {
                return frames;
            };
            let left = front.len() - self.front_written;
            if n < left {
                self.front_written += n;
                return frames;
            }
            n -= left;
            self.front_written = 0;
            self.frames.pop_front();
            if !std::mem::take(&mut self.is_front_raw) {
                frames += 1;
            }
        }
        frames
    }
}

/// A call that a signal interrupted has done nothing and failed at nothing.
pub fn try_again_if_interrupted<T>(
    cx: &Context<'_>,
    called: Poll<io::Result<T>>,
) -> Poll<io::Result<T>> {
    match called {
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        called => called,
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes `room` bytes, then blocks.
    struct Pipe {
        taken: Vec<u8>,
        room: usize,
        /// holds back what it took
        is_clogged: bool,
    }

    impl AsyncWrite for Pipe {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let n = buf.len().min(self.room);
            if n == 0 {
                return Poll::Pending;
            }
            self.room -= n;
            self.taken.extend_from_slice(&buf[..n]);
            Poll::Ready(Ok(n))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut total = 0;
            for buf in bufs {
                match self.as_mut().poll_write(cx, buf) {
                    Poll::Ready(Ok(n)) => total += n,
                    _ => break,
                }
            }
            if total == 0 {
                Poll::Pending
            } else {
                Poll::Ready(Ok(total))
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.is_clogged {
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn flush(outbox: &mut Outbox, pipe: &mut Pipe) -> Poll<io::Result<()>> {
        let mut written = Written::default();
        outbox.poll_flush(pipe, &mut Context::from_waker(Waker::noop()), &mut written)
    }

    #[test]
    fn bytes_leave_in_order_whatever_the_socket_takes_at_once() {
        let frames: Vec<Bytes> = (0..200u8)
            .map(|n| Bytes::from(vec![n; usize::from(n % 7) + 1]))
            .collect();
        let whole: Vec<u8> = frames.concat();
        for room in [1, 2, 3, 10, 64, 1000] {
            let mut outbox = Outbox::default();
            frames.iter().for_each(|frame| outbox.push(frame.clone()));
            let mut pipe = Pipe {
                taken: Vec::new(),
                room: 0,
                is_clogged: false,
            };
            while flush(&mut outbox, &mut pipe).is_pending() {
                assert_eq!(outbox.len_bytes(), whole.len() - pipe.taken.len());
                let behind = outbox.frames.iter().skip(1).map(Bytes::len);
                let behind: usize = behind.map(|bytes| bytes + FRAME_OVERHEAD_BYTES).sum();
                assert_eq!(outbox.behind_front_bytes(), behind);
                pipe.room = room;
            }
            assert_eq!(pipe.taken, whole, "room {room}");
            assert_eq!((outbox.len_bytes(), outbox.behind_front_bytes()), (0, 0));
        }
    }

    #[test]
    fn frames_are_counted_when_their_last_byte_is_out_and_other_bytes_never() {
        let mut outbox = Outbox::default();
        outbox.push_raw(Bytes::from_static(b"HTTP/1.1 101"));
        for frame in ["abc", "def", "ghi"] {
            outbox.push(Bytes::from_static(frame.as_bytes()));
        }
        let mut pipe = Pipe {
            taken: Vec::new(),
            room: 0,
            is_clogged: false,
        };
        let mut total = Written::default();
        for (room, bytes, frames) in [(12, 12, 0), (4, 16, 1), (1, 17, 1), (4, 21, 3)] {
            pipe.room = room;
            let cx = &mut Context::from_waker(Waker::noop());
            let _ = outbox.poll_flush(&mut pipe, cx, &mut total);
            assert_eq!(total, Written { bytes, frames });
        }
    }

    #[test]
    fn abandon_keeps_only_a_frame_that_is_partly_written() {
        let mut outbox = Outbox::default();
        outbox.push(Bytes::from_static(b"abcdef"));
        (0..100).for_each(|_| outbox.push(Bytes::from_static(b"ghi")));
        let mut pipe = Pipe {
            taken: Vec::new(),
            room: 2,
            is_clogged: false,
        };
        assert!(flush(&mut outbox, &mut pipe).is_pending());
        outbox.abandon();
        outbox.push(Bytes::from_static(b"!"));
        assert_eq!(outbox.len_bytes(), 5);
        assert!(outbox.frames.capacity() < 8);
        pipe.room = 100;
        assert!(flush(&mut outbox, &mut pipe).is_ready());
        assert_eq!(pipe.taken, b"abcdef!");

        outbox.push(Bytes::from_static(b"never begun"));
        outbox.abandon();
        assert!(outbox.is_empty());
        assert_eq!(outbox.len_bytes(), 0);
    }

    #[test]
    fn an_idle_outbox_keeps_no_large_queue() {
        let mut outbox = Outbox::default();
        (0..1000).for_each(|_| outbox.push(Bytes::from_static(b"x")));
        let mut pipe = Pipe {
            taken: Vec::new(),
            room: 1000,
            is_clogged: false,
        };
        assert!(flush(&mut outbox, &mut pipe).is_ready());
        assert!(outbox.frames.capacity() <= IDLE_SLOTS);
    }

    #[test]
    fn what_the_transport_holds_back_is_flushed_before_the_outbox_is_empty() {
        let mut outbox = Outbox::default();
        outbox.push(Bytes::from_static(b"x"));
        let mut pipe = Pipe {
            taken: Vec::new(),
            room: 1,
            is_clogged: true,
        };
        assert!(flush(&mut outbox, &mut pipe).is_pending());
        assert_eq!(pipe.taken, b"x");
        assert!(!outbox.is_empty());
        pipe.is_clogged = false;
        assert!(flush(&mut outbox, &mut pipe).is_ready());
        assert!(outbox.is_empty());
    }
}
