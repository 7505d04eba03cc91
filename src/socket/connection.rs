//! The future of one socket: read, hand over, write. All a socket costs while idle is this future, its link and its
//! conversation: no buffer, no timer, no channel.

use std::{
    cell::Cell,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;

use super::{Conversation, Held};
use crate::{
    frame::{Frame, FrameError, FrameReader, Message},
    hub::{
        Hub, SocketKey,
        link::{End, Link, Phase, Transport},
        outbox::try_again_if_interrupted,
    },
};

/// Bytes read at once, into a buffer that all sockets of a worker share.
const SCRATCH_BYTES: usize = 64 * 1024;

/// Reads in one poll before other sockets get their turn.
const READS_PER_POLL: usize = 4;

/// Messages in one poll, likewise: 256 KiB hold some 10,000 small ones, each with an answer.
const MESSAGES_PER_POLL: usize = 256;

thread_local! {
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// One socket, from its handshake to its end.
pub struct Connection<T: Transport + 'static, C: Conversation> {
    link: Rc<Link<T>>,
    hub: Rc<Hub>,
    key: SocketKey,
    reader: FrameReader,
    /// gone once the connection is closing
    conversation: Option<C>,
    /// bytes that were read and not taken apart yet: what came with the handshake, what one poll left to the next, what the
    /// conversation wasn't ready for; never more than one read brought
    unread: BytesMut,
    /// the peer's close frame has come: after ours the transport can go
    has_peer_closed: bool,
    /// the peer broke RFC 6455: what it sends is thrown away, only its end is awaited. Dropping the transport with bytes
    /// unread would reset it, and the peer might never see our close frame.
    is_deaf: bool,
    is_shut_down: bool,
    /// what lasts as long as the transport: dropped last
    held: Option<Box<dyn Held>>,
}

/// What reading has come to.
enum Progress {
    /// nothing more to read for now
    Waiting,
    /// nothing more will come
    Ended,
}

impl<T: Transport + 'static, C: Conversation> Connection<T, C> {
    /// `key`: the link's name in the hub. `conversation`: `None` for a peer that is refused, whose link is closing
    /// already. `early`: bytes read along with the handshake. `held` is dropped when the transport is gone.
    ///
    /// An empty `early` may still own the 8 KiB that actix read the handshake into: it is let go of here, not kept for
    /// the life of the socket.
    pub fn new(
        link: Rc<Link<T>>,
        hub: Rc<Hub>,
        key: SocketKey,
        reader: FrameReader,
        conversation: Option<C>,
        early: BytesMut,
        held: Option<Box<dyn Held>>,
    ) -> Connection<T, C> {
        link.metrics().received_bytes.add(early.len() as u64);
        Connection {
            link,
            hub,
            key,
            reader,
            conversation,
            unread: if early.is_empty() {
                BytesMut::new()
            } else {
                early
            },
            has_peer_closed: false,
            is_deaf: false,
            is_shut_down: false,
            held,
        }
    }

    /// Reads what there is and answers it.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Progress {
        let mut scratch = SCRATCH
            .take()
            .unwrap_or_else(|| vec![0; SCRATCH_BYTES].into_boxed_slice());
        let progress = self.poll_reads(cx, &mut scratch);
        SCRATCH.set(Some(scratch));
        progress
    }

    fn poll_reads(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Progress {
        let mut messages_left = MESSAGES_PER_POLL;
        for _ in 0..READS_PER_POLL {
            if self.link.phase() == Phase::Cut || self.has_peer_closed {
                return Progress::Ended;
            }
            if let Some(conversation) = &mut self.conversation
                && conversation.poll_ready(cx).is_pending()
            {
                // A pong that we don't read must not count as missing, nor the end of a message.
                self.link.note_received(self.hub.now_s());
                self.link.note_message(self.reader.is_within(), true);
                return Progress::Waiting;
            }
            if !self.unread.is_empty() {
                let mut unread = std::mem::take(&mut self.unread);
                let taken = self.take_input(&mut unread, &mut messages_left);
                unread.advance(taken);
                let is_taken = unread.is_empty();
                if !is_taken {
                    self.unread = unread;
                }
                if messages_left == 0 {
                    break;
                }
                if !is_taken {
                    // Nothing is read before that.
                    continue;
                }
            }
            match self.poll_read(cx, scratch) {
                Poll::Pending => return Progress::Waiting,
                Poll::Ready(Ok(0) | Err(_)) => return Progress::Ended,
                Poll::Ready(Ok(n)) => {
                    self.link.note_received(self.hub.now_s());
                    self.link.metrics().received_bytes.add(n as u64);
                    let taken = self.take_input(&mut scratch[..n], &mut messages_left);
                    self.unread.extend_from_slice(&scratch[taken..n]);
                    if messages_left == 0 {
                        break;
                    }
                    // Even if this was most likely all there was: asking once more arms the waker.
                }
            }
        }
        cx.waker().wake_by_ref();
        Progress::Waiting
    }

    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let read = Pin::new(&mut *self.link.io()).poll_read(cx, &mut buffer);
        try_again_if_interrupted(cx, read).map_ok(|()| buffer.filled().len())
    }

    /// Takes bytes apart into messages and has each answered: as many as are left for this poll and the conversation is
    /// ready for. Returns how many bytes are done with.
    fn take_input(&mut self, input: &mut [u8], messages_left: &mut usize) -> usize {
        let mut is_another = false;
        let taken = self.take_messages(input, messages_left, &mut is_another);
        self.link.note_message(self.reader.is_within(), is_another);
        taken
    }

    /// `is_another`: set when a message has become whole, so that what is unfinished in the end began after it.
    fn take_messages(
        &mut self,
        input: &mut [u8],
        messages_left: &mut usize,
        is_another: &mut bool,
    ) -> usize {
        let mut at = 0;
        // Until the reader has no message, also when all bytes are taken: only then does it let go of a message that it
        // had to put together.
        while !self.has_peer_closed && !self.is_deaf {
            // What the peer says while we are closing has no effect, except that it closes too.
            let is_open = self.link.phase() == Phase::Open;
            let is_awaited = is_open && !self.takes_more();
            if (*messages_left == 0 || is_awaited) && at < input.len() {
                return at;
            }
            let (taken, message) = match self.reader.feed(&mut input[at..]) {
                Ok((taken, Some(message))) => (taken, message),
                Ok((_, None)) => break,
                Err(error) => {
                    self.fail(error);
                    break;
                }
            };
            at += taken;
            *messages_left = messages_left.saturating_sub(1);
            self.link.metrics().received_messages.add(1);
            match (message, &mut self.conversation) {
                (Message::Close(code), _) => {
                    self.has_peer_closed = true;
                    let code = code.map(|(code, _)| code);
                    self.link
                        .close_with(Frame::close(code, ""), End::Client(code));
                }
                (Message::Ping(payload), _) if is_open => self.link.push(&Frame::pong(payload)),
                (Message::Text(text), Some(conversation)) if is_open => conversation.text(text),
                (Message::Binary(bytes), Some(conversation)) if is_open => {
                    conversation.binary(bytes);
                }
                _ => {}
            }
            *is_another |= !self.reader.is_within_message();
        }
        input.len()
    }

    fn takes_more(&self) -> bool {
        let conversation = self.conversation.as_ref();
        conversation.is_none_or(Conversation::takes_more)
    }

    /// The peer breaks RFC 6455: nothing it says from here on can be understood.
    fn fail(&mut self, error: FrameError) {
        if let Some(conversation) = &mut self.conversation {
            conversation.violated(&error);
        }
        let frame = Frame::close(Some(error.code), error.reason);
        self.link.close_with(frame, End::Violation(error.code));
        self.is_deaf = true;
    }

    /// Writes what waits; once that is out and the conversation is over, ends our side of the stream. `Ready` when the
    /// transport can go.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let flushed = self.link.poll_flush(cx);
        if self.link.phase() == Phase::Cut {
            return Poll::Ready(());
        }
        match flushed {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(())) if self.has_peer_closed || self.is_deaf => {
                if !self.is_shut_down {
                    let shutdown = Pin::new(&mut *self.link.io()).poll_shutdown(cx);
                    if ready!(shutdown).is_err() {
                        return Poll::Ready(());
                    }
                    self.is_shut_down = true;
                }
                if self.has_peer_closed {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            }
            Poll::Ready(Ok(())) => Poll::Pending,
        }
    }
}

impl<T: Transport + 'static, C: Conversation + Unpin> Future for Connection<T, C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.link.set_task(cx.waker());
        if this.link.take_ping_due() {
            this.link.push(&Frame::ping(b""));
        }
        if this.link.phase() != Phase::Open {
            // Before the reading: a conversation that isn't ready must not keep the peer's close frame from being read.
            this.conversation = None;
        }
        if let Some(conversation) = &mut this.conversation {
            for letter in this.hub.take_letters(this.key) {
                conversation.letter(letter);
            }
        }
        let progress = if this.has_peer_closed {
            Progress::Ended
        } else {
            this.poll_input(cx)
        };
        if this.link.phase() != Phase::Open {
            this.conversation = None;
        }
        if matches!(progress, Progress::Ended) && !this.has_peer_closed {
            // The transport is at its end: nobody reads what still waits.
            return Poll::Ready(());
        }
        this.poll_output(cx)
    }
}

impl<T: Transport + 'static, C: Conversation> Drop for Connection<T, C> {
    fn drop(&mut self) {
        // The conversation leaves its channels while the hub still knows the socket.
        self.conversation = None;
        self.hub.remove(self.key);
        if let Some(held) = &mut self.held {
            self.link.metrics().closed.add(1);
            held.ended(self.link.end());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, task::Waker};

    use tokio::io::{AsyncWrite, DuplexStream};

    use super::*;
    use crate::{
        hub::{
            inbox::WorkerId,
            ticker::{Due, KeepAlive, Limits},
        },
        protocol::socket_id::SocketId,
    };

    const KEEP_ALIVE: KeepAlive = KeepAlive {
        ping_interval_s: 30,
        pong_timeout_s: 20,
    };

    /// Takes messages or doesn't.
    struct Listener {
        is_ready: bool,
    }

    impl Conversation for Listener {
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
            if self.is_ready {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }

        fn text(&mut self, _: &str) {}

        fn binary(&mut self, _: &[u8]) {}

        fn violated(&mut self, _: &FrameError) {}
    }

    /// Panics at the first message.
    struct Faulty;

    impl Conversation for Faulty {
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }

        fn text(&mut self, _: &str) {
            panic!("a fault that a test has put here");
        }

        fn binary(&mut self, _: &[u8]) {}

        fn violated(&mut self, _: &FrameError) {}
    }

    /// Tells that the connection has ended.
    struct Told(Rc<Cell<bool>>);

    impl Held for Told {
        fn ended(&mut self, _: End) {
            self.0.set(true);
        }
    }

    /// Why release builds unwind: what goes wrong for one client must not end the process for all of them.
    #[tokio::test]
    async fn a_panic_in_one_connection_ends_that_one_alone() {
        let (healthy, mut theirs) = connection(true, BytesMut::new());
        let (ours, _faulty_theirs) = tokio::io::duplex(1024);
        let hub = healthy.hub.clone();
        let socket_id = SocketId::new(1, 2);
        let link = Link::new(ours, socket_id, None, KEEP_ALIVE, 65_536, 0, Arc::default());
        let key = hub.add(link.clone());
        let reader = FrameReader::new(1024);
        let early = BytesMut::from(&b"\x81\x82\0\0\0\0{}"[..]);
        let is_told = Rc::new(Cell::new(false));
        let held: Option<Box<dyn Held>> = Some(Box::new(Told(is_told.clone())));
        let hub_of_faulty = hub.clone();
        let faulty = Connection::new(link, hub_of_faulty, key, reader, Some(Faulty), early, held);
        let local = tokio::task::LocalSet::new();
        let served = async {
            let healthy = tokio::task::spawn_local(healthy);
            let ended = tokio::task::spawn_local(faulty).await;
            assert!(ended.expect_err("it panicked").is_panic());
            assert!(is_told.get());
            assert_eq!(hub.sockets(), 1, "the faulty one is forgotten");
            let ping = tokio::io::AsyncWriteExt::write_all(&mut theirs, b"\x89\x80\0\0\0\0");
            ping.await.expect("sent");
            let mut pong = [0; 2];
            let read = tokio::io::AsyncReadExt::read_exact(&mut theirs, &mut pong).await;
            read.expect("an answer");
            assert_eq!(pong, *b"\x8a\0");
            healthy.abort();
        };
        local.run_until(served).await;
    }

    /// A connection to the end of a pipe that is returned with it.
    fn connection(
        is_ready: bool,
        early: BytesMut,
    ) -> (Connection<DuplexStream, Listener>, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1024);
        let hub = Hub::new(WorkerId(0), Limits::USUAL, Arc::default());
        let socket_id = SocketId::new(1, 1);
        let link = Link::new(ours, socket_id, None, KEEP_ALIVE, 65_536, 0, Arc::default());
        let key = hub.add(link.clone());
        let listener = Some(Listener { is_ready });
        let reader = FrameReader::new(1024);
        let connection = Connection::new(link, hub, key, reader, listener, early, None);
        (connection, theirs)
    }

    fn poll(connection: &mut Connection<DuplexStream, Listener>) -> Poll<()> {
        Pin::new(connection).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_idle_connection_keeps_nothing_of_the_buffer_of_its_handshake() {
        let (mut connection, _theirs) = connection(true, BytesMut::with_capacity(8192));
        assert!(poll(&mut connection).is_pending());
        assert_eq!(connection.unread.capacity(), 0);

        let mut early = BytesMut::with_capacity(8192);
        early.extend_from_slice(b"\x89\x80\0\0\0\0");
        let (mut connection, _theirs) = self::connection(true, early);
        assert!(poll(&mut connection).is_pending());
        assert_eq!(connection.unread.capacity(), 0);
    }

    #[test]
    fn c20_a_peer_that_is_not_read_owes_no_pong() {
        let (mut connection, _theirs) = connection(false, BytesMut::new());
        assert_eq!(connection.link.due(30, &Limits::USUAL), Due::Ping);
        assert!(poll(&mut connection).is_pending());
        assert_ne!(connection.link.due(50, &Limits::USUAL), Due::PongTimeout);

        connection.conversation = Some(Listener { is_ready: true });
        connection.link.note_received(50);
        assert_eq!(connection.link.due(80, &Limits::USUAL), Due::Ping);
        assert!(poll(&mut connection).is_pending());
        assert_eq!(connection.link.due(100, &Limits::USUAL), Due::PongTimeout);
    }

    #[test]
    fn a_message_that_never_becomes_whole_is_noticed_whatever_comes_in_between() {
        const LATE: u32 = Limits::USUAL.message_timeout_s + 1;
        let check = |pieces: &[&[u8]], expected: Due| {
            let (mut connection, mut theirs) = connection(true, BytesMut::new());
            for piece in pieces {
                let mut cx = Context::from_waker(Waker::noop());
                let written = Pin::new(&mut theirs).poll_write(&mut cx, piece);
                assert!(matches!(written, Poll::Ready(Ok(n)) if n == piece.len()));
                assert!(poll(&mut connection).is_pending());
            }
            connection.link.note_received(LATE);
            assert_eq!(
                connection.link.due(LATE, &Limits::USUAL),
                expected,
                "{pieces:?}"
            );
        };
        // a ping, a fragment that others follow, the last one, each without payload
        let (ping, first, last) = (b"\x89\x80abcd", b"\x01\x80abcd", b"\x80\x80abcd");
        check(&[ping], Due::Nothing);
        check(&[&ping[..3]], Due::MessageTimeout);
        check(&[&ping[..3], &ping[3..]], Due::Nothing);
        check(&[first], Due::MessageTimeout);
        check(&[first, ping], Due::MessageTimeout);
        check(&[first, ping, last], Due::Nothing);
        check(&[first, last, first], Due::MessageTimeout);
    }
}
