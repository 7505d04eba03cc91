//! Readers that stall among others that don't: whether the others notice, when the server cuts those that stall, and whether what
//! they got until then has holes. They are on a channel of their own as well, whose events fill what the system and the server
//! keep for them.
use super::Given;
use crate::bench::{
    BenchError,
    arguments::Task,
    field::{Field, Measured, Setup, join, streams},
    peers::Watch,
    publisher::{Load, Pace},
    report::{Report, with_commas},
    swarm::Plan,
};
use serde_json::json;
use std::time::{Duration, Instant};

/// What is posted to those that stall: 800 kB a second for each. The system alone keeps some megabytes of it.
const FLOOD_BYTES: usize = 8_000;
const FLOOD_PER_S: f64 = 100.0;

/// Between two looks at who is connected still: at least this, and so many times as long as a look took. It must not disturb what
/// is measured.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const LOOK_SHARE: u32 = 50;

const HEALTHY: usize = 0;
const STALLED: usize = 1;

pub fn run(given: Given<'_>, report: &mut Report) -> Result<(), BenchError> {
    let task = given.task;
    let (mut streams, connections) = streams(task.channels, task.publishers);
    let flood_channel = task.channels as u32;
    let flood_stream = streams.len() as u32;
    streams.push(flood_channel);
    let mut subscribers = super::subscribers(task.sockets, task.channels);
    // they don't read, so nobody waits for what they get
    subscribers.push(0);
    let setup = Setup {
        channels: task.channels + 1,
        streams,
        subscribers,
        groups: 2,
        ..Setup::default()
    };
    let field = Field::new(task, given.console, given.servers, setup)?;
    field.open(super::spread(task.sockets, task.channels), report)?;
    report.number("sockets", "sockets that read", field.stage.ready() as u64);
    let mut load = field.load(connections);
    field.warm_up(&load)?;
    load.end = load.begin + Duration::from_secs(task.seconds.div_ceil(3));
    report.section("without stalled readers");
    let before = field.publish(load.clone())?;
    let p99_before = tell(&field, &before, report);
    report.section("with stalled readers");
    let ready = field.stage.ready();
    field.open(stalled(task, flood_channel), report)?;
    let server = field.stage.servers[0].at;
    let watch = Watch::new(&task.pids, server, field.swarm.stalled_ports());
    let stalled = field.stage.ready_since(ready);
    report.number("stalled", "readers that stall", stalled as u64);
    load.end = load.begin + Duration::from_secs(task.seconds);
    let (during, cuts) = measure_with(&field, load, flood_stream, &watch)?;
    let p99_during = tell(&field, &during, report);
    report.section("");
    if p99_before > 0.0 {
        let ratio = p99_during / p99_before;
        report.row(
            "p99_ratio",
            "p99 with them over p99 without",
            json!(ratio),
            format!("{ratio:.2} ×"),
        );
    }
    read_again(&field);
    tell_stalled(&field, stalled, cuts, report);
    Ok(())
}

fn stalled(task: &Task, flood_channel: u32) -> Vec<Plan> {
    let plan = |n: usize| Plan {
        channels: vec![(n % task.channels) as u32, flood_channel],
        group: STALLED,
        is_stalled: true,
        ..Plan::default()
    };
    (0..task.stalled).map(plan).collect()
}

/// Rows of one part; the p99 of those that read, in microseconds.
fn tell(field: &Field<'_>, measured: &Measured, report: &mut Report) -> f64 {
    field.tell(measured, report);
    let times = measured.times(HEALTHY);
    report.times("latency", "to those that read", times);
    times.p99_us
}

/// Puts both loads on, and watches who is cut when.
fn measure_with(
    field: &Field<'_>,
    load: Load,
    flood_stream: u32,
    watch: &Watch,
) -> Result<(Measured, Option<Vec<f64>>), BenchError> {
    let begin = Instant::now();
    let load = Load {
        end: begin + load.end.saturating_duration_since(load.begin),
        begin,
        ..load
    };
    let flood = Load {
        connections: vec![vec![flood_stream]],
        pace: Pace::PerSecond(FLOOD_PER_S),
        data_bytes: FLOOD_BYTES,
        ..load.clone()
    };
    let end = load.end;
    let busy_before = field.forget_times();
    let publishers = [field.start(load)?, field.start(flood)?];
    let (mut measured, cuts) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| look_at(watch, begin, end, || field.console.is_stopped()));
        let measured = field.measure(end, busy_before);
        (measured, watcher.join().unwrap_or_default())
    });
    for publishing in publishers {
        measured.published.add(&join(publishing)?);
    }
    field.finish(&mut measured);
    Ok((measured, cuts))
}

/// Seconds after which each of the connections was seen to be gone, if that can be seen.
fn look_at(
    watch: &Watch,
    begin: Instant,
    end: Instant,
    is_stopped: impl Fn() -> bool,
) -> Option<Vec<f64>> {
    let mut cuts = Vec::new();
    loop {
        // the last look is at the end
        let is_over = Instant::now() >= end || is_stopped();
        let look = Instant::now();
        let gone = watch.gone()?;
        if gone > cuts.len() {
            cuts.resize(gone, begin.elapsed().as_secs_f64());
        }
        if is_over {
            return Some(cuts);
        }
        let pause = LOOK_INTERVAL.max(look.elapsed() * LOOK_SHARE);
        std::thread::sleep(pause.min(end.saturating_duration_since(Instant::now())));
    }
}

/// Lets those that stalled read what there still is for them.
fn read_again(field: &Field<'_>) {
    const QUIET: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(15);
    field.swarm.resume();
    let mut last = (field.stage.arrived(), Instant::now());
    let is_over = || {
        let arrived = field.stage.arrived();
        if arrived != last.0 {
            last = (arrived, Instant::now());
        }
        last.1.elapsed() > QUIET
    };
    let text = || "those that stalled read again".to_owned();
    field.console.wait(Instant::now() + LONGEST, text, is_over);
}

fn tell_stalled(field: &Field<'_>, stalled: usize, cuts: Option<Vec<f64>>, report: &mut Report) {
    let settled = field.settle(vec![STALLED], report);
    field.tell_failures(&Default::default(), &field.swarm.take(), report);
    let gone = settled.gone.get(STALLED).copied().unwrap_or(0);
    report.number("cut", "stalled readers that were cut", gone as u64);
    if let Some(cuts) = cuts
        && let [first, .., last] | [first @ last] = &cuts[..]
    {
        report.row(
            "cut_after_s",
            "the system saw them go",
            json!({ "first": first, "last": last, "count": cuts.len() }),
            format!("from {first:.1} s to {last:.1} s after the flood began"),
        );
    }
    let counts = settled.groups.get(STALLED).copied().unwrap_or_default();
    let text = format!("{} messages", with_commas(counts.lost));
    report.row(
        "stalled_lost",
        "holes in what they got",
        counts.lost.into(),
        text,
    );
    if gone < stalled && counts.lost == 0 {
        report.note(format!(
            "{} stalled readers were neither cut nor left out: the server or the system kept everything for them; with more --seconds that comes to an end",
            stalled - gone
        ));
    }
}
