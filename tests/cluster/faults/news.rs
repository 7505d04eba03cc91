//! What happened is told once, whoever dies and whatever breaks in between: webhooks, and who of those that are watched is there.
use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use crate::{
    client::Client,
    functional::{signin, user},
    ledger::no_leftovers,
    nodes::{Node, PREFIX, Setup},
    proxy::Proxy,
    receiver::Receiver,
    redis::Redis,
    rest::request::APP_ID,
    until,
};

/// Long enough for a node to be killed, and shorter than it takes to find that out.
const WAIT_MS: u64 = 2_000;

fn setup(cluster: &str, receiver: &Receiver) -> Setup {
    let settings = format!("[webhook]\nallow_private_targets = true\nremoval_delay_ms = {WAIT_MS}");
    let app = format!(
        "watchlist = true\nwatchlist_grace_ms = {WAIT_MS}\n[[apps.webhooks]]\nurl = \"{}\"",
        receiver.url()
    );
    Setup::on(cluster).settings(&settings).app(&app)
}

/// What is written down of a channel's news.
async fn news(redis: &Redis, channel: &str) -> Vec<String> {
    let key = format!("{PREFIX}:{{{APP_ID}:{channel}}}:held");
    redis.ask(&["HKEYS", &key]).await
}

async fn is_there(redis: &Redis, channel: &str) -> bool {
    let key = format!("{PREFIX}:{{{APP_ID}:{channel}}}:state");
    redis.ask(&["EXISTS", &key]).await
}

/// What would come twice has come by then.
async fn expect_nothing(receiver: &mut Receiver) {
    tokio::time::sleep(Duration::from_millis(WAIT_MS * 3 / 2)).await;
    assert!(receiver.is_silent());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_node_has_not_told_is_told_by_another() {
    let mut receiver = Receiver::start([]).await;
    let redis = Redis::start();
    let setup = setup(&redis.settings(), &receiver);
    let mut a = Node::start(&setup).await;
    let b = Node::start(&setup).await;
    let mut watcher = Client::connect(&b).await;
    signin(&mut watcher, r#"{"id":"ann","watchlist":["bob"]}"#).await;
    let status = |name: &str| {
        json!({"event": "pusher_internal:watchlist_events",
            "data": {"events": [{"name": name, "user_ids": ["bob"]}]}})
    };
    watcher.expect(status("offline")).await;
    let bob = user(&a, "bob").await;
    watcher.expect(status("online")).await;
    let room = Client::on(&a, "room").await;
    let member = Client::member(&a, "presence-room", "carl").await;
    let events = [
        "channel_occupied room",
        "channel_occupied presence-room",
        "member_added presence-room carl",
    ];
    receiver.expect(&events).await;
    drop((room, member, bob));
    until("all have left", async || {
        news(&redis, "room").await == ["."]
            && news(&redis, "presence-room").await.len() == 2
            && news(&redis, "#server-to-user-bob").await == ["."]
    })
    .await;
    a.kill();
    until("the other one has told it", async || {
        news(&redis, "room").await.is_empty()
    })
    .await;
    let events = [
        "channel_vacated room",
        "channel_vacated presence-room",
        "member_removed presence-room carl",
    ];
    receiver.expect(&events).await;
    watcher.expect(status("offline")).await;
    expect_nothing(&mut receiver).await;
    drop(watcher);
    no_leftovers(&redis).await;
    drop(b);
}

/// How long everything takes on its way to Redis, and back.
const SLOW: Duration = Duration::from_millis(300);

/// Redis does what it is asked, and its answers are cut off on their way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_is_told_once_though_the_answer_is_lost() {
    let mut receiver = Receiver::start([]).await;
    let redis = Redis::start();
    let proxy = Proxy::to(redis.port).await;
    let node = Node::start(&setup(&proxy.settings(), &receiver)).await;
    let mut clients = Vec::new();
    for round in 0..3 {
        let channel = format!("presence-{round}");
        let data = json!({"user_id": "ann"}).to_string();
        let mut client = Client::connect(&node).await;
        proxy.delay(SLOW);
        client.ask(&channel, Some(&data)).await;
        until("Redis knows", async || is_there(&redis, &channel).await).await;
        proxy.cut();
        proxy.delay(Duration::ZERO);
        client.next().await;
        let events = [
            format!("channel_occupied {channel}"),
            format!("member_added {channel} ann"),
        ];
        receiver.expect(&events).await;
        clients.push((channel, client));
        node.is_connected().await;
    }
    for (channel, client) in clients {
        proxy.delay(SLOW);
        drop(client);
        until("Redis knows", async || !is_there(&redis, &channel).await).await;
        proxy.cut();
        proxy.delay(Duration::ZERO);
        let events = [
            format!("channel_vacated {channel}"),
            format!("member_removed {channel} ann"),
        ];
        receiver.expect(&events).await;
        node.is_connected().await;
    }
    expect_nothing(&mut receiver).await;
    no_leftovers(&redis).await;
}

/// More than are taken away at once.
const CHANNELS: usize = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_away_what_a_dead_node_had_dies_in_the_middle_of_it() {
    let mut receiver = Receiver::start([]).await;
    let redis = Redis::start();
    let proxy = Proxy::to(redis.port).await;
    let near = setup(&redis.settings(), &receiver);
    let mut a = Node::start(&near).await;
    let mut b = Node::start(&setup(&proxy.settings(), &receiver)).await;
    let mut client = Client::connect(&a).await;
    for number in 0..CHANNELS {
        client.subscribe(&format!("room-{number}"), None).await;
    }
    let occupied: BTreeSet<String> = receiver.events(CHANNELS).await.into_iter().collect();
    assert_eq!(occupied.len(), CHANNELS);
    let channels = async || {
        let keys = redis.keys().await;
        keys.iter().filter(|key| key.ends_with(":state")).count()
    };
    assert_eq!(channels().await, CHANNELS);
    proxy.delay(Duration::from_millis(150));
    a.kill();
    until("some are taken away", async || channels().await < CHANNELS).await;
    b.kill();
    let left = channels().await;
    println!("{left} of {CHANNELS} are left");
    assert!(left > 0);
    let c = Node::start(&near).await;
    until("the others are", async || channels().await == 0).await;
    let mut vacated = receiver.events(CHANNELS).await;
    vacated.sort();
    let mut expected: Vec<String> = (0..CHANNELS)
        .map(|number| format!("channel_vacated room-{number}"))
        .collect();
    expected.sort();
    assert_eq!(vacated, expected);
    expect_nothing(&mut receiver).await;
    no_leftovers(&redis).await;
    until("the dead are forgotten", async || {
        let nodes: usize = redis.ask(&["ZCARD", &format!("{PREFIX}:{{nodes}}")]).await;
        nodes == 1
    })
    .await;
    drop(c);
}

/// A user has come to another node before it is told that he has left one that is dead by now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_late_is_not_the_last_word_on_who_is_there() {
    const DEAD: &str = "dead";
    let receiver = Receiver::start([]).await;
    let redis = Redis::start();
    let setup = setup(&redis.settings(), &receiver);
    let a = Node::start(&setup).await;
    let b = Node::start(&setup).await;
    let bob = user(&b, "bob").await;
    let mut watcher = Client::connect(&a).await;
    signin(&mut watcher, r#"{"id":"ann","watchlist":["bob","carl"]}"#).await;
    let told = |name: &str, user: &str| {
        json!({"event": "pusher_internal:watchlist_events",
            "data": {"events": [{"name": name, "user_ids": [user]}]}})
    };
    let first = watcher.next().await;
    assert!(first.to_string().contains("online"), "{first}");
    // what a node had claimed and not told: that bob is gone, and that carl has come
    for (user, word) in [("bob", "."), ("carl", "*")] {
        let topic = format!("{PREFIX}:{{{APP_ID}:#server-to-user-{user}}}");
        let (held, news) = (format!("{topic}:held"), format!("+{DEAD}.1/{word}"));
        let _: u32 = redis.ask(&["HSET", &held, &news, DEAD]).await;
        let channels = format!("{PREFIX}:node:{DEAD}:channels");
        let _: u32 = redis.ask(&["SADD", &channels, &topic]).await;
    }
    let _: u32 = redis
        .ask(&["ZADD", &format!("{PREFIX}:{{nodes}}"), "1", DEAD])
        .await;
    let mut heard = Vec::new();
    for _ in 0..4 {
        heard.push(watcher.next().await);
    }
    for (user, last) in [("bob", "online"), ("carl", "offline")] {
        let mut backwards = heard.iter().rev();
        let found = backwards.find(|event| event.to_string().contains(user));
        assert_eq!(found, Some(&told(last, user)), "{heard:?}");
    }
    until("nothing is left of it", async || {
        let keys = redis.keys().await;
        keys.iter()
            .all(|key| !key.ends_with(":held") && !key.contains(DEAD))
    })
    .await;
    watcher.assert_silence(&a).await;
    drop(bob);
    watcher.expect(told("offline", "bob")).await;
}
