use std::time::{Duration, Instant};

use resound::gate::Refusal;
use serde_json::json;

use super::{FORWARDED, OTHER, SOMEBODY, send_from};
use crate::{
    client::Client,
    helpers::{Server, eventually},
    rest::request::{Connection, KEY, Unsigned},
    socket::raw::{Raw, app_path, handshake},
};

const FULL: &str = "Too many connections from this address";

async fn open(server: &Server, forwarded_for: &str) -> Client {
    Client::open(server, &app_path(), &[(FORWARDED, forwarded_for)]).await
}

async fn connect(server: &Server, forwarded_for: &str) -> Client {
    let mut client = open(server, forwarded_for).await;
    client.established().await;
    client
}

#[tokio::test]
async fn connections_are_counted_by_address() {
    let server = Server::with("[limits]\nconnections_per_address = 2").await;
    let first = connect(&server, SOMEBODY).await;
    // what stands left of the address that the proxy saw, the client wrote itself
    let _second = connect(&server, &format!("{OTHER}, {SOMEBODY}")).await;
    for spoofed in [
        SOMEBODY.to_owned(),
        format!("{OTHER}, {SOMEBODY}"),
        format!("127.0.0.1,{SOMEBODY}:4711, 127.0.0.1"),
        format!("rubbish, ::ffff:{SOMEBODY}"),
    ] {
        let mut third = open(&server, &spoofed).await;
        third.assert_refused(4100, FULL).await;
    }
    assert_eq!(server.node.gate().refused(Refusal::Connections), 4);
    let _other = connect(&server, OTHER).await;

    first.drop_connection();
    eventually("a place is free", || server.node.connections() == 2).await;
    let _third = connect(&server, SOMEBODY).await;
    open(&server, SOMEBODY)
        .await
        .assert_refused(4100, FULL)
        .await;
}

#[tokio::test]
async fn a_64_of_ipv6_is_one_address() {
    let server = Server::with("[limits]\nconnections_per_address = 1").await;
    let _one = connect(&server, "2001:db8::1").await;
    let mut same = open(&server, "[2001:db8::ffff:2]:443").await;
    same.assert_refused(4100, FULL).await;
    let _neighbour = connect(&server, "2001:db8:0:1::1").await;
}

#[tokio::test]
async fn who_may_stand_for_many_is_not_limited() {
    let limits = "[limits]\nconnections_per_address = 1\nhandshakes_per_s_per_address = 1\n\
                  handshake_burst_per_address = 1\n";
    let trusting = Server::with(limits).await;
    let mistrusting = Server::with(&format!("{limits}[server]\ntrusted_proxies = []")).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        // this machine, a proxy that forgets the header, one that has no use for it
        clients.push(Client::connect(&trusting).await);
        for headers in ["", "unknown", "127.0.0.1"] {
            clients.push(connect(&trusting, headers).await);
        }
        // loopback that nobody trusts is still not one client, and its header isn't read
        clients.push(connect(&mistrusting, SOMEBODY).await);
    }
    assert_eq!(trusting.node.connections(), 20);
    assert_eq!(mistrusting.node.connections(), 5);
}

#[tokio::test]
async fn other_headers_name_the_client_too() {
    let server = Server::with("[limits]\nconnections_per_address = 1").await;
    for (name, address) in [
        ("x-real-ip", "198.51.100.10"),
        ("cf-connecting-ip", "198.51.100.11"),
    ] {
        let headers = [(name, address)];
        let mut first = Client::open(&server, &app_path(), &headers).await;
        first.established().await;
        let mut second = Client::open(&server, &app_path(), &headers).await;
        second.assert_refused(4100, FULL).await;
        open(&server, address)
            .await
            .assert_refused(4100, FULL)
            .await;
    }
}

#[tokio::test]
async fn connections_that_are_reset_free_their_place() {
    let server = Server::with("[limits]\nconnections_per_address = 1").await;
    let headers = format!("X-Forwarded-For: {SOMEBODY}\r\n");
    for round in 0..20 {
        let mut raw = Raw::open(&server).await;
        raw.send(handshake(&app_path(), &headers)).await;
        raw.head().await;
        raw.established().await;
        let refused = open(&server, SOMEBODY).await;
        match round % 3 {
            0 => raw.reset(),
            1 => drop(raw),
            _ => raw.finish_sending().await,
        }
        // the one that was refused never counted
        drop(refused);
        eventually("the place is free", || server.node.connections() == 0).await;
    }
    connect(&server, SOMEBODY).await;
}

#[tokio::test]
async fn a_limit_of_0_is_none() {
    let server = Server::with(
        "[limits]\nconnections_per_address = 0\nhandshakes_per_s_per_address = 0\n\
         auth_failures_per_min_per_address = 0\nsignature_failures_per_min_per_address = 0",
    )
    .await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(connect(&server, SOMEBODY).await);
        let target = format!("/apps/3/channels?auth_key={KEY}");
        let answer = send_from(SOMEBODY, &server, "GET", &target).await;
        answer.assert_refused(401, "Version required");
    }
    for _ in 0..20 {
        fail(&mut clients[0]).await;
    }
    assert!(clients[0].has_nothing().await);
}

#[tokio::test]
async fn handshakes_over_the_burst_get_429() {
    let server =
        Server::with("[limits]\nhandshakes_per_s_per_address = 1\nhandshake_burst_per_address = 3")
            .await;
    // one comes back each second: an attempt that took longer says nothing
    for attempt in 0..50 {
        let address = format!("198.51.100.{attempt}");
        let headers = format!("X-Forwarded-For: {address}\r\n");
        let started = Instant::now();
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(connect(&server, &address).await);
        }
        let mut raw = Raw::open(&server).await;
        raw.send(handshake(&app_path(), &headers)).await;
        let answer = String::from_utf8(raw.rest().await).unwrap();
        if started.elapsed() >= Duration::from_secs(1) {
            continue;
        }
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        let lower = answer.to_ascii_lowercase();
        assert!(lower.contains("\r\nretry-after: 1\r\n"), "{answer}");
        assert!(lower.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(
            answer.ends_with("(limits.handshakes_per_s_per_address)\n"),
            "{answer}"
        );
        assert!(server.node.gate().refused(Refusal::Handshakes) > 0);
        // those that are open stay, and so does everybody else
        for client in &mut clients {
            assert!(client.has_nothing().await);
        }
        connect(&server, OTHER).await;
        return;
    }
    panic!("no attempt within a second");
}

/// Asks for a channel with a signature that is wrong, and reads the refusal.
async fn fail(client: &mut Client) {
    let data = json!({ "channel": "private-a", "auth": format!("{KEY}:{}", "0".repeat(64)) });
    client
        .send(json!({ "event": "pusher:subscribe", "data": data }))
        .await;
    assert_eq!(client.next().await["event"], "pusher:subscription_error");
    assert_eq!(client.next().await["event"], "pusher:error");
}

#[tokio::test]
async fn c32_after_too_many_wrong_signatures_their_senders_are_closed() {
    const REASON: &str = "Too many wrong signatures from this address";
    // one comes back each 20 seconds
    let server = Server::with("[limits]\nauth_failures_per_min_per_address = 3").await;
    let mut honest = connect(&server, SOMEBODY).await;
    let mut wrong = connect(&server, SOMEBODY).await;
    for _ in 0..2 {
        fail(&mut wrong).await;
    }
    // sign-ins count as well; the wrong channel names, missing data and other faults don't
    let signin = json!({ "event": "pusher:signin", "data": {
        "auth": format!("{KEY}:00"), "user_data": "{\"id\":\"1\"}" } });
    wrong.send(signin.clone()).await;
    assert_eq!(wrong.next().await["event"], "pusher:error");
    for _ in 0..5 {
        wrong.ask("presence-x", None).await;
        wrong.next().await;
        wrong.next().await;
    }
    assert!(wrong.has_nothing().await);

    // the answer still comes, then the end
    fail(&mut wrong).await;
    wrong.assert_refused(4100, REASON).await;
    // from a new connection, and by a sign-in
    let mut again = connect(&server, SOMEBODY).await;
    again.send(signin).await;
    assert_eq!(again.next().await["data"]["code"], json!(null));
    again.assert_refused(4100, REASON).await;
    assert_eq!(server.node.gate().refused(Refusal::AuthFailures), 2);

    // who signs correctly notices nothing, at the same address too
    honest.subscribe("private-a", None).await;
    let mut other = connect(&server, OTHER).await;
    fail(&mut other).await;
    assert!(other.has_nothing().await);
    let mut local = Client::connect(&server).await;
    for _ in 0..10 {
        fail(&mut local).await;
    }
    assert!(local.has_nothing().await);
}

#[tokio::test]
async fn after_too_many_wrong_signatures_requests_get_429_unread() {
    // one comes back each 30 seconds
    let server = Server::with("[limits]\nsignature_failures_per_min_per_address = 2").await;
    let path = "/apps/3/channels";
    let right = || Unsigned::new("GET", path, b"").sign();
    let mut wrong = Unsigned::new("GET", path, b"");
    wrong.secret = "wrong".to_owned();
    let wrong = wrong.sign();
    for _ in 0..5 {
        let answer = send_from(SOMEBODY, &server, "GET", &right()).await;
        answer.assert_json(r#"{"channels":{}}"#);
    }
    for _ in 0..2 {
        let answer = send_from(SOMEBODY, &server, "GET", &wrong).await;
        answer.assert_refused(401, "Invalid signature: ");
    }
    for target in [&wrong, &right(), &"/apps/3/channels".to_owned()] {
        let answer = send_from(SOMEBODY, &server, "GET", target).await;
        answer.assert_refused(429, "Too many requests with a wrong signature");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
    }
    assert_eq!(server.node.gate().refused(Refusal::SignatureFailures), 3);
    // a body that nobody reads isn't taken for the next request
    let mut connection = Connection::open(server.addr).await;
    for _ in 0..2 {
        let body = "x".repeat(100_000);
        let head = format!(
            "POST /apps/3/events HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {SOMEBODY}\r\nContent-Length: 100000\r\n\r\n"
        );
        connection.send(head + &body).await;
        match connection.try_response(true).await {
            Some(answer) => answer.assert_refused(429, "Too many requests with a wrong"),
            None => break,
        }
    }
    // everybody else goes on
    let answer = send_from(OTHER, &server, "GET", &right()).await;
    answer.assert_json(r#"{"channels":{}}"#);
    let answer = send_from("", &server, "GET", &right()).await;
    answer.assert_json(r#"{"channels":{}}"#);
    // and so does all that needs no signature
    let answer = send_from(SOMEBODY, &server, "GET", "/up").await;
    assert_eq!(answer.status, 200);
    connect(&server, SOMEBODY).await;
}

#[tokio::test]
async fn limits_that_are_reloaded_hold_for_open_connections() {
    let settings = |limits: &str| {
        let app = format!("id = \"3\"\nkey = \"{KEY}\"\nsecret = \"s\"\n");
        format!("[limits]\nconnections_per_address = 1\n{limits}\n[[apps]]\n{app}")
    };
    // nearly all of them, so that none comes back before the settings change, however slow the machine
    let lenient = settings("auth_failures_per_min_per_address = 21");
    let server = Server::with_toml(&lenient).await;
    let mut client = connect(&server, SOMEBODY).await;
    for _ in 0..20 {
        fail(&mut client).await;
    }
    let stricter = settings("auth_failures_per_min_per_address = 1");
    let stricter = resound::config::from_toml(&stricter).unwrap();
    server.node.reload(stricter).await;
    fail(&mut client).await;
    client
        .assert_refused(4100, "Too many wrong signatures from this address")
        .await;
}

#[tokio::test]
async fn c9_clients_without_an_origin_may_be_let_in() {
    let list = "[app_defaults]\nallowed_origins = [\"https://app.example.com:8443\"]\n";
    let strict = Server::with(list).await;
    let lenient = Server::with(&format!("{list}allow_missing_origin = true")).await;
    let open = async |server: &Server, origin: Option<&str>| {
        let headers: Vec<_> = origin.iter().map(|origin| ("origin", *origin)).collect();
        Client::open(server, &app_path(), &headers).await
    };
    for server in [&strict, &lenient] {
        let mut client = open(server, Some("https://app.example.com")).await;
        client.established().await;
        for wrong in ["https://evil.org", "null", "", "\u{e9}"] {
            let mut client = open(server, Some(wrong)).await;
            client.assert_refused(4009, "Origin not allowed").await;
        }
    }
    open(&lenient, None).await.established().await;
    let mut refused = open(&strict, None).await;
    refused.assert_refused(4009, "Origin not allowed").await;
}
