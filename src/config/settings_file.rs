//! A settings file, which is ours or soketi's.

use std::path::Path;

use super::{
    error::ConfigError,
    layers::{Layer, read_file, toml},
    soketi::SoketiFile,
};

/// See the module's documentation.
pub(super) enum SettingsFile {
    Toml(Layer),
    Soketi(SoketiFile),
}

/// Reads a settings file, which messages call `name`. Fails when it can't be read, is neither TOML nor JSON, or has keys that
/// mean nothing.
pub(super) fn read(path: &Path, name: &str) -> Result<SettingsFile, ConfigError> {
    let bytes = read_file(path, name)?;
    let text = String::from_utf8(bytes).map_err(|error| ConfigError::Unreadable {
        path: name.to_owned(),
        reason: format!(
            "its byte {} is not UTF-8 text",
            error.utf8_error().valid_up_to() + 1
        ),
    })?;
    let origin = format!("file {name}");
    match SoketiFile::is_one(name, &text) {
        true => SoketiFile::parse(&text, &origin).map(SettingsFile::Soketi),
        false => toml(&text, &origin).map(SettingsFile::Toml),
    }
}
