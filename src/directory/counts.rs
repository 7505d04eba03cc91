//! Telling a channel how many connections it has (S-24 to S-27).

use std::time::{Duration, Instant};

use super::{Directory, Shard};
use crate::{
    apps::{App, SubscriptionCount},
    hub::inbox::{ChannelKey, Position},
    protocol::{
        channel::{ChannelKind, ChannelName},
        server,
    },
    webhook::Event,
};

/// Connections on a channel up to which each change of their number is told at once (S-26).
pub const COUNTED_AT_ONCE_MAX: u32 = 100;

/// How often the number is told on larger channels (S-26).
pub const COUNT_PAUSE: Duration = Duration::from_secs(5);

/// Whether a channel's subscribers are told how many they are (S-24, S-27, U-16).
pub fn is_counted(app: &App, name: &ChannelName) -> bool {
    let kind = name.kind();
    if kind.is_presence() || kind == ChannelKind::ServerToUser || name.is_internal() {
        return false;
    }
    match app.subscription_count {
        SubscriptionCount::Off => false,
        SubscriptionCount::On => true,
        SubscriptionCount::OnUnlessEncrypted => !kind.is_encrypted(),
    }
}

impl Directory {
    /// Tells a channel its new number of connections, at once or as soon as it may be told again (S-26).
    pub(super) fn count_changed(
        &self,
        app: &App,
        shard: &mut Shard,
        channel: &ChannelKey,
        now: Instant,
    ) {
        if !is_counted(app, &channel.name) {
            return;
        }
        let Some(entry) = shard.channels.get_mut(channel) else {
            return;
        };
        let next = entry.count_told.map(|told| told + COUNT_PAUSE);
        match next {
            Some(next) if entry.connections() > COUNTED_AT_ONCE_MAX && next > now => {
                if !entry.is_count_due {
                    entry.is_count_due = true;
                    shard.counts.add(next, channel.clone());
                }
            }
            _ => self.tell_count(shard, channel, now),
        }
    }

    pub(super) fn tell_count(&self, shard: &mut Shard, channel: &ChannelKey, now: Instant) {
        let Some(entry) = shard.channels.get_mut(channel) else {
            return;
        };
        entry.count_told = Some(now);
        entry.is_count_due = false;
        let count = entry.connections();
        self.raise(channel, |channel| Event::SubscriptionCount {
            channel,
            count,
        });
        let frame = server::subscription_count(&channel.name, count);
        shard.position += 1;
        self.tell(entry, channel, Position(shard.position), &frame, None, now);
    }
}
