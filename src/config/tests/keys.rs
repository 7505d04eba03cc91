//! The settings there are: each is read, checked, has its variable and its row in the documentation.

use std::fmt::Write;

use super::*;
use crate::config::variables::LARAVEL_SETTINGS;

#[test]
fn every_key_is_read_and_checked() {
    for known in KNOWN_KEYS.iter() {
        // no setting takes a fraction
        let text = format!("[{}]\n{} = 1.5", known.section, known.key);
        let sentence = refusal(from_toml(&text));
        assert!(sentence.contains(known.key), "{}: {sentence}", known.path);
        if known.section == "app_defaults" {
            let text = format!(
                "[[apps]]\nid = 1\nkey = 'k'\nsecret = 's'\n{} = 1.5",
                known.key
            );
            let sentence = refusal(from_toml(&text));
            assert!(sentence.contains(known.key), "{}: {sentence}", known.path);
        }
    }
}

#[test]
fn every_key_has_its_own_variable_and_a_meaning() {
    let parsed = layers::defaults().expect("defaults");
    let in_file: usize = parsed
        .values
        .values()
        .map(|value| match &value.kind {
            ::config::ValueKind::Table(table) => table.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(KNOWN_KEYS.len(), in_file);
    let mut variables: Vec<&str> = KNOWN_KEYS
        .iter()
        .map(|known| known.variable.as_str())
        .collect();
    variables.sort_unstable();
    variables.dedup();
    assert_eq!(variables.len(), KNOWN_KEYS.len());
    let mut meanings: Vec<&str> = KNOWN_KEYS.iter().map(|known| known.meaning).collect();
    assert!(meanings.iter().all(|meaning| meaning.ends_with('.')));
    meanings.sort_unstable();
    meanings.dedup();
    assert_eq!(meanings.len(), KNOWN_KEYS.len(), "two keys share a comment");
    for (_, path) in LARAVEL_SETTINGS {
        assert!(KNOWN_KEYS.iter().any(|known| known.path == path), "{path}");
    }
}

#[test]
fn the_preset_has_only_known_keys() {
    layers::toml(include_str!("../hosted.toml"), "the preset").expect("known keys");
}

/// The tables at the end of `docs/configuration.md`.
fn settings_tables() -> String {
    let mut text = String::new();
    let mut section = "";
    for known in KNOWN_KEYS.iter() {
        if known.section != section {
            section = known.section;
            let _ = write!(
                text,
                "### `[{section}]`\n\nVariables: `RESOUND_{}_` and the key in capitals.\n\n| Key | Default | Meaning |\n|---|---|---|\n",
                section.to_uppercase()
            );
        }
        let laravel: Vec<String> = LARAVEL_SETTINGS
            .iter()
            .filter(|(_, path)| *path == known.path)
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        let laravel = match laravel.is_empty() {
            true => String::new(),
            false => format!(" Also {}.", laravel.join(", ")),
        };
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {}{laravel} |",
            known.key,
            known.default,
            known.meaning.replace('*', "\\*")
        );
        let is_last = KNOWN_KEYS.iter().rfind(|other| other.section == section) == Some(known);
        if is_last && section != "app_defaults" {
            text.push('\n');
        }
    }
    text
}

/// `RESOUND_WRITE_DOCS=1 cargo test documentation` brings the tables up to date.
#[test]
fn the_documentation_lists_every_setting() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = std::fs::read_to_string(path).expect("docs/configuration.md");
    let head = "## Every setting\n\nThe tables are made from `src/config/default.toml`; a test compares them.\n\n";
    let (before, tables) = page.split_once(head).expect("the heading");
    if std::env::var_os("RESOUND_WRITE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{head}{}", settings_tables())).expect("written");
        return;
    }
    assert_eq!(
        tables,
        settings_tables(),
        "docs/configuration.md is out of date"
    );
    for (name, path) in LARAVEL_SETTINGS {
        assert!(
            before.contains(&format!("| `{name}` | `{path}` |")),
            "{name}"
        );
    }
}
