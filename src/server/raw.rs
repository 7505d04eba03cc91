//! What a listener accepts, TCP or a Unix socket: its bytes, and the options that the system is told for it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_rt::net::TcpStream;
#[cfg(unix)]
use actix_rt::net::UnixStream;
use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::room::Taken;
use crate::{hub::link::Transport, peer::Peer};

/// What a listener accepts.
pub enum Raw {
    Tcp(TcpStream, Taken),
    #[cfg(unix)]
    Unix(UnixStream, Taken),
}

impl From<TcpStream> for Raw {
    fn from(stream: TcpStream) -> Raw {
        Raw::Tcp(stream, Taken::one())
    }
}

#[cfg(unix)]
impl From<UnixStream> for Raw {
    fn from(stream: UnixStream) -> Raw {
        Raw::Unix(stream, Taken::one())
    }
}

impl Raw {
    /// Who is at the other end. `None`: nobody any more. What was said over TCP before can still be read then, but must not be
    /// taken for somebody's at a Unix socket, who is believed.
    pub fn peer(&self) -> Option<Peer> {
        let address = match self {
            Raw::Tcp(stream, _) => Some(stream.peer_addr().ok()?),
            #[cfg(unix)]
            Raw::Unix(..) => None,
        };
        Some(Peer {
            address,
            is_tls: false,
        })
    }

    /// Has what is written leave at once, for frames are small, and lets the system hold no more than `unsent_bytes_max` of
    /// it unsent. `None`: what the system likes, which is megabytes for a peer that doesn't read.
    pub fn prepare(&self, unsent_bytes_max: Option<u32>) {
        let Raw::Tcp(stream, _) = self else {
            return;
        };
        // What fails here fails again at the first read.
        let _ = stream.set_nodelay(true);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(bytes) = unsent_bytes_max {
            let _ = SockRef::from(stream).set_tcp_notsent_lowat(bytes);
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = unsent_bytes_max;
    }

    /// Has the end of this stream be a reset, and what the peer hasn't taken thrown away: the system would keep it, and try
    /// for minutes to deliver it to a peer that doesn't read or isn't there.
    pub fn reset_at_end(&self) {
        if let Raw::Tcp(stream, _) = self {
            reset_at_end(stream);
        }
    }
}

fn reset_at_end(stream: &TcpStream) {
    // Should it fail, the end is only a later one.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

impl Transport for TcpStream {
    fn reset_at_end(&mut self) {
        reset_at_end(self);
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

    pub fn raw(&self) -> &Raw {
        &self.raw
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

pub(super) use delegate;

#[cfg(unix)]
delegate!(Raw, Raw::Tcp(io, _) => io, Raw::Unix(io, _) => io);
#[cfg(not(unix))]
delegate!(Raw, Raw::Tcp(io, _) => io);

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
