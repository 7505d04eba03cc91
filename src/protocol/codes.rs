//! Error and close codes with their texts, and what clients do on them. Every text that names something a client sent shows
//! a bounded part of it.
//!
//! What a close code makes clients do (C-31): 4000 reconnect with TLS; 4001–4099 stay away; 4100–4199 come back after a
//! second or more; 4200–4299 come back at once. Nothing closes with 4300 or more, because pusher-js then gives up for good
//! (C-32), and no error that leaves the connection open has a code below 4300, because clients would leave (C-29).

use std::borrow::Cow;
use thiserror::Error;

/// Characters shown of a name that a client sent.
const NAME_SHOWN_CHARS: usize = 200;
/// Characters shown of a string to sign, which may hold a whole `channel_data`.
pub(crate) const SIGNED_SHOWN_CHARS: usize = 512;
/// Characters shown of a signature; a right one has 64.
pub(crate) const SIGNATURE_SHOWN_CHARS: usize = 128;

/// `text`, cut to `chars_max` characters and `…` if it is longer: an error must not echo 60 kB.
pub(crate) fn shown(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

fn name(text: &str) -> Cow<'_, str> {
    shown(text, NAME_SHOWN_CHARS)
}

/// Why the server ends a connection: `pusher:error` and close frame carry the same code and text (C-30).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// the app wants TLS and the connection is plain (C-8 #4)
    TlsOnly,
    /// unknown key (C-8 #2), or deleted while connected (C-38)
    AppDoesNotExist,
    /// C-8 #3, C-38
    AppDisabled,
    /// the app has as many connections as it may (C-8 #7)
    OverConnectionQuota,
    /// an upgrade on a path that is no `/app/{key}` (C-8 #1)
    PathNotFound,
    /// C-3
    UnsupportedProtocol,
    /// C-9
    OriginNotAllowed,
    /// The node is full (C-8 #8).
    OverCapacity,
    /// The client's address has as many connections as it may. Not 4004: clients would stay away for good, and whoever
    /// shares the address did nothing wrong. With 4100 they come back after a second or more, when there may be a place.
    AddressOverCapacity,
    /// a wrong signature, after too many of them from the address (C-32)
    TooManyAuthFailures,
    /// the client doesn't read what it is sent (C-35)
    SlowConsumer,
    /// a rate limit that is set to end the connection (C-32)
    RateLimited,
    /// shutdown (C-34)
    ServerClosing,
    /// C-20
    PongTimeout,
    /// the app asked for it (U-31)
    TerminatedByApp,
    /// neither signed in nor on a channel that needs a signature in time (C-36)
    NotAuthorizedInTime,
    /// a message whose end doesn't come. With 4100 clients come back, after a second or more.
    MessageTimeout,
}

impl CloseReason {
    /// In 4000..=4299, for close frame and `pusher:error` alike (C-28, C-33).
    pub fn code(self) -> u16 {
        match self {
            CloseReason::TlsOnly => 4000,
            CloseReason::AppDoesNotExist => 4001,
            CloseReason::AppDisabled => 4003,
            CloseReason::OverConnectionQuota => 4004,
            CloseReason::PathNotFound => 4005,
            CloseReason::UnsupportedProtocol => 4007,
            CloseReason::OriginNotAllowed
            | CloseReason::TerminatedByApp
            | CloseReason::NotAuthorizedInTime => 4009,
            CloseReason::OverCapacity
            | CloseReason::AddressOverCapacity
            | CloseReason::TooManyAuthFailures
            | CloseReason::SlowConsumer
            | CloseReason::RateLimited
            | CloseReason::MessageTimeout => 4100,
            CloseReason::ServerClosing => 4200,
            CloseReason::PongTimeout => 4201,
        }
    }

    /// What metrics and the live stream call it.
    pub fn name(self) -> &'static str {
        match self {
            CloseReason::TlsOnly => "tls_only",
            CloseReason::AppDoesNotExist => "app_does_not_exist",
            CloseReason::AppDisabled => "app_disabled",
            CloseReason::OverConnectionQuota => "over_connection_quota",
            CloseReason::PathNotFound => "path_not_found",
            CloseReason::UnsupportedProtocol => "unsupported_protocol",
            CloseReason::OriginNotAllowed => "origin_not_allowed",
            CloseReason::OverCapacity => "over_capacity",
            CloseReason::AddressOverCapacity => "address_over_capacity",
            CloseReason::TooManyAuthFailures => "too_many_auth_failures",
            CloseReason::SlowConsumer => "slow_consumer",
            CloseReason::RateLimited => "rate_limited",
            CloseReason::ServerClosing => "server_closing",
            CloseReason::PongTimeout => "pong_timeout",
            CloseReason::TerminatedByApp => "terminated_by_app",
            CloseReason::NotAuthorizedInTime => "not_authorized_in_time",
            CloseReason::MessageTimeout => "message_timeout",
        }
    }

    /// At most 123 bytes, so that it fits into a close frame (C-30).
    pub fn message(self) -> &'static str {
        match self {
            CloseReason::TlsOnly => {
                "Application only accepts SSL connections, reconnect using wss://"
            }
            CloseReason::AppDoesNotExist => "Application does not exist",
            CloseReason::AppDisabled => "Application disabled",
            CloseReason::OverConnectionQuota => "Application is over connection quota",
            CloseReason::PathNotFound => "Path not found",
            CloseReason::UnsupportedProtocol => "Unsupported protocol version",
            CloseReason::OriginNotAllowed => "Origin not allowed",
            CloseReason::OverCapacity | CloseReason::SlowConsumer => "Over capacity",
            CloseReason::AddressOverCapacity => "Too many connections from this address",
            CloseReason::TooManyAuthFailures => "Too many wrong signatures from this address",
            CloseReason::RateLimited => "Rate limit exceeded",
            CloseReason::ServerClosing => "Server is closing. Please reconnect shortly.",
            CloseReason::PongTimeout => "Pong reply not received in time",
            CloseReason::TerminatedByApp => "You got disconnected by the app.",
            CloseReason::NotAuthorizedInTime => "Connection not authorized within timeout.",
            CloseReason::MessageTimeout => "Message not received whole in time",
        }
    }
}

/// What was wrong with a client's message; the connection stays open (C-29). `Display` is the text of `pusher:error`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    #[error("Received invalid JSON")]
    InvalidJson,
    #[error("Invalid message format")]
    InvalidFormat,
    /// An event that is neither known nor a client event (C-24). Holds its name.
    #[error("Unsupported event received on socket: {}", name(.0))]
    Unsupported(String),
    /// subscribe or unsubscribe without a channel (S-9)
    #[error("Missing parameter: data.channel")]
    MissingChannel,
    /// Subscribed again with another `user_id` (S-14). Holds the channel's name.
    #[error("Existing subscription to channel {}", name(.0))]
    ExistingSubscription(String),
    /// E-2
    #[error("Client event rejected - only supported on private and presence channels")]
    ClientEventOnPublicChannel,
    /// E-3. Holds the channel's name.
    #[error("Cannot broadcast client event (connection not subscribed to channel {})", name(.0))]
    ClientEventNotSubscribed(String),
    /// E-4
    #[error("The app does not have client messaging enabled.")]
    ClientEventsDisabled,
    /// no channel (E-5)
    #[error("Invalid client event (must contain channel and data)")]
    InvalidClientEvent,
    /// more client events than one connection may send (E-10)
    #[error("Client event rejected due to rate limit")]
    ClientEventRateLimited,
    /// E-11
    #[error("The event data should be less than {} KB.", kb(*.bytes_max))]
    EventDataTooLarge { bytes_max: usize },
    /// E-11
    #[error("Event name is too long. Maximum allowed size is {chars_max}.")]
    EventNameTooLong { chars_max: usize },
    /// Reverb's limit on messages of any kind
    #[error("Rate limit exceeded")]
    RateLimited,
    /// a sign-in whose signature doesn't fit (U-4). The string to sign holds no secret.
    #[error(
        "Invalid signature: Expected HMAC SHA256 hex digest of {}, but got {}",
        shown(.string_to_sign, SIGNED_SHOWN_CHARS),
        shown(.signature, SIGNATURE_SHOWN_CHARS)
    )]
    InvalidSigninSignature {
        string_to_sign: String,
        signature: String,
    },
    /// a sign-in with the key of another app
    #[error("Invalid key in user authentication data: '{}'", name(.0))]
    InvalidSigninKey(String),
    /// U-2, U-4
    #[error("Invalid user_data: must contain an id")]
    InvalidUserData,
    /// U-5
    #[error("Connection already signed in as a different user")]
    SignedInAsAnother,
    /// U-6
    #[error("User authentication is disabled for this app")]
    SigninDisabled,
    /// The sign-in succeeds, the list is cut (U-24).
    #[error("Watchlist limit exceeded. Only the first {max} user IDs are accepted.")]
    WatchlistTooLong { max: usize },
    /// a worker is too far behind to take another event
    #[error("Client event rejected because the server is overloaded, send it again in a moment")]
    Congested,
}

impl ClientError {
    /// Whether a signature or its key was wrong.
    pub fn is_wrong_signature(&self) -> bool {
        matches!(
            self,
            ClientError::InvalidSigninSignature { .. } | ClientError::InvalidSigninKey(_)
        )
    }

    /// The text for the log, without the signature and the personal data that a signed string holds.
    pub fn log_text(&self) -> String {
        match self {
            ClientError::InvalidSigninSignature { .. } => {
                "Invalid signature of a sign-in".to_owned()
            }
            other => other.to_string(),
        }
    }

    /// What metrics and the live stream call it.
    pub fn name(&self) -> &'static str {
        match self {
            ClientError::InvalidJson => "invalid_json",
            ClientError::InvalidFormat => "invalid_format",
            ClientError::Unsupported(_) => "unsupported_event",
            ClientError::MissingChannel => "missing_channel",
            ClientError::ExistingSubscription(_) => "existing_subscription",
            ClientError::ClientEventOnPublicChannel => "client_event_on_public_channel",
            ClientError::ClientEventNotSubscribed(_) => "client_event_not_subscribed",
            ClientError::ClientEventsDisabled => "client_events_disabled",
            ClientError::InvalidClientEvent => "invalid_client_event",
            ClientError::ClientEventRateLimited => "client_event_rate_limited",
            ClientError::EventDataTooLarge { .. } => "event_data_too_large",
            ClientError::EventNameTooLong { .. } => "event_name_too_long",
            ClientError::RateLimited => "rate_limited",
            ClientError::InvalidSigninSignature { .. } => "invalid_signin_signature",
            ClientError::InvalidSigninKey(_) => "invalid_signin_key",
            ClientError::InvalidUserData => "invalid_user_data",
            ClientError::SignedInAsAnother => "signed_in_as_another",
            ClientError::SigninDisabled => "signin_disabled",
            ClientError::WatchlistTooLong { .. } => "watchlist_too_long",
            ClientError::Congested => "congested",
        }
    }

    /// `None` = JSON null; 4301 for the client event limits and switches.
    pub fn code(&self) -> Option<u16> {
        match self {
            ClientError::InvalidJson
            | ClientError::InvalidFormat
            | ClientError::Unsupported(_)
            | ClientError::MissingChannel
            | ClientError::ExistingSubscription(_)
            | ClientError::ClientEventOnPublicChannel
            | ClientError::ClientEventNotSubscribed(_)
            | ClientError::InvalidClientEvent
            | ClientError::InvalidSigninSignature { .. }
            | ClientError::InvalidSigninKey(_)
            | ClientError::InvalidUserData
            | ClientError::SignedInAsAnother
            | ClientError::SigninDisabled
            | ClientError::Congested => None,
            ClientError::WatchlistTooLong { .. } => Some(4302),
            ClientError::ClientEventsDisabled
            | ClientError::ClientEventRateLimited
            | ClientError::EventDataTooLarge { .. }
            | ClientError::EventNameTooLong { .. }
            | ClientError::RateLimited => Some(4301),
        }
    }
}

/// Why a subscription failed (S-17). `Display` is the message of both frames.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubscribeError {
    #[error("Invalid channel name: {}", name(.0))]
    InvalidChannelName(String),
    /// Also for an absent `auth`, with an empty signature. The string to sign holds no secret.
    #[error(
        "Invalid signature: Expected HMAC SHA256 hex digest of {}, but got {}",
        shown(.string_to_sign, SIGNED_SHOWN_CHARS),
        shown(.signature, SIGNATURE_SHOWN_CHARS)
    )]
    InvalidSignature {
        string_to_sign: String,
        signature: String,
    },
    /// Holds the key part of `auth`.
    #[error("Invalid key in subscription auth data: '{}'", name(.0))]
    InvalidKey(String),
    /// Holds the channel's name.
    #[error("{} is a presence channel and subscription must include channel_data", name(.0))]
    MissingChannelData(String),
    /// Unparsable, or without a usable `user_id` (P-1, P-13). Holds the channel's name.
    #[error("Invalid channel_data for channel {}", name(.0))]
    InvalidChannelData(String),
    /// `#server-to-user-*` of somebody else (U-14). Holds the channel's name.
    #[error("Invalid server-to-user channel: {}", name(.0))]
    ServerToUser(String),
    /// P-12
    #[error("The maximum members per presence channel limit was reached")]
    MembersLimit,
    /// P-14
    #[error("The maximum size for a channel member is {} KB.", kb(*.bytes_max))]
    UserInfoLimit { bytes_max: usize },
    #[error("The maximum of {max} channels per connection was reached")]
    ChannelsLimit { max: usize },
    #[error("The maximum of {max} channels of this app was reached")]
    AppChannelsLimit { max: usize },
}

impl SubscribeError {
    /// Whether a signature or its key was wrong.
    pub fn is_wrong_signature(&self) -> bool {
        matches!(
            self,
            SubscribeError::InvalidSignature { .. } | SubscribeError::InvalidKey(_)
        )
    }

    /// The text for the log, without the signature and the personal data that a signed string holds.
    pub fn log_text(&self, channel: &str) -> String {
        match self {
            SubscribeError::InvalidSignature { .. } => {
                format!("Invalid signature for channel {}", name(channel))
            }
            other => other.to_string(),
        }
    }

    /// What metrics and the live stream call it.
    pub fn name(&self) -> &'static str {
        match self {
            SubscribeError::InvalidChannelName(_) => "invalid_channel_name",
            SubscribeError::InvalidSignature { .. } => "invalid_signature",
            SubscribeError::InvalidKey(_) => "invalid_key",
            SubscribeError::MissingChannelData(_) => "missing_channel_data",
            SubscribeError::InvalidChannelData(_) => "invalid_channel_data",
            SubscribeError::ServerToUser(_) => "server_to_user",
            SubscribeError::MembersLimit => "members_limit",
            SubscribeError::UserInfoLimit { .. } => "user_info_limit",
            SubscribeError::ChannelsLimit { .. } => "channels_per_connection_limit",
            SubscribeError::AppChannelsLimit { .. } => "channels_of_app_limit",
        }
    }

    /// `AuthError`, `LimitReached` or `InvalidRequest`
    pub fn kind(&self) -> &'static str {
        match self.status() {
            401 => "AuthError",
            413 => "LimitReached",
            _ => "InvalidRequest",
        }
    }

    /// 401, 413 or 400
    pub fn status(&self) -> u16 {
        match self {
            SubscribeError::InvalidSignature { .. }
            | SubscribeError::InvalidKey(_)
            | SubscribeError::MissingChannelData(_)
            | SubscribeError::ServerToUser(_) => 401,
            SubscribeError::MembersLimit
            | SubscribeError::UserInfoLimit { .. }
            | SubscribeError::ChannelsLimit { .. }
            | SubscribeError::AppChannelsLimit { .. } => 413,
            SubscribeError::InvalidChannelName(_) | SubscribeError::InvalidChannelData(_) => 400,
        }
    }
}

/// `bytes` in units of 1024, exact to a hundredth: 10240 is `10`, 1536 is `1.5`.
fn kb(bytes: usize) -> f64 {
    (bytes as f64 / 1024.0 * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests;
