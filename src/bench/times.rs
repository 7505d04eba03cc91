//! How long things took: histograms, and how their figures are written.
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// A minute: nothing that is measured waits longer.
const LONGEST_NS: u64 = 60_000_000_000;

/// Times from a microsecond to a minute, each to three digits.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

/// What is told of them, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub count: u64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    #[serde(rename = "p99.9_us")]
    pub p999_us: f64,
    pub max_us: f64,
}

impl Default for Times {
    fn default() -> Times {
        let histogram = Histogram::new_with_bounds(1_000, LONGEST_NS, 3);
        Times(histogram.expect("these bounds are a histogram's"))
    }
}

impl Times {
    /// What is out of bounds counts as the bound.
    pub fn record_ns(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub fn record(&mut self, time: Duration) {
        self.record_ns(u64::try_from(time.as_nanos()).unwrap_or(LONGEST_NS));
    }

    pub fn add(&mut self, other: &Times) {
        // both have the same bounds
        let _ = self.0.add(&other.0);
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    pub fn percentiles(&self) -> Percentiles {
        let us = |ns: u64| ns as f64 / 1e3;
        let at = |quantile: f64| us(self.0.value_at_quantile(quantile));
        Percentiles {
            count: self.0.len(),
            mean_us: self.0.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: us(self.0.max()),
        }
    }
}

impl Percentiles {
    pub fn text(&self) -> String {
        if self.count == 0 {
            return "none".to_owned();
        }
        format!(
            "p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
            in_words(self.p50_us),
            in_words(self.p90_us),
            in_words(self.p99_us),
            in_words(self.p999_us),
            in_words(self.max_us),
        )
    }
}

/// `83 µs`, `1.24 ms`, `12.4 ms`, `3.10 s`
pub fn in_words(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e4 => format!("{:.2} ms", us / 1e3),
        us if us < 1e6 => format!("{:.1} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_known_times() {
        let mut times = Times::default();
        for ms in 1..=1000 {
            times.record(Duration::from_millis(ms));
        }
        let found = times.percentiles();
        let check = |name: &str, us: f64, expected_ms: f64| {
            let difference = (us / 1e3 - expected_ms).abs() / expected_ms;
            assert!(difference < 0.002, "{name}: {us} µs, not {expected_ms} ms");
        };
        assert_eq!(found.count, 1000);
        check("mean", found.mean_us, 500.5);
        check("p50", found.p50_us, 500.0);
        check("p90", found.p90_us, 900.0);
        check("p99", found.p99_us, 990.0);
        check("p99.9", found.p999_us, 999.0);
        check("max", found.max_us, 1000.0);
    }

    #[test]
    fn a_table_of_them() {
        let mut times = Times::default();
        assert_eq!(times.percentiles().text(), "none");
        let mut others = Times::default();
        for us in [100, 100, 100, 100, 100, 100, 100, 100, 5_000] {
            times.record(Duration::from_micros(us));
        }
        others.record(Duration::from_secs(3600));
        times.add(&others);
        assert_eq!(
            times.percentiles().text(),
            "p50 100 µs, p90 5.00 ms, p99 60.03 s, p99.9 60.03 s, max 60.03 s"
        );
        assert_eq!(times.count(), 10);
    }

    #[test]
    fn times_in_words() {
        let check = |us: f64, expected: &str| assert_eq!(in_words(us), expected);
        check(0.4, "0 µs");
        check(83.2, "83 µs");
        check(1_240.0, "1.24 ms");
        check(12_400.0, "12.4 ms");
        check(3_100_000.0, "3.10 s");
    }
}
