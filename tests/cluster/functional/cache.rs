//! The last event of a cache channel, for whoever comes to whichever node.
use super::{event, on};
use crate::{
    client::{Client, publish},
    nodes::Nodes,
    rest::request::get,
};

const KINDS: [&str; 4] = [
    "cache-prices",
    "private-cache-prices",
    "private-encrypted-cache-prices",
    "presence-cache-prices",
];

#[tokio::test]
async fn the_last_event_greets_subscribers_of_the_other_node() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    for channel in KINDS {
        let mut first = on(a, channel).await;
        first
            .expect(event("pusher:cache_miss", channel, "{}"))
            .await;
        let data = r#"{"nonce":"YWJj", "ciphertext":"4qrT\/+A==\u00e9é"}"#;
        publish(a, channel, "old", data).await;
        publish(b, channel, "new", data).await;
        first.expect(event("old", channel, data)).await;
        let live = first.next_text().await;
        for node in [b, a] {
            let mut late = on(node, channel).await;
            assert_eq!(late.next_text().await, live);
            late.assert_silence(node).await;
        }
        let path = format!("/channels/{channel}");
        let at_a = get(a, &path, &[("info", "cache")]).await.body;
        let at_b = get(b, &path, &[("info", "cache")]).await.body;
        assert!(at_a.contains("ciphertext"), "{at_a}");
        assert_eq!(without_ttl(&at_a), without_ttl(&at_b));
    }
}

/// How long it is kept is a matter of the moment.
fn without_ttl(answer: &str) -> serde_json::Value {
    let mut json: serde_json::Value = serde_json::from_str(answer).expect("JSON");
    json["cache"]["ttl"].take();
    json
}

#[tokio::test]
async fn events_are_kept_without_subscribers_and_without_their_node() {
    let mut nodes = Nodes::two().await;
    publish(&nodes.nodes[0], "cache-room", "n", "nobody was there").await;
    nodes.nodes[0].kill();
    let mut client = Client::on(&nodes.nodes[1], "cache-room").await;
    client
        .expect(event("n", "cache-room", "nobody was there"))
        .await;
}

#[tokio::test]
async fn what_is_kept_for_too_long_is_missed_on_both_nodes() {
    let nodes = Nodes::with(2, "", "cache_ttl_s = 1").await;
    let (a, b) = nodes.both();
    publish(a, "cache-room", "n", "x").await;
    crate::until("it is forgotten", async || {
        let mut client = Client::on(b, "cache-room").await;
        client.next().await == event("pusher:cache_miss", "cache-room", "{}")
    })
    .await;
    let mut client = Client::on(a, "cache-room").await;
    client
        .expect(event("pusher:cache_miss", "cache-room", "{}"))
        .await;
}
