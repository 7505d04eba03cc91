//! A soak: everything that clients do, and what they shouldn't, at the same time and for as long as asked, against a server in a
//! process of its own. Healthy clients must get every event once and in order, the log must have nothing bad, and when all have
//! left, nothing of them may remain.
//!
//! `make soak MINUTES=10` runs it against the release binary (`RESOUND_BIN`, `SOAK_S`); `cargo test` runs a few seconds of it.
mod client;
mod field;
mod listener;
mod publisher;
mod server;
mod trouble;
mod visitor;

use field::Field;
use server::{Remains, Running};
use std::{
    env,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time::sleep};

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A wave comes, does its work, and leaves; what remains is measured after each. Long enough for stalled and silent clients to
/// be cut by the server.
const WAVE: Duration = Duration::from_secs(20);

/// How long `cargo test` does it.
const SHORT_S: u64 = 6;

/// The first wave warms up: pools, tables and the allocator's arenas grow to what this traffic needs.
///
/// Memory may grow by 3 MiB over that. Waves differ by chance: ten of them grew by 0.7 MiB on two cores, the last three by nothing. A
/// minute opens some 6,000 connections and publishes some 35,000 events, two thirds of them after the first wave: forgetting 1 KiB of
/// each connection, as its session and link have, or 140 bytes of each event, is more than 3 MiB after a minute; a tenth of that
/// after ten.
const RESIDENT_GROWTH_BYTES_MAX: u64 = 3 << 20;

/// Descriptors: two connections of the observer may happen to be open. Each kind of traffic comes hundreds of times, so one
/// that leaves a descriptor behind is far over it.
const DESCRIPTORS_GROWTH_MAX: u64 = 2;

/// Threads: the runtime keeps some for files and names for ten seconds after the last use.
const THREADS_GROWTH_MAX: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_served_and_nothing_remains() {
    let seconds = env::var("SOAK_S").ok().and_then(|text| text.parse().ok());
    let seconds = seconds.unwrap_or(SHORT_S);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut running = Running::start();
    // at least one wave to warm up and one that is compared with it
    let wave = WAVE.min(Duration::from_secs(seconds) / 2);
    let mut remains = Vec::new();
    while remains.len() < 2 || Instant::now() + wave / 2 < end {
        let field = Arc::new(Field::new(&running, remains.len(), wave));
        run_wave(&field).await;
        remains.push(running.settled(&field).await);
        println!("wave {}: {}", remains.len(), field.summary());
        println!("  {}", remains[remains.len() - 1]);
        let faults = field.faults();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        if wave >= WAVE {
            field.assert_everything_was_done();
        }
        running.assert_quiet_log();
    }
    compare(&remains);
    running.assert_reloaded();
    running.assert_stops().await;
}

/// All that happens at the same time.
async fn run_wave(field: &Arc<Field>) {
    let mut listeners = JoinSet::new();
    for role in listener::roles() {
        listeners.spawn(listener::run(field.clone(), role));
    }
    field.wait_until_ready(listeners.len()).await;
    let mut others = JoinSet::new();
    publisher::spawn(&mut others, field);
    visitor::spawn(&mut others, field);
    trouble::spawn(&mut others, field);
    // the load is what is asked for, and lasts so long
    sleep(field.wave).await;
    field.end();
    while let Some(ended) = others.join_next().await {
        ended.expect("no panic in a client");
    }
    field.publishing_is_over();
    while let Some(ended) = listeners.join_next().await {
        ended.expect("no panic in a listener");
    }
}

fn compare(remains: &[Remains]) {
    let (first, last) = (&remains[0], &remains[remains.len() - 1]);
    assert!(
        last.descriptors <= first.descriptors + DESCRIPTORS_GROWTH_MAX,
        "descriptors grew from {} to {}",
        first.descriptors,
        last.descriptors
    );
    assert!(
        last.threads <= first.threads + THREADS_GROWTH_MAX,
        "threads grew from {} to {}",
        first.threads,
        last.threads
    );
    assert!(
        last.resident_bytes <= first.resident_bytes + RESIDENT_GROWTH_BYTES_MAX,
        "memory grew: {}",
        remains
            .iter()
            .map(|remains| remains.resident_bytes.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    );
}
