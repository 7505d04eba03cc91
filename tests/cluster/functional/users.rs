//! Signed-in users and those who watch them, and counts of subscriptions.
use serde_json::{Value, json};

use super::{event, signin, trigger, user};
use crate::{client::Client, nodes::Nodes, rest::request::post};

const WATCHLIST: &str = "watchlist = true\nwatchlist_grace_ms = 200";

fn hello(id: &str, text: &str) -> Value {
    event("hello", &format!("#server-to-user-{id}"), text)
}

fn status(name: &str, ids: &[&str]) -> Value {
    json!({"event": "pusher_internal:watchlist_events",
        "data": {"events": [{"name": name, "user_ids": ids}]}})
}

#[tokio::test]
async fn what_is_sent_to_a_user_reaches_all_connections_once() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let mut anns = [
        user(a, "ann").await,
        user(b, "ann").await,
        user(b, "ann").await,
    ];
    let mut bob = user(b, "bob").await;
    for (text, node) in [("1", a), ("2", b)] {
        let body = json!({"name": "hello", "channels": ["#server-to-user-ann"], "data": text});
        trigger(node, body).await;
        for ann in &mut anns {
            ann.expect(hello("ann", text)).await;
        }
    }
    for (ann, node) in anns.iter_mut().zip([a, b, b]) {
        ann.assert_silence(node).await;
    }
    bob.assert_silence(b).await;
    // toOthers
    let except = anns[1].socket_id.clone();
    let body = json!({"name": "hello", "channel": "#server-to-user-ann", "data": "3", "socket_id": except});
    trigger(a, body).await;
    anns[2].expect(hello("ann", "3")).await;
    anns[0].expect(hello("ann", "3")).await;
    anns[1].assert_silence(b).await;
}

#[tokio::test]
async fn watchers_hear_once_who_is_online_on_any_node() {
    let nodes = Nodes::with(2, "", WATCHLIST).await;
    let (a, b) = nodes.both();
    let _bob = user(b, "bob").await;
    let mut ann = Client::connect(a).await;
    signin(&mut ann, r#"{"id":"ann","watchlist":["bob","cat"]}"#).await;
    ann.expect(
        json!({"event": "pusher_internal:watchlist_events", "data": {"events": [
            {"name": "online", "user_ids": ["bob"]},
            {"name": "offline", "user_ids": ["cat"]}
        ]}}),
    )
    .await;
    let far = user(b, "cat").await;
    ann.expect(status("online", &["cat"])).await;
    let near = user(a, "cat").await;
    drop(far);
    let mut stranger = Client::connect(a).await;
    crate::until("three are left on both nodes", async || {
        let answer = crate::rest::request::get(a, "/connections", &[]).await;
        answer.body == r#"{"connections":4}"#
    })
    .await;
    // longer than the grace: nobody is told, since cat is there by the other connection
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    stranger.assert_silence(a).await;
    assert!(ann.has_nothing().await);
    drop(near);
    ann.expect(status("offline", &["cat"])).await;
    let _cat = user(b, "cat").await;
    ann.expect(status("online", &["cat"])).await;
    assert!(ann.has_nothing().await);
}

#[tokio::test]
async fn terminating_a_user_closes_all_connections_on_every_node() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let mut anns = [
        user(a, "ann").await,
        user(a, "ann").await,
        user(b, "ann").await,
    ];
    let mut bob = user(a, "bob").await;
    let mut member = Client::member(a, "presence-room", "ann").await;
    post(b, "/users/ann/terminate_connections", "{}")
        .await
        .assert_json("{}");
    for ann in &mut anns {
        ann.assert_refused(4009, "You got disconnected by the app.")
            .await;
    }
    bob.assert_silence(a).await;
    member.assert_silence(a).await;
}

#[tokio::test]
async fn subscription_counts_are_those_of_all_nodes() {
    let nodes = Nodes::with(2, "", "subscription_count = true").await;
    let (a, b) = nodes.both();
    let count = |n: u32| {
        let data = format!(r#"{{"subscription_count":{n}}}"#);
        event("pusher_internal:subscription_count", "room", &data)
    };
    // the last word counts: those in between may be left out
    let mut first = Client::on(a, "room").await;
    hear_until(&mut first, count(1)).await;
    let mut second = Client::on(b, "room").await;
    for client in [&mut first, &mut second] {
        hear_until(client, count(2)).await;
    }
    let mut third = Client::on(a, "room").await;
    for client in [&mut first, &mut second, &mut third] {
        hear_until(client, count(3)).await;
    }
    third.unsubscribe("room").await;
    drop(second);
    hear_until(&mut first, count(1)).await;
}

async fn hear_until(client: &mut Client, wanted: Value) {
    loop {
        let frame = client.next().await;
        assert_eq!(frame["event"], wanted["event"]);
        if frame == wanted {
            return;
        }
    }
}
