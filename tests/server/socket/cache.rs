//! Cache channels: what is kept, for how long, and who gets it (S-20 to S-23).
use serde_json::json;

use crate::{
    client::{Client, publish, publish_except},
    helpers::{Server, until},
    rest::request::get,
};

const KINDS: [&str; 4] = [
    "cache-prices",
    "private-cache-prices",
    "private-encrypted-cache-prices",
    "presence-cache-prices",
];

async fn joined(server: &Server, channel: &str) -> Client {
    let mut client = Client::connect(server).await;
    let data = channel
        .starts_with("presence-")
        .then(|| json!({"user_id": client.socket_id}).to_string());
    client.subscribe(channel, data).await;
    client
}

#[tokio::test]
async fn s20_s22_s23_the_last_event_greets_new_subscribers() {
    let server = Server::start().await;
    for channel in KINDS {
        let mut first = joined(&server, channel).await;
        first
            .expect(json!({"event": "pusher:cache_miss", "channel": channel, "data": "{}"}))
            .await;
        publish(&server, channel, "old", "1").await;
        // spaces, escapes and order of keys stay as they are
        let data = r#"{"nonce":"YWJj", "ciphertext":"4qrT\/+A==\u00e9é"}"#;
        publish(&server, channel, "price-changed", data).await;
        first.next().await;
        let live = first.next_text().await;
        let mut second = joined(&server, channel).await;
        let cached = second.next_text().await;
        assert_eq!(cached, live);
        let cached: serde_json::Value = serde_json::from_str(&cached).unwrap();
        assert_eq!(
            cached,
            json!({"event": "price-changed", "channel": channel, "data": data})
        );
        second.assert_silence(&server).await;
    }
}

#[tokio::test]
async fn s20_events_are_kept_without_subscribers_and_despite_exclusion() {
    let server = Server::start().await;
    publish(&server, "cache-a", "e", "nobody was there").await;
    let mut client = joined(&server, "cache-a").await;
    client
        .expect(json!({"event": "e", "channel": "cache-a", "data": "nobody was there"}))
        .await;
    let id = client.socket_id.clone();
    publish_except(&server, "cache-a", "e", "not for all", Some(&id)).await;
    client.assert_silence(&server).await;
    // vacated and occupied again
    client.unsubscribe("cache-a").await;
    client.subscribe("cache-a", None).await;
    client
        .expect(json!({"event": "e", "channel": "cache-a", "data": "not for all"}))
        .await;
}

#[tokio::test]
async fn s20_e12_client_events_and_internal_ones_are_not_kept() {
    let server = Server::start().await;
    let channel = "presence-cache-room";
    let mut sender = joined(&server, channel).await;
    assert_eq!(sender.next().await["event"], "pusher:cache_miss");
    let mut other = joined(&server, channel).await;
    assert_eq!(other.next().await["event"], "pusher:cache_miss");
    assert_eq!(sender.next().await["event"], "pusher_internal:member_added");
    sender.whisper(channel, "client-typing", json!({})).await;
    assert_eq!(other.next().await["event"], "client-typing");
    other.close().await;
    assert_eq!(
        sender.next().await["event"],
        "pusher_internal:member_removed"
    );
    let mut third = joined(&server, channel).await;
    third
        .expect(json!({"event": "pusher:cache_miss", "channel": channel, "data": "{}"}))
        .await;
    third.assert_silence(&server).await;
}

#[tokio::test]
async fn s21_an_event_lives_for_its_time() {
    let server = Server::with("[app_defaults]\ncache_ttl_s = 1").await;
    publish(&server, "cache-a", "e", "short").await;
    let mut client = joined(&server, "cache-a").await;
    client
        .expect(json!({"event": "e", "channel": "cache-a", "data": "short"}))
        .await;
    let app = server.node.apps().by_id("3").unwrap().clone();
    let (name, _) = server.channels("cache-a").await.remove(0);
    until("it has expired", async || {
        server.node.show(&app, &name).await.1.is_none()
    })
    .await;
    client.subscribe("cache-a", None).await;
    client
        .expect(json!({"event": "pusher:cache_miss", "channel": "cache-a", "data": "{}"}))
        .await;
    // the time begins anew with each publish
    publish(&server, "cache-a", "e", "again").await;
    client.next().await;
    client.subscribe("cache-a", None).await;
    client
        .expect(json!({"event": "e", "channel": "cache-a", "data": "again"}))
        .await;
}

#[tokio::test]
async fn s21_h31_half_an_hour_by_default_visible_over_http() {
    let server = Server::start().await;
    publish(&server, "cache-a", "e", "x").await;
    get(&server, "/channels/cache-a", &[("info", "cache")])
        .await
        .assert_json(r#"{"occupied":false,"cache":{"data":"x","ttl":1800}}"#);
}

#[tokio::test]
async fn s22_each_channel_has_its_own() {
    let server = Server::start().await;
    publish(&server, "cache-a", "e", "a").await;
    publish(&server, "private-cache-a", "e", "p").await;
    let mut client = joined(&server, "cache-b").await;
    assert_eq!(client.next().await["event"], "pusher:cache_miss");
    client.subscribe("private-cache-a", None).await;
    client
        .expect(json!({"event": "e", "channel": "private-cache-a", "data": "p"}))
        .await;
    // a channel without cache has neither event nor miss
    publish(&server, "room", "e", "x").await;
    client.subscribe("room", None).await;
    client.assert_silence(&server).await;
}
