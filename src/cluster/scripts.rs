//! The Lua scripts, with types: what each is given, and what it answers. One script is one atomic step for everybody.

use std::time::{Duration, Instant};

use redis::{FromRedisValue, Pipeline, RedisError, RedisResult, Script, ScriptInvocation, Value};

use super::{
    keys::ChannelKeys,
    messages,
    terms::{Happening, Joined, Kept, Left, Open, Published, Registered, Telling, Wanted},
};
use crate::frame::Frame;

/// The scripts, prepared; the same for every channel.
pub struct Scripts {
    join: Script,
    leave: Script,
    publish: Script,
    register: Script,
    online: Script,
    count: Script,
    claim: Script,
    /// `PUBLISH`, or `SPUBLISH` on a Redis Cluster
    publish_command: &'static str,
    history: History,
    /// how long members whom Redis has lost stay on the list for a node to say that it has them
    doubt: Duration,
}

/// Which channel, and for which node.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    pub keys: &'a ChannelKeys,
    pub node: &'a str,
}

/// What is remembered of each channel, for nodes whose connection to Redis was away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// 0 = nothing
    pub events_max: u32,
    /// from the last event on
    pub age_max: Duration,
}

impl History {
    pub const NONE: History = History {
        events_max: 0,
        age_max: Duration::ZERO,
    };

    fn age_ms(self) -> u64 {
        milliseconds(self.age_max)
    }
}

/// An event as the script is given it.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// as in [`wire`](super::wire)
    pub kind: &'a str,
    /// of [`event_head`](super::wire::event_head)
    pub head: &'a str,
    pub body: &'a [u8],
    /// for how long a cache channel keeps it; 0 = not
    pub cached_ms: u64,
    /// it has waited while Redis was away
    pub is_late: bool,
}

/// What comes of a call for those who want to know what happens: it is written down until it is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct News<'a> {
    /// `NODE.NUMBER`, which no other news ever have; empty = nobody wants to know
    pub name: &'a str,
    pub remembered_ms: u64,
    /// the news that somebody left wait for a return
    pub is_held: bool,
}

/// Who a subscription on a presence channel is.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    pub user_id: &'a str,
    /// what the others are told of it, and what is kept
    pub text: &'a str,
}

/// A subscription that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Joining<'a> {
    /// on a presence channel
    pub member: Option<Member<'a>>,
    /// 0 = no limit
    pub members_max: u32,
    pub tell_count: bool,
    pub wanted: Wanted,
}

/// What a channel looks like to a node that registers what it has.
#[derive(Clone, Copy, Debug)]
pub struct Holding<'a> {
    pub subscriptions: u32,
    /// the highest sequence that subscribers of the node were given
    pub seen: u64,
    /// everything up to this sequence was heard, and so many events; 0 = nothing
    pub heard: (u64, u64),
    /// the life of the channel that the node knows; 0 = none
    pub life: u64,
    pub members: &'a [Present<'a>],
    /// who was there, if Redis is known to have lost the channel
    pub lost: Option<Lost<'a>>,
}

impl Holding<'_> {
    pub const NOTHING: Holding<'static> = Holding {
        subscriptions: 0,
        seen: 0,
        heard: (0, 0),
        life: 0,
        members: &[],
        lost: None,
    };
}

/// Somebody with connections to the node.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    pub member: Member<'a>,
    pub connections: u32,
    /// said something else of itself while Redis was away: nobody else knows better
    pub is_latest: bool,
}

/// What Redis had of a channel, as far as a node knows.
#[derive(Clone, Copy, Debug)]
pub struct Lost<'a> {
    pub members: &'a [Member<'a>],
    pub count: Option<u32>,
    pub cached: Option<&'a Kept>,
}

impl Scripts {
    pub fn new(is_cluster: bool, history: History) -> Scripts {
        Scripts {
            join: Script::new(include_str!("scripts/join.lua")),
            leave: Script::new(include_str!("scripts/leave.lua")),
            publish: Script::new(include_str!("scripts/publish.lua")),
            register: Script::new(include_str!("scripts/register.lua")),
            online: Script::new(include_str!("scripts/online.lua")),
            count: Script::new(include_str!("scripts/count.lua")),
            claim: Script::new(include_str!("scripts/claim.lua")),
            publish_command: if is_cluster { "SPUBLISH" } else { "PUBLISH" },
            history,
            doubt: Duration::ZERO,
        }
    }

    /// `doubt`: how long members whom Redis has lost stay on the list for a node to say that it has them.
    pub fn with_doubt(self, doubt: Duration) -> Scripts {
        Scripts { doubt, ..self }
    }

    /// All of them: calls need that the server keeps them.
    pub fn all(&self) -> [&Script; 7] {
        [
            &self.join,
            &self.leave,
            &self.publish,
            &self.register,
            &self.online,
            &self.count,
            &self.claim,
        ]
    }

    /// Answered with [`Joined`].
    pub fn join(&self, pipe: &mut Pipeline, at: At<'_>, joining: Joining<'_>, news: News<'_>) {
        let member = joining.member;
        let (user_id, text) = member.map_or(("", ""), |member| (member.user_id, member.text));
        let mut call = self.join.prepare_invoke();
        call.key(&at.keys.state)
            .key(&at.keys.connections)
            .key(&at.keys.members)
            .key(&at.keys.cached)
            .key(&at.keys.held)
            .key(&at.keys.users_state);
        self.begin(&mut call, at)
            .arg(user_id)
            .arg(text)
            .arg(joining.members_max)
            .arg(u8::from(joining.tell_count))
            .arg(joining.wanted as u8)
            .arg(news.name)
            .arg(news.remembered_ms)
            .arg(u8::from(news.is_held));
        pipe.invoke_script(&call);
    }

    /// Answered with [`Left`].
    pub fn leave(
        &self,
        pipe: &mut Pipeline,
        at: At<'_>,
        user_id: Option<&str>,
        tell_count: bool,
        news: News<'_>,
    ) {
        let mut call = self.leave.prepare_invoke();
        call.key(&at.keys.state)
            .key(&at.keys.connections)
            .key(&at.keys.members)
            .key(&at.keys.held)
            .key(&at.keys.history);
        self.begin(&mut call, at)
            .arg(user_id.unwrap_or_default())
            .arg(u8::from(tell_count))
            .arg(news.name)
            .arg(news.remembered_ms)
            .arg(u8::from(news.is_held));
        pipe.invoke_script(&call);
    }

    /// Answered with [`Published`].
    pub fn publish(&self, pipe: &mut Pipeline, keys: &ChannelKeys, event: Publication<'_>) {
        let mut call = self.publish.prepare_invoke();
        call.key(&keys.state).key(&keys.cached).key(&keys.history);
        call.arg(&keys.topic)
            .arg(self.publish_command)
            .arg(event.kind)
            .arg(event.head)
            .arg(event.body)
            .arg(event.cached_ms)
            .arg(self.history.events_max)
            .arg(self.history.age_ms())
            .arg(u8::from(event.is_late));
        pipe.invoke_script(&call);
    }

    /// Answered with [`Published`]: `None` if it was no news.
    pub fn online(&self, pipe: &mut Pipeline, at: At<'_>, is_online: bool) {
        let mut call = self.online.prepare_invoke();
        call.key(&at.keys.state).key(&at.keys.cached);
        self.begin(&mut call, at).arg(u8::from(is_online));
        pipe.invoke_script(&call);
    }

    /// Answered with [`Published`]: `None` if it was told not long ago, and to be told later if there are subscriptions.
    pub fn count(&self, pipe: &mut Pipeline, at: At<'_>) {
        let mut call = self.count.prepare_invoke();
        call.key(&at.keys.state);
        self.begin(&mut call, at);
        pipe.invoke_script(&call);
    }

    /// Answered with [`Registered`]. `teller`: tells the news of the node.
    pub fn register(
        &self,
        pipe: &mut Pipeline,
        at: At<'_>,
        holding: Holding<'_>,
        tell_count: bool,
        news: News<'_>,
        teller: &str,
    ) {
        let mut call = self.register.prepare_invoke();
        call.key(&at.keys.state)
            .key(&at.keys.connections)
            .key(&at.keys.members)
            .key(&at.keys.cached)
            .key(&at.keys.held)
            .key(&at.keys.history);
        self.begin(&mut call, at)
            .arg(holding.subscriptions)
            .arg(holding.seen)
            .arg(u8::from(tell_count))
            .arg(news.name)
            .arg(news.remembered_ms)
            .arg(holding.heard.0)
            .arg(holding.heard.1)
            .arg(teller)
            .arg(u8::from(news.is_held))
            .arg(holding.life)
            .arg(milliseconds(self.doubt));
        self.add_lost(&mut call, holding.lost);
        for present in holding.members {
            call.arg(present.member.user_id)
                .arg(present.connections)
                .arg(present.member.text)
                .arg(u8::from(present.is_latest));
        }
        pipe.invoke_script(&call);
    }

    fn add_lost(&self, call: &mut ScriptInvocation<'_>, lost: Option<Lost<'_>>) {
        let Some(lost) = lost else {
            call.arg(["", "", "0", ""].as_slice());
            return;
        };
        let now = Instant::now();
        let cached = lost.cached.filter(|kept| kept.until > now);
        call.arg(
            lost.count
                .map(|count| count.to_string())
                .unwrap_or_default(),
        )
        .arg(cached.map_or(&[][..], |kept| kept.frame.payload()))
        .arg(cached.map_or(0, |kept| milliseconds(kept.until - now).max(1)))
        .arg(lost.members.len());
        for member in lost.members {
            call.arg(member.user_id).arg(member.text);
        }
    }

    /// Answered with 1 (tell the news), 0 (don't) or 2 (nothing is known of them).
    pub fn claim(
        &self,
        pipe: &mut Pipeline,
        keys: &ChannelKeys,
        what: &str,
        news: News<'_>,
        teller: &str,
    ) {
        let mut call = self.claim.prepare_invoke();
        call.key(&keys.state).key(&keys.members).key(&keys.held);
        call.arg(what)
            .arg(news.name)
            .arg(teller)
            .arg(news.remembered_ms);
        pipe.invoke_script(&call);
    }

    /// The first arguments of nearly all scripts.
    fn begin<'a, 'b>(
        &self,
        call: &'a mut ScriptInvocation<'b>,
        at: At<'_>,
    ) -> &'a mut ScriptInvocation<'b> {
        call.arg(at.node)
            .arg(&at.keys.topic)
            .arg(self.publish_command)
    }
}

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

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
