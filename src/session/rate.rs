//! How often one connection may speak. Windows as Reverb and soketi have them; the limits are those of now.

use std::{
    cell::{Cell, OnceCell},
    time::{Duration, Instant},
};

use crate::rate::Window;

/// One connection's allowance. It takes no more than a pointer until there is a limit.
#[derive(Default)]
pub struct Allowance(OnceCell<Box<Cell<Window>>>);

impl Allowance {
    /// Counts one; `false` when it is one too many.
    pub fn take(&self, max: u32, period: Duration) -> bool {
        let cell = self.0.get_or_init(Box::default);
        let mut window = cell.get();
        let taken = window.take(1, max, period, Instant::now()).is_ok();
        cell.set(window);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_holds_what_was_set_and_goes_by_what_is_set_now() {
        // so long that it doesn't end while the test runs
        let period = Duration::from_secs(1_000_000);
        let allowance = Allowance::default();
        for _ in 0..3 {
            assert!(allowance.take(3, period));
        }
        assert!(!allowance.take(3, period));
        assert!(allowance.take(4, period));
        assert!(!allowance.take(4, period));
        assert_eq!(size_of::<Allowance>(), size_of::<usize>());
    }
}
