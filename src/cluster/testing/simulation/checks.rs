//! What must be true when all is quiet.

use super::*;

impl World {
    pub(super) fn check(&self, seed: u64) {
        if matches!(self.faults, Faults::None | Faults::Cuts) && !self.skips {
            self.check_events(seed);
        }
        for number in 0..CHANNELS {
            let key = key(number);
            let sockets = || {
                let alive = self.nodes.iter().filter(|node| node.is_alive);
                let sockets = alive.flat_map(|node| node.sockets.values());
                sockets.filter(|socket| socket.channel == key)
            };
            let truth: BTreeSet<Arc<str>> = sockets().filter_map(|s| s.user.clone()).collect();
            for socket in sockets() {
                let seen = socket.seen.as_ref().expect("everybody was answered");
                assert_eq!(seen.members, truth, "seed {seed}");
            }
            if self.faults != Faults::All {
                self.check_webhooks(seed, &key, &truth, sockets().count() > 0);
            }
            let left = self.redis.news.get(&key).filter(|left| !left.is_empty());
            assert_eq!(left, None, "seed {seed}");
            assert!(self.unsettled.is_empty(), "seed {seed}");
            match self.redis.channels.get(&key) {
                None => assert_eq!(sockets().count(), 0, "seed {seed}"),
                Some(state) => {
                    assert_eq!(state.total as usize, sockets().count(), "seed {seed}");
                    let members: BTreeSet<Arc<str>> = state
                        .members
                        .values()
                        .map(|text| parse_member(text).expect("a member").user_id.clone())
                        .collect();
                    assert_eq!(members, truth, "seed {seed}");
                }
            }
        }
    }

    /// What was missed on a node is counted there, and nothing else unless events are forgotten.
    pub(super) fn check_events(&self, seed: u64) {
        for (at, node) in self.nodes.iter().enumerate() {
            let lost = |number: usize| {
                let key = key(number);
                let sockets = node.sockets.values().filter(|s| s.channel == key);
                let seen = sockets.filter_map(|socket| socket.seen.as_ref());
                let seen = seen.filter(|seen| !seen.joined_alone);
                seen.map(|seen| self.lost(seed, &key, seen)).max()
            };
            let lost: u64 = (0..CHANNELS).filter_map(lost).sum();
            assert!(lost <= node.missed, "seed {seed}, node {at}: {lost} lost");
            let all = self.redis.remembered_max.map_or(0, |_| u64::MAX);
            assert!(node.missed <= all, "seed {seed}, node {at}");
        }
    }

    /// Whoever has seen any event of a node should have seen all that followed.
    fn lost(&self, seed: u64, key: &ChannelKey, seen: &Seen) -> u64 {
        let of_node = |(node, events): (&usize, &Vec<u64>)| {
            assert!(events.is_sorted_by(|a, b| a < b), "seed {seed}, {events:?}");
            let last = self.published[&(*node, key.clone())];
            last + 1 - events[0] - events.len() as u64
        };
        seen.events.iter().map(of_node).sum()
    }

    /// Whoever came and went was told of as often, and whoever is there once more.
    fn check_webhooks(
        &self,
        seed: u64,
        key: &ChannelKey,
        truth: &BTreeSet<Arc<str>>,
        is_occupied: bool,
    ) {
        let told = self
            .told
            .iter()
            .filter(|((name, _), _)| name == key.name.as_str());
        for ((_, who), difference) in told {
            let is_there = match who {
                None => is_occupied,
                Some(user_id) => truth.contains(user_id),
            };
            assert_eq!(*difference, i32::from(is_there), "seed {seed}, {who:?}");
        }
    }

    pub(super) fn check_all_webhooks(&self, seed: u64) {
        for number in 0..CHANNELS {
            let key = key(number);
            let alive = self.nodes.iter().filter(|node| node.is_alive);
            let sockets = alive.flat_map(|node| node.sockets.values());
            let sockets: Vec<&Socket> = sockets.filter(|socket| socket.channel == key).collect();
            let truth = sockets.iter().filter_map(|s| s.user.clone()).collect();
            self.check_webhooks(seed, &key, &truth, !sockets.is_empty());
        }
    }
}
