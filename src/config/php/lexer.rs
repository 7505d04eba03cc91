//! PHP source to tokens. What is no token of the subset is [`Token::Other`]: the parser names it and goes on.
use super::PhpError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// a string without variables in it
    Text(String),
    Int(i64),
    Float(f64),
    /// `env`, `TRUE`, `App\Models\User`, `\strlen`
    Name(String),
    /// `$name`
    Variable(String),
    Mark(&'static str),
    /// what it is, for a message
    Other(&'static str),
}

/// Longest first.
const MARKS: [&str; 46] = [
    "<=>", "===", "!==", "...", "**=", "??=", "?->", "=>", "==", "!=", "<>", "??", "::", "->",
    "&&", "||", "<=", ">=", "<<", ">>", "**", "++", "--", "+=", "-=", ".=", "(", ")", "[", "]",
    "{", "}", ",", ";", "?", ":", ".", "+", "-", "*", "/", "%", "!", "=", "<", ">",
];

/// The tokens with their lines, up to `?>` or the end. Fails on a string or comment that doesn't end.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, u32)>, PhpError> {
    let Some(start) = opening_tag(text) else {
        return Err(PhpError {
            line: 1,
            reason: "it doesn't begin with <?php",
        });
    };
    let mut lexer = Lexer {
        text,
        position: start,
        line: 1 + newlines(&text[..start]),
        tokens: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

/// Where the code begins.
fn opening_tag(text: &str) -> Option<usize> {
    let before = text.len() - text.trim_start_matches('\u{feff}').trim_start().len();
    let tag = text.get(before..before + 5)?;
    tag.eq_ignore_ascii_case("<?php").then_some(before + 5)
}

fn newlines(text: &str) -> u32 {
    let count = text.bytes().filter(|byte| *byte == b'\n').count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

struct Lexer<'a> {
    text: &'a str,
    /// always between two characters
    position: usize,
    line: u32,
    tokens: Vec<(Token, u32)>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let taken = &self.rest()[..bytes];
        self.position += bytes;
        self.line = self.line.saturating_add(newlines(taken));
        taken
    }

    fn take_while(&mut self, condition: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !condition(c)).unwrap_or(rest.len());
        self.take(length)
    }

    fn push(&mut self, token: Token, line: u32) {
        self.tokens.push((token, line));
    }

    fn run(&mut self) -> Result<(), PhpError> {
        loop {
            self.take_while(|c| c.is_ascii_whitespace() || c == '\x0b');
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return Ok(());
            };
            if rest.starts_with("?>") {
                return Ok(());
            }
            self.token(first, rest)?;
        }
    }

    fn token(&mut self, first: char, rest: &'a str) -> Result<(), PhpError> {
        let line = self.line;
        match first {
            '#' if rest.starts_with("#[") => {
                self.take(1);
                self.push(Token::Other("an attribute"), line);
            }
            '#' => self.line_comment(),
            '/' if rest.starts_with("//") => self.line_comment(),
            '/' if rest.starts_with("/*") => self.block_comment()?,
            '\'' => {
                let text = self.single_quoted()?;
                self.push(Token::Text(text), line);
            }
            '"' => {
                let token = self.double_quoted()?;
                self.push(token, line);
            }
            '<' if rest.starts_with("<<<") => {
                self.heredoc();
                self.push(Token::Other("a heredoc text"), line);
            }
            '$' => {
                self.take(1);
                let name = self.take_while(is_name).to_owned();
                self.push(Token::Variable(name), line);
            }
            c if c.is_ascii_digit() => self.number(),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number(),
            c if is_name(c) || c == '\\' => {
                let name = self.take_while(|c| is_name(c) || c == '\\').to_owned();
                self.push(Token::Name(name), line);
            }
            _ => match MARKS.iter().find(|mark| rest.starts_with(**mark)) {
                Some(mark) => {
                    self.take(mark.len());
                    self.push(Token::Mark(mark), line);
                }
                None => {
                    self.take(first.len_utf8());
                    self.push(Token::Other("a character that means nothing here"), line);
                }
            },
        }
        Ok(())
    }

    fn line_comment(&mut self) {
        let rest = self.rest();
        let end = rest.find('\n').unwrap_or(rest.len());
        // `?>` ends the code even in a comment
        let end = rest[..end].find("?>").unwrap_or(end);
        self.take(end);
    }

    fn block_comment(&mut self) -> Result<(), PhpError> {
        let line = self.line;
        let inner = &self.rest()[2..];
        let Some(end) = inner.find("*/") else {
            return Err(PhpError {
                line,
                reason: "a comment isn't closed",
            });
        };
        self.take(end + 4);
        Ok(())
    }

    fn unclosed(line: u32) -> PhpError {
        PhpError {
            line,
            reason: "a string isn't closed",
        }
    }

    /// The raw inside of a string, the quotes taken.
    fn quoted(&mut self, quote: char) -> Result<&'a str, PhpError> {
        let line = self.line;
        let inner = &self.rest()[1..];
        let mut escaped = false;
        for (index, c) in inner.char_indices() {
            if !escaped && c == quote {
                self.take(index + 2);
                return Ok(&inner[..index]);
            }
            escaped = !escaped && c == '\\';
        }
        Err(Self::unclosed(line))
    }

    fn single_quoted(&mut self) -> Result<String, PhpError> {
        let raw = self.quoted('\'')?;
        let mut text = String::with_capacity(raw.len());
        let mut chars = raw.chars().peekable();
        while let Some(c) = chars.next() {
            match chars.peek().copied() {
                Some(next @ ('\\' | '\'')) if c == '\\' => {
                    chars.next();
                    text.push(next);
                }
                _ => text.push(c),
            }
        }
        Ok(text)
    }

    fn double_quoted(&mut self) -> Result<Token, PhpError> {
        let raw = self.quoted('"')?;
        Ok(match unescaped(raw) {
            Some(text) => Token::Text(text),
            None => Token::Other("a text with a variable or a wrong escape in it"),
        })
    }

    /// Skips to the line that begins with the text's own end mark.
    fn heredoc(&mut self) {
        let rest = self.rest();
        let mark = rest[3..].trim_start_matches([' ', '\t', '\'', '"']);
        let length = mark.find(|c| !is_name(c)).unwrap_or(mark.len());
        let mark = &mark[..length];
        let mut end = 0;
        for line in rest.split_inclusive('\n') {
            let is_first = end == 0;
            let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
            let ends = line[indent..].strip_prefix(mark);
            if !is_first && ends.is_some_and(|after| !after.starts_with(is_name)) {
                self.take(end + indent + mark.len());
                return;
            }
            end += line.len();
        }
        self.take(end);
    }

    fn number(&mut self) {
        let line = self.line;
        let text = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        // 1e-5
        let is_hex = text.starts_with("0x") || text.starts_with("0X");
        let has_open_exponent = !is_hex && (text.ends_with('e') || text.ends_with('E'));
        let sign_and_digits = match has_open_exponent {
            true if self.rest().starts_with(['+', '-']) => {
                let sign = self.take(1);
                format!("{sign}{}", self.take_while(|c| c.is_ascii_digit()))
            }
            _ => String::new(),
        };
        let text = format!("{text}{sign_and_digits}").replace('_', "");
        let token = number(&text).unwrap_or(Token::Other("a number of an unknown form"));
        self.push(token, line);
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
}

/// A whole number too large for PHP's integers becomes a float, as there.
fn number(text: &str) -> Option<Token> {
    let lower = text.to_ascii_lowercase();
    let radixes = [("0x", 16), ("0b", 2), ("0o", 8)];
    let prefixed = radixes
        .into_iter()
        .find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, radix)));
    let is_octal = || lower.len() > 1 && lower.starts_with('0') && is_digits(&lower);
    let (digits, radix) = match prefixed {
        Some(found) => found,
        None if is_octal() => (&lower[1..], 8),
        None => (lower.as_str(), 10),
    };
    if let Ok(number) = i64::from_str_radix(digits, radix) {
        return Some(Token::Int(number));
    }
    if radix != 10 {
        return None;
    }
    let is_float = |c: char| c.is_ascii_digit() || ".e+-".contains(c);
    let float = lower.chars().all(is_float).then(|| lower.parse().ok())?;
    float.map(Token::Float)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The text in double quotes; `None` if PHP would put a variable in or refuse it.
fn unescaped(raw: &str) -> Option<String> {
    let mut bytes: Vec<u8> = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '\\' => rest = escape(after, &mut bytes)?,
            '$' if after.starts_with(|c: char| {
                c == '{' || c == '_' || (is_name(c) && !c.is_ascii_digit())
            }) =>
            {
                return None;
            }
            '{' if after.starts_with('$') => return None,
            _ => {
                bytes.extend_from_slice(&rest.as_bytes()[..c.len_utf8()]);
                rest = after;
            }
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes what the escape after a backslash means, returns what follows it.
fn escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let Some(first) = text.chars().next() else {
        bytes.push(b'\\');
        return Some(text);
    };
    let simple = match first {
        'n' => Some(b'\n'),
        't' => Some(b'\t'),
        'r' => Some(b'\r'),
        'v' => Some(0x0b),
        'e' => Some(0x1b),
        'f' => Some(0x0c),
        '\\' => Some(b'\\'),
        '$' => Some(b'$'),
        '"' => Some(b'"'),
        _ => None,
    };
    if let Some(byte) = simple {
        bytes.push(byte);
        return Some(&text[1..]);
    }
    if let Some(code) = text.strip_prefix("u{") {
        let (digits, after) = code.split_once('}')?;
        let c = u32::from_str_radix(digits, 16)
            .ok()
            .and_then(char::from_u32)?;
        bytes.extend_from_slice(c.to_string().as_bytes());
        return Some(after);
    }
    let digits = |text: &str, radix: u32, most: usize| {
        let digits = text.chars().take(most).take_while(|c| c.is_digit(radix));
        digits.count()
    };
    let octal = digits(text, 8, 3);
    let hex = text.strip_prefix('x').map_or(0, |text| digits(text, 16, 2));
    let (digits, radix, length) = match (octal, hex) {
        (0, 0) => {
            // no escape: the backslash stays
            bytes.push(b'\\');
            return Some(text);
        }
        (0, hex) => (&text[1..=hex], 16, hex + 1),
        (octal, _) => (&text[..octal], 8, octal),
    };
    let code = u32::from_str_radix(digits, radix).ok()?;
    // \777 overflows a byte in PHP, too
    bytes.push(u8::try_from(code & 0xff).unwrap_or_default());
    Some(&text[length..])
}
