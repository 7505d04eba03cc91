//! Nodes that die, hang, or are restarted.
use std::time::{Duration, Instant};

use serde_json::json;

use super::load::{Load, MEMBERS, ROOM};
use crate::{
    client::Client,
    clients::{Publisher, Watcher, wish},
    functional::{signin, user},
    ledger::{Bound, account, all_heard, members_are, no_leftovers},
    nodes::{HEARTBEAT, Node, Nodes, Setup},
    redis::Redis,
    until,
};

fn three(nodes: &Nodes) -> [&Node; 3] {
    [&nodes.nodes[0], &nodes.nodes[1], &nodes.nodes[2]]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_killed_node_leave_once() {
    let mut nodes = Nodes::with(3, "", "").await;
    let [a, b, c] = three(&nodes);
    // ann is there by another connection, too
    let _gone = Watcher::roaming(&[c], &[wish(MEMBERS, "bob")]).await;
    let _gone_too = Watcher::roaming(&[c], &[wish(MEMBERS, "ann")]).await;
    let _ann = Watcher::on(a, &[wish(MEMBERS, "ann")]).await;
    let mut load = Load::start(&[a, b]).await;
    let moves = Publisher::start(200, ROOM, &[c, a], Duration::from_millis(5));
    moves.more(20).await;
    nodes.nodes[2].kill();
    let died = Instant::now();
    for watcher in &load.watchers {
        until("bob is gone", async || {
            !watcher.ledger().members(MEMBERS).contains("bob")
        })
        .await;
    }
    println!("gone after {:?}, heartbeat {HEARTBEAT:?}", died.elapsed());
    load.more(20).await;
    let [a, b, _] = three(&nodes);
    let mut published = load.settle(&["ann"], &[a, b]).await;
    published.push(moves.finish().await);
    for watcher in &load.watchers {
        all_heard(watcher, &published).await;
        assert_eq!(watcher.ledger().changes(MEMBERS, "bob"), "-");
        assert_eq!(watcher.ledger().changes(MEMBERS, "ann"), "");
        // Redis was there all the time
        account("a watcher", watcher, &published, &Bound::default());
    }
    load.one_order();
    drop((load, _ann));
    no_leftovers(&nodes.redis).await;
}

/// Nobody but the server itself ever names their channels.
#[tokio::test]
async fn nothing_is_left_of_those_who_watched_a_user_on_nodes_that_are_gone() {
    let mut nodes = Nodes::with(3, "", "watchlist = true\nwatchlist_grace_ms = 200").await;
    let mut watching = Vec::new();
    for node in &nodes.nodes {
        let mut ann = Client::connect(node).await;
        signin(&mut ann, r#"{"id":"ann","watchlist":["bob"]}"#).await;
        ann.expect(json!({"event": "pusher_internal:watchlist_events",
            "data": {"events": [{"name": "offline", "user_ids": ["bob"]}]}}))
            .await;
        watching.push(ann);
    }
    nodes.nodes[2].kill();
    nodes.nodes[1].stop().await;
    drop(watching);
    no_leftovers(&nodes.redis).await;
}

/// How long a node hangs.
const HANG: Duration = Duration::from_secs(30);

/// So many leave while their node hangs.
const STALE: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_brings_nobody_back_who_left_meanwhile() {
    let nodes = Nodes::with(3, "", "").await;
    let [a, b, c] = three(&nodes);
    let mut stale = Vec::new();
    for number in 0..STALE {
        let user = format!("stale-{number}");
        stale.push(Watcher::on(c, &[wish(MEMBERS, &user)]).await);
    }
    let patient = Watcher::on(c, &[wish(MEMBERS, "patient"), wish(ROOM, "")]).await;
    let mut load = Load::start(&[a, b]).await;
    c.pause();
    let stopped = Instant::now();
    for watcher in &load.watchers {
        until("those of the node are gone", async || {
            let members = watcher.ledger().members(MEMBERS);
            !members.contains("patient") && !members.iter().any(|m| m.starts_with("stale-"))
        })
        .await;
    }
    drop(stale);
    load.more(20).await;
    // this long is what the fault is about
    tokio::time::sleep(HANG.saturating_sub(stopped.elapsed())).await;
    c.go_on();
    c.is_connected().await;
    load.more(20).await;
    let published = load.settle(&["patient"], &[a, b, c]).await;
    all_heard(&patient, &published).await;
    members_are(
        MEMBERS,
        &["patient", "watcher-0", "watcher-1"],
        &[&patient],
        &[c],
    )
    .await;
    for watcher in &load.watchers {
        for number in 0..STALE {
            let user = format!("stale-{number}");
            assert_eq!(watcher.ledger().changes(MEMBERS, &user), "-", "{user}");
        }
        assert_eq!(watcher.ledger().changes(MEMBERS, "patient"), "-+");
        account("a watcher", watcher, &published, &Bound::default());
    }
    load.one_order();
    let lost = account("the patient", &patient, &published, &Bound::of(c).await);
    println!("the patient lost {lost}");
    drop((load, patient));
    no_leftovers(&nodes.redis).await;
}

/// So much waits for the node that Redis cuts it off, as it does with everybody who doesn't listen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_while_much_is_said_counts_what_it_missed() {
    let redis = Redis::with(&["--client-output-buffer-limit", "pubsub 1mb 1mb 0"]);
    let setup = Setup::on(&redis.settings());
    let (a, b) = (Node::start(&setup).await, Node::start(&setup).await);
    let near = Watcher::on(&a, &[wish(ROOM, "")]).await;
    let far = Watcher::on(&b, &[wish(ROOM, "")]).await;
    let publisher = Publisher::of_bytes(9_000, 0, ROOM, &[&a], Duration::from_micros(1));
    publisher.more(20).await;
    b.pause();
    until("Redis cuts it off", async || {
        let clients: String = redis.ask(&["CLIENT", "LIST"]).await;
        // A pushes, B listens; the third one asks
        clients
            .lines()
            .filter(|line| !line.contains("cmd=client|list"))
            .count()
            < 2
    })
    .await;
    b.go_on();
    b.is_connected().await;
    publisher.more(20).await;
    let published = [publisher.finish().await];
    for watcher in [&near, &far] {
        all_heard(watcher, &published).await;
    }
    assert_eq!(account("near", &near, &published, &Bound::default()), 0);
    let bound = Bound::of(&b).await;
    let lost = account("far", &far, &published, &bound);
    println!("lost {lost}, counted {}", bound.counted);
    assert!(lost > 0);
}

/// Its clients are back before anybody has taken it for dead, and it has another name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_is_back_at_once_and_nobody_leaves() {
    let mut nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let near = Watcher::on(a, &[wish(MEMBERS, "near")]).await;
    let ann = Watcher::roaming(&[b], &[wish(MEMBERS, "ann")]).await;
    let _gone = Watcher::on(b, &[wish(MEMBERS, "gone")]).await;
    nodes.nodes[1].kill();
    nodes.nodes[1].start_again().await;
    until("gone is gone", async || {
        !near.ledger().members(MEMBERS).contains("gone")
    })
    .await;
    let (a, b) = nodes.both();
    members_are(MEMBERS, &["near", "ann"], &[&near, &ann], &[a, b]).await;
    assert_eq!(near.ledger().changes(MEMBERS, "gone"), "+-");
    assert_eq!(near.ledger().changes(MEMBERS, "ann"), "+");
    drop((near, ann));
    no_leftovers(&nodes.redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_killed_node_go_offline_once() {
    let mut nodes = Nodes::with(3, "", "watchlist = true\nwatchlist_grace_ms = 200").await;
    let [a, b, c] = three(&nodes);
    let mut ann = Client::connect(a).await;
    let watch = r#"{"id":"ann","watchlist":["bob","cat"]}"#;
    let online = |name: &str, id: &str| {
        json!({"event": "pusher_internal:watchlist_events",
            "data": {"events": [{"name": name, "user_ids": [id]}]}})
    };
    signin(&mut ann, watch).await;
    // nobody is there yet
    ann.next().await;
    let _bob = user(c, "bob").await;
    ann.expect(online("online", "bob")).await;
    let _cats = [user(c, "cat").await, user(b, "cat").await];
    ann.expect(online("online", "cat")).await;
    nodes.nodes[2].kill();
    ann.expect(online("offline", "bob")).await;
    let (a, b) = nodes.both();
    let _bob = user(b, "bob").await;
    ann.expect(online("online", "bob")).await;
    ann.assert_silence(a).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_restart_one_after_the_other_and_their_clients_move() {
    let mut nodes = Nodes::with(3, "", "").await;
    let all = three(&nodes);
    let mut roamers = Vec::new();
    for number in 0..6 {
        let mut order = all;
        order.rotate_left(number % 3);
        let user = format!("roamer-{}", number % 4);
        let wishes = [wish(ROOM, ""), wish(MEMBERS, &user)];
        roamers.push(Watcher::roaming(&order, &wishes).await);
    }
    let pace = Duration::from_millis(10);
    let publishers = [
        Publisher::start(0, ROOM, &[all[0], all[1], all[2]], pace),
        Publisher::start(1, ROOM, &[all[1], all[2], all[0]], pace),
        Publisher::start(2, MEMBERS, &[all[2], all[0], all[1]], pace),
    ];
    for round in 0..2 {
        for number in 0..3 {
            nodes.nodes[number].stop().await;
            for publisher in &publishers {
                publisher.more(30).await;
            }
            nodes.nodes[number].start_again().await;
            for publisher in &publishers {
                publisher.more(30).await;
            }
            println!("round {round}: node {number} is back");
        }
    }
    for roamer in &roamers {
        until("everybody is back", async || {
            let ledger = roamer.ledger();
            ledger.is_subscribed(ROOM) && ledger.is_subscribed(MEMBERS)
        })
        .await;
    }
    let mut published = Vec::new();
    for publisher in publishers {
        published.push(publisher.finish().await);
    }
    let seen: Vec<&Watcher> = roamers.iter().collect();
    let users = ["roamer-0", "roamer-1", "roamer-2", "roamer-3"];
    members_are(MEMBERS, &users, &seen, &three(&nodes)).await;
    for roamer in &roamers {
        all_heard(roamer, &published).await;
        account("a roamer", roamer, &published, &Bound::default());
        assert!(roamer.ledger().connections > 1);
    }
    drop(roamers);
    no_leftovers(&nodes.redis).await;
    for node in &mut nodes.nodes {
        node.stop().await;
    }
    assert_eq!(nodes.redis.keys().await, Vec::<String>::new());
}
