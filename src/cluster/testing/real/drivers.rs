//! Drivers on a Redis: what their clients see, whatever becomes of connections, nodes and Redis.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    PATIENCE, RedisServer, eventually, key,
    node::{Running, all_agree},
    texts,
};
use crate::cluster::{
    connection::Servers,
    keys::Keys,
    terms::Happening,
    testing::{RedisCluster, documented_rules, user},
};

fn added(user: &str) -> Happening {
    Happening::MemberAdded(user.into())
}

fn removed(user: &str) -> Happening {
    Happening::MemberRemoved(user.into())
}

#[tokio::test]
async fn two_nodes_share_members_and_events() {
    let server = RedisServer::start();
    share(&server.servers()).await;
}

#[tokio::test]
async fn two_nodes_share_members_and_events_on_a_redis_cluster_that_lets_them_do_no_more_than_needed()
 {
    let cluster = RedisCluster::start();
    let mut seeds = cluster.seeds();
    for node in &cluster.nodes {
        node.order_line("ACL SETUSER narrow on >secret");
        node.order_line(&format!(
            "ACL SETUSER narrow {}",
            documented_rules("test", true)
        ));
    }
    seeds.access = user("narrow", "secret");
    share(&Servers::Cluster(seeds)).await;
}

async fn share(servers: &Servers) {
    let mut a = Running::start_at(servers.clone());
    let mut b = Running::start_at(servers.clone());
    a.join("ann");
    b.join("bob");
    b.join("ann");
    all_agree(&[&a, &b]).await;
    for number in 0..100 {
        a.publish(&number.to_string());
    }
    let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for node in [&a, &b] {
        eventually("all events, in order", || {
            node.node
                .look(|clients| clients.here.values().all(|c| c.events == expected))
        })
        .await;
    }
    // ann stays by her other connection
    a.leave_one();
    all_agree(&[&a, &b]).await;
    let happened = [&a, &b].map(|node| node.node.look(|c| c.happened.clone()));
    let count = |wanted: &Happening| happened.iter().flatten().filter(|h| *h == wanted).count();
    assert_eq!(count(&Happening::Occupied), 1);
    assert_eq!(count(&added("ann")), 1);
    assert_eq!(count(&removed("ann")), 0);
}

#[tokio::test]
async fn cut_connections_and_dead_nodes_leave_no_trace() {
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut admin = client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection");
    let mut nodes: Vec<Running> = (0..3).map(|_| Running::start(&server)).collect();
    let mut random = SmallRng::seed_from_u64(9);
    for round in 0..400 {
        let at = random.random_range(0..nodes.len());
        let node = &mut nodes[at];
        match random.random_range(0..10) {
            0..4 => node.join(&format!("user {}", random.random_range(0..5))),
            4..7 => {
                node.leave_one();
            }
            _ => node.publish(&format!("{at} {round}")),
        }
        if round % 80 == 40 {
            let killed: redis::RedisResult<i64> = redis::cmd("CLIENT")
                .arg(&["KILL", "SKIPME", "yes"])
                .query_async(&mut admin)
                .await;
            killed.expect("killed");
        }
        if round % 7 == 0 {
            // so that some is answered, and some is on its way, when connections are cut
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    all_agree(&nodes.iter().collect::<Vec<_>>()).await;
    // one dies without a word: the others clean up after it
    let dead = nodes.remove(0);
    dead.task.abort();
    all_agree(&nodes.iter().collect::<Vec<_>>()).await;
    for node in &nodes {
        while node.leave_one() {}
    }
    let mut keys: Vec<String> = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        keys = redis::cmd("KEYS")
            .arg("*")
            .query_async(&mut admin)
            .await
            .expect("keys");
        keys.sort();
        if keys == ["test:{nodes}", "test:{nodes}:life", "test:{nodes}:loads"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("left over: {keys:?}");
}

#[tokio::test]
async fn news_of_who_left_wait_for_a_return_to_any_node() {
    let server = RedisServer::start();
    let (mut a, mut b) = (Running::start(&server), Running::start(&server));
    for node in [&a, &b] {
        // nobody is told who comes and goes before
        eventually("Redis is there", || node.node.look(|c| c.ups == 1)).await;
        // longer than she takes on a busy machine
        let hold = Some(Duration::from_millis(1_500));
        node.node.look(|clients| clients.hold = hold);
    }
    let happened = |a: &Running, b: &Running| -> Vec<Happening> {
        let both = [a, b].map(|node| node.node.look(|c| c.happened.clone()));
        both.concat()
    };
    a.join("ann");
    all_agree(&[&a, &b]).await;
    // she leaves one node and comes to the other: nobody is told
    a.leave_one();
    b.join("ann");
    all_agree(&[&a, &b]).await;
    b.publish("x");
    eventually("what came before has been told", || {
        b.node
            .look(|clients| clients.here.values().all(|c| c.events == ["x"]))
    })
    .await;
    b.leave_one();
    let everything = [
        Happening::Occupied,
        added("ann"),
        removed("ann"),
        Happening::Vacated,
    ];
    eventually("that she left is told in the end", || {
        happened(&a, &b).len() == everything.len()
    })
    .await;
    assert_eq!(happened(&a, &b), everything);
    eventually("what was told is forgotten", || {
        texts(&server, &["KEYS", "*:held"]).is_empty()
    })
    .await;
}

#[tokio::test]
async fn news_are_told_though_redis_went_away_when_they_were_due() {
    let server = RedisServer::start();
    let mut a = Running::start(&server);
    let hold = Some(Duration::from_millis(1_000));
    a.node.look(|clients| clients.hold = hold);
    eventually("Redis is there", || a.node.look(|clients| clients.ups == 1)).await;
    a.join("ann");
    all_agree(&[&a]).await;
    a.leave_one();
    let held = Keys::new("test").channel("7", &key().name).held;
    eventually("the news are known to Redis", || {
        let count: i64 = redis::from_redis_value(server.order(&["HLEN", &held])).expect("a number");
        count == 2
    })
    .await;
    server.pause();
    eventually("the node goes on alone", || {
        a.node.look(|clients| clients.downs == 1)
    })
    .await;
    server.go_on();
    let last = [removed("ann"), Happening::Vacated];
    eventually("the news are told", || {
        a.node.look(|clients| clients.happened.ends_with(&last))
    })
    .await;
    a.node
        .look(|clients| assert_eq!(clients.happened.len(), 4, "{:?}", clients.happened));
}

/// It is interrupted while it takes away what it did by its old name.
#[tokio::test]
async fn nothing_stays_of_a_node_that_was_taken_for_dead() {
    let server = RedisServer::start();
    let mut a = Running::start(&server);
    eventually("Redis is there", || a.node.look(|clients| clients.ups == 1)).await;
    a.join("ann");
    all_agree(&[&a]).await;
    let keys = Keys::new("test");
    let name = texts(&server, &["ZRANGE", &keys.nodes(), "0", "-1"]).remove(0);
    let channels = keys.channels_on(&name);
    // What cannot be read ends the connection.
    server.order(&["DEL", &channels]);
    server.order(&["SET", &channels, "x"]);
    server.order(&["ZREM", &keys.nodes(), &name]);
    eventually("it is interrupted", || a.node.look(|c| c.downs > 2)).await;
    server.order(&["DEL", &channels]);
    let state = keys.channel("7", &key().name).state;
    eventually("only what it has by its new name is left", || {
        let mut fields = texts(&server, &["HKEYS", &state]);
        fields.retain(|field| field.starts_with("of|"));
        fields.len() == 1 && !fields[0].ends_with(&name)
    })
    .await;
    all_agree(&[&a]).await;
}

#[tokio::test]
async fn connections_that_end_while_redis_is_away_do_not_count_when_it_is_back() {
    let server = RedisServer::start();
    let mut a = Running::start(&server);
    eventually("Redis is there", || a.node.look(|clients| clients.ups == 1)).await;
    a.join("ann");
    all_agree(&[&a]).await;
    let connections = Keys::new("test").connections_of("7");
    let counted = || texts(&server, &["HVALS", &connections]);
    eventually("the connection counts", || counted() == ["1"]).await;
    server.pause();
    eventually("the node goes on alone", || {
        a.node.look(|clients| clients.downs == 1)
    })
    .await;
    a.leave_one();
    server.go_on();
    eventually("nothing counts", || counted().is_empty()).await;
}
