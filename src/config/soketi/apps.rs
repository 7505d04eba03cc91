//! soketi's apps as `[[apps]]` sections: what its fields are here, and its webhooks.
use super::{
    super::{
        error::ConfigError,
        layers::{APP_KEYS, KNOWN_KEYS, Table},
        webhooks::RESERVED_HEADERS,
    },
    AppMeaning, FromSoketi,
    found::Found,
    not_in_this_version,
    tree::AppFields,
};
use crate::apps::webhook::EventType;
use config::{Value, ValueKind};
use serde_json::{Map, Value as Json};

/// soketi's default: how long a connection has for signing in where that is asked for.
pub(super) const SIGNIN_TIMEOUT_S: i64 = 30;

const PARTS: [&str; 3] = ["id", "key", "secret"];

/// Fails when an app has no secret, or a value is of the wrong kind.
pub(super) fn read(
    apps: Vec<AppFields>,
    signin_s: i64,
    from: &mut FromSoketi,
) -> Result<(), ConfigError> {
    let is_nameless = |app: &AppFields| PARTS.iter().all(|part| !app.contains_key(part));
    if let [only] = apps.as_slice()
        && is_nameless(only)
    {
        return for_every_app(only, signin_s, from);
    }
    for (index, app) in apps.iter().enumerate() {
        if let Some(error) = incomplete(app) {
            from.incomplete.push(error);
            continue;
        }
        let table = section(index, app, signin_s, from)?;
        from.apps.push(table);
    }
    Ok(())
}

/// Fields of soketi's default app without its id, key and secret: they hold for the apps that others name.
fn for_every_app(app: &AppFields, signin_s: i64, from: &mut FromSoketi) -> Result<(), ConfigError> {
    for (field, found) in app.values() {
        match setting(field.meaning, found, signin_s)? {
            Some((key, value)) if is_default(key) => {
                from.settings
                    .set(&format!("app_defaults.{key}"), value, &found.origin);
            }
            Some((key, value)) => from.warnings.extend(not_there(key, &value, found)),
            None if matches!(field.meaning, AppMeaning::Signin) => {}
            None => from.warnings.push(without_app(found)),
        }
    }
    Ok(())
}

fn not_there(key: &str, value: &ValueKind, found: &Found) -> Option<String> {
    if key == "enabled" {
        return Some(without_app(found));
    }
    // no limit is what there is without the setting
    (*value != ValueKind::I64(0)).then(|| not_in_this_version(found))
}

fn without_app(found: &Found) -> String {
    format!(
        "{} has no effect without an app: set SOKETI_DEFAULT_APP_ID, SOKETI_DEFAULT_APP_KEY and SOKETI_DEFAULT_APP_SECRET as well",
        found.name
    )
}

fn section(
    index: usize,
    app: &AppFields,
    signin_s: i64,
    from: &mut FromSoketi,
) -> Result<Table, ConfigError> {
    let mut table = Table::new();
    for (field, found) in app.values() {
        match field.meaning {
            AppMeaning::Part(part) => {
                let text = found.as_text(part)?;
                table.insert(part.to_owned(), value(found, text));
            }
            AppMeaning::Webhooks => {
                let webhooks = webhooks(found, &mut from.warnings)?;
                if !webhooks.is_empty() {
                    table.insert("webhooks".to_owned(), value(found, webhooks));
                }
            }
            AppMeaning::Setting(..) | AppMeaning::Signin => {
                match setting(field.meaning, found, signin_s)? {
                    Some((key, kind)) if APP_KEYS.contains(&key) || is_default(key) => {
                        table.insert(key.to_owned(), value(found, kind));
                    }
                    Some((key, kind)) => from.warnings.extend(not_there(key, &kind, found)),
                    None => {}
                }
            }
        }
    }
    complete(index, app, &mut table)?;
    Ok(table)
}

/// soketi fills in `app-id` and `app-key`. It would fill in the secret as well, one that everybody knows.
fn complete(index: usize, app: &AppFields, table: &mut Table) -> Result<(), ConfigError> {
    if !table.contains_key("secret") {
        return Err(missing(index, "secret", app));
    }
    let origin = table.get("secret").and_then(Value::origin);
    let origin = origin.map(str::to_owned);
    for (part, default) in [("id", "app-id"), ("key", "app-key")] {
        if index > 0 && !table.contains_key(part) {
            return Err(missing(index, part, app));
        }
        table
            .entry(part.to_owned())
            .or_insert_with(|| Value::new(origin.as_ref(), default));
    }
    Ok(())
}

/// An app of variables without the secret.
fn incomplete(app: &AppFields) -> Option<ConfigError> {
    if app.contains_key("secret") {
        return None;
    }
    let mut parts = PARTS.iter().filter_map(|part| app.get(part));
    let (_, found) = parts.find(|(_, found)| found.text.is_some())?;
    let missing = "SOKETI_DEFAULT_APP_SECRET";
    Some(ConfigError::IncompleteApp {
        absence: format!("{missing} is not set"),
        missing: missing.to_owned(),
        present: found.name.clone(),
    })
}

fn missing(index: usize, part: &str, app: &AppFields) -> ConfigError {
    // `file soketi.json (appManager.array.apps.0.id)`
    let origin = app.values().next().map(|(_, found)| found.origin.as_str());
    let file = origin
        .and_then(|origin| origin.rsplit_once(" ("))
        .map(|(file, _)| file);
    ConfigError::Missing {
        setting: format!("appManager.array.apps.{index}.{part}"),
        origin: file.or(origin).unwrap_or("soketi's file").to_owned(),
        needed: "an app needs an id, a key and a secret".to_owned(),
    }
}

/// The setting that a field is, and its value. `None`: it says nothing that isn't so already.
fn setting(
    meaning: AppMeaning,
    found: &Found,
    signin_s: i64,
) -> Result<Option<(&'static str, ValueKind)>, ConfigError> {
    match meaning {
        AppMeaning::Setting(key, kind) => Ok(found.convert(key, kind)?.map(|value| (key, value))),
        AppMeaning::Signin => {
            let key = "authorization_timeout_s";
            let is_asked_for = found.switch(key)?;
            Ok(is_asked_for.then_some((key, ValueKind::I64(signin_s.max(1)))))
        }
        AppMeaning::Part(_) | AppMeaning::Webhooks => Ok(None),
    }
}

fn is_default(key: &str) -> bool {
    KNOWN_KEYS
        .iter()
        .any(|known| known.section == "app_defaults" && known.key == key)
}

fn value(found: &Found, kind: impl Into<ValueKind>) -> Value {
    Value::new(Some(&found.origin), kind)
}

/// A list, or its text: the databases soketi reads have it as a text.
fn webhooks(found: &Found, warnings: &mut Vec<String>) -> Result<Vec<Value>, ConfigError> {
    let wrong = || found.wrong("webhooks", "a list of objects, as JSON");
    let parsed = match &found.value {
        Json::String(text) => serde_json::from_str(text).map_err(|_| wrong())?,
        value => value.clone(),
    };
    let Json::Array(list) = parsed else {
        return Err(wrong());
    };
    let mut webhooks = Vec::new();
    for (index, webhook) in list.iter().enumerate() {
        let Json::Object(members) = webhook else {
            return Err(wrong());
        };
        let mut reader = WebhookReader {
            found,
            name: format!("webhook {} in {}", index + 1, found.name),
            warnings: &mut *warnings,
        };
        if let Some(table) = reader.read(members)? {
            webhooks.push(value(found, table));
        }
    }
    Ok(webhooks)
}

struct WebhookReader<'a> {
    found: &'a Found,
    /// `webhook 1 in SOKETI_DEFAULT_APP_WEBHOOKS`
    name: String,
    warnings: &'a mut Vec<String>,
}

impl WebhookReader<'_> {
    /// `None`: soketi would send it nothing, or we can't; that has been warned of.
    fn read(&mut self, members: &Map<String, Json>) -> Result<Option<Table>, ConfigError> {
        let mut table = Table::new();
        for (name, member) in members.iter().filter(|(_, member)| !member.is_null()) {
            match (name.as_str(), member) {
                ("url", Json::String(url)) => {
                    table.insert("url".to_owned(), value(self.found, url.as_str()));
                }
                ("headers", Json::Object(headers)) => self.headers(headers, &mut table)?,
                ("event_types", Json::Array(types)) => self.event_types(types, &mut table)?,
                ("filter", Json::Object(filter)) => self.filter(filter, &mut table)?,
                ("lambda_function" | "lambda", _) => {}
                ("url" | "headers" | "event_types" | "filter", _) => {
                    return Err(self.wrong(name));
                }
                _ => self.warn(&format!("{name} is not known and without effect")),
            }
        }
        if !table.contains_key("url") && members.contains_key("lambda_function") {
            self.warn("is left out: Lambda functions can't be called, only URLs");
            return Ok(None);
        }
        // soketi sends no event that isn't listed
        if !table.contains_key("event_types") {
            self.warn("is left out: it names no event types, so nothing would be sent to it");
            return Ok(None);
        }
        Ok(Some(table))
    }

    fn headers(
        &mut self,
        headers: &Map<String, Json>,
        table: &mut Table,
    ) -> Result<(), ConfigError> {
        let mut kept = Table::new();
        for (name, header) in headers {
            let text = match header {
                Json::String(text) => text.clone(),
                Json::Number(number) => number.to_string(),
                _ => return Err(self.wrong("headers")),
            };
            let is_ours = RESERVED_HEADERS
                .iter()
                .any(|ours| name.eq_ignore_ascii_case(ours));
            match is_ours {
                true => self.warn(&format!("has the header {name}, which can't be set")),
                false => {
                    kept.insert(name.clone(), value(self.found, text));
                }
            }
        }
        table.insert("headers".to_owned(), value(self.found, kept));
        Ok(())
    }

    fn event_types(&mut self, types: &[Json], table: &mut Table) -> Result<(), ConfigError> {
        let mut kept = Vec::new();
        for name in types {
            let Json::String(name) = name else {
                return Err(self.wrong("event_types"));
            };
            match EventType::parse(name) {
                Some(_) => kept.push(value(self.found, name.as_str())),
                None => self.warn(&format!("has the event type {name:?}, which there isn't")),
            }
        }
        if !kept.is_empty() {
            table.insert("event_types".to_owned(), value(self.found, kept));
        }
        Ok(())
    }

    fn filter(&mut self, filter: &Map<String, Json>, table: &mut Table) -> Result<(), ConfigError> {
        for (name, member) in filter {
            match (name.as_str(), member) {
                (_, Json::Null) => {}
                ("channel_name_starts_with" | "channel_name_ends_with", Json::String(text)) => {
                    table.insert(name.clone(), value(self.found, text.as_str()));
                }
                ("channel_name_starts_with" | "channel_name_ends_with", _) => {
                    return Err(self.wrong(name));
                }
                _ => self.warn(&format!("has filter.{name}, which is not known")),
            }
        }
        Ok(())
    }

    fn warn(&mut self, what: &str) {
        self.warnings.push(format!("{} {what}", self.name));
    }

    fn wrong(&self, member: &str) -> ConfigError {
        let allowed = match member {
            "headers" => "an object of texts",
            "event_types" => "a list of texts",
            "filter" => "an object",
            _ => "a text",
        };
        ConfigError::Invalid {
            setting: format!("{member} of {}", self.name),
            // URLs and headers have secrets in them
            value: "something else".to_owned(),
            origin: self.found.origin.clone(),
            allowed: allowed.to_owned(),
        }
    }
}
