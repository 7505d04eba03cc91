use super::*;

const CLOSE_REASONS: [(CloseReason, u16, &str); 17] = [
    (
        CloseReason::TlsOnly,
        4000,
        "Application only accepts SSL connections, reconnect using wss://",
    ),
    (
        CloseReason::AppDoesNotExist,
        4001,
        "Application does not exist",
    ),
    (CloseReason::AppDisabled, 4003, "Application disabled"),
    (
        CloseReason::OverConnectionQuota,
        4004,
        "Application is over connection quota",
    ),
    (CloseReason::PathNotFound, 4005, "Path not found"),
    (
        CloseReason::UnsupportedProtocol,
        4007,
        "Unsupported protocol version",
    ),
    (CloseReason::OriginNotAllowed, 4009, "Origin not allowed"),
    (CloseReason::OverCapacity, 4100, "Over capacity"),
    (
        CloseReason::AddressOverCapacity,
        4100,
        "Too many connections from this address",
    ),
    (
        CloseReason::TooManyAuthFailures,
        4100,
        "Too many wrong signatures from this address",
    ),
    (CloseReason::SlowConsumer, 4100, "Over capacity"),
    (CloseReason::RateLimited, 4100, "Rate limit exceeded"),
    (
        CloseReason::ServerClosing,
        4200,
        "Server is closing. Please reconnect shortly.",
    ),
    (
        CloseReason::PongTimeout,
        4201,
        "Pong reply not received in time",
    ),
    (
        CloseReason::TerminatedByApp,
        4009,
        "You got disconnected by the app.",
    ),
    (
        CloseReason::NotAuthorizedInTime,
        4009,
        "Connection not authorized within timeout.",
    ),
    (
        CloseReason::MessageTimeout,
        4100,
        "Message not received whole in time",
    ),
];

#[test]
fn c8_c33_close_codes_and_texts() {
    for (reason, code, message) in CLOSE_REASONS {
        assert_eq!(
            (reason.code(), reason.message()),
            (code, message),
            "{reason:?}"
        );
    }
}

#[test]
fn c28_c32_close_codes_are_fatal_ones() {
    for (reason, ..) in CLOSE_REASONS {
        assert!((4000..4300).contains(&reason.code()), "{reason:?}");
    }
}

#[test]
fn c30_reasons_fit_into_a_close_frame() {
    for (reason, ..) in CLOSE_REASONS {
        assert!(reason.message().len() <= 123, "{reason:?}");
    }
}

fn client_errors() -> Vec<(ClientError, Option<u16>, &'static str)> {
    use ClientError::*;
    let named = || "x".to_owned();
    vec![
        (InvalidJson, None, "Received invalid JSON"),
        (InvalidFormat, None, "Invalid message format"),
        (
            Unsupported(named()),
            None,
            "Unsupported event received on socket: x",
        ),
        (MissingChannel, None, "Missing parameter: data.channel"),
        (
            ExistingSubscription(named()),
            None,
            "Existing subscription to channel x",
        ),
        (
            ClientEventOnPublicChannel,
            None,
            "Client event rejected - only supported on private and presence channels",
        ),
        (
            ClientEventNotSubscribed(named()),
            None,
            "Cannot broadcast client event (connection not subscribed to channel x)",
        ),
        (
            ClientEventsDisabled,
            Some(4301),
            "The app does not have client messaging enabled.",
        ),
        (
            InvalidClientEvent,
            None,
            "Invalid client event (must contain channel and data)",
        ),
        (
            ClientEventRateLimited,
            Some(4301),
            "Client event rejected due to rate limit",
        ),
        (
            EventDataTooLarge { bytes_max: 10_240 },
            Some(4301),
            "The event data should be less than 10 KB.",
        ),
        (
            EventNameTooLong { chars_max: 200 },
            Some(4301),
            "Event name is too long. Maximum allowed size is 200.",
        ),
        (RateLimited, Some(4301), "Rate limit exceeded"),
        (
            InvalidSigninSignature {
                string_to_sign: named(),
                signature: "y".to_owned(),
            },
            None,
            "Invalid signature: Expected HMAC SHA256 hex digest of x, but got y",
        ),
        (
            InvalidSigninKey(named()),
            None,
            "Invalid key in user authentication data: 'x'",
        ),
        (
            InvalidUserData,
            None,
            "Invalid user_data: must contain an id",
        ),
        (
            SignedInAsAnother,
            None,
            "Connection already signed in as a different user",
        ),
        (
            SigninDisabled,
            None,
            "User authentication is disabled for this app",
        ),
        (
            WatchlistTooLong { max: 100 },
            Some(4302),
            "Watchlist limit exceeded. Only the first 100 user IDs are accepted.",
        ),
        (
            Congested,
            None,
            "Client event rejected because the server is overloaded, send it again in a moment",
        ),
    ]
}

#[test]
fn c24_e2_to_e11_codes_and_texts_of_client_errors() {
    for (error, code, text) in client_errors() {
        assert_eq!((error.code(), error.to_string().as_str()), (code, text));
    }
}

#[test]
fn c29_errors_that_keep_the_connection_have_no_fatal_code() {
    for (error, ..) in client_errors() {
        assert!(error.code().is_none_or(|code| code >= 4300), "{error:?}");
    }
}

#[test]
fn s17_texts_kinds_and_statuses() {
    use SubscribeError::*;
    let check = |error: SubscribeError, kind, status, text: &str| {
        assert_eq!((error.kind(), error.status()), (kind, status), "{error:?}");
        assert_eq!(error.to_string(), text);
    };
    let named = || "x".to_owned();
    check(
        InvalidSignature {
            string_to_sign: "1234.1234:private-room".to_owned(),
            signature: "BADSIG".to_owned(),
        },
        "AuthError",
        401,
        "Invalid signature: Expected HMAC SHA256 hex digest of 1234.1234:private-room, but got BADSIG",
    );
    check(
        InvalidKey(named()),
        "AuthError",
        401,
        "Invalid key in subscription auth data: 'x'",
    );
    check(
        MissingChannelData(named()),
        "AuthError",
        401,
        "x is a presence channel and subscription must include channel_data",
    );
    check(
        InvalidChannelData(named()),
        "InvalidRequest",
        400,
        "Invalid channel_data for channel x",
    );
    check(
        InvalidChannelName(named()),
        "InvalidRequest",
        400,
        "Invalid channel name: x",
    );
    check(
        ServerToUser(named()),
        "AuthError",
        401,
        "Invalid server-to-user channel: x",
    );
    check(
        ChannelsLimit { max: 100 },
        "LimitReached",
        413,
        "The maximum of 100 channels per connection was reached",
    );
    check(
        AppChannelsLimit { max: 100 },
        "LimitReached",
        413,
        "The maximum of 100 channels of this app was reached",
    );
}

#[test]
fn p12_text_of_the_members_limit() {
    let error = SubscribeError::MembersLimit;
    assert_eq!((error.kind(), error.status()), ("LimitReached", 413));
    assert_eq!(
        error.to_string(),
        "The maximum members per presence channel limit was reached"
    );
}

#[test]
fn p14_text_of_the_user_info_limit() {
    let check = |bytes_max, kb: &str| {
        let error = SubscribeError::UserInfoLimit { bytes_max };
        assert_eq!((error.kind(), error.status()), ("LimitReached", 413));
        let expected = format!("The maximum size for a channel member is {kb} KB.");
        assert_eq!(error.to_string(), expected);
    };
    check(10_240, "10");
    check(1_024, "1");
    check(1_536, "1.5");
    check(100, "0.1");
}

#[test]
fn texts_show_a_bounded_part_of_what_was_sent() {
    let long = || "ü".repeat(60_000);
    let cut = format!("{}…", "ü".repeat(200));
    assert_eq!(
        ClientError::Unsupported(long()).to_string(),
        format!("Unsupported event received on socket: {cut}")
    );
    assert_eq!(
        SubscribeError::InvalidChannelName(long()).to_string(),
        format!("Invalid channel name: {cut}")
    );
    for text in [
        ClientError::ExistingSubscription(long()).to_string(),
        ClientError::ClientEventNotSubscribed(long()).to_string(),
        SubscribeError::InvalidKey(long()).to_string(),
        SubscribeError::MissingChannelData(long()).to_string(),
        SubscribeError::InvalidChannelData(long()).to_string(),
        SubscribeError::ServerToUser(long()).to_string(),
        SubscribeError::InvalidSignature {
            string_to_sign: long(),
            signature: long(),
        }
        .to_string(),
    ] {
        assert!(text.contains('…') && text.chars().count() < 800, "{text}");
    }
    assert_eq!(shown("abc", 3), "abc");
    assert_eq!(shown("abcd", 3), "abc…");
}
