//! Users: sign-in, what is sent to them, watchlists, termination, subscription counts (protocol part 5, S-24 to S-27).
use serde_json::{Value, json};

use crate::{
    client::Client,
    helpers::Server,
    rest::request::{KEY, SECRET, Unsigned, get, hmac_hex, post, send},
};

const WATCHLIST: &str = "[app_defaults]\nwatchlist = true\nwatchlist_grace_ms = 200";

async fn ask_signin(client: &mut Client, user_data: &str) {
    let text = format!("{}::user::{user_data}", client.socket_id);
    let auth = format!("{KEY}:{}", hmac_hex(SECRET, &text));
    client
        .send(json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}))
        .await;
}

async fn signin(client: &mut Client, user_data: &str) {
    ask_signin(client, user_data).await;
    assert_eq!(
        client.next().await,
        json!({"event": "pusher:signin_success", "data": {"user_data": user_data}})
    );
}

async fn user(server: &Server, id: &str) -> Client {
    let mut client = Client::connect(server).await;
    signin(&mut client, &format!(r#"{{"id":"{id}"}}"#)).await;
    client
}

fn watchlist_events(events: Value) -> Value {
    json!({"event": "pusher_internal:watchlist_events", "data": {"events": events}})
}

async fn send_to_user(server: &Server, id: &str, text: &str) {
    let body =
        json!({"name": "hello", "channels": [format!("#server-to-user-{id}")], "data": text});
    post(server, "/events", &body.to_string())
        .await
        .assert_json("{}");
}

fn hello(id: &str, text: &str) -> Value {
    json!({"event": "hello", "channel": format!("#server-to-user-{id}"), "data": text})
}

#[tokio::test]
async fn u1_u3_signin_repeats_the_signed_string() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    signin(
        &mut client,
        r#"{"id":"12345","user_info":{"name":"Žofie \/"}}"#,
    )
    .await;
    assert!(client.has_nothing().await);
}

#[tokio::test]
async fn c23_signin_data_may_be_a_string() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    let user_data = r#"{"id":"1"}"#;
    let text = format!("{}::user::{user_data}", client.socket_id);
    let auth = format!("{KEY}:{}", hmac_hex(SECRET, &text));
    let data = json!({"auth": auth, "user_data": user_data}).to_string();
    client
        .send(json!({"event": "pusher:signin", "data": data}))
        .await;
    assert_eq!(client.next().await["event"], "pusher:signin_success");
}

#[tokio::test]
async fn u4_a_refused_signin_leaves_the_connection_open() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    let text = format!("{}::user::{{\"id\":\"1\"}}", client.socket_id);
    client
        .send(json!({"event": "pusher:signin", "data": {"auth": format!("{KEY}:bad"), "user_data": "{\"id\":\"1\"}"}}))
        .await;
    let message =
        format!("Invalid signature: Expected HMAC SHA256 hex digest of {text}, but got bad");
    client.assert_error(None, &message).await;
    for user_data in [r#"{"id":1}"#, "{}", "[]", "no json", r#"{"id":"a b"}"#] {
        ask_signin(&mut client, user_data).await;
        client
            .assert_error(None, "Invalid user_data: must contain an id")
            .await;
    }
    for data in [
        json!(null),
        json!({}),
        json!("x"),
        json!({"auth": 1, "user_data": "{}"}),
        json!({"auth": "a:b", "user_data": {"id": "1"}}),
    ] {
        client
            .send(json!({"event": "pusher:signin", "data": data}))
            .await;
        client.assert_error(None, "Invalid message format").await;
    }
    // and is not signed in
    client.ask("#server-to-user-1", None).await;
    assert_eq!(client.next().await["event"], "pusher:subscription_error");
}

#[tokio::test]
async fn u5_signing_in_again() {
    let server = Server::start().await;
    let mut client = user(&server, "ann").await;
    signin(&mut client, r#"{"id":"ann","user_info":{"n":2}}"#).await;
    ask_signin(&mut client, r#"{"id":"bob"}"#).await;
    client
        .assert_error(None, "Connection already signed in as a different user")
        .await;
    send_to_user(&server, "ann", "once").await;
    assert_eq!(client.next().await, hello("ann", "once"));
    assert!(client.has_nothing().await);
}

#[tokio::test]
async fn u6_signin_can_be_switched_off() {
    let server = Server::with("[app_defaults]\nuser_authentication = false").await;
    let mut client = Client::connect(&server).await;
    ask_signin(&mut client, r#"{"id":"ann"}"#).await;
    client
        .assert_error(None, "User authentication is disabled for this app")
        .await;
}

#[tokio::test]
async fn u10_u13_events_reach_every_connection_of_the_user_once() {
    let server = Server::start().await;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(user(&server, "ann").await);
    }
    // subscribing, as SDKs do after the sign-in, changes nothing
    assert_eq!(
        sockets[0].subscribe("#server-to-user-ann", None).await,
        json!({})
    );
    let mut bob = user(&server, "bob").await;
    let mut stranger = Client::connect(&server).await;
    send_to_user(&server, "ann", "1").await;
    for socket in &mut sockets {
        assert_eq!(socket.next().await, hello("ann", "1"));
        assert!(socket.has_nothing().await);
    }
    assert!(bob.has_nothing().await && stranger.has_nothing().await);

    // toOthers
    let except = sockets[1].socket_id.clone();
    let body = json!({"name": "hello", "channel": "#server-to-user-ann", "data": "2", "socket_id": except});
    post(&server, "/events", &body.to_string())
        .await
        .assert_json("{}");
    assert!(sockets[1].has_nothing().await);
    assert_eq!(sockets[2].next().await, hello("ann", "2"));
}

#[tokio::test]
async fn u14_u15_the_channel_is_the_users_own() {
    let server = Server::start().await;
    let mut ann = user(&server, "ann").await;
    for channel in [
        "#server-to-user-bob",
        "#server-to-user-",
        "#watchers-of-ann",
    ] {
        ann.ask(channel, None).await;
        assert_eq!(ann.next().await["event"], "pusher:subscription_error");
        assert_eq!(ann.next().await["event"], "pusher:error");
    }
    ann.send(json!({"event": "client-x", "channel": "#server-to-user-ann", "data": {}}))
        .await;
    ann.assert_error(
        None,
        "Client event rejected - only supported on private and presence channels",
    )
    .await;
}

#[tokio::test]
async fn u16_the_channel_is_not_listed() {
    let server = Server::start().await;
    let _ann = user(&server, "ann").await;
    get(&server, "/channels", &[])
        .await
        .assert_json(r#"{"channels":{}}"#);
}

#[tokio::test]
async fn u17_nobody_there_is_success() {
    let server = Server::start().await;
    send_to_user(&server, "nobody", "x").await;
}

#[tokio::test]
async fn p2_a_signed_in_user_is_a_member_without_channel_data() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server).await;
    let auth = ann.auth("presence-room", None);
    let subscribe =
        json!({"event": "pusher:subscribe", "data": {"channel": "presence-room", "auth": auth}});
    ann.send(subscribe.clone()).await;
    assert_eq!(ann.next().await["event"], "pusher:subscription_error");
    assert_eq!(ann.next().await["event"], "pusher:error");

    signin(&mut ann, r#"{"id":"ann","user_info":{"name":"Ann"}}"#).await;
    ann.send(subscribe).await;
    let answer = ann.next().await;
    assert_eq!(
        answer["data"],
        r#"{"presence":{"count":1,"ids":["ann"],"hash":{"ann":{"name":"Ann"}}}}"#
    );
    // the limits of members hold for users too
    let large = format!(
        r#"{{"id":"ann","user_info":{{"x":"{}"}}}}"#,
        "x".repeat(10_240)
    );
    signin(&mut ann, &large).await;
    let auth = ann.auth("presence-large", None);
    ann.send(
        json!({"event": "pusher:subscribe", "data": {"channel": "presence-large", "auth": auth}}),
    )
    .await;
    assert_eq!(ann.next().await["event"], "pusher:subscription_error");
    ann.assert_error(None, "The maximum size for a channel member is 10 KB.")
        .await;
    // channel_data wins where there is some
    let other = ann
        .subscribe("presence-other", Some(r#"{"user_id":"x"}"#.to_owned()))
        .await;
    assert_eq!(other["presence"]["ids"], json!(["x"]));
}

#[tokio::test]
async fn u22_u23_watchlist() {
    let server = Server::with(WATCHLIST).await;
    let _bob = user(&server, "bob").await;
    let mut ann = Client::connect(&server).await;
    signin(&mut ann, r#"{"id":"ann","watchlist":["bob","cat","dan"]}"#).await;
    assert_eq!(
        ann.next().await,
        watchlist_events(json!([
            {"name": "online", "user_ids": ["bob"]},
            {"name": "offline", "user_ids": ["cat", "dan"]}
        ]))
    );
    let cat = user(&server, "cat").await;
    assert_eq!(
        ann.next().await,
        watchlist_events(json!([{"name": "online", "user_ids": ["cat"]}]))
    );
    let second = user(&server, "cat").await;
    assert!(ann.has_nothing().await);
    drop((cat, second));
    assert_eq!(
        ann.next().await,
        watchlist_events(json!([{"name": "offline", "user_ids": ["cat"]}]))
    );
    // a new sign-in with another list replaces the first
    signin(&mut ann, r#"{"id":"ann","watchlist":["dan"]}"#).await;
    assert_eq!(
        ann.next().await,
        watchlist_events(json!([{"name": "offline", "user_ids": ["dan"]}]))
    );
    let _cat = user(&server, "cat").await;
    assert!(ann.has_nothing().await);
    let _dan = user(&server, "dan").await;
    assert_eq!(
        ann.next().await,
        watchlist_events(json!([{"name": "online", "user_ids": ["dan"]}]))
    );
}

#[tokio::test]
async fn u20_watchlists_are_off_by_default() {
    let server = Server::start().await;
    let mut ann = Client::connect(&server).await;
    signin(&mut ann, r#"{"id":"ann","watchlist":["bob"]}"#).await;
    let _bob = user(&server, "bob").await;
    assert!(ann.has_nothing().await);
}

#[tokio::test]
async fn u8_u24_a_long_watchlist_is_cut() {
    let server = Server::with(&format!("{WATCHLIST}\nwatchlist_max = 2")).await;
    let mut ann = Client::connect(&server).await;
    signin(&mut ann, r#"{"id":"ann","watchlist":["b","c","d"]}"#).await;
    ann.assert_error(
        Some(4302),
        "Watchlist limit exceeded. Only the first 2 user IDs are accepted.",
    )
    .await;
    assert_eq!(
        ann.next().await,
        watchlist_events(json!([{"name": "offline", "user_ids": ["b", "c"]}]))
    );
}

#[tokio::test]
async fn u30_u31_terminate_closes_the_users_sockets_and_no_others() {
    let server = Server::start().await;
    let mut first = user(&server, "ann").await;
    let mut second = user(&server, "ann").await;
    let mut bob = user(&server, "bob").await;
    // a mere presence member of that name
    let mut member = Client::member(&server, "presence-room", "ann").await;
    post(&server, "/users/ann/terminate_connections", "{}")
        .await
        .assert_json("{}");
    for socket in [&mut first, &mut second] {
        socket
            .assert_refused(4009, "You got disconnected by the app.")
            .await;
    }
    assert!(bob.has_nothing().await && member.has_nothing().await);
    post(&server, "/users/nobody/terminate_connections", "")
        .await
        .assert_json("{}");
}

#[tokio::test]
async fn h7_terminate_without_the_app_in_the_path() {
    let server = Server::start().await;
    let mut ann = user(&server, "user@example.com").await;
    let path = "/users/user@example.com/terminate_connections";
    let target = Unsigned::new("POST", path, b"{}").sign();
    send(&server, "POST", &target, b"{}")
        .await
        .assert_json("{}");
    ann.assert_refused(4009, "You got disconnected by the app.")
        .await;
    let target = Unsigned::new("POST", path, b"{}")
        .without("auth_key")
        .sign();
    send(&server, "POST", &target, b"{}")
        .await
        .assert_refused(401, "Missing parameter: auth_key");
    let target = Unsigned::new("POST", path, b"{}")
        .with("auth_key", "x")
        .sign();
    send(&server, "POST", &target, b"{}")
        .await
        .assert_refused(401, "Unknown auth_key");
}

#[tokio::test]
async fn c36_connections_must_show_who_they_are_in_time() {
    let server = Server::with("[app_defaults]\nauthorization_timeout_s = 1").await;
    let mut public = Client::on(&server, "room").await;
    let mut private = Client::on(&server, "private-room").await;
    let mut ann = user(&server, "ann").await;
    public
        .assert_refused(4009, "Connection not authorized within timeout.")
        .await;
    assert!(private.has_nothing().await && ann.has_nothing().await);
}

#[tokio::test]
async fn s25_s27_subscription_count() {
    let server = Server::with("[app_defaults]\nsubscription_count = true").await;
    let count = |n: u32| {
        json!({
            "event": "pusher_internal:subscription_count",
            "channel": "cache-room",
            "data": format!("{{\"subscription_count\":{n}}}")
        })
    };
    let mut first = Client::on(&server, "cache-room").await;
    assert_eq!(first.next().await["event"], "pusher:cache_miss");
    assert_eq!(first.next().await, count(1));
    let mut second = Client::on(&server, "cache-room").await;
    assert_eq!(second.next().await["event"], "pusher:cache_miss");
    assert_eq!(second.next().await, count(2));
    assert_eq!(first.next().await, count(2));
    second.unsubscribe("cache-room").await;
    assert_eq!(first.next().await, count(1));
    assert!(second.has_nothing().await);
}

#[tokio::test]
async fn u2_a_watchlist_of_10_mb_is_refused_by_size_or_cut() {
    let ids: Vec<String> = (0..700_000).map(|n| format!("user-{n:08}")).collect();
    let user_data = json!({"id": "ann", "watchlist": ids}).to_string();
    assert!(user_data.len() > 10_000_000);

    let server = Server::start().await;
    let mut bystander = user(&server, "bob").await;
    let mut ann = Client::connect(&server).await;
    ask_signin(&mut ann, &user_data).await;
    assert_eq!(ann.closed().await.0, 1009);
    assert!(bystander.has_nothing().await);

    let large = format!("{WATCHLIST}\nmessage_bytes_max = 67108864");
    let server = Server::with(&large).await;
    let mut ann = Client::connect(&server).await;
    ask_signin(&mut ann, &user_data).await;
    assert_eq!(ann.next().await["event"], "pusher:signin_success");
    let text = "Watchlist limit exceeded. Only the first 100 user IDs are accepted.";
    ann.assert_error(Some(4302), text).await;
    let initial = ann.next().await;
    let offline = &initial["data"]["events"][0]["user_ids"];
    assert_eq!(offline.as_array().map(Vec::len), Some(100));
}

#[tokio::test]
async fn u4_signatures_of_others_are_refused() {
    let server = Server::start().await;
    let mut ann = user(&server, "ann").await;
    let mut thief = Client::connect(&server).await;
    let user_data = r#"{"id":"ann"}"#;
    // Ann's own signature, which binds to her connection; one for a channel; one of another app's key
    let of_ann = hmac_hex(SECRET, &format!("{}::user::{user_data}", ann.socket_id));
    let of_channel = hmac_hex(SECRET, &format!("{}:{user_data}", thief.socket_id));
    let own = hmac_hex(SECRET, &format!("{}::user::{user_data}", thief.socket_id));
    for auth in [
        format!("{KEY}:{of_ann}"),
        format!("{KEY}:{of_channel}"),
        format!("other:{own}"),
        own.clone(),
        String::new(),
        ":".to_owned(),
    ] {
        thief
            .send(json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}))
            .await;
        let answer = thief.next().await;
        assert_eq!(answer["event"], "pusher:error", "{auth}");
        assert_eq!(answer["data"]["code"], Value::Null);
    }
    send_to_user(&server, "ann", "private").await;
    assert_eq!(ann.next().await, hello("ann", "private"));
    assert!(thief.has_nothing().await);
}
