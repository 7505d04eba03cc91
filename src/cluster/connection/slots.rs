//! Which master of a Redis Cluster a command goes to: by the slot of its key.

use redis::{Arg, Cmd, Pipeline, Value};

use super::servers::Place;

/// Slots of every Redis Cluster.
pub const SLOTS: u16 = 16_384;

/// Where a command must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Slot(u16),
    /// it is about the server itself
    All,
    /// it has no key
    Any,
}

/// A range of slots and its master.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    pub first: u16,
    pub last: u16,
    pub master: Place,
}

/// By what the commands of this program look like: the key comes first, in calls of scripts after the number of keys. What has
/// keys of several slots is refused by the server.
pub fn way(command: &Cmd) -> Way {
    let word = |at: usize| match command.args_iter().nth(at) {
        Some(Arg::Simple(word)) => Some(word),
        _ => None,
    };
    let name = word(0).unwrap_or_default().to_ascii_uppercase();
    let key = match &name[..] {
        b"SCRIPT" | b"HELLO" | b"PING" => return Way::All,
        b"EVAL" | b"EVALSHA" => match word(2) {
            Some(b"0") => None,
            _ => word(3),
        },
        _ => word(1),
    };
    key.map_or(Way::Any, |key| Way::Slot(slot(key)))
}

/// The slot of a key: what is in the first braces, if anything is, decides.
pub fn slot(key: &[u8]) -> u16 {
    let hashed = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let inner = &key[open + 1..];
        let close = inner.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &inner[..close])
    });
    crc16(hashed.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, as the specification of Redis Cluster has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let at = usize::from((crc >> 8) as u8 ^ byte);
        (crc << 8) ^ CRC[at]
    })
}

const CRC: [u16; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = (at as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

/// The answer to `CLUSTER SLOTS`, sorted; `None` if it isn't one. `asked`: a server that doesn't know its own name is the one
/// that was asked.
pub fn parse(answer: &Value, asked: &Place) -> Option<Vec<Range>> {
    let Value::Array(entries) = answer else {
        return None;
    };
    let mut ranges: Vec<Range> = Vec::with_capacity(entries.len());
    for entry in entries {
        let Value::Array(fields) = entry else {
            return None;
        };
        let [
            Value::Int(first),
            Value::Int(last),
            Value::Array(master),
            ..,
        ] = &fields[..]
        else {
            return None;
        };
        let [host, Value::Int(port), ..] = &master[..] else {
            return None;
        };
        let host = match host {
            Value::BulkString(host) if !matches!(&host[..], b"" | b"?") => {
                String::from_utf8(host.clone()).ok()?
            }
            _ => match asked {
                Place::Tcp { host, .. } => host.clone(),
                Place::Unix(_) => return None,
            },
        };
        ranges.push(Range {
            first: u16::try_from(*first).ok()?,
            last: u16::try_from(*last).ok()?,
            master: Place::Tcp {
                host,
                port: u16::try_from(*port).ok()?,
            },
        });
    }
    ranges.sort();
    Some(ranges)
}

/// The numbers of the commands that haven't been done because their slot is on its way to another master, if those can be
/// repeated without overtaking one of the same slot that has been done.
pub fn to_repeat(pipe: &Pipeline, answers: &[Value]) -> Option<Vec<usize>> {
    let is_moving = |answer: &Value| match answer {
        Value::ServerError(error) => matches!(error.code(), "ASK" | "TRYAGAIN"),
        _ => false,
    };
    if !answers.iter().any(is_moving) {
        return None;
    }
    let mut waiting: Vec<(usize, Way)> = Vec::new();
    for (at, (command, answer)) in pipe.cmd_iter().zip(answers).enumerate() {
        let way = way(command);
        match is_moving(answer) {
            true => waiting.push((at, way)),
            false if waiting.iter().any(|(_, other)| *other == way) => return None,
            false => {}
        }
    }
    Some(waiting.into_iter().map(|(at, _)| at).collect())
}

/// The first slot that no master has.
pub fn hole(ranges: &[Range]) -> Option<u16> {
    let mut next = 0;
    for range in ranges {
        if range.first > next {
            return Some(next);
        }
        next = next.max(range.last.saturating_add(1));
    }
    (next < SLOTS).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_slots_that_redis_gives_them() {
        let check = |key: &str, expected: u16| assert_eq!(slot(key.as_bytes()), expected, "{key}");
        check("", 0);
        check("123456789", 0x31c3);
        check("foo", 12_182);
        check("{foo}:state", 12_182);
        check("a{foo}{bar}", 12_182);
        assert_eq!(slot(b"a{}foo"), crc16(b"a{}foo") % SLOTS);
        assert_eq!(slot(b"a{foo"), crc16(b"a{foo") % SLOTS);
    }

    #[test]
    fn commands_go_where_their_first_key_is() {
        let check = |line: &str, expected: Way| {
            let mut words = line.split(' ');
            let mut command = redis::cmd(words.next().unwrap_or_default());
            words.for_each(|word| {
                command.arg(word);
            });
            assert_eq!(way(&command), expected, "{line}");
        };
        check("SADD foo a", Way::Slot(12_182));
        check("evalsha 0123 2 {foo}a {foo}b x", Way::Slot(12_182));
        check("EVALSHA 0123 0 foo", Way::Any);
        check("SSUBSCRIBE foo", Way::Slot(12_182));
        check("SCRIPT LOAD foo", Way::All);
        check("TIME", Way::Any);
    }

    #[test]
    fn maps_are_read_and_holes_are_found() {
        let text = |text: &str| Value::BulkString(text.into());
        let entry = |first: i64, last: i64, host: Value, port: i64| {
            let node = Value::Array(vec![host, Value::Int(port), text("id")]);
            Value::Array(vec![
                Value::Int(first),
                Value::Int(last),
                node.clone(),
                node,
            ])
        };
        let asked = Place::Tcp {
            host: "asked".to_owned(),
            port: 1,
        };
        let shown = |entries: Vec<Value>| {
            let ranges = parse(&Value::Array(entries), &asked)?;
            let texts: Vec<String> = ranges
                .iter()
                .map(|range| format!("{}-{} {}", range.first, range.last, range.master))
                .collect();
            Some((texts.join(", "), hole(&ranges)))
        };
        let check = |entries: Vec<Value>, expected: Option<(&str, Option<u16>)>| {
            let expected = expected.map(|(text, hole)| (text.to_owned(), hole));
            assert_eq!(shown(entries), expected);
        };
        check(vec![], Some(("", Some(0))));
        let upper = || entry(100, 16_383, text("b"), 7);
        check(
            vec![upper(), entry(0, 99, Value::Nil, 7)],
            Some(("0-99 asked:7, 100-16383 b:7", None)),
        );
        check(
            vec![upper(), entry(0, 98, text("?"), 7)],
            Some(("0-98 asked:7, 100-16383 b:7", Some(99))),
        );
        check(vec![entry(0, 9, text("a"), 7)], Some(("0-9 a:7", Some(10))));
        check(vec![entry(0, 70_000, text("a"), 7)], None);
        check(vec![entry(0, 1, text("a"), -1)], None);
        check(vec![Value::Int(1)], None);
    }
}
