//! Redis loses everything it knew: it is restarted without persistence, or somebody empties it.
use serde_json::json;

use crate::{
    client::{Client, publish},
    functional::{added, event, removed, signin, user},
    nodes::{HEARTBEAT, Node, Nodes, PREFIX},
    receiver::Receiver,
    rest::request::{APP_ID, get},
    until,
};

const ROOM: &str = "presence-room";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Killed,
    /// its connections stay
    Flushed,
}

impl Way {
    /// Redis has forgotten everything, and the nodes have told it what they have.
    async fn take(self, nodes: &mut Nodes) {
        let life = life(nodes).await;
        self.begin(nodes).await;
        self.end(nodes, &life).await;
    }

    async fn begin(self, nodes: &mut Nodes) {
        match self {
            Way::Killed => {
                nodes.redis.kill();
                for node in nodes.nodes.iter().filter(|node| node.is_running()) {
                    until("the node says so", async || node.is_degraded().await).await;
                }
            }
            Way::Flushed => {
                let _: String = nodes.redis.ask(&["FLUSHALL"]).await;
            }
        }
    }

    async fn end(self, nodes: &mut Nodes, before: &str) {
        if self == Way::Killed {
            nodes.redis.start_again();
        }
        for node in nodes.nodes.iter().filter(|node| node.is_running()) {
            node.is_connected().await;
        }
        until("Redis has another life", async || {
            let life = life(nodes).await;
            !life.is_empty() && life != before
        })
        .await;
    }
}

async fn life(nodes: &Nodes) -> String {
    let life: Option<String> = nodes
        .redis
        .ask(&["GET", &format!("{PREFIX}:{{nodes}}:life")])
        .await;
    life.unwrap_or_default()
}

/// Waits until it isn't in doubt any more who is on the channel.
async fn settled(nodes: &Nodes, channel: &str) {
    let key = format!("{PREFIX}:{{{APP_ID}:{channel}}}:state");
    until("everybody was waited for", async || {
        let doubt: Option<String> = nodes.redis.ask(&["HGET", &key, "doubt"]).await;
        doubt.as_deref() == Some("0")
    })
    .await;
}

async fn nodes(count: usize, receiver: &Receiver, app: &str) -> Nodes {
    let settings = "[webhook]\nallow_private_targets = true\nremoval_delay_ms = 200";
    let app = format!("{app}\n[[apps.webhooks]]\nurl = \"{}\"", receiver.url());
    Nodes::with(count, settings, &app).await
}

async fn users(node: &Node) -> String {
    get(node, &format!("/channels/{ROOM}/users"), &[])
        .await
        .body
}

async fn nobody_flaps(way: Way) {
    let mut receiver = Receiver::start([]).await;
    let mut nodes = nodes(3, &receiver, "").await;
    let mut clients = Vec::new();
    for (node, user) in [(0, "ann"), (1, "bob"), (2, "cat"), (1, "ann")] {
        clients.push(Client::member(&nodes.nodes[node], ROOM, user).await);
    }
    let _room = Client::on(&nodes.nodes[2], "room").await;
    let events = [
        "channel_occupied presence-room",
        "channel_occupied room",
        "member_added presence-room ann",
        "member_added presence-room bob",
        "member_added presence-room cat",
    ];
    receiver.expect(&events).await;
    for (client, users) in [(0, &["bob", "cat"][..]), (1, &["cat"])] {
        for user in users {
            clients[client].expect(added(ROOM, user)).await;
        }
    }
    way.take(&mut nodes).await;
    // who comes now is told of everybody
    let mut dan = Client::connect(&nodes.nodes[0]).await;
    let list = dan.join(ROOM, "dan").await;
    for user in ["ann", "bob", "cat", "dan"] {
        assert!(list.to_string().contains(user), "{list}");
    }
    for client in &mut clients {
        client.expect(added(ROOM, "dan")).await;
    }
    settled(&nodes, ROOM).await;
    for client in &mut clients {
        assert_eq!(client.settle().await, Vec::<serde_json::Value>::new());
    }
    for node in &nodes.nodes {
        let users = users(node).await;
        assert_eq!(users.matches("\"id\"").count(), 4, "{users}");
        assert_eq!(node.metric("renamed").await, 0);
        publish(node, ROOM, "n", "x").await;
        for client in clients.iter_mut().chain([&mut dan]) {
            client.expect(event("n", ROOM, "x")).await;
        }
    }
    receiver.expect(&["member_added presence-room dan"]).await;
    assert!(receiver.is_silent());
    // leaving is as before
    drop(dan);
    for client in &mut clients {
        client.expect(removed(ROOM, "dan")).await;
    }
    receiver.expect(&["member_removed presence-room dan"]).await;
}

#[tokio::test]
async fn nobody_leaves_a_redis_that_is_restarted_empty() {
    nobody_flaps(Way::Killed).await;
}

#[tokio::test]
async fn nobody_leaves_a_redis_that_is_emptied() {
    nobody_flaps(Way::Flushed).await;
}

#[tokio::test]
async fn what_changed_while_redis_was_away_is_told_once_though_it_comes_back_empty() {
    let mut receiver = Receiver::start([]).await;
    let mut nodes = nodes(3, &receiver, "").await;
    let [a, b, c] = [0, 1, 2].map(|at| &nodes.nodes[at]);
    let mut ann = Client::member(a, ROOM, "ann").await;
    let mut bob = Client::member(b, ROOM, "bob").await;
    let leaves = Client::member(a, ROOM, "leaves").await;
    let _dies = Client::member(c, ROOM, "dies").await;
    receiver.events(5).await;
    // on its way from node to node it may come after the webhooks
    for user in ["bob", "leaves", "dies"] {
        ann.expect(added(ROOM, user)).await;
    }
    for user in ["leaves", "dies"] {
        bob.expect(added(ROOM, user)).await;
    }
    let before = life(&nodes).await;
    Way::Killed.begin(&mut nodes).await;
    drop(leaves);
    ann.expect(removed(ROOM, "leaves")).await;
    let _comes = Client::member(&nodes.nodes[0], ROOM, "comes").await;
    ann.expect(added(ROOM, "comes")).await;
    nodes.nodes[2].kill();
    Way::Killed.end(&mut nodes, &before).await;
    bob.expect(added(ROOM, "comes")).await;
    settled(&nodes, ROOM).await;
    ann.expect(removed(ROOM, "dies")).await;
    let mut gone = [bob.next().await, bob.next().await];
    gone.sort_by_key(ToString::to_string);
    assert_eq!(gone, [removed(ROOM, "dies"), removed(ROOM, "leaves")]);
    let events = [
        "member_added presence-room comes",
        "member_removed presence-room dies",
        "member_removed presence-room leaves",
    ];
    receiver.expect(&events).await;
    // whoever would tell it once more does so at a heartbeat
    tokio::time::sleep(HEARTBEAT).await;
    assert!(receiver.is_silent());
    ann.assert_silence(&nodes.nodes[0]).await;
    bob.assert_silence(&nodes.nodes[1]).await;
}

async fn the_edge(way: Way) {
    let app = "subscription_count = true\nwatchlist = true\nwatchlist_grace_ms = 200";
    let mut nodes = Nodes::with(2, "", app).await;
    let (a, b) = nodes.both();
    let _bob = user(b, "bob").await;
    let mut ann = Client::connect(a).await;
    signin(&mut ann, r#"{"id":"ann","watchlist":["bob"]}"#).await;
    let status = |name: &str| {
        json!({"event": "pusher_internal:watchlist_events",
            "data": {"events": [{"name": name, "user_ids": ["bob"]}]}})
    };
    ann.expect(status("online")).await;
    let mut counts = [Client::on(a, "room").await, Client::on(b, "room").await];
    let _cache = Client::on(a, "cache-room").await;
    publish(b, "cache-room", "n", "kept").await;
    for client in &mut counts {
        client.settle().await;
    }
    way.take(&mut nodes).await;
    settled(&nodes, "room").await;
    let (_, b) = nodes.both();
    // everything is as it was, so nobody is told anything, at the next heartbeat either
    tokio::time::sleep(HEARTBEAT).await;
    for client in counts.iter_mut().chain([&mut ann]) {
        assert!(client.has_nothing().await);
    }
    let mut late = Client::on(b, "cache-room").await;
    late.expect(event("n", "cache-room", "kept")).await;
    let mut carl = Client::connect(b).await;
    signin(&mut carl, r#"{"id":"carl","watchlist":["bob"]}"#).await;
    carl.expect(status("online")).await;
    drop(_bob);
    ann.expect(status("offline")).await;
    carl.expect(status("offline")).await;
}

#[tokio::test]
async fn counts_users_and_caches_are_the_same_after_redis_is_restarted_empty() {
    the_edge(Way::Killed).await;
}

#[tokio::test]
async fn counts_users_and_caches_are_the_same_after_redis_is_emptied() {
    the_edge(Way::Flushed).await;
}
