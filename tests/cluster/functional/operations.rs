//! What operators see of a cluster: health checks, metrics, limits that hold for all nodes, the list of nodes, a stop.
use serde_json::Value;

use super::on;
use crate::{
    client::{Client, publish},
    nodes::{Node, Nodes, Setup},
    ports::free_port,
    redis::Redis,
    rest::request::{KEY, Response, post, send},
    until,
};

async fn get(node: &Node, path: &str) -> Response {
    send(node, "GET", path, b"").await
}

#[tokio::test]
async fn health_checks_tell_when_redis_is_away() {
    let mut redis = Redis::start();
    let lenient = Setup::on(&redis.settings());
    let strict = format!("{}\nready_when_degraded = false", redis.settings());
    let (a, b) = (
        Node::start(&lenient).await,
        Node::start(&Setup::on(&strict)).await,
    );
    let is_whole = async |node: &Node| {
        let up = get(node, "/up").await;
        assert_eq!((up.status, &*up.body), (200, r#"{"health":"OK"}"#));
        assert_eq!(node.command(&["health", "--url", &up_url(node)]).0, Some(0));
        assert_eq!(node.metric("_up").await, 1);
    };
    is_whole(&a).await;
    is_whole(&b).await;

    redis.kill();
    for (node, status) in [(&a, 200), (&b, 503)] {
        until("it is degraded", async || node.is_degraded().await).await;
        let ready = get(node, "/ready").await;
        assert_eq!((ready.status, &*ready.body), (status, "DEGRADED"));
        assert_eq!(get(node, "/accept-traffic").await.status, status);
        // it serves: nobody should end it
        let up = get(node, "/up").await;
        assert_eq!((up.status, &*up.body), (200, r#"{"health":"DEGRADED"}"#));
        assert_eq!(up.header("x-health-check"), Some("DEGRADED"));
        let (code, text) = node.command(&["health", "--url", &up_url(node)]);
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.starts_with("degraded: it serves, but Redis is away"),
            "{text}"
        );
        assert_eq!(node.metric("_up").await, 0);
        assert_eq!(node.metric("losses").await, 1);
    }
    let mut client = on(&a, "room").await;
    publish(&a, "room", "n", "x").await;
    client.expect(super::event("n", "room", "x")).await;
    assert!(a.metric("backlog_events").await >= 1);

    redis.start_again();
    for node in [&a, &b] {
        node.is_connected().await;
        is_whole(node).await;
    }
    until("nothing waits", async || {
        a.metric("backlog_events").await == 0
    })
    .await;
    assert!(a.metric("redis_seconds_count").await > 0);
}

fn app_path() -> String {
    format!("/app/{KEY}?protocol=7")
}

fn up_url(node: &Node) -> String {
    format!("http://{}/up", node.addr)
}

#[tokio::test]
async fn a_node_starts_without_redis_and_is_degraded() {
    let nowhere = format!("url = \"redis://127.0.0.1:{}\"", free_port());
    let node = Node::start_alone(&Setup::on(&nowhere));
    until("it has tried", async || {
        get(&node, "/ready").await.body != "STARTING"
    })
    .await;
    let ready = get(&node, "/ready").await;
    assert_eq!((ready.status, &*ready.body), (200, "DEGRADED"));
    let mut client = on(&node, "room").await;
    publish(&node, "room", "n", "x").await;
    client.expect(super::event("n", "room", "x")).await;
    assert_eq!(node.metric("losses").await, 0, "it never had it");
    let (code, text) = node.command(&["nodes"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("resound: "), "{text}");
    assert!(text.contains("`resound config` shows it"), "{text}");
}

#[tokio::test]
async fn the_limit_of_connections_is_one_for_all_nodes() {
    let nodes = Nodes::with(2, "", "connections_max = 2").await;
    let (a, b) = nodes.both();
    let first = Client::connect(a).await;
    let _second = Client::connect(b).await;
    // what the others have is known with the next sign of life
    for node in [a, b] {
        until("the third is refused", async || {
            let mut third = Client::open(node, &app_path(), &[]).await;
            let greeting = third.next().await;
            let quota = "Application is over connection quota";
            greeting["data"]["code"] == 4004 && greeting["data"]["message"] == quota
        })
        .await;
    }
    drop(first);
    until("there is room again", async || {
        let mut client = Client::open(b, &app_path(), &[]).await;
        client.next().await["event"] == "pusher:connection_established"
    })
    .await;
}

#[tokio::test]
async fn many_channels_at_once_are_told_in_order_and_counted_on_all_nodes() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let mut clients = [on(a, "c0").await, on(b, "c0").await];
    clients[1].subscribe("c99", None).await;
    let names: Vec<String> = (0..100).map(|n| format!("\"c{n}\"")).collect();
    let body = format!(
        r#"{{"name":"n","data":"0","channels":[{}],"info":"subscription_count"}}"#,
        names.join(",")
    );
    let answer = post(a, "/events", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
    let count = |name: &str| answer["channels"][name]["subscription_count"].clone();
    assert_eq!([count("c0"), count("c1"), count("c99")], [2, 0, 1]);
    let item = |n: usize| format!(r#"{{"name":"n","channel":"c0","data":"{n}"}}"#);
    let items: Vec<String> = (1..=10).map(item).collect();
    let body = format!(r#"{{"batch":[{}]}}"#, items.join(","));
    post(b, "/batch_events", &body).await.assert_json("{}");
    for n in 0..=10 {
        let event = super::event("n", "c0", &n.to_string());
        clients[0].expect(event.clone()).await;
        if n == 0 {
            // its other channel comes before or after
            let heard = [clients[1].next().await, clients[1].next().await];
            assert!(heard.contains(&event), "{heard:?}");
        } else {
            clients[1].expect(event).await;
        }
    }
}

#[tokio::test]
async fn who_stops_takes_leave() {
    let mut nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let mut watcher = Client::member(a, "presence-room", "ann").await;
    let _member = Client::member(b, "presence-room", "bob").await;
    watcher.expect(super::added("presence-room", "bob")).await;
    until("both say what they have", async || {
        let (code, text) = a.command(&["nodes", "--json"]);
        assert_eq!(code, Some(0), "{text}");
        let nodes: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect(&text))
            .collect();
        let sum = |of: &str| nodes.iter().filter_map(|node| node[of].as_u64()).sum();
        let all: (u64, u64) = (sum("connections"), sum("channels"));
        nodes.len() == 2 && all == (2, 2) && nodes.iter().all(|node| node["alive"] == true)
    })
    .await;
    nodes.nodes[1].stop().await;
    watcher.expect(super::removed("presence-room", "bob")).await;
    let a = &nodes.nodes[0];
    let (_, text) = a.command(&["nodes", "--json"]);
    assert_eq!(text.lines().count(), 1, "{text}");
    until("it knows that it is the only one", async || {
        a.metric("nodes_alive").await == 1
    })
    .await;
}
