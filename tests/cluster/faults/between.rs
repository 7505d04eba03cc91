//! The way between a node and Redis is slow, or gone for one of them.
use std::time::{Duration, Instant};

use super::load::{Load, MEMBERS, ROOM};
use crate::{
    clients::{Publisher, Watcher, wish},
    ledger::{Bound, account, all_heard, no_leftovers},
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

/// While the second node is away, Redis is emptied, and more is said than it remembers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_finds_an_emptied_redis_late_counts_what_it_missed() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.port).await;
    let few = "history_events_max = 20";
    let setup = |settings: &str| Setup::on(&format!("{settings}\n{few}"));
    let a = Node::start(&setup(&redis.settings())).await;
    let b = Node::start(&setup(&proxy.settings())).await;
    let near = Watcher::on(&a, &[wish(ROOM, "")]).await;
    let far = Watcher::on(&b, &[wish(ROOM, "")]).await;
    let publisher = Publisher::start(0, ROOM, &[&a], Duration::from_millis(2));
    // what it has heard of the time before is no part of what it misses then
    publisher.more(50).await;
    let away = Instant::now();
    // what was answered before that isn't on its way any more
    let answered = publisher.answered();
    until("it has heard that", async || {
        far.ledger().events(ROOM).len() >= answered
    })
    .await;
    proxy.close();
    until("it says so", async || b.is_degraded().await).await;
    let _: String = redis.ask(&["FLUSHALL"]).await;
    // of what was said until now nothing is left that could be counted
    let forgotten = away..Instant::now();
    until("the other one has noticed", async || {
        redis.keys().await.iter().any(|key| key.ends_with(":state"))
    })
    .await;
    publisher.more(200).await;
    proxy.open();
    b.is_connected().await;
    publisher.more(20).await;
    let published = [publisher.finish().await];
    for watcher in [&near, &far] {
        all_heard(watcher, &published).await;
    }
    account("near", &near, &published, &Bound::of(&a).await);
    let bound = Bound::of(&b).await.and_in_flight(&[forgotten]);
    let lost = account("far", &far, &published, &bound);
    println!("lost {lost}, counted {}", bound.counted);
    assert!(lost > 0);
}

/// Redis doesn't know yet that anybody has subscribed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_finds_an_emptied_redis_late_hears_what_was_published_elsewhere() {
    let (redis, proxy, mut a, b) = two().await;
    let far = Watcher::on(&b, &[wish(ROOM, "")]).await;
    proxy.close();
    until("it says so", async || b.is_degraded().await).await;
    let _: String = redis.ask(&["FLUSHALL"]).await;
    a.until_it_logs("Redis has come back empty");
    let publisher = Publisher::start(0, ROOM, &[&a], Duration::from_millis(2));
    publisher.more(50).await;
    let published = [publisher.finish().await];
    proxy.open();
    all_heard(&far, &published).await;
    account("far", &far, &published, &Bound::default());
    assert_eq!(b.lost().await, 0);
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
