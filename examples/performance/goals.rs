//! What Resound should reach, as ratios or in absolute figures: the rows of the last table.
use super::table::{Figure, kilobytes, ratio, whole};

/// The columns of Resound with one worker, with its default, and of the floor; peers follow.
pub const ONE_WORKER: usize = 0;
pub const DEFAULT: usize = 1;
pub const FLOOR: usize = 2;

/// Where a value comes from.
#[derive(Clone, Copy)]
pub enum Source {
    /// of Resound as it is by default
    Own(Figure),
    /// the figure of this column over the floor's
    OverFloor(usize, Figure),
    /// the figure of this column over the other one of the peer that has the least of it
    OverLeast(usize, Figure, Figure),
    /// the figure of this column over that of the peer that has the most of it
    OverMost(usize, Figure),
    /// messages that went wrong, of both columns, in all runs
    Faults,
}

pub struct Goal {
    pub label: &'static str,
    /// nothing: it is only told
    pub goal: &'static str,
    pub source: Source,
    pub write: fn(f64) -> String,
}

const fn goal(
    label: &'static str,
    goal: &'static str,
    source: Source,
    write: fn(f64) -> String,
) -> Goal {
    Goal {
        label,
        goal,
        source,
        write,
    }
}

use Figure::*;
use Source::*;

pub const GOALS: [Goal; 21] = [
    goal(
        "processor time a delivery, 1 worker, over the floor",
        "≤ 1.15 ×",
        OverFloor(ONE_WORKER, SteadyCpu),
        ratio,
    ),
    goal(
        "the same over the best peer",
        "≤ 0.45 ×",
        OverLeast(ONE_WORKER, SteadyCpu, SteadyCpu),
        ratio,
    ),
    goal(
        "deliveries/s as many as go through, 1 worker, over the best peer",
        "≥ 3 ×",
        OverMost(ONE_WORKER, Saturated),
        ratio,
    ),
    goal(
        "the same over the floor",
        "",
        OverFloor(ONE_WORKER, Saturated),
        ratio,
    ),
    goal(
        "p99 at 50,000 deliveries/s over the best peer's p50",
        "≤ 1 ×",
        OverLeast(DEFAULT, P99, P50),
        ratio,
    ),
    goal(
        "the same over the floor's p99",
        "",
        OverFloor(DEFAULT, P99),
        ratio,
    ),
    goal(
        "memory for an idle socket",
        "≤ 2.5 kB",
        Own(IdleBytes),
        kilobytes,
    ),
    goal(
        "memory for an idle socket over TLS",
        "≤ 12 kB",
        Own(TlsBytes),
        kilobytes,
    ),
    goal(
        "sockets connected and subscribed/s over the best peer",
        "≥ 3 ×",
        OverMost(DEFAULT, Connects),
        ratio,
    ),
    goal(
        "processor time for each of them over the best peer",
        "",
        OverLeast(DEFAULT, ConnectCpu, ConnectCpu),
        ratio,
    ),
    goal(
        "HTTP API events/s over the best peer",
        "≥ 3 ×",
        OverMost(DEFAULT, Triggers),
        ratio,
    ),
    goal(
        "processor time for each of them over the best peer",
        "",
        OverLeast(DEFAULT, TriggerCpu, TriggerCpu),
        ratio,
    ),
    goal(
        "the same, each over a new connection",
        "",
        OverMost(DEFAULT, TriggersEach),
        ratio,
    ),
    goal(
        "processor time for each of them over the best peer",
        "",
        OverLeast(DEFAULT, TriggerEachCpu, TriggerEachCpu),
        ratio,
    ),
    goal(
        "memory after the last wave of a storm over that after the second",
        "flat",
        Own(StormGrowth),
        ratio,
    ),
    goal(
        "p99 with 100 stalled readers over that without",
        "≤ 1.2 ×",
        Own(StalledRatio),
        ratio,
    ),
    goal(
        "p50 beside a webhook endpoint that hangs over that without",
        "1 ×",
        Own(WebhookP50),
        ratio,
    ),
    goal(
        "p99 beside a webhook endpoint that hangs over that without",
        "1 ×",
        Own(WebhookP99),
        ratio,
    ),
    goal("messages lost, doubled or out of order", "0", Faults, whole),
    goal(
        "from start to the first connection accepted, median of 20",
        "≤ 50 ms",
        Own(StartMs),
        milliseconds,
    ),
    goal("binary", "≤ 15 MB", Own(BinaryBytes), megabytes),
];

fn milliseconds(value: f64) -> String {
    format!("{value:.1} ms")
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}
