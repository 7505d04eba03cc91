//! Calls in the terms of the [`core`](super::core), as scripts; and their answers.

use std::time::Duration;

use redis::{Pipeline, RedisResult, Value};

use super::{
    keys::ChannelKeys,
    rules::Rules,
    scripts::{At, Holding, Joining, Lost, Member, News, Present, Publication, Scripts},
    terms::{Answer, Body, Call, Event, Joined, Left, Published, Registered, Verdict, member_text},
    wire,
};
use crate::protocol::presence::Member as ChannelMember;

/// Beyond the time that news wait and the time until somebody else tells them: nobody asks for them while Redis can't be reached, and
/// none of this is lost by it. What was told is forgotten at once.
const REMEMBERED_LONGER: Duration = Duration::from_secs(3_600);

/// Until a dead node is noticed, and those who take its place and die in the middle of it, one after the other.
const HEARTBEATS_REMEMBERED: u32 = 12;

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// the node
    pub node: &'a str,
    /// the process, as the origin of events
    pub origin: &'a str,
    pub heartbeat: Duration,
}

/// Gives the news that would come of a call by the node of this name.
pub fn with_news<T>(
    node: &str,
    number: u64,
    rules: Rules,
    heartbeat: Duration,
    call: impl FnOnce(News<'_>) -> T,
) -> T {
    if !rules.is_told {
        return call(News::default());
    }
    let wait = rules.hold.unwrap_or_default();
    let remembered = wait + heartbeat * HEARTBEATS_REMEMBERED + REMEMBERED_LONGER;
    call(News {
        name: &format!("{node}.{number}"),
        remembered_ms: u64::try_from(remembered.as_millis()).unwrap_or(u64::MAX),
        is_held: rules.hold.is_some(),
    })
}

/// Puts a call at the end of a batch.
pub fn add(
    scripts: &Scripts,
    pipe: &mut Pipeline,
    keys: &ChannelKeys,
    caller: Caller<'_>,
    call: &Call,
) {
    let Caller {
        node,
        origin,
        heartbeat,
    } = caller;
    let at = At { keys, node };
    match call {
        Call::Join {
            member,
            members_max,
            rules,
            wanted,
            number,
        } => {
            let text = member.as_deref().map(member_text);
            let member = member.as_deref().zip(text.as_deref());
            let member = member.map(|(member, text)| described(member, text));
            with_news(node, *number, *rules, heartbeat, |news| {
                let joining = Joining {
                    member,
                    members_max: *members_max,
                    tell_count: rules.tell_count,
                    wanted: *wanted,
                };
                scripts.join(pipe, at, joining, news);
            });
        }
        Call::Leave {
            user_id,
            rules,
            number,
        } => with_news(node, *number, *rules, heartbeat, |news| {
            scripts.leave(pipe, at, user_id.as_deref(), rules.tell_count, news);
        }),
        Call::Publish {
            number,
            event,
            is_late,
        } => with_publication(origin, *number, event, *is_late, |event| {
            scripts.publish(pipe, keys, event);
        }),
        Call::Register {
            subscriptions,
            seen,
            heard,
            life,
            members,
            lost,
            rules,
            number,
        } => {
            let texts: Vec<String> = members.iter().map(|p| member_text(&p.member)).collect();
            let present = members.iter().zip(&texts).map(|(present, text)| Present {
                member: described(&present.member, text),
                connections: present.connections,
                is_latest: present.is_latest,
            });
            let were_there = lost.iter().flat_map(|lost| &lost.members);
            let texts: Vec<String> = were_there.clone().map(|m| member_text(m)).collect();
            let were_there = were_there.zip(&texts).map(|(m, text)| described(m, text));
            let were_there: Vec<Member<'_>> = were_there.collect();
            let holding = Holding {
                subscriptions: *subscriptions,
                seen: *seen,
                heard: *heard,
                life: *life,
                members: &present.collect::<Vec<_>>(),
                lost: lost.as_ref().map(|lost| Lost {
                    members: &were_there,
                    count: lost.count,
                    cached: lost.cached.as_ref(),
                }),
            };
            with_news(node, *number, *rules, heartbeat, |news| {
                scripts.register(pipe, at, holding, rules.tell_count, news, node);
            });
        }
        Call::Online(is_online) => scripts.online(pipe, at, *is_online),
        Call::Count => scripts.count(pipe, at),
    }
}

fn described<'a>(member: &'a ChannelMember, text: &'a str) -> Member<'a> {
    Member {
        user_id: &member.user_id,
        text,
    }
}

fn with_publication(
    origin: &str,
    number: u64,
    event: &Event,
    is_late: bool,
    call: impl FnOnce(Publication<'_>),
) {
    let cached_ms = event.cached_for.map_or(0, |ttl| ttl.as_millis());
    let cached_ms = u64::try_from(cached_ms).unwrap_or(u64::MAX);
    call(Publication {
        kind: match event.body {
            Body::Frame(_) => "!",
            Body::Close => "x",
        },
        head: &wire::event_head(origin, number, event.except, cached_ms),
        body: event.payload(),
        cached_ms,
        is_late,
    });
}

/// The answers to a batch.
pub fn answers(calls: &[Call], values: Vec<RedisResult<Value>>) -> RedisResult<Vec<Answer>> {
    if calls.len() != values.len() {
        let kind = redis::ErrorKind::UnexpectedReturnType;
        return Err((kind, "not as many answers as calls").into());
    }
    let pairs = calls.iter().zip(values);
    pairs.map(|(call, value)| answer(call, &value?)).collect()
}

/// What became of each call, if some were answered with an error.
pub fn verdicts(values: &[RedisResult<Value>]) -> Vec<Verdict> {
    let verdict = |value: &RedisResult<Value>| match value {
        Ok(_) => Verdict::Taken,
        // Redis says so before it lets a script write anything, or at its first write.
        Err(error) if error.code().is_some() => Verdict::Refused,
        Err(_) => Verdict::Unknown,
    };
    values.iter().map(verdict).collect()
}

/// The answer to one call.
pub fn answer(call: &Call, value: &Value) -> RedisResult<Answer> {
    Ok(match call {
        Call::Join { .. } => Answer::Joined(Joined::from_value(value)?),
        Call::Leave { .. } => Answer::Left(Left::from_value(value)?),
        Call::Publish { .. } | Call::Online(_) | Call::Count => {
            Answer::Published(Published::from_value(value)?)
        }
        Call::Register { .. } => match Registered::from_value(value)? {
            Some(registered) => Answer::Registered(registered),
            None => Answer::Lost,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_remembered_for_longer_than_redis_is_away() {
        let rules = Rules {
            is_told: true,
            ..Rules::default()
        };
        let check = |rules: Rules| {
            let remembered = |news: News<'_>| news.remembered_ms;
            with_news("a", 1, rules, Duration::from_secs(5), remembered)
        };
        assert!(Duration::from_millis(check(rules)) > Duration::from_secs(3_600));
        assert_eq!(check(Rules::default()), 0);
    }
}
