//! What is remembered of addresses: open connections exactly, since each has its end; the rest in a table of bounded size, in
//! which the address that did nothing for longest makes room.
//!
//! An address in the table takes about 120 bytes, one with connections about 55, however many those are.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;

use crate::{peer::Network, rate::Bucket};

/// As many locks: workers hardly ever meet at one.
const SHARDS: usize = 64;

/// Entries looked at, whenever one is added, for being worth nothing any more.
const FORGOTTEN_AT_ONCE: usize = 2;

/// What an address did lately. Nothing of it matters once every allowance is whole again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recent {
    pub handshakes: Bucket,
    pub auth_failures: Bucket,
    pub signature_failures: Bucket,
    /// until when refusals are logged at debug
    pub quiet_until_ns: u64,
}

impl Recent {
    fn is_over(&self, now_ns: u64) -> bool {
        let buckets = [self.handshakes, self.auth_failures, self.signature_failures];
        self.quiet_until_ns <= now_ns && buckets.iter().all(|bucket| bucket.is_full(now_ns))
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Addresses {
    /// Keyed at random, as the tables are: clients choose their addresses.
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Debug)]
struct Shard {
    /// as many entries at most as there are sockets
    connections: HashMap<Network, u32>,
    /// unbounded by itself: see `make_room`
    recent: LruCache<Network, Recent, RandomState>,
}

impl Addresses {
    pub fn new() -> Addresses {
        let shard = || Shard {
            connections: HashMap::new(),
            recent: LruCache::unbounded_with_hasher(RandomState::new()),
        };
        Addresses {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
        }
    }

    /// Counts a connection unless there are `max`.
    pub fn connect(&self, network: Network, max: u32) -> bool {
        let mut shard = self.shard(network);
        let count = shard.connections.entry(network).or_insert(0);
        let has_room = *count < max;
        if has_room {
            *count += 1;
        }
        has_room
    }

    pub fn disconnect(&self, network: Network) {
        let mut shard = self.shard(network);
        if let Entry::Occupied(mut entry) = shard.connections.entry(network) {
            *entry.get_mut() = entry.get().saturating_sub(1);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        // What a flood needed is given back when it is over.
        if shard.connections.len() < shard.connections.capacity() / 8 {
            shard.connections.shrink_to(64);
        }
    }

    /// Changes what is remembered of an address, of which something is remembered from now on. `max`: how many
    /// addresses the whole table may hold.
    pub fn with<R>(
        &self,
        network: Network,
        now_ns: u64,
        max: usize,
        change: impl FnOnce(&mut Recent) -> R,
    ) -> R {
        let mut shard = self.shard(network);
        if !shard.recent.contains(&network) {
            shard.make_room(now_ns, max.div_ceil(SHARDS));
        }
        change(shard.recent.get_or_insert_mut(network, Recent::default))
    }

    /// Looks at an address without remembering that.
    pub fn look<R>(&self, network: Network, read: impl FnOnce(&Recent) -> R) -> Option<R> {
        self.shard(network).recent.peek(&network).map(read)
    }

    pub fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| lock(shard).recent.len()).sum()
    }

    fn shard(&self, network: Network) -> MutexGuard<'_, Shard> {
        // less than SHARDS, which fits
        let index = self.hasher.hash_one(network) % SHARDS as u64;
        lock(&self.shards[index as usize])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// Room for one more, of `max`; and a little tidying.
    fn make_room(&mut self, now_ns: u64, max: usize) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let is_over = |(_, recent): (&Network, &Recent)| recent.is_over(now_ns);
            if self.recent.len() < max && !self.recent.peek_lru().is_some_and(is_over) {
                return;
            }
            self.recent.pop_lru();
        }
        // a limit that was lowered
        while self.recent.len() >= max.max(1) {
            self.recent.pop_lru();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::Quota;
    use std::time::Duration;

    fn spend(recent: &mut Recent, now_ns: u64) {
        let quota = Quota::new(1, Duration::from_secs(1), 1000);
        recent.handshakes.take(quota, now_ns).expect("plenty");
    }

    #[test]
    fn the_table_is_bounded() {
        let addresses = Addresses::new();
        for max in [6400, 640, 1] {
            let bound = max.max(SHARDS);
            for ip in 0..20_000 {
                addresses.with(Network::V4(ip), 0, max, |recent| spend(recent, 0));
            }
            // each shard that was used is within its part
            let len = addresses.len();
            assert!(len <= bound && len > bound / 2, "{len} of {max}");
        }
    }

    #[test]
    fn who_did_nothing_for_longest_makes_room() {
        let addresses = Addresses::new();
        let faithful = Network::V6(1);
        let used = |network| addresses.look(network, |_| ()).is_some();
        addresses.with(faithful, 0, 1280, |recent| spend(recent, 0));
        for ip in 0..50_000 {
            addresses.with(Network::V4(ip), 0, 1280, |recent| spend(recent, 0));
            addresses.with(faithful, 0, 1280, |_| ());
        }
        assert!(used(faithful));
        assert!(!used(Network::V4(0)));
        assert!(used(Network::V4(49_999)));
    }

    #[test]
    fn whoever_is_whole_again_is_forgotten() {
        let addresses = Addresses::new();
        let second_ns = 1_000_000_000;
        for ip in 0..10_000 {
            addresses.with(Network::V4(ip), 0, 100_000, |recent| spend(recent, 0));
        }
        assert_eq!(addresses.len(), 10_000);
        for ip in 20_000..32_000 {
            let now_ns = 2 * second_ns;
            addresses.with(Network::V4(ip), now_ns, 100_000, |recent| {
                spend(recent, now_ns);
            });
        }
        // two old ones went with each new one
        let len = addresses.len();
        assert!(len < 12_500, "{len}");
    }

    #[test]
    fn connections_leave_nothing_behind() {
        let addresses = Addresses::new();
        for ip in 0..10_000 {
            assert!(addresses.connect(Network::V4(ip), 2));
            assert!(addresses.connect(Network::V4(ip), 2));
            assert!(!addresses.connect(Network::V4(ip), 2));
        }
        for ip in 0..10_000 {
            addresses.disconnect(Network::V4(ip));
            addresses.disconnect(Network::V4(ip));
            // one too many is no harm
            addresses.disconnect(Network::V4(ip));
        }
        for shard in &addresses.shards {
            let shard = lock(shard);
            assert!(shard.connections.is_empty());
            assert!(shard.connections.capacity() < 200);
        }
    }
}
