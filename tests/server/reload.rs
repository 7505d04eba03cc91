//! New settings while clients are connected and events pass.
use resound::{config, reload::reload};
use serde_json::json;

use crate::{
    client::{Client, publish},
    helpers::{Server, eventually},
    rest::request::{KEY, Unsigned, get, hmac_hex, post, send},
};

const SECRET: &str = "7ad3773142a6692b25b8";

fn app(id: &str, key: &str, secret: &str, more: &str) -> String {
    format!("[[apps]]\nid = \"{id}\"\nkey = \"{key}\"\nsecret = \"{secret}\"\n{more}\n")
}

fn ours(more: &str) -> String {
    app("3", KEY, SECRET, more)
}

fn other(more: &str) -> String {
    app("4", "otherkey", "othersecret", more)
}

async fn change(server: &Server, toml: &str) {
    let changed = reload(&server.node, || config::from_toml(toml)).await;
    changed.unwrap_or_else(|error| panic!("{toml}: {error}"));
}

#[tokio::test]
async fn c38_sockets_of_an_app_that_is_gone_or_disabled_are_closed_and_no_others() {
    let server = Server::with_toml(&format!("{}{}", ours(""), other(""))).await;
    let mut stays = Client::on(&server, "room").await;
    let mut idle = Client::connect_to(&server, "/app/otherkey").await;
    let mut gone = Client::connect_to(&server, "/app/otherkey").await;
    gone.subscribe("room", None).await;

    change(&server, &ours("")).await;
    for client in [&mut idle, &mut gone] {
        client
            .assert_refused(4001, "Application does not exist")
            .await;
    }
    eventually("only ours is left", || server.node.connections() == 1).await;
    let mut late = Client::open(&server, "/app/otherkey", &[]).await;
    assert_eq!(late.closed().await.0, 4001);
    publish(&server, "room", "e", "1").await;
    stays
        .expect(json!({ "event": "e", "channel": "room", "data": "1" }))
        .await;

    // back again, and disabled
    change(&server, &format!("{}{}", other(""), ours(""))).await;
    let mut back = Client::connect_to(&server, "/app/otherkey").await;
    back.subscribe("room", None).await;
    change(
        &server,
        &format!("{}{}", ours(""), other("enabled = false")),
    )
    .await;
    assert_eq!(back.closed().await.0, 4003);
    eventually("only ours is left", || server.node.connections() == 1).await;
    publish(&server, "room", "e", "2").await;
    stays
        .expect(json!({ "event": "e", "channel": "room", "data": "2" }))
        .await;
}

#[tokio::test]
async fn a_changed_secret_applies_at_once_to_requests_and_to_open_connections() {
    let server = Server::with_toml(&ours("")).await;
    let mut client = Client::on(&server, "private-before").await;
    change(&server, &app("3", KEY, "another", "")).await;

    get(&server, "/channels", &[])
        .await
        .assert_refused(401, "Invalid signature");
    let mut request = Unsigned::new("GET", "/apps/3/channels", b"");
    request.secret = "another".to_owned();
    let answer = send(&server, "GET", &request.sign(), b"").await;
    answer.assert_json(r#"{"channels":{"private-before":{}}}"#);

    client.ask("private-old", None).await;
    let refused = client.next().await;
    assert_eq!(refused["event"], "pusher:subscription_error", "{refused}");
    client.next().await;
    let auth = format!("{}:private-new", client.socket_id);
    let auth = format!("{KEY}:{}", hmac_hex("another", &auth));
    client
        .send(json!({ "event": "pusher:subscribe", "data": { "channel": "private-new", "auth": auth } }))
        .await;
    let success = client.next().await;
    assert_eq!(success["channel"], "private-new", "{success}");
}

#[tokio::test]
async fn open_connections_go_by_the_new_settings_of_their_app() {
    let server = Server::with_toml(&ours("client_events = \"none\"")).await;
    let mut client = Client::on(&server, "private-room").await;
    let event = json!({ "event": "client-x", "channel": "private-room", "data": "1" });
    client.send(event.clone()).await;
    assert_eq!(client.next().await["event"], "pusher:error");
    change(&server, &ours("client_events = \"members\"")).await;
    client.whisper("private-room", "client-x", json!("1")).await;
    change(&server, &ours("connections_max = 1")).await;
    let mut refused = Client::open(&server, &format!("/app/{KEY}"), &[]).await;
    assert_eq!(refused.closed().await.0, 4004);
}

#[tokio::test]
async fn settings_that_cannot_be_used_change_nothing() {
    let server = Server::with_toml(&ours("")).await;
    let mut client = Client::on(&server, "room").await;
    for wrong in [
        "[app_defaults]\nconnections_max = -1",
        "[server]\nprot = 1",
        "[[apps]]\nid = \"9\"",
        "not TOML at all",
    ] {
        let text = format!("{wrong}\n{}", app("9", "k", "s", ""));
        let refused = reload(&server.node, || config::from_toml(&text)).await;
        refused.expect_err(wrong);
    }
    publish(&server, "room", "e", "1").await;
    client
        .expect(json!({ "event": "e", "channel": "room", "data": "1" }))
        .await;
}

#[tokio::test]
async fn reloads_under_load_lose_repeat_and_reorder_nothing() {
    const EVENTS: usize = 400;
    let server = Server::with_toml(&format!("{}{}", ours(""), other(""))).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::on(&server, "room").await);
    }
    let publishing = async {
        for number in 0..EVENTS {
            publish(&server, "room", "e", &number.to_string()).await;
        }
    };
    let reloading = async {
        for round in 0..50 {
            let more = format!("cache_ttl_s = {}", 100 + round);
            let apps = match round % 3 {
                0 => format!("{}{}", other(&more), ours(&more)),
                1 => ours(""),
                _ => format!("{}{}", ours(&more), other("enabled = false")),
            };
            change(&server, &apps).await;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(publishing, reloading);
    for client in &mut clients {
        for number in 0..EVENTS {
            let event = client.next().await;
            assert_eq!(event["data"], number.to_string());
        }
        client.assert_silence(&server).await;
    }
    // what the app has in use is still counted, once
    let usage = server.node.apps().by_id("3").unwrap().usage.clone();
    let channels = || usage.channels.load(std::sync::atomic::Ordering::Relaxed);
    eventually("one channel", || channels() == 1).await;
    drop(clients);
    eventually("all have left", || {
        server.node.connections() == 0 && channels() == 0
    })
    .await;
    post(
        &server,
        "/events",
        r#"{"name":"e","channel":"a","data":""}"#,
    )
    .await
    .assert_json("{}");
}
