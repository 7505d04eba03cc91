//! Handshake, refusals, `connection_established` (C-1 to C-15).
use std::collections::HashSet;

use serde_json::json;

use super::raw::{FIN, PING, Raw, TEXT, app_path, frame, handshake, text};
use crate::{
    client::Client,
    helpers::{Server, eventually},
    rest::request::{KEY, send},
};

#[tokio::test]
async fn c1_the_key_is_exact_and_may_be_percent_encoded() {
    let server = Server::start().await;
    Client::connect_to(&server, &format!("/app/{KEY}")).await;
    let encoded: String = KEY.bytes().map(|byte| format!("%{byte:02X}")).collect();
    Client::connect_to(&server, &format!("/app/{encoded}?protocol=7")).await;
    for key in [
        KEY.to_uppercase(),
        format!("{KEY}x"),
        KEY[1..].to_owned(),
        format!("{KEY}%20"),
    ] {
        let mut client = Client::open(&server, &format!("/app/{key}"), &[]).await;
        client
            .assert_refused(4001, "Application does not exist")
            .await;
    }
}

#[tokio::test]
async fn c1_the_path_prefix_is_optional() {
    let server = Server::with("[server]\npath = \"/reverb/ws\"").await;
    Client::connect_to(&server, &format!("/reverb/ws/app/{KEY}")).await;
    Client::connect_to(&server, &format!("/app/{KEY}")).await;
    for path in ["/reverb/app/", "/other/app/", "/reverb/wsapp/"] {
        let mut client = Client::open(&server, &format!("{path}{KEY}"), &[]).await;
        client.assert_refused(4005, "Path not found").await;
    }
    let answer = send(&server, "GET", "/reverb/ws/up", b"").await;
    assert_eq!(answer.status, 200, "the same listener speaks HTTP");
}

#[tokio::test]
async fn c2_urls_of_real_clients_and_unknown_parameters() {
    let server = Server::start().await;
    for query in [
        "",
        "?",
        "?protocol=7&client=js&version=8.6.0&flash=false",
        "?client=java-client&protocol=5&version=2.4.4",
        "?client=pusher-websocket-swift&version=10.1.10&protocol=7",
        "?protocol=5&client=pusher-dotnet-client&version=2.3.0.0",
        "?client=libPusher&protocol=6&version=1.6.3",
        "?client=Pysher&version=1.0.8%2Bx&protocol=6",
        "?version=anything+at+all%00&client=&&x=%zz&y[]=1&=",
    ] {
        Client::connect_to(&server, &format!("/app/{KEY}{query}")).await;
    }
}

#[tokio::test]
async fn c3_versions_4_to_7_are_served_alike_and_others_refused() {
    let server = Server::start().await;
    for version in ["4", "5", "6", "7"] {
        let mut client =
            Client::connect_to(&server, &format!("/app/{KEY}?protocol={version}")).await;
        client.subscribe("room", None).await;
    }
    for version in ["1", "2", "3", "8", "-7", "0", "seven", "", "7.0", "%00"] {
        let path = format!("/app/{KEY}?protocol={version}");
        let mut client = Client::open(&server, &path, &[]).await;
        client
            .assert_refused(4007, "Unsupported protocol version")
            .await;
    }
}

#[tokio::test]
async fn c4_one_offered_sub_protocol_is_selected() {
    let server = Server::start().await;
    for (offers, selected) in [
        ("", None),
        (
            "Sec-WebSocket-Protocol: pusher-channels-protocol-7\r\n",
            Some("pusher-channels-protocol-7"),
        ),
        (
            "Sec-WebSocket-Protocol: chat, pusher-channels-protocol-7\r\n",
            Some("pusher-channels-protocol-7"),
        ),
        (
            "Sec-WebSocket-Protocol: chat\r\nsec-websocket-protocol: pusher-channels-protocol-7\r\n",
            Some("pusher-channels-protocol-7"),
        ),
        ("Sec-WebSocket-Protocol: chat,talk\r\n", Some("chat")),
    ] {
        let mut raw = Raw::open(&server).await;
        raw.send(handshake(&app_path(), offers)).await;
        let head = raw.head().await.to_ascii_lowercase();
        let answers: Vec<&str> = head
            .lines()
            .filter_map(|line| line.strip_prefix("sec-websocket-protocol: "))
            .collect();
        assert_eq!(answers, Vec::from_iter(selected), "{offers:?}");
    }
}

/// The whole answer without its date, whose value changes.
async fn http_answer(server: &Server, request: &str) -> String {
    let mut raw = Raw::open(server).await;
    raw.send(request).await;
    let answer = String::from_utf8(raw.rest().await).unwrap();
    let lines = answer.split_inclusive("\r\n");
    let mut lines: Vec<&str> = lines.filter(|line| !line.starts_with("date: ")).collect();
    // headers in the order of their names: theirs isn't fixed
    let end = lines.iter().position(|line| *line == "\r\n").unwrap();
    lines[1..end].sort_unstable();
    lines.concat()
}

#[tokio::test]
async fn c5_handshakes_that_are_refused_over_http() {
    let server = Server::start().await;
    let good = handshake(&app_path(), "");
    let change = |from: &str, to: &str| good.replace(from, to);
    let post = [
        "405 Method Not Allowed",
        "allow: GET",
        "connection: close",
        "content-length: 39",
        "content-type: text/plain; charset=utf-8",
        "",
        "A WebSocket handshake is a GET request\n",
    ];
    let version = [
        "426 Upgrade Required",
        "connection: close, upgrade",
        "content-length: 84",
        "content-type: text/plain; charset=utf-8",
        "sec-websocket-version: 13",
        "upgrade: websocket",
        "",
        "Only version 13 of the WebSocket protocol is spoken: send Sec-WebSocket-Version: 13\n",
    ];
    let key = [
        "400 Bad Request",
        "connection: close",
        "content-length: 57",
        "content-type: text/plain; charset=utf-8",
        "",
        "Sec-WebSocket-Key is missing or isn't 16 bytes in Base64\n",
    ];
    for (request, answer) in [
        (change("GET ", "POST "), &post[..]),
        (change("Sec-WebSocket-Version: 13\r\n", ""), &version),
        (change("Version: 13", "Version: 8"), &version),
        (change("Key: dGhlIHNhbXBsZSBub25jZQ==", "Other: x"), &key),
        (change("dGhlIHNhbXBsZSBub25jZQ==", "x"), &key),
    ] {
        let expected = format!("HTTP/1.1 {}", answer.join("\r\n"));
        assert_eq!(http_answer(&server, &request).await, expected, "{request}");
    }
    assert_eq!(server.node.connections(), 0);
}

#[tokio::test]
async fn c5_the_answer_to_a_good_handshake() {
    let server = Server::start().await;
    let mut raw = Raw::open(&server).await;
    raw.send(handshake(&app_path(), "")).await;
    let head = raw.head().await;
    let mut lines: Vec<&str> = head
        .trim_end()
        .lines()
        .filter(|line| !line.starts_with("date: "))
        .collect();
    lines[1..].sort_unstable();
    assert_eq!(
        lines,
        [
            "HTTP/1.1 101 Switching Protocols",
            "connection: upgrade",
            // RFC 6455 section 1.3 has it for this key
            "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "upgrade: websocket",
        ]
    );
}

#[tokio::test]
async fn c5_upgrades_on_other_paths_are_closed_with_4005() {
    let server = Server::start().await;
    for path in [
        "/", "/app", "/app/", "/app//", "/apps/3", "/app/a/b", "/up", "//app/x", "/app/%ff",
    ] {
        let mut client = Client::open(&server, path, &[]).await;
        client.assert_refused(4005, "Path not found").await;
    }
}

#[tokio::test]
async fn c5_connection_and_upgrade_are_token_lists() {
    let server = Server::start().await;
    for (connection, upgrade) in [
        ("keep-alive, Upgrade", "websocket"),
        ("upgrade", "WebSocket"),
        ("UPGRADE", "WEBSOCKET"),
        ("Upgrade,keep-alive", "websocket"),
    ] {
        let request = handshake(&app_path(), "")
            .replace("Connection: Upgrade", &format!("Connection: {connection}"))
            .replace("Upgrade: websocket", &format!("Upgrade: {upgrade}"));
        let mut raw = Raw::open(&server).await;
        raw.send(request).await;
        let head = raw.head().await;
        assert!(
            head.starts_with("HTTP/1.1 101 "),
            "{connection} {upgrade} {head}"
        );
        raw.established().await;
    }
}

#[tokio::test]
async fn c6_whole_text_frames_without_compression() {
    let server = Server::start().await;
    let mut raw = Raw::open(&server).await;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    raw.send(handshake(&app_path(), offer)).await;
    let head = raw.head().await.to_ascii_lowercase();
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
    let (first_byte, _) = raw.next_frame().await.unwrap();
    assert_eq!(first_byte, FIN | TEXT, "no reserved bit, not fragmented");

    // a message in three fragments, with a ping between them
    raw.send(frame(TEXT, br#"{"event":"pusher:sub"#)).await;
    raw.send(frame(0, br#"scribe","data":{"chan"#)).await;
    raw.send(frame(FIN | PING, b"between")).await;
    raw.send(frame(FIN, "nel\":\"room\",\"x\":\"é\"}}".as_bytes()))
        .await;
    assert_eq!(
        raw.next_text().await,
        json!({"event": "pusher_internal:subscription_succeeded", "channel": "room", "data": "{}"})
    );
}

#[tokio::test]
async fn c7_credentials_of_http_mean_nothing() {
    let server = Server::start().await;
    let headers = [
        ("cookie", "laravel_session=x"),
        ("authorization", "Bearer wrong"),
    ];
    let mut client = Client::open(&server, &format!("/app/{KEY}"), &headers).await;
    client.established().await;
    assert_eq!(server.node.connections(), 1);
}

/// App `3` with everything in the way, so that removing one obstacle after the other shows the order.
fn obstructed(app: &str, server: &str) -> String {
    format!(
        "[server]\n{server}\n[[apps]]\nid = \"3\"\nkey = \"{KEY}\"\nsecret = \"s\"\n{app}\n\
         [[apps]]\nid = \"other\"\nkey = \"other\"\nsecret = \"s\"\n"
    )
}

#[tokio::test]
async fn c8_checks_in_their_order() {
    const TLS: (&str, &str) = ("x-forwarded-proto", "https");
    const ORIGIN: (&str, &str) = ("origin", "https://good.example");
    let app = "require_tls = true\nallowed_origins = [\"good.example\"]\nconnections_max = 1";
    let disabled = Server::with_toml(&obstructed(&format!("enabled = false\n{app}"), "")).await;
    let enabled = Server::with_toml(&obstructed(app, "connections_max = 1")).await;
    let refused = async |server: &Server, path: &str, headers: &[_], code, message| {
        Client::open(server, path, headers)
            .await
            .assert_refused(code, message)
            .await;
    };
    let good = app_path();
    let old = good.replace("protocol=7", "protocol=3");
    refused(&disabled, "/nowhere", &[], 4005, "Path not found").await;
    let unknown = "/app/unknown?protocol=3";
    refused(&disabled, unknown, &[], 4001, "Application does not exist").await;
    refused(&disabled, &old, &[], 4003, "Application disabled").await;
    let tls = "Application only accepts SSL connections, reconnect using wss://";
    refused(&enabled, &old, &[], 4000, tls).await;
    refused(&enabled, &old, &[TLS], 4007, "Unsupported protocol version").await;

    let mut first = Client::open(&enabled, &good, &[TLS, ORIGIN]).await;
    first.established().await;
    refused(&enabled, &good, &[TLS], 4009, "Origin not allowed").await;
    let quota = "Application is over connection quota";
    refused(&enabled, &good, &[TLS, ORIGIN], 4004, quota).await;
    refused(&enabled, "/app/other", &[], 4100, "Over capacity").await;

    // nothing that was refused counts: one place becomes free, and one can be taken
    first.close().await;
    eventually("the first is gone", || enabled.node.connections() == 0).await;
    Client::open(&enabled, &good, &[TLS, ORIGIN])
        .await
        .established()
        .await;
}

#[tokio::test]
async fn c8_forwarded_schemes_count_from_trusted_proxies_only() {
    let tls_only = "[app_defaults]\nrequire_tls = true\n";
    let trusting = Server::with(tls_only).await;
    for (scheme, is_tls) in [
        ("https", true),
        ("wss", true),
        ("HTTPS", true),
        ("https, http", true),
        ("http", false),
        ("http, https", false),
        ("", false),
        ("httpss", false),
    ] {
        let headers = [("x-forwarded-proto", scheme)];
        let mut client = Client::open(&trusting, &app_path(), &headers).await;
        if is_tls {
            client.established().await;
        } else {
            let frame = client.next().await;
            assert_eq!(frame["data"]["code"], 4000, "{scheme:?}");
        }
    }
    let distrusting = Server::with(&format!(
        "[server]\ntrusted_proxies = [\"10.0.0.0/8\"]\n{tls_only}"
    ))
    .await;
    let headers = [("x-forwarded-proto", "https")];
    let mut client = Client::open(&distrusting, &app_path(), &headers).await;
    let message = "Application only accepts SSL connections, reconnect using wss://";
    client.assert_refused(4000, message).await;
}

#[tokio::test]
async fn c9_origins() {
    let server =
        Server::with("[app_defaults]\nallowed_origins = [\"app.example.com\", \"*.trusted.org\"]")
            .await;
    for (origin, is_allowed) in [
        (Some("https://app.example.com"), true),
        (Some("http://APP.example.com:3000"), true),
        (Some("https://a.b.trusted.org"), true),
        (Some("https://trusted.org"), false),
        (Some("https://app.example.com.evil.org"), false),
        (Some("https://xapp.example.com"), false),
        (Some("null"), false),
        (Some("app.example.com"), false),
        (None, false),
    ] {
        let headers: Vec<_> = origin.iter().map(|origin| ("origin", *origin)).collect();
        let mut client = Client::open(&server, &app_path(), &headers).await;
        if is_allowed {
            client.established().await;
        } else {
            client.assert_refused(4009, "Origin not allowed").await;
        }
    }
}

#[tokio::test]
async fn c9_no_list_and_a_star_allow_every_origin() {
    let any = Server::with("[app_defaults]\nallowed_origins = [\"a.example\", \"*\"]").await;
    let none = Server::start().await;
    for server in [&any, &none] {
        for headers in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "https://evil.org")],
        ] {
            Client::open(server, &app_path(), headers)
                .await
                .established()
                .await;
        }
    }
}

#[tokio::test]
async fn c10_the_quota_counts_accepted_connections_of_the_app() {
    let server = Server::with_toml(&obstructed("connections_max = 2", "")).await;
    let _subscribed = Client::on(&server, "room").await;
    let idle = Client::connect(&server).await;
    let message = "Application is over connection quota";
    for _ in 0..3 {
        let mut third = Client::open(&server, &app_path(), &[]).await;
        third.assert_refused(4004, message).await;
    }
    assert_eq!(server.node.connections(), 2, "a refused one never counts");
    // another app has its own
    let _other = Client::connect_to(&server, "/app/other").await;

    idle.drop_connection();
    eventually("a place is free", || server.node.connections() == 2).await;
    let _third = Client::connect(&server).await;
    let mut fourth = Client::open(&server, &app_path(), &[]).await;
    fourth.assert_refused(4004, message).await;
}

#[tokio::test]
async fn c10_a_wave_of_connections_never_exceeds_the_quota() {
    let server = Server::with("[app_defaults]\nconnections_max = 5").await;
    let wave: Vec<Client> =
        futures_util::future::join_all((0..40).map(|_| Client::open(&server, "/x", &[]))).await;
    drop(wave);
    let path = app_path();
    let mut wave: Vec<Client> =
        futures_util::future::join_all((0..40).map(|_| Client::open(&server, &path, &[]))).await;
    let mut established = 0;
    for client in &mut wave {
        let frame = client.next().await;
        if frame["event"] == "pusher:connection_established" {
            established += 1;
        } else {
            assert_eq!(frame["data"]["code"], 4004);
        }
    }
    assert_eq!(established, 5);
    assert_eq!(server.node.connections(), 5);
}

#[tokio::test]
async fn c11_established_comes_first_once_and_unasked() {
    let server = Server::start().await;
    let mut asked = Raw::open(&server).await;
    // a subscription and a ping before anything was heard
    let subscribe = text(r#"{"event":"pusher:subscribe","data":{"channel":"room"}}"#);
    let ping = text(r#"{"event":"pusher:ping"}"#);
    asked
        .send([handshake(&app_path(), "").as_bytes(), &subscribe, &ping].concat())
        .await;
    asked.head().await;
    asked.assert_established_subscribed_and_answered().await;
    let mut silent = Client::connect(&server).await;
    assert!(silent.has_nothing().await);
}

#[tokio::test]
async fn c12_c13_established_to_the_letter() {
    for (settings, timeout) in [
        ("", 30),
        ("[app_defaults]\nactivity_timeout_s = 120", 120),
        ("[app_defaults]\nactivity_timeout_s = 1", 1),
    ] {
        let server = Server::with(settings).await;
        let mut client = Client::open(&server, &app_path(), &[]).await;
        let text = client.next_text().await;
        let start = r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\""#;
        let end = format!(r#"\",\"activity_timeout\":{timeout}}}"}}"#);
        let id = text.strip_prefix(start).and_then(|t| t.strip_suffix(&end));
        let id = id.unwrap_or_else(|| panic!("{text}"));
        assert!(id.bytes().all(|b| b.is_ascii_digit() || b == b'.'), "{id}");
    }
}

#[tokio::test]
async fn c14_socket_ids_are_two_numbers_and_unique() {
    let server = Server::start().await;
    let clients = futures_util::future::join_all((0..50).map(|_| Client::connect(&server))).await;
    let ids: HashSet<&str> = clients.iter().map(|c| c.socket_id.as_str()).collect();
    assert_eq!(ids.len(), clients.len());
    for id in ids {
        let (left, right) = id.split_once('.').unwrap();
        for number in [left, right] {
            let value: u64 = number.parse().unwrap();
            assert!((1..=1_000_000_000).contains(&value), "{id}");
            assert_eq!(value.to_string(), number, "no sign, no leading zero");
        }
    }
}

#[tokio::test]
async fn c15_connection_events_have_no_channel() {
    let server = Server::start().await;
    let mut client = Client::open(&server, &app_path(), &[]).await;
    let established = client.next().await;
    client.send(json!({"event": "pusher:ping"})).await;
    let pong = client.next().await;
    client.send_text("nonsense").await;
    let error = client.next().await;
    for frame in [established, pong, error] {
        let keys: Vec<&String> = frame.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["data", "event"], "{frame}");
    }
}
