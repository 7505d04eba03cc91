//! The sources of settings, each a layer with the origin of every value, and how they are laid over each other.
use super::error::{ConfigError, nearest};
use config::{Config, FileFormat, Format, Map, Source, Value, ValueKind};
use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::Path,
    sync::LazyLock,
};

pub(super) type Table = Map<String, Value>;

/// The commented defaults, embedded so that they and their documentation are one thing.
pub(super) const DEFAULTS: &str = include_str!("default.toml");
const HOSTED: &str = include_str!("hosted.toml");

/// The origin of values nobody set.
pub(super) const DEFAULT_ORIGIN: &str = "the defaults";

/// The origin of what the preset `hosted` brings.
pub(super) const PRESET_ORIGIN: &str = "the preset hosted";

/// Keys an `[[apps]]` section has besides those of `[app_defaults]`.
pub(super) const APP_KEYS: [&str; 5] = ["id", "key", "secret", "enabled", "webhooks"];

/// Keys of an `[[apps.webhooks]]` section.
const WEBHOOK_KEYS: [&str; 5] = [
    "url",
    "headers",
    "event_types",
    "channel_name_starts_with",
    "channel_name_ends_with",
];

/// One source of settings. Keys may be dotted paths (`server.port`).
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    pub(super) values: Table,
}

impl Layer {
    pub(super) fn set(&mut self, key: &str, value: impl Into<ValueKind>, origin: &str) {
        let value = Value::new(Some(&origin.to_owned()), value);
        self.values.insert(key.to_owned(), value);
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }
    fn collect(&self) -> Result<Table, config::ConfigError> {
        Ok(self.values.clone())
    }
}

/// Lays the layers over each other, weakest first.
pub(super) fn merge(layers: &[&Layer]) -> Result<Table, ConfigError> {
    let mut builder = Config::builder();
    for layer in layers {
        builder = builder.add_source((*layer).clone());
    }
    let merged = builder
        .build()
        .map_err(|error| ConfigError::Merge(error.to_string()))?;
    match merged.cache.kind {
        ValueKind::Table(table) => Ok(table),
        _ => Ok(Table::new()),
    }
}

pub(super) fn defaults() -> Result<Layer, ConfigError> {
    parse(DEFAULTS, DEFAULT_ORIGIN)
}

/// The preset `hosted` (Appendix B's column "Hosted").
pub(super) fn hosted() -> Result<Layer, ConfigError> {
    parse(HOSTED, PRESET_ORIGIN)
}

/// 16 MiB: no file with settings is near it.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The bytes of a file, which messages call `name`.
pub(super) fn read_file(path: &Path, name: &str) -> Result<Vec<u8>, ConfigError> {
    let mut bytes = Vec::new();
    let file = File::open(path);
    let read = file.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    let reason = match read {
        Ok(count) if count as u64 > FILE_BYTES_MAX => "it is larger than 16 MiB".to_owned(),
        Ok(_) => return Ok(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => "there is no such file".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(ConfigError::Unreadable {
        path: name.to_owned(),
        reason,
    })
}

/// Settings as TOML text. Fails when it isn't TOML or has keys that mean nothing.
pub(super) fn toml(text: &str, origin: &str) -> Result<Layer, ConfigError> {
    let layer = parse(text, origin)?;
    check_keys(&layer.values, origin)?;
    Ok(layer)
}

fn parse(text: &str, origin: &str) -> Result<Layer, ConfigError> {
    // Windows editors put a byte order mark in front
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    FileFormat::Toml
        .parse(Some(&origin.to_owned()), text)
        .map(|values| Layer { values })
        .map_err(|error| syntax_error(&error.to_string(), origin))
}

/// The parser's message has several lines, one of them quoting the source, which may hold a secret: only the position
/// and the reason are kept.
fn syntax_error(message: &str, origin: &str) -> ConfigError {
    let mut lines = message.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    let reason = lines.next_back().unwrap_or(first).trim().to_owned();
    let position = match first.split_once(" at ") {
        Some((_, position)) if position.starts_with("line ") => format!(" ({})", position.trim()),
        _ => String::new(),
    };
    ConfigError::Syntax {
        origin: origin.to_owned(),
        position,
        reason,
    }
}

/// One setting as `default.toml` has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KnownKey {
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    /// `section.key`
    pub(super) path: String,
    /// `RESOUND_SECTION_KEY`
    pub(super) variable: String,
    /// TOML text
    pub(super) default: &'static str,
    pub(super) meaning: &'static str,
}

impl KnownKey {
    pub(super) fn is_list(&self) -> bool {
        self.default.starts_with('[')
    }
}

/// Every setting, in the order of `default.toml`. Its lines are `[section]`, `# meaning` and `key = value`, nothing else.
pub(super) static KNOWN_KEYS: LazyLock<Vec<KnownKey>> = LazyLock::new(|| {
    let (mut keys, mut section, mut meaning) = (Vec::new(), "", "");
    for line in DEFAULTS.lines() {
        if let Some(comment) = line.strip_prefix('#') {
            meaning = comment.trim();
        } else if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, default)) = line.split_once(" = ") {
            let path = format!("{section}.{key}");
            let variable = format!("RESOUND_{}", path.replace('.', "_").to_uppercase());
            keys.push(KnownKey {
                section,
                key,
                path,
                variable,
                default,
                meaning,
            });
        }
    }
    keys
});

/// Refuses a misspelt key rather than ignore it.
fn check_keys(file: &Table, origin: &str) -> Result<(), ConfigError> {
    for (section, value) in sorted(file) {
        if section == "apps" {
            check_apps(value, origin)?;
        } else if !KNOWN_KEYS.iter().any(|known| known.section == section) {
            let sections = KNOWN_KEYS.iter().map(|known| known.section);
            let hint = nearest(section, sections.chain(["apps"]));
            return Err(unknown(section, origin, hint));
        } else if let ValueKind::Table(keys) = &value.kind {
            check_section(section, keys, origin)?;
        } else {
            let allowed = format!("a section, written [{section}]");
            return Err(invalid(section, value, &allowed));
        }
    }
    Ok(())
}

fn check_section(section: &str, keys: &Table, origin: &str) -> Result<(), ConfigError> {
    for (key, _) in sorted(keys) {
        let path = format!("{section}.{key}");
        if !KNOWN_KEYS.iter().any(|known| known.path == path) {
            let hint = nearest(&path, KNOWN_KEYS.iter().map(|known| known.path.as_str()));
            return Err(unknown(&path, origin, hint));
        }
    }
    Ok(())
}

fn check_apps(apps: &Value, origin: &str) -> Result<(), ConfigError> {
    let ValueKind::Array(list) = &apps.kind else {
        return Err(invalid("apps", apps, "sections, each written [[apps]]"));
    };
    for app in list {
        let ValueKind::Table(keys) = &app.kind else {
            return Err(invalid("apps", app, "sections, each written [[apps]]"));
        };
        for (key, _) in sorted(keys) {
            if !app_keys().any(|known| known == key) {
                let name = format!("{key} of [[apps]]");
                return Err(unknown(&name, origin, nearest(key, app_keys())));
            }
        }
        if let Some(webhooks) = keys.get("webhooks") {
            check_webhooks(webhooks, origin)?;
        }
    }
    Ok(())
}

fn check_webhooks(webhooks: &Value, origin: &str) -> Result<(), ConfigError> {
    let wrong = || ConfigError::Invalid {
        setting: "webhooks of [[apps]]".to_owned(),
        // URLs and headers have secrets in them
        value: "something else".to_owned(),
        origin: origin.to_owned(),
        allowed: "sections, each written [[apps.webhooks]]".to_owned(),
    };
    let ValueKind::Array(list) = &webhooks.kind else {
        return Err(wrong());
    };
    for webhook in list {
        let ValueKind::Table(keys) = &webhook.kind else {
            return Err(wrong());
        };
        for (key, _) in sorted(keys) {
            if !WEBHOOK_KEYS.contains(&key) {
                let name = format!("{key} of [[apps.webhooks]]");
                return Err(unknown(&name, origin, nearest(key, WEBHOOK_KEYS)));
            }
        }
    }
    Ok(())
}

fn app_keys() -> impl Iterator<Item = &'static str> {
    let overridable = KNOWN_KEYS
        .iter()
        .filter(|known| known.section == "app_defaults");
    APP_KEYS
        .into_iter()
        .chain(overridable.map(|known| known.key))
}

fn sorted(table: &Table) -> Vec<(&str, &Value)> {
    let mut entries: Vec<_> = table.iter().map(|(k, v)| (k.as_str(), v)).collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

fn unknown(name: &str, origin: &str, nearest: Option<String>) -> ConfigError {
    ConfigError::Unknown {
        name: format!("{name} in {origin}"),
        nearest,
    }
}

pub(super) fn invalid(setting: &str, value: &Value, allowed: &str) -> ConfigError {
    ConfigError::Invalid {
        setting: setting.to_owned(),
        value: shown(value),
        origin: value.origin().unwrap_or(DEFAULT_ORIGIN).to_owned(),
        allowed: allowed.to_owned(),
    }
}

/// A value as TOML has it, for messages and `resound config`.
pub(super) fn shown(value: &Value) -> String {
    match &value.kind {
        ValueKind::Nil => "empty".to_owned(),
        ValueKind::Boolean(value) => value.to_string(),
        ValueKind::I64(value) => value.to_string(),
        ValueKind::I128(value) => value.to_string(),
        ValueKind::U64(value) => value.to_string(),
        ValueKind::U128(value) => value.to_string(),
        ValueKind::Float(value) => value.to_string(),
        ValueKind::String(value) => format!("{value:?}"),
        ValueKind::Table(_) => "a section".to_owned(),
        ValueKind::Array(values) => {
            let values: Vec<String> = values.iter().map(shown).collect();
            format!("[{}]", values.join(", "))
        }
    }
}
