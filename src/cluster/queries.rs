//! What the HTTP API asks about channels: answered by Redis, for the whole cluster; while it is away, with what this node knows.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{FromRedisValue, Pipeline, RedisResult, Value};

use super::{
    connection::Connection,
    core::Core,
    keys::{Keys, channel_name},
    terms::View,
};
use crate::{
    directory::{Cached, Occupancy},
    hub::inbox::ChannelKey,
    protocol::{channel::ChannelName, event::EventData},
};

/// Channels whose numbers are asked for in one batch.
const BATCH: usize = 1_000;

/// What is asked about an app.
#[derive(Clone, Debug)]
pub struct Query {
    pub app_id: Arc<str>,
    /// [`App::index`](crate::apps::App::index)
    pub app: u32,
    pub question: Question,
}

#[derive(Clone, Debug)]
pub enum Question {
    /// who is on these channels
    Occupancy(Vec<ChannelName>),
    /// occupied channels that begin so
    Channels(String),
    /// the members of a channel
    Users(ChannelName),
    /// who is on a channel, and its cached event
    Show(ChannelName),
    /// open connections on other nodes
    Connections,
}

/// The answer, of the question's kind.
#[derive(Debug)]
pub enum Found {
    Occupancy(Vec<Occupancy>),
    Channels(Vec<(ChannelName, Occupancy)>),
    Users(Vec<Arc<str>>),
    Show(Occupancy, Option<Cached>),
    Connections(usize),
}

/// The cluster's answer. `node`: this one.
pub async fn ask(
    query: &Query,
    connection: &mut Connection,
    keys: &Keys,
    node: &str,
) -> RedisResult<Found> {
    let app_id = &query.app_id;
    Ok(match &query.question {
        Question::Occupancy(channels) => {
            Found::Occupancy(occupancy(connection, keys, app_id, channels).await?)
        }
        Question::Channels(prefix) => {
            let names = names(connection, keys, app_id, prefix).await?;
            let mut found = Vec::with_capacity(names.len());
            for batch in names.chunks(BATCH) {
                let counts = occupancy(connection, keys, app_id, batch).await?;
                found.extend(batch.iter().cloned().zip(counts));
            }
            // who comes is written down a little before it counts
            found.retain(|(_, occupancy)| occupancy.subscription_count > 0);
            Found::Channels(found)
        }
        Question::Users(channel) => Found::Users(users(connection, keys, app_id, channel).await?),
        Question::Show(channel) => {
            let (occupancy, cached) = show(connection, keys, app_id, channel).await?;
            Found::Show(occupancy, cached)
        }
        Question::Connections => {
            Found::Connections(connections(connection, keys, app_id, node).await?)
        }
    })
}

/// What this node knows.
pub fn ask_alone(query: &Query, core: &Core) -> Found {
    let key = |name: &ChannelName| ChannelKey {
        app: query.app,
        name: name.clone(),
    };
    let on = |name: &ChannelName| core.view(&key(name));
    match &query.question {
        Question::Occupancy(channels) => {
            Found::Occupancy(channels.iter().map(|name| here(on(name))).collect())
        }
        Question::Channels(prefix) => {
            let of_app = core.channels().filter(|(key, _)| {
                key.app == query.app
                    && key.name.as_str().starts_with(prefix)
                    && !key.name.is_internal()
            });
            let found = of_app.map(|(key, view)| (key.name.clone(), here(Some(view))));
            Found::Channels(found.collect())
        }
        Question::Users(channel) => Found::Users(
            on(channel).map_or_else(Vec::new, |view| view.members.keys().cloned().collect()),
        ),
        Question::Show(channel) => {
            let view = on(channel);
            let kept = view.as_ref().and_then(|view| view.cached);
            let cached = kept.and_then(|kept| {
                let text = std::str::from_utf8(kept.frame.payload()).ok()?;
                cached(text, kept.until.checked_duration_since(Instant::now())?)
            });
            Found::Show(here(view), cached)
        }
        Question::Connections => Found::Connections(0),
    }
}

fn here(view: Option<View<'_>>) -> Occupancy {
    view.map_or_else(Occupancy::default, |view| Occupancy {
        subscription_count: view.subscriptions,
        user_count: u32::try_from(view.members.len()).unwrap_or(u32::MAX),
    })
}

async fn occupancy(
    connection: &mut Connection,
    keys: &Keys,
    app_id: &str,
    channels: &[ChannelName],
) -> RedisResult<Vec<Occupancy>> {
    let mut pipe = Pipeline::new();
    for channel in channels {
        let names = keys.channel(app_id, channel);
        pipe.cmd("HGET").arg(names.state).arg("total");
        pipe.cmd("HLEN").arg(names.members);
    }
    if channels.is_empty() {
        return Ok(Vec::new());
    }
    let values = connection.call(&mut pipe).await?;
    let values = values.into_iter().collect::<RedisResult<Vec<Value>>>()?;
    let pairs = values.chunks_exact(2);
    pairs.map(|pair| counts(&pair[0], &pair[1])).collect()
}

fn counts(total: &Value, users: &Value) -> RedisResult<Occupancy> {
    let total = Option::<u32>::from_redis_value_ref(total)?;
    Ok(Occupancy {
        subscription_count: total.unwrap_or(0),
        user_count: u32::from_redis_value_ref(users)?,
    })
}

/// Channels that any node has subscribers of. Their entries are in the order of their bytes, so a prefix is a range.
async fn names(
    connection: &mut Connection,
    keys: &Keys,
    app_id: &str,
    prefix: &str,
) -> RedisResult<Vec<ChannelName>> {
    let mut from = b"[".to_vec();
    from.extend_from_slice(prefix.as_bytes());
    // no text has this byte
    let mut to = b"(".to_vec();
    to.extend_from_slice(prefix.as_bytes());
    to.push(0xff);
    let mut pipe = Pipeline::new();
    pipe.cmd("ZRANGEBYLEX")
        .arg(keys.channels_of(app_id))
        .arg(from)
        .arg(to);
    let [value] = answers(connection, &mut pipe).await?;
    let entries = Vec::<String>::from_redis_value_ref(&value)?;
    let mut names: Vec<&str> = entries
        .iter()
        .filter_map(|entry| Some(entry.split_once('\0')?.0))
        .collect();
    // a channel has an entry for each of its nodes
    names.dedup();
    let names = names.into_iter().filter_map(channel_name);
    Ok(names.filter(|name| !name.is_internal()).collect())
}

async fn users(
    connection: &mut Connection,
    keys: &Keys,
    app_id: &str,
    channel: &ChannelName,
) -> RedisResult<Vec<Arc<str>>> {
    let mut pipe = Pipeline::new();
    pipe.cmd("HKEYS").arg(keys.channel(app_id, channel).members);
    let [value] = answers(connection, &mut pipe).await?;
    let ids = Vec::<String>::from_redis_value_ref(&value)?;
    Ok(ids.into_iter().map(Arc::from).collect())
}

async fn show(
    connection: &mut Connection,
    keys: &Keys,
    app_id: &str,
    channel: &ChannelName,
) -> RedisResult<(Occupancy, Option<Cached>)> {
    let names = keys.channel(app_id, channel);
    let mut pipe = Pipeline::new();
    pipe.cmd("HGET").arg(names.state).arg("total");
    pipe.cmd("HLEN").arg(names.members);
    pipe.cmd("GET").arg(&names.cached);
    pipe.cmd("PTTL").arg(&names.cached);
    let [total, users, text, ttl_ms] = answers(connection, &mut pipe).await?;
    let text = Option::<String>::from_redis_value_ref(&text)?;
    let ttl_ms = i64::from_redis_value_ref(&ttl_ms)?;
    let ttl = Duration::from_millis(u64::try_from(ttl_ms).unwrap_or(0));
    let cached = text.and_then(|text| cached(&text, ttl));
    Ok((counts(&total, &users)?, cached))
}

/// Open connections of an app on the nodes other than this one.
pub async fn connections(
    connection: &mut Connection,
    keys: &Keys,
    app_id: &str,
    node: &str,
) -> RedisResult<usize> {
    let mut pipe = Pipeline::new();
    pipe.cmd("HGETALL").arg(keys.connections_of(app_id));
    let [value] = answers(connection, &mut pipe).await?;
    let counts = BTreeMap::<String, usize>::from_redis_value_ref(&value)?;
    let others = counts.iter().filter(|(name, _)| *name != node);
    Ok(others.map(|(_, count)| count).sum())
}

/// What the frame of a cached event says.
fn cached(frame: &str, ttl: Duration) -> Option<Cached> {
    #[derive(serde::Deserialize)]
    struct Sent<'a> {
        #[serde(borrow)]
        data: &'a serde_json::value::RawValue,
    }
    let sent: Sent<'_> = serde_json::from_str(frame).ok()?;
    Some(Cached {
        data: EventData::from_json(sent.data).into_owned(),
        ttl_s: u64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(u64::MAX),
    })
}

/// The answers of a batch of as many commands.
async fn answers<const N: usize>(
    connection: &mut Connection,
    pipe: &mut Pipeline,
) -> RedisResult<[Value; N]> {
    let values = connection.call(pipe).await?;
    let values = values.into_iter().collect::<RedisResult<Vec<Value>>>()?;
    values.try_into().map_err(|_| {
        let kind = redis::ErrorKind::UnexpectedReturnType;
        redis::RedisError::from((kind, "not as many answers as questions"))
    })
}
