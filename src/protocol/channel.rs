//! Channel names and kinds (S-1 to S-3).
use std::sync::Arc;

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
    /// Whether a subscription must be signed (every private and presence kind).
    pub fn needs_auth(self) -> bool {
        todo!()
    }
    pub fn is_presence(self) -> bool {
        todo!()
    }
    pub fn is_cache(self) -> bool {
        todo!()
    }
    pub fn is_encrypted(self) -> bool {
        todo!()
    }
    /// private-* and presence-* of every sub-kind (E-2)
    pub fn allows_client_events(self) -> bool {
        todo!()
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
        let _ = (name, chars_max);
        todo!()
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub fn kind(&self) -> ChannelKind {
        todo!()
    }
    /// The ID of `#server-to-user-ID`.
    pub fn user_id(&self) -> Option<&str> {
        todo!()
    }
}
