//! `resound bench` as a child process, and the figures that it writes.
use std::{
    error::Error,
    fs,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::servers::{Programs, Running};

/// What a run of the load generator found.
pub struct Outcome(Value);

/// Puts a load on a server and waits for the figures. A run in which something was wrong has figures as well.
pub fn run(
    programs: &Programs,
    server: &Running,
    scenario: &[&str],
) -> Result<Outcome, Box<dyn Error>> {
    let file = programs.folder.join("figures.json");
    let _ = fs::remove_file(&file);
    let mut command = command(programs, server, scenario);
    command.arg("--json").arg(&file);
    let output = command.stderr(Stdio::piped()).output()?;
    let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let text = fs::read(&file).map_err(|_| said())?;
    Ok(Outcome(serde_json::from_slice(&text)?))
}

/// The load generator, not started.
pub fn command(programs: &Programs, server: &Running, scenario: &[&str]) -> Command {
    let [id, key, secret] = &server.app;
    let mut command = Command::new(&programs.resound);
    command
        .arg("bench")
        .args(scenario)
        .args(["--url", &server.url, "--app-id", id, "--key", key])
        .args(["--secret", secret])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !server.pids.is_empty() {
        command.args(["--pid", &server.pids.join(",")]);
    }
    command
}

impl Outcome {
    /// A figure by its place: `latency/p99_us`.
    pub fn figure(&self, place: &str) -> Option<f64> {
        let found = self.0.pointer(&format!("/figures/{place}"))?;
        found.as_f64()
    }

    /// Whether a thread of the load generator had nothing left to give.
    pub fn is_bound(&self) -> bool {
        const PERCENT: f64 = 90.0;
        let busiest = self.figure("own_busiest_thread_percent");
        busiest.is_some_and(|busiest| busiest >= PERCENT)
    }

    pub fn list(&self, place: &str) -> Vec<f64> {
        let found = self.0.pointer(&format!("/figures/{place}"));
        let all = found.and_then(Value::as_array).into_iter().flatten();
        all.filter_map(Value::as_f64).collect()
    }

    /// Sentences about what went wrong.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        let all = self.0["problems"].as_array().into_iter().flatten();
        all.filter_map(Value::as_str)
    }

    /// What clients and the HTTP API were told, most of them once.
    pub fn errors(&self) -> impl Iterator<Item = String> {
        let kinds = self.0["errors"].as_object().into_iter().flatten();
        kinds.flat_map(|(what, texts)| {
            let texts = texts.as_object().into_iter().flatten();
            texts.map(move |(text, times)| format!("{what}: {text} ({times} ×)"))
        })
    }
}
