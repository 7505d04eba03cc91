//! `.env` files as Laravel reads them: phpdotenv's grammar with its oddities, and the words of Laravel's `env()`. Pure: text
//! and what is known already go in, values or an error with its line come out.
mod value;
mod words;

pub(super) use self::words::{EnvValue, env_value};
use indexmap::IndexMap;
use std::{collections::HashMap, fmt};
use value::parse_value;

/// 4 MiB: all values of a file together, references put in. Keeps values that multiply each other from filling the memory.
const VALUES_BYTES_MAX: usize = 4 << 20;

/// What a file says, in the order of its lines.
#[derive(Debug, Default)]
pub(super) struct EnvFile {
    /// Without the names the process has already: they can't be changed by a file.
    pub(super) entries: IndexMap<String, Entry>,
    /// the line of a quote that is never closed: phpdotenv silently drops everything from there on
    pub(super) unclosed: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) value: String,
    /// the first, counted from 1
    pub(super) line: u32,
    /// an unquoted value ended at a `#` with no space before it, as in `SECRET=abc#def`
    pub(super) is_cut: bool,
}

/// Why Laravel would refuse the file. Quotes nothing of it, since that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) line: u32,
    pub(super) cause: &'static str,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.cause)
    }
}

const INVALID_NAME: &str = "an invalid name: it takes letters, digits, dots and underscores";

const UNEXPECTED_EQUALS: &str = "an unexpected equals sign: there is no name before it";

const TOO_LONG: &str = "the values are longer than 4 MiB together";

/// Reads a file. `environment` is what the process has: it wins over the file and is what `${NAME}` means first.
pub(super) fn parse(
    text: &str,
    environment: &HashMap<String, String>,
) -> Result<EnvFile, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (raw, unclosed) = raw_entries(text);
    let mut entries: IndexMap<String, Entry> = IndexMap::new();
    let mut room = VALUES_BYTES_MAX;
    for (line, raw) in raw {
        let at_line = |cause| SyntaxError { line, cause };
        let (name, value) = split(&raw).map_err(at_line)?;
        let Some(value) = value else {
            entries.shift_remove(&name);
            continue;
        };
        let value = parse_value(value).map_err(at_line)?;
        if environment.contains_key(&name) {
            continue;
        }
        let known = |name: &str| {
            let found = environment.get(name);
            found.or_else(|| entries.get(name).map(|entry| &entry.value))
        };
        let text = value.resolved(known, room).ok_or(at_line(TOO_LONG))?;
        room = room.saturating_sub(text.len());
        let entry = Entry {
            value: text,
            line,
            is_cut: value.is_cut,
        };
        // a later line wins and comes later
        entries.shift_remove(&name);
        entries.insert(name, entry);
    }
    Ok(EnvFile { entries, unclosed })
}

/// Lines, those of a double quoted value joined, each with the number of its first. Blank lines and comments are gone.
fn raw_entries(text: &str) -> (Vec<(u32, String)>, Option<u32>) {
    let mut entries = Vec::new();
    let mut open: Option<(u32, String)> = None;
    for (line, number) in lines(text).zip(1..) {
        let (first, joined, is_complete) = match open.take() {
            None => (number, line.to_owned(), !opens_quote(line)),
            Some((first, mut joined)) => {
                joined.push('\n');
                joined.push_str(line);
                (first, joined, closes_quote(line, 1))
            }
        };
        if !is_complete {
            open = Some((first, joined));
            continue;
        }
        let trimmed = trim(&joined);
        if !trimmed.is_empty() && !trimmed.starts_with('#') {
            entries.push((first, joined));
        }
    }
    (entries, open.map(|(first, _)| first))
}

/// `\r\n`, `\n` and `\r` all end a line.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split('\r')
    })
}

fn opens_quote(line: &str) -> bool {
    line.contains("=\"") && !closes_quote(line, 2)
}

/// Whether the line has `quotes` double quotes that aren't escaped and have something before them.
fn closes_quote(line: &str, quotes: usize) -> bool {
    if line == "\"" {
        return true;
    }
    let line = line.replace("\\\\", "");
    let before = line.as_bytes().iter();
    let pairs = before.zip(line.as_bytes().iter().skip(1));
    let found = pairs.filter(|(before, byte)| **byte == b'"' && **before != b'\\');
    found.count() >= quotes
}

/// Name and text of the value; no value without an equals sign.
fn split(raw: &str) -> Result<(String, Option<&str>), &'static str> {
    let (name, value) = match raw.split_once('=') {
        Some((name, value)) => (trim(name), Some(trim(value))),
        None => (raw, None),
    };
    if name.is_empty() {
        return Err(UNEXPECTED_EQUALS);
    }
    let name = unquoted(unexported(name));
    let is_letter =
        |c: char| c.is_lowercase() || c.is_uppercase() || c.is_numeric() || c == '_' || c == '.';
    match !name.is_empty() && name.chars().all(is_letter) {
        true => Ok((name.to_owned(), value)),
        false => Err(INVALID_NAME),
    }
}

/// phpdotenv takes `export` away only from texts of more than 8 characters: `export A` is no name.
fn unexported(name: &str) -> &str {
    match name.strip_prefix("export") {
        Some(rest) if name.chars().count() > 8 && rest.starts_with(is_space) => {
            rest.trim_start_matches(is_trimmed)
        }
        _ => name,
    }
}

fn unquoted(name: &str) -> &str {
    let inner = ['"', '\''].iter().find_map(|quote| {
        let inner = name.strip_prefix(*quote)?.strip_suffix(*quote)?;
        (!inner.is_empty()).then_some(inner)
    });
    inner.unwrap_or(name)
}

/// PHP's `trim`.
fn trim(text: &str) -> &str {
    text.trim_matches(is_trimmed)
}

fn is_trimmed(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\0' | '\x0b')
}

/// PHP's `ctype_space`.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

#[cfg(test)]
mod tests {
    use super::{
        value::{MISSING_QUOTE, UNEXPECTED_ESCAPE, UNEXPECTED_SPACE},
        *,
    };
    use rand::{RngExt, SeedableRng, rngs::SmallRng};
    use serde_json::Value;

    fn json(value: Option<&str>) -> Value {
        match value.map(env_value) {
            None | Some(EnvValue::Null) => Value::Null,
            Some(EnvValue::Switch(on)) => Value::Bool(on),
            Some(EnvValue::Text(text)) => Value::String(text.to_owned()),
        }
    }

    /// Recorded from Laravel 12 with phpdotenv 5.6.
    #[test]
    fn every_recorded_vector_is_read_as_laravel_reads_it() {
        let path = "/compat-fixtures/laravel/dotenv-vectors.json";
        let text = std::fs::read_to_string(format!("{}{path}", env!("CARGO_MANIFEST_DIR")));
        let vectors: Vec<Value> =
            serde_json::from_str(&text.expect("the vectors")).expect("an array");
        assert_eq!(vectors.len(), 54);
        for vector in &vectors {
            let name = vector["name"].as_str().expect("a name");
            let mut environment = HashMap::new();
            if name.starts_with("process environment A=fromenv") {
                environment.insert("A".to_owned(), "fromenv".to_owned());
            }
            let parsed = parse(vector["text"].as_str().expect("a text"), &environment);
            if let Some(error) = vector["error"].as_str() {
                let cause = parsed.expect_err(name).cause;
                let cause = cause.split(':').next().expect("a cause");
                assert!(error.contains(cause), "{name}: {cause}");
                continue;
            }
            let file = parsed.unwrap_or_else(|error| panic!("{name}: {error}"));
            let value = |name: &str| {
                let own = file.entries.get(name).map(|entry| entry.value.as_str());
                environment.get(name).map(String::as_str).or(own)
            };
            assert_eq!(json(value("A")), vector["A"], "{name}");
            assert_eq!(json(value("B")), vector["B"], "{name}");
            if let Some(expected) = vector.get("A_with_default") {
                let found = value("A").map_or(json(Some("DEFAULT")), |text| json(Some(text)));
                assert_eq!(found, *expected, "{name}");
            }
        }
    }

    fn read(text: &str) -> EnvFile {
        parse(text, &HashMap::new()).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    #[test]
    fn oddities_the_vectors_do_not_show() {
        let check = |text: &str, expected: &[(&str, &str, u32)]| {
            let file = read(text);
            let found: Vec<_> = file
                .entries
                .iter()
                .map(|(name, entry)| (name.as_str(), entry.value.as_str(), entry.line))
                .collect();
            assert_eq!(found, expected, "{text:?}");
        };
        check(
            "export AB=1\nexport\tC.D = 2",
            &[("AB", "1", 1), ("C.D", "2", 2)],
        );
        check("\"AB\"=1\n'C'=2", &[("AB", "1", 1), ("C", "2", 2)]);
        check(
            "A=1\rB=2\r\nC=3",
            &[("A", "1", 1), ("B", "2", 2), ("C", "3", 3)],
        );
        // a name alone takes an earlier value away
        check("A=1\nA", &[]);
        check("A=\"1\n2\n3\"\nB=4", &[("A", "1\n2\n3", 1), ("B", "4", 4)]);
        check("A=\"1\n\"\nB=4", &[("A", "1\n", 1), ("B", "4", 3)]);
        // a quote opened in a comment hides what follows up to the next quote
        check("# A=\"1\nB=2\nC=\"3\"\nD=4", &[("D", "4", 4)]);
        // what one reference yields is part of another's name
        check(
            "AX=yes\nB=X\nC=${A${B}}",
            &[("AX", "yes", 1), ("B", "X", 2), ("C", "yes", 3)],
        );
        check(
            "A=$${\nB=${}\nC=é${A}",
            &[("A", "$${", 1), ("B", "${}", 2), ("C", "é$${", 3)],
        );
        check("A=\"x\\\\\"\nB=1", &[("A", "x\\", 1), ("B", "1", 2)]);
    }

    #[test]
    fn what_laravel_refuses_is_named_by_line_and_not_quoted() {
        let check = |text: &str, line: u32, cause: &str| {
            let error = parse(text, &HashMap::new()).expect_err(text);
            assert_eq!((error.line, error.cause), (line, cause), "{text:?}");
            assert!(!error.to_string().contains("hush"));
        };
        check("A=1\n\nB=hush hush", 3, UNEXPECTED_SPACE);
        check("A='hush' 'hush'", 1, UNEXPECTED_SPACE);
        check("=hush", 1, UNEXPECTED_EQUALS);
        check("HUSH-A=1", 1, INVALID_NAME);
        check("hush hush", 1, INVALID_NAME);
        check("A=\"1\n2\"\nB=\"a\\q\"", 3, UNEXPECTED_ESCAPE);
        check("A='hush", 1, MISSING_QUOTE);
    }

    #[test]
    fn a_quote_never_closed_and_a_value_cut_short_are_noticed() {
        assert_eq!(read("A=1\nB=\"2\nC=3").unclosed, Some(2));
        assert_eq!(read("A=1\nB=\"2\"").unclosed, None);
        let is_cut = |text: &str| read(text).entries["A"].is_cut;
        assert!(is_cut("A=abc#def"));
        assert!(!is_cut("A=abc #def"));
        assert!(!is_cut("A=\"abc#def\""));
        assert!(!is_cut("A=\"abc\"#def"));
        assert!(!is_cut("A=#def"));
    }

    #[test]
    fn values_that_multiply_each_other_are_refused() {
        let mut text = "A0=0123456789\n".to_owned();
        for level in 1..12 {
            let reference = format!("${{A{}}}", level - 1);
            text.push_str(&format!("A{level}={}\n", reference.repeat(10)));
        }
        let error = parse(&text, &HashMap::new()).expect_err("too long");
        assert_eq!(error.cause, TOO_LONG);
        let dollars = format!("A={}", "${".repeat(1_000_000));
        assert_eq!(read(&dollars).entries["A"].value.len(), 2_000_000);
    }

    #[test]
    fn words_of_env() {
        let check = |text: &str, expected: EnvValue<'_>| assert_eq!(env_value(text), expected);
        check("TRUE", EnvValue::Switch(true));
        check("(False)", EnvValue::Switch(false));
        check("(null)", EnvValue::Null);
        check("Empty", EnvValue::Text(""));
        check("'null'", EnvValue::Text("null"));
        check("\"a'", EnvValue::Text("\"a'"));
        check("\"", EnvValue::Text("\""));
        check("yes", EnvValue::Text("yes"));
    }

    #[test]
    fn random_text_never_panics() {
        let mut random = SmallRng::seed_from_u64(7);
        let parts = [
            "A", "=", "\"", "'", "#", "$", "{", "}", "\\", "\n", "\r", " ", "\t", "é", "\0",
            "export ", "${A}", "A=", "=\"", ".", "\u{feff}",
        ];
        for _ in 0..20_000 {
            let length = random.random_range(0..24);
            let text: String = (0..length)
                .map(|_| parts[random.random_range(0..parts.len())])
                .collect();
            if let Err(error) = parse(&text, &HashMap::new()) {
                assert!(error.line >= 1);
            }
        }
    }
}
