//! How the cluster is doing, as this node sees it: for readiness, metrics and quotas. Written by the driver alone.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;

use crate::metrics::worker::Histogram;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Status {
    is_up: AtomicBool,
    /// whether it is known if Redis is there
    is_tried: AtomicBool,
    /// other nodes that give signs of life, and this one
    pub nodes_alive: AtomicUsize,
    /// times that Redis was lost
    pub losses: AtomicU64,
    /// events that wait for Redis
    pub backlog_events: AtomicUsize,
    pub backlog_bytes: AtomicUsize,
    /// events that did not reach other nodes: too many waited for Redis, or for too long
    pub dropped: AtomicU64,
    /// events of other nodes that did not come
    pub missed: AtomicU64,
    /// messages of other versions, skipped
    pub skipped: AtomicU64,
    /// times that this node was taken for dead
    pub renamed: AtomicU64,
    /// how long Redis took for a batch of calls
    pub latency: Histogram,
    /// by app id
    connections_elsewhere: ArcSwap<HashMap<String, usize>>,
    name: ArcSwap<String>,
}

impl Status {
    /// Whether Redis is there.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Whether Redis has been asked for at all: connected to, or in vain.
    pub fn is_tried(&self) -> bool {
        self.is_tried.load(Ordering::Relaxed)
    }

    /// Returns whether it was there before.
    pub(super) fn set_up(&self, is_up: bool) -> bool {
        let was_up = self.is_up.swap(is_up, Ordering::Relaxed);
        self.is_tried.store(true, Ordering::Relaxed);
        was_up
    }

    /// What this node is called in the cluster; another name after it was taken for dead.
    pub fn name(&self) -> Arc<String> {
        self.name.load_full()
    }

    pub(super) fn set_name(&self, name: &str) {
        self.name.store(Arc::new(name.to_owned()));
    }

    /// Open connections of the app on other nodes, at the last heartbeat; only of apps with a quota.
    pub fn connections_elsewhere(&self, app_id: &str) -> usize {
        let counts = self.connections_elsewhere.load();
        counts.get(app_id).copied().unwrap_or_default()
    }

    pub(super) fn set_connections_elsewhere(&self, counts: HashMap<String, usize>) {
        self.connections_elsewhere.store(Arc::new(counts));
    }
}
