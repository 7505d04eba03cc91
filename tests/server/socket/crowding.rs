//! Two workers whose inboxes are nearly always full: publishers wait, connections aren't read, and who comes and goes meanwhile
//! misses nothing and hears nothing twice.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use resound::{
    node::Event,
    protocol::{channel::ChannelName, event::EventData},
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    client::Client,
    helpers::{Server, answers_are_in_order},
};

/// The smallest inboxes that can be set, which subscribers on both workers fill at once.
const SETTINGS: &str = "[hub]\ninbox_depth_max = 16\npublish_wait_ms = 60000\n[socket]\noutbox_bytes_max = 67108864\n[app_defaults]\nsubscription_count = true";

const CHANNELS: usize = 3;
const VISITORS: usize = 24;
const LASTS: Duration = Duration::from_secs(1);

/// What is published on one channel: the numbers from 1 on.
struct Channel {
    name: String,
    /// the last number that is on its way
    begun: AtomicU64,
    /// the last number of which the publisher was told that it is done
    done: AtomicU64,
}

async fn publish(server: &Server, channel: &Channel, is_silent: &AtomicBool) {
    let app = server.node.apps().by_id("3").cloned().expect("the app");
    let name = ChannelName::parse(&channel.name, 200).expect("a name");
    while !is_silent.load(Ordering::Relaxed) {
        let number = channel.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let data = EventData::from_text(&number.to_string());
        let event = Event {
            name: "number",
            data: &data,
            except: None,
        };
        let published = server.node.publish(&app, &name, event).await;
        assert!(published.is_ok(), "there was room in time");
        channel.done.store(number, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
}

/// The number that a frame tells; `None` if it is of another kind.
fn number(frame: &Value) -> Option<u64> {
    let is_number = frame["event"] == "number";
    is_number.then(|| frame["data"].as_str().unwrap().parse().unwrap())
}

/// Subscribes, hears some numbers, and leaves, again and again; the last time it hears all that was begun by then.
async fn visit(server: &Server, channel: &Channel, is_over: &AtomicBool, seed: usize) {
    let mut client = Client::connect(server).await;
    for round in 0.. {
        let is_last = is_over.load(Ordering::SeqCst);
        let done = channel.done.load(Ordering::SeqCst);
        client.ask(&channel.name, None).await;
        let answer = client.next().await;
        assert_eq!(
            answer["event"], "pusher_internal:subscription_succeeded",
            "{answer}"
        );
        // From here on nothing may be missing; what was done before has no place here.
        let begun = channel.begun.load(Ordering::SeqCst);
        let mut last = None;
        let mut hear = |frame: &Value| {
            let Some(number) = number(frame) else {
                return last;
            };
            match last {
                None => assert!(
                    done < number && number <= begun + 1,
                    "{number} first, after {done} and before {begun}"
                ),
                Some(last) => assert_eq!(number, last + 1),
            }
            last = Some(number);
            last
        };
        let wanted = (seed + round) % 5;
        let mut heard = 0;
        while heard < wanted && !is_over.load(Ordering::SeqCst) && !is_last {
            hear(&client.next().await);
            heard += 1;
        }
        if is_last {
            let begun = channel.begun.load(Ordering::SeqCst);
            for frame in client.settle().await {
                hear(&frame);
            }
            let mut told = hear(&Value::Null);
            while told.is_some_and(|told| told < begun) {
                told = hear(&client.next().await);
            }
            return;
        }
        if (seed + round).is_multiple_of(7) {
            client = Client::connect(server).await;
            continue;
        }
        client.unsubscribe(&channel.name).await;
        for frame in client.settle().await {
            hear(&frame);
        }
        assert!(client.has_nothing().await, "S-19");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s13_s19_nothing_is_missed_or_repeated_while_inboxes_are_full() {
    if !answers_are_in_order() {
        return;
    }
    let server = Arc::new(Server::with(SETTINGS).await);
    let [is_over, is_silent] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let channels: Vec<_> = (0..CHANNELS)
        .map(|number| {
            Arc::new(Channel {
                name: format!("room-{number}"),
                begun: AtomicU64::new(0),
                done: AtomicU64::new(0),
            })
        })
        .collect();
    let mut publishers = JoinSet::new();
    for channel in &channels {
        let (server, channel, is_silent) = (server.clone(), channel.clone(), is_silent.clone());
        publishers.spawn(async move { publish(&server, &channel, &is_silent).await });
    }
    let mut visitors = JoinSet::new();
    for seed in 0..VISITORS {
        let channel = channels[seed % CHANNELS].clone();
        let (server, is_over) = (server.clone(), is_over.clone());
        visitors.spawn(async move { visit(&server, &channel, &is_over, seed).await });
    }
    tokio::time::sleep(LASTS).await;
    is_over.store(true, Ordering::SeqCst);
    while let Some(ended) = visitors.join_next().await {
        ended.expect("a visitor");
    }
    // Only now: whoever waits for a number must get one.
    is_silent.store(true, Ordering::SeqCst);
    while let Some(ended) = publishers.join_next().await {
        ended.expect("a publisher");
    }
    let inboxes = server.node.directory().inboxes();
    assert!(inboxes.iter().all(|inbox| inbox.fillings() > 0));
    for channel in &channels {
        assert!(channel.done.load(Ordering::Relaxed) > 0);
    }
}
