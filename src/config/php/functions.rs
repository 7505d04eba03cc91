//! The functions that are understood: `env()` above all.
use super::{
    super::env_file::{EnvValue, env_value},
    value::{Node, Value},
};
use indexmap::IndexMap;

/// What a function gives for these arguments; `short` is its name in small letters and without a namespace, `variables` gives the texts
/// of environment variables.
pub(super) fn call(
    name: &str,
    short: &str,
    arguments: IndexMap<String, Node>,
    line: u32,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Node {
    let mut arguments = arguments.into_values();
    let (first, second) = (arguments.next(), arguments.next());
    let variable = first.as_ref().and_then(|node| node.variable.clone());
    let value = match (short, first.map(|node| node.value), second) {
        ("env", Some(Value::Text(name)), default) => {
            return env(name, default, line, variables);
        }
        ("explode", Some(Value::Text(separator)), Some(text)) if !separator.is_empty() => {
            return explode(&separator, text, line);
        }
        ("array_filter", Some(Value::Array(entries)), None) => {
            let kept = entries.into_iter().filter(|(_, node)| {
                matches!(node.value, Value::Unknown(_)) || node.value.is_truthy()
            });
            Value::Array(kept.collect())
        }
        ("array_values" | "array_unique", Some(Value::Array(entries)), None) => {
            Value::Array(entries)
        }
        ("array_map", Some(Value::Text(function)), Some(mut list)) if function == "trim" => {
            if let Value::Array(entries) = &mut list.value {
                for node in entries.values_mut() {
                    trim(&mut node.value);
                }
            }
            return list;
        }
        ("trim", Some(mut text @ Value::Text(_)), None) => {
            trim(&mut text);
            text
        }
        ("intval", Some(value), None) => value.into_int(),
        ("boolval", Some(value), None) => value.into_bool(),
        ("strval", Some(value), None) => value.into_text(),
        ("floatval", Some(value), None) => value.into_float(),
        _ => Value::Unknown(format!("a call of {name}()")),
    };
    Node {
        value,
        line,
        variable,
    }
}

/// Laravel's `env()`: the default counts only if the variable isn't there at all.
fn env(
    name: String,
    default: Option<Node>,
    line: u32,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Node {
    let value = match variables(&name) {
        Some(text) => match env_value(&text) {
            EnvValue::Null => Value::Null,
            EnvValue::Switch(on) => Value::Bool(on),
            EnvValue::Text(text) => Value::Text(text.to_owned()),
        },
        None => default.map_or(Value::Null, |node| node.value),
    };
    Node {
        value,
        line,
        variable: Some(name),
    }
}

fn trim(value: &mut Value) {
    if let Value::Text(text) = value {
        *text = text.trim().to_owned();
    }
}

fn explode(separator: &str, text: Node, line: u32) -> Node {
    let value = match text.value.into_text() {
        Value::Text(text) => {
            let parts = text
                .split(separator)
                .zip(0..)
                .map(|(part, index): (_, usize)| {
                    let value = Value::Text(part.to_owned());
                    let node = Node {
                        value,
                        line,
                        variable: None,
                    };
                    (index.to_string(), node)
                });
            Value::Array(parts.collect())
        }
        unknown => unknown,
    };
    Node {
        value,
        line,
        variable: text.variable,
    }
}
