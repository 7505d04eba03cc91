//! What variables mean: Laravel's own names, `RESOUND_...`, and the apps both can name.
use super::{
    cluster,
    environment::Environment,
    error::{ConfigError, nearest},
    layers::{KNOWN_KEYS, Layer},
};
use config::{Value, ValueKind};

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
    found.warnings.extend(warnings(environment));
    found.notes.extend(notes(environment));
    Ok(found)
}

/// Values that can't be what was meant, and variables without effect.
fn warnings(environment: &Environment) -> Vec<String> {
    let mut warnings = environment.doubts(is_ours);
    let name = "LARAVEL_WEBSOCKETS_SSL_PASSPHRASE";
    if environment.get(name).is_some() {
        warnings.push(format!(
            "{} has no effect: a key with a passphrase can't be used, so write it without one (openssl pkey -in KEY -out KEY.plain)",
            environment.origin(name)
        ));
    }
    warnings
}

/// What doesn't count though it is there.
fn notes(environment: &Environment) -> Vec<String> {
    let empty = environment.empty(is_ours);
    empty
        .map(|name| {
            format!(
                "{} is empty and counts as not set",
                environment.origin(name)
            )
        })
        .collect()
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
