use super::*;
use crate::protocol::json::tests::Random;

fn refused(text: &str, expected: ClientError) {
    assert_eq!(ClientMessage::parse(text), Err(expected), "{text}");
}

fn subscribed(text: &str) -> SubscribeRequest<'_> {
    match ClientMessage::parse(text) {
        Ok(ClientMessage::Subscribe(request)) => request,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn c16_ping_whatever_its_data() {
    for text in [
        r#"{"event":"pusher:ping"}"#,
        r#"{"event":"pusher:ping","data":{}}"#,
        r#"{"event":"pusher:ping","data":""}"#,
        r#"{"event":"pusher:ping","data":null}"#,
        r#"{"event":"pusher:ping","data":[1,{"a":"b"}],"channel":7}"#,
        r#" {"data":"x", "event":"pusher\u003aping"} "#,
    ] {
        assert_eq!(
            ClientMessage::parse(text),
            Ok(ClientMessage::Ping),
            "{text}"
        );
    }
}

#[test]
fn c17_pong_whatever_its_data() {
    for data in ["{}", "\"\"", "null", "1", "[]"] {
        let text = format!(r#"{{"event":"pusher:pong","data":{data}}}"#);
        assert_eq!(ClientMessage::parse(&text), Ok(ClientMessage::Pong));
    }
    assert_eq!(
        ClientMessage::parse(r#"{"event":"pusher:pong"}"#),
        Ok(ClientMessage::Pong)
    );
}

#[test]
fn c23_data_is_an_object_or_a_string_of_one() {
    let expected = || SubscribeRequest {
        channel: "presence-room".into(),
        auth: Some("KEY:SIG".into()),
        channel_data: ChannelData::Text(r#"{"user_id":"10"}"#.into()),
    };
    for text in [
        r#"{"event":"pusher:subscribe","data":{"channel":"presence-room","auth":"KEY:SIG","channel_data":"{\"user_id\":\"10\"}"}}"#,
        r#"{"event":"pusher:subscribe","data":"{\"channel\":\"presence-room\",\"auth\":\"KEY:SIG\",\"channel_data\":\"{\\\"user_id\\\":\\\"10\\\"}\"}"}"#,
        r#"{"userId":null,"channel":"x","data":{"channel":"presence-room","auth":"KEY:SIG","x":[{}],"channel_data":"{\"user_id\":\"10\"}"},"event":"pusher:subscribe"}"#,
    ] {
        assert_eq!(subscribed(text), expected(), "{text}");
    }
}

#[test]
fn c24_not_json() {
    for text in [
        "",
        "hello",
        "{",
        "{\"event\":\"pusher:ping\"",
        r#"{"event":"pusher:ping"} x"#,
        r#"{'event':'pusher:ping'}"#,
        r#"{"event":"\ud800"}"#,
        r#"{"event":"client-a","channel":"private-a","data":"\ud800"}"#,
        r#"{"event":"client-a","channel":"private-a","data":{"a":["\udfff"]}}"#,
        "\u{feff}{}",
    ] {
        refused(text, ClientError::InvalidJson);
    }
    refused(&"[".repeat(50_000), ClientError::InvalidJson);
    let deep = format!(
        r#"{{"event":"client-a","channel":"private-a","data":{}{}}}"#,
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    refused(&deep, ClientError::InvalidJson);
}

#[test]
fn c24_no_message() {
    for text in [
        "null",
        "1",
        "\"pusher:ping\"",
        "[]",
        "{}",
        r#"["pusher:ping"]"#,
        r#"["pusher:ping",null,null]"#,
        r#"{"event":null}"#,
        r#"{"event":1}"#,
        r#"{"event":["pusher:ping"]}"#,
        r#"{"Event":"pusher:ping"}"#,
        r#"{"data":{}}"#,
        r#"{"event":"pusher:ping","event":"pusher:pong"}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":"a","channel":"b"}}"#,
    ] {
        refused(text, ClientError::InvalidFormat);
    }
}

#[test]
fn c24_unsupported_events_are_named() {
    for name in [
        "pusher:foo",
        "pusher:",
        "pusher:Subscribe",
        "pusher_internal:member_added",
        "pusher_internal:subscription_succeeded",
        "pusher:connection_established",
        "foo",
        "",
        "Client-foo",
        "client",
        "clientfoo",
        " client-foo",
        "App\\Events\\Foo",
    ] {
        let text = format!(
            r#"{{"event":{},"channel":"private-a"}}"#,
            json::quoted(name)
        );
        refused(&text, ClientError::Unsupported(name.to_owned()));
    }
    let long = format!(r#"{{"event":"{}"}}"#, "x".repeat(60_000));
    let error = ClientMessage::parse(&long).unwrap_err();
    assert!(error.to_string().len() < 300);
}

#[test]
fn s7_channel_data_absent_null_and_empty_are_the_same() {
    let check = |member: &str, expected| {
        let text = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"a"{member}}}}}"#);
        assert_eq!(subscribed(&text).channel_data, expected, "{member}");
    };
    check("", ChannelData::Absent);
    check(r#","channel_data":null"#, ChannelData::Absent);
    check(r#","channel_data":"""#, ChannelData::Absent);
    check(r#","channel_data":"{}""#, ChannelData::Text("{}".into()));
    check(r#","channel_data":" ""#, ChannelData::Text(" ".into()));
    for no_text in ["{}", "1", "true", "[]", r#"{"user_id":"1"}"#] {
        check(
            &format!(r#","channel_data":{no_text}"#),
            ChannelData::NotText,
        );
    }
}

#[test]
fn s8_auth_of_any_type_is_read_without_error() {
    let check = |auth: &str, expected: Option<&str>| {
        let text =
            format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"a","auth":{auth}}}}}"#);
        assert_eq!(subscribed(&text).auth.as_deref(), expected, "{auth}");
    };
    check(r#""KEY:SIG""#, Some("KEY:SIG"));
    for none in ["\"\"", "null", "1", "{}", "[\"KEY:SIG\"]", "false"] {
        check(none, None);
    }
}

#[test]
fn s9_channel_is_required() {
    for event in ["pusher:subscribe", "pusher:unsubscribe"] {
        for missing in [
            "{}",
            r#"{"channel":null}"#,
            r#"{"auth":"a"}"#,
            "null",
            r#""{}""#,
        ] {
            let text = format!(r#"{{"event":"{event}","channel":"a","data":{missing}}}"#);
            refused(&text, ClientError::MissingChannel);
        }
        refused(
            &format!(r#"{{"event":"{event}"}}"#),
            ClientError::MissingChannel,
        );
        for ill_typed in [
            r#"{"channel":1}"#,
            r#"{"channel":{}}"#,
            r#"{"channel":["a"]}"#,
            r#""""#,
            r#""a""#,
            r#""null""#,
            r#""{\"channel\":\"a\"""#,
            r#""{\"channel\":\"\\ud800\"}""#,
            r#""[\"a\"]""#,
            "[]",
            "[\"a\",\"b\",\"c\"]",
            "1",
            "true",
        ] {
            let text = format!(r#"{{"event":"{event}","data":{ill_typed}}}"#);
            refused(&text, ClientError::InvalidFormat);
        }
    }
}

#[test]
fn s9_a_name_stays_as_sent() {
    let text = r#"{"event":"pusher:subscribe","data":{"channel":"a b\u00fc"}}"#;
    assert_eq!(subscribed(text).channel, "a bü");
    let text = r#"{"event":"pusher:subscribe","data":{"channel":""}}"#;
    assert_eq!(subscribed(text).channel, "");
}

#[test]
fn s18_unsubscribe() {
    for data in [
        r#"{"channel":"room"}"#,
        r#"{"channel":"room","auth":1,"channel_data":{}}"#,
        r#""{\"channel\":\"room\"}""#,
    ] {
        let text = format!(r#"{{"event":"pusher:unsubscribe","data":{data}}}"#);
        let expected = ClientMessage::Unsubscribe {
            channel: "room".into(),
        };
        assert_eq!(ClientMessage::parse(&text), Ok(expected));
    }
}

#[test]
fn nesting_inside_a_data_string_is_not_followed() {
    let deep = format!(
        r#"{{"event":"pusher:subscribe","data":"{{\"channel\":\"a\",\"x\":{}{}}}"}}"#,
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    assert_eq!(subscribed(&deep).channel, "a");
}

fn whispered(text: &str) -> (String, String, String) {
    match ClientMessage::parse(text) {
        Ok(ClientMessage::ClientEvent(event)) => (
            event.name.into_owned(),
            event.channel.into_owned(),
            event.data.as_json().to_owned(),
        ),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn e1_client_events() {
    let check = |text: &str, name: &str, data: &str| {
        let expected = (name.to_owned(), "private-a".to_owned(), data.to_owned());
        assert_eq!(whispered(text), expected);
    };
    check(
        r#"{"event":"client-typing","channel":"private-a","data":{"on":true}}"#,
        "client-typing",
        r#""{\"on\":true}""#,
    );
    check(
        r#"{"event":"client-","channel":"private-a","data":1}"#,
        "client-",
        r#""1""#,
    );
    check(
        r#"{"event":"client-a\"b","user_id":"x","channel":"private-a","data":"s"}"#,
        "client-a\"b",
        r#""s""#,
    );
}

#[test]
fn e5_channel_is_required_and_data_is_not() {
    for text in [
        r#"{"event":"client-a"}"#,
        r#"{"event":"client-a","data":{"channel":"private-a"}}"#,
        r#"{"event":"client-a","channel":null,"data":1}"#,
        r#"{"event":"client-a","channel":5,"data":1}"#,
        r#"{"event":"client-a","channel":["private-a"],"data":1}"#,
    ] {
        refused(text, ClientError::InvalidClientEvent);
    }
    let (.., data) = whispered(r#"{"event":"client-a","channel":"private-a"}"#);
    assert_eq!(data, r#""null""#);
    let (.., data) = whispered(r#"{"event":"client-a","channel":"private-a","data":null}"#);
    assert_eq!(data, r#""null""#);
}

#[test]
fn e7_data_is_the_senders_own_text() {
    let check = |sent: &str, delivered: &str| {
        let text = format!(r#"{{"event":"client-a","channel":"private-a","data": {sent} }}"#);
        assert_eq!(whispered(&text).2, delivered);
    };
    check(r#""{\"on\":true}""#, r#""{\"on\":true}""#);
    check(r#""\u00fc\/""#, r#""\u00fc\/""#);
    check("{}", r#""{}""#);
    check(r#"{"b" : 1.0,"a":1e2}"#, r#""{\"b\" : 1.0,\"a\":1e2}""#);
}

#[test]
fn random_text_never_panics() {
    let mut random = Random(23);
    let parts = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "null",
        "1",
        "\"event\":",
        "\"data\":",
        "\"channel\":",
        "\"pusher:subscribe\"",
        "\"client-a\"",
        "\"private-a\"",
        "\\ud800",
        "ü",
    ];
    for _ in 0..50_000 {
        let count = random.next() % 14;
        let text: String = (0..count)
            .map(|_| parts[random.next() as usize % parts.len()])
            .collect();
        let _ = ClientMessage::parse(&text);
        let _ = ClientMessage::parse(&format!("{{{text}}}"));
    }
}
