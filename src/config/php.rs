//! Reads what a PHP configuration file returns as far as it can be known without running PHP: literals, arrays, `env()` and a
//! few more. What can't be known stays in the tree as [`Value::Unknown`] with its line, so that whoever needs it can say so.
mod functions;
mod lexer;
mod operators;
mod parser;
#[cfg(test)]
mod tests;
mod value;

pub(super) use self::value::{Node, Value};
use parser::Parser;
use std::fmt;

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
    Parser::new(lexer::tokens(source)?, variable).file()
}
