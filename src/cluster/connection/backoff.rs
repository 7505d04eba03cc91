//! How long to wait before the next attempt to connect: longer each time, and never all nodes at once.

use std::time::Duration;

/// The longest wait, and how long a connection must have stood to begin with short ones again.
const LONGEST: Duration = Duration::from_secs(2);

/// Waits of `first`, twice that, and so on up to 2 s, each between half and all of it.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(first: Duration) -> Backoff {
        let first = first.clamp(Duration::from_millis(1), LONGEST);
        Backoff { first, next: first }
    }

    /// The wait before the next attempt. `random`: from 0 to 1, another one each time.
    pub fn wait(&mut self, random: f64) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// A connection has been lost that stood for so long. One that was lost at once doesn't count: Redis takes connections
    /// and refuses what it is asked, and asking it as fast as possible makes nothing better.
    pub fn stood(&mut self, how_long: Duration) {
        if how_long >= LONGEST {
            self.next = self.first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_two_seconds_and_begin_again_after_a_good_connection() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(300));
        for expected in [300, 600, 1200, 2000, 2000] {
            assert_eq!(backoff.wait(1.0), ms(expected));
        }
        backoff.stood(ms(1999));
        assert_eq!(backoff.wait(0.0), ms(1000));
        backoff.stood(ms(2000));
        assert_eq!(backoff.wait(0.0), ms(150));
        assert_eq!(backoff.wait(f64::MAX), ms(600));
        assert_eq!(Backoff::new(ms(0)).wait(1.0), ms(1));
        assert_eq!(Backoff::new(Duration::MAX).wait(1.0), LONGEST);
    }
}
