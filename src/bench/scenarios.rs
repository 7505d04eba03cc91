//! What can be measured: a function for each scenario, which fills the report.
mod client_events;
mod connections;
mod cross_node;
mod fanout;
mod presence;
mod slow_readers;
mod storm;
mod triggers;

use super::{
    BenchError,
    arguments::{Scenario, Task},
    console::Console,
    report::Report,
    stage::Server,
    swarm::Plan,
};

/// What every scenario gets.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    pub task: &'a Task,
    pub console: &'a Console,
    pub servers: &'a [Server],
}

pub fn run(given: Given<'_>, report: &mut Report) -> Result<(), BenchError> {
    match given.task.scenario {
        Scenario::Connections => connections::run(given, report),
        // the same with other numbers
        Scenario::Fanout | Scenario::Rooms => fanout::run(given, report),
        Scenario::Triggers => triggers::run(given, report),
        Scenario::ClientEvents => client_events::run(given, report),
        Scenario::Presence => presence::run(given, report),
        Scenario::Storm => storm::run(given, report),
        Scenario::SlowReaders => slow_readers::run(given, report),
        Scenario::CrossNode => cross_node::run(given, report),
    }
}

/// Sockets spread over the channels in turn, each on one.
fn spread(sockets: usize, channels: usize) -> Vec<Plan> {
    let plan = |n: usize| Plan {
        channels: vec![(n % channels) as u32],
        ..Plan::default()
    };
    (0..sockets).map(plan).collect()
}

/// How many sockets each channel then has.
fn subscribers(sockets: usize, channels: usize) -> Vec<u64> {
    let of = |channel: usize| sockets / channels + usize::from(channel < sockets % channels);
    (0..channels).map(|channel| of(channel) as u64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_spread_evenly() {
        let plans = spread(5, 3);
        let channels: Vec<u32> = plans.iter().map(|plan| plan.channels[0]).collect();
        assert_eq!(channels, [0, 1, 2, 0, 1]);
        assert_eq!(subscribers(5, 3), [2, 2, 1]);
        assert_eq!(subscribers(6, 3), [2, 2, 2]);
    }
}
