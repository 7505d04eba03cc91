//! Every variable there is, of the process and of a `.env` file, with the place it comes from. What they mean is not decided here.
use super::{env_file::EnvFile, soketi};
use std::collections::{BTreeMap, HashMap};

/// Every variable there is, in the order of the names.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    variables: BTreeMap<String, Variable>,
    /// the file some of them come from: `.env`
    pub(super) file: Option<String>,
    /// see [`EnvFile::unclosed`]
    unclosed: Option<u32>,
}

#[derive(Clone, Debug)]
struct Variable {
    text: String,
    /// in the file; none of the process's own
    line: Option<u32>,
    /// see [`super::env_file::Entry::is_cut`]
    is_cut: bool,
}

impl Environment {
    /// The process's own variables.
    pub(super) fn of_process(variables: &HashMap<String, String>) -> Environment {
        let variable = |text: &String| Variable {
            text: text.clone(),
            line: None,
            is_cut: false,
        };
        let ours = variables
            .iter()
            .filter(|(name, text)| !is_service_link(name, text));
        Environment {
            variables: ours
                .map(|(name, text)| (name.clone(), variable(text)))
                .collect(),
            file: None,
            unclosed: None,
        }
    }

    /// Adds what a file says. The process's own win, even empty ones.
    pub(super) fn add_file(&mut self, name: &str, file: EnvFile) {
        self.file = Some(name.to_owned());
        self.unclosed = file.unclosed;
        for (name, entry) in file.entries {
            self.variables.entry(name).or_insert(Variable {
                text: entry.value,
                line: Some(entry.line),
                is_cut: entry.is_cut,
            });
        }
    }

    /// Forgets the names for which `is_kept` is false.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.variables.retain(|name, _| is_kept(name));
    }

    /// The text as it stands, for `env()`.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|found| found.text.as_str())
    }

    /// The value, if it is one: not empty and not `null`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).and_then(tidied)
    }

    /// Whether a variable of the process has a value.
    pub(super) fn is_of_process(&self, name: &str) -> bool {
        let of_process = self
            .variables
            .get(name)
            .filter(|found| found.line.is_none());
        of_process.is_some_and(|found| tidied(&found.text).is_some())
    }

    /// Names and values, in the order of the names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.variables.iter();
        all.filter_map(|(name, found)| Some((name.as_str(), tidied(&found.text)?)))
    }

    /// Every name, also those without a value.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// How messages name a variable: `environment variable NAME`, `.env line 7 (NAME)`.
    pub(super) fn origin(&self, name: &str) -> String {
        let line = self.variables.get(name).and_then(|found| found.line);
        match (line, &self.file) {
            (Some(line), Some(file)) => format!("{file} line {line} ({name})"),
            _ => format!("environment variable {name}"),
        }
    }

    /// That a variable has no value, and where: `NAME is missing from .env`, `NAME is empty in .env line 3`.
    pub(super) fn absence(&self, name: &str) -> String {
        match (self.variables.get(name), &self.file) {
            (
                Some(Variable {
                    line: Some(line), ..
                }),
                Some(file),
            ) => {
                format!("{name} is empty in {file} line {line}")
            }
            (Some(_), _) => format!("environment variable {name} is empty"),
            (None, Some(file)) => format!("{name} is missing from {file}{}", self.lost_lines()),
            (None, None) => format!("environment variable {name} is not set"),
        }
    }

    /// Why a file may have less than it seems to.
    pub(super) fn lost_lines(&self) -> String {
        let text = |line| {
            format!(
                " (a double quote opened in line {line} is never closed, so nothing after it counts)"
            )
        };
        self.unclosed.map(text).unwrap_or_default()
    }

    /// Values that can't be what was meant.
    pub(super) fn doubts(&self, is_asked: impl Fn(&str) -> bool) -> Vec<String> {
        let mut warnings = Vec::new();
        for (name, found) in self.variables.iter().filter(|(name, _)| is_asked(name)) {
            let origin = self.origin(name);
            if found.text.contains("${") {
                warnings.push(match found.line {
                    None => format!(
                        "{origin} holds a literal ${{...}}: whatever read the .env file (docker's --env-file does so) did not put the value in"
                    ),
                    Some(_) => format!(
                        "{origin} holds a literal ${{...}}: what it refers to is not set in any line before"
                    ),
                });
            }
            if found.is_cut {
                warnings.push(format!(
                    "{origin} ends at a #, for Laravel too: put quotes round the value if the # and what follows belong to it"
                ));
            }
        }
        warnings
    }

    /// Names for which `is_asked` is true, which count as not set though they are there.
    pub(super) fn empty(&self, is_asked: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
        let all = self.variables.iter();
        let empty =
            all.filter(move |(name, found)| is_asked(name) && tidied(&found.text).is_none());
        empty.map(|(name, _)| name.as_str())
    }

    /// soketi's variables, which have rules of their own.
    pub(super) fn of_soketi(&self) -> soketi::Variables<'_> {
        let names = self.iter().filter(|(name, _)| name.starts_with("SOKETI_"));
        names
            .map(|(name, text)| (name, (text, self.origin(name))))
            .collect()
    }

    pub(super) fn has_reverb(&self) -> bool {
        self.iter().any(|(name, _)| name.starts_with("REVERB_"))
    }

    /// Whether laravel-websockets' names are there, and none of Reverb's.
    pub(super) fn is_of_laravel_websockets(&self) -> bool {
        let prefixes = ["LARAVEL_WEBSOCKETS_", "WEBSOCKETS_REPLICATION_"];
        let names = ["PUSHER_APP_HOST", "PUSHER_APP_PORT"];
        let is_theirs = |name: &str| {
            names.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
        };
        let mut present = self.iter().map(|(name, _)| name);
        !self.has_reverb() && present.any(is_theirs)
    }
}

/// The value as Laravel's `env()` would have it: one pair of quotes goes (`docker --env-file` leaves them in), and
/// nothing, `null` or `empty` count as not set.
fn tidied(value: &str) -> Option<&str> {
    let value = value.trim();
    let unquoted = ['"', '\''].iter().find_map(|quote| {
        value
            .strip_prefix(*quote)
            .and_then(|rest| rest.strip_suffix(*quote))
    });
    let value = unquoted.unwrap_or(value);
    let absent = ["", "null", "(null)", "empty", "(empty)"];
    let is_absent = absent.iter().any(|word| value.eq_ignore_ascii_case(word));
    (!is_absent).then_some(value)
}

/// Kubernetes gives every container variables about the services of its namespace; for one called `resound` they look
/// like ours: `RESOUND_PORT=tcp://10.0.0.1:8080`, `RESOUND_SERVICE_HOST`, `RESOUND_PORT_8080_TCP_ADDR`.
fn is_service_link(name: &str, value: &str) -> bool {
    // `REDIS_URL=tcp://…` is somebody's own
    let has_scheme = value.starts_with("tcp://") || value.starts_with("udp://");
    let is_url = has_scheme && name.contains("_PORT");
    let is_port_of = |rest: &str| {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        after.len() < rest.len() && (after.starts_with("_TCP") || after.starts_with("_UDP"))
    };
    is_url
        || name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name
            .split_once("_PORT_")
            .is_some_and(|(_, rest)| is_port_of(rest))
}
