//! Fuzzing of the files people write: see [`crate::fuzzing`].

use super::{
    env_file,
    php::{self, Node, Value},
};
use std::collections::HashMap;

/// Arrays within each other that are written again: well below what the reader allows.
const DEPTH_MAX: u32 = 30;

/// The bytes are a `.env` file.
pub fn env_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let environment = HashMap::from([("SET".to_owned(), "${A}".to_owned())]);
    let lines = text.split(['\n', '\r']).count();
    let is_line = |line: u32| (1..=lines).contains(&(line as usize));
    let file = match env_file::parse(&text, &environment) {
        Ok(file) => file,
        Err(error) => return assert!(is_line(error.line), "{error}"),
    };
    assert!(file.unclosed.is_none_or(is_line));
    assert!(!file.entries.contains_key("SET"));
    let mut again = String::new();
    for (name, entry) in &file.entries {
        assert!(is_line(entry.line), "{}", entry.line);
        let _ = env_file::env_value(&entry.value);
        again.push_str(&format!("{name}=\"{}\"\n", escaped(&entry.value)));
    }
    let reread = env_file::parse(&again, &HashMap::new()).expect(&again);
    let values = |file: &env_file::EnvFile| -> Vec<(String, String)> {
        let entries = file.entries.iter();
        entries
            .map(|(name, entry)| (name.clone(), entry.value.clone()))
            .collect()
    };
    assert_eq!(values(&reread), values(&file), "{again}");
}

fn escaped(value: &str) -> String {
    let mut out = String::new();
    for c in value.chars() {
        match c {
            '\\' | '"' | '$' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            _ => out.push(c),
        }
    }
    out
}

/// The bytes are a PHP file that returns an array.
pub fn php_file(data: &[u8]) {
    let source = String::from_utf8_lossy(data);
    let variable = |name: &str| match name {
        "SET" => Some("(true)".to_owned()),
        "" => None,
        _ => Some(name.to_owned()),
    };
    let lines = source.split('\n').count();
    let is_line = |line: u32| (1..=lines).contains(&(line as usize));
    let parsed = match php::parse(&source, &variable) {
        Ok(parsed) => parsed,
        Err(error) => return assert!(is_line(error.line), "{error}"),
    };
    assert!(parsed.skipped.iter().copied().all(is_line));
    for (path, line, _) in parsed.root.unknown() {
        assert!(is_line(line), "{path}: {line}");
    }
    let Some(literal) = written(&parsed.root.value, 0) else {
        return;
    };
    let again = format!("<?php return {literal};");
    let reread = php::parse(&again, &|_| None).expect(&again);
    assert!(is_same(&reread.root, &parsed.root), "{again}");
}

/// The value as PHP; `None` if it has no literal, or lies too deep.
fn written(value: &Value, depth: u32) -> Option<String> {
    Some(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(on) => on.to_string(),
        // PHP reads the smallest integer as a float that is negated
        Value::Int(i64::MIN) => return None,
        Value::Int(number) => number.to_string(),
        Value::Float(number) if number.is_finite() => format!("{number:?}"),
        Value::Text(text) => quoted(text),
        Value::Array(entries) if depth < DEPTH_MAX => {
            let entries: Option<Vec<String>> = entries
                .iter()
                .map(|(key, node)| {
                    Some(format!(
                        "{} => {}",
                        quoted(key),
                        written(&node.value, depth + 1)?
                    ))
                })
                .collect();
            format!("[{}]", entries?.join(", "))
        }
        Value::Float(_) | Value::Array(_) | Value::Unknown(_) => return None,
    })
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The same values, wherever they stand.
fn is_same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Array(left), Value::Array(right)) => {
            let pairs = || left.iter().zip(right.iter());
            left.len() == right.len() && pairs().all(|(a, b)| a.0 == b.0 && is_same(a.1, b.1))
        }
        (a, b) => a == b,
    }
}
