//! Events to a channel that nobody is on, over connections that are kept alive if the server does: what the HTTP API takes.
use super::Given;
use crate::bench::{
    BenchError,
    arguments::Rate,
    field::{Field, Publishing, Setup, join},
    publisher::{Load, Pace, Published},
    report::Report,
};
use std::{sync::atomic::Ordering::Relaxed, time::Duration};

pub fn run(given: Given<'_>, report: &mut Report) -> Result<(), BenchError> {
    let task = given.task;
    let field = Field::new(task, given.console, given.servers, Setup::default())?;
    run_for(
        &field,
        Duration::from_secs(1).min(Duration::from_secs(task.seconds) / 5),
    )?;
    let begun = field.stage.answered.load(Relaxed);
    let busy_before = field.forget_times();
    let publishing = start(&field, Duration::from_secs(task.seconds))?;
    let end = std::time::Instant::now() + Duration::from_secs(task.seconds);
    let mut measured = field.measure(end, busy_before);
    let taken = field.stage.answered.load(Relaxed) - begun;
    measured.published = join_all(publishing)?;
    measured.thread_cpu = measured.published.thread_cpu;
    let seconds = measured.wall.as_secs_f64().max(1e-9);
    report.figure("seconds", "measured for", seconds, " s");
    let events = ["events", "events_per_s"];
    report.rate(events, "events", taken, taken as f64 / seconds);
    report.number("connects", "connections made", measured.published.connects);
    let answers = measured.published.answer_times.percentiles();
    report.times("answer", "HTTP API's answer", answers);
    field.tell_usage(&measured, "an event", taken, report);
    field.tell_failures(&measured.published, &measured.taken, report);
    if task.keep_alive && measured.published.connects > task.publishers as u64 * 2 {
        report.note(
            "the server doesn't keep connections alive: new ones are part of the figures"
                .to_owned(),
        );
    }
    Ok(())
}

fn run_for(field: &Field<'_>, time: Duration) -> Result<(), BenchError> {
    let publishing = start(field, time)?;
    let end = std::time::Instant::now() + time;
    field
        .console
        .wait(end, || "warming up".to_owned(), || false);
    join_all(publishing).map(|_| ())
}

/// The connections, spread over the threads.
fn start(field: &Field<'_>, time: Duration) -> Result<Vec<Publishing>, BenchError> {
    let task = field.task;
    let threads = task.threads.min(task.publishers);
    let share = |thread: usize| {
        let own = task.publishers / threads + usize::from(thread < task.publishers % threads);
        let mut load = field.load(vec![Vec::new(); own]);
        load.end = load.begin + time;
        load.pace = match task.rate {
            Rate::Max => Pace::Max { window: None },
            Rate::PerSecond(rate) => {
                Pace::PerSecond(f64::from(rate) * own as f64 / task.publishers as f64)
            }
        };
        load
    };
    let loads: Vec<Load> = (0..threads).map(share).collect();
    loads.into_iter().map(|load| field.start(load)).collect()
}

fn join_all(all: Vec<Publishing>) -> Result<Published, BenchError> {
    let mut sum = Published::default();
    for publishing in all {
        sum.add(&join(publishing)?);
    }
    Ok(sum)
}
