//! What shares a Redis without being one: other prefixes, other apps.
use super::{event, on};
use crate::{
    client::{Client, publish},
    nodes::{Node, Nodes, PREFIX, Setup},
    redis::Redis,
    rest::request::{APP_ID, Unsigned, get, send},
    until,
};

#[tokio::test]
async fn another_prefix_is_another_cluster() {
    let redis = Redis::start();
    let setup = Setup::on(&redis.settings());
    let other = Setup {
        cluster: setup.cluster.replace(PREFIX, "other"),
        ..setup.clone()
    };
    let (a, b) = (Node::start(&setup).await, Node::start(&other).await);
    let mut at_a = Client::member(&a, "presence-room", "ann").await;
    let mut at_b = Client::connect(&b).await;
    let list = at_b.join("presence-room", "bob").await;
    assert_eq!(list["presence"]["count"], 1);
    publish(&a, "presence-room", "n", "x").await;
    at_a.expect(event("n", "presence-room", "x")).await;
    at_a.assert_silence(&a).await;
    at_b.assert_silence(&b).await;
    for node in [&a, &b] {
        get(node, "/channels", &[])
            .await
            .assert_json(r#"{"channels":{"presence-room":{}}}"#);
        get(node, "/connections", &[])
            .await
            .assert_json(r#"{"connections":1}"#);
    }
}

#[tokio::test]
async fn apps_hear_nothing_of_each_other() {
    let settings = "[[apps]]\nid = \"33\"\nkey = \"other-key\"\nsecret = \"other-secret\"\n";
    let nodes = Nodes::with(2, settings, "").await;
    let (a, b) = nodes.both();
    let mut own = on(a, "room").await;
    let mut far = Client::connect_to(b, "/app/other-key?protocol=7").await;
    far.subscribe("room", None).await;
    publish(b, "room", "n", "x").await;
    own.expect(event("n", "room", "x")).await;
    let body = r#"{"name":"n","channel":"room","data":"y"}"#;
    let path = "/apps/33/events";
    let mut request = Unsigned::new("POST", path, body.as_bytes()).with("auth_key", "other-key");
    request.secret = "other-secret".to_owned();
    send(a, "POST", &request.sign(), body.as_bytes())
        .await
        .assert_json("{}");
    far.expect(event("n", "room", "y")).await;
    own.assert_silence(a).await;
}

/// The next version may say what this one doesn't know, and somebody else may have the same Redis.
#[tokio::test]
async fn what_nobody_understands_is_skipped() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let mut client = on(b, "room").await;
    let topic = format!("{PREFIX}:{{{APP_ID}:room}}");
    let messages = [
        "",
        "x",
        "1",
        "9!1 n 1 -\nof another version",
        "1?1 n 1 -\nof another kind",
        "1!many n 1 -\nwithout a number",
        "1!1\n",
        "{}",
    ];
    for message in messages {
        let heard: i64 = nodes.redis.ask(&["PUBLISH", &topic, message]).await;
        assert!(heard > 0, "{topic}");
    }
    publish(a, "room", "n", "x").await;
    client.expect(event("n", "room", "x")).await;
    client.assert_silence(b).await;
    until("they are counted", async || {
        b.metric("skipped").await == messages.len() as u64
    })
    .await;
}

/// As Laravel names Redis for Reverb.
#[tokio::test]
async fn laravels_variables_make_a_cluster() {
    let redis = Redis::start();
    let mut setup = Setup::on("");
    let port = redis.port.to_string();
    let variables = [
        ("REVERB_SCALING_ENABLED", "true"),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &port),
    ];
    setup.variables = variables
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec();
    let (a, b) = (Node::start(&setup).await, Node::start(&setup).await);
    let mut client = on(&b, "room").await;
    publish(&a, "room", "n", "x").await;
    client.expect(event("n", "room", "x")).await;
}

#[tokio::test]
async fn resound_nodes_lists_them() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let _client = on(b, "room").await;
    until("both are listed", async || {
        let (status, text) = a.command(&["nodes"]);
        assert_eq!(status, Some(0), "{text}");
        let version = env!("CARGO_PKG_VERSION");
        text.lines().filter(|line| line.contains(version)).count() == 2
    })
    .await;
}
