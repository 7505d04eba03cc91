//! Members of presence channels who join and leave all the time, and others who stay and must be told of each, once and in order.
use super::{Given, spread, subscribers};
use crate::bench::{
    BenchError,
    arguments::Rate,
    field::{Field, Setup},
    report::Report,
    swarm::{Plan, Work},
};

/// One who comes and goes for so many who stay.
const STAYING_FOR_EACH: usize = 10;

pub fn run(given: Given<'_>, report: &mut Report) -> Result<(), BenchError> {
    let task = given.task;
    let churning = (task.sockets / STAYING_FOR_EACH).max(task.channels);
    let channel_of = |n: usize| (n % task.channels) as u32;
    let setup = Setup {
        prefix: "presence-",
        channels: task.channels,
        streams: (0..churning).map(channel_of).collect(),
        subscribers: subscribers(task.sockets, task.channels),
        groups: 1,
        is_presence: true,
        ..Setup::default()
    };
    let field = Field::new(task, given.console, given.servers, setup)?;
    let mut plans = spread(task.sockets, task.channels);
    for (n, plan) in plans.iter_mut().enumerate() {
        plan.user = Some(format!("staying-{n}"));
    }
    // they join when it is their turn
    plans.extend((0..churning as u32).map(|stream| Plan {
        stream: Some(stream),
        ..Plan::default()
    }));
    field.open(plans, report)?;
    report.number("staying", "members that stay", task.sockets as u64);
    report.number("churning", "members that come and go", churning as u64);
    let joins_per_s = match task.rate {
        Rate::PerSecond(rate) => f64::from(rate),
        Rate::Max => f64::INFINITY,
    };
    let measured = field.let_work(|begin, end| Work::Churn {
        joins_per_s,
        begin,
        end,
    });
    field.tell(&measured, report);
    let [joined, left] = [0, 1].map(|lane| measured.times(lane));
    report.times("joined", "until others know of who joined", joined);
    report.times("left", "until others know of who left", left);
    field.settle(Vec::new(), report);
    Ok(())
}
