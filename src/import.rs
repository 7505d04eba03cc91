//! `resound import`: the settings of a Laravel project, or of soketi, as a `resound.toml`. They are read as the server reads
//! them, so what is printed and what would be served cannot differ; here they are only laid out.
use crate::config::{
    self, ConfigError, Explicit, ExplicitApp, ExplicitSetting, Overrides, Settings, TomlValue,
};
use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

/// Names soketi's file has in a folder of its own.
const SOKETI_FILES: [&str; 2] = ["soketi.json", "config.json"];

const REVERB_CONFIG: &str = "config/reverb.php";
const CACHED_CONFIG: &str = "bootstrap/cache/config.php";

/// Why there is nothing to import. `Display` is one sentence; no secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{path} doesn't exist or can't be read: {reason}")]
    Unreadable { path: String, reason: String },
    #[error(
        "the folder {path} has nothing to import: .env, {REVERB_CONFIG} and {CACHED_CONFIG} of a Laravel project are looked for, and soketi's {}",
        SOKETI_FILES.join(" or ")
    )]
    Nothing { path: String },
    #[error(
        "{path} can't be imported: of PHP files only a Laravel project's {REVERB_CONFIG} and {CACHED_CONFIG} are read"
    )]
    OtherPhp { path: String },
    #[error(transparent)]
    Settings(#[from] ConfigError),
}

/// Reads a file or a folder, and gives its settings as the text of a settings file. This process's variables have no part
/// in it.
pub fn from(path: &Path) -> Result<String, ImportError> {
    let unreadable = |error: std::io::Error| ImportError::Unreadable {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let is_folder = path.metadata().map_err(unreadable)?.is_dir();
    let sources = match is_folder {
        true => folder(path),
        false => file(path)
            .map_err(unreadable)?
            .ok_or_else(|| ImportError::OtherPhp {
                path: path.display().to_string(),
            })?,
    };
    let settings = config::load(&sources, &HashMap::new())?;
    if is_folder && settings.files.is_empty() {
        return Err(ImportError::Nothing {
            path: path.display().to_string(),
        });
    }
    Ok(toml(path, &settings))
}

fn folder(path: &Path) -> Overrides {
    // a Laravel project may have a config.json of some other program
    let is_project = path.join("artisan").is_file();
    let mut files = SOKETI_FILES.into_iter().map(PathBuf::from);
    let soketi = files.find(|name| !is_project && path.join(name).is_file());
    Overrides {
        folder: Some(path.to_owned()),
        file: soketi,
        ..Overrides::default()
    }
}

/// `None`: a PHP file that is neither of the two.
fn file(path: &Path) -> std::io::Result<Option<Overrides>> {
    let has_extension = |name: &str| {
        let extension = path.extension();
        extension.is_some_and(|extension| extension.eq_ignore_ascii_case(name))
    };
    if has_extension("php") {
        return project_of(path);
    }
    let mut start = [0; 64];
    let length = File::open(path)?.read(&mut start)?;
    let start = String::from_utf8_lossy(&start[..length]);
    let is_object = start
        .trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with('{');
    let is_settings_file = is_object || has_extension("json") || has_extension("toml");
    let named = Some(path.to_owned());
    Ok(Some(match is_settings_file {
        true => Overrides {
            file: named,
            ..Overrides::default()
        },
        false => Overrides {
            env_file: named,
            ..Overrides::default()
        },
    }))
}

/// The project around one of its configuration files.
fn project_of(path: &Path) -> std::io::Result<Option<Overrides>> {
    let path = path.canonicalize()?;
    let root = |name: &str| {
        let is_it = path.ends_with(name);
        let root = path.ancestors().nth(Path::new(name).components().count());
        root.filter(|_| is_it).map(Path::to_owned)
    };
    if let Some(folder) = root(CACHED_CONFIG) {
        return Ok(Some(Overrides {
            folder: Some(folder),
            ..Overrides::default()
        }));
    }
    Ok(root(REVERB_CONFIG).map(|folder| Overrides {
        // named, it counts even where the configuration is cached
        env_file: Some(PathBuf::from(".env")).filter(|name| folder.join(name).is_file()),
        folder: Some(folder),
        ..Overrides::default()
    }))
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
