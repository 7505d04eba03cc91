//! What all clients of one wave share: where the server is, who has said what, how much was done, and what went wrong.
use crate::{PATIENCE, server::Running};
use resound::{apps::App, client::Address};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// The streams of numbered messages: who publishes is sequential, so each of them arrives in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    News,
    Desk,
    Batch,
    Cache,
    Person,
    Flood,
    Twice,
    Talk,
}

/// So many are there.
pub const STREAMS: usize = 8;

/// What happens in each wave of full length.
const EVERYTHING: [&str; 20] = [
    "broken requests",
    "closings",
    "connections",
    "drops",
    "evictions for a full outbox",
    "evictions for a missing pong",
    "garbage frames",
    "half-open connections",
    "health checks",
    "live events",
    "messages heard, each once and in order",
    "messages published",
    "presences",
    "reloads",
    "requests",
    "resets",
    "sign-ins",
    "silent clients",
    "slow senders",
    "stalled readers",
];

pub struct Field {
    pub address: SocketAddr,
    pub at: Address,
    pub admin: SocketAddr,
    pub pid: u32,
    pub app: App,
    /// messages of other waves may still be in caches
    pub number: usize,
    pub wave: Duration,
    sent: [AtomicU64; STREAMS],
    ready: AtomicUsize,
    has_begun: AtomicBool,
    is_over: AtomicBool,
    is_published: AtomicBool,
    faults: Mutex<Vec<String>>,
    done: Mutex<BTreeMap<&'static str, u64>>,
}

impl Field {
    pub fn new(running: &Running, number: usize, wave: Duration) -> Field {
        Field {
            address: running.address,
            at: Address::of_listener(running.address.ip(), running.address.port(), false),
            admin: running.admin,
            pid: running.id(),
            app: running.app.clone(),
            number,
            wave,
            sent: Default::default(),
            ready: AtomicUsize::new(0),
            has_begun: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            is_published: AtomicBool::new(false),
            faults: Mutex::default(),
            done: Mutex::default(),
        }
    }

    /// What one message says: wave, stream, number.
    pub fn message(&self, stream: Stream) -> String {
        let number = self.sent[stream as usize].fetch_add(1, Relaxed);
        self.did("messages published");
        format!("{} {} {number}", self.number, stream as usize)
    }

    pub fn sent(&self, stream: usize) -> u64 {
        self.sent[stream].load(Relaxed)
    }

    pub fn did(&self, what: &'static str) {
        self.did_times(what, 1);
    }

    pub fn did_times(&self, what: &'static str, times: u64) {
        let mut done = self.done.lock().expect("nobody panics with it");
        *done.entry(what).or_default() += times;
    }

    pub fn fault(&self, what: String) {
        let mut faults = self.faults.lock().expect("nobody panics with it");
        faults.push(what);
    }

    /// The first of them tell the most.
    pub fn faults(&self) -> Vec<String> {
        let faults = self.faults.lock().expect("nobody panics with it");
        faults.iter().take(30).cloned().collect()
    }

    /// A wave that leaves something out shows nothing about it.
    pub fn assert_everything_was_done(&self) {
        let done = self.done.lock().expect("nobody panics with it");
        for what in EVERYTHING {
            assert!(done.contains_key(what), "no {what} in a whole wave");
        }
    }

    pub fn summary(&self) -> String {
        let done = self.done.lock().expect("nobody panics with it");
        let each = done.iter().map(|(what, times)| format!("{times} {what}"));
        each.collect::<Vec<_>>().join(", ")
    }

    pub fn is_ready(&self) {
        self.ready.fetch_add(1, Relaxed);
    }

    pub async fn wait_until_ready(&self, listeners: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.ready.load(Relaxed) < listeners {
            let faults = self.faults();
            assert!(
                Instant::now() < deadline && faults.is_empty(),
                "listeners aren't subscribed: {faults:?}"
            );
            sleep(Duration::from_millis(10)).await;
        }
        self.has_begun.store(true, Relaxed);
    }

    /// Messages may be published: everybody is there who must get them.
    pub fn has_begun(&self) -> bool {
        self.has_begun.load(Relaxed)
    }

    /// Nothing new is begun.
    pub fn end(&self) {
        self.is_over.store(true, Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    /// Nothing more comes: listeners can count.
    pub fn publishing_is_over(&self) {
        self.is_published.store(true, Relaxed);
    }

    pub fn is_published(&self) -> bool {
        self.is_published.load(Relaxed)
    }

    /// As long, or less if the wave is over before.
    pub async fn rest(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.is_over() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(Duration::from_millis(50))).await;
        }
    }
}
