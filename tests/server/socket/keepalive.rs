//! Pings both ways, silence, timeouts (C-16 to C-22).
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::raw::{FIN, PING, PONG, Raw, TEXT, frame, text};
use crate::{
    client::{Client, publish},
    helpers::{Server, eventually},
    rest::request::KEY,
};

const IMPATIENT: &str = "[app_defaults]\nping_interval_s = 1\npong_timeout_s = 1\n";

#[tokio::test]
async fn c16_c22_a_ping_is_answered_at_once_whatever_its_data() {
    let server = Server::start().await;
    let mut bystander = Client::connect(&server).await;
    let mut client = Client::connect(&server).await;
    for message in [
        r#"{"event":"pusher:ping"}"#,
        r#"{"event":"pusher:ping","data":{}}"#,
        r#"{"event":"pusher:ping","data":""}"#,
        r#"{"event":"pusher:ping","data":null}"#,
        r#"{"data":[1],"event":"pusher:ping","channel":null}"#,
    ] {
        client.send_text(message).await;
        assert_eq!(
            client.next_text().await,
            r#"{"event":"pusher:pong","data":"{}"}"#
        );
    }
    bystander.assert_silence(&server).await;
}

#[tokio::test]
async fn c17_a_pong_is_accepted_in_silence() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    for data in [json!({}), json!(null), json!(""), json!([1])] {
        client
            .send(json!({"event": "pusher:pong", "data": data}))
            .await;
    }
    client.send(json!({"event": "pusher:pong"})).await;
    assert!(client.has_nothing().await);
}

#[tokio::test]
async fn c18_the_server_asks_with_ping_frames() {
    let server = Server::with(IMPATIENT).await;
    for version in [4, 5, 7] {
        let path = format!("/app/{KEY}?protocol={version}");
        let mut client = Client::connect_to(&server, &path).await;
        match client.next_message().await {
            Some(Message::Ping(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn c19_ping_frames_come_back_and_are_no_messages() {
    let server =
        Server::with("[app_defaults]\nmessage_rate_limit = true\nmessage_rate_attempts_max = 1")
            .await;
    let mut raw = Raw::connect(&server).await;
    for payload in [&b""[..], b"x", &[0, 255, 128], &[b'a'; 125]] {
        raw.send(frame(FIN | PING, payload)).await;
        assert_eq!(raw.next_frame().await, Some((FIN | PONG, payload.to_vec())));
    }
    // more of them than any limit on messages would allow
    for _ in 0..50 {
        raw.send(frame(FIN | PING, b"again")).await;
        raw.send(frame(FIN | PONG, b"unasked")).await;
    }
    for _ in 0..50 {
        assert_eq!(
            raw.next_frame().await,
            Some((FIN | PONG, b"again".to_vec()))
        );
    }
    // the one message that is allowed
    raw.send(text(r#"{"event":"pusher:ping"}"#)).await;
    assert_eq!(raw.next_text().await["event"], "pusher:pong");
}

#[tokio::test]
async fn c20_a_dead_peer_is_asked_and_then_closed_with_4201() {
    let server = Server::with(IMPATIENT).await;
    let mut raw = Raw::connect(&server).await;
    let (first_byte, _) = raw.next_frame().await.unwrap();
    assert_eq!(first_byte, FIN | PING);
    let error = raw.next_text().await;
    assert_eq!(
        error,
        json!({"event": "pusher:error", "data": {"code": 4201, "message": "Pong reply not received in time"}})
    );
    assert_eq!(
        raw.closed().await,
        (4201, "Pong reply not received in time".to_owned())
    );
}

/// What is sent to a peer proves nothing about it.
#[tokio::test]
async fn c20_only_what_is_received_counts() {
    let server = Server::with(IMPATIENT).await;
    let raw = Raw::on(&server, "busy").await;
    let closed = tokio::spawn(async move {
        let mut raw = raw;
        raw.closed().await
    });
    while !closed.is_finished() {
        publish(&server, "busy", "event", "x").await;
    }
    assert_eq!(closed.await.unwrap().0, 4201);
}

/// Java and Swift answer no `pusher:ping`, some peers answer no ping frame, but all send something.
#[tokio::test]
async fn c20_any_frame_is_a_sign_of_life() {
    let server = Server::with(IMPATIENT).await;
    let mut raw = Raw::connect(&server).await;
    let signs = [
        text(r#"{"event":"pusher:pong"}"#),
        frame(FIN | PONG, b"not what was asked"),
        frame(FIN | PING, b""),
        text("nonsense"),
    ];
    for sign in signs {
        loop {
            match raw.next_frame().await {
                Some((byte, _)) if byte == FIN | PING => break,
                Some((byte, _)) if byte == FIN | PONG || byte == FIN | TEXT => {}
                other => panic!("{other:?}"),
            }
        }
        raw.send(sign).await;
    }
    raw.send(text(r#"{"event":"pusher:ping"}"#)).await;
    loop {
        if raw.next_text().await["event"] == "pusher:pong" {
            break;
        }
    }
}

#[tokio::test]
async fn c20_a_busy_client_is_not_asked() {
    let server = Server::with("[app_defaults]\nping_interval_s = 2\n").await;
    let mut busy = Raw::connect(&server).await;
    let mut quiet = Raw::connect(&server).await;
    let asked = tokio::spawn(async move { quiet.next_frame().await.unwrap().0 });
    while !asked.is_finished() {
        busy.send(text(r#"{"event":"pusher:ping"}"#)).await;
        let (first_byte, _) = busy.next_frame().await.unwrap();
        assert_eq!(first_byte, FIN | TEXT, "the answer, no ping");
    }
    assert_eq!(asked.await.unwrap(), FIN | PING);
}

#[tokio::test]
async fn c21_a_quiet_client_that_answers_pings_stays() {
    let server = Server::with(IMPATIENT).await;
    let mut quiet = Client::on(&server, "room").await;
    for _ in 0..4 {
        match quiet.next_message().await {
            // the library answers it
            Some(Message::Ping(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    publish(&server, "room", "still", "here").await;
    quiet
        .expect(json!({"event": "still", "channel": "room", "data": "here"}))
        .await;
}

#[tokio::test]
async fn c20_a_peer_that_vanished_is_cleared_away() {
    let settings = format!("{IMPATIENT}[socket]\nclose_timeout_s = 1\n");
    let server = Server::with(&settings).await;
    let gone = Raw::on(&server, "room").await;
    eventually("nothing is left of it", || server.node.connections() == 0).await;
    drop(gone);
}
