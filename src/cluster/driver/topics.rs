//! What is put to Redis: which topics are listened to, and the core's calls. Registrations after an outage take turns.

use std::time::Instant;

use redis::Pipeline;

use super::{Change, Done, Driver, Node, Topic};
use crate::{
    cluster::{
        calls::{self, Caller},
        nodes,
        terms::Call,
    },
    hub::inbox::ChannelKey,
};

/// Channels that are registered at the same time after Redis was away. With what it remembers of each (256 KiB at most, see
/// `register.lua`) that is half of what it lets wait for a connection by default before it cuts it.
const REGISTRATIONS_MAX: usize = 64;

/// Topics that are subscribed to in one batch.
const TOPICS_MAX: usize = 1_000;

impl<N: Node> Driver<N> {
    pub(super) fn listen(&mut self, channel: ChannelKey) {
        self.lingering.remove(&channel);
        self.change_topic(channel, Change::Listen);
    }

    pub(super) fn stop_listening(&mut self, channel: ChannelKey) {
        let has_news = self.open.has(&self.name, &channel);
        let Some(names) = self.names.get(&channel).cloned().filter(|_| has_news) else {
            return self.change_topic(channel, Change::Stop);
        };
        self.lingering.insert(channel.clone(), names);
        self.change_topic(channel, Change::StopWithNews);
    }

    fn change_topic(&mut self, channel: ChannelKey, change: Change) {
        if let Some(names) = self.names.get(&channel).cloned() {
            self.topics.push_back(Topic {
                channel,
                names,
                change,
            });
        }
    }

    /// Nothing is asked by a name that may be that of a dead node: it would be taken away again, and whoever came by it would leave once more.
    pub(super) fn call(&mut self, channel: ChannelKey, calls: Vec<Call>) {
        if self.may_be_taken_for_dead() {
            return self.suspend(channel, calls);
        }
        self.put(channel, calls);
    }

    fn suspend(&mut self, channel: ChannelKey, calls: Vec<Call>) {
        if self.suspended.is_empty() {
            self.suspended_since = Instant::now();
        }
        self.suspended.push((channel, calls));
        self.beat();
    }

    /// Registrations wait for their turn.
    pub(super) fn put(&mut self, channel: ChannelKey, calls: Vec<Call>) {
        if is_registration(&calls) {
            if self.registering >= REGISTRATIONS_MAX {
                return self.registrations.push_back((channel, calls));
            }
            self.registering += 1;
        }
        self.call_now(channel, calls);
    }

    pub(super) fn registered(&mut self) {
        self.registering = self.registering.saturating_sub(1);
        if let Some((channel, calls)) = self.registrations.pop_front() {
            self.call(channel, calls);
        }
    }

    pub(super) fn call_now(&mut self, channel: ChannelKey, calls: Vec<Call>) {
        let (Some(mut connection), Some(names)) =
            (self.connection.clone(), self.names.get(&channel))
        else {
            return;
        };
        let mut pipe = Pipeline::new();
        let caller = Caller {
            node: &self.name,
            origin: self.core.origin(),
            heartbeat: self.settings.heartbeat,
        };
        for call in &calls {
            calls::add(&self.scripts, &mut pipe, &names.keys, caller, call);
        }
        self.begin(async move {
            let begun = Instant::now();
            let answers = connection.call(&mut pipe).await;
            Done::Called(channel, calls, answers, begun)
        });
    }

    /// One batch of changes after the other: who begins to listen again must not be taken for one who stops.
    pub(super) fn change_topics(&mut self) {
        if !self.changing.is_empty() {
            return;
        }
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        let Some(change) = self.topics.front().map(|topic| topic.change) else {
            return;
        };
        let alike = self.topics.iter().take_while(|t| t.change == change);
        let count = alike.take(TOPICS_MAX).count();
        let changes: Vec<Topic> = self.topics.drain(..count).collect();
        self.changing = changes.clone();
        let (keys, name) = (self.keys.clone(), self.name.clone());
        self.begin(async move {
            let topics: Vec<nodes::Topic<'_>> = changes
                .iter()
                .map(|change| nodes::Topic {
                    app_id: &change.names.app_id,
                    channel: &change.channel.name,
                    topic: &change.names.keys.topic,
                })
                .collect();
            let connection = &mut connection;
            let changed = match change {
                Change::Listen => nodes::listen(connection, &keys, &name, &topics).await,
                Change::NewsTold => nodes::leave_channels(connection, &keys, &name, &topics).await,
                Change::Stop | Change::StopWithNews => {
                    let has_news = change == Change::StopWithNews;
                    nodes::stop_listening(connection, &keys, &name, &topics, has_news).await
                }
            };
            let listening = changes.into_iter();
            let listening = listening.filter(|topic| topic.change == Change::Listen);
            let listening = listening.map(|topic| topic.channel).collect();
            Done::Topics(changed.map(|()| listening))
        });
    }
}

pub(super) fn is_registration(calls: &[Call]) -> bool {
    matches!(calls, [Call::Register { .. }])
}
