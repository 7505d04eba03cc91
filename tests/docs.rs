//! What README and `docs/` name must be there: links, settings, variables, commands and their options, examples of settings.
use clap::{CommandFactory, Parser};
use resound::{cli::Cli, config};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Files below a folder that are part of the repository, their paths from its root.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).expect(folder) {
        let entry = entry.expect(folder);
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// What people read: the texts at the top, and all of `docs/`.
fn texts() -> Vec<(String, String)> {
    let mut names: Vec<String> = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
        .map(str::to_owned)
        .into();
    names.extend(files("docs"));
    names
        .into_iter()
        .filter(|name| name.ends_with(".md"))
        .map(|name| (read(&name), name))
        .map(|(text, name)| (name, text))
        .collect()
}

/// Those, and what people copy.
fn texts_and_packages() -> Vec<(String, String)> {
    let mut all = texts();
    let mut names = files("packaging");
    names.push("Dockerfile".to_owned());
    all.extend(names.into_iter().map(|name| (name.clone(), read(&name))));
    all
}

/// The code blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    text.split("\n```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .collect()
}

/// Text without its code blocks.
fn prose(text: &str) -> String {
    text.split("\n```")
        .step_by(2)
        .collect::<Vec<_>>()
        .join("\n")
}

/// What stands between backquotes.
fn code_spans(text: &str) -> Vec<String> {
    let prose = prose(text);
    let spans = prose
        .split('\n')
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    spans.map(str::to_owned).collect()
}

/// The keys of each section of the settings.
fn settings() -> BTreeMap<String, BTreeSet<String>> {
    let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in include_str!("../src/config/default.toml").lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            let keys = sections.entry(section.clone()).or_default();
            keys.insert(key.to_owned());
        }
    }
    sections
}

/// Runs of the characters that `belongs` takes.
fn words(text: &str, belongs: impl Fn(char) -> bool) -> Vec<&str> {
    text.split(|character| !belongs(character))
        .filter(|word| !word.is_empty())
        .collect()
}

/// GitHub's anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter_map(|character| match character {
        ' ' => Some('-'),
        '-' | '_' => Some(character),
        _ => character.is_alphanumeric().then_some(character),
    });
    kept.collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let prose = prose(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

fn assert_none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for (name, text) in texts() {
        let here = root().join(&name);
        for target in prose(&text).split("](").skip(1) {
            let target = target.split(')').next().unwrap_or_default();
            if target.starts_with("https://") {
                continue;
            }
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = match path {
                "" => here.clone(),
                _ => here.parent().unwrap_or(Path::new("")).join(path),
            };
            let there = file.exists();
            let found = fragment.is_empty()
                || fs::read_to_string(&file).is_ok_and(|text| anchors(&text).contains(fragment));
            if !there || !found {
                wrong.push(format!("{name}: {target}"));
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn every_page_is_in_the_index() {
    let readme = read("README.md");
    let missing = files("docs")
        .into_iter()
        .filter(|page| !readme.contains(&format!("({page})")));
    assert_none(
        missing
            .filter(|page| !page.starts_with("docs/decisions/"))
            .collect(),
    );
}

/// `section.key`, and keys alone that end with a unit.
#[test]
fn settings_that_are_named_exist() {
    const UNITS: [&str; 5] = ["_s", "_ms", "_max", "_per_address", "_port"];
    // members of JSON objects and of other people's settings
    const OTHERS: [&str; 3] = ["time_ms", "duration_ms", "static_configs"];
    let sections = settings();
    let keys: BTreeSet<&String> = sections.values().flatten().collect();
    let mut wrong = Vec::new();
    for (name, text) in texts_and_packages() {
        let belongs = |character: char| character.is_ascii_lowercase() || "_.".contains(character);
        for word in words(&text, belongs) {
            let Some((section, key)) = word.trim_matches('.').split_once('.') else {
                continue;
            };
            // file names, and parts of the code
            let is_name = key.contains('_') || ["host", "port", "path", "token"].contains(&key);
            if is_name
                && sections
                    .get(section)
                    .is_some_and(|keys| !keys.contains(key))
            {
                wrong.push(format!("{name}: {word}"));
            }
        }
        for span in code_spans(&text) {
            let is_key = span
                .chars()
                .all(|character| character.is_ascii_lowercase() || character == '_');
            let has_unit = UNITS.iter().any(|unit| span.ends_with(unit));
            if is_key && has_unit && !keys.contains(&span) && !OTHERS.contains(&span.as_str()) {
                wrong.push(format!("{name}: {span}"));
            }
        }
    }
    assert_none(wrong);
}

/// Variables of Resound's own are made from the settings; Laravel's stand in the code.
#[test]
fn variables_that_are_named_exist() {
    let sections = settings();
    let mut known: BTreeSet<String> = ["ID", "KEY", "SECRET"]
        .map(|part| format!("RESOUND_APP_{part}"))
        .into();
    known.extend(["RESOUND_CONFIG", "RESOUND_ENV_FILE"].map(str::to_owned));
    // of the tests, and one that Kubernetes makes
    let others = [
        "RESOUND_BIN",
        "RESOUND_WRITE_DOCS",
        "RESOUND_TEST_REDIS",
        "RESOUND_FUZZ_RUNS",
        "RESOUND_PORT",
    ];
    known.extend(others.map(str::to_owned));
    for (section, keys) in &sections {
        known.extend(
            keys.iter()
                .map(|key| format!("RESOUND_{section}_{key}").to_uppercase()),
        );
    }
    let code: String = files("src")
        .iter()
        .filter(|file| file.ends_with(".rs"))
        .map(|file| read(file))
        .collect();
    let mut wrong = Vec::new();
    for (name, text) in texts_and_packages() {
        let belongs = |character: char| character.is_ascii_uppercase() || character == '_';
        for word in words(&text, belongs) {
            // `REVERB_…`, `RESOUND_LOG_` and the key
            if word.ends_with('_') {
                continue;
            }
            let there = match word.split_once('_') {
                Some(("RESOUND", _)) => known.contains(word),
                Some(("REVERB", _)) => word.starts_with("REVERB_APP") || code.contains(word),
                _ => true,
            };
            if !there {
                wrong.push(format!("{name}: {word}"));
            }
        }
    }
    assert_none(wrong);
}

/// A line of a shell as words: quotes removed, without a comment, cut where it goes into a pipe or a file.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '|' | '>' | '&' | ';') => break,
            (None, '#') if word.is_none() => break,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[test]
fn commands_are_understood() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (name, text) in texts() {
        for line in blocks(&text, "sh").into_iter().flat_map(str::lines) {
            let words = shell_words(line);
            let Some(program) = words.first() else {
                continue;
            };
            if program != "resound" && !program.ends_with("/resound") {
                continue;
            }
            checked += 1;
            if let Err(error) = Cli::try_parse_from(&words) {
                wrong.push(format!("{name}: {line}: {error}"));
            }
        }
    }
    assert!(checked > 10, "{checked} commands were found");
    assert_none(wrong);
}

/// In running text: the command, and each option of it.
#[test]
fn commands_and_options_that_are_named_exist() {
    let cli = Cli::command();
    let options = |command: &clap::Command| -> BTreeSet<String> {
        let arguments = command.get_arguments().chain(cli.get_arguments());
        arguments
            .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
            .chain(["--help".to_owned(), "--version".to_owned()])
            .collect()
    };
    let mut wrong = Vec::new();
    for (name, text) in texts() {
        for span in code_spans(&text) {
            let words = shell_words(&span);
            if words.first().is_none_or(|word| word != "resound") {
                continue;
            }
            let command = words
                .get(1)
                .filter(|word| word.chars().all(|c| c.is_ascii_lowercase()));
            let command = match command {
                None => Some(&cli),
                Some(word) => cli.find_subcommand(word),
            };
            let known = command.map(options).unwrap_or_default();
            let given = words.iter().filter(|word| word.starts_with("--"));
            let unknown =
                given.filter(|word| !known.contains(word.split('=').next().unwrap_or(word)));
            if command.is_none() || unknown.count() > 0 {
                wrong.push(format!("{name}: {span}"));
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn examples_of_settings_are_accepted() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (name, text) in texts() {
        for block in blocks(&text, "toml") {
            checked += 1;
            if let Err(error) = config::from_toml(block) {
                wrong.push(format!("{name}: {error}\n{block}"));
            }
        }
    }
    assert!(checked > 5, "{checked} examples were found");
    assert_none(wrong);
}

/// Cargo reads no manifest that names a file which isn't there.
#[test]
fn the_image_is_built_from_all_that_the_manifest_names() {
    let manifest: toml_edit::DocumentMut = read("Cargo.toml").parse().expect("TOML");
    let folders = [
        ("bench", "benches"),
        ("example", "examples"),
        ("test", "tests"),
    ];
    let named = folders
        .into_iter()
        .filter(|(kind, _)| manifest.contains_key(kind));
    let (image, ignored) = (read("Dockerfile"), read(".dockerignore"));
    for folder in named.map(|(_, folder)| folder).chain(["src"]) {
        assert!(
            image.contains(&format!("\nCOPY {folder} {folder}\n")),
            "{folder}"
        );
        assert!(ignored.contains(&format!("\n!{folder}\n")), "{folder}");
    }
}

#[test]
fn dependencies_are_listed_with_their_features() {
    let manifest: toml_edit::DocumentMut = read("Cargo.toml").parse().expect("TOML");
    let listed = read("docs/dependencies.md");
    let tables = [
        ("dependencies", "## In the binary"),
        ("dev-dependencies", "## In tests only"),
    ];
    for (section, heading) in tables {
        let (_, table) = listed.split_once(heading).expect(heading);
        let rows = table.split("\n## ").next().unwrap_or_default().lines();
        // crate, features; the licence between them is what `.ci/dependencies` looks at
        let rows: BTreeSet<(String, String)> = rows
            .filter_map(|row| {
                let cells: Vec<&str> = row.split('|').map(str::trim).collect();
                let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
                Some((name.to_owned(), cells.get(3)?.replace('`', "")))
            })
            .collect();
        let of_all = manifest[section].as_table().expect(section);
        let of_systems = manifest.get("target").and_then(|all| all.as_table());
        let of_systems = of_systems.into_iter().flat_map(|all| all.iter());
        let of_systems = of_systems.filter_map(|(_, one)| one.get(section)?.as_table());
        let expected: BTreeSet<(String, String)> = [of_all]
            .into_iter()
            .chain(of_systems)
            .flat_map(|table| table.iter())
            .map(|(name, entry)| (name.to_owned(), features(entry)))
            .collect();
        assert_eq!(rows, expected, "docs/dependencies.md, {heading}");
    }
}

/// The features of a dependency as the table has them.
fn features(entry: &toml_edit::Item) -> String {
    let is_default = entry
        .get("default-features")
        .and_then(|value| value.as_bool());
    let mut features: Vec<&str> = match is_default {
        Some(false) => Vec::new(),
        _ => vec!["default"],
    };
    let named = entry.get("features").and_then(|value| value.as_array());
    features.extend(
        named
            .into_iter()
            .flatten()
            .filter_map(|value| value.as_str()),
    );
    match features.is_empty() {
        true => "none".to_owned(),
        false => features.join(", "),
    }
}
