//! Published events on their way to subscribers on both workers (S-28 to S-31, H-24).
use futures_util::future::join_all;
use serde_json::json;

use crate::{
    client::{Client, publish, publish_except},
    helpers::Server,
    rest::request::post,
};

#[tokio::test]
async fn s28_data_is_a_string_byte_for_byte() {
    let server = Server::start().await;
    // connections go to the workers in turn
    let mut clients = join_all((0..4).map(|_| Client::on(&server, "private-orders.1"))).await;
    for data in [
        r#"{"id":1}"#,
        "",
        "plain text",
        r#"{ "b":1.0, "a":1e2,"é":"\u00e9\/" }"#,
        "quotes \" and \\ backslashes \\\\ and \u{8}\u{c}\n\r\t\u{1}\u{7f}",
        "\u{2028}\u{fffd}🚀",
        "null",
    ] {
        publish(
            &server,
            "private-orders.1",
            "App\\Events\\OrderShipped",
            data,
        )
        .await;
        for client in &mut clients {
            client
                .expect(json!({"event": "App\\Events\\OrderShipped", "channel": "private-orders.1", "data": data}))
                .await;
        }
    }
}

#[tokio::test]
async fn s28_exactly_one_frame_per_publish_and_connection() {
    let server = Server::start().await;
    let mut clients = join_all((0..20).map(async |n| {
        let mut client = Client::on(&server, "a").await;
        if n % 2 == 0 {
            client.subscribe("b", None).await;
        }
        client
    }))
    .await;
    let body = json!({"name": "e", "channels": ["a", "b", "a", "empty"], "data": "x"});
    post(&server, "/events", &body.to_string())
        .await
        .assert_json("{}");
    for (n, client) in clients.iter_mut().enumerate() {
        client
            .expect(json!({"event": "e", "channel": "a", "data": "x"}))
            .await;
        if n % 2 == 0 {
            client
                .expect(json!({"event": "e", "channel": "b", "data": "x"}))
                .await;
        }
    }
    join_all(clients.iter_mut().map(|c| c.assert_silence(&server))).await;
}

#[tokio::test]
async fn s29_event_names_are_opaque() {
    let server = Server::start().await;
    let mut client = Client::on(&server, "room").await;
    for name in [
        "App\\Events\\OrderShipped",
        ".server.created",
        "Illuminate\\Notifications\\Events\\BroadcastNotificationCreated",
        "naïve 🚀",
        "client-from-server",
        "a\"b",
        "pusherx:",
        " ",
    ] {
        publish(&server, "room", name, "x").await;
        client
            .expect(json!({"event": name, "channel": "room", "data": "x"}))
            .await;
    }
}

#[tokio::test]
async fn s30_the_order_of_each_publisher_holds_on_every_connection() {
    const PUBLISHERS: usize = 4;
    const EVENTS: usize = 50;
    let server = Server::start().await;
    let mut clients = join_all((0..10).map(|_| Client::on(&server, "room"))).await;
    let publishers = join_all((0..PUBLISHERS).map(async |publisher| {
        for n in 0..EVENTS / 5 {
            // single events and batches in turn
            if n % 2 == 0 {
                for i in 0..5 {
                    let data = (n * 5 + i).to_string();
                    publish(&server, "room", &publisher.to_string(), &data).await;
                }
                continue;
            }
            let batch: Vec<_> = (n * 5..n * 5 + 5)
                .map(|i| json!({"channel": "room", "name": publisher.to_string(), "data": i.to_string()}))
                .collect();
            post(&server, "/batch_events", &json!({ "batch": batch }).to_string())
                .await
                .assert_json("{}");
        }
    }));
    let readers = join_all(clients.iter_mut().map(async |client| {
        let mut next = [0; PUBLISHERS];
        let mut seen = Vec::new();
        for _ in 0..PUBLISHERS * EVENTS {
            let frame = client.next().await;
            let publisher: usize = frame["event"].as_str().unwrap().parse().unwrap();
            assert_eq!(frame["data"], next[publisher].to_string());
            next[publisher] += 1;
            seen.push(publisher);
        }
        seen
    }));
    let (_, orders) = tokio::join!(publishers, readers);
    // one order for everybody, whatever the worker
    assert!(orders.windows(2).all(|two| two[0] == two[1]));
}

#[tokio::test]
async fn s31_server_names_can_not_be_published() {
    let server = Server::start().await;
    let mut client = Client::on(&server, "room").await;
    for name in ["pusher:error", "pusher_internal:member_added", "pusher:"] {
        let body = json!({"name": name, "channel": "room", "data": "{}"});
        post(&server, "/events", &body.to_string())
            .await
            .assert_refused(400, "The 'pusher' namespace is reserved for internal usage");
    }
    client.assert_silence(&server).await;
}

#[tokio::test]
async fn h24_to_others_across_workers() {
    let server = Server::start().await;
    let mut clients = join_all((0..8).map(|_| Client::on(&server, "room"))).await;
    for (sender, client) in clients.iter().enumerate() {
        let id = Some(client.socket_id.as_str());
        publish_except(&server, "room", "e", &sender.to_string(), id).await;
    }
    // an id of nobody, and null, exclude nobody
    publish_except(&server, "room", "e", "all", Some("1.1")).await;
    publish_except(&server, "room", "e", "all", None).await;
    for (own, client) in clients.iter_mut().enumerate() {
        for sender in (0..8).filter(|sender| *sender != own) {
            assert_eq!(client.next().await["data"], sender.to_string());
        }
        for _ in 0..2 {
            assert_eq!(client.next().await["data"], "all");
        }
    }
}
