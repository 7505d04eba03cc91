//! What is to be done to channels later, in the order of its time.

use std::{collections::BTreeMap, time::Instant};

use crate::hub::inbox::ChannelKey;

/// Channels by the time they are due.
#[derive(Debug, Default)]
pub struct Later {
    /// the number tells entries of the same time apart
    entries: BTreeMap<(Instant, u64), ChannelKey>,
    added: u64,
}

impl Later {
    pub fn add(&mut self, due: Instant, channel: ChannelKey) {
        self.added += 1;
        self.entries.insert((due, self.added), channel);
    }

    /// Takes out the entry that is due longest, with its time.
    pub fn take(&mut self, now: Instant) -> Option<(Instant, ChannelKey)> {
        let first = self.entries.first_entry()?;
        let (due, _) = *first.key();
        (due <= now).then(|| (due, first.remove()))
    }
}
