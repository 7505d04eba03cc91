//! What is counted, against traffic whose counts are known.
use std::collections::BTreeSet;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use crate::{
    ADMIN, admin_get,
    client::{Client, publish},
    helpers::{Server, eventually, until},
    page::Page,
    rest::request::{KEY, get, post, send},
};

/// Compares samples, written with their labels.
async fn check(server: &Server, expected: &[(&str, f64)]) {
    let page = Page::of(server).await;
    for (sample, value) in expected {
        assert_eq!(page.get(sample), *value, "{sample}");
    }
}

#[tokio::test]
async fn connections_subscriptions_and_channels() {
    let server = Server::with(ADMIN).await;
    check(
        &server,
        &[
            (r#"resound_connections{app="3"}"#, 0.0),
            (r#"resound_connections_opened_total{app="3"}"#, 0.0),
            ("resound_workers", 2.0),
            ("resound_draining", 0.0),
        ],
    )
    .await;
    let mut first = Client::on(&server, "room").await;
    let mut second = Client::on(&server, "room").await;
    first.join("presence-room", "1").await;
    second.subscribe("cache-prices", None).await;
    assert_eq!(
        second.next().await["event"],
        "pusher:cache_miss",
        "an empty cache channel"
    );
    check(
        &server,
        &[
            (r#"resound_connections{app="3"}"#, 2.0),
            (r#"resound_subscriptions{app="3"}"#, 4.0),
            (r#"resound_channels{app="3",kind="public"}"#, 1.0),
            (r#"resound_channels{app="3",kind="presence"}"#, 1.0),
            (r#"resound_channels{app="3",kind="cache"}"#, 1.0),
            (r#"resound_channels{app="3",kind="private"}"#, 0.0),
        ],
    )
    .await;
    first.unsubscribe("room").await;
    first.settle().await;
    second.close().await;
    eventually("the second is gone", || server.node.connections() == 1).await;
    check(
        &server,
        &[
            (r#"resound_connections{app="3"}"#, 1.0),
            (r#"resound_connections_opened_total{app="3"}"#, 2.0),
            (
                r#"resound_connections_closed_total{app="3",reason="client"}"#,
                1.0,
            ),
            (r#"resound_subscriptions{app="3"}"#, 1.0),
            (r#"resound_subscriptions_opened_total{app="3"}"#, 4.0),
            (r#"resound_channels{app="3",kind="public"}"#, 0.0),
            (r#"resound_channels{app="3",kind="presence"}"#, 1.0),
            (r#"resound_channels{app="3",kind="cache"}"#, 0.0),
        ],
    )
    .await;
    first.drop_connection();
    eventually("all are gone", || server.node.connections() == 0).await;
    check(
        &server,
        &[
            (
                r#"resound_connections_closed_total{app="3",reason="lost"}"#,
                1.0,
            ),
            (r#"resound_subscriptions{app="3"}"#, 0.0),
            (r#"resound_channels{app="3",kind="presence"}"#, 0.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn publishes_deliveries_and_how_long_they_took() {
    let server = Server::with(ADMIN).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Client::on(&server, "room").await);
    }
    for n in 0..10 {
        publish(&server, "room", "e", &n.to_string()).await;
    }
    publish(&server, "empty", "e", "nobody hears").await;
    publish(&server, "cache-prices", "e", "1").await;
    for client in &mut clients {
        for n in 0..10 {
            assert_eq!(client.next().await["data"], n.to_string());
        }
    }
    // once for each event and each of the two workers, whatever the number of subscribers
    let page = Page::with(&server, "resound_publish_to_flush_seconds_count", 20.0).await;
    assert_eq!(page.get(r#"resound_publishes_total{app="3"}"#), 12.0);
    assert_eq!(page.sum("resound_deliveries_total"), 50.0);
    let sum_s = page.get("resound_publish_to_flush_seconds_sum");
    assert!(sum_s > 0.0 && sum_s < 20.0 * 5.0, "{sum_s}");
    assert_eq!(page.get("resound_cached_events"), 1.0);
    assert_eq!(page.get("resound_cached_events_limit"), 16384.0);
    let route = r#"resound_http_requests_total{route="/apps/{app_id}/events",status="200"}"#;
    assert_eq!(page.get(route), 12.0);
    assert_eq!(page.get(r#"resound_api_requests_total{app="3"}"#), 12.0);
    assert_eq!(
        page.get(r#"resound_api_response_bytes_total{app="3"}"#),
        24.0
    );
    assert!(page.get(r#"resound_api_request_bytes_total{app="3"}"#) > 12.0 * 30.0);
}

#[tokio::test]
async fn messages_and_bytes_of_sockets() {
    let server = Server::with(ADMIN).await;
    let mut first = Client::connect(&server).await;
    let mut second = Client::connect(&server).await;
    for client in [&mut first, &mut second] {
        client.subscribe("private-room", None).await;
    }
    first
        .whisper("private-room", "client-typing", json!({}))
        .await;
    assert_eq!(second.next().await["event"], "client-typing");
    // two greetings, two confirmations, the client event, the pong
    let sent = r#"resound_socket_sent_messages_total{app="3"}"#;
    let page = Page::with(&server, sent, 6.0).await;
    // two subscriptions, a client event, the ping behind it
    let received = page.get(r#"resound_socket_received_messages_total{app="3"}"#);
    assert_eq!(received, 4.0);
    assert_eq!(page.get(r#"resound_client_events_total{app="3"}"#), 1.0);
    // a masked frame of up to 125 bytes has 6 around it
    let ping = r#"{"data":{},"event":"pusher:ping"}"#.len() + 6;
    let bytes = page.get(r#"resound_socket_received_bytes_total{app="3"}"#);
    first.has_nothing().await;
    let page = Page::of(&server).await;
    let more = page.get(r#"resound_socket_received_bytes_total{app="3"}"#);
    assert_eq!(more - bytes, ping as f64);
    assert!(page.get(r#"resound_socket_sent_bytes_total{app="3"}"#) > 6.0 * 20.0);
}

#[tokio::test]
async fn refusals_by_reason() {
    let settings = format!("{ADMIN}[app_defaults]\nallowed_origins = [\"good.example\"]\n");
    let server = Server::with(&settings).await;
    let good = ("origin", "https://good.example");
    let path = format!("/app/{KEY}");
    for (path, header) in [
        (path.as_str(), ("origin", "https://evil.example")),
        (path.as_str(), ("origin", "null")),
        ("/app/nobody", good),
        ("/elsewhere", good),
        ("/app/nobody?protocol=1", good),
    ] {
        Client::open(&server, path, &[header]).await.closed().await;
    }
    let mut client = Client::open(&server, &path, &[good]).await;
    client.established().await;
    client
        .send(json!({ "event": "pusher:subscribe", "data": { "channel": "private-a" } }))
        .await;
    client.send_text("no JSON").await;
    client.send_text("{\"event\":\"mine\"}").await;
    client.settle().await;
    post(&server, "/events", "[]").await;
    get(&server, "/channels/public/users", &[]).await;
    send(&server, "GET", "/apps/3/channels", b"").await;
    send(&server, "GET", "/apps/4/channels", b"").await;
    send(&server, "GET", "/nowhere", b"").await;
    let upgrade = "GET /app/x HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: x\r\n\r\n";
    let mut old = crate::rest::request::Connection::open(server.addr).await;
    old.send(upgrade).await;
    assert_eq!(old.response().await.status, 426);

    let counted = |what: &str, reason: &str| {
        format!("resound_refusals_total{{what=\"{what}\",reason=\"{reason}\"}}")
    };
    let expected = [
        ("connection", "origin_not_allowed", 2.0),
        ("connection", "app_does_not_exist", 2.0),
        ("connection", "path_not_found", 1.0),
        ("subscription", "invalid_signature", 1.0),
        ("message", "invalid_json", 1.0),
        ("message", "unsupported_event", 1.0),
        ("request", "invalid_json", 1.0),
        ("request", "users_not_presence", 1.0),
        ("request", "missing_auth_key", 1.0),
        ("request", "unknown_app", 1.0),
        ("request", "not_found", 1.0),
        ("handshake", "version", 1.0),
    ];
    let page = Page::of(&server).await;
    for (what, reason, count) in expected {
        assert_eq!(page.get(&counted(what, reason)), count, "{what} {reason}");
    }
    let total: f64 = expected.iter().map(|(_, _, count)| count).sum();
    assert_eq!(page.sum("resound_refusals_total"), total);
    let other = r#"resound_http_requests_total{route="other",status="404"}"#;
    assert_eq!(page.get(other), 1.0);
    // who is refused is no connection
    assert_eq!(
        page.get(r#"resound_connections_opened_total{app="3"}"#),
        1.0
    );
    assert_eq!(page.get(r#"resound_api_requests_total{app="3"}"#), 3.0);
}

/// A client that asks for a channel and then reads nothing, with little room in its socket.
async fn stalled(server: &Server, channel: &str) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.addr).await.unwrap();
    let head = format!(
        "GET /app/{KEY} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let text = json!({ "event": "pusher:subscribe", "data": { "channel": channel } }).to_string();
    let mut bytes = head.into_bytes();
    // masked with zeros
    bytes.extend([0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0]);
    bytes.extend(text.bytes());
    stream.write_all(&bytes).await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("subscription_succeeded") {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
    }
    stream
}

async fn flood_until(server: &Server, sample: &str) {
    let data = "x".repeat(10_000);
    while Page::of(server).await.get(sample) == 0.0 {
        for _ in 0..20 {
            publish(server, "room", "flood", &data).await;
        }
    }
}

#[tokio::test]
async fn evictions_by_reason() {
    let full = r#"resound_evictions_total{app="3",reason="outbox_full"}"#;
    let write = r#"resound_evictions_total{app="3",reason="write_timeout"}"#;
    let pong = r#"resound_evictions_total{app="3",reason="pong_timeout"}"#;

    let message = r#"resound_evictions_total{app="3",reason="message_timeout"}"#;

    let socket = "[socket]\noutbox_bytes_max = 16384\nclose_timeout_s = 1\n";
    let server = Server::with(&format!("{ADMIN}{socket}")).await;
    let reader = stalled(&server, "room").await;
    flood_until(&server, full).await;
    eventually("it is gone", || server.node.connections() == 0).await;
    check(
        &server,
        &[
            (full, 1.0),
            (write, 0.0),
            (pong, 0.0),
            (
                r#"resound_connections_closed_total{app="3",reason="slow_consumer"}"#,
                1.0,
            ),
        ],
    )
    .await;
    drop(reader);

    let socket = "[socket]\noutbox_bytes_max = 104857600\nwrite_timeout_s = 1\n";
    let server = Server::with(&format!("{ADMIN}{socket}")).await;
    let reader = stalled(&server, "room").await;
    flood_until(&server, write).await;
    eventually("it is gone", || server.node.connections() == 0).await;
    let closed = r#"resound_connections_closed_total{app="3",reason="write_timeout"}"#;
    check(&server, &[(full, 0.0), (write, 1.0), (closed, 1.0)]).await;
    drop(reader);

    let pings = "[app_defaults]\nping_interval_s = 1\npong_timeout_s = 1\n";
    let server = Server::with(&format!("{ADMIN}{pings}")).await;
    let reader = stalled(&server, "room").await;
    until("its subscription ends", async || {
        server.channels("").await.is_empty()
    })
    .await;
    check(&server, &[(pong, 1.0), (message, 0.0)]).await;
    drop(reader);

    let socket = "[socket]\nmessage_timeout_s = 1\nclose_timeout_s = 1\n";
    let server = Server::with(&format!("{ADMIN}{socket}")).await;
    let mut reader = stalled(&server, "room").await;
    // the first of five bytes that are announced
    let begun = [0x81, 0x85, 0, 0, 0, 0, b'{'];
    reader.write_all(&begun).await.unwrap();
    eventually("it is gone", || server.node.connections() == 0).await;
    let closed = r#"resound_connections_closed_total{app="3",reason="message_timeout"}"#;
    check(&server, &[(message, 1.0), (pong, 0.0), (closed, 1.0)]).await;
    drop(reader);
}

#[tokio::test]
async fn soketis_names_are_there_when_asked_for() {
    let server = Server::with("[admin]\nport = 0\nsoketi_prefix = \"soketi_\"\n").await;
    let _client = Client::on(&server, "room").await;
    publish(&server, "room", "e", "x").await;
    let page = Page::of(&server).await;
    let port = server.addr.port();
    for (name, value) in [
        ("soketi_connected", 1.0),
        ("soketi_new_connections_total", 1.0),
        ("soketi_new_disconnections_total", 0.0),
        ("soketi_ws_messages_received_total", 1.0),
        ("soketi_http_calls_received_total", 1.0),
        ("soketi_http_transmitted_bytes", 2.0),
    ] {
        let sample = format!("{name}{{app_id=\"3\",port=\"{port}\"}}");
        assert_eq!(page.samples.get(&sample), Some(&value), "{sample}");
    }
    for name in [
        "soketi_socket_received_bytes",
        "soketi_socket_transmitted_bytes",
        "soketi_http_received_bytes",
        "soketi_process_resident_memory_bytes",
    ] {
        assert!(page.sum(name) > 0.0, "{name}");
    }
    let server = Server::with(ADMIN).await;
    let page = Page::of(&server).await;
    let mut names = page.types.keys();
    assert!(names.all(|name| name.starts_with("resound_")));
}

#[tokio::test]
async fn both_formats_say_the_same() {
    let settings = format!("{ADMIN}[app_defaults]\nconnections_max = 7\n");
    let server = Server::with(&settings).await;
    let _client = Client::on(&server, "room").await;
    let plain = Page::of(&server).await;
    let open = Page::open_metrics_of(&server).await;
    let names = |page: &Page| page.samples.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&plain), names(&open));
    for (page, name) in [
        (&plain, "resound_publishes_total"),
        (&open, "resound_publishes"),
    ] {
        assert_eq!(page.types[name], "counter");
    }
    assert_eq!(plain.get(r#"resound_app_connections_limit{app="3"}"#), 7.0);
}

/// The names that the page and the dashboard may use: those of the older format, with a histogram's endings.
async fn exported() -> BTreeSet<String> {
    // in a cluster, if only one whose Redis isn't there
    let server = Server::with(&format!("{ADMIN}\n[cluster]\nenabled = true\nport = 1\n")).await;
    let page = Page::of(&server).await;
    page.types.into_keys().collect()
}

#[tokio::test]
async fn the_documentation_lists_every_metric_and_no_other() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<String> = rows
        .map(|row| row.split_once('`').unwrap().0.to_owned())
        // queries stand in tables, too
        .filter(|name| name.starts_with("resound_") && !name.contains([' ', '(', '{']))
        .collect();
    assert_eq!(documented, exported().await);
}

#[tokio::test]
async fn the_dashboard_shows_only_what_is_exported_and_all_that_is_counted() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/packaging/grafana/resound.json"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut shown = BTreeSet::new();
    for target in panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
    {
        let query = target["expr"].as_str().unwrap();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = query.split(|c| !is_part(c));
        let names = words.filter(|word| word.starts_with("resound_"));
        let names: Vec<&str> = names.collect();
        assert!(!names.is_empty(), "{query}");
        shown.extend(names.into_iter().map(|name| {
            let histogram = ["_bucket", "_sum", "_count"];
            let base = histogram.iter().find_map(|end| name.strip_suffix(end));
            base.unwrap_or(name).to_owned()
        }));
    }
    let exported = exported().await;
    let unknown: Vec<_> = shown.difference(&exported).collect();
    assert!(unknown.is_empty(), "not exported: {unknown:?}");
    let missing: Vec<_> = exported.difference(&shown).collect();
    assert!(missing.is_empty(), "in no panel: {missing:?}");
}

#[tokio::test]
async fn apps_are_labelled_by_id_and_their_secrets_shown_nowhere() {
    let app = r#"
[[apps]]
id = "a.b,c=1;$*"
key = "the-key"
secret = "hunter2"
"#;
    let server = Server::with_toml(&format!("{ADMIN}{app}")).await;
    let page = Page::of(&server).await;
    let sample = r#"resound_connections{app="a.b,c=1;$*"}"#;
    assert!(page.samples.contains_key(sample), "{page:?}");
    let text = admin_get(&server, "/metrics", "").await.body;
    assert!(!text.contains("hunter2") && !text.contains("the-key"));
}
