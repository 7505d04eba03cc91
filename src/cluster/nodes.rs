//! Which nodes there are, what they have, and what becomes of what a dead one had.

use std::{sync::LazyLock, time::Duration};

use redis::{Pipeline, RedisResult, Script, cmd};

use super::{
    connection::Connection,
    driver::channel_name,
    keys::Keys,
    scripts::{Holding, Scripts},
};
use crate::protocol::channel::ChannelName;

/// Signs of life that may be missing.
const BEATS: u32 = 3;

static BEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/beat.lua")));

/// What a sign of life is answered with.
#[derive(Debug)]
pub struct Beat {
    /// the others have taken this node for dead
    pub was_forgotten: bool,
    pub dead: Vec<String>,
}

/// A name that no node ever had.
pub fn new_name() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// Gives a sign of life, the first one for a new name.
pub async fn beat(
    connection: &mut Connection,
    keys: &Keys,
    node: &str,
    heartbeat: Duration,
    is_first: bool,
) -> RedisResult<Beat> {
    let dead_after_ms = u64::try_from((heartbeat * BEATS).as_millis()).unwrap_or(u64::MAX);
    let mut call = BEAT.key(keys.nodes());
    call.arg(node).arg(dead_after_ms).arg(u8::from(is_first));
    let answer: Vec<String> = match connection {
        Connection::One(connection) => call.invoke_async(connection).await?,
        Connection::Cluster(connection) => call.invoke_async(connection).await?,
    };
    let mut answer = answer.into_iter();
    Ok(Beat {
        was_forgotten: answer.next().as_deref() == Some("1"),
        dead: answer.collect(),
    })
}

/// The channels of an app that this node has subscribers of, by name and node.
fn index_entry(channel: &ChannelName, node: &str) -> String {
    format!("{}\0{node}", channel.as_str())
}

/// Writes down that this node has subscribers of a channel and listens to it; or has none any more, and stops.
pub async fn note_channel(
    connection: &mut Connection,
    keys: &Keys,
    node: &str,
    app_id: &str,
    channel: &ChannelName,
    topic: &str,
    listens: bool,
) -> RedisResult<()> {
    let entry = index_entry(channel, node);
    let (on_node, of_app) = (keys.channels_on(node), keys.channels_of(app_id));
    if listens {
        run(connection, "SADD", &[&on_node, topic]).await?;
        run(connection, "ZADD", &[&of_app, "0", &entry]).await?;
        return connection.subscribe(topic).await;
    }
    connection.unsubscribe(topic).await?;
    run(connection, "ZREM", &[&of_app, &entry]).await?;
    run(connection, "SREM", &[&on_node, topic]).await
}

async fn run(connection: &mut Connection, name: &str, arguments: &[&str]) -> RedisResult<()> {
    let mut command = cmd(name);
    command.arg(arguments);
    match connection {
        Connection::One(connection) => command.query_async(connection).await,
        Connection::Cluster(connection) => command.query_async(connection).await,
    }
}

/// Takes away all that a node has. Whoever does it twice does nothing the second time.
pub async fn sweep(
    connection: &mut Connection,
    keys: &Keys,
    scripts: &Scripts,
    node: &str,
) -> RedisResult<()> {
    let on_node = keys.channels_on(node);
    let mut list = cmd("SMEMBERS");
    list.arg(&on_node);
    let topics: Vec<String> = match connection {
        Connection::One(connection) => list.query_async(connection).await?,
        Connection::Cluster(connection) => list.query_async(connection).await?,
    };
    for topic in &topics {
        let named = keys.parse_topic(topic);
        let Some((app_id, channel)) =
            named.and_then(|(app_id, name)| Some((app_id, channel_name(name)?)))
        else {
            continue;
        };
        let nothing = Holding {
            subscriptions: 0,
            seen: 0,
            members: &[],
        };
        let mut pipe = Pipeline::new();
        let names = keys.channel(app_id, &channel);
        scripts.register(&mut pipe, &names, node, nothing, true);
        for answer in connection.call(&mut pipe).await? {
            answer?;
        }
        let entry = index_entry(&channel, node);
        run(connection, "ZREM", &[&keys.channels_of(app_id), &entry]).await?;
    }
    run(connection, "DEL", &[&on_node]).await?;
    run(connection, "ZREM", &[&keys.nodes(), node]).await
}
