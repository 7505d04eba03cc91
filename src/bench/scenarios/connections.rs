//! Sockets opened and subscribed to a channel each: how fast they come, and what each costs while it is idle.
use super::{Given, spread, subscribers};
use crate::bench::{
    BenchError,
    field::{Field, Measured, Setup, streams},
    report::Report,
    swarm::Plan,
    usage::Usage,
};
use serde_json::json;
use std::time::{Duration, Instant};

/// What the first sockets make a server prepare isn't counted for each.
const FIRST_SOCKETS: usize = 10;

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
    let mut first = spread(task.sockets, task.channels);
    let rest = first.split_off(FIRST_SOCKETS.min(task.sockets / 2));
    if !first.is_empty() {
        field.open(first, report)?;
        // until the server has done what it does afterwards
        std::thread::sleep(Duration::from_millis(100));
    }
    let measured = open(&field, rest, report)?;
    field.tell_failures(&measured.published, &measured.taken, report);
    let published = field.probe(connections)?;
    field.tell_failures(&published, &field.swarm.take(), report);
    field.settle(Vec::new(), report);
    Ok(())
}

fn open(field: &Field<'_>, plans: Vec<Plan>, report: &mut Report) -> Result<Measured, BenchError> {
    let stage = &field.stage;
    let task = field.task;
    let before = stage.ready();
    let busy_before = field.forget_times();
    let (server, own) = (Usage::of(&task.pids), Usage::own());
    let began = Instant::now();
    field.open(plans, report)?;
    let wall = stage
        .instant(stage.ready_ns())
        .saturating_duration_since(began);
    let opened = stage.ready_since(before) as u64;
    let mut measured = Measured {
        wall,
        server: Usage::between(server, Usage::of(&task.pids)),
        own: Usage::between(own, Usage::own()),
        taken: field.swarm.take(),
        ..Measured::default()
    };
    measured.thread_cpu = measured.taken.thread_cpu.saturating_sub(busy_before);
    report.number("sockets", "sockets", stage.ready() as u64);
    let rate = opened as f64 / wall.as_secs_f64().max(1e-9);
    report.figure("connects_per_s", "connected and subscribed", rate, "/s");
    let times = measured.taken.connect_times.percentiles();
    report.times("connect", "until subscribed", times);
    field.tell_usage(&measured, "a socket", opened, report);
    let idle = Instant::now() + Duration::from_secs(task.seconds);
    field.console.wait(idle, || "idle".to_owned(), || false);
    let now = Usage::of(&task.pids);
    if let (Some(now), Some(server)) = (now, server)
        && opened > 0
    {
        let more = now.rss_bytes as f64 - server.rss_bytes as f64;
        let each = more / opened as f64;
        report.row(
            "server_rss_bytes_each",
            "server's memory for each socket",
            json!(each),
            format!("{each:.0} bytes"),
        );
    }
    Ok(measured)
}
