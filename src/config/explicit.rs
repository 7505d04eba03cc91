//! What was set rather than left as it is, as TOML values with their origins: what `resound import` writes down. Secrets are
//! among them, so it has no readable `Debug`.
use super::{
    apps::{Configured, DEVELOPMENT_ID, overrides},
    layers::{DEFAULT_ORIGIN, KNOWN_KEYS, KnownKey, PRESET_ORIGIN, Table},
    section::Section,
};
use config::{Value, ValueKind};
use std::fmt;

/// Everything that was set, in the order of `default.toml`, then the apps.
#[derive(Clone, Default, PartialEq)]
pub struct Explicit {
    pub settings: Vec<ExplicitSetting>,
    pub apps: Vec<ExplicitApp>,
}

#[derive(Clone, PartialEq)]
pub struct ExplicitSetting {
    /// `server`
    pub section: &'static str,
    pub key: String,
    pub value: TomlValue,
    pub origin: String,
}

#[derive(Clone, PartialEq)]
pub struct ExplicitApp {
    /// `id`, `key`, `secret`, then the others by name
    pub keys: Vec<(String, TomlValue, String)>,
    pub webhooks: Vec<Vec<(String, TomlValue, String)>>,
}

/// A value as a settings file can have it.
#[derive(Clone, PartialEq)]
pub enum TomlValue {
    Boolean(bool),
    Integer(i64),
    Text(String),
    List(Vec<String>),
    Texts(Vec<(String, String)>),
}

impl fmt::Debug for Explicit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explicit").finish_non_exhaustive()
    }
}

/// From settings that have been checked. `own_defaults`: see [`overrides`].
pub(super) fn collect(
    settings: &Table,
    configured: &[Configured<'_>],
    own_defaults: &Section<'_>,
) -> Explicit {
    let set = KNOWN_KEYS.iter().filter_map(|known| {
        let section = settings.get(known.section).and_then(as_table)?;
        let value = section.get(known.key)?;
        let origin = value.origin().unwrap_or(DEFAULT_ORIGIN);
        // a preset is written as such
        let is_implied = [DEFAULT_ORIGIN, PRESET_ORIGIN].contains(&origin);
        (!is_implied).then(|| ExplicitSetting {
            section: known.section,
            key: known.key.to_owned(),
            value: toml_value(Some(known), value),
            origin: origin.to_owned(),
        })
    });
    let is_named = |app: &&Configured<'_>| app.origin != DEFAULT_ORIGIN || app.id != DEVELOPMENT_ID;
    Explicit {
        settings: set.collect(),
        apps: configured
            .iter()
            .filter(is_named)
            .map(|configured| app(configured, own_defaults))
            .collect(),
    }
}

fn app(configured: &Configured<'_>, own_defaults: &Section<'_>) -> ExplicitApp {
    let parts = [
        ("id", &configured.id),
        ("key", &configured.key),
        ("secret", &configured.secret),
    ];
    let parts = parts.into_iter().zip(&configured.origins);
    let mut keys: Vec<_> = parts
        .map(|((key, text), origin)| {
            (
                key.to_owned(),
                TomlValue::Text(text.clone()),
                origin.clone(),
            )
        })
        .collect();
    for (key, value) in overrides(configured, own_defaults) {
        let known = KNOWN_KEYS
            .iter()
            .find(|known| known.section == "app_defaults" && known.key == key);
        let origin = value.origin().unwrap_or(&configured.origin).to_owned();
        keys.push((key.to_owned(), toml_value(known, value), origin));
    }
    let empty = Table::new();
    let table = configured.table.unwrap_or(&empty);
    let webhooks = match table.get("webhooks").map(|value| &value.kind) {
        Some(ValueKind::Array(list)) => list.iter().filter_map(as_table).map(webhook).collect(),
        _ => Vec::new(),
    };
    ExplicitApp { keys, webhooks }
}

fn webhook(table: &Table) -> Vec<(String, TomlValue, String)> {
    let keys = sorted(table).into_iter();
    keys.map(|(key, value)| {
        let origin = value.origin().unwrap_or(DEFAULT_ORIGIN).to_owned();
        (key.to_owned(), toml_value(None, value), origin)
    })
    .collect()
}

/// A variable's text becomes what the setting is.
fn toml_value(known: Option<&KnownKey>, value: &Value) -> TomlValue {
    let is_switch = known.is_some_and(|known| ["true", "false"].contains(&known.default));
    let is_text = known.is_none_or(|known| known.default.starts_with('"'));
    match &value.kind {
        ValueKind::Boolean(on) => TomlValue::Boolean(*on),
        ValueKind::Array(list) => TomlValue::List(list.iter().map(text).collect()),
        ValueKind::Table(table) => {
            let texts = sorted(table).into_iter();
            TomlValue::Texts(
                texts
                    .map(|(key, value)| (key.to_owned(), text(value)))
                    .collect(),
            )
        }
        ValueKind::String(text) if is_switch => {
            let on = ["true", "1", "yes", "on"];
            TomlValue::Boolean(on.iter().any(|word| text.eq_ignore_ascii_case(word)))
        }
        ValueKind::String(text) if !is_text => match text.parse() {
            Ok(number) => TomlValue::Integer(number),
            Err(_) => TomlValue::Text(text.clone()),
        },
        ValueKind::String(text) => TomlValue::Text(text.clone()),
        _ => match value.clone().into_int() {
            Ok(number) => TomlValue::Integer(number),
            Err(_) => TomlValue::Text(text(value)),
        },
    }
}

fn text(value: &Value) -> String {
    value.clone().into_string().unwrap_or_default()
}

fn as_table(value: &Value) -> Option<&Table> {
    match &value.kind {
        ValueKind::Table(table) => Some(table),
        _ => None,
    }
}

fn sorted(table: &Table) -> Vec<(&str, &Value)> {
    let mut entries: Vec<_> = table.iter().map(|(k, v)| (k.as_str(), v)).collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}
