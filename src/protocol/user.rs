//! Users: who a connection signs in as. Reads `user_data`; who is online is the directory's.

use super::{channel::is_user_id, json, presence::Member};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{collections::HashSet, sync::Arc};

/// A signed-in user (U-2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: Arc<str>,
    /// raw JSON text of user_info, `{}` when absent or null
    pub user_info: Arc<str>,
    /// ids whose coming and going the user wants to know of, each once, at most as many as allowed (U-24)
    pub watchlist: Vec<Arc<str>>,
    /// the list was longer than allowed
    pub is_watchlist_cut: bool,
}

/// `user_data` that names no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUserData;

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    user_info: Option<&'a RawValue>,
    #[serde(borrow)]
    watchlist: Option<&'a RawValue>,
}

impl User {
    /// Reads `user_data` (U-2): an object with an `id` that is a string of the characters of U-2 and at most
    /// `id_chars_max` long, an optional `user_info` object, an optional `watchlist` of strings, of which the first
    /// `watchlist_max` are used (U-24). Ids that nobody can have are watched by nobody and left out.
    pub fn parse(
        user_data: &str,
        id_chars_max: usize,
        watchlist_max: usize,
    ) -> Result<User, InvalidUserData> {
        if !json::is_well_formed(user_data) || !json::is_object(user_data) {
            return Err(InvalidUserData);
        }
        let fields: Fields<'_> = serde_json::from_str(user_data).map_err(|_| InvalidUserData)?;
        let is_usable = |id: &str| is_user_id(id) && id.len() <= id_chars_max;
        let id = fields
            .id
            .and_then(json::string)
            .filter(|id| is_usable(id))
            .ok_or(InvalidUserData)?;
        let user_info = match fields.user_info.map(RawValue::get) {
            None => "{}",
            Some(info) if info.starts_with('{') => info,
            Some(_) => return Err(InvalidUserData),
        };
        let watched: Vec<String> = match fields.watchlist {
            None => Vec::new(),
            Some(list) => serde_json::from_str(list.get()).map_err(|_| InvalidUserData)?,
        };
        let mut seen = HashSet::new();
        let watchlist = watched.iter().take(watchlist_max);
        Ok(User {
            id: id.into(),
            user_info: user_info.into(),
            watchlist: watchlist
                .filter(|id| is_usable(id) && seen.insert(id.as_str()))
                .map(|id| id.as_str().into())
                .collect(),
            is_watchlist_cut: watched.len() > watchlist_max,
        })
    }

    /// The user as a presence member, where a subscription brings no `channel_data` (P-2).
    pub fn as_member(&self) -> Member {
        Member {
            user_id: self.id.clone(),
            user_info: self.user_info.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(user_data: &str, expected: Option<(&str, &str, &[&str])>) {
        let user = User::parse(user_data, 128, 3).ok();
        let found = user.as_ref().map(|user| {
            let watchlist: Vec<&str> = user.watchlist.iter().map(|id| &**id).collect();
            (&*user.id, &*user.user_info, watchlist)
        });
        let expected = expected.map(|(id, info, list)| (id, info, list.to_vec()));
        assert_eq!(found, expected, "{user_data}");
    }

    #[test]
    fn u2_user_data() {
        check(r#"{"id":"12345"}"#, Some(("12345", "{}", &[])));
        // V-14
        check(
            r#"{"id":"u-1","user_info":{"name":"Ann"},"watchlist":["u-2","u-3"]}"#,
            Some(("u-1", r#"{"name":"Ann"}"#, &["u-2", "u-3"])),
        );
        // V-15
        check(
            r#"{"id":"user@example.com","other":[1]}"#,
            Some(("user@example.com", "{}", &[])),
        );
        check(
            r#"{"id":"a","user_info":null,"watchlist":null}"#,
            Some(("a", "{}", &[])),
        );
        check(
            r#"{"id":"a","watchlist":["b","b","no such id!","c","d"]}"#,
            Some(("a", "{}", &["b"])),
        );
    }

    #[test]
    fn u2_refused_user_data() {
        for refused in [
            "",
            "{}",
            "[]",
            "null",
            "\"12345\"",
            r#"{"id":12345}"#,
            r#"{"id":""}"#,
            r#"{"id":null}"#,
            r#"{"id":["1"]}"#,
            r#"{"id":"a b"}"#,
            r#"{"id":"a#b"}"#,
            r#"{"id":"ü"}"#,
            r#"{"id":"a","id":"b"}"#,
            r#"{"id":"a","user_info":"Ann"}"#,
            r#"{"id":"a","watchlist":"b"}"#,
            r#"{"id":"a","watchlist":[1]}"#,
            r#"{"id":"a","watchlist":["\ud800"]}"#,
        ] {
            check(refused, None);
        }
        check(&format!(r#"{{"id":"{}"}}"#, "x".repeat(129)), None);
        let deep = format!(r#"{{"id":"a","x":{}}}"#, "[".repeat(50_000));
        check(&deep, None);
    }

    #[test]
    fn u24_a_watchlist_is_cut() {
        let cut = |list: &str| {
            let user = User::parse(&format!(r#"{{"id":"a","watchlist":[{list}]}}"#), 128, 2);
            let user = user.expect("a user");
            (user.watchlist.len(), user.is_watchlist_cut)
        };
        assert_eq!(cut(r#""b","c""#), (2, false));
        assert_eq!(cut(r#""b","c","d""#), (2, true));
    }
}
