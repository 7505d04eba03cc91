//! `resound bench`: a load generator for any server of the Pusher protocol. Counts every message exactly, times it, and tells what
//! the server and it itself used meanwhile. Knows servers only from outside.
//!
//! A run: [`arguments`] become a checked task; a file of `scenarios` puts sockets ([`swarm`]) and a backend ([`publisher`]) to
//! work on a `field`; both know each other only by the counters of the [`stage`]. What comes over a socket goes through
//! [`scanner`], [`token`] and [`account`], where nothing is allocated and no JSON is read. Figures go into the [`report`].
pub mod account;
pub mod answer;
pub mod arguments;
mod console;
pub mod errors;
mod field;
pub mod peers;
pub mod publisher;
pub mod report;
pub mod scanner;
mod scenarios;
pub mod stage;
pub mod swarm;
pub mod times;
pub mod token;
pub mod usage;

pub use arguments::{BenchArguments, Scenario, UsageError};

use arguments::Task;
use console::Console;
use report::Report;
use scenarios::Given;
use std::{
    error::Error,
    fs,
    io::{self, Write},
    path::Path,
};
use usage::Usage;

/// Why there are no figures. `Display` is a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BenchError(pub String);

/// Exit code of a run in which something was wrong.
const WRONG: u8 = 1;

/// What a shell says of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Measures, prints the table to `out`, writes the JSON file. Returns the exit code.
pub fn run(arguments: &BenchArguments, out: &mut impl Write) -> Result<u8, Box<dyn Error>> {
    let task = Task::new(arguments)?;
    task.raise_file_limit()?;
    if !task.pids.is_empty() && Usage::of(&task.pids).is_none() {
        let sentence = "--pid names a process of which /proc tells nothing: it has ended, or this system has no /proc";
        return Err(BenchError(sentence.to_owned()).into());
    }
    let servers = field::find_servers(&task)?;
    let console = Console::new();
    let mut report = Report::default();
    let given = Given {
        task: &task,
        console: &console,
        servers: &servers,
    };
    scenarios::run(given, &mut report)?;
    report.is_interrupted = console.is_stopped();
    let name = task.scenario.name();
    write_table(&report, &format!("{name} on {}", servers[0].address), out)?;
    if let Some(file) = &arguments.json {
        write_json(&report, &task, file)?;
    }
    Ok(match (report.has_problems(), report.is_interrupted) {
        (true, _) => WRONG,
        (false, true) => INTERRUPTED,
        (false, false) => 0,
    })
}

/// A reader that has gone is no failure.
fn write_table(report: &Report, title: &str, out: &mut impl Write) -> Result<(), BenchError> {
    let written = out.write_all(report.table(title).as_bytes());
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(BenchError(format!(
            "can't write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

fn write_json(report: &Report, task: &Task, file: &Path) -> Result<(), BenchError> {
    let json = report.json(task.scenario.name(), task.settings());
    fs::write(file, format!("{json:#}\n"))
        .map_err(|error| BenchError(format!("can't write to {}: {error}", file.display())))
}

/// Nothing can be read or written at present. Not connected yet counts, too.
fn is_not_yet(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, NotConnected, WouldBlock};
    matches!(error.kind(), Interrupted | NotConnected | WouldBlock)
}
