//! Who ends a connection, how, and what follows (C-30 to C-37).
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::raw::{CLOSE, FIN, PING, Raw, app_path, frame, handshake, text};
use crate::{
    client::{Client, publish},
    helpers::{Server, eventually},
    rest::request::{post, send},
};

#[tokio::test]
async fn c30_error_then_close_frame_then_the_end() {
    let server = Server::start().await;
    let mut raw = Raw::open(&server).await;
    raw.send(handshake("/app/unknown", "")).await;
    raw.head().await;
    assert_eq!(
        raw.next_frame().await.unwrap().1,
        br#"{"event":"pusher:error","data":{"code":4001,"message":"Application does not exist"}}"#
    );
    let (first_byte, payload) = raw.next_frame().await.unwrap();
    assert_eq!(first_byte, FIN | CLOSE);
    assert_eq!(
        payload,
        [&[0x0f, 0xa1], &b"Application does not exist"[..]].concat()
    );
    // until here the server waits; with our close frame it ends the connection at once
    raw.send(frame(FIN | CLOSE, &payload)).await;
    assert!(raw.is_ended().await);
}

#[tokio::test]
async fn c30_a_peer_that_answers_no_close_frame_is_dropped() {
    let server = Server::with("[socket]\nclose_timeout_s = 1\n").await;
    let mut refused = Raw::open(&server).await;
    refused.send(handshake("/app/unknown", "")).await;
    refused.head().await;
    assert_eq!(refused.closed().await.0, 4001);
    let mut broken = Raw::connect(&server).await;
    broken.send(frame(FIN | 3, b"")).await;
    assert_eq!(broken.closed().await.0, 1002);
    // what it still says has no effect, and doesn't keep it alive
    let mut raw = refused;
    raw.send(frame(FIN | PING, b"hello?")).await;
    raw.send(text(r#"{"event":"pusher:ping"}"#)).await;
    assert!(raw.is_ended().await);
    assert!(broken.is_ended().await);
    eventually("nothing is left", || server.node.connections() == 0).await;
}

#[tokio::test]
async fn c30_a_close_frame_is_answered_with_its_code() {
    let server = Server::start().await;
    for (payload, answer) in [
        (&b""[..], (1005, "")),
        (b"\x03\xe8", (1000, "")),
        (b"\x03\xe9gone", (1001, "")),
        (b"\x0f\xa1", (4001, "")),
    ] {
        let mut raw = Raw::connect(&server).await;
        raw.send(frame(FIN | CLOSE, payload)).await;
        let (code, reason) = raw.closed().await;
        assert_eq!((code, reason.as_str()), answer);
        assert!(raw.is_ended().await);
    }
    eventually("all are gone", || server.node.connections() == 0).await;
}

#[tokio::test]
async fn c30_nothing_follows_the_close_frame() {
    let server = Server::start().await;
    let mut raw = Raw::on(&server, "room").await;
    // further messages in the same segment as the close frame
    let close = frame(FIN | CLOSE, b"\x03\xe8");
    let ping = text(r#"{"event":"pusher:ping"}"#);
    raw.send([ping.clone(), close, ping].concat()).await;
    assert_eq!(raw.next_text().await["event"], "pusher:pong");
    assert_eq!(raw.next_frame().await.unwrap().0, FIN | CLOSE);
    publish(&server, "room", "late", "").await;
    assert!(raw.is_ended().await);
}

/// pusher-js gives up for good on codes from 4300 on.
#[tokio::test]
async fn c31_c32_a_rate_limit_that_terminates_closes_with_4100() {
    let server = Server::with(
        "[app_defaults]\nmessage_rate_limit = true\nmessage_rate_attempts_max = 2\n\
         message_rate_decay_s = 3600\nmessage_rate_terminate = true\n",
    )
    .await;
    let mut client = Client::connect(&server).await;
    for _ in 0..2 {
        assert!(client.has_nothing().await);
    }
    client.send(json!({"event": "pusher:ping"})).await;
    client.assert_refused(4100, "Rate limit exceeded").await;
    eventually("it is gone", || server.node.connections() == 0).await;
}

#[tokio::test]
async fn c33_c34_a_drain_closes_with_4200_and_takes_nobody_new() {
    let server = Server::with("[server]\ndrain_s = 1\n").await;
    let mut clients = join_all((0..20).map(|_| Client::on(&server, "room"))).await;
    server.node.drain();
    let message = "Server is closing. Please reconnect shortly.";
    join_all(clients.iter_mut().map(|c| c.assert_refused(4200, message))).await;

    let mut late = Raw::open(&server).await;
    late.send(handshake(&app_path(), "")).await;
    let answer = String::from_utf8(late.rest().await).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{answer}"
    );
    assert!(
        answer.ends_with("\r\n\r\nThe server is shutting down: connect again in a moment\n"),
        "{answer}"
    );
    let ready = send(&server, "GET", "/ready", b"").await;
    assert_eq!(ready.status, 503);
    let up = send(&server, "GET", "/up", b"").await;
    assert_eq!(up.status, 503);
    // it still lives, and publishers still get an answer
    assert_eq!(send(&server, "GET", "/live", b"").await.status, 200);
    publish(&server, "room", "event", "").await;
    eventually("all are gone", || server.node.connections() == 0).await;
}

#[tokio::test]
async fn c34_closes_are_spread_over_the_drain_time() {
    let server = Server::with("[server]\ndrain_s = 1\n").await;
    let clients = join_all((0..40).map(|_| Client::connect(&server))).await;
    let start = std::time::Instant::now();
    server.node.drain();
    let ends = join_all(clients.into_iter().map(async |mut client| {
        assert_eq!(client.closed().await.0, 4200);
        start.elapsed()
    }))
    .await;
    let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
    // 20 sockets a worker, one each 20 ms or more
    assert!(
        *last - *first > Duration::from_millis(200),
        "{first:?} {last:?}"
    );
}

#[tokio::test]
async fn c34_a_stop_waits_for_the_drain() {
    let mut server = Server::with("[server]\ndrain_s = 0\n").await;
    let mut client = Client::connect(&server).await;
    server.drain();
    let message = "Server is closing. Please reconnect shortly.";
    client.assert_refused(4200, message).await;
}

/// Publishes ten events of 10 kB at once.
async fn publish_batch(server: &Server, channel: &str) {
    let event = json!({"channel": channel, "name": "flood", "data": "x".repeat(10_000)});
    let batch = json!({ "batch": vec![event; 10] }).to_string();
    post(server, "/batch_events", &batch)
        .await
        .assert_json("{}");
}

/// Publishes until `done`; returns how many events.
async fn flood(server: &Server, channel: &str, done: impl AsyncFn() -> bool) -> usize {
    let mut published = 0;
    while !done().await {
        assert!(published < 10_000, "the slow one is never cut");
        publish_batch(server, channel).await;
        published += 10;
    }
    published
}

#[tokio::test]
async fn c35_a_slow_consumer_is_cut_and_nobody_else_notices() {
    let server = Server::with(
        "[socket]\noutbox_bytes_max = 65536\nclose_timeout_s = 1\nwrite_timeout_s = 60\n",
    )
    .await;
    let mut slow = Raw::open_narrow(&server).await.upgrade().await;
    slow.established().await;
    slow.subscribe("room").await;
    // one on each worker, at least
    let others = join_all((0..4).map(|_| Client::on(&server, "room"))).await;
    let readers: Vec<_> = others
        .into_iter()
        .map(|mut other| {
            tokio::spawn(async move {
                let mut received = 0;
                while other.next().await["event"] == "flood" {
                    received += 1;
                }
                received
            })
        })
        .collect();
    let published = flood(&server, "room", async || server.node.connections() == 4).await;
    publish(&server, "room", "end", "").await;
    for reader in readers {
        assert_eq!(reader.await.unwrap(), published);
    }
    drop(slow);
}

/// A burst that is larger than the outbox, to peers that read.
#[tokio::test]
async fn c35_a_burst_makes_no_slow_consumer() {
    let server = Server::with("[socket]\noutbox_bytes_max = 16384\n").await;
    let mut clients = join_all((0..4).map(|_| Client::on(&server, "room"))).await;
    for _ in 0..5 {
        publish_batch(&server, "room").await;
        for client in &mut clients {
            for _ in 0..10 {
                assert_eq!(client.next().await["event"], "flood");
            }
        }
    }
    assert_eq!(server.node.connections(), 4);
}

/// As the list of a large presence channel may be.
#[tokio::test]
async fn c35_one_message_larger_than_the_outbox_makes_no_slow_consumer() {
    let server = Server::with(
        "[app_defaults]\nmessage_bytes_max = 20000000\npresence_user_info_bytes_max = 20000000\n",
    )
    .await;
    // more than all buffers between the two ends hold
    let info = "x".repeat(6_000_000);
    let data = json!({"user_id": "1", "user_info": info}).to_string();
    let mut member = Client::connect(&server).await;
    member.subscribe("presence-room", Some(data)).await;

    let mut slow = Raw::upgraded(&server).await;
    slow.ask_to_join("2").await;
    // it has been answered by now, and something more waits behind the answer
    assert_eq!(member.next().await["event"], "pusher_internal:member_added");
    publish(&server, "presence-room", "e", "x").await;
    assert_eq!(member.next().await["event"], "e");
    let list = slow.next_text().await;
    assert_eq!(list["event"], "pusher_internal:subscription_succeeded");
    assert_eq!(slow.next_text().await["event"], "e");
}

#[tokio::test]
async fn c35_a_slow_consumer_that_wakes_up_learns_why() {
    let server = Server::with("[socket]\noutbox_bytes_max = 16384\nclose_timeout_s = 60\n").await;
    let mut slow = Raw::open_narrow(&server).await.upgrade().await;
    slow.established().await;
    slow.subscribe("room").await;
    // its subscription ends as soon as it is closing
    flood(&server, "room", async || {
        server.channels("").await.is_empty()
    })
    .await;
    let mut texts = 0;
    let error = loop {
        let frame = slow.next_text().await;
        if frame["event"] != "flood" {
            break frame;
        }
        assert_eq!(
            frame["data"].as_str().unwrap().len(),
            10_000,
            "whole frames only"
        );
        texts += 1;
    };
    assert!(texts > 0);
    assert_eq!(
        error["data"],
        json!({"code": 4100, "message": "Over capacity"})
    );
    assert_eq!(slow.closed().await, (4100, "Over capacity".to_owned()));
}

#[tokio::test]
async fn c35_writes_that_get_nowhere_end_a_connection() {
    // far from full, yet nothing moves
    let server = Server::with(
        "[socket]\noutbox_bytes_max = 104857600\nwrite_timeout_s = 1\n\
         [app_defaults]\nping_interval_s = 600\n",
    )
    .await;
    let mut slow = Raw::open_narrow(&server).await.upgrade().await;
    slow.established().await;
    slow.subscribe("room").await;
    flood(&server, "room", async || server.node.connections() == 0).await;
    drop(slow);
}

#[tokio::test]
async fn whoever_took_everything_and_leaves_closing_to_the_server_is_not_reset() {
    let server = Server::with("[socket]\nclose_timeout_s = 1\n").await;
    let mut raw = Raw::upgraded(&server).await;
    raw.established().await;
    raw.send(frame(FIN | 7, b"")).await;
    assert!(!raw.ends_in_reset().await);
}

#[tokio::test]
async fn c37_however_a_connection_ends_its_memberships_end() {
    let server = Server::with(
        "[app_defaults]\nping_interval_s = 1\npong_timeout_s = 1\n[socket]\nclose_timeout_s = 1\n",
    )
    .await;
    let mut watcher = Client::member(&server, "presence-room", "watcher").await;
    for end in ["close", "fin", "reset", "violation", "silence"] {
        let mut raw = Raw::upgraded(&server).await;
        raw.join(end).await;
        watcher
            .expect(
                json!({"event": "pusher_internal:member_added", "channel": "presence-room",
                "data": json!({"user_id": end, "user_info": {}}).to_string()}),
            )
            .await;
        let _kept = match end {
            "close" => {
                raw.send(frame(FIN | CLOSE, b"")).await;
                Some(raw)
            }
            "fin" => {
                raw.finish_sending().await;
                Some(raw)
            }
            "violation" => {
                raw.send(frame(FIN | 7, b"")).await;
                Some(raw)
            }
            "silence" => Some(raw),
            _ => {
                raw.reset();
                None
            }
        };
        watcher
            .expect(
                json!({"event": "pusher_internal:member_removed", "channel": "presence-room",
                "data": json!({"user_id": end}).to_string()}),
            )
            .await;
    }
    eventually("only the watcher is left", || {
        server.node.connections() == 1
    })
    .await;
    watcher.assert_silence(&server).await;
}
