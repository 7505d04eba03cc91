//! How often something may happen. Pure: the time is passed in, so nothing has to be reset by a timer.

use std::time::{Duration, Instant};

/// A count that begins anew: the first of a period starts its window, and so many fit into it. Reverb's and soketi's limits
/// count like this.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    since: Option<Instant>,
    used: u32,
}

/// No more fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// until the window ends
    pub wait: Duration,
    /// how many would still have fitted
    pub left: u32,
}

impl Window {
    /// Counts `count`, or none of them if they don't fit; returns how many are left.
    pub fn take(
        &mut self,
        count: u32,
        max: u32,
        period: Duration,
        now: Instant,
    ) -> Result<u32, Over> {
        let age = self
            .since
            .map(|since| now.saturating_duration_since(since))
            .filter(|age| *age < period);
        let used = if age.is_some() { self.used } else { 0 };
        let left = max.saturating_sub(used);
        if count > left {
            let wait = period.saturating_sub(age.unwrap_or_default());
            return Err(Over { wait, left });
        }
        if age.is_none() {
            self.since = Some(now);
        }
        self.used = used.saturating_add(count);
        Ok(left - count)
    }
}

/// How fast a [`Bucket`] fills, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    refill_ns: u64,
    full_ns: u64,
}

impl Quota {
    /// `count` in `period`; `burst` at once.
    pub fn new(count: u32, period: Duration, burst: u32) -> Quota {
        let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let refill_ns = (period_ns / u64::from(count.max(1))).max(1);
        Quota {
            refill_ns,
            full_ns: refill_ns.saturating_mul(u64::from(burst.max(1))),
        }
    }
}

/// An allowance that is spent at any pace and comes back evenly, in eight bytes. Times are nanoseconds since whatever its
/// owner counts from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// when it will be full again
    full_at_ns: u64,
}

impl Bucket {
    pub fn is_full(self, now_ns: u64) -> bool {
        self.full_at_ns <= now_ns
    }

    /// Whether there is one more in it, or how long until there is.
    pub fn check(self, quota: Quota, now_ns: u64) -> Result<(), Duration> {
        let spent_ns = self.full_at_ns.saturating_sub(now_ns);
        let after_ns = spent_ns.saturating_add(quota.refill_ns);
        match after_ns.checked_sub(quota.full_ns) {
            None | Some(0) => Ok(()),
            Some(wait_ns) => Err(Duration::from_nanos(wait_ns)),
        }
    }

    /// Takes one out, or says how long until there is one.
    pub fn take(&mut self, quota: Quota, now_ns: u64) -> Result<(), Duration> {
        self.check(quota, now_ns)?;
        self.full_at_ns = self.full_at_ns.max(now_ns).saturating_add(quota.refill_ns);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_what_was_set_and_no_more() {
        let start = Instant::now();
        let period = Duration::from_secs(60);
        let at = |seconds| start + Duration::from_secs(seconds);
        for max in [1, 3, 60] {
            let mut window = Window::default();
            for left in (0..max).rev() {
                assert_eq!(window.take(1, max, period, at(10)), Ok(left));
            }
            let over = |wait_s, left| {
                let wait = Duration::from_secs(wait_s);
                Err(Over { wait, left })
            };
            assert_eq!(window.take(1, max, period, at(10)), over(60, 0));
            assert_eq!(window.take(1, max, period, at(69)), over(1, 0));
            // the next window is a whole one again
            assert_eq!(window.take(max, max, period, at(70)), Ok(0));
            assert_eq!(window.take(1, max, period, at(71)), over(59, 0));
            assert_eq!(window.take(max + 1, max, period, at(1000)), over(60, max));
        }
    }

    #[test]
    fn a_window_takes_several_or_none() {
        let now = Instant::now();
        let period = Duration::from_secs(1);
        let mut window = Window::default();
        assert_eq!(window.take(7, 10, period, now), Ok(3));
        let over = Over {
            wait: period,
            left: 3,
        };
        assert_eq!(window.take(4, 10, period, now), Err(over));
        assert_eq!(window.take(3, 10, period, now), Ok(0));
        // a limit that was lowered meanwhile, and one that was raised
        assert!(window.take(1, 5, period, now).is_err());
        assert_eq!(window.take(1, 20, period, now), Ok(9));
    }

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn a_bucket_is_spent_at_once_and_fills_evenly() {
        let quota = Quota::new(10, Duration::from_secs(1), 100);
        let mut bucket = Bucket::default();
        assert!(bucket.is_full(0));
        for _ in 0..100 {
            assert_eq!(bucket.take(quota, SECOND_NS), Ok(()));
        }
        let wait = Duration::from_millis(100);
        assert_eq!(bucket.take(quota, SECOND_NS), Err(wait));
        assert_eq!(bucket.check(quota, SECOND_NS), Err(wait));
        for _ in 0..10 {
            assert_eq!(bucket.take(quota, 2 * SECOND_NS), Ok(()));
        }
        assert!(bucket.take(quota, 2 * SECOND_NS).is_err());
        assert!(!bucket.is_full(11 * SECOND_NS));
        assert!(bucket.is_full(12 * SECOND_NS));
    }

    #[test]
    fn quotas_of_any_size_are_calm() {
        for count in [0, 1, u32::MAX] {
            for burst in [0, 1, u32::MAX] {
                let quota = Quota::new(count, Duration::from_secs(60), burst);
                let mut bucket = Bucket::default();
                assert_eq!(bucket.take(quota, u64::MAX - 1), Ok(()));
                let _ = bucket.take(quota, 0);
                assert_eq!(Bucket::default().take(quota, 0), Ok(()));
            }
        }
    }
}
