//! Variables, of the process and of a `.env` file: Laravel's own names, `RESOUND_...`, and the apps both can name. Pure: what the
//! process and the file have is passed in.
use super::{
    cluster,
    env_file::EnvFile,
    error::{ConfigError, nearest},
    layers::{KNOWN_KEYS, Layer},
    soketi,
};
use config::{Value, ValueKind};
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

/// What the environment says.
#[derive(Default)]
pub(super) struct FromVariables {
    /// Follows from a variable without being what it says: weaker than the file.
    pub(super) derived: Layer,
    /// `REVERB_...`
    pub(super) laravel: Layer,
    /// `REDIS_...`, which are settings only in a cluster
    pub(super) redis: Layer,
    /// `RESOUND_...`
    pub(super) resound: Layer,
    pub(super) apps: Vec<AppVariables>,
    /// of Laravel's: left out if there is another app
    pub(super) incomplete: Vec<ConfigError>,
    pub(super) warnings: Vec<String>,
    /// for the log at level debug
    pub(super) notes: Vec<String>,
}

impl FromVariables {
    /// Where soketi's variables or file name a port, laravel-websockets' doesn't count.
    pub(super) fn leave_out_laravel_websockets_port(&mut self) {
        let is_theirs = |value: &Value| {
            let origin = value.origin().unwrap_or_default();
            origin.contains("LARAVEL_WEBSOCKETS_PORT")
        };
        self.laravel
            .values
            .retain(|key, value| key != "server.port" || !is_theirs(value));
    }
}

/// An app named by three variables.
pub(super) struct AppVariables {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) secret: String,
    /// of id, key and secret: `environment variable REVERB_APP_ID`, `.env line 7 (REVERB_APP_ID)`
    pub(super) origins: [String; 3],
    /// `environment variables REVERB_APP_*`
    pub(super) origin: String,
}

/// How the text of one of Laravel's variables becomes a setting's value.
#[derive(Clone, Copy)]
enum Meaning {
    Plain,
    /// only `true` switches on: Reverb compares with `=== true`
    StrictSwitch,
    /// what PHP takes for true: anything but `false`, `0` and nothing
    Truthy,
    ClientEvents,
    /// `redis` switches the cluster on
    Replication,
}

/// Laravel's variables and the settings they are. (`REVERB_HOST` and `REVERB_PORT` are where *others* reach the server.)
/// Of several for one setting the first that is there counts.
pub(super) const LARAVEL_SETTINGS: [(&str, &str); 21] = [
    ("REVERB_SERVER_HOST", "server.host"),
    ("REVERB_SERVER_PORT", "server.port"),
    ("REVERB_SERVER_PATH", "server.path"),
    ("REVERB_MAX_REQUEST_SIZE", "server.request_bytes_max"),
    ("REVERB_ALLOWED_ORIGINS", "app_defaults.allowed_origins"),
    (
        "REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM",
        "app_defaults.client_events",
    ),
    (
        "REVERB_APP_ACTIVITY_TIMEOUT",
        "app_defaults.activity_timeout_s",
    ),
    ("REVERB_APP_PING_INTERVAL", "app_defaults.ping_interval_s"),
    ("REVERB_APP_MAX_CONNECTIONS", "app_defaults.connections_max"),
    (
        "REVERB_APP_MAX_MESSAGE_SIZE",
        "app_defaults.message_bytes_max",
    ),
    (
        "REVERB_APP_RATE_LIMITING_ENABLED",
        "app_defaults.message_rate_limit",
    ),
    (
        "REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS",
        "app_defaults.message_rate_attempts_max",
    ),
    (
        "REVERB_APP_RATE_LIMIT_DECAY_SECONDS",
        "app_defaults.message_rate_decay_s",
    ),
    (
        "REVERB_APP_RATE_LIMIT_TERMINATE",
        "app_defaults.message_rate_terminate",
    ),
    ("LARAVEL_WEBSOCKETS_PORT", "server.port"),
    ("REVERB_SSL_PRIVATE_CERT", "tls.certificate"),
    ("REVERB_SSL_PRIVATE_KEY", "tls.key"),
    ("LARAVEL_WEBSOCKETS_SSL_LOCAL_CERT", "tls.certificate"),
    ("LARAVEL_WEBSOCKETS_SSL_LOCAL_PK", "tls.key"),
    ("REVERB_SCALING_ENABLED", "cluster.enabled"),
    ("WEBSOCKETS_REPLICATION_MODE", "cluster.enabled"),
];

const APP_PREFIXES: [&str; 3] = ["REVERB_APP_", "PUSHER_APP_", "RESOUND_APP_"];

/// laravel-websockets' own port, where nothing else says one.
const LARAVEL_WEBSOCKETS_PORT: i64 = 6001;

/// Variables that say where files are, not what is in them.
const FILE_VARIABLES: [&str; 2] = [CONFIG_VARIABLE, ENV_FILE_VARIABLE];
/// names the settings file, as `--config` does
pub(super) const CONFIG_VARIABLE: &str = "RESOUND_CONFIG";
/// names the `.env` file, as `--env-file` does; of the process only
pub(super) const ENV_FILE_VARIABLE: &str = "RESOUND_ENV_FILE";

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

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.doubts(is_ours);
        if let Some(name) = ["LARAVEL_WEBSOCKETS_SSL_PASSPHRASE"]
            .iter()
            .find(|name| self.get(name).is_some())
        {
            warnings.push(format!(
                "{} has no effect: a key with a passphrase can't be used, so write it without one (openssl pkey -in KEY -out KEY.plain)",
                self.origin(name)
            ));
        }
        warnings
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

    /// What doesn't count though it is there.
    fn notes(&self) -> Vec<String> {
        let empty = self
            .variables
            .iter()
            .filter(|(name, found)| is_ours(name) && tidied(&found.text).is_none());
        empty
            .map(|(name, _)| format!("{} is empty and counts as not set", self.origin(name)))
            .collect()
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
    fn is_of_laravel_websockets(&self) -> bool {
        let prefixes = ["LARAVEL_WEBSOCKETS_", "WEBSOCKETS_REPLICATION_"];
        let names = ["PUSHER_APP_HOST", "PUSHER_APP_PORT"];
        let is_theirs = |name: &str| {
            names.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
        };
        let mut present = self.iter().map(|(name, _)| name);
        !self.has_reverb() && present.any(is_theirs)
    }
}

/// Reads every variable that concerns us. Fails on an unknown `RESOUND_` name and on a `RESOUND_APP_` app with a part
/// missing.
pub(super) fn read(environment: &Environment) -> Result<FromVariables, ConfigError> {
    let mut found = FromVariables::default();
    for (name, path) in LARAVEL_SETTINGS {
        let is_free = !found.laravel.values.contains_key(path);
        if let Some(text) = environment.get(name).filter(|_| is_free) {
            let origin = environment.origin(name);
            let value = laravel_value(name, path, text, &origin, &mut found.warnings);
            found.laravel.set(path, value, &origin);
        }
    }
    found.redis = cluster::of_laravel(environment);
    if environment.is_of_laravel_websockets() {
        let origin = "laravel-websockets' default";
        found
            .derived
            .set("server.port", LARAVEL_WEBSOCKETS_PORT, origin);
    }
    if let Some(bytes) = environment.get("REVERB_MAX_REQUEST_SIZE") {
        let origin = environment.origin("REVERB_MAX_REQUEST_SIZE");
        larger_events(bytes, &origin, &mut found.derived);
    }
    for (name, text) in environment.iter() {
        let is_setting = !is_app_part(name) && !FILE_VARIABLES.contains(&name);
        if name.starts_with("RESOUND_") && is_setting {
            set_resound(name, text, environment, &mut found.resound)?;
        }
    }
    for prefix in APP_PREFIXES {
        match read_app(prefix, environment) {
            Ok(app) => found.apps.extend(app),
            Err(error) if prefix == "RESOUND_APP_" => return Err(error),
            Err(error) => found.incomplete.push(error),
        }
    }
    found.warnings.extend(environment.warnings());
    found.notes.extend(environment.notes());
    Ok(found)
}

fn is_ours(name: &str) -> bool {
    name.starts_with("RESOUND_")
        || is_app_part(name)
        || LARAVEL_SETTINGS.iter().any(|(known, _)| *known == name)
}

fn is_app_part(name: &str) -> bool {
    let part = APP_PREFIXES
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix));
    part.is_some_and(|part| ["ID", "KEY", "SECRET"].contains(&part))
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

fn laravel_value(
    name: &str,
    path: &str,
    text: &str,
    origin: &str,
    warnings: &mut Vec<String>,
) -> ValueKind {
    match meaning(name) {
        Meaning::Plain => plain_value(path, text),
        Meaning::StrictSwitch => {
            let on = is_word(text, "true");
            if !on && !is_word(text, "false") {
                warnings.push(format!(
                    "{origin} is {text:?}, which leaves it off as in Reverb: only true switches it on"
                ));
            }
            ValueKind::Boolean(on)
        }
        Meaning::Truthy => ValueKind::Boolean(is_truthy(text)),
        Meaning::Replication => {
            let is_redis = text.eq_ignore_ascii_case("redis");
            if !is_redis && !text.eq_ignore_ascii_case("local") {
                warnings.push(format!(
                    "{origin} is {text:?}, which leaves the server alone: it takes \"local\" or \"redis\""
                ));
            }
            ValueKind::Boolean(is_redis)
        }
        Meaning::ClientEvents => {
            let known = ["all", "members", "none"]
                .into_iter()
                .find(|word| word.eq_ignore_ascii_case(text));
            if known.is_none() {
                warnings.push(format!(
                    "{origin} is {text:?}, which switches client events off: it takes \"all\", \"members\" or \"none\""
                ));
            }
            ValueKind::String(known.unwrap_or("none").to_owned())
        }
    }
}

fn meaning(name: &str) -> Meaning {
    match name {
        "REVERB_APP_RATE_LIMITING_ENABLED" => Meaning::StrictSwitch,
        "REVERB_APP_RATE_LIMIT_TERMINATE" | "REVERB_SCALING_ENABLED" => Meaning::Truthy,
        "WEBSOCKETS_REPLICATION_MODE" => Meaning::Replication,
        "REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM" => Meaning::ClientEvents,
        _ => Meaning::Plain,
    }
}

/// `true` and `(true)` are one word in Laravel, in any case.
fn is_word(text: &str, word: &str) -> bool {
    let bare = text
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    bare.unwrap_or(text).eq_ignore_ascii_case(word)
}

fn is_truthy(text: &str) -> bool {
    !is_word(text, "false") && text != "0"
}

fn plain_value(path: &str, text: &str) -> ValueKind {
    let is_list = KNOWN_KEYS
        .iter()
        .any(|known| known.path == path && known.is_list());
    if !is_list {
        return ValueKind::String(text.to_owned());
    }
    let entries = text
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    let values = entries.map(|entry| Value::new(None, entry));
    ValueKind::Array(values.collect())
}

/// Who raised Reverb's request size did it for larger events, so those are let through as well. 10,240: the protocol's
/// own limit, which a smaller request size must not lower.
pub(super) fn larger_events(request_bytes: &str, origin: &str, layer: &mut Layer) {
    if let Ok(bytes) = request_bytes.parse::<u32>() {
        let bytes = i64::from(bytes.clamp(10_240, 1 << 30));
        layer.set("app_defaults.event_data_bytes_max", bytes, origin);
    }
}

fn set_resound(
    name: &str,
    text: &str,
    environment: &Environment,
    layer: &mut Layer,
) -> Result<(), ConfigError> {
    let origin = environment.origin(name);
    match KNOWN_KEYS.iter().find(|known| known.variable == name) {
        Some(known) => {
            layer.set(&known.path, plain_value(&known.path, text), &origin);
            Ok(())
        }
        None => {
            let others = [
                "RESOUND_APP_ID",
                "RESOUND_APP_KEY",
                "RESOUND_APP_SECRET",
                CONFIG_VARIABLE,
                ENV_FILE_VARIABLE,
            ];
            let settings = KNOWN_KEYS.iter().map(|known| known.variable.as_str());
            Err(ConfigError::Unknown {
                name: origin,
                nearest: nearest(name, settings.chain(others)),
            })
        }
    }
}

/// The app of one triple: all parts or none.
fn read_app(
    prefix: &'static str,
    environment: &Environment,
) -> Result<Option<AppVariables>, ConfigError> {
    let names = ["ID", "KEY", "SECRET"].map(|part| format!("{prefix}{part}"));
    let value = |name: &String| environment.get(name).filter(|text| !is_placeholder(text));
    let [id, key, secret] = names.each_ref().map(value);
    if let (Some(id), Some(key), Some(secret)) = (id, key, secret) {
        return Ok(Some(AppVariables {
            id: id.to_owned(),
            key: key.to_owned(),
            secret: secret.to_owned(),
            origins: names.each_ref().map(|name| environment.origin(name)),
            origin: match (&environment.file, environment.is_of_process(&names[0])) {
                (Some(file), false) => format!("{prefix}* of {file}"),
                _ => format!("environment variables {prefix}*"),
            },
        }));
    }
    let set = names.iter().find(|name| value(name).is_some());
    let missing = names.iter().find(|name| value(name).is_none());
    match (set, missing) {
        (Some(present), Some(missing)) => Err(ConfigError::IncompleteApp {
            absence: match environment.get(missing) {
                Some(_) => format!("{} is a placeholder", environment.origin(missing)),
                None => environment.absence(missing),
            },
            missing: missing.clone(),
            present: match (&environment.file, environment.is_of_process(present)) {
                (Some(_), false) => environment.origin(present),
                _ => present.clone(),
            },
        }),
        _ => Ok(None),
    }
}

/// What Laravel's documentation has in place of a value: `your-pusher-app-id`.
fn is_placeholder(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["your-", "your_"]
        .iter()
        .any(|start| text.starts_with(start))
}
