//! The same user comes and goes on two nodes at the same time, very often.
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::{connect_async, tungstenite::protocol::Message};

use crate::{
    clients::{Watcher, subscribe, wish},
    ledger::{members_are, no_leftovers},
    nodes::Nodes,
    rest::request::KEY,
};

const ROOM: &str = "presence-room";

const SUCCEEDED: &str = "pusher_internal:subscription_succeeded";

/// Joins and leaves, on each node.
const TIMES: usize = 5_000;

/// Connections that share them.
const CONNECTIONS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_join_and_leave_the_same_user_ten_thousand_times() {
    let nodes = Nodes::two().await;
    let (a, b) = nodes.both();
    let watchers = [
        Watcher::on(a, &[wish(ROOM, "watcher-a")]).await,
        Watcher::on(b, &[wish(ROOM, "watcher-b")]).await,
    ];
    let mut tasks = Vec::new();
    for connection in 0..CONNECTIONS {
        for node in [a, b] {
            tasks.push(tokio::spawn(come_and_go(
                node.addr,
                TIMES / CONNECTIONS,
                connection,
            )));
        }
    }
    for task in tasks {
        task.await.expect("every join is answered");
    }
    let [first, second] = &watchers;
    members_are(ROOM, &["watcher-a", "watcher-b"], &[first, second], &[a, b]).await;
    // both saw the same, one after the other; that nobody was added or removed twice, the ledgers say
    let changes = [first, second].map(|watcher| watcher.ledger().changes(ROOM, "ann"));
    println!("ann came {} times", changes[0].len() / 2);
    assert!(!changes[0].is_empty() && changes[0] == changes[1]);
    let _ann = Watcher::on(a, &[wish(ROOM, "ann")]).await;
    members_are(
        ROOM,
        &["watcher-a", "watcher-b", "ann"],
        &[first, second],
        &[a, b],
    )
    .await;
    drop((_ann, watchers));
    no_leftovers(&nodes.redis).await;
}

async fn come_and_go(addr: std::net::SocketAddr, times: usize, connection: usize) {
    let url = format!("ws://{addr}/app/{KEY}?protocol=7");
    let (mut socket, _) = connect_async(url).await.expect("a connection");
    let greeting = next(&mut socket).await;
    let data: Value = serde_json::from_str(greeting["data"].as_str().expect("text")).expect("JSON");
    let id = data["socket_id"].as_str().expect("a socket id").to_owned();
    let join = subscribe(&id, &wish(ROOM, "ann"));
    let leave = json!({"event": "pusher:unsubscribe", "data": {"channel": ROOM}});
    let leave = Message::text(leave.to_string());
    for number in 0..times {
        socket.send(join.clone()).await.expect("sent");
        // now and then without waiting for the answer; of the others there may be news
        let waits = !(number + connection).is_multiple_of(3);
        while waits && next(&mut socket).await["event"] != SUCCEEDED {}
        socket.send(leave.clone()).await.expect("sent");
    }
    // what was asked for is done when the answer is there
    let ping = json!({"event": "pusher:ping", "data": {}});
    socket
        .send(Message::text(ping.to_string()))
        .await
        .expect("sent");
    while next(&mut socket).await["event"] != "pusher:pong" {}
}

async fn next(
    socket: &mut (impl StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin),
) -> Value {
    loop {
        let message = tokio::time::timeout(crate::PATIENCE, socket.next()).await;
        if let Some(Ok(Message::Text(text))) = message.expect("an answer") {
            return serde_json::from_str(&text).expect("JSON");
        }
    }
}
