//! Presence members: who a connection is on a presence channel. Reads `channel_data`; the list of members is the directory's.

use super::json;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, sync::Arc};

/// A member of a presence channel, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// always text: a numeric id in its decimal form (P-1)
    pub user_id: Arc<str>,
    /// raw JSON text of user_info, `{}` when absent or null
    pub user_info: Arc<str>,
}

/// What a member may bring along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberLimits {
    pub user_id_chars_max: usize,
    pub user_info_bytes_max: usize,
}

/// Why `channel_data` names no member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberError {
    /// unparsable, or no usable user_id (also too long, P-13)
    Invalid,
    /// P-14
    UserInfoTooLarge,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    user_info: Option<&'a RawValue>,
}

impl Member {
    /// Reads `channel_data` (P-1). A `user_info` of any type passes as the text it came as.
    pub fn parse(channel_data: &str, limits: MemberLimits) -> Result<Member, MemberError> {
        let fields = fields(channel_data).ok_or(MemberError::Invalid)?;
        let user_id = fields.user_id.and_then(user_id);
        let user_info = fields.user_info.map_or("{}", RawValue::get);
        Member {
            user_id: user_id.ok_or(MemberError::Invalid)?.into(),
            user_info: user_info.into(),
        }
        .within(limits)
    }

    /// The member, if it keeps the limits (P-13, P-14).
    pub fn within(self, limits: MemberLimits) -> Result<Member, MemberError> {
        if self.user_id.chars().count() > limits.user_id_chars_max {
            return Err(MemberError::Invalid);
        }
        if self.user_info.len() > limits.user_info_bytes_max {
            return Err(MemberError::UserInfoTooLarge);
        }
        Ok(self)
    }
}

/// `None` for everything that is no object or has one of the two members twice.
fn fields(channel_data: &str) -> Option<Fields<'_>> {
    if !json::is_well_formed(channel_data) || !json::is_object(channel_data) {
        return None;
    }
    serde_json::from_str(channel_data).ok()
}

/// A string that isn't empty, or an integer of any size as it is written: a float would change large ones.
fn user_id(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Cow::Borrowed(text));
    }
    json::string(raw).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::tests::Random;

    const LIMITS: MemberLimits = MemberLimits {
        user_id_chars_max: 128,
        user_info_bytes_max: 10_240,
    };

    fn parse(channel_data: &str) -> Result<Member, MemberError> {
        Member::parse(channel_data, LIMITS)
    }

    fn check(channel_data: &str, user_id: &str, user_info: &str) {
        let expected = Member {
            user_id: user_id.into(),
            user_info: user_info.into(),
        };
        assert_eq!(parse(channel_data), Ok(expected), "{channel_data}");
    }

    #[test]
    fn p1_ids_are_text() {
        check(r#"{"user_id":"10"}"#, "10", "{}");
        check(r#"{"user_id":10}"#, "10", "{}");
        check(r#"{"user_id":0}"#, "0", "{}");
        check(r#"{"user_id":-5}"#, "-5", "{}");
        check(
            r#"{"user_id":123456789012345678901234567890}"#,
            "123456789012345678901234567890",
            "{}",
        );
        check(r#"{"user_id":9007199254740993}"#, "9007199254740993", "{}");
        check(r#"{"user_id":"\u00fc-1"}"#, "ü-1", "{}");
        check(r#" { "user_id" : "a b" , "extra" : [1] } "#, "a b", "{}");
        check(r#"{"user_id":"a\"b"}"#, "a\"b", "{}");
    }

    #[test]
    fn p1_unusable_ids_are_refused() {
        for id in [
            "\"\"",
            "null",
            "true",
            "false",
            "1.0",
            "1e3",
            "1E3",
            "-1.5",
            "0.5",
            "[]",
            "[1]",
            "{}",
            r#"{"id":1}"#,
            "01",
            "+1",
            "-",
            r#""\ud800""#,
        ] {
            let text = format!(r#"{{"user_id":{id},"user_info":{{}}}}"#);
            assert_eq!(parse(&text), Err(MemberError::Invalid), "{text}");
        }
    }

    #[test]
    fn p1_user_info_passes_as_it_came() {
        let with = |info: &str| format!(r#"{{"user_id":"1","user_info":{info}}}"#);
        check(&with("null"), "1", "{}");
        for info in [
            "{}",
            r#"{"name":"Mr. Channels"}"#,
            r#"{"name":"Zo\/\u00e9", "n":1.50}"#,
            r#"{"b":1,"a":2,"b":3}"#,
            "\"Ann\"",
            "[]",
            "5",
            "true",
        ] {
            check(&with(info), "1", info);
        }
        assert_eq!(
            parse(&with(r#"{"name":"\ud800"}"#)),
            Err(MemberError::Invalid)
        );
    }

    #[test]
    fn p1_nonsense_is_refused() {
        for text in [
            "",
            "null",
            "5",
            "\"x\"",
            "[]",
            "{}",
            r#"["1",{}]"#,
            r#"["1"]"#,
            "{\"user_id\":\"1\"",
            r#"{"user_id":"1"} x"#,
            r#"{"user_id":"1","user_id":"2"}"#,
            r#"{"user_info":{}}"#,
            r#"{"userId":"1"}"#,
            r#"{"user_id":"1","x":"\udc00"}"#,
        ] {
            assert_eq!(parse(text), Err(MemberError::Invalid), "{text}");
        }
        for open in ["[", "{\"a\":"] {
            let deep = format!(r#"{{"user_id":"1","user_info":{}"#, open.repeat(50_000));
            assert_eq!(parse(&deep), Err(MemberError::Invalid));
        }
        let deep = "[".repeat(50_000) + &"]".repeat(50_000);
        let deep = format!(r#"{{"user_id":"1","user_info":{deep}}}"#);
        assert_eq!(parse(&deep), Err(MemberError::Invalid));
    }

    #[test]
    fn p13_length_of_ids_in_characters() {
        let id = |count: usize| format!(r#"{{"user_id":"{}"}}"#, "ü".repeat(count));
        assert!(parse(&id(128)).is_ok());
        assert_eq!(parse(&id(129)), Err(MemberError::Invalid));
        assert!(parse(&format!(r#"{{"user_id":{}}}"#, "1".repeat(128))).is_ok());
        assert_eq!(
            parse(&format!(r#"{{"user_id":{}}}"#, "1".repeat(129))),
            Err(MemberError::Invalid)
        );
    }

    #[test]
    fn p14_size_of_user_info_in_bytes() {
        let info = |bytes: usize| {
            format!(
                r#"{{"user_id":"1","user_info":"{}"}}"#,
                "ü".repeat((bytes - 2) / 2)
            )
        };
        assert!(parse(&info(10_240)).is_ok());
        assert_eq!(parse(&info(10_242)), Err(MemberError::UserInfoTooLarge));
    }

    #[test]
    fn random_text_never_panics() {
        let mut random = Random(1);
        for _ in 0..20_000 {
            let text = random.text("{}\"\\:,-1.e0ud8[]");
            let _ = parse(&format!(r#"{{"user_id":{text}}}"#));
            let _ = parse(&text);
        }
    }
}
