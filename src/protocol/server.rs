//! Everything the server can say, each a function that returns a Frame. The shapes are those the strictest SDK needs: `data`
//! is a string except in `pusher:error`, and what belongs to the connection has no `channel`.

use super::{
    channel::ChannelName,
    codes::{ClientError, CloseReason, SubscribeError},
    event::EventData,
    json,
    presence::Member,
    socket_id::SocketId,
};
use crate::frame::Frame;
use std::{fmt::Write, sync::Arc};

/// `pusher:connection_established`, the first thing every client hears (C-11, C-12).
pub fn connection_established(socket_id: SocketId, activity_timeout_s: u32) -> Frame {
    Frame::text(&connection_established_json(socket_id, activity_timeout_s))
}

fn connection_established_json(socket_id: SocketId, activity_timeout_s: u32) -> String {
    let mut json = String::with_capacity(160);
    // numbers alone: nothing in the string inside needs escapes of its own
    let _ = write!(
        json,
        r#"{{"event":"pusher:connection_established","data":"{{\"socket_id\":\"{socket_id}\",\"activity_timeout\":{activity_timeout_s}}}"}}"#
    );
    json
}

/// The answer to `pusher:ping` (C-16).
pub fn pong() -> Frame {
    Frame::text(PONG)
}

const PONG: &str = r#"{"event":"pusher:pong","data":"{}"}"#;

/// non-fatal `pusher:error` (C-26, C-29)
pub fn error(error: &ClientError) -> Frame {
    Frame::text(&error_json(error.code(), &error.to_string()))
}

/// `pusher:error` that precedes the close frame (C-30)
pub fn fatal_error(reason: CloseReason) -> Frame {
    Frame::text(&error_json(Some(reason.code()), reason.message()))
}

/// the close frame itself
pub fn close(reason: CloseReason) -> Frame {
    Frame::close(Some(reason.code()), reason.message())
}

/// `pusher:error`; its data is an object, not a string (C-26), its code is never left out (C-27).
fn error_json(code: Option<u16>, message: &str) -> String {
    let code = code.map_or_else(|| "null".to_owned(), |code| code.to_string());
    let message = json::quoted(message);
    format!(r#"{{"event":"pusher:error","data":{{"code":{code},"message":{message}}}}}"#)
}

/// `pusher:subscription_error` on the channel, S-17 frame 1; the name may be invalid, so it is a plain string.
/// Not for channels whose kind is encrypted: an Android SDK dies of it.
pub fn subscription_error(channel: &str, error: &SubscribeError) -> Frame {
    Frame::text(&subscription_error_json(channel, error))
}

fn subscription_error_json(channel: &str, error: &SubscribeError) -> String {
    let data = format!(
        r#"{{"type":"{}","error":{},"status":{}}}"#,
        error.kind(),
        json::quoted(&error.to_string()),
        error.status()
    );
    channel_json("pusher:subscription_error", channel, &data)
}

/// the `pusher:error` of S-17 frame 2
pub fn subscription_pusher_error(error: &SubscribeError) -> Frame {
    Frame::text(&error_json(None, &error.to_string()))
}

/// Success on all kinds but presence (S-10).
pub fn subscription_succeeded(channel: &ChannelName) -> Frame {
    Frame::text(&subscription_succeeded_json(channel, "{}"))
}

/// Success on presence kinds, with everyone who is there, the joiner among them (S-11, P-4). `members` has each id once.
pub fn presence_subscription_succeeded(channel: &ChannelName, members: &[Arc<Member>]) -> Frame {
    let data = presence_data(members);
    Frame::text(&subscription_succeeded_json(channel, &data))
}

fn subscription_succeeded_json(channel: &ChannelName, data: &str) -> String {
    let event = "pusher_internal:subscription_succeeded";
    channel_json(event, channel.as_str(), data)
}

/// The member list: a count, ids as strings, and an object from ids to user_info, which agree (P-4).
fn presence_data(members: &[Arc<Member>]) -> String {
    let (mut ids, mut hash) = (String::new(), String::new());
    for member in members {
        if !ids.is_empty() {
            ids.push(',');
            hash.push(',');
        }
        let id = json::quoted(&member.user_id);
        ids.push_str(&id);
        hash.push_str(&id);
        hash.push(':');
        hash.push_str(&member.user_info);
    }
    let count = members.len();
    format!(r#"{{"presence":{{"count":{count},"ids":[{ids}],"hash":{{{hash}}}}}}}"#)
}

/// The answer to a sign-in, with the very string that was signed; an object, not a string (U-3).
pub fn signin_success(user_data: &str) -> Frame {
    Frame::text(&signin_success_json(user_data))
}

fn signin_success_json(user_data: &str) -> String {
    let user_data = json::quoted(user_data);
    format!(r#"{{"event":"pusher:signin_success","data":{{"user_data":{user_data}}}}}"#)
}

/// Who of the watched users is online and who isn't; a name without ids is left out (U-22).
pub fn watchlist_events(online: &[Arc<str>], offline: &[Arc<str>]) -> Frame {
    Frame::text(&watchlist_events_json(online, offline))
}

fn watchlist_events_json(online: &[Arc<str>], offline: &[Arc<str>]) -> String {
    let of = |name: &str, ids: &[Arc<str>]| {
        let ids: Vec<String> = ids.iter().map(|id| json::quoted(id)).collect();
        format!(r#"{{"name":"{name}","user_ids":[{}]}}"#, ids.join(","))
    };
    let events: Vec<String> = [("online", online), ("offline", offline)]
        .into_iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(name, ids)| of(name, ids))
        .collect();
    format!(
        r#"{{"event":"pusher_internal:watchlist_events","data":{{"events":[{}]}}}}"#,
        events.join(",")
    )
}

/// How many connections are on a channel (S-25).
pub fn subscription_count(channel: &ChannelName, count: u32) -> Frame {
    Frame::text(&subscription_count_json(channel, count))
}

fn subscription_count_json(channel: &ChannelName, count: u32) -> String {
    channel_json(
        "pusher_internal:subscription_count",
        channel.as_str(),
        &format!(r#"{{"subscription_count":{count}}}"#),
    )
}

/// There is no cached event (S-22).
pub fn cache_miss(channel: &ChannelName) -> Frame {
    Frame::text(&cache_miss_json(channel))
}

fn cache_miss_json(channel: &ChannelName) -> String {
    channel_json("pusher:cache_miss", channel.as_str(), "{}")
}

/// An event of a publisher (S-28) or of a client (E-7); `user_id` is the sender's on presence channels (E-8).
pub fn event(
    name: &str,
    channel: &ChannelName,
    data: &EventData<'_>,
    user_id: Option<&str>,
) -> Frame {
    Frame::text(&event_json(name, channel, data, user_id))
}

/// The one text that a broadcast consists of: written once, in one allocation, with `data` as it came.
fn event_json(
    name: &str,
    channel: &ChannelName,
    data: &EventData<'_>,
    user_id: Option<&str>,
) -> String {
    const EVENT: &str = r#"{"event":""#;
    const CHANNEL: &str = r#"","channel":""#;
    const DATA: &str = r#"","data":"#;
    const USER_ID: &str = r#","user_id":""#;
    let user_id_len = user_id.map_or(0, |id| USER_ID.len() + json::escaped_len(id) + 1);
    let len = EVENT.len() + json::escaped_len(name) + CHANNEL.len() + channel.as_str().len();
    let len = len + DATA.len() + data.as_json().len() + user_id_len + 1;

    let mut out = String::with_capacity(len);
    out.push_str(EVENT);
    json::escape_into(&mut out, name);
    out.push_str(CHANNEL);
    // valid names hold nothing that JSON escapes
    out.push_str(channel.as_str());
    out.push_str(DATA);
    out.push_str(data.as_json());
    if let Some(user_id) = user_id {
        out.push_str(USER_ID);
        json::escape_into(&mut out, user_id);
        out.push('"');
    }
    out.push('}');
    debug_assert_eq!(out.len(), len);
    out
}

/// Somebody's first connection has joined; for all others on the channel (P-6, P-7).
pub fn member_added(channel: &ChannelName, member: &Member) -> Frame {
    Frame::text(&member_added_json(channel, member))
}

fn member_added_json(channel: &ChannelName, member: &Member) -> String {
    let mut data = String::from(r#"{"user_id":"#);
    data.push_str(&json::quoted(&member.user_id));
    data.push_str(r#","user_info":"#);
    data.push_str(&member.user_info);
    data.push('}');
    channel_json("pusher_internal:member_added", channel.as_str(), &data)
}

/// Somebody's last connection has left (P-8).
pub fn member_removed(channel: &ChannelName, user_id: &str) -> Frame {
    Frame::text(&member_removed_json(channel, user_id))
}

fn member_removed_json(channel: &ChannelName, user_id: &str) -> String {
    let data = format!(r#"{{"user_id":{}}}"#, json::quoted(user_id));
    channel_json("pusher_internal:member_removed", channel.as_str(), &data)
}

/// A message of the server's own on a channel, its `data` encoded into a string.
fn channel_json(event: &str, channel: &str, data: &str) -> String {
    let mut out = String::with_capacity(
        40 + event.len() + json::escaped_len(channel) + json::escaped_len(data),
    );
    // writing to a String cannot fail
    let _ = write!(out, r#"{{"event":"{event}","channel":""#);
    json::escape_into(&mut out, channel);
    out.push_str(r#"","data":""#);
    json::escape_into(&mut out, data);
    out.push_str("\"}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::presence::MemberLimits;
    use serde_json::{Value, json};

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name, 200).unwrap()
    }

    fn member(channel_data: &str) -> Arc<Member> {
        let limits = MemberLimits {
            user_id_chars_max: 128,
            user_info_bytes_max: 10_240,
        };
        Arc::new(Member::parse(channel_data, limits).unwrap())
    }

    fn data(json: &str) -> EventData<'_> {
        EventData::from_json(serde_json::from_str(json).unwrap())
    }

    /// Everything must be JSON; `data` that is a string of JSON is returned decoded.
    fn decoded(frame: &str) -> (Value, Value) {
        let frame: Value = serde_json::from_str(frame).expect(frame);
        let data = frame["data"].as_str().expect("data is a string");
        let data = serde_json::from_str(data).expect(data);
        (frame, data)
    }

    #[test]
    fn c12_established_data_is_string() {
        // V-50
        assert_eq!(
            connection_established_json(SocketId::new(1234, 1234), 120),
            r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1234.1234\",\"activity_timeout\":120}"}"#
        );
    }

    #[test]
    fn c13_activity_timeout_is_a_number() {
        let (_, data) = decoded(&connection_established_json(SocketId::new(1, 2), 30));
        assert_eq!(data, json!({"socket_id": "1.2", "activity_timeout": 30}));
    }

    #[test]
    fn c15_connection_events_have_no_channel() {
        for frame in [
            connection_established_json(SocketId::new(1, 2), 30),
            PONG.to_owned(),
            error_json(None, "x"),
            error_json(Some(4001), "x"),
        ] {
            let frame: Value = serde_json::from_str(&frame).unwrap();
            assert!(frame.get("channel").is_none(), "{frame}");
        }
    }

    #[test]
    fn c16_pong() {
        // V-51
        assert_eq!(PONG, r#"{"event":"pusher:pong","data":"{}"}"#);
    }

    #[test]
    fn c26_error_data_is_an_object() {
        // V-60
        let reason = CloseReason::AppDoesNotExist;
        assert_eq!(
            error_json(Some(reason.code()), reason.message()),
            r#"{"event":"pusher:error","data":{"code":4001,"message":"Application does not exist"}}"#
        );
    }

    #[test]
    fn c27_code_is_always_there_and_message_is_a_string() {
        let error = ClientError::Unsupported("a\"b\\\n\u{1}ü".to_owned());
        let frame: Value =
            serde_json::from_str(&error_json(error.code(), &error.to_string())).unwrap();
        assert_eq!(
            frame["data"],
            json!({"code": null, "message": "Unsupported event received on socket: a\"b\\\n\u{1}ü"})
        );
        assert_eq!(
            error_json(ClientError::InvalidJson.code(), "Received invalid JSON"),
            r#"{"event":"pusher:error","data":{"code":null,"message":"Received invalid JSON"}}"#
        );
    }

    #[test]
    fn s10_success_data_is_an_empty_object_in_a_string() {
        // V-52
        assert_eq!(
            subscription_succeeded_json(&channel("room"), "{}"),
            r#"{"event":"pusher_internal:subscription_succeeded","channel":"room","data":"{}"}"#
        );
        assert_eq!(
            subscription_succeeded_json(&channel("#server-to-user-1"), "{}"),
            r##"{"event":"pusher_internal:subscription_succeeded","channel":"#server-to-user-1","data":"{}"}"##
        );
    }

    fn joined(members: &[Arc<Member>]) -> String {
        subscription_succeeded_json(&channel("presence-foobar"), &presence_data(members))
    }

    #[test]
    fn s11_presence_success() {
        // V-53
        assert_eq!(
            joined(&[member(
                r#"{"user_id":"10","user_info":{"name":"Mr. Channels"}}"#
            )]),
            r#"{"event":"pusher_internal:subscription_succeeded","channel":"presence-foobar","data":"{\"presence\":{\"count\":1,\"ids\":[\"10\"],\"hash\":{\"10\":{\"name\":\"Mr. Channels\"}}}}"}"#
        );
    }

    #[test]
    fn p4_ids_hash_and_count_agree() {
        // V-54: a numeric id
        let (_, data) = decoded(&joined(&[member(
            r#"{"user_id":10,"user_info":{"name":"Mr. Pusher"}}"#,
        )]));
        assert_eq!(
            data["presence"],
            json!({"count": 1, "ids": ["10"], "hash": {"10": {"name": "Mr. Pusher"}}})
        );
        // V-55: no user_info
        let (_, data) = decoded(&joined(&[member(r#"{"user_id":"10"}"#)]));
        assert_eq!(data["presence"]["hash"], json!({"10": {}}));

        let (_, data) = decoded(&joined(&[
            member(r#"{"user_id":"a\"\\b"}"#),
            member(r#"{"user_id":-5,"user_info":["x"]}"#),
            member(r#"{"user_id":"ü","user_info":{"n":"Zo\/\u00e9"}}"#),
        ]));
        assert_eq!(
            data["presence"],
            json!({"count": 3, "ids": ["a\"\\b", "-5", "ü"], "hash": {"a\"\\b": {}, "-5": ["x"], "ü": {"n": "Zo/é"}}})
        );
        let (_, data) = decoded(&joined(&[]));
        assert_eq!(data["presence"], json!({"count": 0, "ids": [], "hash": {}}));
    }

    #[test]
    fn s17_failed_subscription() {
        // V-61
        let error = SubscribeError::InvalidSignature {
            string_to_sign: "1234.1234:private-room".to_owned(),
            signature: "BADSIG".to_owned(),
        };
        assert_eq!(
            subscription_error_json("private-room", &error),
            r#"{"event":"pusher:subscription_error","channel":"private-room","data":"{\"type\":\"AuthError\",\"error\":\"Invalid signature: Expected HMAC SHA256 hex digest of 1234.1234:private-room, but got BADSIG\",\"status\":401}"}"#
        );
        assert_eq!(
            error_json(None, &error.to_string()),
            r#"{"event":"pusher:error","data":{"code":null,"message":"Invalid signature: Expected HMAC SHA256 hex digest of 1234.1234:private-room, but got BADSIG"}}"#
        );
    }

    #[test]
    fn s4_an_invalid_name_is_answered_under_that_name() {
        let name = "private-a \"b\"\n\\ü";
        let error = SubscribeError::InvalidChannelName(name.to_owned());
        let (frame, data) = decoded(&subscription_error_json(name, &error));
        assert_eq!(frame["channel"], name);
        assert_eq!(
            data,
            json!({"type": "InvalidRequest", "error": format!("Invalid channel name: {name}"), "status": 400})
        );
    }

    #[test]
    fn s22_cache_miss() {
        // V-59
        assert_eq!(
            cache_miss_json(&channel("cache-prices")),
            r#"{"event":"pusher:cache_miss","channel":"cache-prices","data":"{}"}"#
        );
    }

    #[test]
    fn s28_data_passes_byte_for_byte() {
        let check = |name: &str, on: &str, sent: &str, expected: &str| {
            assert_eq!(event_json(name, &channel(on), &data(sent), None), expected);
        };
        // V-56
        check(
            "foo",
            "project-3",
            r#""{\"some\":\"data\"}""#,
            r#"{"event":"foo","channel":"project-3","data":"{\"some\":\"data\"}"}"#,
        );
        // V-57
        check(
            "naïve",
            "project-3",
            r#""\"Žofie 🚀\"""#,
            r#"{"event":"naïve","channel":"project-3","data":"\"Žofie 🚀\""}"#,
        );
        // V-58
        check(
            "bar",
            "presence-lobby",
            r#""plain text""#,
            r#"{"event":"bar","channel":"presence-lobby","data":"plain text"}"#,
        );
        // V-64
        check(
            "foo",
            "#server-to-user-12345",
            r#""{\"some\":\"data\"}""#,
            r##"{"event":"foo","channel":"#server-to-user-12345","data":"{\"some\":\"data\"}"}"##,
        );
        check(
            "foo",
            "room",
            r#""\u00fc\/ü""#,
            r#"{"event":"foo","channel":"room","data":"\u00fc\/ü"}"#,
        );
    }

    #[test]
    fn s29_event_names_are_opaque() {
        let name = "App\\Events\\OrderShipped";
        assert_eq!(
            event_json(
                name,
                &channel("private-orders.1"),
                &data(r#""{\"id\":1}""#),
                None
            ),
            r#"{"event":"App\\Events\\OrderShipped","channel":"private-orders.1","data":"{\"id\":1}"}"#
        );
        let name = ".a\"b/\n\u{0}🚀";
        let frame = event_json(name, &channel("room"), &EventData::from_text(""), None);
        let frame: Value = serde_json::from_str(&frame).unwrap();
        assert_eq!(frame, json!({"event": name, "channel": "room", "data": ""}));
    }

    #[test]
    fn e8_user_id_of_the_sender() {
        // V-62
        assert_eq!(
            event_json(
                "client-typing",
                &channel("presence-foobar"),
                &data(r#"{"on":true}"#),
                Some("10")
            ),
            r#"{"event":"client-typing","channel":"presence-foobar","data":"{\"on\":true}","user_id":"10"}"#
        );
        let frame = event_json(
            "client-a",
            &channel("presence-a"),
            &EventData::null(),
            Some("a\"\\ü"),
        );
        let frame: Value = serde_json::from_str(&frame).unwrap();
        assert_eq!(frame["user_id"], "a\"\\ü");
        assert_eq!(frame["data"], "null");
    }

    #[test]
    fn p6_p7_member_added() {
        let (frame, data) = decoded(&member_added_json(
            &channel("presence-room"),
            &member(r#"{"user_id":7}"#),
        ));
        assert_eq!(frame["event"], "pusher_internal:member_added");
        assert_eq!(data, json!({"user_id": "7", "user_info": {}}));
        assert_eq!(
            member_added_json(
                &channel("presence-room"),
                &member(r#"{"user_id":"11","user_info":{"name":"Bob"}}"#)
            ),
            r#"{"event":"pusher_internal:member_added","channel":"presence-room","data":"{\"user_id\":\"11\",\"user_info\":{\"name\":\"Bob\"}}"}"#
        );
    }

    #[test]
    fn p8_member_removed() {
        assert_eq!(
            member_removed_json(&channel("presence-room"), "11"),
            r#"{"event":"pusher_internal:member_removed","channel":"presence-room","data":"{\"user_id\":\"11\"}"}"#
        );
        let (_, data) = decoded(&member_removed_json(&channel("presence-room"), "a\"\\"));
        assert_eq!(data, json!({"user_id": "a\"\\"}));
    }

    #[test]
    fn u3_v63_signin_success_repeats_the_string() {
        assert_eq!(
            signin_success_json(r#"{"id":"12345"}"#),
            r#"{"event":"pusher:signin_success","data":{"user_data":"{\"id\":\"12345\"}"}}"#
        );
    }

    #[test]
    fn u22_v65_watchlist_events() {
        let ids = |ids: &[&str]| ids.iter().map(|id| Arc::from(*id)).collect::<Vec<_>>();
        let check = |online: &[&str], offline: &[&str], expected: &str| {
            let frame = watchlist_events_json(&ids(online), &ids(offline));
            let expected = format!(
                r#"{{"event":"pusher_internal:watchlist_events","data":{{"events":[{expected}]}}}}"#
            );
            assert_eq!(frame, expected);
        };
        check(
            &["u-2"],
            &["u-3", "u-4"],
            r#"{"name":"online","user_ids":["u-2"]},{"name":"offline","user_ids":["u-3","u-4"]}"#,
        );
        check(&[], &["a"], r#"{"name":"offline","user_ids":["a"]}"#);
    }

    #[test]
    fn s25_subscription_count() {
        let room = ChannelName::parse("room", 200).expect("a name");
        assert_eq!(
            subscription_count_json(&room, 3),
            r#"{"event":"pusher_internal:subscription_count","channel":"room","data":"{\"subscription_count\":3}"}"#
        );
    }
}
