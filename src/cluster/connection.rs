//! The connection to Redis: one server, a master that Sentinels know, or a Redis Cluster. Commands and messages share it (RESP 3).

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, Pipeline, ProtocolVersion, PushInfo,
    PushKind, RedisConnectionInfo, RedisResult, Value,
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
    Message {
        topic: String,
        text: String,
    },
    /// the connection, or one to a node of the cluster, is gone, or a slot with topics of ours has moved: messages may have been missed
    Lost,
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

async fn one(client: Client, patience: Patience, pushes: Pushes) -> RedisResult<Connection> {
    let info = client.get_connection_info().clone();
    let redis = info.redis_settings().clone();
    let info = info.set_redis_settings(redis.set_protocol(ProtocolVersion::RESP3));
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience.connect))
        .set_response_timeout(Some(patience.answer))
        .set_push_sender(move |info| take(&pushes, info));
    let connection = Client::open(info)?
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    Ok(Connection::One(connection))
}

fn sentinels(servers: &Servers) -> RedisResult<SentinelClient> {
    let Servers::Sentinels {
        urls,
        name,
        master,
        is_tls,
    } = servers
    else {
        return Err((redis::ErrorKind::InvalidClientConfig, "no Sentinels").into());
    };
    let addresses = urls
        .iter()
        .map(|url| Ok(url.as_str().into_connection_info()?.addr().clone()));
    let addresses = addresses.collect::<RedisResult<Vec<_>>>()?;
    let mut builder =
        SentinelClientBuilder::new(addresses, name.clone(), SentinelServerType::Master)?;
    if let Some(username) = master.username() {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = master.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if *is_tls {
        builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
    }
    builder.set_client_to_redis_db(master.db()).build()
}

/// Called by the connection's own task, which must not wait.
fn take(pushes: &Pushes, info: PushInfo) -> Result<(), ()> {
    let push = match info.kind {
        PushKind::Message | PushKind::SMessage => match &info.data[..] {
            [Value::BulkString(topic), Value::BulkString(text)] => {
                match (
                    String::from_utf8(topic.clone()),
                    String::from_utf8(text.clone()),
                ) {
                    (Ok(topic), Ok(text)) => Push::Message { topic, text },
                    // Whoever wrote that isn't one of us.
                    _ => return Ok(()),
                }
            }
            _ => return Ok(()),
        },
        PushKind::Disconnection | PushKind::SUnsubscribe => Push::Lost,
        _ => return Ok(()),
    };
    // A receiver that has gone has another connection; one that is behind finds out by the numbers that are missing.
    let _ = pushes.try_send(push);
    Ok(())
}
