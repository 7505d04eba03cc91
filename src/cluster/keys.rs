//! What everything is called in Redis. All of one channel is in one slot of a Redis Cluster, by the braces in its names.

use crate::protocol::channel::ChannelName;

/// Names with one prefix in front, so that several clusters can share a Redis.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: String,
}

/// The names of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelKeys {
    /// `prefix:{app:channel}`: what its messages are published to
    pub topic: String,
    /// hash: `sequence`, `total`, `of|NODE`, `life`, and as long as it is in doubt who is there, `doubt`
    pub state: String,
    /// hash: connections of a member on a node (`NODE|USER`), nodes a member is on (`|USER`), who was there when Redis lost the
    /// channel (`?|USER`)
    pub connections: String,
    /// hash: member by user id
    pub members: String,
    /// the last event of a cache channel; of those who watch a user: there while he is online
    pub cached: String,
    /// hash: news that nobody has told. `+NODE.NUMBER/WHAT`: who tells them; what waits for a return, who left (`-USER`) or that the
    /// channel was vacated (`.`): the `NODE.NUMBER` of it
    pub held: String,
    /// list: the last events, for nodes whose connection was away
    pub history: String,
    /// there while a cache miss was told not long ago
    pub missed: String,
    /// of those who watch a user: the state of his channel
    pub users_state: Option<String>,
}

/// What follows the braces in the names of those who watch the user whose channel is in the braces.
const WATCHERS: &str = "watchers";

impl Keys {
    pub fn new(prefix: &str) -> Keys {
        // braces would decide over the slot of everything
        let prefix = prefix.replace(['{', '}'], "-");
        Keys { prefix }
    }

    /// Those who watch a user are in the slot of his channel: whoever joins them looks whether he is there.
    pub fn channel(&self, app_id: &str, channel: &ChannelName) -> ChannelKeys {
        let slot = |name: &ChannelName| format!("{}:{{{app_id}:{}}}", self.prefix, name.as_str());
        let (topic, users_state) = match channel.watched_user() {
            None => (slot(channel), None),
            Some(user_id) => {
                let user = slot(&ChannelName::server_to_user(user_id));
                (format!("{user}{WATCHERS}"), Some(format!("{user}:state")))
            }
        };
        ChannelKeys {
            users_state,
            state: format!("{topic}:state"),
            connections: format!("{topic}:connections"),
            members: format!("{topic}:members"),
            cached: format!("{topic}:cached"),
            held: format!("{topic}:held"),
            history: format!("{topic}:history"),
            missed: format!("{topic}:missed"),
            topic,
        }
    }

    /// The topic's app and channel.
    pub fn parse_topic<'a>(&self, topic: &'a str) -> Option<(&'a str, ChannelName)> {
        let rest = topic.strip_prefix(&self.prefix)?.strip_prefix(":{")?;
        let (inner, kind) = rest.rsplit_once('}')?;
        let (app_id, name) = inner.split_once(':')?;
        let channel = channel_name(name)?;
        match kind {
            "" => Some((app_id, channel)),
            WATCHERS => Some((app_id, ChannelName::watchers_of(channel.user_id()?))),
            _ => None,
        }
    }

    /// Sorted set: the app's channels, one entry for each node that has subscribers, for queries by prefix.
    pub fn channels_of(&self, app_id: &str) -> String {
        format!("{}:channels:{app_id}", self.prefix)
    }

    /// Hash: open connections of an app on each node.
    pub fn connections_of(&self, app_id: &str) -> String {
        format!("{}:connections:{app_id}", self.prefix)
    }

    /// Hash: what every node says of itself. In one slot with [`Keys::nodes`].
    pub fn loads(&self) -> String {
        format!("{}:{{nodes}}:loads", self.prefix)
    }

    /// Hash: for every dead node who takes away what it has, and until when nobody else does. In one slot with [`Keys::nodes`].
    pub fn sweepers(&self) -> String {
        format!("{}:{{nodes}}:sweepers", self.prefix)
    }

    /// Names what Redis remembers: whoever finds another name knows that it came back empty. In one slot with [`Keys::nodes`].
    pub fn life(&self) -> String {
        format!("{}:{{nodes}}:life", self.prefix)
    }

    /// Set: the channels a node has subscribers or untold news of, for whoever cleans up after it.
    pub fn channels_on(&self, node: &str) -> String {
        format!("{}:node:{node}:channels", self.prefix)
    }

    /// Sorted set: every node by the time of its last sign of life.
    pub fn nodes(&self) -> String {
        format!("{}:{{nodes}}", self.prefix)
    }
}

/// The channel of a name that another node wrote down.
pub fn channel_name(text: &str) -> Option<ChannelName> {
    ChannelName::parse(text, usize::MAX).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_in_one_slot_and_found_again_by_its_topic() {
        let keys = Keys::new("my{app}");
        let channel = ChannelName::parse("presence-a.b", 200).expect("a name");
        let names = keys.channel("7", &channel);
        assert_eq!(names.topic, "my-app-:{7:presence-a.b}");
        assert_eq!(names.state, "my-app-:{7:presence-a.b}:state");
        assert_eq!(names.users_state, None);
        assert_eq!(keys.parse_topic(&names.topic), Some(("7", channel)));
        for other in [
            "",
            "my-app-:{7",
            "other:{7:a}",
            "my-app-:{a}",
            "my-app-:{7:a}watchers",
            "my-app-:{7:a}other",
            "my-app-:{7:#server-to-user-}watchers",
        ] {
            assert_eq!(keys.parse_topic(other), None, "{other}");
        }
    }

    #[test]
    fn those_who_watch_a_user_are_in_the_slot_of_his_channel() {
        let keys = Keys::new("p");
        let user = keys.channel("7", &ChannelName::server_to_user("a"));
        let channel = ChannelName::watchers_of("a");
        let watchers = keys.channel("7", &channel);
        assert_eq!(watchers.users_state.as_ref(), Some(&user.state));
        assert_eq!(watchers.topic, "p:{7:#server-to-user-a}watchers");
        assert_ne!(watchers.state, user.state);
        assert_eq!(keys.parse_topic(&watchers.topic), Some(("7", channel)));
        let name = ChannelName::server_to_user("a");
        assert_eq!(keys.parse_topic(&user.topic), Some(("7", name)));
    }
}
