//! The connection to Redis: one server, a master that Sentinels know, or a Redis Cluster. Commands and messages share it (RESP 3).

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, IntoConnectionInfo, Pipeline, ProtocolVersion,
    PushInfo, PushKind, RedisConnectionInfo, RedisResult, Value,
    aio::MultiplexedConnection,
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::sync::mpsc;

use super::scripts::Scripts;

/// Where Redis is.
#[derive(Clone, Debug)]
pub enum Servers {
    /// one URL, `redis://`, `rediss://` or `redis+unix://`
    One(String),
    /// URLs of Sentinels, and the name they know the master by; user, password and database are the master's
    Sentinels {
        urls: Vec<String>,
        name: String,
        master: Box<RedisConnectionInfo>,
        is_tls: bool,
    },
    /// URLs of some nodes of a Redis Cluster
    Cluster(Vec<String>),
}

/// How long Redis may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub connect: Duration,
    pub answer: Duration,
}

/// A connection that stands; cheap to clone.
#[derive(Clone)]
pub enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// What a connection tells without being asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Push {
    Message { topic: String, text: String },
    /// the connection, or one to a node of the cluster, is gone, or a slot with topics of ours has moved: messages may have been missed
    Lost,
    /// more messages came than could be taken
    Overrun,
}

/// Takes what is pushed, up to so many.
type Pushes = mpsc::Sender<Push>;

impl Connection {
    /// Connects, and has the scripts loaded.
    pub async fn open(
        servers: &Servers,
        patience: Patience,
        pushes: Pushes,
        scripts: &Scripts,
    ) -> RedisResult<Connection> {
        let mut connection = match servers {
            Servers::One(url) => one(Client::open(url.as_str())?, patience, pushes).await?,
            Servers::Sentinels { .. } => {
                let client = sentinels(servers)?.async_get_client().await?;
                one(client, patience, pushes).await?
            }
            Servers::Cluster(urls) => {
                let client = ClusterClientBuilder::new(urls.iter().map(String::as_str))
                    .use_protocol(ProtocolVersion::RESP3)
                    .connection_timeout(patience.connect)
                    .response_timeout(patience.answer)
                    .push_sender(move |info| take(&pushes, info))
                    .build()?;
                Connection::Cluster(client.get_async_connection().await?)
            }
        };
        scripts.load_into(&mut connection).await?;
        Ok(connection)
    }

    /// Whether this is a Redis Cluster, where everything of one command must be in one slot.
    pub fn is_cluster(&self) -> bool {
        matches!(self, Connection::Cluster(_))
    }

    /// The answers, in order, each for itself.
    pub async fn call(&mut self, pipe: &mut Pipeline) -> RedisResult<Vec<RedisResult<Value>>> {
        pipe.ignore_errors();
        match self {
            Connection::One(connection) => pipe.query_async(connection).await,
            Connection::Cluster(connection) => pipe.query_async(connection).await,
        }
    }

    pub async fn subscribe(&mut self, topic: &str) -> RedisResult<()> {
        match self {
            Connection::One(connection) => connection.subscribe(topic).await,
            Connection::Cluster(connection) => connection.ssubscribe(topic).await,
        }
    }

    pub async fn unsubscribe(&mut self, topic: &str) -> RedisResult<()> {
        match self {
            Connection::One(connection) => connection.unsubscribe(topic).await,
            Connection::Cluster(connection) => connection.sunsubscribe(topic).await,
        }
    }
}
