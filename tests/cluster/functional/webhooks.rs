//! Webhooks are sent once in the cluster, by whichever node.
use std::time::Duration;

use serde_json::json;

use super::{added, removed};
use crate::{
    client::{Client, publish},
    nodes::Nodes,
    receiver::Receiver,
    rest::request::get,
    until,
};

/// Longer than a client takes to change nodes on a busy machine.
const REMOVAL_DELAY_MS: u64 = 1000;

async fn nodes(receiver: &Receiver, app: &str) -> Nodes {
    let settings = format!(
        "[webhook]\nallow_private_targets = true\nremoval_delay_ms = {REMOVAL_DELAY_MS}\ncache_miss_interval_ms = 10000"
    );
    let app = format!("{app}\n[[apps.webhooks]]\nurl = \"{}\"", receiver.url());
    Nodes::with(2, &settings, &app).await
}

/// Waits longer than anything is held back, and expects that nothing has come.
async fn expect_nothing(receiver: &mut Receiver) {
    // what the delay holds back is what this is about
    tokio::time::sleep(Duration::from_millis(REMOVAL_DELAY_MS * 3 / 2)).await;
    assert!(receiver.is_silent());
}

#[tokio::test]
async fn channels_are_occupied_and_vacated_once() {
    let mut receiver = Receiver::start([]).await;
    let nodes = nodes(&receiver, "").await;
    let (a, b) = nodes.both();
    let first = Client::on(a, "room").await;
    receiver.expect(&["channel_occupied room"]).await;
    let second = Client::on(b, "room").await;
    let third = Client::on(a, "room").await;
    drop((first, third));
    until("one is left", async || {
        get(b, "/connections", &[]).await.body == r#"{"connections":1}"#
    })
    .await;
    expect_nothing(&mut receiver).await;
    drop(second);
    receiver.expect(&["channel_vacated room"]).await;
    expect_nothing(&mut receiver).await;
}

#[tokio::test]
async fn members_are_added_and_removed_once() {
    let mut receiver = Receiver::start([]).await;
    let nodes = nodes(&receiver, "").await;
    let (a, b) = nodes.both();
    let _watcher = Client::member(a, "presence-room", "watcher").await;
    receiver
        .expect(&[
            "channel_occupied presence-room",
            "member_added presence-room watcher",
        ])
        .await;
    let first = Client::member(a, "presence-room", "ann").await;
    receiver.expect(&["member_added presence-room ann"]).await;
    let second = Client::member(b, "presence-room", "ann").await;
    drop(first);
    expect_nothing(&mut receiver).await;
    drop(second);
    receiver.expect(&["member_removed presence-room ann"]).await;
    expect_nothing(&mut receiver).await;
}

#[tokio::test]
async fn who_goes_from_one_node_to_another_left_no_trace() {
    let mut receiver = Receiver::start([]).await;
    let nodes = nodes(&receiver, "").await;
    let (a, b) = nodes.both();
    let mut watcher = Client::member(b, "presence-room", "watcher").await;
    let mut ann = Client::member(a, "presence-room", "ann").await;
    let _alone = Client::on(a, "room").await;
    let events = [
        "channel_occupied presence-room",
        "member_added presence-room watcher",
        "member_added presence-room ann",
        "channel_occupied room",
    ];
    receiver.expect(&events).await;
    watcher.expect(added("presence-room", "ann")).await;
    for node in [b, a, b, a] {
        drop(ann);
        watcher.expect(removed("presence-room", "ann")).await;
        ann = Client::member(node, "presence-room", "ann").await;
        watcher.expect(added("presence-room", "ann")).await;
    }
    expect_nothing(&mut receiver).await;
}

#[tokio::test]
async fn counts_client_events_and_cache_misses_are_told_once() {
    let mut receiver = Receiver::start([]).await;
    let nodes = nodes(&receiver, "subscription_count = true").await;
    let (a, b) = nodes.both();
    let mut ann = Client::on(a, "private-room").await;
    ann.next().await;
    receiver
        .expect(&[
            "channel_occupied private-room",
            "subscription_count private-room 1",
        ])
        .await;
    let _bob = Client::on(b, "private-room").await;
    receiver
        .expect(&["subscription_count private-room 2"])
        .await;
    ann.next().await;
    ann.send(json!({"event": "client-x", "channel": "private-room", "data": "x"}))
        .await;
    receiver.expect(&["client_event private-room"]).await;
    let _misses = [
        Client::on(a, "cache-room").await,
        Client::on(b, "cache-room").await,
    ];
    let mut events = receiver.events(4).await;
    events.retain(|event| !event.starts_with("subscription_count"));
    events.sort();
    assert_eq!(
        events,
        ["cache_miss cache-room", "channel_occupied cache-room"]
    );
    publish(a, "private-room", "n", "no webhook").await;
    expect_nothing(&mut receiver).await;
}

/// Clients of a node that stops come to the others: nothing of it is told. Who doesn't come is told to be gone, by another one.
#[tokio::test]
async fn who_goes_to_another_node_when_his_stops_left_no_trace() {
    let mut receiver = Receiver::start([]).await;
    let mut nodes = nodes(&receiver, "").await;
    let (a, b) = nodes.both();
    let mut watcher = Client::member(b, "presence-room", "watcher").await;
    let clients = [
        Client::member(a, "presence-room", "ann").await,
        Client::member(a, "presence-room", "bob").await,
        Client::on(a, "room").await,
        Client::on(a, "gone").await,
    ];
    let events = [
        "channel_occupied gone",
        "channel_occupied presence-room",
        "channel_occupied room",
        "member_added presence-room ann",
        "member_added presence-room bob",
        "member_added presence-room watcher",
    ];
    receiver.expect(&events).await;
    until("everybody is known", async || {
        b.metric("nodes_alive").await == 2 && a.metric("nodes_alive").await == 2
    })
    .await;
    for user in ["ann", "bob"] {
        watcher.expect(added("presence-room", user)).await;
    }
    // They close when they are asked to.
    for mut client in clients {
        tokio::spawn(async move { while client.next_message().await.is_some() {} });
    }
    nodes.nodes[0].stop().await;
    let b = &nodes.nodes[1];
    let _clients = [
        Client::member(b, "presence-room", "ann").await,
        Client::on(b, "room").await,
    ];
    let mut left = [watcher.next().await, watcher.next().await];
    left.sort_by_key(ToString::to_string);
    let expected = ["ann", "bob"].map(|user| removed("presence-room", user));
    assert_eq!(left, expected);
    watcher.expect(added("presence-room", "ann")).await;
    let events = ["channel_vacated gone", "member_removed presence-room bob"];
    receiver.expect(&events).await;
    expect_nothing(&mut receiver).await;
    until("the one that stopped is forgotten", async || {
        let (_, text) = b.command(&["nodes", "--json"]);
        text.lines().count() == 1
    })
    .await;
}

/// Who cleans up after a dead node tells what it had.
#[tokio::test]
async fn a_dead_node_vacates_its_channels_once() {
    let mut receiver = Receiver::start([]).await;
    let mut nodes = nodes(&receiver, "").await;
    let (a, b) = nodes.both();
    let _gone = [
        Client::on(a, "room").await,
        Client::member(a, "presence-room", "ann").await,
    ];
    let _stays = Client::member(b, "presence-room", "bob").await;
    let events = [
        "channel_occupied room",
        "channel_occupied presence-room",
        "member_added presence-room ann",
        "member_added presence-room bob",
    ];
    receiver.expect(&events).await;
    nodes.nodes[0].kill();
    receiver
        .expect(&["channel_vacated room", "member_removed presence-room ann"])
        .await;
    expect_nothing(&mut receiver).await;
}

/// Whether a channel is occupied elsewhere is known when Redis is back; what clients send and miss is known at once.
#[tokio::test]
async fn what_changes_while_redis_is_away_is_told_afterwards() {
    let mut receiver = Receiver::start([]).await;
    let nodes = nodes(&receiver, "").await;
    let (a, b) = nodes.both();
    let gone = Client::on(a, "gone").await;
    let mut ann = Client::on(a, "private-room").await;
    let _bob = Client::on(b, "private-room").await;
    let events = ["channel_occupied gone", "channel_occupied private-room"];
    receiver.expect(&events).await;
    nodes.redis.pause();
    for node in [a, b] {
        until("it is degraded", async || node.is_degraded().await).await;
    }
    drop(gone);
    let _new = [
        Client::on(a, "private-room").await,
        Client::member(b, "presence-new", "carl").await,
        Client::on(b, "cache-new").await,
    ];
    ann.send(json!({"event": "client-x", "channel": "private-room", "data": "x"}))
        .await;
    let events = ["client_event private-room", "cache_miss cache-new"];
    receiver.expect(&events).await;
    expect_nothing(&mut receiver).await;
    nodes.redis.go_on();
    let events = [
        "channel_occupied cache-new",
        "channel_occupied presence-new",
        "channel_vacated gone",
        "member_added presence-new carl",
    ];
    receiver.expect(&events).await;
    expect_nothing(&mut receiver).await;
}
