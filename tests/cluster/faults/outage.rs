//! Redis is away for a while: it is killed, hangs, or cuts connections.
use std::time::{Duration, Instant};

use super::load::{Load, MEMBERS, ROOM, around};
use crate::{
    clients::{Publisher, Watcher, wish},
    ledger::{Bound, account, all_heard, no_leftovers},
    nodes::{Node, Nodes, Setup},
    redis::Redis,
    until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_comes_back_empty() {
    let mut nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let ann = Watcher::on(b, &[wish(MEMBERS, "ann")]).await;
    let mut load = Load::start(&[a, b]).await;
    let stayed = load.changes_of_watchers();
    nodes.redis.kill();
    let killed = Instant::now();
    let (a, b) = nodes.both();
    for node in [a, b] {
        until("the node says so", async || node.is_degraded().await).await;
    }
    // who is on a node still hears what comes to that node
    load.more(20).await;
    let bob = Watcher::on(a, &[wish(MEMBERS, "bob"), wish(ROOM, "")]).await;
    let near = &load.watchers[0];
    until("bob is seen on his node", async || {
        near.ledger().members(MEMBERS).contains("bob")
    })
    .await;
    drop(ann);
    let publisher = Publisher::start(200, ROOM, &[a], Duration::from_millis(5));
    publisher.more(20).await;
    until("events are heard at once", async || {
        let ledger = bob.ledger();
        ledger.events(ROOM).contains(&(200, 10)) && near.ledger().events(ROOM).contains(&(200, 10))
    })
    .await;
    nodes.redis.start_again();
    let (a, b) = nodes.both();
    for node in [a, b] {
        node.is_connected().await;
    }
    load.more(20).await;
    let mut published = load.settle(&["bob"], &[a, b]).await;
    published.push(publisher.finish().await);
    for watcher in load.watchers.iter().chain([&bob]) {
        all_heard(watcher, &published).await;
    }
    load.account(&[a, b], &published, &[around(killed)]).await;
    account("bob", &bob, &published, &Bound::of(a).await);
    // of those who stayed nobody was told anything
    assert_eq!(load.changes_of_watchers(), stayed);
    for watcher in &load.watchers {
        assert_eq!(watcher.ledger().changes(MEMBERS, "ann"), "-");
        assert_eq!(watcher.ledger().changes(MEMBERS, "bob"), "+");
    }
    assert_eq!(bob.ledger().changes(MEMBERS, "ann"), "-");
    for user in ["watcher-0", "watcher-1"] {
        assert_eq!(bob.ledger().changes(MEMBERS, user), "");
    }
    let (a, b) = nodes.both();
    assert_eq!(
        [a.metric("renamed").await, b.metric("renamed").await],
        [0, 0]
    );
    drop((load, bob));
    no_leftovers(&nodes.redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_hangs_for_five_seconds() {
    redis_hangs_for(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_hangs_for_a_minute() {
    redis_hangs_for(Duration::from_secs(60)).await;
}

async fn redis_hangs_for(pause: Duration) {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let _bob = Watcher::on(a, &[wish(MEMBERS, "bob")]).await;
    let leaves = Watcher::on(b, &[wish(MEMBERS, "leaves")]).await;
    let mut load = Load::start(&[a, b]).await;
    nodes.redis.pause();
    let paused = Instant::now();
    for node in [a, b] {
        until("the node says so", async || node.is_degraded().await).await;
    }
    load.more(20).await;
    drop(leaves);
    let comes = Watcher::on(b, &[wish(MEMBERS, "comes")]).await;
    // this long is what the fault is about
    tokio::time::sleep(pause.saturating_sub(paused.elapsed())).await;
    nodes.redis.go_on();
    for node in [a, b] {
        node.is_connected().await;
    }
    load.more(20).await;
    let published = load.settle(&["bob", "comes"], &[a, b]).await;
    load.account(&[a, b], &published, &[]).await;
    drop((load, _bob, comes));
    no_leftovers(&nodes.redis).await;
}

/// Too short for anybody to say that it is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_hangs_for_a_moment_and_nobody_is_the_wiser() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let mut load = Load::start(&[a, b]).await;
    for _ in 0..5 {
        nodes.redis.pause();
        // the fault itself
        tokio::time::sleep(Duration::from_millis(200)).await;
        nodes.redis.go_on();
        load.more(10).await;
    }
    let published = load.settle(&[], &[a, b]).await;
    for watcher in &load.watchers {
        account("a watcher", watcher, &published, &Bound::default());
    }
    load.one_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_redis_are_cut_again_and_again() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let _ann = Watcher::on(a, &[wish(MEMBERS, "ann")]).await;
    let mut load = Load::start(&[a, b]).await;
    for round in 0..20 {
        nodes.redis.cut_clients().await;
        // at different moments of coming back
        load.more(round % 5).await;
    }
    for node in [a, b] {
        node.is_connected().await;
    }
    load.more(20).await;
    let published = load.settle(&["ann"], &[a, b]).await;
    load.account(&[a, b], &published, &[]).await;
    // nobody left: their connections were not those that were cut
    for watcher in &load.watchers {
        assert_eq!(watcher.ledger().changes(MEMBERS, "ann"), "");
    }
    drop((load, _ann));
    no_leftovers(&nodes.redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_without_redis_find_each_other_when_it_comes() {
    let mut redis = Redis::start();
    let setup = Setup::on(&redis.settings());
    redis.kill();
    let (a, b) = (Node::start_alone(&setup), Node::start_alone(&setup));
    let begun = Instant::now();
    let mut load = Load::start(&[&a, &b]).await;
    assert!(a.is_degraded().await && b.is_degraded().await);
    redis.start_again();
    for node in [&a, &b] {
        node.is_connected().await;
    }
    let met = Instant::now();
    load.more(20).await;
    let published = load.settle(&[], &[&a, &b]).await;
    // before that they were no cluster
    let times = [begun..met];
    load.account(&[&a, &b], &published, &times).await;
    drop(load);
    no_leftovers(&redis).await;
}
