//! One value of a file: its quotes, escapes and comment, and the references in it.
use super::is_space;

pub(super) const UNEXPECTED_SPACE: &str = "unexpected whitespace: a value with spaces, or with text after its quotes, needs quotes round all of it";

pub(super) const UNEXPECTED_ESCAPE: &str =
    "an unexpected escape sequence: in double quotes a backslash takes one of \\ \" $ f n r t v";

pub(super) const MISSING_QUOTE: &str = "a missing closing quote";

/// A value whose references aren't replaced yet.
#[derive(Default)]
pub(super) struct Parsed {
    text: String,
    /// where the `$` are that may begin a reference
    dollars: Vec<usize>,
    pub(super) is_cut: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Initial,
    Unquoted,
    SingleQuoted,
    DoubleQuoted,
    Escape,
    /// after the value
    Space,
    Comment,
}

pub(super) fn parse_value(raw: &str) -> Result<Parsed, &'static str> {
    let mut parsed = Parsed::default();
    let mut state = State::Initial;
    for c in raw.chars() {
        state = match (state, c) {
            (State::Initial, '\'') => State::SingleQuoted,
            (State::Initial, '"') => State::DoubleQuoted,
            (State::Unquoted, '#') => {
                parsed.is_cut = true;
                State::Comment
            }
            (State::Initial | State::Space, '#') => State::Comment,
            (State::Unquoted, c) if is_space(c) => State::Space,
            (State::Initial | State::Unquoted, c) => parsed.push(c, State::Unquoted),
            (State::SingleQuoted, '\'') | (State::DoubleQuoted, '"') => State::Space,
            (State::SingleQuoted, c) => {
                parsed.text.push(c);
                state
            }
            (State::DoubleQuoted, '\\') => State::Escape,
            (State::DoubleQuoted, c) => parsed.push(c, state),
            (State::Escape, c) => {
                parsed.text.push(escaped(c).ok_or(UNEXPECTED_ESCAPE)?);
                State::DoubleQuoted
            }
            (State::Space, c) if is_space(c) => state,
            (State::Space, _) => return Err(UNEXPECTED_SPACE),
            (State::Comment, _) => state,
        };
    }
    match state {
        State::SingleQuoted | State::DoubleQuoted | State::Escape => Err(MISSING_QUOTE),
        _ => Ok(parsed),
    }
}

fn escaped(c: char) -> Option<char> {
    Some(match c {
        '"' | '\\' | '$' => c,
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        _ => return None,
    })
}

impl Parsed {
    fn push(&mut self, c: char, state: State) -> State {
        if c == '$' {
            self.dollars.push(self.text.len());
        }
        self.text.push(c);
        state
    }

    /// Replaces references, the last one first, so that what one yields can be part of the name in another. `None` if that
    /// makes more than `room` bytes.
    pub(super) fn resolved<'a>(
        &self,
        known: impl Fn(&str) -> Option<&'a String>,
        room: usize,
    ) -> Option<String> {
        // what is done of the tail, backwards: its front is where things are put in and taken out
        let mut tail: Vec<u8> = Vec::new();
        let mut end = self.text.len();
        for start in self.dollars.iter().rev().copied() {
            tail.extend(self.text.as_bytes()[start..end].iter().rev());
            end = start;
            if let Some(name) = reference(&tail)
                && let Some(value) = known(&name)
            {
                // `${NAME}`
                tail.truncate(tail.len() - name.len() - 3);
                tail.extend(value.bytes().rev());
            }
            if tail.len() > room {
                return None;
            }
        }
        tail.extend(self.text.as_bytes()[..end].iter().rev());
        tail.reverse();
        let text = String::from_utf8_lossy(&tail).into_owned();
        (text.len() <= room).then_some(text)
    }
}

/// The name in `${NAME}` that the reversed text begins with.
fn reference(reversed: &[u8]) -> Option<String> {
    let mut bytes = reversed.iter().rev().copied();
    if (bytes.next(), bytes.next()) != (Some(b'$'), Some(b'{')) {
        return None;
    }
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'.';
    let name: String = bytes.by_ref().take_while(is_part).map(char::from).collect();
    let closing = reversed.len().checked_sub(name.len() + 3)?;
    (!name.is_empty() && reversed.get(closing) == Some(&b'}')).then_some(name)
}
