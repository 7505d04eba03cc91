//! Members: who is one, who hears of it, exactly once over both workers (P-1 to P-15).
use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    client::Client,
    helpers::{Server, eventually},
    rest::request::get,
};

const ROOM: &str = "presence-room";

fn added(user_id: &str, user_info: &Value) -> Value {
    let data = format!(r#"{{"user_id":"{user_id}","user_info":{user_info}}}"#);
    json!({"event": "pusher_internal:member_added", "channel": ROOM, "data": data})
}

fn removed(user_id: &str) -> Value {
    let data = format!(r#"{{"user_id":"{user_id}"}}"#);
    json!({"event": "pusher_internal:member_removed", "channel": ROOM, "data": data})
}

/// The ids of a member list whose three parts agree (P-4).
fn ids(list: &Value) -> BTreeSet<String> {
    let presence = &list["presence"];
    let ids: Vec<&str> = presence["ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap())
        .collect();
    let set: BTreeSet<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(ids.len(), set.len(), "each id once");
    assert_eq!(presence["count"], ids.len());
    let hash: BTreeSet<String> = presence["hash"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(hash, set);
    set
}

#[tokio::test]
async fn p1_p4_p5_p7_ids_become_text_and_infos_pass_as_they_came() {
    for (data, id, info) in [
        (r#"{"user_id":"10"}"#, "10", json!({})),
        (r#"{"user_id":10}"#, "10", json!({})),
        (
            r#"{"user_id":123456789012345678901234567890}"#,
            "123456789012345678901234567890",
            json!({}),
        ),
        (r#"{"user_id":-1,"user_info":null}"#, "-1", json!({})),
        (
            r#"{"user_id":"ü\u00fc","user_info":{"name":"Žofie 🚀"},"more":1}"#,
            "üü",
            json!({"name": "Žofie 🚀"}),
        ),
        (
            r#"{"user_id":"10","user_info":"text"}"#,
            "10",
            json!("text"),
        ),
        (r#"{"user_id":"10","user_info":[1,2]}"#, "10", json!([1, 2])),
        (r#"{"user_id":"10","user_info":false}"#, "10", json!(false)),
    ] {
        let server = Server::start().await;
        let mut watcher = Client::member(&server, ROOM, "watcher").await;
        let mut client = Client::connect(&server).await;
        let list = client.subscribe(ROOM, Some(data.to_owned())).await;
        assert_eq!(
            ids(&list),
            BTreeSet::from([id.to_owned(), "watcher".to_owned()])
        );
        assert_eq!(list["presence"]["hash"][id], info, "{data}");
        let frame = watcher.next().await;
        assert_eq!(frame["event"], "pusher_internal:member_added");
        let heard: Value = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
        assert_eq!(heard, json!({"user_id": id, "user_info": info}));
        client.assert_silence(&server).await;
    }
}

#[tokio::test]
async fn p1_p13_unusable_ids_are_refused() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    let long = "é".repeat(129);
    for data in [
        "",
        "{}",
        "[]",
        "null",
        "\"10\"",
        "{",
        r#"{"user_id":""}"#,
        r#"{"user_id":1.5}"#,
        r#"{"user_id":1e3}"#,
        r#"{"user_id":true}"#,
        r#"{"user_id":null}"#,
        r#"{"user_id":["1"]}"#,
        r#"{"user_id":{"id":1}}"#,
        r#"{"id":"1"}"#,
        r#"{"user_id":"\ud800"}"#,
        &format!(r#"{{"user_id":"{long}"}}"#),
    ] {
        client.ask(ROOM, Some(data)).await;
        if data.is_empty() {
            let message =
                format!("{ROOM} is a presence channel and subscription must include channel_data");
            client.assert_not_subscribed(ROOM, 401, &message).await;
        } else {
            let message = format!("Invalid channel_data for channel {ROOM}");
            client.assert_not_subscribed(ROOM, 400, &message).await;
        }
    }
    assert_eq!(server.node.connections(), 1);
    get(&server, "/channels/presence-room/users", &[])
        .await
        .assert_json(r#"{"users":[]}"#);
    // 128 characters, more than 128 bytes
    let list = client.join(ROOM, &"é".repeat(128)).await;
    assert_eq!(list["presence"]["count"], 1);
}

/// Many sockets on both workers see one list.
#[tokio::test]
async fn p3_p4_the_list_is_everybody_on_every_worker() {
    let server = Server::start().await;
    let mut expected = BTreeSet::new();
    let mut clients = Vec::new();
    for n in 0..20 {
        let id = n.to_string();
        let mut client = Client::connect(&server).await;
        expected.insert(id.clone());
        assert_eq!(ids(&client.join(ROOM, &id).await), expected);
        clients.push(client);
    }
    // each has heard of all who came later, in their order
    for (n, client) in clients.iter_mut().enumerate() {
        for later in n + 1..20 {
            client.expect(added(&later.to_string(), &json!({}))).await;
        }
    }
}

#[tokio::test]
async fn p6_p8_only_the_first_and_the_last_connection_of_a_member_count() {
    let server = Server::start().await;
    let mut watchers = join_all((0..4).map(|_| Client::member(&server, ROOM, "watcher"))).await;
    let mut tabs = Vec::new();
    for n in 0..4 {
        let mut tab = Client::connect(&server).await;
        let list = tab.join(ROOM, "10").await;
        assert_eq!(list["presence"]["count"], 2, "tab {n}");
        tabs.push(tab);
    }
    for watcher in &mut watchers {
        watcher.expect(added("10", &json!({}))).await;
        watcher.assert_silence(&server).await;
    }
    let mut last = tabs.pop().unwrap();
    // three ways to go
    tabs[0].unsubscribe(ROOM).await;
    assert!(tabs[0].has_nothing().await);
    tabs[1].close().await;
    tabs.pop().unwrap().drop_connection();
    eventually("two are gone", || server.node.connections() == 6).await;
    for watcher in &mut watchers {
        watcher.assert_silence(&server).await;
    }
    last.unsubscribe(ROOM).await;
    for watcher in &mut watchers {
        watcher.expect(removed("10")).await;
        watcher.assert_silence(&server).await;
    }
    last.assert_silence(&server).await;
    // one of the watchers' own connections: nobody left, nobody came
    watchers.pop().unwrap().drop_connection();
    eventually("one is gone", || server.node.connections() == 5).await;
    for watcher in &mut watchers {
        watcher.assert_silence(&server).await;
    }
}

#[tokio::test]
async fn p9_the_latest_info_is_shown_and_nobody_is_told() {
    let server = Server::start().await;
    let mut first = Client::connect(&server).await;
    let member =
        |name: &str| Some(json!({"user_id": "1", "user_info": {"name": name}}).to_string());
    first.subscribe(ROOM, member("old")).await;
    let mut second = Client::connect(&server).await;
    let list = second.subscribe(ROOM, member("new")).await;
    assert_eq!(list["presence"]["hash"], json!({"1": {"name": "new"}}));
    let mut third = Client::connect(&server).await;
    let list = third.join(ROOM, "2").await;
    assert_eq!(list["presence"]["hash"]["1"], json!({"name": "new"}));
    first.expect(added("2", &json!({}))).await;
    first.assert_silence(&server).await;
}

/// A member's view: who is there after all it was told.
struct View {
    there: BTreeSet<String>,
}

impl View {
    fn apply(&mut self, frame: &Value) {
        let data: Value = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
        let id = data["user_id"].as_str().unwrap().to_owned();
        match frame["event"].as_str().unwrap() {
            "pusher_internal:member_added" => {
                assert!(self.there.insert(id), "added twice: {frame}");
            }
            "pusher_internal:member_removed" => {
                assert!(self.there.remove(&id), "removed twice: {frame}");
            }
            _ => panic!("{frame}"),
        }
    }
}

/// Fifty tasks join and leave at once, as ten users with five connections each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_simultaneous_joins_and_leaves_are_announced_once() {
    let server = std::sync::Arc::new(Server::start().await);
    let mut watcher = Client::member(&server, ROOM, "watcher").await;
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(51));
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let (server, barrier) = (server.clone(), barrier.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(&server).await;
                barrier.wait().await;
                let list = client.join(ROOM, &(n % 10).to_string()).await;
                assert!(ids(&list).contains(&(n % 10).to_string()));
                barrier.wait().await;
                // all are there
                barrier.wait().await;
                match n % 3 {
                    0 => client.unsubscribe(ROOM).await,
                    1 => client.close().await,
                    _ => return client.drop_connection(),
                }
                // kept until the end of the test
                barrier.wait().await;
            })
        })
        .collect();
    barrier.wait().await;
    barrier.wait().await;
    let mut view = View {
        there: BTreeSet::from(["watcher".to_owned()]),
    };
    for _ in 0..10 {
        view.apply(&watcher.next().await);
    }
    assert_eq!(view.there.len(), 11);
    watcher.assert_silence(&server).await;
    let occupancy = server.channels("presence-").await.remove(0).1;
    assert_eq!(
        (occupancy.subscription_count, occupancy.user_count),
        (51, 11)
    );

    barrier.wait().await;
    for _ in 0..10 {
        view.apply(&watcher.next().await);
    }
    assert_eq!(view.there.len(), 1);
    watcher.assert_silence(&server).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Everybody's list plus what it was told afterwards is true at the end, whatever came between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_snapshots_and_changes_fit_together() {
    let server = std::sync::Arc::new(Server::start().await);
    let churn: Vec<_> = (0..10)
        .map(|n| {
            let server = server.clone();
            tokio::spawn(async move {
                let mut client = Client::connect(&server).await;
                for _ in 0..10 {
                    // not one of them stays for good; ids are shared by two tasks
                    let list = client.join(ROOM, &(n / 2).to_string()).await;
                    let mut view = View { there: ids(&list) };
                    for frame in client.settle().await {
                        view.apply(&frame);
                    }
                    client.unsubscribe(ROOM).await;
                    for frame in client.settle().await {
                        view.apply(&frame);
                    }
                }
            })
        })
        .collect();
    let mut stays = Client::connect(&server).await;
    let mut view = View {
        there: ids(&stays.join(ROOM, "stays").await),
    };
    for task in churn {
        task.await.unwrap();
    }
    let mut last = Client::connect(&server).await;
    let list = ids(&last.join(ROOM, "last").await);
    assert_eq!(
        list,
        BTreeSet::from(["last".to_owned(), "stays".to_owned()])
    );
    while view.there != list {
        view.apply(&stays.next().await);
    }
    stays.assert_silence(&server).await;
}

#[tokio::test]
async fn p12_the_members_limit() {
    let server = Server::with("[app_defaults]\npresence_members_max = 2").await;
    let mut first = Client::member(&server, ROOM, "1").await;
    let mut second = Client::member(&server, ROOM, "2").await;
    first.expect(added("2", &json!({}))).await;
    let message = "The maximum members per presence channel limit was reached";
    let mut third = Client::connect(&server).await;
    third.ask(ROOM, Some(r#"{"user_id":"3"}"#)).await;
    third.assert_not_subscribed(ROOM, 413, message).await;
    // a further connection of a member is welcome
    let mut tab = Client::connect(&server).await;
    assert_eq!(tab.join(ROOM, "1").await["presence"]["count"], 2);
    first.assert_silence(&server).await;
    // a place becomes free
    second.unsubscribe(ROOM).await;
    first.expect(removed("2")).await;
    assert_eq!(third.join(ROOM, "3").await["presence"]["count"], 2);
    // other channels have their own
    third.join("presence-other", "3").await;
}

#[tokio::test]
async fn p14_the_size_of_infos() {
    let server = Server::with("[app_defaults]\npresence_user_info_bytes_max = 1024").await;
    let mut client = Client::connect(&server).await;
    let member = |bytes: usize| {
        let info = "x".repeat(bytes - r#"{"n":""}"#.len());
        format!(r#"{{"user_id":"1","user_info":{{"n":"{info}"}}}}"#)
    };
    client.ask(ROOM, Some(&member(1025))).await;
    let message = "The maximum size for a channel member is 1 KB.";
    client.assert_not_subscribed(ROOM, 413, message).await;
    client.subscribe(ROOM, Some(member(1024))).await;

    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client.ask(ROOM, Some(&member(10_241))).await;
    let message = "The maximum size for a channel member is 10 KB.";
    client.assert_not_subscribed(ROOM, 413, message).await;
    client.subscribe(ROOM, Some(member(10_240))).await;
}

#[tokio::test]
async fn p15_http_counts_members_not_connections() {
    let server = Server::start().await;
    let _clients = join_all(
        ["2", "1", "2", "1", "1"]
            .into_iter()
            .map(|id| Client::member(&server, ROOM, id)),
    )
    .await;
    get(
        &server,
        "/channels/presence-room",
        &[("info", "user_count,subscription_count")],
    )
    .await
    .assert_json(r#"{"occupied":true,"user_count":2,"subscription_count":5}"#);
    get(&server, "/channels/presence-room/users", &[])
        .await
        .assert_json(r#"{"users":[{"id":"1"},{"id":"2"}]}"#);
}
