//! Connections to real servers.

mod cluster;
mod one;
mod sentinel;

use std::time::{Duration, Instant};

use redis::{RedisResult, cmd};
use tokio::sync::mpsc;

use super::{super::testing::*, *};

const NORMAL: Patience = Patience {
    connect: PATIENCE,
    answer: PATIENCE,
};

/// Short enough for a test that waits for it, long enough for a machine that is busy.
const SHORT: Patience = Patience {
    connect: Duration::from_secs(3),
    answer: Duration::from_secs(3),
};

/// A connection, and what it tells.
struct Open {
    connection: Connection,
    pushes: mpsc::Receiver<Push>,
}

async fn open_with(servers: &Servers, patience: Patience) -> RedisResult<Open> {
    let (sender, pushes) = Inbound::default().queue();
    let scripts = Scripts::new(servers.is_cluster(), crate::cluster::scripts::History::NONE);
    let connection = Connection::open(servers, patience, sender, &scripts).await?;
    Ok(Open { connection, pushes })
}

async fn open(servers: &Servers) -> Open {
    let opened = open_with(servers, NORMAL).await;
    opened.unwrap_or_else(|error| panic!("no connection: {error}"))
}

/// As after a loss: again and again until it works.
async fn open_again(servers: &Servers, patience: Patience) -> Open {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match open_with(servers, patience).await {
            Ok(open) => return open,
            Err(error) => assert!(Instant::now() < deadline, "no connection: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Why there is no connection.
async fn refusal(servers: &Servers, patience: Patience) -> String {
    match open_with(servers, patience).await {
        Ok(_) => "there is a connection".to_owned(),
        Err(error) => error.to_string(),
    }
}

impl Open {
    /// What the next push is, within reason.
    async fn next(&mut self) -> Option<(String, String)> {
        let push = tokio::time::timeout(PATIENCE, self.pushes.recv()).await;
        match push.expect("a push") {
            Some(Push::Message { topic, text }) => Some((topic, text.to_string())),
            Some(Push::Lost) | None => None,
        }
    }

    /// Skips messages.
    async fn until_lost(&mut self) {
        while self.next().await.is_some() {}
    }

    /// Publishes as the scripts do, by one: the topic and the key are in one slot.
    async fn publish(&mut self, topic: &str, text: &str) -> RedisResult<()> {
        let publish = match self.connection.is_cluster() {
            true => "return redis.call('SPUBLISH', ARGV[1], ARGV[2])",
            false => "return redis.call('PUBLISH', ARGV[1], ARGV[2])",
        };
        let mut command = cmd("EVAL");
        command.arg(publish).arg(1).arg(topic).arg(topic).arg(text);
        let _: i64 = command.query_async(&mut self.connection).await?;
        Ok(())
    }

    /// Writes, listens and is told.
    async fn works(&mut self) {
        let topic = "resound:{7:works}";
        let connection = &mut self.connection;
        let set = cmd("HSET").arg(topic).arg(&["a", "b"]).to_owned();
        let _: i64 = set.query_async(connection).await.expect("written");
        connection.subscribe(topic).await.expect("subscribed");
        self.publish(topic, "hello").await.expect("published");
        let told = self.next().await.expect("a message");
        assert_eq!(told, (topic.to_owned(), "hello".to_owned()));
        let left = self.connection.unsubscribe(topic).await;
        left.expect("unsubscribed");
    }
}
