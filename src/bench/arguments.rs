//! What a run is asked to do: the command's options, each scenario's defaults, and what can't be.
use super::stage::{Credentials, DATA_FRAME_BYTES};
use crate::{client::Address, protocol::signature::Secret};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::{fmt, path::PathBuf, str::FromStr};

/// Bytes of the longest event data; servers take far less by default.
const DATA_BYTES_MAX: usize = 512 * 1024;

/// Files besides sockets: polls, standard streams, `/proc`.
const FILES_BESIDES: u64 = 64;

#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct BenchArguments {
    /// What to measure
    #[arg(value_enum)]
    pub scenario: Scenario,
    /// Server to measure, without TLS
    #[arg(long, default_value = "http://127.0.0.1:8080", value_parser = Address::parse)]
    pub url: Address,
    /// Another node of the same cluster, for cross-node
    #[arg(long, value_name = "URL", value_parser = Address::parse)]
    pub other_url: Option<Address>,
    /// App to use [default: the development app]
    #[arg(
        long,
        value_name = "ID",
        default_value = "1001",
        hide_default_value = true
    )]
    pub app_id: String,
    /// Its key
    #[arg(long, default_value = "app-key", hide_default_value = true)]
    pub key: String,
    /// Its secret
    #[arg(long, default_value = "app-secret", hide_default_value = true)]
    pub secret: SecretText,
    /// Sockets that subscribe [default: by scenario]
    #[arg(long, value_name = "N")]
    pub sockets: Option<usize>,
    /// Channels they are spread over [default: by scenario]
    #[arg(long, value_name = "N")]
    pub channels: Option<usize>,
    /// Events a second, or max: as many as go through. Of connections and storm: sockets opened a second [default: by scenario]
    #[arg(long, value_name = "N|max")]
    pub rate: Option<Rate>,
    /// Bytes of an event's data
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    pub size: usize,
    /// How long to measure [default: by scenario]
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Readers that stall, of slow-readers [default: 100]
    #[arg(long, value_name = "N")]
    pub stalled: Option<usize>,
    /// Times that all sockets drop and return, of storm [default: 5]
    #[arg(long, value_name = "N")]
    pub waves: Option<usize>,
    /// Sockets opened at a time [default: 100; storm: 1000]
    #[arg(long, value_name = "N")]
    pub in_flight: Option<usize>,
    /// HTTP connections that post events [default: by scenario]
    #[arg(long, value_name = "N")]
    pub publishers: Option<usize>,
    /// Post each event over a connection of its own, of triggers
    #[arg(long)]
    pub no_keep_alive: bool,
    /// Threads for the sockets, and for posting [default: half of the cores, at most 4]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// The server's process ids, separated by commas: its processor time and memory are measured as well
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Write the figures to this file, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Sockets opened and subscribed: how fast, and what each costs
    Connections,
    /// Events to many subscribers: at a rate, or as many as go through
    Fanout,
    /// Events to many small channels
    Rooms,
    /// Events to nobody: what the HTTP API takes
    Triggers,
    /// Events from sockets to the others of their private channel
    ClientEvents,
    /// Members that join and leave a presence channel
    Presence,
    /// All sockets drop and return, several times
    Storm,
    /// Readers that stall among others that don't
    SlowReaders,
    /// Events posted to one node for subscribers of both
    CrossNode,
}

/// Text that `Debug` doesn't show.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl FromStr for SecretText {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<SecretText, Self::Err> {
        Ok(SecretText(text.to_owned()))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    PerSecond(u32),
    Max,
}

/// What `--rate` must be. `Display` is a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rate is a whole number above zero, or max")]
pub struct NoRate;

impl FromStr for Rate {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Rate, NoRate> {
        match text.parse() {
            _ if text == "max" => Ok(Rate::Max),
            Ok(rate) if rate > 0 => Ok(Rate::PerSecond(rate)),
            _ => Err(NoRate),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::PerSecond(rate) => write!(f, "{rate}"),
            Rate::Max => f.write_str("max"),
        }
    }
}

impl Scenario {
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Connections => "connections",
            Scenario::Fanout => "fanout",
            Scenario::Rooms => "rooms",
            Scenario::Triggers => "triggers",
            Scenario::ClientEvents => "client-events",
            Scenario::Presence => "presence",
            Scenario::Storm => "storm",
            Scenario::SlowReaders => "slow-readers",
            Scenario::CrossNode => "cross-node",
        }
    }

    fn defaults(self) -> Defaults {
        let of = |sockets, channels, rate, seconds, publishers| Defaults {
            sockets,
            channels,
            rate,
            seconds,
            publishers,
        };
        use Rate::{Max, PerSecond};
        match self {
            Scenario::Connections => of(5_000, 100, Max, 1, 4),
            Scenario::Fanout => of(1_000, 1, PerSecond(50), 5, 4),
            Scenario::Rooms => of(5_000, 1_000, PerSecond(5_000), 5, 16),
            Scenario::Triggers => of(0, 1, Max, 5, 16),
            Scenario::ClientEvents => of(1_000, 100, PerSecond(1_000), 5, 1),
            Scenario::Presence => of(200, 1, PerSecond(100), 5, 1),
            Scenario::Storm => of(10_000, 100, Max, 1, 4),
            Scenario::SlowReaders => of(1_000, 1, PerSecond(50), 15, 4),
            Scenario::CrossNode => of(1_000, 1, PerSecond(50), 5, 4),
        }
    }
}

struct Defaults {
    sockets: usize,
    channels: usize,
    rate: Rate,
    seconds: u64,
    publishers: usize,
}

/// Options that can't be used. `Display` is a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// What is to be done, checked.
#[derive(Clone, Debug)]
pub struct Task {
    pub scenario: Scenario,
    pub addresses: Vec<Address>,
    pub app: Credentials,
    pub sockets: usize,
    pub channels: usize,
    pub rate: Rate,
    pub data_bytes: usize,
    pub seconds: u64,
    pub stalled: usize,
    pub waves: usize,
    pub in_flight: usize,
    pub publishers: usize,
    /// an HTTP connection is used again
    pub keep_alive: bool,
    pub threads: usize,
    pub pids: Vec<u32>,
}

impl Task {
    pub fn new(arguments: &BenchArguments) -> Result<Task, UsageError> {
        let scenario = arguments.scenario;
        let defaults = scenario.defaults();
        check_belonging(arguments)?;
        let is_storm = scenario == Scenario::Storm;
        let rate = arguments.rate.unwrap_or(defaults.rate);
        let publishers = match scenario {
            // each waits for its answer: with few of them the wait would be the limit
            Scenario::Fanout | Scenario::Rooms if rate == Rate::Max => 64,
            _ => defaults.publishers,
        };
        let task = Task {
            scenario,
            addresses: addresses(arguments)?,
            app: Credentials {
                id: arguments.app_id.clone(),
                key: arguments.key.clone(),
                secret: Secret::new(&arguments.secret.0),
            },
            sockets: arguments.sockets.unwrap_or(defaults.sockets),
            channels: arguments.channels.unwrap_or(defaults.channels),
            rate,
            data_bytes: arguments.size,
            seconds: arguments.seconds.unwrap_or(defaults.seconds),
            stalled: arguments.stalled.unwrap_or(100),
            waves: arguments.waves.unwrap_or(5),
            in_flight: arguments
                .in_flight
                .unwrap_or(if is_storm { 1_000 } else { 100 }),
            publishers: arguments.publishers.unwrap_or(publishers),
            keep_alive: !arguments.no_keep_alive,
            threads: arguments.threads.unwrap_or_else(threads),
            pids: arguments.pid.clone(),
        };
        task.check()?;
        Ok(task)
    }

    fn check(&self) -> Result<(), UsageError> {
        within("--size", self.data_bytes, DATA_FRAME_BYTES, DATA_BYTES_MAX)?;
        within("--seconds", self.seconds as usize, 1, 86_400)?;
        within("--waves", self.waves, 1, 1_000)?;
        within("--in-flight", self.in_flight, 1, 100_000)?;
        within("--publishers", self.publishers, 1, 1_000)?;
        within("--threads", self.threads, 1, 64)?;
        within("--stalled", self.stalled, 1, 100_000)?;
        if self.scenario == Scenario::Triggers {
            return Ok(());
        }
        within("--sockets", self.sockets, 1, 1_000_000)?;
        within("--channels", self.channels, 1, self.sockets)?;
        let is_among_sockets = self.scenario == Scenario::ClientEvents;
        if is_among_sockets && self.channels * 2 > self.sockets {
            return Err(UsageError(format!(
                "--channels {} leaves fewer than two of {} sockets for a channel: nobody would get its client events",
                self.channels, self.sockets
            )));
        }
        let must_have_rate = matches!(
            self.scenario,
            Scenario::Presence | Scenario::SlowReaders | Scenario::CrossNode
        );
        if must_have_rate && self.rate == Rate::Max {
            return Err(UsageError(format!(
                "--rate must be a number for {}: its times only mean something at a rate that the server keeps up with",
                self.scenario.name()
            )));
        }
        Ok(())
    }

    /// Raises the limit of open files to what the run needs.
    pub fn raise_file_limit(&self) -> Result<(), UsageError> {
        let needed = (self.sockets + self.stalled + self.publishers) as u64 + FILES_BESIDES;
        let allowed = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(u64::MAX);
        if allowed < needed {
            return Err(UsageError(format!(
                "{} sockets need {needed} open files, and only {allowed} are allowed: raise the hard limit (`ulimit -Hn`) or say --sockets",
                self.sockets
            )));
        }
        Ok(())
    }

    /// For who reads the figures.
    pub fn settings(&self) -> Value {
        json!({
            "url": self.addresses.first().map(Address::to_string),
            "other_url": self.addresses.get(1).map(Address::to_string),
            "sockets": self.sockets,
            "channels": self.channels,
            "rate": self.rate.to_string(),
            "size": self.data_bytes,
            "seconds": self.seconds,
            "stalled": self.stalled,
            "waves": self.waves,
            "in_flight": self.in_flight,
            "publishers": self.publishers,
            "keep_alive": self.keep_alive,
            "threads": self.threads,
            "pids": self.pids,
        })
    }
}

/// Options that only some scenarios have.
fn check_belonging(arguments: &BenchArguments) -> Result<(), UsageError> {
    use Scenario::{ClientEvents, CrossNode, Presence, SlowReaders, Storm, Triggers};
    let scenario = arguments.scenario;
    let belongs = [
        (
            "--other-url",
            arguments.other_url.is_some(),
            scenario == CrossNode,
        ),
        (
            "--stalled",
            arguments.stalled.is_some(),
            scenario == SlowReaders,
        ),
        ("--waves", arguments.waves.is_some(), scenario == Storm),
        (
            "--sockets",
            arguments.sockets.is_some(),
            scenario != Triggers,
        ),
        (
            "--channels",
            arguments.channels.is_some(),
            scenario != Triggers,
        ),
        (
            "--publishers",
            arguments.publishers.is_some(),
            !matches!(scenario, ClientEvents | Presence),
        ),
        (
            "--no-keep-alive",
            arguments.no_keep_alive,
            scenario == Triggers,
        ),
    ];
    for (option, is_given, has_it) in belongs {
        if is_given && !has_it {
            let name = scenario.name();
            return Err(UsageError(format!("{option} means nothing to {name}")));
        }
    }
    Ok(())
}

fn addresses(arguments: &BenchArguments) -> Result<Vec<Address>, UsageError> {
    let mut addresses = vec![arguments.url.clone()];
    match (&arguments.other_url, arguments.scenario) {
        (Some(other), _) => addresses.push(other.clone()),
        (None, Scenario::CrossNode) => {
            return Err(UsageError(
                "cross-node needs two nodes: say with --other-url where the other one is"
                    .to_owned(),
            ));
        }
        (None, _) => {}
    }
    match addresses.iter().find(|address| address.is_tls) {
        Some(address) => Err(UsageError(format!(
            "{address} is encrypted, and this load generator speaks without TLS only, so that it costs little itself: name a port without TLS, such as the server's server.plain_port"
        ))),
        None => Ok(addresses),
    }
}

fn within(option: &str, value: usize, from: usize, to: usize) -> Result<(), UsageError> {
    match (from..=to).contains(&value) {
        true => Ok(()),
        false => Err(UsageError(format!(
            "{option} is a number from {from} to {to}, not {value}"
        ))),
    }
}

/// Half of the cores: the server needs some as well.
fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn task(line: &str) -> Result<Task, String> {
        let line = format!("resound bench {line}");
        let cli = Cli::try_parse_from(line.split_whitespace());
        match cli.map_err(|error| error.to_string())?.command {
            Some(Command::Bench(arguments)) => {
                assert!(!format!("{arguments:?}").contains("secret-of-app"));
                Task::new(&arguments).map_err(|error| error.to_string())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_scenario_has_its_defaults() {
        for scenario in Scenario::value_variants() {
            let name = scenario.name();
            let line = match scenario {
                Scenario::CrossNode => format!("{name} --other-url http://127.0.0.1:9"),
                _ => name.to_owned(),
            };
            let task = task(&line).expect(name);
            assert_eq!(task.scenario, *scenario);
            assert_eq!(task.app.key, "app-key");
            assert_eq!(task.addresses[0].to_string(), "http://127.0.0.1:8080");
        }
        let line = "fanout --secret secret-of-app --rate max --pid 1,2 --sockets 7 --channels 7";
        let task = task(line).expect("a task");
        assert_eq!((task.rate, task.sockets), (Rate::Max, 7));
        assert_eq!(task.publishers, 64);
        assert_eq!(task.pids, [1, 2]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let check = |line: &str, part: &str| {
            let error = task(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        };
        check("", "<SCENARIO>");
        check("speed", "possible values: connections, fanout, rooms");
        check("fanout --url ftp://a", "a URL has a scheme");
        check("fanout --url https://a", "is encrypted");
        check("cross-node", "say with --other-url");
        check("cross-node --other-url wss://a", "is encrypted");
        check(
            "fanout --other-url http://a",
            "--other-url means nothing to fanout",
        );
        check(
            "triggers --sockets 5",
            "--sockets means nothing to triggers",
        );
        check("presence --publishers 5", "--publishers means nothing");
        check("fanout --waves 2", "--waves means nothing");
        check("rooms --no-keep-alive", "--no-keep-alive means nothing");
        check("fanout --stalled 2", "--stalled means nothing");
        check("fanout --rate 0", "above zero, or max");
        check("fanout --rate fast", "above zero, or max");
        check("presence --rate max", "--rate must be a number");
        check("fanout --size 10", "--size is a number from 55");
        check("fanout --seconds 0", "--seconds is a number from 1");
        check("fanout --sockets 0", "--sockets is a number from 1");
        check(
            "fanout --sockets 2 --channels 3",
            "--channels is a number from 1 to 2",
        );
        check("client-events --sockets 3 --channels 2", "fewer than two");
        check("fanout --threads 65", "--threads is a number from 1 to 64");
    }
}
