//! Values as PHP has them, where they stand, and what PHP makes of one when another kind is wanted.

use indexmap::IndexMap;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct Node {
    pub(in crate::config) value: Value,
    pub(in crate::config) line: u32,
    /// the variable whose `env()` it comes from
    pub(in crate::config) variable: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// keys as text, integer keys in decimal
    Array(IndexMap<String, Node>),
    /// what stands there: `a call of storage_path()`
    Unknown(String),
}

impl Node {
    /// The node at a path of keys, if everything before is an array that has the key.
    pub(in crate::config) fn get(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| match &node.value {
            Value::Array(entries) => entries.get(*key),
            _ => None,
        })
    }

    /// The entries of an array; none of anything else.
    pub(in crate::config) fn entries(&self) -> impl Iterator<Item = (&str, &Node)> {
        let entries = match &self.value {
            Value::Array(entries) => Some(entries),
            _ => None,
        };
        entries
            .into_iter()
            .flatten()
            .map(|(key, node)| (key.as_str(), node))
    }

    /// A text, or a number as text, that isn't empty.
    pub(in crate::config) fn text(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) if !text.is_empty() => Some(text.clone()),
            Value::Int(number) => Some(number.to_string()),
            Value::Float(number) if number.fract() == 0.0 => Some(format!("{number:.0}")),
            _ => None,
        }
    }

    pub(in crate::config) fn is_absent(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Text(text) => text.is_empty(),
            _ => false,
        }
    }

    /// Every value in here that isn't known: its path with dots, its line, what stands there.
    pub(in crate::config) fn unknown(&self) -> Vec<(String, u32, &str)> {
        let mut found = Vec::new();
        self.collect_unknown("", &mut found);
        found
    }

    fn collect_unknown<'a>(&'a self, path: &str, found: &mut Vec<(String, u32, &'a str)>) {
        if let Value::Unknown(what) = &self.value {
            found.push((path.to_owned(), self.line, what));
        }
        for (key, node) in self.entries() {
            match path {
                "" => node.collect_unknown(key, found),
                path => node.collect_unknown(&format!("{path}.{key}"), found),
            }
        }
    }
}

impl Value {
    /// What PHP takes for true.
    pub(in crate::config) fn is_truthy(&self) -> bool {
        match self {
            Value::Null | Value::Unknown(_) => false,
            Value::Bool(on) => *on,
            Value::Int(number) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty() && text != "0",
            Value::Array(entries) => !entries.is_empty(),
        }
    }

    pub(super) fn unknown(what: impl Into<String>) -> Value {
        Value::Unknown(what.into())
    }

    /// PHP's `(string)`.
    pub(super) fn into_text(self) -> Value {
        Value::Text(match self {
            Value::Null | Value::Bool(false) => String::new(),
            Value::Bool(true) => "1".to_owned(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Array(_) => return Value::unknown("an array used as a text"),
            text_or_unknown => return text_or_unknown,
        })
    }

    /// PHP's `(int)`; a text counts as far as it is a number.
    pub(super) fn into_int(self) -> Value {
        Value::Int(match self {
            Value::Null => 0,
            Value::Bool(on) => on.into(),
            // saturates, where PHP leaves it open
            Value::Float(number) => number as i64,
            Value::Text(text) => leading_number(&text) as i64,
            Value::Array(entries) => (!entries.is_empty()).into(),
            int_or_unknown => return int_or_unknown,
        })
    }

    pub(super) fn into_float(self) -> Value {
        match self {
            Value::Text(text) => Value::Float(leading_number(&text)),
            Value::Float(number) => Value::Float(number),
            other => match other.into_int() {
                Value::Int(number) => Value::Float(number as f64),
                unknown => unknown,
            },
        }
    }

    pub(super) fn into_bool(self) -> Value {
        match self {
            unknown @ Value::Unknown(_) => unknown,
            known => Value::Bool(known.is_truthy()),
        }
    }
}

fn leading_number(text: &str) -> f64 {
    let text = text.trim_start();
    let is_part = |(index, c): &(usize, char)| {
        c.is_ascii_digit() || *c == '.' || (*index == 0 && (*c == '-' || *c == '+'))
    };
    let length = text.char_indices().take_while(is_part).count();
    text[..length].parse().unwrap_or(0.0)
}
