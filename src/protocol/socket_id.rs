//! SocketId: the name of a connection that clients hand to their backend, and backends to the HTTP API.

use std::fmt;

/// The id of a connection: two unsigned decimal integers joined by a dot (C-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId {
    first: u32,
    second: u32,
}

/// The text has not the form `^\d+\.\d+$`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSocketId;

impl SocketId {
    /// An id that a client may be given: both numbers must lie in 1..=1_000_000_000 (C-14); the caller brings the randomness.
    pub const fn new(first: u32, second: u32) -> SocketId {
        SocketId { first, second }
    }

    /// Accepts `^\d+\.\d+$`. Ids this server never gives out (leading zeros, numbers beyond u32) are valid in form and
    /// become `0.0`, which no connection has (H-24: an unknown id is ignored).
    pub fn parse(text: &str) -> Result<SocketId, InvalidSocketId> {
        let (first, second) = text.split_once('.').ok_or(InvalidSocketId)?;
        if !is_digits(first) || !is_digits(second) {
            return Err(InvalidSocketId);
        }
        Ok(match (own_number(first), own_number(second)) {
            (Some(first), Some(second)) => SocketId { first, second },
            _ => SocketId::new(0, 0),
        })
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The number, if this server would write it the same way.
fn own_number(digits: &str) -> Option<u32> {
    if digits.starts_with('0') {
        return None;
    }
    digits.parse().ok()
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.first, self.second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::tests::Random;

    #[test]
    fn c14_form_of_socket_ids() {
        assert_eq!(SocketId::new(1, 1_000_000_000).to_string(), "1.1000000000");
        let check = |text: &str, expected| assert_eq!(SocketId::parse(text), expected, "{text:?}");
        check("1234.1234", Ok(SocketId::new(1234, 1234)));
        check(
            "123456789.987654321",
            Ok(SocketId::new(123_456_789, 987_654_321)),
        );
        for bad in [
            "", ".", "1", "1.", ".1", "1.2.3", "1,2", "-1.2", "1.-2", "+1.2", " 1.2", "1.2 ",
            "1.2\n", "a.b", "1.0x1", "١.٢", "null", "1e3.1",
        ] {
            check(bad, Err(InvalidSocketId));
        }
    }

    #[test]
    fn h24_foreign_ids_are_valid_and_belong_to_nobody() {
        for foreign in [
            "0.0",
            "01.5",
            "5.01",
            "0.5",
            "4294967296.1",
            "1.99999999999999999999999999",
        ] {
            assert_eq!(
                SocketId::parse(foreign),
                Ok(SocketId::new(0, 0)),
                "{foreign}"
            );
        }
    }

    #[test]
    fn random_text_never_panics() {
        let mut random = Random(14);
        for _ in 0..20_000 {
            let text = random.text("0123456789.");
            if let Ok(id) = SocketId::parse(&text) {
                assert!(id == SocketId::new(0, 0) || id.to_string() == text);
            }
        }
    }
}
