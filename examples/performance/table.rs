//! Figures of all runs, and the tables made of them.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    process::Command,
};

use super::{
    goals::{DEFAULT, FLOOR, GOALS, Goal, ONE_WORKER, Source},
    servers::{Programs, Subject},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    SteadyCpu,
    Saturated,
    SaturatedCpu,
    P50,
    P99,
    IdleBytes,
    TlsBytes,
    Connects,
    ConnectCpu,
    Triggers,
    TriggerCpu,
    TriggersEach,
    TriggerEachCpu,
    StormGrowth,
    StalledRatio,
    StalledCut,
    StalledHoles,
    WebhookP50,
    WebhookP99,
    Lost,
    Duplicated,
    Reordered,
    StartMs,
    BinaryBytes,
}

type Row = (Figure, &'static str, fn(f64) -> String);

/// How the rows of the first table are called and written.
const ROWS: [Row; 19] = [
    (
        Figure::SteadyCpu,
        "processor time a delivery at 80,000/s",
        micros,
    ),
    (
        Figure::Saturated,
        "deliveries/s, as many as go through",
        whole,
    ),
    (
        Figure::SaturatedCpu,
        "processor time a delivery then",
        micros,
    ),
    (Figure::P50, "latency at 50,000 deliveries/s, p50", time),
    (Figure::P99, "latency at 50,000 deliveries/s, p99", time),
    (Figure::IdleBytes, "memory for an idle socket", kilobytes),
    (
        Figure::TlsBytes,
        "memory for an idle socket over TLS",
        kilobytes,
    ),
    (
        Figure::Connects,
        "sockets connected and subscribed/s",
        whole,
    ),
    (
        Figure::ConnectCpu,
        "processor time for each of them",
        micros,
    ),
    (
        Figure::Triggers,
        "HTTP API events/s, connections kept alive if the server does",
        whole,
    ),
    (
        Figure::TriggerCpu,
        "processor time for each of them",
        micros,
    ),
    (
        Figure::TriggersEach,
        "HTTP API events/s, each over a new connection",
        whole,
    ),
    (
        Figure::TriggerEachCpu,
        "processor time for each of them",
        micros,
    ),
    (
        Figure::StalledRatio,
        "p99 of 1,000 readers with 100 stalled ones over that without",
        ratio,
    ),
    (
        Figure::StalledCut,
        "stalled readers that were cut, of 100",
        whole,
    ),
    (
        Figure::StalledHoles,
        "messages left out for them without a word",
        whole,
    ),
    (Figure::Lost, "messages lost", whole),
    (Figure::Duplicated, "messages that came twice", whole),
    (Figure::Reordered, "messages out of order", whole),
];

#[derive(Debug, Default)]
pub struct Figures {
    /// by server
    all: BTreeMap<(Figure, usize), Vec<f64>>,
    /// memory before a storm and after each wave, by server
    waves: BTreeMap<usize, Vec<f64>>,
    /// of which runs the load generator was at its limit
    bound: BTreeSet<(Figure, usize)>,
    notes: Vec<String>,
}

impl Figures {
    pub fn add(&mut self, server: usize, figure: Figure, value: f64) {
        self.all.entry((figure, server)).or_default().push(value);
    }

    pub fn waves(&mut self, server: usize, bytes: Vec<f64>) {
        self.waves.insert(server, bytes);
    }

    /// The server can do this and perhaps more.
    pub fn is_bound(&mut self, server: usize, figure: Figure) {
        self.bound.insert((figure, server));
    }

    pub fn note(&mut self, sentence: String) {
        self.notes.push(sentence);
    }

    /// What all runs together say.
    fn value(&self, figure: Figure, server: usize) -> Option<f64> {
        let all = self.all.get(&(figure, server))?;
        match figure {
            // What a server that goes on used once is used again: only its first run tells what a socket takes.
            Figure::IdleBytes => all.iter().copied().reduce(f64::max),
            Figure::Lost | Figure::Duplicated | Figure::Reordered => Some(all.iter().sum()),
            _ => median(all),
        }
    }

    pub fn markdown(&self, programs: &Programs, subjects: &[Subject]) -> String {
        let mut text = format!("{}\n\n", machine(programs));
        self.table(&mut text, subjects);
        self.storm(&mut text, subjects);
        self.goals(&mut text, subjects);
        for note in &self.notes {
            // writing to a String cannot fail
            let _ = writeln!(text, "- {}", note.replace('\n', " "));
        }
        text
    }

    fn table(&self, text: &mut String, subjects: &[Subject]) {
        head(text, "", subjects);
        for (figure, label, write) in ROWS {
            if !self.all.keys().any(|(of, _)| *of == figure) {
                continue;
            }
            let mut line = format!("| {label} |");
            for server in 0..subjects.len() {
                let value = self.value(figure, server);
                let value = value.map_or_else(|| "–".to_owned(), write);
                let is_bound = self.bound.contains(&(figure, server));
                let _ = write!(line, " {value}{} |", if is_bound { " *" } else { "" });
            }
            let _ = writeln!(text, "{line}");
        }
        text.push('\n');
        if !self.bound.is_empty() {
            text.push_str("\\* A thread of the load generator was at its limit: the server can do this and perhaps more.\n\n");
        }
    }

    fn storm(&self, text: &mut String, subjects: &[Subject]) {
        if self.waves.is_empty() {
            return;
        }
        let waves = self.waves.values().map(Vec::len).max().unwrap_or(0);
        text.push_str("| memory in a storm, MiB | before |");
        for wave in 1..waves {
            let _ = write!(text, " wave {wave} |");
        }
        let _ = writeln!(text, "\n|---|{}", "---|".repeat(waves));
        for (server, bytes) in &self.waves {
            let name = subjects[*server].name();
            let _ = write!(text, "| {name} |");
            for bytes in bytes {
                let _ = write!(text, " {:.1} |", bytes / f64::from(1 << 20));
            }
            text.push('\n');
        }
        text.push('\n');
    }

    /// What Resound should reach, and what it does.
    fn goals(&self, text: &mut String, subjects: &[Subject]) {
        let peers: Vec<usize> = (0..subjects.len())
            .filter(|server| subjects[*server].is_peer())
            .collect();
        text.push_str("| Resound | goal | measured |\n|---|---|---|\n");
        for Goal {
            label,
            goal,
            source,
            write,
        } in GOALS
        {
            let value = self.source(source, &peers);
            let value = value.map_or_else(|| "–".to_owned(), write);
            let _ = writeln!(text, "| {label} | {goal} | {value} |");
        }
        text.push('\n');
    }

    fn source(&self, source: Source, peers: &[usize]) -> Option<f64> {
        let of_peers = |figure| {
            peers
                .iter()
                .filter_map(move |peer| self.value(figure, *peer))
        };
        let (ours, theirs) = match source {
            Source::Faults => return self.faults(),
            Source::Own(figure) => return self.value(figure, DEFAULT),
            Source::OverFloor(column, figure) => {
                (self.value(figure, column), self.value(figure, FLOOR))
            }
            Source::OverLeast(column, ours, theirs) => {
                let least = of_peers(theirs).reduce(f64::min);
                (self.value(ours, column), least)
            }
            Source::OverMost(column, figure) => {
                let most = of_peers(figure).reduce(f64::max);
                (self.value(figure, column), most)
            }
        };
        Some(ours? / theirs?)
    }

    /// Of Resound, in all runs.
    fn faults(&self) -> Option<f64> {
        let figures = [Figure::Lost, Figure::Duplicated, Figure::Reordered];
        let all = figures
            .into_iter()
            .flat_map(|figure| [ONE_WORKER, DEFAULT].map(|server| self.value(figure, server)));
        all.sum()
    }
}

fn head(text: &mut String, first: &str, subjects: &[Subject]) {
    let names: Vec<String> = subjects.iter().map(Subject::name).collect();
    let _ = writeln!(text, "| {first} | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(names.len()));
}

fn median(all: &[f64]) -> Option<f64> {
    let mut sorted = all.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted.get(middle).copied(),
        _ => Some((sorted.get(middle.checked_sub(1)?)? + sorted.get(middle)?) / 2.0),
    }
}

/// The machine and the version, in a sentence.
fn machine(programs: &Programs) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    let model = model.unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let version = Command::new(&programs.resound).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!(
        "{model}, {cores} cores, Linux {}, {}; the load generator on the same machine.",
        kernel.trim(),
        version.unwrap_or_default()
    )
}

fn micros(us: f64) -> String {
    format!("{us:.2} µs")
}

/// Microseconds as a reader would say them.
fn time(us: f64) -> String {
    match us {
        ..1_000.0 => format!("{us:.0} µs"),
        _ => format!("{:.2} ms", us / 1e3),
    }
}

pub fn kilobytes(bytes: f64) -> String {
    format!("{:.2} kB", bytes / 1e3)
}

pub fn ratio(value: f64) -> String {
    format!("{value:.2} ×")
}

pub fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_readers_say_them() {
        assert_eq!(whole(1_234_567.4), "1,234,567");
        assert_eq!(whole(0.0), "0");
        assert_eq!(time(999.4), "999 µs");
        assert_eq!(time(1_500.0), "1.50 ms");
        assert_eq!(kilobytes(1_280.0), "1.28 kB");
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[3.0, 1.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn memory_is_that_of_the_first_run_and_faults_are_added_up() {
        let mut figures = Figures::default();
        for value in [900.0, 100.0, 0.0] {
            figures.add(DEFAULT, Figure::IdleBytes, value);
            figures.add(DEFAULT, Figure::Lost, value);
            figures.add(DEFAULT, Figure::P50, value);
        }
        assert_eq!(figures.value(Figure::IdleBytes, DEFAULT), Some(900.0));
        assert_eq!(figures.value(Figure::Lost, DEFAULT), Some(1_000.0));
        assert_eq!(figures.value(Figure::P50, DEFAULT), Some(100.0));
        assert_eq!(figures.value(Figure::P50, FLOOR), None);
    }
}
