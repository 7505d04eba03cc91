//! The `[[apps.webhooks]]` sections: endpoints of one app, checked. What may be secret in them (headers, user and query of
//! the URL) is in no message and no listing.
use super::{
    error::{ConfigError, nearest},
    layers::{DEFAULT_ORIGIN, Table, shown},
    section::Section,
};
use crate::apps::webhook::{EventType, EventTypes, Webhook, shown_url};
use config::{Value, ValueKind};
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use std::sync::Arc;

/// Headers that are ours, or that the framing of the request depends on.
pub(super) const RESERVED_HEADERS: [&str; 10] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-pusher-key",
    "x-pusher-signature",
];

/// The endpoints of the app with this `[[apps]]` section. Their keys are known (see `layers`).
pub(super) fn read(
    app: &str,
    table: Option<&Table>,
    allow_private: bool,
) -> Result<Vec<Arc<Webhook>>, ConfigError> {
    let numbered = tables(table).zip(1..);
    numbered
        .map(|(table, number)| {
            let section = Section::alone(format!("webhook {number} of app {app}"), table);
            webhook(&section, table, allow_private).map(Arc::new)
        })
        .collect()
}

/// The lines of `resound config`: key below the app's, and value.
pub(super) fn list(table: Option<&Table>) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (webhook, number) in tables(table).zip(1..) {
        let mut keys: Vec<_> = webhook.iter().collect();
        keys.sort_by_key(|(key, _)| key.as_str());
        for (key, value) in keys {
            let shown = match (key.as_str(), &value.kind) {
                ("url", ValueKind::String(url)) => format!("{:?}", shown_text(url)),
                ("headers", ValueKind::Table(headers)) => masked(headers),
                _ => shown(value),
            };
            lines.push((format!("webhooks.{number}.{key}"), shown));
        }
    }
    lines
}

fn tables(app: Option<&Table>) -> impl Iterator<Item = &Table> {
    let list = match app.and_then(|app| app.get("webhooks")).map(|v| &v.kind) {
        Some(ValueKind::Array(list)) => list.as_slice(),
        _ => &[],
    };
    list.iter().filter_map(|value| match &value.kind {
        ValueKind::Table(table) => Some(table),
        _ => None,
    })
}

fn masked(headers: &Table) -> String {
    let mut names: Vec<&str> = headers.keys().map(String::as_str).collect();
    names.sort_unstable();
    let masked: Vec<String> = names
        .iter()
        .map(|name| format!("{name:?} = \"****\""))
        .collect();
    format!("{{ {} }}", masked.join(", "))
}

fn webhook(
    section: &Section<'_>,
    table: &Table,
    allow_private: bool,
) -> Result<Webhook, ConfigError> {
    let text = |key: &str| match section.has(key) {
        true => section.text(key).map(str::to_owned),
        false => Ok(String::new()),
    };
    let webhook = Webhook {
        url: url(section, table)?,
        headers: headers(section, table)?,
        event_types: event_types(section)?,
        channel_name_starts_with: text("channel_name_starts_with")?,
        channel_name_ends_with: text("channel_name_ends_with")?,
    };
    if webhook.names_private_host() && !allow_private {
        let allowed = "on the public internet unless webhook.allow_private_targets is true";
        return Err(refused(section, "url", table, webhook.shown_url(), allowed));
    }
    Ok(webhook)
}

fn url(section: &Section<'_>, table: &Table) -> Result<Url, ConfigError> {
    if !section.has("url") {
        let origin = table.values().find_map(Value::origin);
        return Err(ConfigError::Missing {
            setting: section.setting("url"),
            origin: origin.unwrap_or(DEFAULT_ORIGIN).to_owned(),
            needed: "a webhook needs to know where to go".to_owned(),
        });
    }
    let text = section.text("url")?.trim();
    let url = Url::parse(text).ok().filter(|url| {
        let has_host = url.host_str().is_some_and(|host| !host.is_empty());
        ["http", "https"].contains(&url.scheme()) && has_host
    });
    url.ok_or_else(|| {
        let allowed = "a URL such as https://example.com/pusher/webhook";
        refused(section, "url", table, shown_text(text), allowed)
    })
}

/// A URL's text without what may be secret.
fn shown_text(text: &str) -> String {
    match Url::parse(text.trim()) {
        Ok(url) if url.has_host() => shown_url(&url),
        _ => "not a URL".to_owned(),
    }
}

fn headers(section: &Section<'_>, table: &Table) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    let Some(value) = table.get("headers") else {
        return Ok(headers);
    };
    let refused = |shown: String, allowed: &str| refused(section, "headers", table, shown, allowed);
    let ValueKind::Table(entries) = &value.kind else {
        let allowed = "a table such as { Authorization = \"Bearer …\" }";
        return Err(refused("something else".to_owned(), allowed));
    };
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in entries {
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(refused(format!("{name:?}"), "names and texts of headers"));
        };
        if RESERVED_HEADERS.contains(&parsed.as_str()) {
            let allowed = format!("without {}", RESERVED_HEADERS.join(", "));
            return Err(refused(format!("{name:?}"), &allowed));
        }
        let text = match &value.kind {
            ValueKind::String(text) => HeaderValue::from_str(text).ok(),
            _ => None,
        };
        let Some(mut text) = text else {
            let allowed = "a text in quotes, of characters that a header can have";
            return Err(refused(format!("not usable at {name:?}"), allowed));
        };
        text.set_sensitive(true);
        headers.insert(parsed, text);
    }
    Ok(headers)
}

fn event_types(section: &Section<'_>) -> Result<EventTypes, ConfigError> {
    let mut types = Vec::new();
    if section.has("event_types") {
        for name in section.list("event_types")? {
            types.push(EventType::parse(name).ok_or_else(|| unknown_type(section, name))?);
        }
    }
    Ok(EventTypes::of(&types))
}

fn unknown_type(section: &Section<'_>, name: &str) -> ConfigError {
    let known = EventType::ALL.map(EventType::name);
    let allowed = match nearest(name, known) {
        Some(nearest) => format!("{nearest:?}, or another of {}", known.join(", ")),
        None => format!("a list out of {}", known.join(", ")),
    };
    match section.invalid("event_types", &allowed) {
        Ok(error) | Err(error) => error,
    }
}

/// The error for a key whose value must not be shown as it is.
fn refused(
    section: &Section<'_>,
    key: &str,
    table: &Table,
    value: String,
    allowed: &str,
) -> ConfigError {
    let origin = table.get(key).and_then(Value::origin);
    ConfigError::Invalid {
        setting: section.setting(key),
        value,
        origin: origin.unwrap_or(DEFAULT_ORIGIN).to_owned(),
        allowed: allowed.to_owned(),
    }
}
