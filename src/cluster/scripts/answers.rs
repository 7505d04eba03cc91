//! What scripts answer, as values of Redis.

use std::time::{Duration, Instant};

use redis::{FromRedisValue, RedisError, RedisResult, Value};

use crate::{
    cluster::{
        messages,
        terms::{Happening, Joined, Kept, Left, Open, Published, Registered, Telling},
    },
    frame::Frame,
};

/// What a script says that isn't one of its answers: another version of it, or another program, wrote to our keys.
fn unexpected(what: &'static str) -> RedisError {
    RedisError::from((redis::ErrorKind::UnexpectedReturnType, what))
}

impl Joined {
    pub fn from_value(value: &Value) -> RedisResult<Joined> {
        let Value::Array(fields) = value else {
            return Err(unexpected("join answers a list"));
        };
        let field = |at: usize| fields.get(at).ok_or(unexpected("join answers more"));
        if text(field(0)?)? == "full" {
            return Ok(Joined::Full);
        }
        Ok(Joined::Yes {
            sequence: number(field(1)?)?,
            subscriptions: count(field(2)?)?,
            is_new_member: count(field(3)?)? == 1,
            told: telling(field(4)?)?,
            is_return: count(field(5)?)? == 1,
            is_members_return: count(field(6)?)? == 1,
            kept: kept(field(7)?, field(8)?)?,
            members: texts(field(9)?)?,
            events: number(field(10)?)?,
            life: number(field(11)?)?,
            doubt: doubt(field(12)?)?,
        })
    }
}

impl Left {
    pub fn from_value(value: &Value) -> RedisResult<Left> {
        match value {
            Value::Array(fields) if fields.len() == 4 => Ok(Left {
                sequence: optional_number(&fields[0])?,
                subscriptions: count(&fields[1])?,
                has_member_left: count(&fields[2])? == 1,
                told: telling(&fields[3])?,
            }),
            _ => Err(unexpected("leave answers four things")),
        }
    }
}

impl Published {
    pub fn from_value(value: &Value) -> RedisResult<Published> {
        match value {
            Value::Array(fields) if fields.len() == 2 => Ok(Published {
                sequence: optional_number(&fields[0])?,
                subscriptions: count(&fields[1])?,
            }),
            _ => Err(unexpected("publish answers two things")),
        }
    }
}

impl Registered {
    /// `None`: Redis has lost the channel.
    pub fn from_value(value: &Value) -> RedisResult<Option<Registered>> {
        let Value::Array(fields) = value else {
            return Err(unexpected("register answers a list"));
        };
        if let [_] = &fields[..] {
            return Ok(None);
        }
        let [
            sequence,
            subscriptions,
            news,
            members,
            missed,
            cached,
            cached_ms,
            events,
            history,
            life,
            doubtful_for,
            doubtful,
            told,
        ] = &fields[..]
        else {
            return Err(unexpected("register answers thirteen things"));
        };
        let mut news: Vec<Open> = texts(news)?.iter().filter_map(|text| open(text)).collect();
        news.sort_by(|a, b| (a.number, &a.happening).cmp(&(b.number, &b.happening)));
        Ok(Some(Registered {
            sequence: optional_number(sequence)?,
            subscriptions: count(subscriptions)?,
            missed: number(missed)?,
            news,
            members: texts(members)?,
            kept: kept(cached, cached_ms)?,
            events: number(events)?,
            // what another version wrote is none of ours
            history: texts(history)?
                .iter()
                .filter_map(|text| messages::understand(text).ok())
                .collect(),
            life: number(life)?,
            doubt: doubt(doubtful_for)?,
            doubtful: texts(doubtful)?,
            told: telling(told)?,
        }))
    }
}

/// News as a registration answers them.
fn open(text: &str) -> Option<Open> {
    let (number, word) = text.get(1..)?.split_once('/')?;
    Some(Open {
        number: number.parse().ok()?,
        happening: Happening::parse(word)?,
        is_held: text.starts_with('h'),
    })
}

fn text(value: &Value) -> RedisResult<String> {
    Ok(String::from_redis_value_ref(value)?)
}

fn texts(value: &Value) -> RedisResult<Vec<String>> {
    Ok(Vec::<String>::from_redis_value_ref(value)?)
}

fn number(value: &Value) -> RedisResult<u64> {
    Ok(u64::from_redis_value_ref(value)?)
}

/// How long it is in doubt who is there; `None`: it isn't.
fn doubt(value: &Value) -> RedisResult<Option<Duration>> {
    let milliseconds = number(value)?;
    Ok((milliseconds > 0).then(|| Duration::from_millis(milliseconds)))
}

fn telling(value: &Value) -> RedisResult<Telling> {
    Ok(match count(value)? {
        0 => Telling::No,
        1 => Telling::Done,
        _ => Telling::Later,
    })
}

/// What a cache channel has. A watched user's being there has no end.
fn kept(text: &Value, kept_ms: &Value) -> RedisResult<Option<Kept>> {
    let Some(text) = Option::<String>::from_redis_value_ref(text)? else {
        return Ok(None);
    };
    let kept_for = Duration::from_millis(count(kept_ms)?.into());
    Ok(Some(Kept {
        frame: Frame::text(&text),
        until: Instant::now() + kept_for,
    }))
}

fn optional_number(value: &Value) -> RedisResult<Option<u64>> {
    Ok(Option::<u64>::from_redis_value_ref(value)?)
}

/// Never negative, whatever a script was made to count.
fn count(value: &Value) -> RedisResult<u32> {
    let number = i64::from_redis_value_ref(value)?;
    Ok(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
}
