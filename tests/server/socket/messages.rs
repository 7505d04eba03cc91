//! What a message may look like and what follows if it doesn't (C-23 to C-29).
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::raw::{BINARY, FIN, Raw, TEXT, app_path, frame, text};
use crate::{
    client::Client,
    helpers::{Server, eventually, until},
};

#[tokio::test]
async fn c23_data_may_be_a_string_and_unknown_keys_are_ignored() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    let auth = client.auth("private-x", None);
    let request = json!({"channel": "private-x", "auth": auth, "more": [1]}).to_string();
    client
        .send(json!({"event": "pusher:subscribe", "data": request, "userId": "7", "channel": "other"}))
        .await;
    client
        .expect(json!({"event": "pusher_internal:subscription_succeeded", "channel": "private-x", "data": "{}"}))
        .await;
    client
        .send(json!({"event": "pusher:unsubscribe", "data": "{\"channel\":\"private-x\"}", "x": null}))
        .await;
    assert!(client.has_nothing().await);
    until("it is left", async || server.channels("").await.is_empty()).await;
}

#[tokio::test]
async fn c24_c27_bad_messages_are_answered_and_the_connection_stays() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    let no_json = "Received invalid JSON";
    let no_message = "Invalid message format";
    let no_channel = "Missing parameter: data.channel";
    let unsupported = |name: &str| format!("Unsupported event received on socket: {name}");
    let subscribe = |data: &str| format!(r#"{{"event":"pusher:subscribe","data":{data}}}"#);
    for (message, answer) in [
        ("".to_owned(), no_json.to_owned()),
        (" ".to_owned(), no_json.to_owned()),
        ("{".to_owned(), no_json.to_owned()),
        ("ping".to_owned(), no_json.to_owned()),
        (r#"{"event":"pusher:ping"}x"#.to_owned(), no_json.to_owned()),
        (r#"{"event":"pusher:ping",}"#.to_owned(), no_json.to_owned()),
        ("{'event':'pusher:ping'}".to_owned(), no_json.to_owned()),
        ("null".to_owned(), no_message.to_owned()),
        ("7".to_owned(), no_message.to_owned()),
        (r#""pusher:ping""#.to_owned(), no_message.to_owned()),
        (
            r#"[{"event":"pusher:ping"}]"#.to_owned(),
            no_message.to_owned(),
        ),
        ("{}".to_owned(), no_message.to_owned()),
        (r#"{"data":{}}"#.to_owned(), no_message.to_owned()),
        (r#"{"event":null}"#.to_owned(), no_message.to_owned()),
        (
            r#"{"event":["pusher:ping"]}"#.to_owned(),
            no_message.to_owned(),
        ),
        (r#"{"event":1}"#.to_owned(), no_message.to_owned()),
        (
            r#"{"event":"pusher:subscribe"}"#.to_owned(),
            no_channel.to_owned(),
        ),
        (subscribe("{}"), no_channel.to_owned()),
        (subscribe(r#"{"channel":null}"#), no_channel.to_owned()),
        (subscribe(r#"{"channel":7}"#), no_message.to_owned()),
        (subscribe(r#"{"channel":["a"]}"#), no_message.to_owned()),
        (subscribe("7"), no_message.to_owned()),
        (subscribe(r#""no json""#), no_message.to_owned()),
        (subscribe("[]"), no_message.to_owned()),
        (
            r#"{"event":"pusher:unsubscribe","data":{}}"#.to_owned(),
            no_channel.to_owned(),
        ),
        (
            r#"{"event":"pusher:unsubscribe","data":{"channel":{}}}"#.to_owned(),
            no_message.to_owned(),
        ),
        (
            r#"{"event":"pusher:nonsense","data":{}}"#.to_owned(),
            unsupported("pusher:nonsense"),
        ),
        (
            r#"{"event":"pusher_internal:member_added","channel":"presence-x","data":"{}"}"#
                .to_owned(),
            unsupported("pusher_internal:member_added"),
        ),
        (
            r#"{"event":"my-event","channel":"room","data":{}}"#.to_owned(),
            unsupported("my-event"),
        ),
        (
            r#"{"event":"Client-x","channel":"private-x"}"#.to_owned(),
            unsupported("Client-x"),
        ),
        (r#"{"event":""}"#.to_owned(), unsupported("")),
    ] {
        client.send_text(&message).await;
        let error = client.next().await;
        let expected = json!({"event": "pusher:error", "data": {"code": null, "message": answer}});
        assert_eq!(error, expected, "{message}");
    }
    // null data of subscribe is no object either
    client.send_text(&subscribe("null")).await;
    assert_eq!(client.next().await["event"], "pusher:error");
    client.subscribe("room", None).await;
}

#[tokio::test]
async fn c24_a_long_name_is_not_echoed_whole() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client.send(json!({"event": "é".repeat(20_000)})).await;
    assert!(client.next_text().await.len() < 1000);
}

#[tokio::test]
async fn c24_binary_frames_are_taken_as_text_if_they_are_text() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    let ping = r#"{"event":"pusher:ping"}"#;
    client.send_message(Message::binary(ping)).await;
    client
        .expect(json!({"event": "pusher:pong", "data": "{}"}))
        .await;
    for bytes in [
        &b"\xff\xfe"[..],
        b"\x00\x01\x02",
        b"",
        b"{\"event\":\"\xc3\x28\"}",
    ] {
        client.send_message(Message::binary(bytes.to_vec())).await;
        client.assert_error(None, "Received invalid JSON").await;
    }
    assert!(client.has_nothing().await);
}

#[tokio::test]
async fn c24_violations_of_the_websocket_protocol_close() {
    let server = Server::start().await;
    let mut unmasked = text(r#"{"event":"pusher:ping"}"#);
    unmasked[1] &= 0x7f;
    unmasked.drain(2..6);
    let mut huge = vec![FIN | TEXT, 0xff];
    huge.extend(u64::MAX.to_be_bytes());
    let too_large = "Maximum message size exceeded";
    for (bytes, code, reason) in [
        (frame(FIN | TEXT, b"\xff"), 1007, None),
        (frame(FIN | TEXT, b"\"\xed\xa0\x80\""), 1007, None),
        (
            [frame(TEXT, b"\"\xc3"), frame(FIN, b"(\"")].concat(),
            1007,
            None,
        ),
        (
            frame(FIN | TEXT, &vec![b' '; 65_537]),
            1009,
            Some(too_large),
        ),
        (
            frame(FIN | BINARY, &vec![b' '; 65_537]),
            1009,
            Some(too_large),
        ),
        (
            [
                frame(TEXT, &vec![b' '; 40_000]),
                frame(0, &vec![b' '; 40_000]),
            ]
            .concat(),
            1009,
            Some(too_large),
        ),
        (unmasked, 1002, None),
        (frame(FIN | 3, b""), 1002, None),
        (frame(FIN | 0x0b, b""), 1002, None),
        (frame(FIN | 0x40 | TEXT, b"{}"), 1002, None),
        (frame(FIN, b"nothing to continue"), 1002, None),
        (
            [frame(TEXT, b"{"), frame(FIN | TEXT, b"}")].concat(),
            1002,
            None,
        ),
        (frame(9, b"a fragmented ping"), 1002, None),
        (frame(FIN | 9, &[0; 126]), 1002, None),
        (frame(FIN | 8, b"\x03"), 1002, None),
        (frame(FIN | 8, b"\x03\xed"), 1002, None),
    ] {
        let mut raw = Raw::connect(&server).await;
        raw.send(&bytes).await;
        let shown = &bytes[..bytes.len().min(20)];
        let (closed, text) = raw.closed().await;
        assert_eq!(closed, code, "{shown:?}");
        if let Some(reason) = reason {
            assert_eq!(text, reason);
        }
        assert!(raw.is_ended().await, "{shown:?}");
    }
    // a length of 2^64 - 1 is refused from its header
    let mut raw = Raw::connect(&server).await;
    raw.send(huge).await;
    assert!(matches!(raw.closed().await.0, 1002 | 1009));
    drop(raw);
    eventually("all are gone", || server.node.connections() == 0).await;
}

#[tokio::test]
async fn c25_the_message_limit_is_exact_and_has_room_for_the_largest_event() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    let mut message = r#"{"event":"pusher:ping"}"#.to_owned();
    message.push_str(&" ".repeat(65_536 - message.len()));
    client.send_text(&message).await;
    assert_eq!(client.next().await["event"], "pusher:pong");
    message.push(' ');
    client.send_text(&message).await;
    assert_eq!(
        client.closed().await,
        (1009, "Maximum message size exceeded".to_owned())
    );

    // every byte of the data escaped as \u00XX: six for one
    let mut sender = Client::on(&server, "private-x").await;
    let mut other = Client::on(&server, "private-x").await;
    let data = "\\u0001".repeat(10_240);
    let event = format!(r#"{{"event":"client-x","channel":"private-x","data":"{data}"}}"#);
    sender.send_text(&event).await;
    assert!(sender.has_nothing().await);
    let received = other.next().await;
    assert_eq!(received["data"], "\u{1}".repeat(10_240));

    let small = Server::with("[app_defaults]\nmessage_bytes_max = 256").await;
    let mut client = Client::connect(&small).await;
    client.send_text(&" ".repeat(257)).await;
    assert_eq!(client.closed().await.0, 1009);
}

fn is_error_of_form(frame: &Value) -> bool {
    let data = frame["data"].as_object();
    frame["event"] == "pusher:error"
        && data.is_some_and(|data| {
            data.len() == 2
                && data.get("message").is_some_and(Value::is_string)
                && data
                    .get("code")
                    .is_some_and(|code| code.is_null() || code.is_u64())
        })
}

#[tokio::test]
async fn c26_c27_c29_errors_that_leave_the_connection_open() {
    let server = Server::with("[app_defaults]\nclient_events = \"none\"").await;
    let mut client = Client::connect(&server).await;
    for message in [
        "x",
        "{}",
        r#"{"event":"x"}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":"a b"}}"#,
        r#"{"event":"client-x","channel":"private-x"}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":"private-x"}}"#,
    ] {
        client.send_text(message).await;
        let mut error = client.next().await;
        if error["event"] == "pusher:subscription_error" {
            error = client.next().await;
        }
        assert!(is_error_of_form(&error), "{error}");
        let code = error["data"]["code"].as_u64();
        assert!(code.is_none_or(|code| code >= 4300), "{error}");
    }
    assert!(client.has_nothing().await);
}

#[tokio::test]
async fn c26_c28_an_error_before_established_is_fatal() {
    let server = Server::with("[app_defaults]\nconnections_max = 1").await;
    let _first = Client::connect(&server).await;
    for path in [
        "/app/unknown",
        "/x",
        &app_path(),
        &format!("{}&protocol=1", app_path()),
    ] {
        let mut client = Client::open(&server, path, &[]).await;
        let error = client.next().await;
        assert!(is_error_of_form(&error), "{error}");
        let code = error["data"]["code"].as_u64();
        assert!(
            code.is_some_and(|code| (4000..4300).contains(&code)),
            "{error}"
        );
    }
}
