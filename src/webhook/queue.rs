//! The queue of one endpoint: bounded over all its lanes, in order within each.
use super::Event;
use crate::apps::webhook::Webhook;
use rustc_hash::FxHasher;
use std::{
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{sync::mpsc, time::Instant};

/// How much may wait. Counted in events and in bytes, as one client event may be as large as a thousand others.
pub(super) struct Budget {
    events: AtomicUsize,
    bytes: AtomicUsize,
    events_max: usize,
    bytes_max: usize,
}

impl Budget {
    pub(super) fn new(events_max: usize, bytes_max: usize) -> Budget {
        Budget {
            events: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            events_max,
            bytes_max,
        }
    }

    /// Counts one more event; `false` if there is no room.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let events = self.events.fetch_add(1, Ordering::AcqRel);
        let total = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        let fits = events < self.events_max && total.saturating_add(bytes) <= self.bytes_max;
        if !fits {
            self.give_back(1, bytes);
        }
        fits
    }

    pub(super) fn give_back(&self, events: usize, bytes: usize) {
        self.events.fetch_sub(events, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    pub(super) fn events(&self) -> usize {
        self.events.load(Ordering::Acquire)
    }
}

/// An event on its way to an endpoint.
pub(super) struct Queued {
    pub(super) event: Arc<Event>,
    pub(super) since: Instant,
}

/// The entrance to an endpoint's lanes.
pub(super) struct Outlet {
    webhook: Arc<Webhook>,
    /// unbounded, because `budget` counts for all of them
    lanes: Vec<mpsc::UnboundedSender<Queued>>,
    budget: Arc<Budget>,
}

impl Outlet {
    /// `lanes`: at least one.
    pub(super) fn new(
        webhook: Arc<Webhook>,
        lanes: Vec<mpsc::UnboundedSender<Queued>>,
        budget: Arc<Budget>,
    ) -> Outlet {
        Outlet {
            webhook,
            lanes,
            budget,
        }
    }

    /// Whether the endpoint is to be told (W-13).
    pub(super) fn takes(&self, event: &Event) -> bool {
        self.webhook.takes(event.kind(), event.channel())
    }

    /// Events of one channel always take the same lane, which keeps their order (W-10). `false` if there is no room.
    pub(super) fn push(&self, event: &Arc<Event>, now: Instant) -> bool {
        let bytes = event.bytes();
        if !self.budget.take(bytes) {
            return false;
        }
        let mut hasher = FxHasher::default();
        event.channel().hash(&mut hasher);
        // The upper bits: Fx mixes upwards.
        let lane = (hasher.finish() >> 32) as usize % self.lanes.len();
        let queued = Queued {
            event: event.clone(),
            since: now,
        };
        let is_sent = self.lanes[lane].send(queued).is_ok();
        if !is_sent {
            self.budget.give_back(1, bytes);
        }
        is_sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_at_either_limit() {
        let budget = Budget::new(2, 100);
        assert!(budget.take(10));
        assert!(budget.take(10));
        assert!(!budget.take(10), "events");
        budget.give_back(1, 10);
        assert!(!budget.take(91), "bytes");
        assert!(budget.take(90));
        assert_eq!(budget.events(), 2);
        budget.give_back(2, 100);
        assert_eq!(budget.events(), 0);
        assert!(!budget.take(usize::MAX));
        assert!(budget.take(100));
    }
}
