//! Reads what a PHP configuration file returns as far as it can be known without running PHP: literals, arrays, `env()` and a
//! few more. What can't be known stays in the tree as [`Value::Unknown`] with its line, so that whoever needs it can say so.
mod lexer;

use super::env_file::{EnvValue, env_value};
use indexmap::IndexMap;
use lexer::Token;
use std::fmt;

/// Arrays and brackets within each other. Real files have a dozen.
const DEPTH_MAX: u32 = 100;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) line: u32,
    /// the variable whose `env()` it comes from
    pub(super) variable: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
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

/// What a file returns.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) root: Node,
    /// lines of statements before the `return` that were skipped
    pub(super) skipped: Vec<u32>,
}

/// Why nothing of a file can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PhpError {
    pub(super) line: u32,
    pub(super) reason: &'static str,
}

impl fmt::Display for PhpError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.reason)
    }
}

/// Reads a file's source. `variable` is the text of an environment variable, for `env()`.
pub(super) fn parse(
    source: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Parsed, PhpError> {
    let mut parser = Parser {
        tokens: lexer::tokens(source)?,
        position: 0,
        depth: 0,
        variable,
    };
    parser.file()
}

impl Node {
    /// The node at a path of keys, if everything before is an array that has the key.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| match &node.value {
            Value::Array(entries) => entries.get(*key),
            _ => None,
        })
    }

    /// The entries of an array; none of anything else.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Node)> {
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
    pub(super) fn text(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) if !text.is_empty() => Some(text.clone()),
            Value::Int(number) => Some(number.to_string()),
            Value::Float(number) if number.fract() == 0.0 => Some(format!("{number:.0}")),
            _ => None,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Text(text) => text.is_empty(),
            _ => false,
        }
    }

    /// Every value in here that isn't known: its path with dots, its line, what stands there.
    pub(super) fn unknown(&self) -> Vec<(String, u32, &str)> {
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
    pub(super) fn is_truthy(&self) -> bool {
        match self {
            Value::Null | Value::Unknown(_) => false,
            Value::Bool(on) => *on,
            Value::Int(number) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty() && text != "0",
            Value::Array(entries) => !entries.is_empty(),
        }
    }

    fn unknown(what: impl Into<String>) -> Value {
        Value::Unknown(what.into())
    }

    /// PHP's `(string)`.
    fn into_text(self) -> Value {
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
    fn into_int(self) -> Value {
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

    fn into_float(self) -> Value {
        match self {
            Value::Text(text) => Value::Float(leading_number(&text)),
            Value::Float(number) => Value::Float(number),
            other => match other.into_int() {
                Value::Int(number) => Value::Float(number as f64),
                unknown => unknown,
            },
        }
    }

    fn into_bool(self) -> Value {
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

struct Parser<'a> {
    tokens: Vec<(Token, u32)>,
    position: usize,
    depth: u32,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Operators with two sides and how tightly they bind.
const OPERATORS: [(&str, u8); 14] = [
    ("??", 2),
    ("||", 3),
    ("&&", 4),
    ("===", 5),
    ("!==", 5),
    ("==", 5),
    ("!=", 5),
    ("<>", 5),
    (".", 6),
    ("+", 7),
    ("-", 7),
    ("*", 8),
    ("/", 8),
    ("%", 8),
];
/// of `? :`
const TERNARY: u8 = 1;
/// casts, `!` and signs
const UNARY: u8 = 9;

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.position).map(|(token, _)| token)
    }

    fn peek_at(&self, ahead: usize) -> Option<&Token> {
        self.tokens
            .get(self.position + ahead)
            .map(|(token, _)| token)
    }

    fn line(&self) -> u32 {
        let here = self.tokens.get(self.position).or(self.tokens.last());
        here.map_or(1, |(_, line)| *line)
    }

    fn is_at(&self, mark: &str) -> bool {
        matches!(self.peek(), Some(Token::Mark(found)) if *found == mark)
    }

    fn take(&mut self, mark: &str) -> bool {
        let is_there = self.is_at(mark);
        self.position += usize::from(is_there);
        is_there
    }

    fn is_at_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(name)) if name.eq_ignore_ascii_case(word))
    }

    /// Statements up to `return`, then its value.
    fn file(&mut self) -> Result<Parsed, PhpError> {
        let mut skipped = Vec::new();
        while self.peek().is_some() {
            if self.is_at_word("return") {
                self.position += 1;
                let mut root = self.expression(TERNARY)?;
                self.skip_rest(&mut root);
                return Ok(Parsed { root, skipped });
            }
            let harmless = ["declare", "namespace", "use"];
            if !harmless.iter().any(|word| self.is_at_word(word)) && !self.is_at(";") {
                skipped.push(self.line());
            }
            self.skip_statement();
        }
        Err(PhpError {
            line: self.line(),
            reason: "it returns nothing",
        })
    }

    /// Past the next `;`, or the block it ends with.
    fn skip_statement(&mut self) {
        let mut open = 0_u32;
        while let Some(token) = self.peek().cloned() {
            self.position += 1;
            match token {
                Token::Mark("(" | "[" | "{") => open += 1,
                Token::Mark(closing @ (")" | "]" | "}")) => {
                    open = open.saturating_sub(1);
                    if open == 0 && closing == "}" {
                        return;
                    }
                }
                Token::Mark(";") if open == 0 => return,
                _ => {}
            }
        }
    }

    /// To the next `,` `;` `=>` or closing bracket that isn't inside brackets opened from here on.
    fn skip_to_end(&mut self) {
        let mut open = 0_u32;
        while let Some(token) = self.peek() {
            match token {
                Token::Mark("(" | "[" | "{") => open += 1,
                Token::Mark(")" | "]" | "}") if open == 0 => return,
                Token::Mark(")" | "]" | "}") => open -= 1,
                Token::Mark("," | ";" | "=>") if open == 0 => return,
                _ => {}
            }
            self.position += 1;
        }
    }

    /// If an expression goes on in a way that isn't understood, its value isn't known.
    fn skip_rest(&mut self, node: &mut Node) {
        let is_over = match self.peek() {
            Some(Token::Mark(mark)) => [",", ";", "=>", ")", "]", "}", ":"].contains(mark),
            Some(_) => false,
            None => true,
        };
        if !is_over {
            if !matches!(node.value, Value::Unknown(_)) {
                node.value = Value::unknown("an expression");
            }
            self.skip_to_end();
        }
    }

    fn deeper<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, PhpError>,
    ) -> Result<T, PhpError> {
        if self.depth >= DEPTH_MAX {
            return Err(PhpError {
                line: self.line(),
                reason: "it is nested too deeply",
            });
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// An expression of operators that bind at least as tightly as `tightness`.
    fn expression(&mut self, tightness: u8) -> Result<Node, PhpError> {
        self.deeper(|parser| {
            let mut left = parser.unary()?;
            loop {
                let Some(Token::Mark(mark)) = parser.peek() else {
                    return Ok(left);
                };
                let mark = *mark;
                if mark == "?" && tightness <= TERNARY {
                    left = parser.ternary(left)?;
                    continue;
                }
                let operator = OPERATORS.iter().find(|(operator, _)| *operator == mark);
                let Some((_, binds)) = operator.filter(|(_, binds)| *binds >= tightness) else {
                    return Ok(left);
                };
                parser.position += 1;
                // `??` groups from the right
                let right_tightness = if mark == "??" { *binds } else { binds + 1 };
                let right = parser.expression(right_tightness)?;
                left = apply(mark, left, right);
            }
        })
    }

    fn ternary(&mut self, condition: Node) -> Result<Node, PhpError> {
        self.position += 1;
        let then = match self.is_at(":") {
            true => None,
            false => Some(self.expression(TERNARY)?),
        };
        if !self.take(":") {
            let mut node = condition;
            node.value = Value::unknown("an expression");
            self.skip_to_end();
            return Ok(node);
        }
        let otherwise = self.expression(TERNARY + 1)?;
        Ok(match (&condition.value, then) {
            (Value::Unknown(_), _) => condition,
            (value, then) if value.is_truthy() => then.unwrap_or(condition),
            _ => otherwise,
        })
    }

    fn unary(&mut self) -> Result<Node, PhpError> {
        let line = self.line();
        if let Some(cast) = self.cast() {
            self.position += 3;
            let mut node = self.deeper(Self::unary)?;
            node.value = cast(node.value);
            return Ok(node);
        }
        for sign in ["!", "-", "+"] {
            if self.take(sign) {
                let mut node = self.deeper(|parser| match sign {
                    "!" => parser.unary(),
                    _ => parser.expression(UNARY),
                })?;
                node.line = line;
                node.value = signed(sign, node.value);
                return Ok(node);
            }
        }
        self.primary()
    }

    /// `(int)` and its like, not taken yet.
    fn cast(&self) -> Option<fn(Value) -> Value> {
        let (Some(Token::Mark("(")), Some(Token::Name(name)), Some(Token::Mark(")"))) =
            (self.peek(), self.peek_at(1), self.peek_at(2))
        else {
            return None;
        };
        Some(match name.to_ascii_lowercase().as_str() {
            "int" | "integer" => Value::into_int,
            "string" => Value::into_text,
            "bool" | "boolean" => Value::into_bool,
            "float" | "double" => Value::into_float,
            "array" => |value| match value {
                Value::Array(_) | Value::Unknown(_) => value,
                Value::Null => Value::Array(IndexMap::new()),
                _ => Value::unknown("a cast to an array"),
            },
            _ => return None,
        })
    }

    fn primary(&mut self) -> Result<Node, PhpError> {
        let line = self.line();
        let node = |value| Node {
            value,
            line,
            variable: None,
        };
        let Some(token) = self.peek().cloned() else {
            return Err(PhpError {
                line,
                reason: "it ends in the middle of a value",
            });
        };
        let what = match token {
            Token::Mark("[") => {
                self.position += 1;
                return Ok(node(self.array("]")?));
            }
            Token::Mark("(") => {
                self.position += 1;
                let mut inner = self.expression(TERNARY)?;
                self.skip_rest(&mut inner);
                if !self.take(")") {
                    inner.value = Value::unknown("an expression");
                    self.skip_to_end();
                }
                return Ok(inner);
            }
            // nothing where a value should be: it is not this one's to take
            Token::Mark("," | ";" | "=>" | ")" | "]" | "}") => {
                return Ok(node(Value::unknown("nothing")));
            }
            Token::Text(text) => return Ok(self.literal(node(Value::Text(text)))),
            Token::Int(number) => return Ok(self.literal(node(Value::Int(number)))),
            Token::Float(number) => return Ok(self.literal(node(Value::Float(number)))),
            Token::Name(name) => return self.named(&name, line),
            Token::Variable(name) => format!("the variable ${name}"),
            Token::Other(what) => what.to_owned(),
            Token::Mark(_) => "an expression".to_owned(),
        };
        self.skip_to_end();
        Ok(node(Value::Unknown(what)))
    }

    fn literal(&mut self, node: Node) -> Node {
        self.position += 1;
        node
    }

    /// A constant, a function, a class.
    fn named(&mut self, name: &str, line: u32) -> Result<Node, PhpError> {
        let mut node = Node {
            value: Value::Null,
            line,
            variable: None,
        };
        let short = name.trim_start_matches('\\').to_ascii_lowercase();
        self.position += 1;
        if ["fn", "function", "static", "new", "match"].contains(&short.as_str()) {
            self.skip_to_end();
            while self.take("=>") {
                self.skip_to_end();
            }
            node.value = Value::unknown("code");
            return Ok(node);
        }
        if self.take("(") {
            if short == "array" {
                node.value = self.array(")")?;
                return Ok(node);
            }
            return self.call(name, &short, line);
        }
        let constant = match short.as_str() {
            "null" => Some(Value::Null),
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "php_int_max" => Some(Value::Int(i64::MAX)),
            "php_eol" => Some(Value::Text("\n".to_owned())),
            _ => None,
        };
        node.value = match constant {
            Some(value) => value,
            None => {
                let what = match self.is_at("::") {
                    true => format!("the class {name}"),
                    false => format!("the constant {name}"),
                };
                self.skip_to_end();
                Value::Unknown(what)
            }
        };
        Ok(node)
    }

    /// The entries up to `closing`; the opening bracket is taken.
    fn array(&mut self, closing: &'static str) -> Result<Value, PhpError> {
        let mut entries: IndexMap<String, Node> = IndexMap::new();
        let mut next_index: i64 = 0;
        let (mut has_keys, mut has_spread) = (false, false);
        loop {
            let line = self.line();
            if self.take(closing) {
                // what is spread in may replace what other keys say, but no entry of a list
                return Ok(match has_keys && has_spread {
                    true => Value::unknown("an array with another one spread into it"),
                    false => Value::Array(entries),
                });
            }
            if self.take("...") {
                self.skip_to_end();
                has_spread = true;
                let node = Node {
                    value: Value::unknown("another array spread into this one"),
                    line,
                    variable: None,
                };
                entries.insert(next_index.to_string(), node);
                next_index = next_index.saturating_add(1);
            } else {
                let mut first = self.expression(TERNARY)?;
                self.skip_rest(&mut first);
                let (key, mut node) = if self.take("=>") {
                    has_keys = true;
                    let mut value = self.expression(TERNARY)?;
                    self.skip_rest(&mut value);
                    (array_key(&first.value), value)
                } else {
                    (Some(next_index.to_string()), first)
                };
                match key {
                    Some(key) => {
                        if let Ok(index) = key.parse::<i64>() {
                            next_index = next_index.max(index.saturating_add(1));
                        }
                        entries.insert(key, node);
                    }
                    None => {
                        node.value = Value::unknown("an entry whose key is no literal");
                        entries.insert(format!("?{}", entries.len()), node);
                    }
                }
            }
            if !self.take(",") && !self.is_at(closing) {
                return Err(PhpError {
                    line: self.line(),
                    reason: "an array isn't closed",
                });
            }
        }
    }

    /// A function whose name and `(` are taken.
    fn call(&mut self, name: &str, short: &str, line: u32) -> Result<Node, PhpError> {
        let Value::Array(arguments) = self.deeper(|parser| parser.array(")"))? else {
            return Ok(Node {
                value: Value::Unknown(format!("a call of {name}()")),
                line,
                variable: None,
            });
        };
        let mut arguments = arguments.into_values();
        let (first, second) = (arguments.next(), arguments.next());
        let variable = first.as_ref().and_then(|node| node.variable.clone());
        let value = match (short, first.map(|node| node.value), second) {
            ("env", Some(Value::Text(name)), default) => {
                return Ok(self.env(name, default, line));
            }
            ("explode", Some(Value::Text(separator)), Some(text)) if !separator.is_empty() => {
                return Ok(explode(&separator, text, line));
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
                return Ok(list);
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
        Ok(Node {
            value,
            line,
            variable,
        })
    }

    /// Laravel's `env()`: the default counts only if the variable isn't there at all.
    fn env(&self, name: String, default: Option<Node>, line: u32) -> Node {
        let value = match (self.variable)(&name) {
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

/// A literal as an array's key, by PHP's rules; `None` if it isn't known.
fn array_key(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => String::new(),
        Value::Bool(on) => u8::from(*on).to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => (*number as i64).to_string(),
        Value::Text(text) => text.clone(),
        Value::Array(_) | Value::Unknown(_) => return None,
    })
}

fn signed(sign: &str, value: Value) -> Value {
    match (sign, value) {
        (_, unknown @ Value::Unknown(_)) => unknown,
        ("!", value) => Value::Bool(!value.is_truthy()),
        ("-", Value::Int(number)) => Value::Int(number.saturating_neg()),
        ("-", Value::Float(number)) => Value::Float(-number),
        ("+", number @ (Value::Int(_) | Value::Float(_))) => number,
        _ => Value::unknown("an expression"),
    }
}

fn apply(operator: &str, left: Node, right: Node) -> Node {
    let line = left.line;
    let variable = left.variable.clone().or(right.variable.clone());
    let known = |value| Node {
        value,
        line,
        variable: variable.clone(),
    };
    match (operator, &left.value, &right.value) {
        (_, Value::Unknown(_), _) => left,
        ("??", Value::Null, _) => right,
        ("??", _, _) => left,
        ("&&", value, _) if !value.is_truthy() => known(Value::Bool(false)),
        ("||", value, _) if value.is_truthy() => known(Value::Bool(true)),
        (_, _, Value::Unknown(_)) => right,
        ("&&" | "||", _, value) => known(Value::Bool(value.is_truthy())),
        ("===", a, b) => known(Value::Bool(same(a, b))),
        ("!==", a, b) => known(Value::Bool(!same(a, b))),
        ("==", a, b) if comparable(a, b) => known(Value::Bool(same(a, b))),
        ("!=" | "<>", a, b) if comparable(a, b) => known(Value::Bool(!same(a, b))),
        (".", a, b) => known(joined(a.clone(), b.clone())),
        (sign, Value::Int(a), Value::Int(b)) => {
            let result = match sign {
                "+" => a.checked_add(*b),
                "-" => a.checked_sub(*b),
                "*" => a.checked_mul(*b),
                "/" if *b != 0 && a.checked_rem(*b) == Some(0) => a.checked_div(*b),
                "%" => a.checked_rem(*b),
                _ => None,
            };
            known(result.map_or_else(|| Value::unknown("an expression"), Value::Int))
        }
        _ => known(Value::unknown("an expression")),
    }
}

/// Whether PHP's loose `==` is the strict one for these two.
fn comparable(a: &Value, b: &Value) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b) && !matches!(a, Value::Array(_))
}

/// PHP's `===`. Lines don't count.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            let mut pairs = a.iter().zip(b);
            a.len() == b.len() && pairs.all(|((k, a), (l, b))| k == l && same(&a.value, &b.value))
        }
        (a, b) => a == b,
    }
}

fn joined(a: Value, b: Value) -> Value {
    match (a.into_text(), b.into_text()) {
        (Value::Text(a), Value::Text(b)) => Value::Text(a + &b),
        // nothing else comes out of `into_text`
        (unknown @ Value::Unknown(_), _) | (_, unknown) => unknown,
    }
}

#[cfg(test)]
mod tests;
