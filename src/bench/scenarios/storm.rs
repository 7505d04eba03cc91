//! All sockets drop at once and return, several times, as after a restart of a proxy: how long until everybody is back, and what
//! is left of each wave in the server's memory.
use super::{Given, spread, subscribers};
use crate::bench::{
    BenchError,
    field::{Field, Setup, streams},
    report::{Report, with_commas},
    times::in_words,
    usage::Usage,
};
use serde_json::json;
use std::time::{Duration, Instant};

/// What the server may do after everybody is back, before its memory is read.
const SETTLING: Duration = Duration::from_millis(500);

pub fn run(given: Given<'_>, report: &mut Report) -> Result<(), BenchError> {
    let task = given.task;
    let (streams, connections) = streams(task.channels, task.publishers);
    let setup = Setup {
        channels: task.channels,
        streams,
        subscribers: subscribers(task.sockets, task.channels),
        groups: 1,
        ..Setup::default()
    };
    let field = Field::new(task, given.console, given.servers, setup)?;
    field.open(spread(task.sockets, task.channels), report)?;
    report.number("sockets", "sockets", field.stage.ready() as u64);
    let published = field.probe(connections.clone())?;
    field.tell_failures(&published, &field.swarm.take(), report);
    let mut waves = Vec::new();
    for wave in 0..=task.waves {
        if field.console.is_stopped() {
            break;
        }
        // the first one only tells the memory before the storm
        let took = match wave {
            0 => None,
            _ => Some(drop_and_return(&field, wave, connections.clone(), report)?),
        };
        std::thread::sleep(SETTLING);
        let memory = Usage::of(&task.pids).map(|usage| usage.rss_bytes);
        waves.push((took, memory));
    }
    tell(&waves, report);
    field.settle(Vec::new(), report);
    Ok(())
}

/// How long it took until everybody was back.
fn drop_and_return(
    field: &Field<'_>,
    wave: usize,
    connections: Vec<Vec<u32>>,
    report: &mut Report,
) -> Result<Duration, BenchError> {
    let stage = &field.stage;
    let sockets = field.task.sockets;
    let began = Instant::now();
    field.swarm.drop_all();
    // answered once all are dropped
    field.swarm.take();
    field.swarm.reopen(field.opening(true));
    field.wait_for_sockets(sockets, sockets);
    let back = stage.ready();
    if back < sockets && !field.console.is_stopped() {
        report.problem(format!(
            "after wave {wave} only {} of {} sockets came back",
            with_commas(back as u64),
            with_commas(sockets as u64)
        ));
    }
    let took = stage
        .instant(stage.ready_ns())
        .saturating_duration_since(began);
    if !field.console.is_stopped() {
        let published = field.probe(connections)?;
        field.tell_failures(&published, &field.swarm.take(), report);
    }
    Ok(took)
}

fn tell(waves: &[(Option<Duration>, Option<u64>)], report: &mut Report) {
    let back: Vec<f64> = waves
        .iter()
        .filter_map(|wave| Some(wave.0?.as_secs_f64()))
        .collect();
    let text: Vec<String> = back.iter().map(|seconds| in_words(seconds * 1e6)).collect();
    report.row(
        "back_s",
        "everybody is back after",
        json!(back),
        text.join(", "),
    );
    let memory: Vec<u64> = waves.iter().filter_map(|wave| wave.1).collect();
    let mib = |bytes: &u64| format!("{:.1}", *bytes as f64 / f64::from(1 << 20));
    let text: Vec<String> = memory.iter().map(mib).collect();
    if memory.is_empty() {
        return;
    }
    report.row(
        "server_rss_bytes",
        "server's memory before and after each",
        json!(memory),
        format!("{} MiB", text.join(", ")),
    );
    if let [_, _, second, .., last] = memory[..] {
        let growth = last as f64 / second as f64;
        report.row(
            "growth",
            "memory at the end over wave 2",
            json!(growth),
            format!("{growth:.3} ×"),
        );
    }
}
