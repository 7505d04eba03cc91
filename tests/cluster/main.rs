//! Several real nodes on a real Redis: what holds in good times (`functional`), and what through everything that can break
//! (`faults`), each event and each member accounted for. Needs `redis-server` and `redis-sentinel`; every test starts its own.
#[allow(dead_code)]
#[path = "../binary/mod.rs"]
mod binary;
#[allow(dead_code)]
#[path = "../server/client.rs"]
mod client;
mod clients;
mod faults;
mod functional;
mod ledger;
mod nodes;
mod ports;
mod proxy;
#[allow(dead_code)]
#[path = "../webhook/receiver.rs"]
mod receiver;
mod redis;
mod rest;

/// What `client` and `rest` call what they talk to.
mod helpers {
    pub use crate::nodes::Node as Server;
}

use std::time::{Duration, Instant};

/// Far more than anything takes, on a machine that is busy with other tests; a condition that isn't met by then fails the test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a condition holds.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until something holds that nobody has to be asked for.
pub async fn until_seen(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl receiver::Receiver {
    /// Expects these events next, in whatever order.
    pub async fn expect(&mut self, expected: &[impl AsRef<str>]) {
        let mut events = self.events(expected.len()).await;
        events.sort();
        let mut expected: Vec<&str> = expected.iter().map(AsRef::as_ref).collect();
        expected.sort_unstable();
        assert_eq!(events, expected);
    }
}
