//! The live stream: who may listen, to what, and what happens when it is too much.
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use crate::{
    ADMIN, admin_get,
    client::{Client, publish},
    helpers::{Server, eventually},
    page::Page,
    rest::request::{KEY, send},
};

const PATIENCE: Duration = Duration::from_secs(20);

struct Listener(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Listener {
    async fn try_open(
        server: &Server,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Listener, (u16, String)> {
        let address = server.admin.expect("an admin listener");
        let url = format!("ws://{address}/stream{query}");
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Listener(socket)),
            Err(tungstenite::Error::Http(answer)) => {
                let body = answer.body().clone().unwrap_or_default();
                let body = String::from_utf8(body).unwrap();
                Err((answer.status().as_u16(), body))
            }
            Err(other) => panic!("{other}"),
        }
    }

    async fn open(server: &Server, query: &str) -> Listener {
        let listener = Listener::try_open(server, query, &[]).await;
        listener.unwrap_or_else(|(status, body)| panic!("{status} {body}"))
    }

    async fn next(&mut self) -> Value {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("an event");
            match message.expect("not the end").expect("a message") {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Expects an event with these members, among others.
    async fn expect(&mut self, members: Value) -> Value {
        let event = self.next().await;
        for (key, value) in members.as_object().unwrap() {
            assert_eq!(&event[key], value, "{key} of {event}");
        }
        event
    }
}

#[tokio::test]
async fn a_connections_life() {
    let server = Server::with(ADMIN).await;
    let mut listener = Listener::open(&server, "").await;
    let mut client = Client::connect(&server).await;
    let id = client.socket_id.clone();
    let event = listener
        .expect(json!({"kind": "connected", "app": "3", "socket_id": id, "peer": "127.0.0.1"}))
        .await;
    assert!(event["time_ms"].as_u64().unwrap() > 1_700_000_000_000);
    client.join("presence-room", "7").await;
    listener
        .expect(json!({"kind": "subscribed", "socket_id": id, "channel": "presence-room", "user_id": "7"}))
        .await;
    client
        .whisper("presence-room", "client-typing", json!("…"))
        .await;
    listener
        .expect(json!({"kind": "client_event", "socket_id": id, "channel": "presence-room", "event": "client-typing", "data": null}))
        .await;
    publish(&server, "presence-room", "e", "secret").await;
    listener
        .expect(json!({"kind": "published", "app": "3", "channel": "presence-room", "event": "e", "bytes": 6, "data": null}))
        .await;
    client.unsubscribe("presence-room").await;
    listener
        .expect(json!({"kind": "unsubscribed", "socket_id": id, "channel": "presence-room"}))
        .await;
    client.ask("presence-room", None).await;
    listener
        .expect(json!({"kind": "refused", "what": "subscription", "socket_id": id, "channel": "presence-room", "reason": "missing_channel_data", "code": 401}))
        .await;
    client.close().await;
    let event = listener
        .expect(json!({"kind": "disconnected", "socket_id": id, "reason": "client"}))
        .await;
    assert!(event["duration_ms"].is_u64(), "{event}");
}

#[tokio::test]
async fn refusals_come_with_their_exact_reason() {
    let settings = format!("{ADMIN}[app_defaults]\nallowed_origins = [\"good.example\"]\n");
    let server = Server::with(&settings).await;
    let mut listener = Listener::open(&server, "?kind=refused").await;
    let path = format!("/app/{KEY}");
    let evil = [("origin", "https://evil.example")];
    Client::open(&server, &path, &evil).await.closed().await;
    listener
        .expect(json!({"what": "connection", "app": "3", "reason": "origin_not_allowed", "message": "Origin not allowed", "code": 4009, "origin": "https://evil.example", "path": path}))
        .await;
    let target = "/apps/3/channels?auth_key=x&auth_signature=hidden";
    let answer = send(&server, "GET", target, b"").await;
    let event = listener
        .expect(json!({"what": "request", "app": "3", "path": "/apps/3/channels", "code": 401, "reason": "unknown_auth_key", "message": "Unknown auth_key"}))
        .await;
    assert_eq!(event["request_id"].as_str(), answer.header("x-request-id"));
    assert!(!event.to_string().contains("hidden"));
}

#[tokio::test]
async fn data_only_for_those_who_ask_for_it() {
    let server = Server::with(ADMIN).await;
    let mut curious = Listener::open(&server, "?data=1").await;
    let mut discreet = Listener::open(&server, "").await;
    publish(&server, "room", "e", r#"{"a":1}"#).await;
    curious.expect(json!({"data": "{\"a\":1}"})).await;
    discreet.expect(json!({"data": null})).await;
    publish(&server, "room", "e", &"x".repeat(5000)).await;
    let shown = format!("{}…", "x".repeat(1000));
    curious.expect(json!({"bytes": 5000, "data": shown})).await;
}

#[tokio::test]
async fn filters() {
    let server = Server::with(ADMIN).await;
    let mut by_channel = Listener::open(&server, "?channel=private-*").await;
    let mut by_kind = Listener::open(&server, "?kind=published").await;
    let mut by_app = Listener::open(&server, "?app=4").await;
    let mut never = Listener::open(&server, "?sample=0").await;
    let mut client = Client::connect(&server).await;
    let query = format!("?socket={}", client.socket_id);
    let mut by_socket = Listener::open(&server, &query).await;
    let mut other = Client::connect(&server).await;
    other.subscribe("room", None).await;
    client.subscribe("private-room", None).await;
    publish(&server, "room", "e", "x").await;
    by_channel
        .expect(json!({"kind": "subscribed", "channel": "private-room"}))
        .await;
    by_kind.expect(json!({"kind": "published"})).await;
    by_socket
        .expect(json!({"kind": "subscribed", "channel": "private-room"}))
        .await;
    for nothing in [&mut by_channel, &mut by_app, &mut by_socket, &mut never] {
        let more = timeout(Duration::from_millis(50), nothing.next()).await;
        assert!(more.is_err(), "{more:?}");
    }
    for (query, part) in [
        ("?kind=everything", "Unknown kind"),
        ("?sample=7", "from 0 to 1"),
        ("?chanel=x", "Unknown filter"),
    ] {
        let refusal = Listener::try_open(&server, query, &[]).await.err();
        let (status, sentence) = refusal.expect(query);
        assert_eq!(status, 400);
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[tokio::test]
async fn only_with_the_token() {
    let server = Server::with("[admin]\nport = 0\ntoken = \"t0ken\"\n").await;
    let page = ("origin", "https://ops.example");
    for (query, headers) in [
        ("?token=t0ken", &[][..]),
        ("", &[("authorization", "Bearer t0ken")]),
        ("?token=t0ken", &[page]),
    ] {
        let listener = Listener::try_open(&server, query, headers).await;
        assert!(listener.is_ok(), "{query} {headers:?}");
    }
    for (query, headers) in [
        ("", &[][..]),
        ("?token=", &[]),
        ("?token=t0ke", &[]),
        ("", &[("authorization", "Bearer wrong")]),
        ("", &[("authorization", "Basic t0ken")]),
    ] {
        let refusal = Listener::try_open(&server, query, headers).await.err();
        let (status, sentence) = refusal.expect(query);
        assert_eq!(status, 401, "{query} {headers:?}");
        assert!(sentence.contains("admin.token"), "{sentence}");
        assert!(!sentence.contains("t0ken"), "{sentence}");
    }
    // the rest is for everybody who gets there
    assert_eq!(admin_get(&server, "/metrics", "").await.status, 200);
}

#[tokio::test]
async fn without_a_token_no_web_page_and_nobody_from_elsewhere() {
    let server = Server::with(ADMIN).await;
    for origin in ["https://evil.example", "null", "http://localhost"] {
        let headers = [("origin", origin)];
        let refusal = Listener::try_open(&server, "", &headers).await.err();
        assert_eq!(refusal.expect(origin).0, 403);
    }
    let server = Server::with("[admin]\nport = 0\nhost = \"0.0.0.0\"\n").await;
    let address = server.admin.unwrap();
    let url = format!("ws://127.0.0.1:{}/stream", address.port());
    let Err(tungstenite::Error::Http(answer)) = connect_async(url).await else {
        panic!("let in");
    };
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn what_is_no_websocket_is_told_so() {
    let server = Server::with(ADMIN).await;
    let answer = admin_get(&server, "/stream", "").await;
    assert_eq!(answer.status, 426);
    assert!(answer.body.contains("resound tail --admin"));
}

#[tokio::test]
async fn so_many_listeners_and_no_more() {
    let server = Server::with("[admin]\nport = 0\nlive_listeners_max = 2\n").await;
    let mut first = Listener::open(&server, "").await;
    let _second = Listener::open(&server, "").await;
    let refusal = Listener::try_open(&server, "", &[]).await.err();
    let (status, sentence) = refusal.expect("one too many");
    assert_eq!(status, 503);
    assert!(sentence.contains("admin.live_listeners_max"), "{sentence}");
    let page = Page::of(&server).await;
    assert_eq!(page.get("resound_live_listeners"), 2.0);
    let _ = first.0.close(None).await;
    let live = server.node.observe().live.clone();
    eventually("the first has left", || live.listeners() == 1).await;
    Listener::open(&server, "").await;
}

#[tokio::test]
async fn a_listener_that_does_not_read_loses_events_and_is_told_how_many() {
    let server = Server::with("[admin]\nport = 0\nlive_queue_events_max = 16\n").await;
    let mut slow = Listener::open(&server, "?kind=published&data=1").await;
    let live = server.node.observe().live.clone();
    let app = server.node.apps().by_id("3").unwrap().clone();
    let channel = resound::protocol::channel::ChannelName::parse("room", 200).unwrap();
    let text = "x".repeat(1000);
    let data = resound::protocol::event::EventData::from_text(&text);
    let mut told = 0;
    // as many as the sockets between hold, and then some
    while live.dropped() < 1000 {
        for _ in 0..500 {
            let observer = server.node.observe();
            observer.published(&app.id, &channel, "e", &data);
            told += 1;
        }
        tokio::task::yield_now().await;
    }
    let dropped = live.dropped();
    let (mut heard, mut lost) = (0, 0);
    while heard + lost < told {
        let event = slow.next().await;
        match event["kind"].as_str().unwrap() {
            "published" => heard += 1,
            "dropped" => lost += event["count"].as_u64().unwrap(),
            other => panic!("{other}"),
        }
    }
    assert_eq!((heard + lost, lost), (told, dropped));
    assert!(heard >= 16, "what fits into the queue is not lost");
    let page = Page::of(&server).await;
    let counted = page.get("resound_live_events_dropped_total");
    assert_eq!(counted, dropped as f64);
}

#[tokio::test]
async fn evictions_are_told() {
    let pings = "[app_defaults]\nping_interval_s = 1\npong_timeout_s = 1\n";
    let server = Server::with(&format!("{ADMIN}{pings}[socket]\nclose_timeout_s = 1\n")).await;
    let mut listener = Listener::open(&server, "?kind=evicted,disconnected").await;
    // tungstenite answers pings only while it is read
    let client = Client::connect(&server).await;
    let id = client.socket_id.clone();
    for kind in ["evicted", "disconnected"] {
        listener
            .expect(json!({"kind": kind, "socket_id": id, "reason": "pong_timeout", "code": 4201}))
            .await;
    }
    drop(client);
}

#[tokio::test]
async fn a_listener_answers_and_is_answered() {
    let server = Server::with(ADMIN).await;
    let mut listener = Listener::open(&server, "").await;
    listener.0.send(Message::Ping("x".into())).await.unwrap();
    let answer = timeout(PATIENCE, async {
        loop {
            match listener.0.next().await {
                Some(Ok(Message::Ping(_))) => {}
                other => return other,
            }
        }
    });
    let answer = answer.await.expect("a pong").unwrap().unwrap();
    assert_eq!(answer, Message::Pong("x".into()));
    // what it says otherwise is of no interest
    listener.0.send(Message::text("hello")).await.unwrap();
    publish(&server, "room", "e", "x").await;
    listener.expect(json!({"kind": "published"})).await;
}

/// What a listener says is no request, so the time for the head of one doesn't run.
#[tokio::test]
async fn a_listener_stays_longer_than_a_handshake_may_take() {
    let server = Server::with(&format!("{ADMIN}[server]\nhandshake_timeout_s = 1\n")).await;
    let mut listener = Listener::open(&server, "").await;
    listener.0.send(Message::text("hello")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    publish(&server, "room", "e", "x").await;
    listener.expect(json!({"kind": "published"})).await;
}
