//! What a listener asks of its connections, and how patient it is with them.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use tokio_rustls::TlsAcceptor;

use super::{
    misdialed::{self, Misdialed},
    room::Room,
};
use crate::{node::Node, peer::Peer};

/// What one listener asks of its connections.
#[derive(Clone)]
pub struct Entrance {
    pub tls: Option<TlsAcceptor>,
    /// trusted proxies must send a PROXY protocol header; otherwise nobody may
    pub takes_headers: bool,
    pub node: Arc<Node>,
    /// connections on which no request has come yet
    pub silent: Arc<AtomicUsize>,
    pub room: Arc<Room>,
}

impl Entrance {
    pub(super) fn expects_header(&self, peer: &Peer) -> bool {
        let settings = self.node.settings();
        self.takes_headers && peer.is_trusted(&settings.server.trusted_proxies)
    }

    pub(super) fn report(&self, peer: &Peer, what: Misdialed, message: &str) {
        misdialed::report(&self.node, peer, what, message);
    }

    /// For all that comes before HTTP, and then for the head of each request.
    pub fn timeout(&self) -> Duration {
        self.node.settings().server.handshake_timeout
    }

    /// What the system may hold for a peer besides what is on its way; `None` = as much as it likes.
    pub fn unsent_bytes_max(&self) -> Option<u32> {
        self.node.settings().socket.unsent_bytes_max
    }

    /// For a peer that takes nothing of what it is answered.
    pub fn write_timeout(&self) -> Duration {
        self.node.settings().socket.write_timeout
    }
}
