//! What the HTTP API answers is the same on both nodes, and the truth.
use super::user;
use crate::{client::Client, nodes::Nodes, rest::request::get, until};

#[tokio::test]
async fn both_nodes_answer_for_the_whole_cluster() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let mut clients = Vec::new();
    for (node, channel) in [(a, "a"), (a, "b"), (b, "b"), (b, "ba"), (a, "private-b")] {
        clients.push(Client::on(node, channel).await);
    }
    for (node, id) in [(a, "7"), (b, "7"), (b, "8")] {
        clients.push(Client::member(node, "presence-room", id).await);
    }
    let _idle = Client::connect(b).await;
    let _signed_in = user(a, "ann").await;
    for node in [a, b] {
        let check = async |path: &str, params: &[(&str, &str)], body: &str| {
            get(node, path, params).await.assert_json(body);
        };
        check(
            "/channels",
            &[],
            r#"{"channels":{"a":{},"b":{},"ba":{},"presence-room":{},"private-b":{}}}"#,
        )
        .await;
        check(
            "/channels",
            &[("filter_by_prefix", "b"), ("info", "subscription_count")],
            r#"{"channels":{"b":{"subscription_count":2},"ba":{"subscription_count":1}}}"#,
        )
        .await;
        check(
            "/channels",
            &[
                ("filter_by_prefix", "presence-"),
                ("info", "user_count,subscription_count"),
            ],
            r#"{"channels":{"presence-room":{"user_count":2,"subscription_count":3}}}"#,
        )
        .await;
        check(
            "/channels",
            &[("filter_by_prefix", "[")],
            r#"{"channels":{}}"#,
        )
        .await;
        let counts = [("info", "user_count,subscription_count")];
        check(
            "/channels/presence-room",
            &counts,
            r#"{"occupied":true,"user_count":2,"subscription_count":3}"#,
        )
        .await;
        check("/channels/ba", &[], r#"{"occupied":true}"#).await;
        check("/channels/nobody", &[], r#"{"occupied":false}"#).await;
        let users = get(node, "/channels/presence-room/users", &[]).await.body;
        let mut users: serde_json::Value = serde_json::from_str(&users).expect("JSON");
        let list = users["users"].as_array_mut().expect("users");
        list.sort_by_key(ToString::to_string);
        assert_eq!(
            users,
            serde_json::json!({"users": [{"id": "7"}, {"id": "8"}]})
        );
        // nodes tell each other how many they have now and then
        until("all connections are counted", async || {
            get(node, "/connections", &[]).await.body == r#"{"connections":10}"#
        })
        .await;
    }
    drop(clients);
    for node in [a, b] {
        until("all channels are empty", async || {
            get(node, "/channels", &[]).await.body == r#"{"channels":{}}"#
                && get(node, "/connections", &[]).await.body == r#"{"connections":2}"#
        })
        .await;
    }
}
