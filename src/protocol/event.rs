//! What an event carries: its data, byte for byte. Never parsed and written again.

use super::json;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The `data` of an event as a JSON string token (with its quotes), ready to be put into a frame: a string keeps the exact
/// token it came as (S-28); any other JSON value becomes a string of its raw text (E-7, H-20).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventData<'a> {
    token: Cow<'a, str>,
    /// bytes of the decoded string
    bytes: usize,
}

impl<'a> EventData<'a> {
    /// From a JSON value whose text has passed [`super::json::is_well_formed`].
    pub fn from_json(raw: &'a RawValue) -> EventData<'a> {
        let text = raw.get();
        if text.starts_with('"') {
            EventData {
                token: Cow::Borrowed(text),
                bytes: decoded_len(text),
            }
        } else {
            EventData::from_text(text)
        }
    }

    /// From plain text (query parameters, bodies of the legacy endpoint).
    pub fn from_text(text: &str) -> EventData<'static> {
        EventData {
            token: Cow::Owned(json::quoted(text)),
            bytes: text.len(),
        }
    }

    /// JSON `null`, for client events without data (E-5): the string `null`.
    pub fn null() -> EventData<'static> {
        EventData {
            token: Cow::Borrowed("\"null\""),
            bytes: 4,
        }
    }

    /// The JSON string token, quotes included.
    pub fn as_json(&self) -> &str {
        &self.token
    }

    /// Length in bytes of the string that receivers get (L-3, L-8).
    pub fn len_bytes(&self) -> usize {
        self.bytes
    }

    pub fn into_owned(self) -> EventData<'static> {
        EventData {
            token: Cow::Owned(self.token.into_owned()),
            bytes: self.bytes,
        }
    }
}

/// Bytes of UTF-8 that a JSON string token stands for, counted without decoding it: nearly all data is JSON in a string and
/// so full of escapes.
fn decoded_len(token: &str) -> usize {
    let mut rest = token.as_bytes();
    rest = rest.strip_prefix(b"\"").unwrap_or(rest);
    rest = rest.strip_suffix(b"\"").unwrap_or(rest);
    let mut len = 0;
    while let Some(escape) = rest.iter().position(|&byte| byte == b'\\') {
        let (decoded, taken) = match rest.get(escape + 1..escape + 6) {
            Some([b'u', digits @ ..]) => (utf8_len(digits), 6),
            _ => (1, 2),
        };
        len += escape + decoded;
        rest = rest.get(escape + taken..).unwrap_or_default();
    }
    len + rest.len()
}

/// Bytes of the character that `\u` and these four digits stand for. The two halves of a surrogate pair have two each.
fn utf8_len(digits: &[u8]) -> usize {
    let code = digits.iter().fold(0, |code, &digit| {
        code * 16 + char::from(digit).to_digit(16).unwrap_or(0)
    });
    match code {
        0..0x80 => 1,
        0x80..0x800 | 0xd800..0xe000 => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::tests::Random;

    fn data(json: &str) -> EventData<'_> {
        EventData::from_json(serde_json::from_str(json).expect(json))
    }

    #[test]
    fn s28_a_string_keeps_its_token() {
        let check = |token: &str| {
            let data = data(token);
            assert_eq!(data.as_json(), token);
            assert!(matches!(data.token, Cow::Borrowed(_)));
            let decoded: String = serde_json::from_str(token).unwrap();
            assert_eq!(data.len_bytes(), decoded.len(), "{token}");
            assert_eq!(data.clone().into_owned(), data);
        };
        for token in [
            r#""""#,
            r#""plain text""#,
            r#""{\"some\":\"data\"}""#,
            r#""\u00fc\/\u20ac\ud83d\ude80\u0041\u0000""#,
            r#""\"""#,
            r#""\\""#,
            r#""\\u00fc""#,
            r#""\\\u00fc""#,
            "\"ü€🚀\"",
            r#""a\n""#,
            r#""\u005C""#,
        ] {
            check(token);
        }
    }

    #[test]
    fn s23_ciphertext_is_untouched() {
        let token = r#""{\"nonce\":\"YWJj\",\"ciphertext\":\"4qrTajrj5+f+OBCl6EXk5C8a==\"}""#;
        assert_eq!(data(token).as_json(), token);
    }

    #[test]
    fn e7_other_values_become_strings_of_their_raw_text() {
        let check = |json: &str, string: &str| {
            let data = data(json);
            let received: String = serde_json::from_str(data.as_json()).unwrap();
            assert_eq!(received, string);
            assert_eq!(data.len_bytes(), string.len());
        };
        check("{}", "{}");
        check("null", "null");
        check("true", "true");
        check("1.50e+2", "1.50e+2");
        check("12345678901234567890123", "12345678901234567890123");
        check(r#"{"b":1,"a":[2, 3],"b":4}"#, r#"{"b":1,"a":[2, 3],"b":4}"#);
        check("[ \"\\u00fc\" ,\n1]", "[ \"\\u00fc\" ,\n1]");
        check(" {\"on\":true} ", "{\"on\":true}");
        assert_eq!(data(r#"{"on":true}"#).as_json(), r#""{\"on\":true}""#);
    }

    #[test]
    fn e5_absent_data_is_the_string_null() {
        assert_eq!(EventData::null(), data("null"));
    }

    #[test]
    fn h20_plain_text() {
        let data = EventData::from_text("{\"some\":\"data\"}\n");
        assert_eq!(data.as_json(), r#""{\"some\":\"data\"}\n""#);
        assert_eq!(data.len_bytes(), 16);
    }

    #[test]
    fn lengths_of_random_strings() {
        let mut random = Random(28);
        let mut strings = 0;
        for _ in 0..50_000 {
            let token = format!("\"{}\"", random.text("\\\\\\uuud8dc0eb\"n/aü"));
            assert!(decoded_len(&token) <= token.len());
            if let Ok(decoded) = serde_json::from_str::<String>(&token) {
                strings += 1;
                assert_eq!(decoded_len(&token), decoded.len(), "{token}");
            }
        }
        assert!(strings > 100);
    }
}
