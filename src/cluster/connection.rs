//! The connection to Redis: one server, a master that Sentinels know, or all masters of a Redis Cluster. Commands and messages
//! share it (RESP 3), and it is watched: what is silent, or isn't a master any more, is lost.
//!
//! What a user of Redis needs to be let in and to do all that is done here, with the prefix `resound`:
//!
//! ```text
//! ACL SETUSER resound on >PASSWORD resetkeys ~resound:* resetchannels &resound:* -@all +@read +@write -@scripting -@dangerous +select +evalsha +script|load +time +publish +subscribe +unsubscribe
//! ```
//!
//! and on a Redis Cluster also `+spublish +ssubscribe +sunsubscribe +cluster|slots`. A user of Sentinels needs
//! `-@all +sentinel|get-master-addr-by-name`.

mod backoff;
mod failure;
mod link;
mod masters;
mod pushes;
mod sentinel;
mod servers;
mod slots;

use std::{sync::Arc, time::Duration};

use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value, aio::ConnectionLike, cmd};

use super::scripts::Scripts;
use link::Task;
pub use {
    backoff::Backoff,
    link::Link,
    masters::Masters,
    pushes::{INBOUND_BYTES_MAX, Inbound, Push, Pushes, Text},
    servers::{Access, NotAServer, Password, Place, Seeds, Sentinels, Server, Servers, Tls},
};

/// How long Redis may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// for each of: finding the address of a name, connecting, TLS
    pub connect: Duration,
    /// until the answer to a command
    pub answer: Duration,
}

/// A connection that stands; cheap to clone.
#[derive(Clone)]
pub enum Connection {
    One(Link),
    Cluster(Masters),
}

impl Connection {
    /// Connects, and has the scripts loaded. Errors are sentences, without secrets.
    pub async fn open(
        servers: &Servers,
        patience: Patience,
        pushes: impl Into<Pushes>,
        scripts: &Scripts,
    ) -> RedisResult<Connection> {
        let pushes = pushes.into();
        let mut connection = match servers {
            Servers::One(server) => Connection::One(one(server, patience, &pushes).await?),
            Servers::Sentinels(sentinels) => {
                Connection::One(sentinel::open(sentinels, patience, &pushes).await?)
            }
            Servers::Cluster(seeds) => {
                Connection::Cluster(Masters::open(seeds, patience, &pushes).await?)
            }
        };
        if let Err(error) = connection.load(scripts).await {
            return Err(failure::failure(format!(
                "Redis doesn't take the scripts: {error}"
            )));
        }
        let watch = tokio::spawn(watch(connection.clone(), patience, pushes));
        let watch = Arc::new(Task(watch));
        Ok(match connection {
            Connection::One(link) => Connection::One(link.watched(watch)),
            Connection::Cluster(masters) => Connection::Cluster(masters.watched(watch)),
        })
    }

    /// Has the server keep the scripts; each server of a Redis Cluster.
    async fn load(&mut self, scripts: &Scripts) -> RedisResult<()> {
        for script in scripts.all() {
            match self {
                Connection::One(link) => script.load_async(link).await?,
                Connection::Cluster(masters) => script.load_async(masters).await?,
            };
        }
        Ok(())
    }

    /// Whether this is a Redis Cluster, where everything of one command must be in one slot.
    pub fn is_cluster(&self) -> bool {
        matches!(self, Connection::Cluster(_))
    }

    /// The answers, in order, each for itself. On a Redis Cluster each command goes to the master of its key, and those of
    /// different masters run in no order.
    ///
    /// Fails as a whole if there is no answer in time, or what was asked isn't the right server any more: then it is unknown
    /// what has been done.
    pub async fn call(&mut self, pipe: &mut Pipeline) -> RedisResult<Vec<RedisResult<Value>>> {
        pipe.ignore_errors();
        pipe.query_async(self).await
    }

    pub async fn subscribe(&mut self, topic: &str) -> RedisResult<()> {
        let command = self.listening(topic, true);
        self.order(&command).await
    }

    pub async fn unsubscribe(&mut self, topic: &str) -> RedisResult<()> {
        let command = self.listening(topic, false);
        self.order(&command).await
    }

    /// The command by which this connection begins or stops to be told what is published to the topic, for a batch of many:
    /// its answer says nothing, unless it is an error.
    pub fn listening(&self, topic: &str, listens: bool) -> Cmd {
        let mut command = cmd(match (self, listens) {
            (Connection::One(_), true) => "SUBSCRIBE",
            (Connection::One(_), false) => "UNSUBSCRIBE",
            (Connection::Cluster(_), true) => "SSUBSCRIBE",
            (Connection::Cluster(_), false) => "SUNSUBSCRIBE",
        });
        command.arg(topic);
        command
    }

    /// Ends it at once, whoever has a clone of it: nothing of what it was asked reaches Redis later than what the next one asks.
    pub fn cut(&self) {
        match self {
            Connection::One(link) => link.cut(),
            Connection::Cluster(masters) => masters.cut(),
        }
    }

    async fn order(&mut self, command: &Cmd) -> RedisResult<()> {
        self.req_packed_command(command).await?.extract_error()?;
        Ok(())
    }

    fn inner(&mut self) -> &mut (dyn ConnectionLike + Send) {
        match self {
            Connection::One(link) => link,
            Connection::Cluster(masters) => masters,
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.inner().req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipe: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.inner().req_packed_commands(pipe, offset, count)
    }

    fn get_db(&self) -> i64 {
        match self {
            Connection::One(link) => link.get_db(),
            Connection::Cluster(masters) => masters.get_db(),
        }
    }
}

async fn one(server: &Server, patience: Patience, pushes: &Pushes) -> RedisResult<Link> {
    let Server { place, access } = server;
    let mut link = Link::open(place, access, patience, Some(pushes.clone())).await?;
    let hello = link.hello().await?;
    let wrong = match hello.mode.as_str() {
        "cluster" => "is part of a Redis Cluster: say so in the settings",
        "sentinel" => "is a Sentinel, not Redis itself: say so in the settings",
        _ if !hello.is_master => "is a replica, which takes no changes: name its master",
        _ => return Ok(link),
    };
    Err(failure::failure(format!("what listens at {place} {wrong}")))
}

/// Looks at each server again and again: one that is silent would otherwise be noticed only by whoever asks it something, and
/// one that was made a replica goes on to tell of messages, but of none that anybody else sees.
async fn watch(mut connection: Connection, patience: Patience, pushes: Pushes) {
    let pause = (patience.answer / 2).clamp(Duration::from_millis(50), Duration::from_secs(5));
    for round in 0_usize.. {
        tokio::time::sleep(pause).await;
        if let Err(error) = look(&mut connection, round).await {
            tracing::info!("the connection to Redis is given up: {error}");
            return pushes.lose();
        }
    }
}

async fn look(connection: &mut Connection, round: usize) -> RedisResult<()> {
    let links = match connection {
        Connection::One(link) => std::slice::from_mut(link),
        Connection::Cluster(masters) => masters.links(),
    };
    let looks = links.iter_mut().map(async |link| match link.hello().await {
        Ok(hello) if !hello.is_master => Err(failure::failure(format!(
            "{} isn't a master any more",
            link.place()
        ))),
        other => other.map(drop),
    });
    futures_util::future::try_join_all(looks).await?;
    if let Connection::Cluster(masters) = connection
        && !masters.is_map_true(round).await?
    {
        return Err(failure::failure("slots of the Redis Cluster have moved"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
