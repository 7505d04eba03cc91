//! Events to subscribers: a few large channels or many small ones, at a rate or as many as go through.
use super::{Given, spread, subscribers};
use crate::bench::{
    BenchError,
    arguments::Rate,
    field::{Field, Setup, streams, until_all},
    report::Report,
};

pub fn run(given: Given<'_>, report: &mut Report) -> Result<(), BenchError> {
    let task = given.task;
    let (streams, connections) = streams(task.channels, task.publishers);
    let is_paced = task.rate != Rate::Max;
    let setup = Setup {
        channels: task.channels,
        streams,
        subscribers: subscribers(task.sockets, task.channels),
        groups: 1,
        // with as many as go through, times are those of the queue
        keeps_longest: is_paced,
        ..Setup::default()
    };
    let field = Field::new(task, given.console, given.servers, setup)?;
    field.open(spread(task.sockets, task.channels), report)?;
    report.number("sockets", "sockets", field.stage.ready() as u64);
    let load = field.load(connections);
    field.warm_up(&load)?;
    let measured = field.publish(load)?;
    field.tell(&measured, report);
    report.times("latency", "from publisher to subscriber", measured.times(0));
    if is_paced {
        let longest = until_all(&measured.taken.longest_us).percentiles();
        report.times("until_all", "until the last one has it", longest);
    }
    let answers = measured.published.answer_times.percentiles();
    report.times("answer", "HTTP API's answer", answers);
    field.settle(Vec::new(), report);
    Ok(())
}
