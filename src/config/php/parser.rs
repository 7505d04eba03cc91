//! Tokens to values: an expression is evaluated as it is read.
use super::{
    Parsed, PhpError, functions,
    lexer::Token,
    operators::{OPERATORS, TERNARY, UNARY, apply, signed},
    value::{Node, Value},
};
use indexmap::IndexMap;

/// Arrays and brackets within each other. Real files have a dozen.
const DEPTH_MAX: u32 = 100;

pub(super) struct Parser<'a> {
    tokens: Vec<(Token, u32)>,
    position: usize,
    depth: u32,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Parser<'a> {
    /// `variable` is the text of an environment variable.
    pub(super) fn new(
        tokens: Vec<(Token, u32)>,
        variable: &'a dyn Fn(&str) -> Option<String>,
    ) -> Parser<'a> {
        Parser {
            tokens,
            position: 0,
            depth: 0,
            variable,
        }
    }

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
    pub(super) fn file(&mut self) -> Result<Parsed, PhpError> {
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
        Ok(functions::call(name, short, arguments, line, self.variable))
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
