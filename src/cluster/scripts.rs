//! The Lua scripts, with types: what each is given, and what it answers. One script is one atomic step for everybody.

mod answers;
mod arguments;

use std::time::{Duration, Instant};

use redis::{Pipeline, Script, ScriptInvocation};

pub use self::arguments::{
    At, History, Holding, Joining, Lost, Member, News, Present, Publication,
};
use super::keys::ChannelKeys;

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

    /// Answered with [`Joined`](super::terms::Joined).
    pub fn join(&self, pipe: &mut Pipeline, at: At<'_>, joining: Joining<'_>, news: News<'_>) {
        let member = joining.member;
        let (user_id, text) = member.map_or(("", ""), |member| (member.user_id, member.text));
        let mut call = self.join.prepare_invoke();
        call.key(&at.keys.state)
            .key(&at.keys.connections)
            .key(&at.keys.members)
            .key(&at.keys.cached)
            .key(&at.keys.held)
            .key(&at.keys.history)
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

    /// Answered with [`Left`](super::terms::Left).
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

    /// Answered with [`Published`](super::terms::Published).
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

    /// Answered with [`Published`](super::terms::Published): `None` if it was no news.
    pub fn online(&self, pipe: &mut Pipeline, at: At<'_>, is_online: bool) {
        let mut call = self.online.prepare_invoke();
        call.key(&at.keys.state).key(&at.keys.cached);
        self.begin(&mut call, at).arg(u8::from(is_online));
        pipe.invoke_script(&call);
    }

    /// Answered with [`Published`](super::terms::Published): `None` if it was told not long ago, and to be told later if there are subscriptions.
    pub fn count(&self, pipe: &mut Pipeline, at: At<'_>) {
        let mut call = self.count.prepare_invoke();
        call.key(&at.keys.state);
        self.begin(&mut call, at);
        pipe.invoke_script(&call);
    }

    /// Answered with [`Registered`](super::terms::Registered). `teller`: tells the news of the node.
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

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
