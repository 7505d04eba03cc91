//! Every variable and option of soketi's, alone and through the whole configuration.

mod apps;
mod cluster;
mod files;
mod random;
mod sources;
mod variables;
mod webhooks;

use std::io::Write;

use super::*;
use crate::config::{
    Overrides, Settings, load,
    tests::{refusal, variables},
};

const APP: [(&str, &str); 3] = [
    ("SOKETI_DEFAULT_APP_ID", "482915"),
    ("SOKETI_DEFAULT_APP_KEY", "k3y"),
    ("SOKETI_DEFAULT_APP_SECRET", "hush"),
];

fn of_file(text: &str) -> Result<FromSoketi, ConfigError> {
    let file = SoketiFile::parse(text, "file soketi.json")?;
    read(&Variables::new(), Some(&file))
}

fn of_variables(pairs: &[(&str, &str)]) -> Result<FromSoketi, ConfigError> {
    let named = |name: &str| format!("environment variable {name}");
    let variables = pairs
        .iter()
        .map(|(name, text)| (*name, (*text, named(name))));
    read(&variables.collect(), None)
}

fn settings_of(pairs: &[(&str, &str)], file: Option<&str>) -> Result<Settings, ConfigError> {
    let written = file.map(|text| {
        let mut file = tempfile::Builder::new()
            .suffix(".json")
            .tempfile()
            .expect("temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    });
    let overrides = Overrides {
        file: written.as_ref().map(|file| file.path().to_owned()),
        ..Overrides::default()
    };
    load(&overrides, &variables(pairs))
}

/// `key value` of the layer, as text.
fn shown(layer: &Layer) -> Vec<String> {
    let values = &layer.values;
    let mut lines: Vec<String> = values
        .iter()
        .map(|(key, value)| format!("{key} {}", super::super::layers::shown(value)))
        .collect();
    lines.sort();
    lines
}

fn is_known(key: &str) -> bool {
    KNOWN_KEYS.iter().any(|known| known.path == key)
}
