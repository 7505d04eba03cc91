//! `resound nodes`: asks Redis which servers are in the cluster, and lists them.

use std::{error::Error, fmt::Write, time::Duration};

use clap::Args;
use serde::Serialize;

use crate::{
    client::{self, one_line},
    cluster::listing::{self, Listed, Load},
    config::{Settings, cluster::Cluster},
};

/// For each step: connecting, an answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct NodesArguments {
    /// Print JSON, an object on each line
    #[arg(long)]
    pub json: bool,
}

/// Redis can't be asked. `Display` is a sentence.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    #[error(
        "these settings make no cluster: cluster.enabled is off. Start this where the servers' settings are, or set cluster.enabled (or REVERB_SCALING_ENABLED) and where Redis is"
    )]
    Alone,
    #[error("{0}. Redis is where [cluster] says; `resound config` shows it")]
    Redis(String),
}

/// The text for standard output.
pub fn run(settings: &Settings, arguments: &NodesArguments) -> Result<String, Box<dyn Error>> {
    let cluster = settings.cluster.as_ref().ok_or(NoAnswer::Alone)?;
    let nodes = client::block_on(listing::list(cluster, PATIENCE))?;
    let nodes = nodes.map_err(NoAnswer::Redis)?;
    Ok(match arguments.json {
        true => lines_of_json(&nodes),
        false => table(&nodes, cluster),
    })
}

const HEAD: [&str; 8] = [
    "NAME",
    "HOST",
    "PID",
    "VERSION",
    "UP",
    "CONNECTIONS",
    "CHANNELS",
    "LAST SIGN OF LIFE",
];

fn table(nodes: &[Listed], cluster: &Cluster) -> String {
    if nodes.is_empty() {
        return format!(
            "No server gives signs of life there with the prefix {}.\n",
            cluster.prefix
        );
    }
    let rows = nodes.iter().map(row);
    let rows: Vec<[String; 8]> = [HEAD.map(str::to_owned)].into_iter().chain(rows).collect();
    let widths: [usize; 8] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        // writing to a String can't fail
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
    text
}

fn row(node: &Listed) -> [String; 8] {
    let of = |part: fn(&Load) -> String| {
        let known = node.load.as_ref().map(part);
        // it comes from another machine
        known.map_or_else(|| "?".to_owned(), |text| one_line(&text))
    };
    let ago = format!("{} ago", span(node.silent));
    [
        one_line(&node.name),
        of(|load| load.host.clone()),
        of(|load| load.pid.to_string()),
        of(|load| load.version.clone()),
        of(|load| span(Duration::from_secs(load.up_s))),
        of(|load| load.connections.to_string()),
        of(|load| load.channels.to_string()),
        match node.is_alive {
            true => ago,
            false => format!("{ago}: dead"),
        },
    ]
}

/// Two units, rounded down.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    alive: bool,
    last_sign_of_life_s: f64,
    #[serde(flatten)]
    load: Option<&'a Load>,
}

fn lines_of_json(nodes: &[Listed]) -> String {
    let mut text = String::new();
    for node in nodes {
        let line = Line {
            name: &node.name,
            alive: node.is_alive,
            last_sign_of_life_s: node.silent.as_secs_f64(),
            load: node.load.as_ref(),
        };
        // of strings and numbers: there is nothing that could fail
        text.push_str(&serde_json::to_string(&line).unwrap_or_default());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> [Listed; 2] {
        let load = Load {
            version: "0.1.0".to_owned(),
            host: "web\u{1b}1".to_owned(),
            pid: 4711,
            up_s: 3_725,
            connections: 1_042,
            channels: 7,
        };
        let listed = |name: &str, silent_ms: u64, load: Option<Load>| Listed {
            name: name.to_owned(),
            silent: Duration::from_millis(silent_ms),
            is_alive: load.is_some(),
            load,
        };
        [
            listed("0123456789abcdef", 1_500, Some(load)),
            listed("other", 61_000, None),
        ]
    }

    #[test]
    fn a_table_for_people() {
        let settings = crate::config::from_toml("[cluster]\nenabled = true").expect("settings");
        let cluster = settings.cluster.expect("a cluster");
        let expected = [
            "NAME              HOST       PID   VERSION  UP        CONNECTIONS  CHANNELS  LAST SIGN OF LIFE",
            "0123456789abcdef  web\\u{1b}1  4711  0.1.0    1 h 2 min  1042         7         1 s ago",
            "other             ?          ?     ?        ?         ?            ?         1 min 1 s ago: dead",
        ];
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = table(&nodes(), &cluster);
        let lines: Vec<_> = text.lines().map(words).collect();
        assert_eq!(lines, expected.map(words));
        let column = |line: &str, word: &str| line.find(word).expect("there");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(column(lines[0], "LAST"), column(lines[1], "1 s ago"));
        assert_eq!(column(lines[0], "LAST"), column(lines[2], "1 min"));
        let none = table(&[], &cluster);
        assert!(none.contains("with the prefix resound"), "{none}");
    }

    #[test]
    fn lines_for_programs() {
        let text = lines_of_json(&nodes());
        let expected = concat!(
            r#"{"name":"0123456789abcdef","alive":true,"last_sign_of_life_s":1.5,"version":"0.1.0","host":"web\u001b1","pid":4711,"up_s":3725,"connections":1042,"channels":7}"#,
            "\n",
            r#"{"name":"other","alive":false,"last_sign_of_life_s":61.0}"#,
            "\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn times_in_two_units() {
        let check = |seconds: u64, text: &str| assert_eq!(span(Duration::from_secs(seconds)), text);
        check(0, "0 s");
        check(59, "59 s");
        check(60, "1 min 0 s");
        check(3_599, "59 min 59 s");
        check(3_600, "1 h 0 min");
        check(86_399, "23 h 59 min");
        check(90_000, "1 d 1 h");
    }
}
