//! Channel names and kinds: which names are valid, and what each kind asks for. Who is subscribed is the directory's business.

use std::{borrow::Borrow, fmt, sync::Arc};

/// Prefix of the channels that belong to one signed-in user (U-10).
const SERVER_TO_USER: &str = "#server-to-user-";
/// Prefix of the names of watchers' channels.
const WATCHERS_OF: &str = "#watchers-of-";

/// Kinds by prefix; the first that matches decides, the final dash belongs to it (S-3).
const PREFIXES: [(&str, ChannelKind); 8] = [
    (
        "private-encrypted-cache-",
        ChannelKind::PrivateEncryptedCache,
    ),
    ("private-encrypted-", ChannelKind::PrivateEncrypted),
    ("private-cache-", ChannelKind::PrivateCache),
    ("private-", ChannelKind::Private),
    ("presence-cache-", ChannelKind::PresenceCache),
    ("presence-", ChannelKind::Presence),
    ("cache-", ChannelKind::Cache),
    (SERVER_TO_USER, ChannelKind::ServerToUser),
];

/// What a channel's prefix makes of it (S-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    Public,
    Cache,
    Private,
    PrivateCache,
    PrivateEncrypted,
    PrivateEncryptedCache,
    Presence,
    PresenceCache,
    /// `#server-to-user-ID` (U-10): belongs to one signed-in user
    ServerToUser,
}

impl ChannelKind {
    /// The kind that `name` has or, if the name is invalid, would have: S-17 depends on it even then.
    pub fn of(name: &str) -> ChannelKind {
        PREFIXES
            .iter()
            .find(|(prefix, _)| name.starts_with(prefix))
            .map_or(ChannelKind::Public, |&(_, kind)| kind)
    }

    /// Whether a subscription must be signed (every private and presence kind).
    pub fn needs_auth(self) -> bool {
        match self {
            ChannelKind::Public | ChannelKind::Cache | ChannelKind::ServerToUser => false,
            ChannelKind::Private
            | ChannelKind::PrivateCache
            | ChannelKind::PrivateEncrypted
            | ChannelKind::PrivateEncryptedCache
            | ChannelKind::Presence
            | ChannelKind::PresenceCache => true,
        }
    }

    /// Whether subscribers are members with an id that others see (part 3).
    pub fn is_presence(self) -> bool {
        matches!(self, ChannelKind::Presence | ChannelKind::PresenceCache)
    }

    /// Whether the last published event is kept for new subscribers (S-20).
    pub fn is_cache(self) -> bool {
        matches!(
            self,
            ChannelKind::Cache
                | ChannelKind::PrivateCache
                | ChannelKind::PrivateEncryptedCache
                | ChannelKind::PresenceCache
        )
    }

    /// Whether its clients decrypt what they receive; such channels get no `pusher:subscription_error` (S-17).
    pub fn is_encrypted(self) -> bool {
        matches!(
            self,
            ChannelKind::PrivateEncrypted | ChannelKind::PrivateEncryptedCache
        )
    }

    /// private-* and presence-* of every sub-kind (E-2)
    pub fn allows_client_events(self) -> bool {
        self.needs_auth()
    }
}

/// A valid channel name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

/// The name breaks S-1 or S-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidChannelName;

impl ChannelName {
    /// `chars_max` applies to all names but user channels, which get the prefix's length on top (U-11).
    pub fn parse(name: &str, chars_max: usize) -> Result<ChannelName, InvalidChannelName> {
        let rest = name.strip_prefix(SERVER_TO_USER).unwrap_or(name);
        // valid characters are ASCII, so bytes are characters
        if rest.is_empty() || rest.len() > chars_max || !rest.bytes().all(is_name_byte) {
            return Err(InvalidChannelName);
        }
        Ok(ChannelName(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn kind(&self) -> ChannelKind {
        ChannelKind::of(&self.0)
    }

    /// `#server-to-user-ID`, for an id that [`is_user_id`] accepts.
    pub fn server_to_user(user_id: &str) -> ChannelName {
        ChannelName(format!("{SERVER_TO_USER}{user_id}").into())
    }

    /// The server's own channel of those who watch a user (U-23). No client and no publisher can name it.
    pub fn watchers_of(user_id: &str) -> ChannelName {
        ChannelName(format!("{WATCHERS_OF}{user_id}").into())
    }

    /// Whether this is the server's own business, not a channel that anybody is told of (U-16).
    pub fn is_internal(&self) -> bool {
        self.0.starts_with('#')
    }

    /// Whether this is the channel of those who watch a user.
    pub fn is_watchers(&self) -> bool {
        self.0.starts_with(WATCHERS_OF)
    }

    /// The user of [`watchers_of`](ChannelName::watchers_of).
    pub fn watched_user(&self) -> Option<&str> {
        self.0.strip_prefix(WATCHERS_OF)
    }

    /// The user whose channel or whose watchers' channel this is.
    pub fn concerned_user(&self) -> Option<&str> {
        self.user_id().or_else(|| self.watched_user())
    }

    /// The ID of `#server-to-user-ID`.
    pub fn user_id(&self) -> Option<&str> {
        self.0.strip_prefix(SERVER_TO_USER)
    }
}

/// Whether a user can have this id (U-2). Its length is limited where it comes in.
pub fn is_user_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(is_name_byte)
}

/// The characters of channel names (S-1) and of the ids of users (U-2, U-11).
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-=@,.;".contains(&byte)
}

/// Lets maps with `ChannelName` keys be asked with a `&str`.
impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::tests::Random;

    fn parse(name: &str) -> Result<ChannelName, InvalidChannelName> {
        ChannelName::parse(name, 200)
    }

    #[test]
    fn s1_characters_of_names() {
        for good in [
            "a",
            "room",
            "private-orders.1",
            "A-Za-z0-9_-=@,.;",
            "-",
            "presence-",
            "private-a=b@c,d;e",
            "user@example.com",
        ] {
            assert_eq!(
                parse(good).map(|name| name.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "",
            " ",
            "a b",
            "a/b",
            "a:b",
            "a\\b",
            "a*",
            "a?b",
            "a\"b",
            "a\nb",
            "a\0",
            "ü",
            "private-🚀",
            "a#b",
            "#",
            "#a",
            "private-#x",
            "#server-to-use-1",
            "a+b",
            "a%20b",
            "(a)",
            "[a]",
            "{a}",
            "a|b",
            "a~b",
            "a!b",
            "a$b",
            "a&b",
            "a'b",
        ] {
            assert_eq!(parse(bad), Err(InvalidChannelName), "{bad:?}");
        }
    }

    #[test]
    fn s2_length_of_names() {
        assert!(parse(&"a".repeat(200)).is_ok());
        assert!(parse(&"a".repeat(201)).is_err());
        assert!(parse(&format!("presence-{}", "a".repeat(191))).is_ok());
        assert!(parse(&format!("presence-{}", "a".repeat(192))).is_err());
        assert!(ChannelName::parse(&"a".repeat(165), 164).is_err());
        assert!(parse(&"a".repeat(1_000_000)).is_err());
    }

    /// name, kind, then: auth, presence, cache, encrypted, client events
    #[test]
    fn s3_kind_by_first_prefix() {
        use ChannelKind::*;
        let check = |name: &str, kind: ChannelKind, asks: &str| {
            assert_eq!(parse(name).expect(name).kind(), kind, "{name}");
            let flags = [
                ('a', kind.needs_auth()),
                ('p', kind.is_presence()),
                ('c', kind.is_cache()),
                ('e', kind.is_encrypted()),
                ('w', kind.allows_client_events()),
            ];
            let has: String = flags.iter().filter(|f| f.1).map(|f| f.0).collect();
            assert_eq!(has, asks, "{name}");
        };
        check("private-encrypted-cache-x", PrivateEncryptedCache, "acew");
        check("private-encrypted-x", PrivateEncrypted, "aew");
        check("private-cache-x", PrivateCache, "acw");
        check("private-x", Private, "aw");
        check("presence-cache-x", PresenceCache, "apcw");
        check("presence-x", Presence, "apw");
        check("cache-x", Cache, "c");
        check("room", Public, "");
        check("#server-to-user-1", ServerToUser, "");
        // the prefix alone is enough
        check("private-", Private, "aw");
        check("private-encrypted-", PrivateEncrypted, "aew");
        check("cache-", Cache, "c");
        // no prefix without its dash, in other case or elsewhere
        for public in [
            "privatefoo",
            "private",
            "Private-foo",
            "PRESENCE-x",
            "presence",
            "presences-x",
            "foo-cache-x",
            "cacheprices",
            "x-private-y",
            "=private-x",
        ] {
            check(public, Public, "");
        }
        check("cache-private-x", Cache, "c");
        check("private-encryptedx", Private, "aw");
        check("private-cachex", Private, "aw");
        check("private-encrypted-cachex", PrivateEncrypted, "aew");
        check("private-presence-x", Private, "aw");
        check("presence-encrypted-x", Presence, "apw");
    }

    #[test]
    fn s17_kind_of_invalid_names() {
        assert_eq!(
            ChannelKind::of("private-encrypted-a b"),
            ChannelKind::PrivateEncrypted
        );
        assert_eq!(ChannelKind::of("private-a b"), ChannelKind::Private);
        assert_eq!(ChannelKind::of(""), ChannelKind::Public);
    }

    #[test]
    fn u10_user_channels_name_their_user() {
        assert_eq!(
            parse("#server-to-user-12345").unwrap().user_id(),
            Some("12345")
        );
        assert_eq!(parse("private-server-to-user-1").unwrap().user_id(), None);
    }

    #[test]
    fn u11_ids_in_user_channels() {
        let check = |id: &str, good| {
            let name = format!("{SERVER_TO_USER}{id}");
            assert_eq!(parse(&name).is_ok(), good, "{id:?}");
        };
        check("user@example.com", true);
        check("a_b-c=d,e.f;g", true);
        check(&"i".repeat(200), true);
        for bad in ["", "a b", "a#b", "ü", "a:b", "#server-to-user-1"] {
            check(bad, false);
        }
        check(&"i".repeat(201), false);
    }

    #[test]
    fn h25_hash_is_for_user_channels_only() {
        assert!(parse("#server-to-user-1").is_ok());
        for bad in [
            "#private-x",
            "#1",
            "#server-to-user",
            "# server-to-user-1",
            "a#server-to-user-1",
        ] {
            assert_eq!(parse(bad), Err(InvalidChannelName), "{bad}");
        }
    }

    #[test]
    fn random_text_never_panics() {
        let mut random = Random(3);
        for _ in 0..20_000 {
            let text = random.text("#server-to-user-private-1@;");
            if let Ok(name) = ChannelName::parse(&text, 30) {
                assert_eq!(name.as_str(), text);
                let _ = (name.kind(), name.user_id());
            }
        }
    }
}
