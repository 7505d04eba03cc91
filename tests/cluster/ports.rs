//! Free ports on which a server can be started again after it was stopped: nobody is given them by chance.
use std::{collections::HashSet, net::TcpListener, sync::Mutex};

/// Below those that systems hand out (from 32768, or 49152), and so that 10,000 more, where a node of a Redis Cluster listens
/// to its likes, is below them, too.
const PORTS: std::ops::Range<u16> = 10_240..20_000;
const BUS: u16 = 10_000;

static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port that nobody listens on, and that no other test of this run is given.
pub fn free_port() -> u16 {
    let mut taken = TAKEN
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let taken = taken.get_or_insert_default();
    loop {
        let port = rand::random_range(PORTS);
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if !taken.contains(&port) && is_free(port) && is_free(port + BUS) {
            taken.insert(port);
            return port;
        }
    }
}
