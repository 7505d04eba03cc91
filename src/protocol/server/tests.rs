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
    let frame: Value = serde_json::from_str(&error_json(error.code(), &error.to_string())).unwrap();
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
