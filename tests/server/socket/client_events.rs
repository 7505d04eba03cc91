//! Client events: who may send them, who gets them and in which form (E-1 to E-12).
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{client::Client, helpers::Server};

const ROOM: &str = "private-room";

/// Two members of a channel, on different workers since connections go to them in turn.
async fn pair(server: &Server, channel: &str) -> (Client, Client) {
    (
        Client::on(server, channel).await,
        Client::on(server, channel).await,
    )
}

fn event(name: &str, channel: &str, data: Value) -> Value {
    json!({"event": name, "channel": channel, "data": data})
}

#[tokio::test]
async fn e1_e7_data_of_any_form_arrives_as_a_string() {
    let server = Server::start().await;
    let (mut sender, mut other) = pair(&server, ROOM).await;
    for (sent, received) in [
        (r#""data":{"on":true}"#, r#"{"on":true}"#),
        (
            r#""data":{ "b":1.0,"a":1e2 , "b":2}"#,
            r#"{ "b":1.0,"a":1e2 , "b":2}"#,
        ),
        (r#""data":{}"#, "{}"),
        (r#""data":[]"#, "[]"),
        (
            r#""data":12345678901234567890.10"#,
            "12345678901234567890.10",
        ),
        (r#""data":false"#, "false"),
        (r#""data":null"#, "null"),
        (r#""x":1"#, "null"),
        (r#""data":"plain""#, "plain"),
        (r#""data":"{\"a\":\"\\u00e9\"}""#, r#"{"a":"\u00e9"}"#),
        (r#""data":"\u00e9\/\n""#, "é/\n"),
        (r#""data":"""#, ""),
        (r#""data":{"x":"\u00e9"}"#, r#"{"x":"\u00e9"}"#),
    ] {
        let text = format!(r#"{{"event":"client-x","channel":"{ROOM}",{sent}}}"#);
        sender.send_text(&text).await;
        other.expect(event("client-x", ROOM, received.into())).await;
    }
    assert!(sender.has_nothing().await);
}

#[tokio::test]
async fn e1_e9_names_pass_unchanged_and_other_keys_are_dropped() {
    let server = Server::start().await;
    let (mut sender, mut other) = pair(&server, ROOM).await;
    for name in [
        "client-",
        "client-App\\Events\\X",
        "client-é\"🚀",
        "client-pusher:x",
    ] {
        sender
            .send(
                json!({"event": name, "channel": ROOM, "data": "x", "user_id": "forged",
                "socket_id": "1.1", "name": "y"}),
            )
            .await;
        other.expect(event(name, ROOM, "x".into())).await;
    }
}

#[tokio::test]
async fn e2_private_and_presence_kinds_only() {
    let server = Server::start().await;
    for channel in [
        "private-cache-a",
        "private-encrypted-a",
        "private-encrypted-cache-a",
    ] {
        let mut other = Client::on(&server, channel).await;
        if channel.contains("cache") {
            assert_eq!(other.next().await["event"], "pusher:cache_miss");
        }
        let mut sender = Client::on(&server, channel).await;
        if channel.contains("cache") {
            assert_eq!(sender.next().await["event"], "pusher:cache_miss");
        }
        sender.whisper(channel, "client-x", json!(1)).await;
        other.expect(event("client-x", channel, "1".into())).await;
    }
    let message = "Client event rejected - only supported on private and presence channels";
    for channel in ["room", "cache-room", "privateroom", "#server-to-user-1"] {
        let mut other = Client::connect(&server).await;
        let mut sender = Client::connect(&server).await;
        for client in [&mut other, &mut sender] {
            client.ask(channel, None).await;
            client.settle().await;
        }
        sender.send(event("client-x", channel, json!(1))).await;
        sender.assert_error(None, message).await;
        other.assert_silence(&server).await;
    }
}

#[tokio::test]
async fn e3_the_sender_must_be_on_the_channel() {
    let server = Server::start().await;
    let mut member = Client::on(&server, ROOM).await;
    let mut stranger = Client::on(&server, "private-other").await;
    for channel in [ROOM, "presence-x", "private-a b"] {
        stranger.send(event("client-x", channel, json!(1))).await;
        let message = format!(
            "Cannot broadcast client event (connection not subscribed to channel {channel})"
        );
        stranger.assert_error(None, &message).await;
    }
    member.assert_silence(&server).await;
}

#[tokio::test]
async fn e4_the_switch() {
    // all: subscribed or not, but still no public channels
    let all = Server::with("[app_defaults]\nclient_events = \"all\"").await;
    let mut member = Client::on(&all, ROOM).await;
    let mut presence = Client::member(&all, "presence-room", "1").await;
    let mut stranger = Client::connect(&all).await;
    stranger.whisper(ROOM, "client-x", json!(1)).await;
    member.expect(event("client-x", ROOM, "1".into())).await;
    stranger
        .whisper("presence-room", "client-x", json!(1))
        .await;
    presence
        .expect(event("client-x", "presence-room", "1".into()))
        .await;
    stranger.send(event("client-x", "room", json!(1))).await;
    let message = "Client event rejected - only supported on private and presence channels";
    stranger.assert_error(None, message).await;

    let none = Server::with("[app_defaults]\nclient_events = \"none\"").await;
    let (mut sender, mut other) = pair(&none, ROOM).await;
    for channel in [ROOM, "room", "private-unknown"] {
        sender.send(event("client-x", channel, json!(1))).await;
        sender
            .assert_error(
                Some(4301),
                "The app does not have client messaging enabled.",
            )
            .await;
    }
    other.assert_silence(&none).await;
}

#[tokio::test]
async fn e5_without_a_usable_channel() {
    let server = Server::start().await;
    let mut client = Client::on(&server, ROOM).await;
    for message in [
        r#"{"event":"client-x"}"#,
        r#"{"event":"client-x","data":{}}"#,
        r#"{"event":"client-x","channel":null,"data":{}}"#,
        r#"{"event":"client-x","channel":7,"data":{}}"#,
        r#"{"event":"client-x","channel":["private-room"],"data":{}}"#,
        r#"{"event":"client-x","data":{"channel":"private-room"}}"#,
    ] {
        client.send_text(message).await;
        client
            .assert_error(None, "Invalid client event (must contain channel and data)")
            .await;
    }
}

#[tokio::test]
async fn e6_everybody_but_the_sending_connection_gets_it() {
    let server = Server::start().await;
    let channel = "presence-room";
    // the sender's user has another tab
    let mut sender = Client::member(&server, channel, "1").await;
    let mut others = vec![Client::member(&server, channel, "1").await];
    for id in 2..8 {
        others.push(Client::member(&server, channel, &id.to_string()).await);
    }
    for n in 0..10 {
        sender
            .send(event("client-n", channel, json!(n.to_string())))
            .await;
    }
    join_all(others.iter_mut().map(async |other| {
        let mut expected = 0;
        while expected < 10 {
            let frame = other.next().await;
            if frame["event"] != "pusher_internal:member_added" {
                assert_eq!(frame["data"], expected.to_string());
                expected += 1;
            }
        }
        other.assert_silence(&server).await;
    }))
    .await;
    for _ in 2..8 {
        assert_eq!(sender.next().await["event"], "pusher_internal:member_added");
    }
    sender.assert_silence(&server).await;
}

#[tokio::test]
async fn e8_the_members_id_goes_along_on_presence_channels() {
    let server = Server::start().await;
    for channel in ["presence-room", "presence-cache-room"] {
        let mut other = Client::member(&server, channel, "1").await;
        let mut sender = Client::connect(&server).await;
        // a number becomes text here too
        sender.ask(channel, Some(r#"{"user_id":10}"#)).await;
        sender.settle().await;
        sender
            .send(json!({"event": "client-x", "channel": channel, "data": {"on": true}, "user_id": "forged"}))
            .await;
        let frame = loop {
            let frame = other.next().await;
            if frame["event"] == "client-x" {
                break frame;
            }
        };
        assert_eq!(
            frame,
            json!({"event": "client-x", "channel": channel, "data": "{\"on\":true}", "user_id": "10"})
        );
    }
}

#[tokio::test]
async fn e10_the_rate_limit_counts_client_events_only() {
    let server = Server::with("[app_defaults]\nclient_events_per_s = 3").await;
    let (mut sender, mut other) = pair(&server, ROOM).await;
    let mut neighbour = Client::on(&server, ROOM).await;
    for n in 0..20 {
        sender.send(event("client-x", ROOM, json!(n))).await;
    }
    let data = json!({"code": 4301, "message": "Client event rejected due to rate limit"});
    let refusals = sender.settle().await;
    for refusal in &refusals {
        assert_eq!(*refusal, json!({"event": "pusher:error", "data": data}));
    }
    let refused = refusals.len();
    // three at once, and at most a few more that time has allowed since
    assert!((10..=17).contains(&refused), "{refused}");
    for _ in 0..20 - refused {
        assert_eq!(other.next().await["event"], "client-x");
        assert_eq!(neighbour.next().await["event"], "client-x");
    }
    other.assert_silence(&server).await;
    // everything else goes on, and so do others
    for _ in 0..20 {
        assert!(sender.has_nothing().await);
    }
    neighbour
        .whisper("private-room", "client-x", json!(1))
        .await;

    // no limit by default
    let server = Server::start().await;
    let mut sender = Client::on(&server, ROOM).await;
    for n in 0..500 {
        sender.send(event("client-x", ROOM, json!(n))).await;
    }
    assert!(sender.has_nothing().await);
}

/// Reverb's limit on messages of every kind.
#[tokio::test]
async fn e10_the_rate_limit_of_reverb() {
    let server = Server::with(
        "[app_defaults]\nmessage_rate_limit = true\nmessage_rate_attempts_max = 5\n\
         message_rate_decay_s = 3600\n",
    )
    .await;
    let mut client = Client::on(&server, "room").await;
    for _ in 0..4 {
        assert!(client.has_nothing().await);
    }
    for message in [
        json!({"event": "pusher:ping"}),
        event("client-x", ROOM, json!(1)),
        json!({"event": "pusher:subscribe", "data": {"channel": "other"}}),
    ] {
        client.send(message).await;
        client.assert_error(Some(4301), "Rate limit exceeded").await;
    }
    // it still receives
    crate::client::publish(&server, "room", "e", "x").await;
    client.expect(event("e", "room", "x".into())).await;
    assert_eq!(server.node.connections(), 1);
}

#[tokio::test]
async fn e11_sizes_of_data_and_names() {
    let server = Server::start().await;
    let (mut sender, mut other) = pair(&server, ROOM).await;
    let too_large = "The event data should be less than 10 KB.";
    let text = |bytes: usize| json!("x".repeat(bytes));
    // as an object it is the raw text that counts
    let object = |bytes: usize| json!({"a": "x".repeat(bytes - r#"{"a":""}"#.len())});
    for data in [text(10_240), object(10_240), json!("\n".repeat(10_240))] {
        sender.whisper(ROOM, "client-x", data).await;
        assert_eq!(other.next().await["event"], "client-x");
    }
    for data in [text(10_241), object(10_241), json!("é".repeat(5_121))] {
        sender.send(event("client-x", ROOM, data)).await;
        sender.assert_error(Some(4301), too_large).await;
    }
    let name = |chars: usize| format!("client-{}", "é".repeat(chars - "client-".len()));
    sender.whisper(ROOM, &name(200), json!(1)).await;
    other.expect(event(&name(200), ROOM, "1".into())).await;
    sender.send(event(&name(201), ROOM, json!(1))).await;
    sender
        .assert_error(
            Some(4301),
            "Event name is too long. Maximum allowed size is 200.",
        )
        .await;
    other.assert_silence(&server).await;
}
