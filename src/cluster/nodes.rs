//! Which nodes there are, what they have, and what becomes of what a dead one had.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use redis::{FromRedisValue, Pipeline, RedisResult, Script, ScriptInvocation};

use super::{
    calls::with_news,
    connection::Connection,
    keys::{ChannelKeys, Keys},
    rules::Rules,
    scripts::{At, Holding, Scripts},
    terms::{Open, Registered, Telling},
};
use crate::protocol::channel::ChannelName;

/// Channels of a dead node that are taken from it at once.
const SWEEP_BATCH: usize = 256;

/// Signs of life that may be missing.
pub const BEATS: u32 = 3;

static BEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/beat.lua")));
static FORGET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/forget.lua")));
static WATCHED: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/watched.lua")));

/// What a sign of life is answered with.
#[derive(Debug)]
pub struct Beat {
    /// the others have taken this node for dead
    pub was_forgotten: bool,
    /// names what Redis remembers: another name after it came back empty
    pub life: String,
    /// nodes that give signs of life, this one included
    pub alive: usize,
    /// to be taken away by this node; marked: they will be told that they were forgotten
    pub dead: Vec<String>,
}

/// A name that no node ever had.
pub fn new_name() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// A node that gives a sign of life.
pub struct Living<'a> {
    pub name: &'a str,
    /// what it says of itself
    pub load: &'a str,
    /// the first one by this name
    pub is_first: bool,
    /// What dead nodes have is then taken away. If not, they aren't named.
    pub sweeps: bool,
    /// see [`Beat::life`]; as the node knows it
    pub life: &'a str,
}

/// Gives a sign of life.
pub async fn beat(
    connection: &mut Connection,
    keys: &Keys,
    heartbeat: Duration,
    node: Living<'_>,
) -> RedisResult<Beat> {
    let dead_after_ms = u64::try_from((heartbeat * BEATS).as_millis()).unwrap_or(u64::MAX);
    let mut call = BEAT.key(keys.nodes());
    call.key(keys.loads()).key(keys.life()).key(keys.sweepers());
    call.arg(node.name)
        .arg(dead_after_ms)
        .arg(u8::from(node.is_first))
        .arg(node.load)
        .arg(u8::from(node.sweeps))
        .arg(node.life)
        .arg(new_name());
    let answer: Vec<String> = invoke(connection, &call).await?;
    let mut answer = answer.into_iter();
    Ok(Beat {
        was_forgotten: answer.next().as_deref() == Some("1"),
        life: answer.next().unwrap_or_default(),
        alive: answer.next().and_then(|n| n.parse().ok()).unwrap_or(1),
        dead: answer.collect(),
    })
}

async fn invoke<T: FromRedisValue>(
    connection: &mut Connection,
    call: &ScriptInvocation<'_>,
) -> RedisResult<T> {
    match connection {
        Connection::One(connection) => call.invoke_async(connection).await,
        Connection::Cluster(connection) => call.invoke_async(connection).await,
    }
}

/// The channels of an app that this node has subscribers of, by name and node.
fn index_entry(channel: &ChannelName, node: &str) -> String {
    format!("{}\0{node}", channel.as_str())
}

/// A channel that this node begins or ceases to listen to.
pub struct Topic<'a> {
    pub app_id: &'a str,
    pub channel: &'a ChannelName,
    pub topic: &'a str,
}

/// Writes down that this node has subscribers of these channels, and listens to them.
pub async fn listen(
    connection: &mut Connection,
    keys: &Keys,
    node: &str,
    topics: &[Topic<'_>],
) -> RedisResult<()> {
    let mut pipe = Pipeline::new();
    for topic in topics {
        let entry = index_entry(topic.channel, node);
        pipe.cmd("SADD")
            .arg(keys.channels_on(node))
            .arg(topic.topic);
        pipe.cmd("ZADD")
            .arg(keys.channels_of(topic.app_id))
            .arg(0)
            .arg(entry);
        pipe.add_command(connection.listening(topic.topic, true));
    }
    all(connection, &mut pipe).await
}

/// The counterpart of [`listen`]. `has_news`: of these channels something is still to be told, so whoever takes away what a dead node has
/// must find them.
pub async fn stop_listening(
    connection: &mut Connection,
    keys: &Keys,
    node: &str,
    topics: &[Topic<'_>],
    has_news: bool,
) -> RedisResult<()> {
    let mut pipe = Pipeline::new();
    for topic in topics {
        let entry = index_entry(topic.channel, node);
        pipe.add_command(connection.listening(topic.topic, false));
        pipe.cmd("ZREM")
            .arg(keys.channels_of(topic.app_id))
            .arg(entry);
        if !has_news {
            pipe.cmd("SREM")
                .arg(keys.channels_on(node))
                .arg(topic.topic);
        }
    }
    all(connection, &mut pipe).await
}

/// After [`stop_listening`] with news: they have been told.
pub async fn leave_channels(
    connection: &mut Connection,
    keys: &Keys,
    node: &str,
    topics: &[Topic<'_>],
) -> RedisResult<()> {
    let mut pipe = Pipeline::new();
    let topics: Vec<&str> = topics.iter().map(|topic| topic.topic).collect();
    pipe.cmd("SREM").arg(keys.channels_on(node)).arg(topics);
    all(connection, &mut pipe).await
}

/// News that have been told.
#[derive(Clone, Debug)]
pub struct Told {
    pub keys: Arc<ChannelKeys>,
    /// what they are called
    pub field: String,
}

/// They need not be told any more.
pub async fn forget_news(connection: &mut Connection, told: &[Told]) -> RedisResult<()> {
    let mut pipe = Pipeline::new();
    for of_channel in told.chunk_by(|a, b| a.keys.held == b.keys.held) {
        let fields: Vec<&str> = of_channel.iter().map(|told| told.field.as_str()).collect();
        pipe.cmd("HDEL").arg(&of_channel[0].keys.held).arg(fields);
    }
    all(connection, &mut pipe).await
}

/// Whether it is so that a user, whose channel this is, is there or not, as those who watch him have been told.
pub async fn is_so(
    connection: &mut Connection,
    names: &ChannelKeys,
    is_online: bool,
) -> RedisResult<bool> {
    let mut call = WATCHED.key(&names.state);
    call.key(&names.held).arg(u8::from(is_online));
    invoke(connection, &call).await
}

async fn all(connection: &mut Connection, pipe: &mut Pipeline) -> RedisResult<()> {
    if pipe.is_empty() {
        return Ok(());
    }
    for answer in connection.call(pipe).await? {
        answer?;
    }
    Ok(())
}

/// The answer to a batch of one command.
pub async fn one<T: FromRedisValue>(
    connection: &mut Connection,
    pipe: &mut Pipeline,
) -> RedisResult<T> {
    let answer = connection.call(pipe).await?.pop();
    let missing = || redis::RedisError::from((redis::ErrorKind::UnexpectedReturnType, "no answer"));
    Ok(T::from_redis_value(answer.ok_or_else(missing)??)?)
}

/// Writes down how many connections of some apps this node has.
pub async fn note_connections(
    connection: &mut Connection,
    keys: &Keys,
    node: &str,
    counts: &[(Arc<str>, usize)],
) -> RedisResult<()> {
    let mut pipe = Pipeline::new();
    for (app_id, count) in counts {
        let key = keys.connections_of(app_id);
        match count {
            0 => pipe.cmd("HDEL").arg(key).arg(node),
            count => pipe.cmd("HSET").arg(key).arg(node).arg(*count),
        };
    }
    all(connection, &mut pipe).await
}

/// A channel of somebody who is gone, and what is to be told of it.
pub struct Swept {
    pub app_id: String,
    pub channel: ChannelName,
    /// by name of the node that is gone
    pub news: Vec<Open>,
    /// of subscriptions, if that was told to those who are left
    pub count: Option<u32>,
}

/// What a sweep is given.
pub struct Sweep<'a> {
    pub keys: &'a Keys,
    pub scripts: &'a Scripts,
    /// tells what follows
    pub teller: &'a str,
    pub heartbeat: Duration,
    /// ids of apps that may have connections
    pub apps: &'a [Arc<str>],
    pub rules: &'a (dyn Fn(&str, &ChannelName) -> Rules + Send + Sync),
}

/// Takes away all that a node has, on the channels that are written down and on these topics, but for the news that it hasn't told:
/// their channels are answered and stay written down until [`forget`]. Whoever does it twice is answered those that are left.
pub async fn sweep(
    connection: &mut Connection,
    sweep: &Sweep<'_>,
    node: &str,
    more: &[String],
) -> RedisResult<Vec<Swept>> {
    let keys = sweep.keys;
    let mut pipe = Pipeline::new();
    pipe.cmd("SMEMBERS").arg(keys.channels_on(node));
    let mut topics: Vec<String> = one(connection, &mut pipe).await?;
    topics.extend_from_slice(more);
    let mut swept = Vec::new();
    for batch in topics.chunks(SWEEP_BATCH) {
        swept.extend(sweep_channels(connection, sweep, node, batch).await?);
    }
    let mut pipe = Pipeline::new();
    for app_id in sweep.apps {
        pipe.cmd("HDEL").arg(keys.connections_of(app_id)).arg(node);
    }
    all(connection, &mut pipe).await?;
    Ok(swept)
}

/// The end of a node of which nothing is left to take away or tell.
pub async fn forget(connection: &mut Connection, keys: &Keys, node: &str) -> RedisResult<()> {
    let mut pipe = Pipeline::new();
    pipe.cmd("DEL").arg(keys.channels_on(node));
    all(connection, &mut pipe).await?;
    let mut call = FORGET.key(keys.nodes());
    call.key(keys.loads())
        .key(keys.life())
        .key(keys.sweepers())
        .arg(node);
    invoke(connection, &call).await
}

/// This node goes, and others are to tell its news: they find it dead with their next sign of life.
pub async fn hand_over(connection: &mut Connection, keys: &Keys, node: &str) -> RedisResult<()> {
    let mut pipe = Pipeline::new();
    pipe.cmd("ZSCORE").arg(keys.nodes()).arg(node);
    let Some(score) = one::<Option<f64>>(connection, &mut pipe).await? else {
        return Ok(());
    };
    let mut pipe = Pipeline::new();
    pipe.cmd("ZADD")
        .arg(keys.nodes())
        .arg("XX")
        .arg(format!("{:.0}", -score.abs()))
        .arg(node);
    all(connection, &mut pipe).await
}

async fn sweep_channels(
    connection: &mut Connection,
    sweep: &Sweep<'_>,
    node: &str,
    topics: &[String],
) -> RedisResult<Vec<Swept>> {
    let keys = sweep.keys;
    let mut pipe = Pipeline::new();
    let mut channels = Vec::new();
    for topic in topics {
        let Some((app_id, channel)) = keys.parse_topic(topic) else {
            continue;
        };
        let names = keys.channel(app_id, &channel);
        let at = At { keys: &names, node };
        let rules = (sweep.rules)(app_id, &channel);
        // not one that the node itself has given
        let number = rand::random::<u64>() | 1 << 63;
        with_news(node, number, rules, sweep.heartbeat, |news| {
            let scripts = sweep.scripts;
            let (tell_count, teller) = (rules.tell_count, sweep.teller);
            scripts.register(&mut pipe, at, Holding::default(), tell_count, news, teller);
        });
        pipe.cmd("ZREM")
            .arg(keys.channels_of(app_id))
            .arg(index_entry(&channel, node));
        channels.push((app_id, channel, topic));
    }
    if channels.is_empty() {
        return Ok(Vec::new());
    }
    let answers = connection.call(&mut pipe).await?;
    let mut answers = answers.into_iter().step_by(2);
    let (mut swept, mut done) = (Vec::new(), Vec::new());
    for (app_id, channel, topic) in channels {
        let Some(answer) = answers.next() else { break };
        // who has nothing isn't asked what was there
        let Some(registered) = Registered::from_value(&answer?)? else {
            continue;
        };
        if registered.news.is_empty() {
            done.push(topic);
        }
        let is_counted = registered.told == Telling::Done;
        let count = is_counted.then_some(registered.subscriptions);
        if count.is_some() || !registered.news.is_empty() {
            swept.push(Swept {
                app_id: app_id.to_owned(),
                channel,
                news: registered.news,
                count,
            });
        }
    }
    // whoever goes on after this one begins behind them
    if !done.is_empty() {
        let mut pipe = Pipeline::new();
        pipe.cmd("SREM").arg(keys.channels_on(node)).arg(done);
        all(connection, &mut pipe).await?;
    }
    Ok(swept)
}
