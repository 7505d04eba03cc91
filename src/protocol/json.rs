//! JSON at the edge: what is refused before anything is read from a message, and strings in and out.
//! Nothing here builds values: data of clients and publishers passes as the text it came as.

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// Whether `text` is JSON that every receiver can read: well-formed, nested less than 128 deep, no lone surrogates, no
/// number beyond a 64-bit float's range. Never recurses deeper than that; allocates only for strings with escapes.
pub fn is_well_formed(text: &str) -> bool {
    serde_json::from_str::<Discard>(text).is_ok()
}

/// Whether the (well-formed) `text` is an object. Needed because derived `Deserialize` also reads structs from arrays.
pub(crate) fn is_object(text: &str) -> bool {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
        .starts_with('{')
}

/// The text of a JSON string; `None` if `raw` is any other value or holds a lone surrogate.
pub fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let token = raw.get();
    let inside = token.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        serde_json::from_str(token).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inside))
    }
}

/// Appends `text` to `out` as the inside of a JSON string (no quotes around it).
pub fn escape_into(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let Some(escape) = short_escape(byte) else {
            continue;
        };
        out.push_str(&text[copied..at]);
        copied = at + 1;
        out.push('\\');
        out.push(escape);
        if escape == 'u' {
            out.push_str("00");
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out.push_str(&text[copied..]);
}

/// Bytes that [`escape_into`] will append.
pub(crate) fn escaped_len(text: &str) -> usize {
    let added = |byte| match short_escape(byte) {
        None => 0,
        Some('u') => 5,
        Some(_) => 1,
    };
    text.len() + text.bytes().map(added).sum::<usize>()
}

/// `text` as a JSON string token, quotes included.
pub(crate) fn quoted(text: &str) -> String {
    let mut token = String::with_capacity(escaped_len(text) + 2);
    token.push('"');
    escape_into(&mut token, text);
    token.push('"');
    token
}

/// What follows the backslash when `byte` cannot stand in a JSON string as it is; `u` calls for four hex digits.
fn short_escape(byte: u8) -> Option<char> {
    match byte {
        b'"' => Some('"'),
        b'\\' => Some('\\'),
        0x08 => Some('b'),
        0x0c => Some('f'),
        b'\n' => Some('n'),
        b'\r' => Some('r'),
        b'\t' => Some('t'),
        0..0x20 => Some('u'),
        _ => None,
    }
}

/// Any JSON value, read and forgotten. Unlike `IgnoredAny` it makes serde_json decode strings, which is where lone
/// surrogates are found, and descend by calls, which is where its depth limit applies.
struct Discard;

impl<'de> Deserialize<'de> for Discard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Discard, D::Error> {
        deserializer.deserialize_any(Discard)
    }
}

impl<'de> Visitor<'de> for Discard {
    type Value = Discard;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<Discard, E> {
        Ok(Discard)
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<Discard, E> {
        Ok(Discard)
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<Discard, E> {
        Ok(Discard)
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<Discard, E> {
        Ok(Discard)
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<Discard, E> {
        Ok(Discard)
    }
    fn visit_unit<E: Error>(self) -> Result<Discard, E> {
        Ok(Discard)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Discard, A::Error> {
        while items.next_element::<Discard>()?.is_some() {}
        Ok(Discard)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Discard, A::Error> {
        while members.next_entry::<Discard, Discard>()?.is_some() {}
        Ok(Discard)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Pseudo-random numbers (xorshift), the same in every run: what parsers are fed with.
    pub(crate) struct Random(pub u64);

    impl Random {
        pub(crate) fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }
        /// Up to 40 characters, mostly those of `alphabet`.
        pub(crate) fn text(&mut self, alphabet: &str) -> String {
            let letters: Vec<char> = alphabet.chars().collect();
            (0..self.next() % 40)
                .map(|_| match self.next() {
                    n if n % 8 == 0 => char::from_u32((n >> 8) as u32 % 0x11_0000).unwrap_or('x'),
                    n => letters[(n >> 8) as usize % letters.len()],
                })
                .collect()
        }
    }

    #[test]
    fn c24_what_is_json() {
        let check = |text: &str, expected| assert_eq!(is_well_formed(text), expected, "{text:?}");
        for good in [
            "null",
            "true",
            "0",
            "-1.5e3",
            "\"\"",
            "[]",
            "{}",
            " {\"a\" : [1, \"x\", null] } ",
            "12345678901234567890123456789",
            r#""\ud83d\ude80""#,
            r#""\u0000""#,
            "\"ü🚀\"",
            r#"{"a":1,"a":2}"#,
        ] {
            check(good, true);
        }
        for bad in [
            "",
            " ",
            "nul",
            "{",
            "}",
            "[1,]",
            "{\"a\"}",
            "{a:1}",
            "01",
            "1.",
            "+1",
            "NaN",
            "1e999",
            "'a'",
            "\"a",
            "{} x",
            "\"\n\"",
            "\"\u{1}\"",
            r#""\x""#,
            r#""\u12""#,
            "\u{feff}{}",
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\ud800""#,
            r#""\ud800x""#,
            r#"{"\ud800":1}"#,
            r#"[{"a":"\ud800"}]"#,
        ] {
            check(bad, false);
        }
    }

    #[test]
    fn c24_deep_nesting_is_refused_without_recursion() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(is_well_formed(&nested(127)));
        assert!(!is_well_formed(&nested(128)));
        for open in ["[", "{\"a\":", "[{\"a\":"] {
            assert!(!is_well_formed(&open.repeat(50_000)), "{open}");
        }
        assert!(!is_well_formed(&nested(50_000)));
    }

    #[test]
    fn random_text_never_panics() {
        let mut random = Random(0x5eed);
        for _ in 0..20_000 {
            let text = random.text("{}[]\":,\\ud8019eE+-. ntrfalse");
            let own_verdict = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            assert_eq!(is_well_formed(&text), own_verdict, "{text:?}");
        }
    }

    #[test]
    fn escaping_is_undone_by_decoding() {
        let check = |text: &str, expected: &str| {
            assert_eq!(quoted(text), expected);
            assert_eq!(serde_json::from_str::<String>(expected).unwrap(), text);
        };
        check("", r#""""#);
        check("plain", r#""plain""#);
        check("a\"b\\c/d", r#""a\"b\\c/d""#);
        check("\n\r\t\u{8}\u{c}", r#""\n\r\t\b\f""#);
        check("\0\u{1f}\u{7f}", "\"\\u0000\\u001f\u{7f}\"");
        check("Žofie 🚀", "\"Žofie 🚀\"");
        let mut random = Random(7);
        for _ in 0..5_000 {
            let text = random.text("\"\\\n\u{0}\u{1f}aü🚀");
            let token = quoted(&text);
            assert_eq!(token.len(), escaped_len(&text) + 2);
            assert_eq!(serde_json::from_str::<String>(&token).unwrap(), text);
        }
    }

    #[test]
    fn strings_are_decoded_and_borrowed_where_possible() {
        let check = |json: &str, expected: Option<&str>| {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(string(raw).as_deref(), expected, "{json}");
        };
        check(r#""""#, Some(""));
        check(r#""a""#, Some("a"));
        check(r#""\u00fc\/\"""#, Some("ü/\""));
        check(r#""\ud800""#, None);
        for other in ["1", "null", "true", "{}", "[\"a\"]"] {
            check(other, None);
        }
        let raw: &RawValue = serde_json::from_str("\"a\"").unwrap();
        assert!(matches!(string(raw), Some(Cow::Borrowed(_))));
    }
}
