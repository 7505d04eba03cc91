//! Redis of several servers: Sentinels who choose another master, and a Redis Cluster.
use std::time::Instant;

use serde_json::json;

use super::load::{Load, MEMBERS, ROOM, around};
use crate::{
    client::{Client, publish},
    clients::{Watcher, wish},
    ledger::{Bound, account, is_of_a_node},
    nodes::{Node, Setup},
    redis::{Cluster, Sentinels},
    rest::request::{get, post},
    until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_choose_another_master_under_load() {
    let mut redis = Sentinels::start().await;
    let setup = Setup::on(&redis.settings());
    let (a, b) = (Node::start(&setup).await, Node::start(&setup).await);
    let _ann = Watcher::on(&a, &[wish(MEMBERS, "ann")]).await;
    let mut load = Load::start(&[&a, &b]).await;
    redis.servers[0].kill();
    let killed = Instant::now();
    for node in [&a, &b] {
        until("the node says so", async || node.is_degraded().await).await;
    }
    load.more(20).await;
    let replica = redis.servers[1].port;
    until("the replica is the master", async || {
        redis.master().await == replica
    })
    .await;
    println!("another master after {:?}", killed.elapsed());
    for node in [&a, &b] {
        node.is_connected().await;
    }
    println!("connected after {:?}", killed.elapsed());
    load.more(20).await;
    let published = load.settle(&["ann"], &[&a, &b]).await;
    load.account(&[&a, &b], &published, &[around(killed)]).await;
    for watcher in &load.watchers {
        assert_eq!(watcher.ledger().changes(MEMBERS, "ann"), "");
    }
    drop((load, _ann));
    crate::ledger::no_leftovers(&redis.servers[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_cluster_serves_as_well() {
    let redis = Cluster::start().await;
    let setup = Setup::on(&redis.settings()).app("watchlist = true");
    let (a, b) = (Node::start(&setup).await, Node::start(&setup).await);
    let mut load = Load::start(&[&a, &b]).await;
    // channels in slots of all three
    let mut clients = Vec::new();
    for number in 0..30 {
        let channel = format!("cache-{number}");
        publish(&a, &channel, "kept", "x").await;
        let mut client = Client::on(&b, &channel).await;
        client
            .expect(json!({"event": "kept", "channel": channel, "data": "x"}))
            .await;
        publish(&a, &channel, "new", "y").await;
        client
            .expect(json!({"event": "new", "channel": channel, "data": "y"}))
            .await;
        clients.push(client);
    }
    for node in [&a, &b] {
        let counts = [
            ("filter_by_prefix", "cache-2"),
            ("info", "subscription_count"),
        ];
        let answer: serde_json::Value =
            serde_json::from_str(&get(node, "/channels", &counts).await.body).expect("JSON");
        let channels = answer["channels"].as_object().expect("channels");
        assert_eq!(channels.len(), 11, "{answer}");
        assert!(
            channels
                .values()
                .all(|info| info["subscription_count"] == 1)
        );
        // watchers, those who come and go, subscribers
        until("all connections are counted", async || {
            get(node, "/connections", &[]).await.body == r#"{"connections":36}"#
        })
        .await;
    }
    post(&b, "/users/nobody/terminate_connections", "{}")
        .await
        .assert_json("{}");
    load.more(20).await;
    let published = load.settle(&[], &[&a, &b]).await;
    for watcher in &load.watchers {
        account("a watcher", watcher, &published, &Bound::default());
    }
    load.one_order();
    drop((load, clients));
    until("only cached events are left", async || {
        let keys = redis.keys().await;
        keys.iter()
            .all(|key| key.ends_with(":cached") || is_of_a_node(key))
    })
    .await;
}

/// The channels' slots wander from one master to the next, with what they hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_of_a_redis_cluster_move_under_load() {
    let redis = Cluster::start().await;
    let setup = Setup::on(&redis.settings());
    let (a, b) = (Node::start(&setup).await, Node::start(&setup).await);
    let _ann = Watcher::on(&a, &[wish(MEMBERS, "ann")]).await;
    let mut load = Load::start(&[&a, &b]).await;
    let keys = redis.keys().await;
    for round in 0..3 {
        for channel in [ROOM, MEMBERS] {
            let end = format!(":{channel}}}:state");
            let key = keys.iter().find(|key| key.ends_with(&end));
            redis.move_slot_of(key.expect("a key of the channel")).await;
            load.more(round * 10).await;
        }
    }
    for node in [&a, &b] {
        node.is_connected().await;
    }
    load.more(20).await;
    let published = load.settle(&["ann"], &[&a, &b]).await;
    load.account(&[&a, &b], &published, &[]).await;
    for watcher in &load.watchers {
        assert_eq!(watcher.ledger().changes(MEMBERS, "ann"), "");
    }
    drop((load, _ann));
    until("nothing is left", async || {
        redis.keys().await.iter().all(|key| is_of_a_node(key))
    })
    .await;
}
