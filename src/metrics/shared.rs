//! Counters that several threads add to, and maps of them that are read without a lock.

use std::{
    cell::Cell,
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use rustc_hash::FxBuildHasher;

/// Copies of a set of counters among which threads are spread.
const STRIPES: usize = 8;

/// `N` numbers that only ever grow. Each thread adds to a copy that it shares with few others, on a cache line apart, so
/// that threads don't hinder each other.
#[derive(Debug)]
pub struct Striped<const N: usize>(Box<[Stripe<N>]>);

#[derive(Debug)]
#[repr(align(128))]
struct Stripe<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Striped<N> {
    fn default() -> Striped<N> {
        let stripe = |_| Stripe(std::array::from_fn(|_| AtomicU64::new(0)));
        Striped((0..STRIPES).map(stripe).collect())
    }
}

impl<const N: usize> Striped<N> {
    /// Adds to the number with this index; one that there isn't is nobody's.
    pub fn add(&self, index: usize, count: u64) {
        let stripe = self.0.get(own_stripe());
        if let Some(number) = stripe.and_then(|stripe| stripe.0.get(index)) {
            number.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub fn get(&self, index: usize) -> u64 {
        let numbers = self.0.iter().filter_map(|stripe| stripe.0.get(index));
        numbers.map(|number| number.load(Ordering::Relaxed)).sum()
    }
}

fn own_stripe() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    STRIPE.get().unwrap_or_else(|| {
        let stripe = THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES;
        STRIPE.set(Some(stripe));
        stripe
    })
}

/// Values by key, made when a key is first seen and kept from then on: only for keys of which there are few, whatever
/// clients do. Reading takes no lock.
#[derive(Debug)]
pub struct Family<K, V>(ArcSwap<HashMap<K, Arc<V>, FxBuildHasher>>);

impl<K, V> Default for Family<K, V> {
    fn default() -> Family<K, V> {
        Family(ArcSwap::from_pointee(HashMap::default()))
    }
}

impl<K: Hash + Eq + Ord + Clone, V> Family<K, V> {
    pub fn find<Q>(&self, key: &Q) -> Option<Arc<V>>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.load().get(key).cloned()
    }

    /// Does something with the value of this key, if there is one; without even the reference count of
    /// [`find`](Family::find), which threads would fight for.
    pub fn with<Q, R>(&self, key: &Q, then: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.load().get(key).map(|value| then(value))
    }

    pub fn find_or_make(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        if let Some(known) = self.find(&key) {
            return known;
        }
        let made = Arc::new(make());
        self.0.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.entry(key.clone()).or_insert_with(|| made.clone());
            all
        });
        // Another thread may have been first.
        self.find(&key).unwrap_or(made)
    }

    /// All of them, sorted by key.
    pub fn list(&self) -> Vec<(K, Arc<V>)> {
        let all = self.0.load();
        let mut list: Vec<_> = all
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        list.sort_by(|(a, _), (b, _)| a.cmp(b));
        list
    }
}

impl<K: Hash + Eq + Ord + Clone> Family<K, AtomicU64> {
    pub fn count(&self, key: K) {
        let add = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
        if self.with(&key, add).is_none() {
            add(&self.find_or_make(key, AtomicU64::default));
        }
    }

    pub fn counts(&self) -> Vec<(K, u64)> {
        let list = self.list().into_iter();
        list.map(|(key, count)| (key, count.load(Ordering::Relaxed)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_of_any_thread_is_lost() {
        let numbers = Striped::<2>::default();
        let family = Family::<&str, AtomicU64>::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    for key in ["a", "b", "c"] {
                        numbers.add(1, 5);
                        family.count(key);
                    }
                    numbers.add(2, 1);
                });
            }
        });
        assert_eq!((numbers.get(0), numbers.get(1)), (0, 300));
        assert_eq!(family.counts(), [("a", 20), ("b", 20), ("c", 20)]);
    }
}
