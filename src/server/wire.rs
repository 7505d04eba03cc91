//! The byte stream of one accepted connection, whatever it came over, and what must be known of it while it speaks HTTP:
//! who the peer is, whether it speaks what this listener expects, and how long the head of its next request takes.
//! Once it is a WebSocket, only the stream is left.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use actix_rt::net::TcpStream;
#[cfg(unix)]
use actix_rt::net::UnixStream;
use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::{
    entrance::Entrance,
    misdialed::{self, LastWords, Opening},
    patience::Patience,
};
use crate::{node::Node, peer::Peer};

/// Bytes that actix gets to read before it must answer what it has. It takes apart all that it has read, up to 128 KiB, at
/// once, and a request of 30 bytes becomes one of 7 KB: a client that sends thousands without waiting for answers would cost
/// 30 MB.
const READ_AT_ONCE: usize = 8 * 1024;

/// What a listener accepts.
pub enum Raw {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl From<TcpStream> for Raw {
    fn from(stream: TcpStream) -> Raw {
        Raw::Tcp(stream)
    }
}

#[cfg(unix)]
impl From<UnixStream> for Raw {
    fn from(stream: UnixStream) -> Raw {
        Raw::Unix(stream)
    }
}

impl Raw {
    /// `None` on a Unix socket, or when the peer is gone already.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        match self {
            Raw::Tcp(stream) => stream.peer_addr().ok(),
            #[cfg(unix)]
            Raw::Unix(_) => None,
        }
    }

    /// Frames are small and due at once.
    pub fn set_nodelay(&self) {
        if let Raw::Tcp(stream) = self {
            // What fails here fails again at the first read.
            let _ = stream.set_nodelay(true);
        }
    }
}

/// A raw stream with bytes in front that were read from it already.
pub struct Early {
    bytes: Bytes,
    raw: Raw,
}

impl Early {
    pub fn new(bytes: Bytes, raw: Raw) -> Early {
        Early { bytes, raw }
    }
}

enum Stream {
    Raw(Raw),
    Tls(Box<TlsStream<Early>>),
}

/// What a connection and its requests know in common; each request carries it as connection data.
pub struct Visit {
    node: Arc<Node>,
    peer: Peer,
    /// requests that reached the application
    requests: Cell<u32>,
    is_in_request: Cell<bool>,
    /// the connection to be served anew from its next bytes on
    again: RefCell<Option<Wire>>,
    /// until the first request
    silent: RefCell<Option<Silent>>,
}

/// Counts a connection that has said nothing yet.
struct Silent(Arc<AtomicUsize>);

impl Silent {
    fn of(count: &Arc<AtomicUsize>) -> Silent {
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
        if !self.visit.is_in_request.get() {
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

    /// Notes whether the peer takes what is written, and gives up one that doesn't: actix would wait for ever.
    fn poll_written<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write.end();
            if std::mem::take(&mut self.is_read_waiting) {
                cx.waker().wake_by_ref();
            }
            return written;
        }
        self.write.begin();
        ready!(self.write.poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
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
        http.poll_written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        match &mut this.http {
            Some(http) => http.poll_written(cx, flushed),
            None => flushed,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut_down = Pin::new(&mut this.stream).poll_shutdown(cx);
        match &mut this.http {
            Some(http) => http.poll_written(cx, shut_down),
            None => shut_down,
        }
    }
}

/// Hands every call on to the variant that is there.
macro_rules! delegate {
    ($type:ty, $($pattern:pat => $io:ident),+) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() { $($pattern => Pin::new($io).poll_read(cx, buffer)),+ }
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() { $($pattern => Pin::new($io).poll_write(cx, bytes)),+ }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() { $($pattern => Pin::new($io).poll_write_vectored(cx, slices)),+ }
            }

            fn is_write_vectored(&self) -> bool {
                match self { $($pattern => $io.is_write_vectored()),+ }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $($pattern => Pin::new($io).poll_flush(cx)),+ }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $($pattern => Pin::new($io).poll_shutdown(cx)),+ }
            }
        }
    };
}

#[cfg(unix)]
delegate!(Raw, Raw::Tcp(io) => io, Raw::Unix(io) => io);
#[cfg(not(unix))]
delegate!(Raw, Raw::Tcp(io) => io);
delegate!(Stream, Stream::Raw(io) => io, Stream::Tls(io) => io);

impl AsyncRead for Early {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Pin::new(&mut self.raw).poll_read(cx, buffer);
        }
        let length = buffer.remaining().min(self.bytes.len());
        buffer.put_slice(&self.bytes[..length]);
        self.bytes.advance(length);
        if self.bytes.is_empty() {
            // the memory behind it
            self.bytes = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Early {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.raw).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.raw).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.raw.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.raw).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.raw).poll_shutdown(cx)
    }
}
