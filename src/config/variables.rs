//! Environment variables: Laravel's own names, `RESOUND_...`, and the apps both can name. Pure: the variables are passed in.
use super::{
    error::{ConfigError, nearest},
    layers::{KNOWN_KEYS, Layer},
    soketi,
};
use config::{Value, ValueKind};
use std::collections::{BTreeMap, HashMap};

/// What the environment says.
#[derive(Default)]
pub(super) struct FromVariables {
    /// Follows from a variable without being what it says: weaker than the file.
    pub(super) derived: Layer,
    /// `REVERB_...`
    pub(super) laravel: Layer,
    /// `RESOUND_...`
    pub(super) resound: Layer,
    pub(super) apps: Vec<AppVariables>,
    pub(super) warnings: Vec<String>,
}

impl FromVariables {
    /// Whether anything is there that only Reverb has.
    pub(super) fn names_reverb(&self) -> bool {
        let is_reverb = |app: &AppVariables| app.prefix == "REVERB_APP_";
        !self.laravel.values.is_empty() || self.apps.iter().any(is_reverb)
    }
}

/// An app named by three variables.
pub(super) struct AppVariables {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) secret: String,
    /// `environment variable REVERB_APP_` and so on
    pub(super) prefix: &'static str,
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
}

/// Laravel's variables and the settings they are. (`REVERB_HOST` and `REVERB_PORT` are where *others* reach the server.)
pub(super) const LARAVEL_SETTINGS: [(&str, &str); 14] = [
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
];

const APP_PREFIXES: [&str; 3] = ["REVERB_APP_", "PUSHER_APP_", "RESOUND_APP_"];

/// Reads every variable that concerns us. Fails on an unknown `RESOUND_` name and on an app with a part missing.
pub(super) fn read(variables: &HashMap<String, String>) -> Result<FromVariables, ConfigError> {
    let present = Present::new(variables);
    let mut found = FromVariables::default();
    for (name, path) in LARAVEL_SETTINGS {
        if let Some(text) = present.get(name) {
            let value = laravel_value(name, path, text, &mut found.warnings);
            found.laravel.set(path, value, &origin(name));
        }
    }
    if let Some(bytes) = present.get("REVERB_MAX_REQUEST_SIZE") {
        found.derived = larger_events(bytes);
    }
    for (name, text) in &present.0 {
        if name.starts_with("RESOUND_") && !is_app_part(name) {
            set_resound(name, text, &mut found.resound)?;
        }
    }
    for prefix in APP_PREFIXES {
        found.apps.extend(read_app(prefix, &present)?);
    }
    found.warnings.extend(present.warnings());
    Ok(found)
}

/// soketi's variables, which have rules of their own.
pub(super) fn of_soketi(variables: &HashMap<String, String>) -> soketi::Variables<'_> {
    let present = Present::new(variables).0.into_iter();
    present
        .filter(|(name, _)| name.starts_with("SOKETI_"))
        .map(|(name, text)| (name, (text, origin(name))))
        .collect()
}

/// The variables with a value, tidied, in the order of their names.
struct Present<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Present<'a> {
    fn new(variables: &'a HashMap<String, String>) -> Present<'a> {
        let tidy = variables
            .iter()
            .filter(|(name, value)| !is_service_link(name, value))
            .filter_map(|(name, value)| Some((name.as_str(), tidied(value)?)));
        Present(tidy.collect())
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (name, value) in &self.0 {
            if is_ours(name) && value.contains("${") {
                warnings.push(format!(
                    "environment variable {name} holds a literal ${{...}}: whatever read the .env file (docker's --env-file does so) did not put the value in"
                ));
            }
        }
        let scaling = self.get("REVERB_SCALING_ENABLED");
        if scaling.is_some_and(is_truthy) {
            warnings.push(
                "environment variable REVERB_SCALING_ENABLED is on, but this version runs alone: several servers don't share their channels"
                    .to_owned(),
            );
        }
        warnings
    }
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
    let is_url = value.starts_with("tcp://") || value.starts_with("udp://");
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

fn origin(name: &str) -> String {
    format!("environment variable {name}")
}

fn laravel_value(name: &str, path: &str, text: &str, warnings: &mut Vec<String>) -> ValueKind {
    match meaning(name) {
        Meaning::Plain => plain_value(path, text),
        Meaning::StrictSwitch => {
            let on = is_word(text, "true");
            if !on && !is_word(text, "false") {
                warnings.push(format!(
                    "environment variable {name} is {text:?}, which leaves it off as in Reverb: only true switches it on"
                ));
            }
            ValueKind::Boolean(on)
        }
        Meaning::Truthy => ValueKind::Boolean(is_truthy(text)),
        Meaning::ClientEvents => {
            let known = ["all", "members", "none"]
                .into_iter()
                .find(|word| word.eq_ignore_ascii_case(text));
            if known.is_none() {
                warnings.push(format!(
                    "environment variable {name} is {text:?}, which switches client events off: it takes \"all\", \"members\" or \"none\""
                ));
            }
            ValueKind::String(known.unwrap_or("none").to_owned())
        }
    }
}

fn meaning(name: &str) -> Meaning {
    match name {
        "REVERB_APP_RATE_LIMITING_ENABLED" => Meaning::StrictSwitch,
        "REVERB_APP_RATE_LIMIT_TERMINATE" => Meaning::Truthy,
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
fn larger_events(request_bytes: &str) -> Layer {
    let mut layer = Layer::default();
    if let Ok(bytes) = request_bytes.parse::<u32>() {
        layer.set(
            "app_defaults.event_data_bytes_max",
            i64::from(bytes.clamp(10_240, 1 << 30)),
            &origin("REVERB_MAX_REQUEST_SIZE"),
        );
    }
    layer
}

fn set_resound(name: &str, text: &str, layer: &mut Layer) -> Result<(), ConfigError> {
    match KNOWN_KEYS.iter().find(|known| known.variable == name) {
        Some(known) => {
            layer.set(&known.path, plain_value(&known.path, text), &origin(name));
            Ok(())
        }
        None => {
            let app_parts = ["RESOUND_APP_ID", "RESOUND_APP_KEY", "RESOUND_APP_SECRET"];
            let settings = KNOWN_KEYS.iter().map(|known| known.variable.as_str());
            Err(ConfigError::Unknown {
                name: origin(name),
                nearest: nearest(name, settings.chain(app_parts)),
            })
        }
    }
}

/// The app of one triple: all parts or none.
fn read_app(
    prefix: &'static str,
    present: &Present<'_>,
) -> Result<Option<AppVariables>, ConfigError> {
    let names = ["ID", "KEY", "SECRET"].map(|part| format!("{prefix}{part}"));
    let [id, key, secret] = names.each_ref().map(|name| present.get(name));
    if let (Some(id), Some(key), Some(secret)) = (id, key, secret) {
        return Ok(Some(AppVariables {
            id: id.to_owned(),
            key: key.to_owned(),
            secret: secret.to_owned(),
            prefix,
        }));
    }
    let is_set = |name: &&String| present.get(name).is_some();
    let set = names.iter().find(is_set);
    let missing = names.iter().find(|name| !is_set(name));
    match (set, missing) {
        (Some(present), Some(missing)) => Err(ConfigError::IncompleteApp {
            missing: missing.clone(),
            present: present.clone(),
        }),
        _ => Ok(None),
    }
}
