//! What happened in the cluster and is told by this node: at once, or when it has waited for its contrary.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::Pipeline;

use super::{Claimed, Done, Driver, Node};
use crate::{
    cluster::{
        calls::news_name,
        held::News,
        nodes,
        terms::{Ask, Happening},
    },
    hub::inbox::ChannelKey,
    protocol::channel::ChannelName,
};

impl<N: Node> Driver<N> {
    /// Tells what happened, at once or when it has waited for its contrary.
    pub(super) fn happened(
        &mut self,
        channel: ChannelKey,
        app_id: &Arc<str>,
        happening: Happening,
    ) {
        let (user_id, held) = match &happening {
            Happening::Vacated(held) => (None, *held),
            Happening::MemberRemoved { user_id, held } => (Some(user_id.clone()), *held),
            Happening::Occupied { is_return: true }
            | Happening::MemberAdded {
                is_return: true, ..
            } => return,
            Happening::Occupied { .. }
            | Happening::MemberAdded { .. }
            | Happening::Count(_)
            | Happening::Restored => (None, None),
        };
        match held {
            Some(held) => {
                let news = News {
                    channel,
                    app_id: app_id.clone(),
                    user_id,
                    held,
                    generation: self.generation,
                };
                let max = match self.stopping {
                    Some(_) => 0,
                    None => self.settings.held_max,
                };
                self.held.add(news, Instant::now(), max);
            }
            None => self.tell(&channel, app_id, &happening),
        }
    }

    pub(super) fn tell(&mut self, channel: &ChannelKey, app_id: &Arc<str>, happening: &Happening) {
        let is_online = match happening {
            Happening::Occupied { .. } | Happening::Restored => Some(true),
            Happening::Vacated(_) => Some(false),
            _ => None,
        };
        if let (Some(is_online), Some(user_id)) = (is_online, channel.name.user_id())
            && (self.node.rulebook())(app_id, &channel.name).is_watched
        {
            let watchers = ChannelKey {
                app: channel.app,
                name: ChannelName::watchers_of(user_id),
            };
            self.ask(watchers, app_id.clone(), Ask::Online(is_online), None);
        }
        self.node.happened(channel, happening);
    }

    /// Asks whether whoever left has come back in the meantime, perhaps to another node.
    pub(super) fn claim(&mut self, news: News) {
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        let names = self.keys.channel(&news.app_id, &news.channel.name);
        let name = news_name(self.core.origin(), news.held.number);
        let scripts = self.scripts.clone();
        let generation = self.generation;
        self.claims.push(Box::pin(async move {
            let mut pipe = Pipeline::new();
            scripts.claim(&mut pipe, &names, &news.field(), &name);
            let claim = nodes::one::<i64>(&mut connection, &mut pipe).await;
            (generation, news, claim)
        }));
    }

    pub(super) fn take_claimed(&mut self, (generation, news, claim): Claimed) {
        let is_to_be_told = match claim {
            Ok(1) => true,
            Ok(0) => false,
            // Redis has lost what it knew of it
            Ok(_) => news.generation != self.generation,
            Err(error) => {
                self.held.again(news);
                if generation == self.generation {
                    self.lost(&error.to_string());
                }
                return;
            }
        };
        if !is_to_be_told {
            return;
        }
        let happening = match news.user_id {
            None => Happening::Vacated(None),
            Some(user_id) => Happening::MemberRemoved {
                user_id,
                held: None,
            },
        };
        self.tell(&news.channel, &news.app_id, &happening);
    }

    /// Has one node of the cluster tell a cache miss, now and then.
    pub(super) fn ask_for_cache_miss(&mut self, channel: ChannelKey, interval: Duration) {
        let (Some(mut connection), Some(names)) =
            (self.connection.clone(), self.names.get(&channel))
        else {
            return self.node.tell_cache_miss(&channel);
        };
        if interval.is_zero() {
            return self.node.tell_cache_miss(&channel);
        }
        let key = names.keys.missed.clone();
        self.begin(async move {
            let mut pipe = Pipeline::new();
            let milliseconds = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
            pipe.cmd("SET")
                .arg(key)
                .arg(1)
                .arg("NX")
                .arg("PX")
                .arg(milliseconds);
            let set = nodes::one::<Option<String>>(&mut connection, &mut pipe).await;
            Done::CacheMiss(channel, set.map(|set| set.is_some()))
        });
    }
}
