//! Counters that one worker alone writes and a scrape reads: no lock, no contention, plain additions. What they count is
//! their users' business; nothing here knows channels, apps or HTTP.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A number that only ever grows, written by one thread. Others may read it at any time.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// Only for the thread that owns the tally: two at once would lose counts.
    pub fn add(&self, count: u64) {
        // With one writer a load and a store do what a locked addition would, at a fraction of its cost.
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(count);
        self.0.store(sum, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the histogram's buckets. A last bucket takes everything above.
pub const LATENCY_BUCKETS: [Duration; 15] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
];

/// How many observations fell between which bounds, and their sum.
#[derive(Debug, Default)]
pub struct Histogram {
    /// one more than there are bounds
    counts: [Tally; LATENCY_BUCKETS.len() + 1],
    sum_ns: Tally,
}

impl Histogram {
    /// Only for the thread that owns the histogram.
    pub fn observe(&self, time: Duration) {
        let bucket = LATENCY_BUCKETS.partition_point(|bound| *bound < time);
        self.counts[bucket].add(1);
        self.sum_ns
            .add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Observations of each bucket, not summed up; the last one is of everything above the bounds.
    pub fn counts(&self) -> [u64; LATENCY_BUCKETS.len() + 1] {
        std::array::from_fn(|bucket| self.counts[bucket].get())
    }

    pub fn sum_s(&self) -> f64 {
        Duration::from_nanos(self.sum_ns.get()).as_secs_f64()
    }
}

/// What a worker's hub counts. Aligned, so that no two workers write to one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerMetrics {
    /// looks at the clock: a worker at work has one each second
    pub ticks: Tally,
    /// frames handed to subscribers, one for each of them
    pub deliveries: Tally,
    /// from the publishing of an event until each of this worker's subscribers was offered it
    pub latency: Histogram,
}

/// Kinds of channel that are counted apart; [`CHANNEL_KINDS`](super::CHANNEL_KINDS) names them.
pub const KINDS: usize = 9;

/// What the sockets of one app on one worker count together.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SocketMetrics {
    pub opened: Tally,
    pub closed: Tally,
    pub received_bytes: Tally,
    pub received_messages: Tally,
    pub sent_bytes: Tally,
    /// frames that were written to their end
    pub sent_messages: Tally,
    pub subscribed: Tally,
    pub unsubscribed: Tally,
    pub client_events: Tally,
    /// channels that came into being by a subscription here, and that ceased with one
    pub occupied: [Tally; KINDS],
    pub vacated: [Tally; KINDS],
    /// sockets given up because their outbox was full
    pub evicted_outbox_full: Tally,
    /// because what waited for them wasn't taken in time
    pub evicted_write_timeout: Tally,
    /// because no pong came
    pub evicted_pong_timeout: Tally,
    /// because a message didn't become whole
    pub evicted_message_timeout: Tally,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let check = |time: Duration, bucket: usize| {
            let histogram = Histogram::default();
            histogram.observe(time);
            let counts = histogram.counts();
            assert_eq!(
                counts.iter().position(|n| *n == 1),
                Some(bucket),
                "{time:?}"
            );
            assert_eq!(counts.iter().sum::<u64>(), 1);
        };
        check(Duration::ZERO, 0);
        check(Duration::from_micros(100), 0);
        check(Duration::from_micros(101), 1);
        check(Duration::from_millis(1), 3);
        check(Duration::from_secs(5), 14);
        check(Duration::from_secs(6), 15);
        check(Duration::MAX, 15);
    }

    #[test]
    fn sums_are_in_seconds() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(250));
        histogram.observe(Duration::from_millis(500));
        assert_eq!(histogram.sum_s(), 0.75);
    }
}
