//! How often one connection may speak. Counting is governor's (GCRA: a full window's allowance at once, then refilled
//! evenly), so nothing has to be reset by a timer.

use std::{num::NonZeroU32, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::apps::MessageRateLimit;

/// One connection's allowance.
pub struct RateLimit {
    limiter: DefaultDirectRateLimiter,
    terminate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Within,
    /// `terminate`: the connection is to be closed for it (C-32)
    Over {
        terminate: bool,
    },
}

impl RateLimit {
    /// Reverb's limit on messages of every kind: `max_attempts` in `decay_s` seconds.
    pub fn of_messages(limit: MessageRateLimit) -> Box<RateLimit> {
        let period = Duration::from_secs(u64::from(limit.decay_s.max(1)));
        RateLimit::new(limit.max_attempts, period, limit.terminate)
    }

    /// The limit on client events per second (E-10).
    pub fn of_client_events(per_s: u32) -> Box<RateLimit> {
        RateLimit::new(per_s, Duration::from_secs(1), false)
    }

    fn new(count: u32, period: Duration, terminate: bool) -> Box<RateLimit> {
        let burst = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(period / burst.get())
            .unwrap_or_else(|| Quota::per_second(burst))
            .allow_burst(burst);
        Box::new(RateLimit {
            limiter: RateLimiter::direct(quota),
            terminate,
        })
    }

    /// Counts one.
    pub fn check(&self) -> Verdict {
        match self.limiter.check() {
            Ok(()) => Verdict::Within,
            Err(_) => Verdict::Over {
                terminate: self.terminate,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_what_was_set_and_no_more() {
        for count in [1, 3, 60] {
            let rate = RateLimit::of_messages(MessageRateLimit {
                max_attempts: count,
                // so long that nothing is refilled while the test runs
                decay_s: 1_000_000,
                terminate: true,
            });
            for _ in 0..count {
                assert_eq!(rate.check(), Verdict::Within);
            }
            assert_eq!(rate.check(), Verdict::Over { terminate: true });
        }
    }
}
