//! One member set for both nodes.
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{added, removed};
use crate::{client::Client, nodes::Nodes, rest::request::get};

const ROOM: &str = "presence-room";

/// The infos of a member list by id; its three parts agree.
fn members(list: &Value) -> BTreeMap<String, Value> {
    let presence = &list["presence"];
    let hash = presence["hash"].as_object().expect("members");
    let members: BTreeMap<String, Value> = hash
        .iter()
        .map(|(id, info)| (id.clone(), info.clone()))
        .collect();
    let mut ids: Vec<&str> = presence["ids"]
        .as_array()
        .expect("ids")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, members.keys().collect::<Vec<_>>());
    assert_eq!(presence["count"], ids.len());
    members
}

#[tokio::test]
async fn a_user_with_connections_on_both_nodes_comes_and_goes_once() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let mut watchers = [
        Client::member(a, ROOM, "watcher").await,
        Client::member(b, ROOM, "watcher").await,
    ];
    let mut tabs = Vec::new();
    for node in [a, b, a, b] {
        tabs.push(Client::member(node, ROOM, "ann").await);
    }
    for (watcher, node) in watchers.iter_mut().zip([a, b]) {
        watcher.expect(added(ROOM, "ann")).await;
        watcher.assert_silence(node).await;
    }
    // three ways to go
    let mut last = tabs.pop().expect("four tabs");
    tabs[0].unsubscribe(ROOM).await;
    tabs[1].close().await;
    drop(tabs);
    crate::until("three are gone", async || {
        let counts = [("info", "subscription_count")];
        let answer = get(a, "/channels/presence-room", &counts).await;
        answer.body == r#"{"occupied":true,"subscription_count":3}"#
    })
    .await;
    for (watcher, node) in watchers.iter_mut().zip([a, b]) {
        watcher.assert_silence(node).await;
    }
    last.unsubscribe(ROOM).await;
    for (watcher, node) in watchers.iter_mut().zip([a, b]) {
        watcher.expect(removed(ROOM, "ann")).await;
        watcher.assert_silence(node).await;
    }
}

#[tokio::test]
async fn snapshots_are_exact_with_what_members_say_of_themselves() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let mut clients = Vec::new();
    let mut expected = BTreeMap::new();
    let infos = [
        json!({"name": "Žofie 🚀", "quote": "\"\\/\n"}),
        json!("text"),
        json!(null),
        json!([1, 2.5, {"a": {}}]),
        json!({}),
    ];
    for (number, info) in infos.iter().cycle().take(20).enumerate() {
        let node = if number % 2 == 0 { a } else { b };
        // with what would be a separator somewhere
        let id = format!("user {number} | \n {{{number}}}");
        let member = json!({"user_id": id, "user_info": info}).to_string();
        // null is the same as nothing
        expected.insert(
            id,
            if info.is_null() {
                json!({})
            } else {
                info.clone()
            },
        );
        let mut client = Client::connect(node).await;
        let list = client.subscribe(ROOM, Some(member)).await;
        assert_eq!(members(&list), expected);
        clients.push(client);
    }
    // each has heard of all who came later, in their order
    let ids = |from: usize| (from..20).map(|number| format!("user {number} | \n {{{number}}}"));
    for (number, client) in clients.iter_mut().enumerate() {
        for later in ids(number + 1) {
            let frame = client.next().await;
            let data: Value =
                serde_json::from_str(frame["data"].as_str().expect("text")).expect("JSON");
            assert_eq!(data["user_id"], later);
            assert_eq!(data["user_info"], expected[&later]);
        }
    }
}

#[tokio::test]
async fn a_channel_has_so_many_members_on_all_nodes_together() {
    let nodes = Nodes::with(2, "", "presence_members_max = 2").await;
    let (a, b) = nodes.both();
    let mut ann = Client::member(a, ROOM, "ann").await;
    let _bob = Client::member(b, ROOM, "bob").await;
    ann.expect(added(ROOM, "bob")).await;
    for node in [a, b] {
        let mut cat = Client::connect(node).await;
        cat.ask(ROOM, Some(r#"{"user_id":"cat"}"#)).await;
        assert_eq!(cat.next().await["event"], "pusher:subscription_error");
        // one more connection of a member is welcome
        let _again = Client::member(node, ROOM, "ann").await;
    }
    ann.assert_silence(a).await;
    // room for the next
    drop(_bob);
    ann.expect(removed(ROOM, "bob")).await;
    let _cat = Client::member(b, ROOM, "cat").await;
    ann.expect(added(ROOM, "cat")).await;
}

/// Ten users on two nodes change places at the same time.
#[tokio::test]
async fn a_user_who_changes_nodes_is_there_all_the_time() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let mut watcher = Client::member(a, ROOM, "watcher").await;
    let mut tabs = Vec::new();
    for number in 0..10 {
        tabs.push(Client::member(a, ROOM, &number.to_string()).await);
        watcher.expect(added(ROOM, &number.to_string())).await;
    }
    let mut moved = Vec::new();
    for (number, tab) in tabs.into_iter().enumerate() {
        let mut next = Client::connect(b).await;
        let list = next.join(ROOM, &number.to_string()).await;
        assert_eq!(members(&list).len(), 11);
        drop(tab);
        moved.push(next);
    }
    crate::until("the old ones are gone", async || {
        get(b, "/connections", &[]).await.body == r#"{"connections":11}"#
    })
    .await;
    watcher.assert_silence(a).await;
}
