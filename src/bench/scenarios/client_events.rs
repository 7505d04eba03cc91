//! Sockets of private channels, of which one each sends client events to the others.
use super::{Given, spread, subscribers};
use crate::bench::{
    BenchError,
    field::{Field, Setup},
    report::Report,
    swarm::Work,
};

pub fn run(given: Given<'_>, report: &mut Report) -> Result<(), BenchError> {
    let task = given.task;
    let channels = task.channels as u32;
    // who sends doesn't get it himself
    let others = subscribers(task.sockets, task.channels).into_iter();
    let setup = Setup {
        prefix: "private-",
        channels: task.channels,
        streams: (0..channels).collect(),
        subscribers: others.map(|sockets| sockets - 1).collect(),
        groups: 1,
        ..Setup::default()
    };
    let field = Field::new(task, given.console, given.servers, setup)?;
    let mut plans = spread(task.sockets, task.channels);
    for (stream, plan) in (0..channels).zip(&mut plans) {
        plan.stream = Some(stream);
    }
    field.open(plans, report)?;
    report.number("sockets", "sockets", field.stage.ready() as u64);
    let pace = field.pace();
    let measured = field.let_work(|begin, end| Work::ClientEvents {
        pace,
        data_bytes: task.data_bytes,
        begin,
        end,
    });
    field.tell(&measured, report);
    report.times("latency", "from socket to socket", measured.times(0));
    field.settle(Vec::new(), report);
    Ok(())
}
