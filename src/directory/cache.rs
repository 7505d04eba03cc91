//! The last event of cache channels, with its age (S-20, S-21). Keeps events whether or not anybody is subscribed.

use std::time::Instant;

use lru::LruCache;

use crate::{frame::Frame, hub::inbox::ChannelKey, protocol::event::EventData};

/// A cached event as the HTTP API shows it (H-31).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    pub data: EventData<'static>,
    /// seconds it will still live, rounded up
    pub ttl_s: u64,
}

#[derive(Debug)]
struct Entry {
    frame: Frame,
    data: EventData<'static>,
    expires: Instant,
}

/// Cached events in the order of their publication.
pub struct Cache {
    entries: LruCache<ChannelKey, Entry>,
    events_max: usize,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache::new(0)
    }
}

impl Cache {
    /// Over `events_max` the event published longest ago is forgotten.
    pub fn new(events_max: usize) -> Cache {
        Cache {
            // Unbounded to the library, which would set memory aside for a bound at once.
            entries: LruCache::unbounded(),
            events_max,
        }
    }

    pub fn count(&self) -> usize {
        self.entries.len()
    }

    pub fn put(
        &mut self,
        channel: ChannelKey,
        frame: Frame,
        data: EventData<'static>,
        expires: Instant,
    ) {
        let entry = Entry {
            frame,
            data,
            expires,
        };
        self.entries.put(channel, entry);
        while self.entries.len() > self.events_max {
            self.entries.pop_lru();
        }
    }

    fn live(&self, channel: &ChannelKey, now: Instant) -> Option<&Entry> {
        self.entries
            .peek(channel)
            .filter(|entry| entry.expires > now)
    }

    /// The frame a new subscriber gets (S-22).
    pub fn frame(&self, channel: &ChannelKey, now: Instant) -> Option<Frame> {
        self.live(channel, now).map(|entry| entry.frame.clone())
    }

    pub fn get(&self, channel: &ChannelKey, now: Instant) -> Option<Cached> {
        self.live(channel, now).map(|entry| Cached {
            data: entry.data.clone(),
            ttl_s: (entry.expires - now).as_millis().div_ceil(1000) as u64,
        })
    }

    /// Forgets what has expired.
    pub fn expire(&mut self, now: Instant) {
        while self
            .entries
            .peek_lru()
            .is_some_and(|(_, entry)| entry.expires <= now)
        {
            self.entries.pop_lru();
        }
    }
}
