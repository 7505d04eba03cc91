//! What clients say: a message that was understood says the same when it is written again, and every refusal can be told.

use serde_json::{Map, Value, json};

use crate::protocol::{
    client::{ChannelData, ClientMessage},
    json::is_well_formed,
    presence::{Member, MemberLimits},
    server,
    user::User,
};

const MEMBER_LIMITS: MemberLimits = MemberLimits {
    user_id_chars_max: 100,
    user_info_bytes_max: 1000,
};
const WATCHLIST_MAX: usize = 5;

pub fn client_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let message = match ClientMessage::parse(text) {
        Ok(message) => message,
        Err(error) => {
            let frame = server::error(&error);
            let said: Value = serde_json::from_slice(frame.payload()).expect("errors are JSON");
            assert_eq!(said["event"], "pusher:error");
            assert!(frame.payload().len() < 4096, "no echo of any length");
            return;
        }
    };
    assert!(is_well_formed(text), "{text}");
    bring_along(&message);
    let again = written(&message);
    assert_eq!(
        ClientMessage::parse(&again).as_ref(),
        Ok(&message),
        "{again}"
    );
}

/// Reads what comes with a subscription or a sign-in.
fn bring_along(message: &ClientMessage<'_>) {
    match message {
        ClientMessage::Subscribe(request) => {
            if let ChannelData::Text(text) = &request.channel_data
                && let Ok(member) = Member::parse(text, MEMBER_LIMITS)
            {
                assert!(member.user_id.chars().count() <= MEMBER_LIMITS.user_id_chars_max);
                assert!(member.user_info.len() <= MEMBER_LIMITS.user_info_bytes_max);
                assert!(is_well_formed(&member.user_info));
            }
        }
        ClientMessage::Signin(request) => {
            let user = User::parse(
                &request.user_data,
                MEMBER_LIMITS.user_id_chars_max,
                WATCHLIST_MAX,
            );
            if let Ok(user) = user {
                assert!(user.watchlist.len() <= WATCHLIST_MAX);
                assert!(is_well_formed(&user.user_info));
            }
        }
        ClientMessage::Unsubscribe { .. }
        | ClientMessage::ClientEvent(_)
        | ClientMessage::Ping
        | ClientMessage::Pong => {}
    }
}

/// The message in its plainest form.
fn written(message: &ClientMessage<'_>) -> String {
    match message {
        ClientMessage::Subscribe(request) => {
            let mut data = Map::new();
            data.insert("channel".into(), (*request.channel).into());
            if let Some(auth) = &request.auth {
                data.insert("auth".into(), (**auth).into());
            }
            match &request.channel_data {
                ChannelData::Absent => {}
                ChannelData::Text(text) => {
                    data.insert("channel_data".into(), (**text).into());
                }
                ChannelData::NotText => {
                    data.insert("channel_data".into(), json!({}));
                }
            }
            json!({"event": "pusher:subscribe", "data": data}).to_string()
        }
        ClientMessage::Unsubscribe { channel } => {
            json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}).to_string()
        }
        ClientMessage::Signin(request) => {
            let data = json!({"auth": request.auth, "user_data": request.user_data});
            json!({"event": "pusher:signin", "data": data.to_string()}).to_string()
        }
        ClientMessage::ClientEvent(event) => {
            let data: Value = serde_json::from_str(event.data.as_json()).expect("a string of JSON");
            let bytes = data.as_str().expect("a string of JSON").len();
            assert_eq!(event.data.len_bytes(), bytes);
            // the data as it is: its very token is what goes on to others
            let (name, channel) = (json!(event.name), json!(event.channel));
            let data = event.data.as_json();
            format!(r#"{{"event":{name},"channel":{channel},"data":{data}}}"#)
        }
        ClientMessage::Ping => json!({"event": "pusher:ping"}).to_string(),
        ClientMessage::Pong => json!({"event": "pusher:pong"}).to_string(),
    }
}
