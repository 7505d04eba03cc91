//! Error and close codes with their texts, and what clients do on them (C-24 to C-33).
use thiserror::Error;

/// Why the server ends a connection: `pusher:error` and close frame carry the same code and text (C-30).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    TlsOnly,             // 4000
    AppDoesNotExist,     // 4001
    AppDisabled,         // 4003
    OverConnectionQuota, // 4004
    PathNotFound,        // 4005
    UnsupportedProtocol, // 4007
    OriginNotAllowed,    // 4009
    OverCapacity,        // 4100 node full
    SlowConsumer,        // 4100, text "Over capacity" (C-35)
    RateLimited,         // 4100, text "Rate limit exceeded" (C-32)
    ServerClosing,       // 4200
    PongTimeout,         // 4201
}
impl CloseReason {
    pub fn code(self) -> u16 {
        todo!()
    }
    pub fn message(self) -> &'static str {
        todo!()
    }
}

/// What was wrong with a client's message; the connection stays open (C-29). `Display` is the text of `pusher:error`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    #[error("Received invalid JSON")]
    InvalidJson,
    #[error("Invalid message format")]
    InvalidFormat,
    // ... the rest: Unsupported(String), MissingChannel, ExistingSubscription(String), client event errors (E-2..E-5, E-10, E-11), RateLimited
}
impl ClientError {
    /// `None` = JSON null; 4301 for the client event limits and switches.
    pub fn code(&self) -> Option<u16> {
        todo!()
    }
}

/// Why a subscription failed (S-17). `Display` is the message of both frames.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubscribeError {
    #[error("Invalid channel name: {0}")]
    InvalidChannelName(String),
    // ... InvalidSignature{string_to_sign, signature}, InvalidKey(String), MissingChannelData(String), InvalidChannelData(String),
    // ServerToUser(String), MembersLimit, UserInfoLimit{kb}, ChannelsLimit{max}
}
impl SubscribeError {
    /// `AuthError`, `LimitReached` or `InvalidRequest`
    pub fn kind(&self) -> &'static str {
        todo!()
    }
    /// 401, 413 or 400
    pub fn status(&self) -> u16 {
        todo!()
    }
}
