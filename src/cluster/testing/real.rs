//! The scripts, and nodes, on a real Redis. Needs `redis-server`.

mod caller;
mod drivers;
mod like_model;
mod node;
mod scripts;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{PATIENCE, RedisServer};
use crate::{
    cluster::{
        scripts::History,
        terms::{Body, Event},
    },
    frame::Frame,
    hub::inbox::ChannelKey,
    protocol::channel::ChannelName,
};

const HISTORY: History = History {
    events_max: 1_000,
    age_max: PATIENCE,
};

fn key() -> ChannelKey {
    ChannelKey {
        app: 0,
        name: ChannelName::parse("presence-room", 200).expect("a name"),
    }
}

fn event(text: &str) -> Arc<Event> {
    Arc::new(Event {
        body: Body::Frame(Frame::text(text)),
        except: None,
        cached_for: None,
        published: Instant::now(),
    })
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The texts that Redis answers.
fn texts(server: &RedisServer, words: &[&str]) -> Vec<String> {
    redis::from_redis_value(server.order(words)).expect("texts")
}
