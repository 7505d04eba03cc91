//! Who is at the other end of a connection, as the listener that accepted it saw it.

use std::net::SocketAddr;

/// What the listener knows of a connection. HTTP requests and handshakes carry it as connection data
/// (`request.conn_data::<Peer>()`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The address the connection came from: by TCP, or what a PROXY protocol header says; `None` on a Unix socket.
    pub address: Option<SocketAddr>,
    /// the client speaks TLS: to the listener itself, or to a proxy whose PROXY protocol header says so
    pub is_tls: bool,
}
