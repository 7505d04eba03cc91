//! What is told and when: removals wait and may be cancelled (W-11), repeated cache misses are left out (W-6). Pure: time is
//! passed in.
use super::Event;
use crate::{config::WebhookSettings, protocol::channel::ChannelName};
use lru::LruCache;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// An event for an app's endpoints.
pub(super) type Ready = (u32, Event);

/// Holds what waits. Both maps are bounded and keep their entries in the order of time.
pub(super) struct Collector {
    removal_delay: Duration,
    cache_miss_interval: Duration,
    entries_max: usize,
    /// with the time at which they are due: the first in is the first due, as the delay is the same for all
    held: LruCache<Removal, Instant>,
    /// when a channel's cache miss was last told
    misses: LruCache<(u32, ChannelName), Instant>,
}

/// A channel that was vacated or, with a user, a member that left.
#[derive(PartialEq, Eq, Hash)]
struct Removal {
    app: u32,
    channel: ChannelName,
    user_id: Option<Arc<str>>,
}

impl Removal {
    fn ready(self) -> Ready {
        let Removal {
            app,
            channel,
            user_id,
        } = self;
        let event = match user_id {
            None => Event::ChannelVacated { channel },
            Some(user_id) => Event::MemberRemoved { channel, user_id },
        };
        (app, event)
    }
}

impl Collector {
    pub(super) fn new(settings: &WebhookSettings) -> Collector {
        Collector {
            removal_delay: settings.removal_delay,
            cache_miss_interval: settings.cache_miss_interval,
            entries_max: settings.queue_events_max,
            held: LruCache::unbounded(),
            misses: LruCache::unbounded(),
        }
    }

    /// Takes over new settings. What is held back already keeps its time.
    pub(super) fn configure(&mut self, settings: &WebhookSettings) {
        self.removal_delay = settings.removal_delay;
        self.cache_miss_interval = settings.cache_miss_interval;
    }

    /// Events held back.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes an event in; what is to be told at once is appended to `ready`.
    pub(super) fn take(&mut self, app: u32, event: Event, now: Instant, ready: &mut Vec<Ready>) {
        // what is due must not be cancelled by what came later
        self.release(now, ready);
        let removal = |channel: &ChannelName, user_id: Option<&Arc<str>>| Removal {
            app,
            channel: channel.clone(),
            user_id: user_id.cloned(),
        };
        match &event {
            Event::ChannelVacated { channel } => self.hold(removal(channel, None), now, ready),
            Event::MemberRemoved { channel, user_id } => {
                self.hold(removal(channel, Some(user_id)), now, ready);
            }
            Event::ChannelOccupied { channel } => {
                if self.held.pop(&removal(channel, None)).is_none() {
                    ready.push((app, event));
                }
            }
            Event::MemberAdded { channel, user_id } => {
                if self.held.pop(&removal(channel, Some(user_id))).is_none() {
                    ready.push((app, event));
                }
            }
            Event::CacheMiss { channel } => {
                if self.is_news(app, channel, now) {
                    ready.push((app, event));
                }
            }
            Event::ClientEvent { .. } | Event::SubscriptionCount { .. } => {
                ready.push((app, event));
            }
        }
    }

    /// Holds a removal back. Over the limit the one that has waited longest goes out early: the delay is a courtesy.
    fn hold(&mut self, removal: Removal, now: Instant, ready: &mut Vec<Ready>) {
        if self.removal_delay.is_zero() {
            return ready.push(removal.ready());
        }
        if self.held.peek(&removal).is_some() {
            return;
        }
        if self.held.len() >= self.entries_max
            && let Some((oldest, _)) = self.held.pop_lru()
        {
            ready.push(oldest.ready());
        }
        self.held.put(removal, now + self.removal_delay);
    }

    /// Whether the channel's last cache miss was told long enough ago. Over the limit the oldest are forgotten and may be
    /// told again.
    fn is_news(&mut self, app: u32, channel: &ChannelName, now: Instant) -> bool {
        let interval = self.cache_miss_interval;
        let is_over = |told: &Instant| now.saturating_duration_since(*told) >= interval;
        while self
            .misses
            .peek_lru()
            .is_some_and(|(_, told)| is_over(told))
        {
            self.misses.pop_lru();
        }
        let key = (app, channel.clone());
        if self.misses.peek(&key).is_some() {
            return false;
        }
        if self.misses.len() >= self.entries_max {
            self.misses.pop_lru();
        }
        if !interval.is_zero() {
            self.misses.put(key, now);
        }
        true
    }

    /// When [`Collector::release`] has something to do next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.held.peek_lru().map(|(_, due)| *due)
    }

    /// Appends the removals whose time has come, in the order in which they happened.
    pub(super) fn release(&mut self, now: Instant, ready: &mut Vec<Ready>) {
        while self.held.peek_lru().is_some_and(|(_, due)| *due <= now) {
            ready.extend(self.held.pop_lru().map(|(removal, _)| removal.ready()));
        }
    }

    /// Appends all that is held, and holds nothing from now on.
    pub(super) fn stop_holding(&mut self, ready: &mut Vec<Ready>) {
        self.removal_delay = Duration::ZERO;
        while let Some((removal, _)) = self.held.pop_lru() {
            ready.push(removal.ready());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name, 200).expect(name)
    }

    fn event(text: &str) -> Event {
        let (name, rest) = text.split_once(' ').expect(text);
        let (room, user) = rest.split_once(' ').unwrap_or((rest, ""));
        let (channel, user_id) = (channel(room), Arc::from(user));
        match name {
            "occupied" => Event::ChannelOccupied { channel },
            "vacated" => Event::ChannelVacated { channel },
            "added" => Event::MemberAdded { channel, user_id },
            "removed" => Event::MemberRemoved { channel, user_id },
            "miss" => Event::CacheMiss { channel },
            "count" => Event::SubscriptionCount { channel, count: 1 },
            _ => panic!("{text}"),
        }
    }

    fn text((app, told): &Ready) -> String {
        let channel = told.channel();
        let text = match told {
            Event::ChannelOccupied { .. } => format!("occupied {channel}"),
            Event::ChannelVacated { .. } => format!("vacated {channel}"),
            Event::MemberAdded { user_id, .. } => format!("added {channel} {user_id}"),
            Event::MemberRemoved { user_id, .. } => format!("removed {channel} {user_id}"),
            Event::CacheMiss { .. } => format!("miss {channel}"),
            Event::SubscriptionCount { .. } => format!("count {channel}"),
            Event::ClientEvent { event, .. } => format!("{event} {channel}"),
        };
        match app {
            0 => text,
            app => format!("{app}: {text}"),
        }
    }

    fn collector(entries_max: usize) -> Collector {
        let mut settings = crate::config::from_toml("").expect("defaults").webhook;
        settings.queue_events_max = entries_max;
        Collector::new(&settings)
    }

    /// `script`: (milliseconds, event, or "" for none); `expected`: what was told, with the time.
    fn check_with(entries_max: usize, script: &[(u64, &str)], expected: &[(u64, &str)]) {
        let mut collector = collector(entries_max);
        let start = Instant::now();
        let mut told = Vec::new();
        for &(at, happened) in script {
            let now = start + Duration::from_millis(at);
            let mut ready = Vec::new();
            let (app, happened) = match happened.split_once(": ") {
                Some((app, rest)) => (app.parse().expect("a number"), rest),
                None => (0, happened),
            };
            if happened.is_empty() {
                collector.release(now, &mut ready);
            } else {
                collector.take(app, event(happened), now, &mut ready);
            }
            told.extend(ready.iter().map(|ready| (at, text(ready))));
        }
        let expected: Vec<(u64, String)> = expected
            .iter()
            .map(|(at, t)| (*at, t.to_string()))
            .collect();
        assert_eq!(told, expected, "{script:?}");
    }

    fn check(script: &[(u64, &str)], expected: &[(u64, &str)]) {
        check_with(1_000, script, expected);
    }

    #[test]
    fn w10_additions_are_told_at_once() {
        check(
            &[(0, "occupied a"), (0, "added presence-a 1"), (1, "count a")],
            &[(0, "occupied a"), (0, "added presence-a 1"), (1, "count a")],
        );
    }

    #[test]
    fn w11_removals_wait_and_keep_their_order() {
        check(
            &[
                (0, "removed presence-a 1"),
                (0, "vacated presence-a"),
                (10, "vacated b"),
                (2_999, ""),
                (3_000, ""),
                (3_009, ""),
                (3_010, ""),
                (9_000, ""),
            ],
            &[
                (3_000, "removed presence-a 1"),
                (3_000, "vacated presence-a"),
                (3_010, "vacated b"),
            ],
        );
    }

    #[test]
    fn w11_who_is_back_in_time_left_no_trace() {
        check(
            &[
                (0, "removed presence-a 1"),
                (0, "vacated presence-a"),
                (2_999, "occupied presence-a"),
                (2_999, "added presence-a 1"),
                (9_000, ""),
            ],
            &[],
        );
        // a leave, back, a leave: the last one counts from its own time
        check(
            &[
                (0, "vacated a"),
                (1_000, "occupied a"),
                (2_000, "vacated a"),
                (3_000, ""),
                (4_999, ""),
                (5_000, ""),
            ],
            &[(5_000, "vacated a")],
        );
    }

    #[test]
    fn w11_late_returns_are_told() {
        check(
            &[(0, "vacated a"), (3_000, "occupied a"), (9_000, "")],
            &[(3_000, "vacated a"), (3_000, "occupied a")],
        );
    }

    #[test]
    fn w11_only_the_same_channel_user_and_app_cancel() {
        check(
            &[
                (0, "removed presence-a 1"),
                (0, "vacated presence-a"),
                (1, "occupied presence-a"),
                (1, "added presence-a 2"),
                (2, "1: occupied presence-a"),
                (2, "1: added presence-a 1"),
                (2, "occupied presence-b"),
                (2, "added presence-b 1"),
                (3_000, ""),
            ],
            &[
                (1, "added presence-a 2"),
                (2, "1: occupied presence-a"),
                (2, "1: added presence-a 1"),
                (2, "occupied presence-b"),
                (2, "added presence-b 1"),
                (3_000, "removed presence-a 1"),
            ],
        );
    }

    #[test]
    fn w11_a_removal_told_twice_waits_once() {
        check(
            &[
                (0, "vacated a"),
                (2_000, "vacated a"),
                (3_000, ""),
                (9_000, ""),
            ],
            &[(3_000, "vacated a")],
        );
    }

    #[test]
    fn w11_over_the_limit_the_oldest_go_early() {
        check_with(
            2,
            &[
                (0, "vacated a"),
                (1, "vacated b"),
                (2, "vacated c"),
                (3, "occupied b"),
                (4, "vacated d"),
                (9_000, ""),
            ],
            &[(2, "vacated a"), (9_000, "vacated c"), (9_000, "vacated d")],
        );
    }

    #[test]
    fn w6_one_cache_miss_a_second_and_channel() {
        check(
            &[
                (0, "miss cache-a"),
                (1, "miss cache-a"),
                (1, "miss cache-b"),
                (1, "1: miss cache-a"),
                (999, "miss cache-a"),
                (1_000, "miss cache-a"),
                (1_001, "miss cache-b"),
                (1_999, "miss cache-a"),
                (9_000, "miss cache-a"),
            ],
            &[
                (0, "miss cache-a"),
                (1, "miss cache-b"),
                (1, "1: miss cache-a"),
                (1_000, "miss cache-a"),
                (1_001, "miss cache-b"),
                (9_000, "miss cache-a"),
            ],
        );
    }

    #[test]
    fn w6_memory_for_cache_misses_is_bounded() {
        let mut collector = collector(16);
        let now = Instant::now();
        let mut ready = Vec::new();
        for number in 0..1_000 {
            let missed = event(&format!("miss cache-{number}"));
            collector.take(0, missed, now, &mut ready);
        }
        assert_eq!(ready.len(), 1_000);
        assert_eq!(collector.misses.len(), 16);
    }

    #[test]
    fn at_a_stop_nothing_is_held() {
        let mut collector = collector(16);
        let now = Instant::now();
        let mut ready = Vec::new();
        collector.take(0, event("vacated a"), now, &mut ready);
        assert_eq!((collector.held(), ready.len()), (1, 0));
        assert_eq!(collector.next_due(), Some(now + Duration::from_secs(3)));
        collector.stop_holding(&mut ready);
        collector.take(0, event("vacated b"), now, &mut ready);
        let told: Vec<String> = ready.iter().map(text).collect();
        assert_eq!(told, ["vacated a", "vacated b"]);
        assert_eq!((collector.held(), collector.next_due()), (0, None));
    }
}
