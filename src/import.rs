//! `resound import`: the settings of a Laravel project or of soketi as a `resound.toml`. They are read as the server reads
//! them, so what is printed and what would be served cannot differ; here they are only laid out.
use crate::config::{
    self, ConfigError, Explicit, ExplicitApp, ExplicitSetting, Overrides, Settings, TomlValue,
};
use std::{collections::HashMap, path::Path};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

/// Names soketi's file has in a folder of its own.
const SOKETI_FILES: [&str; 2] = ["soketi.json", "config.json"];

/// Why there is nothing to import. `Display` is one sentence; no secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{path} doesn't exist or can't be read: {reason}")]
    Unreadable { path: String, reason: String },
    #[error("the folder {path} has nothing to import: soketi's settings are looked for in {}", SOKETI_FILES.join(" and "))]
    Nothing { path: String },
    #[error(transparent)]
    Settings(#[from] ConfigError),
}

/// Reads a file or a folder, and gives its settings as the text of a settings file. This process's variables have no part
/// in it.
pub fn from(path: &Path) -> Result<String, ImportError> {
    let settings = config::load(&sources(path)?, &HashMap::new())?;
    Ok(toml(path, &settings))
}

fn sources(path: &Path) -> Result<Overrides, ImportError> {
    let kind = path.metadata().map_err(|error| ImportError::Unreadable {
        path: path.display().to_string(),
        reason: error.to_string(),
    })?;
    let file = match kind.is_dir() {
        false => Some(path.to_owned()),
        true => {
            let mut files = SOKETI_FILES.iter().map(|name| path.join(name));
            files.find(|file| file.is_file())
        }
    };
    match file {
        Some(file) => Ok(Overrides {
            file: Some(file),
            ..Overrides::default()
        }),
        None => Err(ImportError::Nothing {
            path: path.display().to_string(),
        }),
    }
}

/// The text of a settings file that says what `settings` say. `from` is what they were read from. The apps' secrets are in it.
pub fn toml(from: &Path, settings: &Settings) -> String {
    let mut document = DocumentMut::new();
    sections(&settings.explicit.settings, &mut document);
    apps(&settings.explicit, &mut document);
    let head = head(from, settings);
    match document.is_empty() {
        true => head,
        false => format!("{head}\n{document}"),
    }
}

fn head(from: &Path, settings: &Settings) -> String {
    let mut head = comment(&format!(
        "Made by `resound import {}`. The apps' secrets are in this file: keep it to yourself.",
        from.display()
    ));
    if settings.explicit == Explicit::default() {
        head.push_str("# Nothing is set there that isn't so by default.\n");
    }
    for warning in &settings.warnings {
        head.push_str(&comment(&format!("To look at: {warning}")));
    }
    for note in &settings.notes {
        head.push_str(&comment(&format!("Without equal: {note}")));
    }
    head
}

/// Sections in the order of the defaults, whose order the settings have.
fn sections(settings: &[ExplicitSetting], document: &mut DocumentMut) {
    for setting in settings {
        let section = document
            .entry(setting.section)
            .or_insert_with(|| Item::Table(Table::new()));
        if let Item::Table(table) = section {
            put(table, &setting.key, &setting.value, &setting.origin);
        }
    }
}

fn apps(explicit: &Explicit, document: &mut DocumentMut) {
    let mut list = ArrayOfTables::new();
    for app in &explicit.apps {
        list.push(app_table(app));
    }
    if !list.is_empty() {
        document.insert("apps", Item::ArrayOfTables(list));
    }
}

fn app_table(app: &ExplicitApp) -> Table {
    let mut table = Table::new();
    for (key, value, origin) in &app.keys {
        put(&mut table, key, value, origin);
    }
    let mut webhooks = ArrayOfTables::new();
    for webhook in &app.webhooks {
        let mut table = Table::new();
        for (key, value, origin) in webhook {
            put(&mut table, key, value, origin);
        }
        webhooks.push(table);
    }
    if !webhooks.is_empty() {
        table.insert("webhooks", Item::ArrayOfTables(webhooks));
    }
    table
}

fn put(table: &mut Table, key: &str, value: &TomlValue, origin: &str) {
    let mut value = toml_value(value);
    let suffix = format!("  {}", comment(&format!("from {origin}")).trim_end());
    value.decor_mut().set_suffix(suffix);
    table.insert(key, Item::Value(value));
}

fn toml_value(value: &TomlValue) -> Value {
    match value {
        TomlValue::Boolean(on) => Value::from(*on),
        TomlValue::Integer(number) => Value::from(*number),
        TomlValue::Text(text) => Value::from(text.as_str()),
        TomlValue::List(texts) => Value::Array(texts.iter().collect::<Array>()),
        TomlValue::Texts(texts) => {
            let pairs = texts
                .iter()
                .map(|(key, text)| (key.as_str(), text.as_str()));
            Value::InlineTable(pairs.collect::<InlineTable>())
        }
    }
}

/// A comment line. File names may hold anything, a comment only what doesn't end it.
fn comment(text: &str) -> String {
    let plain = text.replace(|c: char| c.is_control(), " ");
    format!("# {plain}\n")
}

#[cfg(test)]
mod tests;
