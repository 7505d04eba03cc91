//! Two nodes, subscribers on both, events posted to one: how much longer those on the other one wait, measured in the same run.
use super::Given;
use crate::bench::{
    BenchError,
    field::{Field, Setup, streams},
    report::Report,
    swarm::Plan,
    times::{Percentiles, in_words},
};
use serde_json::json;

pub fn run(given: Given<'_>, report: &mut Report) -> Result<(), BenchError> {
    let task = given.task;
    let (streams, connections) = streams(task.channels, task.publishers);
    // of each channel as many on one node as on the other
    let plans: Vec<Plan> = (0..task.sockets)
        .map(|n| Plan {
            server: n % 2,
            group: n % 2,
            channels: vec![(n / 2 % task.channels) as u32],
            ..Plan::default()
        })
        .collect();
    let mut subscribers = vec![0; task.channels];
    for plan in &plans {
        subscribers[plan.channels[0] as usize] += 1;
    }
    let setup = Setup {
        channels: task.channels,
        streams,
        subscribers,
        groups: 2,
        ..Setup::default()
    };
    let field = Field::new(task, given.console, given.servers, setup)?;
    field.open(plans, report)?;
    report.number(
        "sockets",
        "sockets, half on each node",
        field.stage.ready() as u64,
    );
    let load = field.load(connections);
    field.warm_up(&load)?;
    let measured = field.publish(load)?;
    field.tell(&measured, report);
    let [same, other] = [0, 1].map(|group| measured.times(group));
    report.times("same_node", "to the node that was asked", same);
    report.times("other_node", "to the other node", other);
    added(
        "added_p50_us",
        "added at p50",
        same,
        other,
        |times| times.p50_us,
        report,
    );
    added(
        "added_p99_us",
        "added at p99",
        same,
        other,
        |times| times.p99_us,
        report,
    );
    let answers = measured.published.answer_times.percentiles();
    report.times("answer", "HTTP API's answer", answers);
    field.settle(Vec::new(), report);
    Ok(())
}

fn added(
    key: &'static str,
    label: &'static str,
    same: Percentiles,
    other: Percentiles,
    of: fn(&Percentiles) -> f64,
    report: &mut Report,
) {
    let more = of(&other) - of(&same);
    let text = match more < 0.0 {
        true => format!("none ({} less)", in_words(-more)),
        false => in_words(more),
    };
    report.row(key, label, json!(more), text);
}
