//! The way to a server: where a socket comes from, and the handshake.
use super::{Over, Plan};
use crate::{
    bench::{stage::Stage, swarm::source},
    client::Address,
};
use mio::net::TcpStream;
use socket2::{Domain, Protocol, Type};
use std::{io, net::SocketAddr};

/// What a stalled socket's system takes before the server has to keep it.
const STALLED_RECEIVE_BYTES: usize = 4096;

/// `EINPROGRESS` of Linux and of the BSDs and macOS.
const IN_PROGRESS: [i32; 2] = [115, 36];

/// Begins to connect.
pub(super) fn connect(plan: &Plan, stage: &Stage) -> io::Result<TcpStream> {
    let to = stage.servers[plan.server].at;
    let socket = socket2::Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if plan.is_stalled {
        socket.set_recv_buffer_size(STALLED_RECEIVE_BYTES)?;
    }
    bind(&socket, stage, to)?;
    match socket.connect(&to.into()) {
        Err(error)
            if !error
                .raw_os_error()
                .is_some_and(|code| IN_PROGRESS.contains(&code)) =>
        {
            Err(error)
        }
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Chooses where it comes from. A port that somebody has is passed over.
fn bind(socket: &socket2::Socket, stage: &Stage, to: SocketAddr) -> io::Result<()> {
    const TRIES: usize = 64;
    for _ in 1..TRIES {
        let Some(from) = source(stage, to) else {
            return Ok(());
        };
        match socket.bind(&from.into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
    Err(io::ErrorKind::AddrNotAvailable.into())
}

pub(super) fn upgrade_request(address: &Address, key: &str) -> String {
    let host = address.authority();
    let url = address.socket_url(key);
    let (_, behind_scheme) = url.split_once("://").unwrap_or_default();
    let target = behind_scheme
        .find('/')
        .map_or("/", |at| &behind_scheme[at..]);
    let scheme = address.scheme();
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {scheme}://{host}\r\n\r\n"
    )
}

/// Bytes of the answer to the handshake, once all of it is there.
pub(super) fn upgraded(bytes: &[u8]) -> Result<Option<usize>, Over> {
    /// Far more than any server sends.
    const HEAD_BYTES_MAX: usize = 16_384;
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return match bytes.len() > HEAD_BYTES_MAX {
            true => Err("the answer to the handshake has no end".to_owned()),
            false => Ok(None),
        };
    };
    if bytes.starts_with(b"HTTP/1.1 101") {
        return Ok(Some(end + 4));
    }
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let body = String::from_utf8_lossy(&bytes[end + 4..]);
    Err(format!(
        "the handshake is answered with {line}: {}",
        body.trim()
    ))
}
