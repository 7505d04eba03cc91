//! Events, whichever node they come to.
use serde_json::json;

use super::{event, on, trigger};
use crate::{
    client::{Client, publish, publish_except},
    nodes::Nodes,
    rest::request::post,
};

const KINDS: [&str; 4] = [
    "room",
    "private-room",
    "private-encrypted-room",
    "presence-room",
];

#[tokio::test]
async fn events_go_both_ways_on_every_kind_of_channel() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    for channel in KINDS {
        let (mut at_a, mut at_b) = (on(a, channel).await, on(b, channel).await);
        // as it is, byte for byte
        let data = r#"{"a":"\/é\u00e9", "b":[1.0,  2]}"#;
        for (node, name) in [(a, "from a"), (b, "from b")] {
            publish(node, channel, name, data).await;
            for client in [&mut at_a, &mut at_b] {
                client.expect(event(name, channel, data)).await;
            }
        }
        for (client, node) in [(&mut at_a, a), (&mut at_b, b)] {
            client.assert_silence(node).await;
        }
    }
}

#[tokio::test]
async fn two_triggers_one_after_the_other_are_heard_in_that_order_everywhere() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let mut clients = [on(a, "room").await, on(b, "room").await];
    for number in 0..100 {
        let node = if number % 2 == 0 { a } else { b };
        publish(node, "room", "n", &number.to_string()).await;
    }
    for client in &mut clients {
        for number in 0..100 {
            client.expect(event("n", "room", &number.to_string())).await;
        }
    }
}

#[tokio::test]
async fn to_others_leaves_out_a_connection_of_another_node() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    for channel in ["room", "presence-room"] {
        let (mut sender, mut other) = (on(a, channel).await, on(a, channel).await);
        let mut far = on(b, channel).await;
        for node in [a, b] {
            publish_except(node, channel, "n", "x", Some(&sender.socket_id)).await;
            for client in [&mut other, &mut far] {
                client.expect(event("n", channel, "x")).await;
            }
            sender.assert_silence(a).await;
        }
    }
}

#[tokio::test]
async fn client_events_reach_the_others_on_both_nodes() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let channel = "private-room";
    let (mut sender, mut near, mut far) = (
        on(a, channel).await,
        on(a, channel).await,
        on(b, channel).await,
    );
    for number in 0..20 {
        sender
            .whisper(channel, "client-typing", json!(number))
            .await;
    }
    for client in [&mut near, &mut far] {
        for number in 0..20 {
            client
                .expect(event("client-typing", channel, &number.to_string()))
                .await;
        }
    }
    sender.assert_silence(a).await;

    // on presence channels with the sender's id
    let channel = "presence-room";
    let mut sender = Client::member(a, channel, "ann").await;
    let mut far = Client::connect(b).await;
    far.join(channel, "bob").await;
    assert_eq!(sender.next().await["event"], "pusher_internal:member_added");
    sender.whisper(channel, "client-typing", json!("x")).await;
    let mut expected = event("client-typing", channel, "x");
    expected["user_id"] = "ann".into();
    far.expect(expected).await;
}

#[tokio::test]
async fn batches_and_triggers_for_several_channels_reach_everybody() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let mut at_b = Client::connect(b).await;
    for channel in ["one", "two", "private-three"] {
        at_b.subscribe(channel, None).await;
    }
    let batch = json!({"batch": [
        {"name": "n", "channel": "one", "data": "1"},
        {"name": "n", "channel": "two", "data": "2", "socket_id": at_b.socket_id},
        {"name": "n", "channel": "private-three", "data": "3"},
        {"name": "n", "channel": "one", "data": "4"},
    ]});
    post(a, "/batch_events", &batch.to_string())
        .await
        .assert_json("{}");
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(at_b.next().await);
    }
    // one order for each channel, none between channels
    heard.sort_by_key(|frame| frame["channel"].to_string());
    assert_eq!(
        heard,
        [
            event("n", "one", "1"),
            event("n", "one", "4"),
            event("n", "private-three", "3")
        ]
    );
    trigger(
        a,
        json!({"name": "n", "channels": ["one", "two", "nobody"], "data": "5"}),
    )
    .await;
    let mut heard = [at_b.next().await, at_b.next().await];
    heard.sort_by_key(|frame| frame["channel"].to_string());
    assert_eq!(heard, [event("n", "one", "5"), event("n", "two", "5")]);
    at_b.assert_silence(b).await;
}

#[tokio::test]
async fn the_answer_to_a_trigger_counts_the_whole_cluster() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let _clients = [
        on(a, "room").await,
        on(a, "room").await,
        on(b, "room").await,
    ];
    let _ann = [
        Client::member(a, "presence-room", "ann").await,
        Client::member(b, "presence-room", "ann").await,
        Client::member(b, "presence-room", "bob").await,
    ];
    for node in [a, b] {
        let body = json!({
            "name": "n", "data": "", "channels": ["room", "presence-room", "nobody"],
            "info": "subscription_count,user_count"
        });
        assert_eq!(
            trigger(node, body).await["channels"],
            json!({
                "room": {"subscription_count": 3},
                "presence-room": {"subscription_count": 3, "user_count": 2},
                "nobody": {"subscription_count": 0}
            })
        );
    }
}

#[tokio::test]
async fn an_idempotency_key_holds_on_its_node() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let mut far = on(b, "room").await;
    let body = json!({"name": "n", "channel": "room", "data": "x", "idempotency_key": "k"});
    for _ in 0..2 {
        trigger(a, body.clone()).await;
    }
    far.expect(event("n", "room", "x")).await;
    far.assert_silence(b).await;
}

/// The topic of a channel is left with its last subscriber and taken again with the next.
#[tokio::test]
async fn subscribers_who_come_and_go_miss_nothing_while_they_are_there() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let mut client = Client::connect(b).await;
    for number in 0..50 {
        client.subscribe("room", None).await;
        let data = number.to_string();
        publish(a, "room", "n", &data).await;
        client.expect(event("n", "room", &data)).await;
        client.unsubscribe("room").await;
        if number % 2 == 0 {
            assert!(client.has_nothing().await);
        }
    }
}
