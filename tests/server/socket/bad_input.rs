//! What no client should send, over the socket. Each case ends in an answer or a close, leaves nothing behind, and a
//! bystander on the same channels notices nothing.
use std::time::Duration;

use futures_util::future::join_all;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};

use super::raw::{CLOSE, FIN, PING, PONG, Raw, TEXT, app_path, frame, handshake, text};
use crate::{
    client::{Client, publish},
    helpers::{Server, eventually},
    rest::request::{Connection, send},
};

const ROOM: &str = "private-room";

/// Somebody who behaves, on the channels that the others misuse.
struct Bystander<'a> {
    server: &'a Server,
    client: Client,
}

impl Bystander<'_> {
    async fn of(server: &Server) -> Bystander<'_> {
        let mut client = Client::on(server, ROOM).await;
        client.join("presence-room", "bystander").await;
        Bystander { server, client }
    }

    /// Once the others are gone: it got nothing it shouldn't have, and still gets what it should.
    async fn assert_unharmed(&mut self) {
        eventually("only the bystander is left", || {
            self.server.node.connections() == 1
        })
        .await;
        self.client.assert_silence(self.server).await;
        for channel in [ROOM, "presence-room"] {
            publish(self.server, channel, "e", "fine").await;
            self.client
                .expect(json!({"event": "e", "channel": channel, "data": "fine"}))
                .await;
        }
        let channels = self.server.channels("").await;
        let left: Vec<_> = channels
            .iter()
            .map(|(name, on)| (name.as_str(), on.subscription_count))
            .collect();
        assert_eq!(left, [("presence-room", 1), (ROOM, 1)]);
    }
}

/// The event of each answer, up to the answer to a ping.
async fn answers(client: &mut Client, message: &str) -> Vec<Value> {
    client.send_text(message).await;
    client.settle().await
}

#[tokio::test]
async fn nulls_and_wrong_types_everywhere() {
    let server = Server::start().await;
    let mut bystander = Bystander::of(&server).await;
    let mut client = Client::on(&server, "private-own").await;
    let strange = [
        "null",
        "true",
        "0",
        "-1.5e300",
        "[]",
        "[null]",
        "{}",
        r#"{"channel":null}"#,
        r#""""#,
        r#"" ""#,
        r#""[]""#,
    ];
    for event in [
        "pusher:subscribe",
        "pusher:unsubscribe",
        "pusher:signin",
        "pusher:unknown",
        "pusher_internal:x",
        "client-x",
        "x",
    ] {
        for value in strange {
            for message in [
                format!(r#"{{"event":"{event}","data":{value}}}"#),
                format!(r#"{{"event":"{event}","channel":{value},"data":{value}}}"#),
                format!(r#"{{"event":"{event}","data":{{"channel":{value}}}}}"#),
                format!(r#"{{"event":"{event}","data":{{"channel":"{ROOM}","auth":{value}}}}}"#),
                format!(
                    r#"{{"event":"{event}","data":{{"channel":"presence-room","auth":{value},"channel_data":{value}}}}}"#
                ),
            ] {
                let answers = answers(&mut client, &message).await;
                // unsubscribing is silent where the channel is a name
                let may_be_silent = event == "pusher:unsubscribe";
                assert!(may_be_silent || !answers.is_empty(), "{message}");
                for answer in answers {
                    let name = answer["event"].as_str().unwrap();
                    assert!(
                        ["pusher:error", "pusher:subscription_error"].contains(&name),
                        "{message}: {answer}"
                    );
                }
            }
        }
        for value in strange {
            let message = format!(r#"{{"event":{value},"data":{{"channel":"{ROOM}"}}}}"#);
            assert_eq!(answers(&mut client, &message).await.len(), 1, "{message}");
        }
    }
    client.close().await;
    bystander.assert_unharmed().await;
}

#[tokio::test]
async fn json_nested_50_000_deep() {
    let server = Server::with(
        "[app_defaults]\nmessage_bytes_max = 4000000\nclient_event_data_bytes_max = 4000000\n\
         presence_user_info_bytes_max = 4000000\n",
    )
    .await;
    let mut bystander = Bystander::of(&server).await;
    const DEPTH: usize = 50_000;
    let array = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let object = format!("{}1{}", r#"{"a":"#.repeat(DEPTH), "}".repeat(DEPTH));
    let open = "[".repeat(DEPTH);
    let mut client = Client::connect(&server).await;
    for deep in [&array, &object, &open] {
        for message in [
            deep.clone(),
            format!(r#"{{"event":{deep}}}"#),
            format!(r#"{{"event":"pusher:subscribe","data":{deep}}}"#),
            format!(r#"{{"event":"pusher:subscribe","data":{{"channel":{deep}}}}}"#),
            json!({"event": "pusher:subscribe", "data": deep}).to_string(),
            format!(r#"{{"event":"client-x","channel":{deep},"data":1}}"#),
        ] {
            assert_eq!(answers(&mut client, &message).await.len(), 1);
        }
        // a ping may carry what it likes
        let ping = format!(r#"{{"event":"pusher:ping","data":{deep}}}"#);
        assert_eq!(answers(&mut client, &ping).await.len(), 1);

        let data = format!(r#"{{"user_id":"1","user_info":{deep}}}"#);
        client.ask("presence-deep", Some(&data)).await;
        client.unsubscribe("presence-deep").await;
        assert!(!client.settle().await.is_empty());
        client.ask("presence-deep", Some(deep)).await;
        assert_eq!(client.settle().await.len(), 2);
    }
    client.close().await;
    bystander.assert_unharmed().await;
}

#[tokio::test]
async fn lone_surrogates_and_control_characters() {
    let server = Server::start().await;
    let mut bystander = Bystander::of(&server).await;
    let mut client = Client::connect(&server).await;
    for message in [
        r#"{"event":"\ud800"}"#,
        r#"{"event":"client-\udc00\ud800","channel":"private-room"}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":"\ud83d"}}"#,
        r#"{"event":"pusher:subscribe","data":"{\"channel\":\"\ud83d\"}"}"#,
        r#"{"event":"pusher:subscribe","data":"{\"channel\":\"\\ud83d\"}"}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":"private-room","auth":"\udead"}}"#,
        r#"{"event":"client-x","channel":"\ud800","data":1}"#,
        r#"{"\ud800":1}"#,
        "{\"event\":\"pusher:ping\u{0}\"}",
        "{\"event\":\"a\nb\"}",
        "\u{feff}{\"event\":\"pusher:ping\"}",
        "{\"event\":\"pusher:ping\"}\u{0}",
    ] {
        let answers = answers(&mut client, message).await;
        assert!(!answers.is_empty(), "{message}");
        for answer in answers {
            let event = answer["event"].as_str().unwrap();
            assert!(event.ends_with("error"), "{message}: {answer}");
        }
    }
    // in data that nobody looks into, half a pair is refused or passed on, never made into something else
    let mut sender = Client::on(&server, "private-own").await;
    let mut other = Client::on(&server, "private-own").await;
    let half = r#"{"event":"client-x","channel":"private-own","data":{"a":"\ud800"}}"#;
    let answers = answers(&mut sender, half).await;
    if answers.is_empty() {
        assert_eq!(other.next().await["data"], r#"{"a":"\ud800"}"#);
    } else {
        assert_eq!(answers[0]["event"], "pusher:error");
        other.assert_silence(&server).await;
    }
    for client in [&mut client, &mut sender, &mut other] {
        client.close().await;
    }
    bystander.assert_unharmed().await;
}

#[tokio::test]
async fn names_of_a_megabyte() {
    let server = Server::with("[app_defaults]\nmessage_bytes_max = 4000000\n").await;
    let mut bystander = Bystander::of(&server).await;
    let mut client = Client::on(&server, "private-own").await;
    let long = "a".repeat(1_000_000);
    for message in [
        json!({ "event": long }),
        json!({"event": format!("pusher:{long}")}),
        json!({"event": format!("client-{long}"), "channel": "private-own"}),
        json!({"event": "client-x", "channel": format!("private-{long}")}),
        json!({"event": "pusher:subscribe", "data": {"channel": format!("private-encrypted-{long}")}}),
        json!({"event": "pusher:subscribe", "data": {"channel": "private-x", "auth": long}}),
        json!({"event": "pusher:subscribe", "data": {"channel": "private-x", "auth": format!(":{long}")}}),
        json!({"event": "pusher:subscribe", "data": {"channel": "presence-x", "auth": "a:b", "channel_data": long}}),
    ] {
        let text = message.to_string();
        let answers = answers(&mut client, &text).await;
        assert!(!answers.is_empty());
        for answer in answers {
            // the channel of a subscription_error is the one that was asked for; texts are cut
            let size = answer.to_string().len();
            assert!(size < 4000, "{size} bytes");
        }
    }
    // over the default limit it isn't even read
    client.close().await;
    bystander.assert_unharmed().await;
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client.send(json!({ "event": long })).await;
    assert_eq!(client.closed().await.0, 1009);
}

#[tokio::test]
async fn ping_floods_are_answered_or_end_the_flooder() {
    let server = Server::with("[socket]\noutbox_bytes_max = 65536\nclose_timeout_s = 1\n").await;
    let mut bystander = Bystander::of(&server).await;
    // one that reads gets every answer
    let mut reads = Raw::connect(&server).await;
    let pings = frame(FIN | PING, &[b'x'; 100]).repeat(200);
    for _ in 0..20 {
        reads.send(&pings).await;
        for _ in 0..200 {
            assert_eq!(
                reads.next_frame().await,
                Some((FIN | PONG, vec![b'x'; 100]))
            );
        }
    }
    // one that doesn't is a slow consumer, whatever kind of ping it sends
    for ping in [
        frame(FIN | PING, &[b'x'; 125]),
        text(r#"{"event":"pusher:ping"}"#),
        text("nonsense"),
    ] {
        let mut deaf = Raw::open_narrow(&server).await.upgrade().await;
        let pings = ping.repeat(1000);
        let mut sent = 0;
        while deaf.try_send(&pings, Duration::from_secs(20)).await {
            sent += 1;
            assert!(sent < 100_000, "it is never cut");
        }
    }
    drop(reads);
    bystander.assert_unharmed().await;
}

#[tokio::test]
async fn ten_thousand_subscriptions_of_one_socket() {
    let server = Server::start().await;
    let mut bystander = Bystander::of(&server).await;
    let mut raw = Raw::connect(&server).await;
    for hundred in 0..100 {
        let messages: Vec<u8> = (0..100)
            .flat_map(|n| {
                let channel = format!("room-{hundred}-{n}");
                text(
                    &json!({"event": "pusher:subscribe", "data": {"channel": channel}}).to_string(),
                )
            })
            .collect();
        raw.send(messages).await;
        for _ in 0..100 {
            let answer = raw.next_text().await;
            assert_eq!(answer["event"], "pusher_internal:subscription_succeeded");
        }
    }
    publish(&server, "room-99-99", "e", "x").await;
    assert_eq!(raw.next_text().await["event"], "e");
    raw.reset();
    bystander.assert_unharmed().await;
}

#[tokio::test]
async fn handshakes_that_never_finish() {
    let server = Server::with("[server]\nhandshake_timeout_s = 1\n").await;
    let mut bystander = Bystander::of(&server).await;
    let whole = handshake(&app_path(), "");
    // nothing at all, a part, all but the last byte
    let ends = join_all(
        [0, 1, 10, whole.len() / 2, whole.len() - 1].map(async |length| {
            let mut connection = Connection::open(server.addr).await;
            connection.send(&whole[..length]).await;
            let answer = connection.try_response(true).await;
            assert!(
                answer.as_ref().is_none_or(|answer| answer.status == 408),
                "{answer:?}"
            );
            answer.is_none() || connection.is_closed().await
        }),
    )
    .await;
    assert_eq!(ends, [true; 5]);
    // a byte now and then buys no time
    let mut trickle = Raw::open(&server).await;
    let mut sent = 0;
    for byte in whole.as_bytes().chunks(1).cycle() {
        if !trickle.try_send(byte, Duration::from_secs(1)).await {
            break;
        }
        sent += 1;
        assert!(sent < 100_000, "it is never cut");
        // slow enough to be far from complete when the time is over
        if tokio::time::timeout(Duration::from_millis(50), trickle.is_ended())
            .await
            .is_ok()
        {
            break;
        }
    }
    assert!(sent < whole.len());
    bystander.assert_unharmed().await;
}

#[tokio::test]
async fn a_handshake_in_single_bytes_with_frames_behind_it() {
    let server = Server::start().await;
    let mut bystander = Bystander::of(&server).await;
    let subscribe = text(r#"{"event":"pusher:subscribe","data":{"channel":"room"}}"#);
    let ping = text(r#"{"event":"pusher:ping"}"#);
    let whole = [handshake(&app_path(), "").as_bytes(), &subscribe, &ping].concat();
    for size in [1, 2, 3, 7, 64, whole.len() - 1, whole.len()] {
        let mut raw = Raw::open(&server).await;
        for bytes in whole.chunks(size) {
            raw.send(bytes).await;
            tokio::task::yield_now().await;
        }
        assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
        raw.assert_established_subscribed_and_answered().await;
    }
    bystander.assert_unharmed().await;
}

#[tokio::test]
async fn http_requests_pipelined_before_the_handshake() {
    let server = Server::start().await;
    let mut bystander = Bystander::of(&server).await;
    let up = "GET /up HTTP/1.1\r\nHost: x\r\n\r\n";
    let ping = text(r#"{"event":"pusher:ping"}"#);
    for requests in [1, 2, 5] {
        let mut raw = Raw::open(&server).await;
        raw.send(
            [
                up.repeat(requests).as_bytes(),
                handshake(&app_path(), "").as_bytes(),
                &ping,
            ]
            .concat(),
        )
        .await;
        for _ in 0..requests {
            let head = raw.head().await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert_eq!(
                raw.take(r#"{"health":"OK"}"#.len()).await,
                br#"{"health":"OK"}"#
            );
        }
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw.established().await;
        assert_eq!(raw.next_text().await["event"], "pusher:pong");
    }
    // and a handshake that is refused behind them
    let mut raw = Raw::open(&server).await;
    let bad = handshake(&app_path(), "").replace("Version: 13", "Version: 12");
    raw.send([up, &bad].concat()).await;
    let rest = String::from_utf8(raw.rest().await).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n"), "{rest}");
    assert!(rest.contains("HTTP/1.1 426 Upgrade Required\r\n"), "{rest}");
    bystander.assert_unharmed().await;
}

#[tokio::test]
async fn handshakes_of_nonsense() {
    let server = Server::start().await;
    let mut bystander = Bystander::of(&server).await;
    let good = handshake(&app_path(), "");
    let long = "x".repeat(1_000_000);
    for request in [
        good.replace("HTTP/1.1", "HTTP/1.0"),
        good.replace("HTTP/1.1", "HTTP/2.0"),
        good.replace("Host: test\r\n", ""),
        handshake(&app_path(), "Content-Length: 5\r\n") + "hello",
        handshake(&app_path(), "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n",
        handshake(
            &app_path(),
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        ),
        handshake(&format!("/app/{long}"), ""),
        handshake(&format!("/app/x?{long}"), ""),
        handshake(&app_path(), &format!("X: {long}\r\n")),
        handshake(&app_path(), &"X: y\r\n".repeat(1000)),
        handshake(
            &app_path(),
            "Origin: \u{e9}\r\nSec-WebSocket-Protocol: \u{e9}\r\n",
        ),
        handshake("/app/%", ""),
        handshake("/app/\u{e9}", ""),
        handshake("*", ""),
        handshake("http://elsewhere/app/x", ""),
        handshake("", ""),
    ] {
        let mut raw = Raw::open(&server).await;
        raw.send(&request).await;
        raw.finish_sending().await;
        // whatever the answer is, the connection ends
        let _ = raw.rest().await;
    }
    bystander.assert_unharmed().await;
}

#[tokio::test]
async fn random_bytes() {
    let mut random = SmallRng::seed_from_u64(1);
    let server = Server::with("[socket]\nclose_timeout_s = 1\n").await;
    let mut bystander = Bystander::of(&server).await;
    for round in 0..150 {
        let mut raw = match round % 3 {
            // instead of a handshake, behind one, and as well-formed frames
            0 => Raw::open(&server).await,
            _ => Raw::connect(&server).await,
        };
        for _ in 0..random.random_range(1..6) {
            let length = random.random_range(0..300);
            let bytes: Vec<u8> = (0..length).map(|_| random.random()).collect();
            let bytes = match round % 3 {
                2 => frame(random.random(), &bytes),
                _ => bytes,
            };
            raw.send(bytes).await;
        }
        raw.finish_sending().await;
        let _ = raw.rest().await;
    }
    bystander.assert_unharmed().await;
    assert_eq!(send(&server, "GET", "/up", b"").await.status, 200);
}

/// Messages that are nearly right.
#[tokio::test]
async fn messages_with_random_changes() {
    let mut random = SmallRng::seed_from_u64(2);
    let server = Server::start().await;
    let mut bystander = Bystander::of(&server).await;
    let mut raw = Raw::connect(&server).await;
    let originals = [
        r#"{"event":"pusher:subscribe","data":{"channel":"private-room","auth":"a:b"}}"#,
        r#"{"event":"pusher:subscribe","data":"{\"channel\":\"presence-room\",\"channel_data\":\"{}\"}"}"#,
        r#"{"event":"pusher:unsubscribe","data":{"channel":"private-room"}}"#,
        r#"{"event":"client-x","channel":"private-room","data":{"a":[1,"\ud83d\ude80"]}}"#,
    ];
    for round in 0..2000 {
        let mut message = originals[round % originals.len()].as_bytes().to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..message.len());
            match random.random_range(0..3) {
                0 => message[at] = random.random_range(b' '..0x7f),
                1 => {
                    message.remove(at);
                }
                _ => message.insert(at, random.random_range(b' '..0x7f)),
            }
        }
        raw.send(frame(FIN | TEXT, &message)).await;
        if round % 100 == 99 {
            raw.send(frame(FIN | PING, b"there?")).await;
            loop {
                match raw.next_frame().await {
                    Some((byte, payload)) if byte == FIN | PONG => {
                        assert_eq!(payload, b"there?");
                        break;
                    }
                    Some((byte, _)) if byte == FIN | TEXT => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    raw.send(frame(FIN | CLOSE, b"")).await;
    bystander.assert_unharmed().await;
}

#[tokio::test]
async fn many_fragments_and_endless_messages() {
    let server = Server::with("[socket]\nclose_timeout_s = 1\n").await;
    let mut bystander = Bystander::of(&server).await;
    // 20,000 fragments of nothing, then the message
    let mut raw = Raw::connect(&server).await;
    raw.send(frame(TEXT, b"")).await;
    raw.send(frame(0, b"").repeat(20_000)).await;
    raw.send(frame(FIN, br#"{"event":"pusher:ping"}"#)).await;
    assert_eq!(raw.next_text().await["event"], "pusher:pong");
    // one that never ends is cut at the limit, whoever began it small
    raw.send(frame(TEXT, b"")).await;
    let mut sent = 0;
    let fragment = frame(0, &[b' '; 1000]);
    while sent < 100 && raw.try_send(&fragment, Duration::from_secs(5)).await {
        sent += 1;
    }
    assert_eq!(raw.closed().await.0, 1009);
    // a frame that is announced and never comes: nothing to do but to wait; its end takes it away
    let mut waits = Raw::connect(&server).await;
    waits.send(&frame(FIN | TEXT, &[b'x'; 60_000])[..100]).await;
    waits.reset();
    drop(raw);
    bystander.assert_unharmed().await;
}

#[tokio::test]
async fn connections_that_come_and_go_in_every_state() {
    let server = Server::start().await;
    let mut bystander = Bystander::of(&server).await;
    join_all((0..100).map(async |n| {
        let mut raw = Raw::open(&server).await;
        if n % 5 > 0 {
            raw.send(handshake(&app_path(), "")).await;
        }
        if n % 5 > 1 {
            raw.head().await;
        }
        if n % 5 > 2 {
            raw.established().await;
            raw.subscribe(&format!("room-{}", n % 2)).await;
        }
        if n % 5 > 3 {
            raw.send(&text(r#"{"event":"pusher:ping"}"#)[..7]).await;
        }
        if n % 2 == 0 {
            raw.reset();
        }
    }))
    .await;
    bystander.assert_unharmed().await;
}
