//! The way between a node and Redis is slow, or gone for one of them.
use std::time::Duration;

use super::load::{Load, MEMBERS};
use crate::{
    clients::{Watcher, wish},
    ledger::{Bound, account, no_leftovers},
    nodes::{HEARTBEAT, Node, Setup},
    proxy::Proxy,
    redis::Redis,
    until,
};

/// Two nodes on one Redis, the second one through a proxy.
async fn two() -> (Redis, Proxy, Node, Node) {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.port).await;
    let a = Node::start(&Setup::on(&redis.settings())).await;
    let b = Node::start(&Setup::on(&proxy.settings())).await;
    (redis, proxy, a, b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_redis_loses_and_reorders_nothing() {
    let (redis, proxy, a, b) = two().await;
    proxy.delay(Duration::from_millis(20));
    let mut load = Load::start(&[&a, &b]).await;
    // by fits and starts
    for delay_ms in [150, 5, 100, 0, 200, 20] {
        proxy.delay(Duration::from_millis(delay_ms));
        load.more(10).await;
    }
    let published = load.settle(&[], &[&a, &b]).await;
    for watcher in &load.watchers {
        account("a watcher", watcher, &published, &Bound::default());
    }
    load.one_order();
    drop(load);
    no_leftovers(&redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_is_dead_to_the_others_and_comes_back() {
    let (redis, proxy, a, b) = two().await;
    let leaves = Watcher::on(&b, &[wish(MEMBERS, "leaves")]).await;
    let _stays = Watcher::on(&b, &[wish(MEMBERS, "stays")]).await;
    let mut load = Load::start(&[&a, &b]).await;
    proxy.close();
    until("it says so", async || b.is_degraded().await).await;
    assert!(!a.is_degraded().await);
    let near = &load.watchers[0];
    until("those behind it are gone", async || {
        let members = near.ledger().members(MEMBERS);
        !members.contains("stays") && !members.contains("watcher-1")
    })
    .await;
    // meanwhile, on either side
    drop(leaves);
    let comes = Watcher::on(&b, &[wish(MEMBERS, "comes")]).await;
    let other = Watcher::on(&a, &[wish(MEMBERS, "other")]).await;
    load.more(20).await;
    // the fault lasts a while longer
    tokio::time::sleep(HEARTBEAT * 2).await;
    proxy.open();
    b.is_connected().await;
    load.more(20).await;
    let published = load.settle(&["stays", "comes", "other"], &[&a, &b]).await;
    load.account(&[&a, &b], &published, &[]).await;
    assert_eq!(load.watchers[0].ledger().changes(MEMBERS, "stays"), "-+");
    drop((load, _stays, comes, other));
    no_leftovers(&redis).await;
}

/// Each time its connections are cut in the middle of something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_breaks_again_and_again() {
    let (redis, proxy, a, b) = two().await;
    proxy.delay(Duration::from_millis(10));
    let mut load = Load::start(&[&a, &b]).await;
    for round in 0..20 {
        proxy.cut();
        load.more(round % 7).await;
    }
    b.is_connected().await;
    let published = load.settle(&[], &[&a, &b]).await;
    load.account(&[&a, &b], &published, &[]).await;
    drop(load);
    no_leftovers(&redis).await;
}
