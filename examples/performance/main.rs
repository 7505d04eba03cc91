//! Makes the tables of `docs/performance.md` on this machine: Resound, a floor that only writes prepared frames, and any other servers of
//! the protocol under the same loads, in turns, several times; medians, ratios and what they should be, as Markdown.
//!
//! `cargo build --release && cargo run --release --example performance -- --help`

mod arguments;
mod goals;
mod load;
mod servers;
mod table;
mod tls;
mod webhooks;

use std::{error::Error, fs, process::ExitCode, time::Instant};

use self::{
    arguments::{Arguments, USAGE},
    load::Outcome,
    servers::{Programs, Subject},
    table::{Figure, Figures},
};

/// Starts of which the median is told.
const STARTS: usize = 20;

/// Kinds of errors that are told of a run in which something was wrong.
const ERRORS_MAX: usize = 3;

/// A load and what is taken from it.
struct Scenario {
    /// arguments of `resound bench`
    arguments: &'static str,
    /// the same for `--quick`
    quick: &'static str,
    takes: &'static [(Figure, &'static str)],
}

/// What is repeated in each round.
const REPEATED: [Scenario; 6] = [
    Scenario {
        arguments: "connections --sockets 5000",
        quick: "connections --sockets 2000",
        takes: &[
            (Figure::IdleBytes, "server_rss_bytes_each"),
            (Figure::Connects, "connects_per_s"),
            (Figure::ConnectCpu, "server_cpu_us_each"),
        ],
    },
    Scenario {
        arguments: "fanout --rate 80 --seconds 4",
        quick: "fanout --rate 80 --seconds 2",
        takes: &[(Figure::SteadyCpu, "server_cpu_us_each")],
    },
    Scenario {
        arguments: "fanout --rate max --seconds 3",
        quick: "fanout --rate max --seconds 2",
        takes: &[
            (Figure::Saturated, "deliveries_per_s"),
            (Figure::SaturatedCpu, "server_cpu_us_each"),
        ],
    },
    Scenario {
        arguments: "fanout --rate 50 --seconds 4",
        quick: "fanout --rate 50 --seconds 2",
        takes: &[
            (Figure::P50, "latency/p50_us"),
            (Figure::P99, "latency/p99_us"),
        ],
    },
    Scenario {
        arguments: "triggers --seconds 3",
        quick: "triggers --seconds 1",
        takes: &[
            (Figure::Triggers, "events_per_s"),
            (Figure::TriggerCpu, "server_cpu_us_each"),
        ],
    },
    Scenario {
        arguments: "triggers --seconds 3 --no-keep-alive",
        quick: "triggers --seconds 1 --no-keep-alive",
        takes: &[
            (Figure::TriggersEach, "events_per_s"),
            (Figure::TriggerEachCpu, "server_cpu_us_each"),
        ],
    },
];

const STORM: Scenario = Scenario {
    arguments: "storm --sockets 10000 --waves 5",
    quick: "storm --sockets 2000 --waves 3",
    takes: &[(Figure::StormGrowth, "growth")],
};

/// A stalled reader is owed 800 kB a second: some megabytes go into the system's buffers before the server sees anything of it.
const STALLED: Scenario = Scenario {
    arguments: "slow-readers --stalled 100 --seconds 12",
    quick: "",
    takes: &[
        (Figure::StalledRatio, "p99_ratio"),
        (Figure::StalledCut, "cut"),
        (Figure::StalledHoles, "stalled_lost"),
    ],
};

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if given.iter().any(|one| one == "--help" || one == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let arguments = match Arguments::parse(given) {
        Ok(arguments) => arguments,
        Err(sentence) => {
            eprintln!("performance: {sentence}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match measure(arguments) {
        Ok(markdown) => {
            println!("{markdown}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("performance: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: Arguments) -> Result<String, Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("resound-performance-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let programs = Programs::find(&folder)?;
    let mut run = Run::new(arguments, programs);
    run.all();
    let _ = fs::remove_dir_all(&folder);
    Ok(run.figures.markdown(&run.programs, &run.subjects))
}

struct Run {
    arguments: Arguments,
    programs: Programs,
    subjects: Vec<Subject>,
    figures: Figures,
    began: Instant,
}

impl Run {
    fn new(arguments: Arguments, programs: Programs) -> Run {
        let own = [
            Subject::Resound { workers: Some(1) },
            Subject::Resound { workers: None },
            Subject::Floor,
        ];
        let peers = arguments.peers.iter().cloned().map(Subject::Peer);
        Run {
            subjects: own.into_iter().chain(peers).collect(),
            arguments,
            programs,
            figures: Figures::default(),
            began: Instant::now(),
        }
    }

    fn all(&mut self) {
        for round in 1..=self.arguments.rounds {
            for scenario in &REPEATED {
                for server in 0..self.subjects.len() {
                    self.one(&format!("round {round}"), scenario, server);
                }
            }
        }
        let is_quick = self.arguments.is_quick;
        for scenario in [STORM, STALLED] {
            for server in 0..self.subjects.len() {
                // The floor keeps whatever a reader is owed, and one worker cuts like several.
                let is_told = match &self.subjects[server] {
                    Subject::Resound { workers } => workers.is_none(),
                    Subject::Floor => false,
                    Subject::Peer(_) => true,
                };
                if is_told && !(is_quick && scenario.quick.is_empty()) {
                    self.one("once", &scenario, server);
                }
            }
        }
        self.alone();
    }

    /// A load on a server, in its turn.
    fn one(&mut self, when: &str, scenario: &Scenario, server: usize) {
        let line = match self.arguments.is_quick {
            true => scenario.quick,
            false => scenario.arguments,
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let subject = &self.subjects[server];
        let name = subject.name();
        let at_s = self.began.elapsed().as_secs();
        eprintln!("{at_s:4} s  {when}: {line}: {name}");
        let outcome = self
            .programs
            .start(subject)
            .and_then(|running| load::run(&self.programs, &running, &words));
        match outcome {
            Ok(outcome) => self.take(scenario, server, &outcome, &format!("{name}: {line}")),
            Err(error) => self.figures.note(format!("{name}: {line}: {error}")),
        }
    }

    fn take(&mut self, scenario: &Scenario, server: usize, outcome: &Outcome, title: &str) {
        for (figure, place) in scenario.takes {
            if let Some(value) = outcome.figure(place) {
                self.figures.add(server, *figure, value);
            }
            if place.ends_with("_per_s") && outcome.is_bound() {
                self.figures.is_bound(server, *figure);
            }
        }
        let faults = [
            (Figure::Lost, "lost"),
            (Figure::Duplicated, "duplicated"),
            (Figure::Reordered, "reordered"),
        ];
        for (figure, place) in faults {
            if let Some(value) = outcome.figure(place) {
                self.figures.add(server, figure, value);
            }
        }
        let waves = outcome.list("server_rss_bytes");
        if !waves.is_empty() {
            self.figures.waves(server, waves);
        }
        for problem in outcome.problems() {
            self.figures.note(format!("{title}: {problem}"));
        }
        if outcome.problems().next().is_some() {
            for error in outcome.errors().take(ERRORS_MAX) {
                self.figures.note(format!("{title}: {error}"));
            }
        }
    }

    /// What only Resound is asked.
    fn alone(&mut self) {
        const RESOUND: usize = 1;
        let at_s = self.began.elapsed().as_secs();
        eprintln!("{at_s:4} s  once: TLS, webhooks, start");
        let programs = self.programs.clone();
        let tls = tls::bytes_each(&programs);
        self.add("TLS", RESOUND, Figure::TlsBytes, tls);
        match webhooks::ratios(&programs) {
            Ok((p50, p99)) => {
                self.figures.add(RESOUND, Figure::WebhookP50, p50);
                self.figures.add(RESOUND, Figure::WebhookP99, p99);
            }
            Err(error) => self.figures.note(format!("webhooks: {error}")),
        }
        let start = servers::starting_time(&programs, STARTS);
        let start = start.map(|time| time.as_secs_f64() * 1e3);
        self.add("start", RESOUND, Figure::StartMs, start);
        let size = fs::metadata(&programs.resound).map(|file| file.len() as f64);
        self.add(
            "binary",
            RESOUND,
            Figure::BinaryBytes,
            size.map_err(Into::into),
        );
    }

    fn add(
        &mut self,
        what: &str,
        server: usize,
        figure: Figure,
        value: Result<f64, Box<dyn Error>>,
    ) {
        match value {
            Ok(value) => self.figures.add(server, figure, value),
            Err(error) => self.figures.note(format!("{what}: {error}")),
        }
    }
}
