//! What a soketi user has: `SOKETI_...` variables and soketi's JSON file, read as soketi reads them and turned into settings,
//! apps and warnings. Pure: texts come in, and where they came from.
mod apps;
mod found;
mod options;
mod redis;
#[cfg(test)]
mod tests;
mod tree;

use super::{
    error::{ConfigError, nearest},
    layers::{KNOWN_KEYS, Layer, Table},
};
use apps::SIGNIN_TIMEOUT_S;
use found::Found;
use options::{AppMeaning, Kind, Meaning, OPTIONS, SoketiOption};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// soketi's own port, where nothing else says one.
const PORT: i64 = 6001;

/// soketi's largest event: 100 KiB.
const EVENT_BYTES: i64 = 102_400;

/// soketi's largest HTTP body is 100 MiB. This is enough for its largest batch, each event's data escaped.
const REQUEST_BYTES: i64 = 4_194_304;

/// Variables by their whole name, each with its text and how messages name it.
pub(super) type Variables<'a> = BTreeMap<&'a str, (&'a str, String)>;

/// A JSON file of soketi's.
#[derive(Clone, Debug)]
pub(super) struct SoketiFile {
    /// `file soketi.json`
    origin: String,
    content: serde_json::Map<String, Json>,
}

/// What soketi's sources say.
#[derive(Debug, Default)]
pub(super) struct FromSoketi {
    /// there is a variable or a file
    pub(super) is_present: bool,
    pub(super) settings: Layer,
    /// its Redis, which is a setting only in a cluster
    pub(super) redis: Layer,
    /// soketi's defaults, as far as clients and backends could notice ours instead; weaker than anything anybody set
    pub(super) derived: Layer,
    /// in the form of `[[apps]]` sections
    pub(super) apps: Vec<Table>,
    /// why variables make no app: of importance only if there is no other
    pub(super) incomplete: Vec<ConfigError>,
    /// for the log at start
    pub(super) warnings: Vec<String>,
    /// What was understood and means nothing here. Not worth a line at start, but `resound import` tells.
    pub(super) unused: Vec<String>,
}

impl SoketiFile {
    /// Whether a settings file is one of soketi's rather than TOML: by its name or by its first character.
    pub(super) fn is_one(name: &str, text: &str) -> bool {
        let has_name = name
            .rsplit_once('.')
            .is_some_and(|(_, extension)| extension.eq_ignore_ascii_case("json"));
        has_name
            || text
                .trim_start_matches('\u{feff}')
                .trim_start()
                .starts_with('{')
    }

    /// Fails when it isn't JSON, or isn't an object.
    pub(super) fn parse(text: &str, origin: &str) -> Result<SoketiFile, ConfigError> {
        let wrong = |position: String, reason: String| ConfigError::NotJson {
            origin: origin.to_owned(),
            position,
            reason,
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let content = serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            let reason = message.split(" at line ").next().unwrap_or_default();
            let position = format!(" (line {}, column {})", error.line(), error.column());
            wrong(position, reason.to_owned())
        })?;
        match content {
            Json::Object(content) => Ok(SoketiFile {
                origin: origin.to_owned(),
                content,
            }),
            _ => Err(wrong(String::new(), "it must be an object".to_owned())),
        }
    }
}

/// Reads both sources; a variable beats the file. Names that mean nothing are warned of; values that can't be used are refused.
pub(super) fn read(
    variables: &Variables<'_>,
    file: Option<&SoketiFile>,
) -> Result<FromSoketi, ConfigError> {
    let mut from = FromSoketi::default();
    let mut options = tree::Options::default();
    if let Some(file) = file {
        options.add_file(file, &mut from.warnings)?;
    }
    options.add_variables(variables, &mut from.warnings);
    from.is_present = file.is_some() || options.has_variables;

    for (option, found) in &options.found {
        read_option(option, found, &mut from)?;
    }
    redis::read(&options.found, &mut from)?;
    let signin_s = signin_timeout_s(&options)?;
    apps::read(options.apps, signin_s, &mut from)?;
    derive(&mut from, &options.found);
    Ok(from)
}

fn read_option(
    option: &SoketiOption,
    found: &Found,
    from: &mut FromSoketi,
) -> Result<(), ConfigError> {
    match option.meaning {
        Meaning::Setting(key, kind) => set(from, key, kind, found),
        Meaning::Metrics => metrics(found, from),
        Meaning::AppManager => apps_here(found),
        Meaning::Mode => is_server(found),
        Meaning::Adapter => adapter(found, from),
        Meaning::NoEqual { default, why } => {
            let is_default = serde_json::from_str(default).is_ok_and(|value| found.is(&value));
            if !is_default {
                from.warnings
                    .push(format!("{} has no effect: {why}", found.name));
            }
            Ok(())
        }
        Meaning::Unused(why) => {
            from.unused
                .push(format!("{} has no effect: {why}", found.name));
            Ok(())
        }
        // together
        Meaning::Redis(_) => Ok(()),
        // together with the apps
        Meaning::App | Meaning::Apps | Meaning::SigninTimeout => Ok(()),
    }
}

fn set(from: &mut FromSoketi, key: &str, kind: Kind, found: &Found) -> Result<(), ConfigError> {
    let Some(value) = found.convert(key, kind)? else {
        return Ok(());
    };
    if KNOWN_KEYS.iter().any(|known| known.path == key) {
        from.settings.set(key, value, &found.origin);
    } else {
        from.warnings.push(not_in_this_version(found));
    }
    Ok(())
}

/// soketi's dashboards know its metrics by names that begin with `soketi_`, or with what another option says.
fn metrics(found: &Found, from: &mut FromSoketi) -> Result<(), ConfigError> {
    let key = "admin.soketi_prefix";
    if found.switch(key)? && !from.settings.values.contains_key(key) {
        let prefix = Found {
            value: Json::from("soketi_"),
            ..found.clone()
        };
        return set(from, key, Kind::Text, &prefix);
    }
    Ok(())
}

fn not_in_this_version(found: &Found) -> String {
    format!(
        "{} has no effect: this version has nothing like it",
        found.name
    )
}

fn apps_here(found: &Found) -> Result<(), ConfigError> {
    if found.is(&Json::from("array")) {
        return Ok(());
    }
    let allowed = "array: apps in a database are not supported yet, so write them into the settings, as SOKETI_DEFAULT_APP_... variables or [[apps]] sections (`resound import` turns soketi's file into such)";
    Err(found.invalid("where the apps are", allowed))
}

fn is_server(found: &Found) -> Result<(), ConfigError> {
    let modes = ["full", "server"].map(Json::from);
    if modes.iter().any(|mode| found.is(mode)) {
        return Ok(());
    }
    let allowed =
        "full or server: webhooks are sent by the server itself, so it needs no worker beside it";
    Err(found.invalid("the mode", allowed))
}

fn adapter(found: &Found, from: &mut FromSoketi) -> Result<(), ConfigError> {
    if found.is(&Json::from("local")) {
        return Ok(());
    }
    if found.is(&Json::from("redis")) {
        from.settings.set("cluster.enabled", true, &found.origin);
        return Ok(());
    }
    let allowed = "local or redis: several servers share their channels over Redis only";
    Err(found.invalid("the adapter", allowed))
}

/// How long an app's connections have for signing in, if the app asks for that.
fn signin_timeout_s(options: &tree::Options) -> Result<i64, ConfigError> {
    let mut found = options.found.iter();
    let timeout = found.find(|(option, _)| matches!(option.meaning, Meaning::SigninTimeout));
    match timeout {
        Some((_, found)) => found.seconds("app_defaults.authorization_timeout_s"),
        None => Ok(SIGNIN_TIMEOUT_S),
    }
}

/// soketi's defaults where ours would refuse what soketi took, or let through what it refused.
fn derive(from: &mut FromSoketi, found: &[(&SoketiOption, Found)]) {
    let origin = "soketi's defaults";
    let event_bytes = match from
        .settings
        .values
        .get("app_defaults.event_data_bytes_max")
    {
        Some(value) => value.clone().into_int().unwrap_or(EVENT_BYTES),
        None => EVENT_BYTES,
    };
    // a client event's data can grow sixfold when escaped, and has names around it
    let message_bytes = event_bytes.saturating_mul(6).saturating_add(4_096);
    let defaults = [
        ("server.port", PORT),
        (
            "server.request_bytes_max",
            REQUEST_BYTES.max(message_bytes).min(1 << 30),
        ),
        ("app_defaults.event_data_bytes_max", event_bytes),
        ("app_defaults.client_event_data_bytes_max", event_bytes),
        (
            "app_defaults.message_bytes_max",
            message_bytes.clamp(65_536, 1 << 30),
        ),
        ("app_defaults.cache_ttl_s", 3_600),
    ];
    for (key, value) in defaults {
        from.derived.set(key, value, origin);
    }
    from.derived
        .set("app_defaults.client_events", "none", origin);
    // soketi sends webhooks wherever they point, and next to Sail that is a container's private address
    if from.apps.iter().any(|app| app.contains_key("webhooks")) {
        from.derived
            .set("webhook.allow_private_targets", true, origin);
    }
    let has_metrics = found
        .iter()
        .any(|(option, _)| option.path.starts_with("metrics."));
    if has_metrics && KNOWN_KEYS.iter().any(|known| known.path == "admin.host") {
        from.derived.set("admin.host", "0.0.0.0", origin);
    }
}

/// The `SOKETI_` names that mean nothing, given without it, as one sentence.
fn unknown_variables(names: &[&str]) -> Option<String> {
    let known = || OPTIONS.iter().map(|option| option.variable);
    let named = |name: &&str| match nearest(name, known()) {
        Some(nearest) => format!("SOKETI_{name} (the nearest is SOKETI_{nearest})"),
        None => format!("SOKETI_{name}"),
    };
    let names: Vec<String> = names.iter().map(named).collect();
    (!names.is_empty()).then(|| format!("not known and without effect: {}", names.join(", ")))
}
