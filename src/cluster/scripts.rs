//! The Lua scripts, with types: what each is given, and what it answers. One script is one atomic step for everybody.

use redis::{FromRedisValue, Pipeline, RedisError, RedisResult, Script, Value};

use super::{connection::Connection, keys::ChannelKeys};

/// The scripts, prepared; the same for every channel.
pub struct Scripts {
    join: Script,
    leave: Script,
    publish: Script,
    register: Script,
    /// `PUBLISH`, or `SPUBLISH` on a Redis Cluster
    publish_command: &'static str,
}

/// Who a subscription on a presence channel is.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    pub user_id: &'a str,
    /// what the others are told of it, and what is kept
    pub text: &'a str,
}

/// What a channel looks like to a node that registers what it has.
#[derive(Clone, Copy, Debug)]
pub struct Holding<'a> {
    pub subscriptions: u32,
    /// the highest sequence the node has seen
    pub seen: u64,
    /// with the number of their connections
    pub members: &'a [(Member<'a>, u32)],
}

/// The answer to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// the channel has as many members as it may
    Full,
    Yes {
        sequence: u64,
        /// in the whole cluster
        subscriptions: u32,
        is_new_member: bool,
        /// everybody, the joiner included, if that was asked for
        members: Vec<String>,
    },
}

/// The answer to a leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// `None`: the node had nothing to take away
    pub sequence: Option<u64>,
    pub subscriptions: u32,
    pub has_member_left: bool,
}

/// The answer to a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// `None`: nobody has subscribed
    pub sequence: Option<u64>,
    pub subscriptions: u32,
}

/// The answer to a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// `None`: the channel is empty
    pub sequence: Option<u64>,
    pub subscriptions: u32,
    pub was_occupied: bool,
    /// messages that the node hasn't seen
    pub missed: u64,
    /// user ids, in the order in which they were told
    pub came: Vec<String>,
    pub went: Vec<String>,
    pub members: Vec<String>,
}

impl Scripts {
    pub fn new(is_cluster: bool) -> Scripts {
        Scripts {
            join: Script::new(include_str!("scripts/join.lua")),
            leave: Script::new(include_str!("scripts/leave.lua")),
            publish: Script::new(include_str!("scripts/publish.lua")),
            register: Script::new(include_str!("scripts/register.lua")),
            publish_command: if is_cluster { "SPUBLISH" } else { "PUBLISH" },
        }
    }

    /// Has the server keep the scripts, which calls of them need; each server of a Redis Cluster.
    pub async fn load_into(&self, connection: &mut Connection) -> RedisResult<()> {
        for script in [&self.join, &self.leave, &self.publish, &self.register] {
            match connection {
                Connection::One(connection) => script.load_async(connection).await?,
                Connection::Cluster(connection) => script.load_async(connection).await?,
            };
        }
        Ok(())
    }

    /// Answered with [`Joined`]. `members_max`: 0 = no limit. `tell_count`: whether nodes are told the new number. `list`: whether
    /// the answer names all members.
    #[allow(clippy::too_many_arguments)]
    pub fn join(
        &self,
        pipe: &mut Pipeline,
        keys: &ChannelKeys,
        node: &str,
        member: Option<Member<'_>>,
        members_max: u32,
        tell_count: bool,
        list: bool,
    ) {
        let (user_id, text) = member.map_or(("", ""), |member| (member.user_id, member.text));
        let mut call = self.join.prepare_invoke();
        call.key(&keys.state)
            .key(&keys.connections)
            .key(&keys.members);
        call.arg(node)
            .arg(&keys.topic)
            .arg(self.publish_command)
            .arg(user_id)
            .arg(text)
            .arg(members_max)
            .arg(u8::from(tell_count))
            .arg(u8::from(list));
        pipe.invoke_script(&call);
    }

    /// Answered with [`Left`].
    pub fn leave(
        &self,
        pipe: &mut Pipeline,
        keys: &ChannelKeys,
        node: &str,
        user_id: Option<&str>,
        tell_count: bool,
    ) {
        let mut call = self.leave.prepare_invoke();
        call.key(&keys.state)
            .key(&keys.connections)
            .key(&keys.members);
        call.arg(node)
            .arg(&keys.topic)
            .arg(self.publish_command)
            .arg(user_id.unwrap_or_default())
            .arg(u8::from(tell_count));
        pipe.invoke_script(&call);
    }

    /// Answered with [`Published`]. `head`: of [`event_head`](super::wire::event_head). `kept`: what a cache channel keeps,
    /// for how many milliseconds.
    pub fn publish(
        &self,
        pipe: &mut Pipeline,
        keys: &ChannelKeys,
        head: &str,
        frame: &str,
        kept: Option<(&str, u64)>,
    ) {
        let (text, ttl_ms) = kept.unwrap_or_default();
        let mut call = self.publish.prepare_invoke();
        call.key(&keys.state).key(&keys.cached);
        call.arg(&keys.topic)
            .arg(self.publish_command)
            .arg(head)
            .arg(frame)
            .arg(ttl_ms)
            .arg(text);
        pipe.invoke_script(&call);
    }

    /// Answered with [`Registered`].
    pub fn register(
        &self,
        pipe: &mut Pipeline,
        keys: &ChannelKeys,
        node: &str,
        holding: Holding<'_>,
        tell_count: bool,
    ) {
        let mut call = self.register.prepare_invoke();
        call.key(&keys.state)
            .key(&keys.connections)
            .key(&keys.members);
        call.arg(node)
            .arg(&keys.topic)
            .arg(self.publish_command)
            .arg(holding.subscriptions)
            .arg(holding.seen)
            .arg(u8::from(tell_count));
        for (member, connections) in holding.members {
            call.arg(member.user_id).arg(*connections).arg(member.text);
        }
        pipe.invoke_script(&call);
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
            members: match fields.get(4) {
                Some(members) => texts(members)?,
                None => Vec::new(),
            },
        })
    }
}

impl Left {
    pub fn from_value(value: &Value) -> RedisResult<Left> {
        match value {
            Value::Array(fields) if fields.len() == 3 => Ok(Left {
                sequence: optional_number(&fields[0])?,
                subscriptions: count(&fields[1])?,
                has_member_left: count(&fields[2])? == 1,
            }),
            _ => Err(unexpected("leave answers three things")),
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
    pub fn from_value(value: &Value) -> RedisResult<Registered> {
        let Value::Array(fields) = value else {
            return Err(unexpected("register answers a list"));
        };
        let [
            sequence,
            subscriptions,
            was_occupied,
            changes,
            members,
            missed,
        ] = &fields[..]
        else {
            return Err(unexpected("register answers six things"));
        };
        let (mut came, mut went) = (Vec::new(), Vec::new());
        for change in texts(changes)? {
            match change.strip_prefix('+') {
                Some(user_id) => came.push(user_id.to_owned()),
                None => went.push(change.trim_start_matches('-').to_owned()),
            }
        }
        Ok(Registered {
            sequence: optional_number(sequence)?,
            subscriptions: count(subscriptions)?,
            was_occupied: count(was_occupied)? == 1,
            missed: number(missed)?,
            came,
            went,
            members: texts(members)?,
        })
    }
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

fn optional_number(value: &Value) -> RedisResult<Option<u64>> {
    Ok(Option::<u64>::from_redis_value_ref(value)?)
}

/// Never negative, whatever a script was made to count.
fn count(value: &Value) -> RedisResult<u32> {
    let number = i64::from_redis_value_ref(value)?;
    Ok(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
}
