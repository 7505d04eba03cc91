//! Channel names: valid are exactly those of the rules, here in other words than in the parser.

use crate::protocol::channel::{ChannelKind, ChannelName};

/// The first byte is the limit, the rest the name.
pub fn channel_name(data: &[u8]) {
    let Some((&chars_max, name)) = data.split_first() else {
        return;
    };
    let chars_max = usize::from(chars_max);
    let name = String::from_utf8_lossy(name);
    let _ = ChannelKind::of(&name);

    let bare = name.strip_prefix("#server-to-user-").unwrap_or(&name);
    let allowed = |c: char| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9') || "_-=@,.;".contains(c);
    let is_valid = (1..=chars_max).contains(&bare.chars().count()) && bare.chars().all(allowed);
    let parsed = ChannelName::parse(&name, chars_max);
    assert_eq!(parsed.is_ok(), is_valid, "{name:?}");

    let Ok(parsed) = parsed else {
        return;
    };
    assert_eq!(parsed.as_str(), name);
    assert_eq!(parsed.to_string(), name);
    let kind = parsed.kind();
    let begins = |prefix| name.starts_with(prefix);
    assert_eq!(kind.needs_auth(), begins("private-") || begins("presence-"));
    assert_eq!(kind.is_presence(), begins("presence-"));
    assert_eq!(kind.is_encrypted(), begins("private-encrypted-"));
    assert_eq!(parsed.user_id().is_some(), bare != name);
    assert!(
        !parsed.is_watchers(),
        "a client can't name the server's own channels"
    );
}
