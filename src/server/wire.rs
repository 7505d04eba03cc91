//! The byte stream of one accepted connection, whatever it came over, and what must be known of it while it speaks HTTP:
//! who the peer is, whether it speaks what this listener expects, and how long the head of its next request takes.
//! Once it is a WebSocket, only the stream is left.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::{
    entrance::Entrance,
    misdialed::{self, LastWords, Opening},
    patience::Patience,
    raw::{Early, Raw, delegate},
};
use crate::{hub::link::Transport, node::Node, peer::Peer};

/// Bytes that actix gets to read before it must answer what it has. It takes apart all that it has read, up to 128 KiB, at
/// once, and a request of 30 bytes becomes one of 7 KB: a client that sends thousands without waiting for answers would cost
/// 30 MB.
const READ_AT_ONCE: usize = 8 * 1024;

enum Stream {
    Raw(Raw),
    Tls(Box<TlsStream<Early>>),
}

impl Stream {
    fn reset_at_end(&self) {
        match self {
            Stream::Raw(raw) => raw.reset_at_end(),
            Stream::Tls(tls) => tls.get_ref().0.raw().reset_at_end(),
        }
    }
}

/// What a connection and its requests know in common; each request carries it as connection data.
pub struct Visit {
    node: Arc<Node>,
    peer: Peer,
    /// requests that reached the application
    requests: Cell<u32>,
    is_in_request: Cell<bool>,
    /// what comes is no HTTP any more
    is_switched: Cell<bool>,
    /// the connection to be served anew from its next bytes on
    again: RefCell<Option<Wire>>,
    /// until the first request
    silent: RefCell<Option<Silent>>,
}

/// Counts a connection that has said nothing yet.
pub struct Silent(Arc<AtomicUsize>);

impl Silent {
    pub fn of(count: &Arc<AtomicUsize>) -> Silent {
        count.fetch_add(1, Ordering::Relaxed);
        Silent(count.clone())
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Visit {
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// A request has arrived whole, as far as its head goes. It lasts until the guard is dropped.
    pub fn begin_request(self: &Rc<Visit>) -> InRequest {
        self.requests.set(self.requests.get().wrapping_add(1));
        self.is_in_request.set(true);
        self.silent.replace(None);
        InRequest(self.clone())
    }

    /// Has the connection served as if it began anew.
    pub fn serve_again(&self, wire: Wire) {
        self.again.replace(Some(wire));
    }

    pub fn take_again(&self) -> Option<Wire> {
        self.again.take()
    }
}

/// A request is being answered.
pub struct InRequest(Rc<Visit>);

impl InRequest {
    /// It was answered with another protocol (a WebSocket that actix serves): nothing that comes is the head of a request.
    pub fn switched(self) {
        self.0.is_switched.set(true);
    }
}

impl Drop for InRequest {
    fn drop(&mut self) {
        self.0.is_in_request.set(false);
    }
}

/// See the module's documentation.
pub struct Wire {
    stream: Stream,
    /// `None` once it is a WebSocket: idle sockets carry nothing of this
    http: Option<Box<Http>>,
}

struct Http {
    visit: Rc<Visit>,
    early: Bytes,
    /// nothing was read yet, so the first bytes are looked at
    is_fresh: bool,
    /// only `early` is still of interest
    is_socket: bool,
    /// requests that were seen at the last look
    requests_seen: u32,
    /// while the head of a request is incomplete
    head: Patience,
    /// while the peer takes none of what it is answered
    write: Patience,
    /// reading was put off because of that
    is_read_waiting: bool,
    /// since reading last stopped
    bytes_read: usize,
}

impl Wire {
    /// A connection without TLS. `early`: bytes that were read already.
    pub fn plain(raw: Raw, early: Bytes, peer: Peer, entrance: &Entrance) -> Wire {
        Wire::new(Stream::Raw(raw), early, peer, entrance)
    }

    /// A connection whose TLS handshake is done.
    pub fn tls(stream: TlsStream<Early>, peer: Peer, entrance: &Entrance) -> Wire {
        let stream = Stream::Tls(Box::new(stream));
        let mut wire = Wire::new(stream, Bytes::new(), peer, entrance);
        if let Some(http) = &mut wire.http {
            http.is_fresh = false;
        }
        wire
    }

    fn new(stream: Stream, early: Bytes, peer: Peer, entrance: &Entrance) -> Wire {
        let visit = Rc::new(Visit {
            node: entrance.node.clone(),
            peer,
            requests: Cell::new(0),
            is_in_request: Cell::new(false),
            is_switched: Cell::new(false),
            again: RefCell::new(None),
            silent: RefCell::new(Some(Silent::of(&entrance.silent))),
        });
        Wire {
            stream,
            http: Some(Box::new(Http {
                visit,
                early,
                is_fresh: true,
                is_socket: false,
                requests_seen: 0,
                head: Patience::new(entrance.timeout()),
                write: Patience::new(entrance.write_timeout()),
                is_read_waiting: false,
                bytes_read: 0,
            })),
        }
    }

    /// `None` once the connection is a WebSocket.
    pub fn visit(&self) -> Option<&Rc<Visit>> {
        self.http.as_ref().map(|http| &http.visit)
    }

    /// From now on these bytes come first, and then what else arrives.
    pub fn rewind(&mut self, bytes: Bytes) {
        if let Some(http) = &mut self.http {
            // What is left there comes after what was read.
            http.early = match http.early.is_empty() {
                true => bytes,
                false => [bytes, std::mem::take(&mut http.early)].concat().into(),
            };
        }
    }

    /// No HTTP is spoken from here on.
    pub fn become_socket(&mut self) {
        match &mut self.http {
            Some(http) if !http.early.is_empty() => http.is_socket = true,
            http => *http = None,
        }
    }

    /// Gives up a peer that takes nothing of what it is answered: actix would wait for ever.
    fn poll_written<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(http) = &mut self.http else {
            return written;
        };
        if http.poll_write_timeout(cx, written.is_ready()).is_pending() {
            return written;
        }
        self.stream.reset_at_end();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes what it can of a short answer before the connection is given up.
    fn say_last(&mut self, cx: &mut Context<'_>, words: LastWords) {
        let _ = Pin::new(&mut self.stream).poll_write(cx, &words.to_bytes());
        let _ = Pin::new(&mut self.stream).poll_flush(cx);
        let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
    }
}

impl Http {
    /// Bytes have come. Outside a request they are the beginning of the next one.
    fn note_bytes(&mut self) {
        self.note_requests();
        if !self.visit.is_in_request.get() && !self.visit.is_switched.get() {
            self.head.begin();
        }
    }

    /// What goes out tells why the head of a request was refused. Browsers open connections in advance and say nothing
    /// over them: that is no refusal.
    fn report(&self, words: LastWords) {
        if self.head.since.is_some() {
            misdialed::refused_head(&self.visit.node, &self.visit.peer, words);
        }
    }

    fn note_requests(&mut self) {
        let requests = self.visit.requests.get();
        if self.requests_seen != requests {
            self.requests_seen = requests;
            self.head.end();
        }
    }

    /// `Ready` when the head of a request takes too long. actix has a timer for the first one of a connection only.
    fn poll_head_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.note_requests();
        self.head.poll(cx)
    }

    /// Notes whether the peer takes what is written. `Ready` when it hasn't for too long.
    fn poll_write_timeout(&mut self, cx: &mut Context<'_>, is_taken: bool) -> Poll<()> {
        if is_taken {
            self.write.end();
            if std::mem::take(&mut self.is_read_waiting) {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        self.write.begin();
        ready!(self.write.poll(cx));
        misdialed::answers_untaken(&self.visit.node, &self.visit.peer);
        Poll::Ready(())
    }

    /// Whether what comes next must wait: for what was read to be answered, and for answers to be taken. actix would go on
    /// answering a peer that reads nothing, and keep it all.
    fn is_read_put_off(&mut self, cx: &mut Context<'_>) -> bool {
        self.is_read_waiting = self.write.since.is_some();
        if self.is_read_waiting {
            return true;
        }
        if self.bytes_read < READ_AT_ONCE {
            return false;
        }
        self.bytes_read = 0;
        cx.waker().wake_by_ref();
        true
    }
}

impl Transport for Wire {
    fn reset_at_end(&mut self) {
        self.stream.reset_at_end();
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(http) = &mut this.http else {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        };
        if http.is_read_put_off(cx) {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if http.early.is_empty() {
            match Pin::new(&mut this.stream).poll_read(cx, buffer) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    misdialed::broken_tls(&http.visit.node, &http.visit.peer, &error);
                    return Poll::Ready(Err(error));
                }
                Poll::Pending => {
                    http.bytes_read = 0;
                    ready!(http.poll_head_timeout(cx));
                    http.report(misdialed::HEAD_TOO_SLOW);
                    this.say_last(cx, misdialed::HEAD_TOO_SLOW);
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        } else {
            let length = buffer.remaining().min(http.early.len());
            buffer.put_slice(&http.early[..length]);
            http.early.advance(length);
            if http.is_socket {
                this.become_socket();
                return Poll::Ready(Ok(()));
            }
        }
        let bytes = &buffer.filled()[before..];
        if bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        http.bytes_read += bytes.len();
        http.note_bytes();
        if std::mem::take(&mut http.is_fresh)
            && let Some(last_words) =
                misdialed::on_plain(Opening::of(bytes), &http.visit.node, &http.visit.peer)
        {
            buffer.set_filled(before);
            this.say_last(cx, last_words);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(http) = &mut this.http else {
            return Pin::new(&mut this.stream).poll_write(cx, bytes);
        };
        let instead = misdialed::answer_instead(bytes);
        let written = match instead {
            None => Pin::new(&mut this.stream).poll_write(cx, bytes),
            // actix ends the connection after this, so the part that may not fit is lost on nobody.
            Some(answer) => Pin::new(&mut this.stream)
                .poll_write(cx, &answer.to_bytes())
                .map_ok(|_| bytes.len()),
        };
        if let (Some(answer), Poll::Ready(Ok(_))) = (instead, &written) {
            http.report(answer);
        }
        this.poll_written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.poll_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.poll_written(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut_down = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.poll_written(cx, shut_down)
    }
}

delegate!(Stream, Stream::Raw(io) => io, Stream::Tls(io) => io);
