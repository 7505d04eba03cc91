//! What happened in the cluster and is told by this node: at once, or when it has waited for its contrary. It is written down in Redis
//! until then, so that another node tells it if this one dies.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::Pipeline;

use super::{Change, Claimed, Done, Driver, Node, Topic};
use crate::{
    cluster::{
        calls::with_news,
        held::News,
        nodes::{self, Told},
        rules::Rules,
        terms::{Ask, Happening, Ticket},
    },
    hub::inbox::ChannelKey,
    protocol::channel::ChannelName,
};

/// News of which Redis is asked at a time whether they are to be told.
pub(super) const CLAIMS_MAX: usize = 1_000;

/// News that are forgotten in one batch.
const FORGETS_MAX: usize = 1_000;

impl<N: Node> Driver<N> {
    /// What happened by a call of this node.
    pub(super) fn news(
        &self,
        channel: ChannelKey,
        happening: Happening,
        number: u64,
    ) -> Option<News> {
        let names = self.names.get(&channel)?;
        Some(News {
            app_id: names.app_id.clone(),
            channel,
            happening,
            node: self.name.clone(),
            number,
            memory: self.life.clone(),
        })
    }

    /// Tells what happened, once: now, or when it has waited so long for its contrary.
    pub(super) fn happened(&mut self, news: News, wait: Option<Duration>) {
        if news.number > 0 && !self.open.add(&news) {
            return;
        }
        let Some(wait) = wait else {
            return self.tell(news);
        };
        let max = match self.stopping {
            Some(_) if self.is_last() => 0,
            _ => self.settings.held_max,
        };
        self.held.add(news, wait, Instant::now(), max);
    }

    fn tell(&mut self, news: News) {
        self.node.happened(&news.channel, &news.happening);
        let is_online = match news.happening {
            Happening::Occupied | Happening::Restored => Some(true),
            Happening::Vacated => Some(false),
            _ => None,
        };
        let is_watched = (self.node.rulebook())(&news.app_id, &news.channel.name).is_watched;
        match is_online.filter(|_| is_watched) {
            Some(is_online) => self.tell_watchers(news, is_online),
            None => self.forget(news),
        }
    }

    fn tell_watchers(&mut self, news: News, is_online: bool) {
        let Some(user_id) = news.channel.name.user_id() else {
            return self.forget(news);
        };
        let watchers = ChannelKey {
            app: news.channel.app,
            name: ChannelName::watchers_of(user_id),
        };
        let app_id = news.app_id.clone();
        let ticket = self.ask(watchers, app_id, Ask::Online(is_online, Ticket(0)), None);
        self.onlines.insert(ticket, (is_online, news));
    }

    /// In the meantime the user may have come to another node or gone there, which has told so before this one: what is told last must
    /// be true.
    pub(super) fn watchers_told(&mut self, ticket: Ticket) {
        let told = self.onlines.get(&ticket).zip(self.connection.clone());
        let Some(((is_online, news), mut connection)) = told else {
            return;
        };
        let names = self.keys.channel(&news.app_id, &news.channel.name);
        let is_online = *is_online;
        self.begin(async move {
            let is_true = nodes::is_so(&mut connection, &names, is_online).await;
            Done::Watched(ticket, is_true)
        });
    }

    pub(super) fn watchers_know(&mut self, ticket: Ticket, is_true: bool) {
        match self.onlines.remove(&ticket) {
            Some((_, news)) if is_true => self.forget(news),
            Some((is_online, news)) => self.tell_watchers(news, !is_online),
            None => {}
        }
    }

    /// The connection was lost, and with it the answers.
    pub(super) fn tell_watchers_again(&mut self) {
        for (is_online, news) in std::mem::take(&mut self.onlines).into_values() {
            self.tell_watchers(news, is_online);
        }
    }

    /// They were told: nobody needs to know any more.
    pub(super) fn forget(&mut self, news: News) {
        if news.number > 0 {
            self.forgets.push_back(news);
        }
    }

    /// One batch after the other.
    pub(super) fn forget_news(&mut self) {
        if self.forgetting > 0 || self.forgets.is_empty() {
            return;
        }
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        let told = self.forgets.iter().take(FORGETS_MAX).map(|news| {
            let keys = match self.names.get(&news.channel) {
                Some(names) => names.keys.clone(),
                None => Arc::new(self.keys.channel(&news.app_id, &news.channel.name)),
            };
            let field = news.field();
            Told { keys, field }
        });
        let told: Vec<Told> = told.collect();
        self.forgetting = told.len();
        self.begin(
            async move { Done::ForgottenNews(nodes::forget_news(&mut connection, &told).await) },
        );
    }

    pub(super) fn news_forgotten(&mut self) {
        let forgotten = std::mem::take(&mut self.forgetting);
        let news: Vec<News> = self.forgets.drain(..forgotten).collect();
        for news in news {
            self.close(&news);
        }
    }

    /// Nothing is written down of the news any more, or nothing that is this node's to tell.
    fn close(&mut self, news: &News) {
        if !self.open.remove(news) {
            return;
        }
        if news.node != self.name {
            self.end_sweep(&news.node.clone());
        } else if let Some(names) = self.lingering.remove(&news.channel) {
            self.topics.push_back(Topic {
                channel: news.channel.clone(),
                names,
                change: Change::NewsTold,
            });
        }
    }

    /// Asks whether whoever left has come back in the meantime, perhaps to another node.
    pub(super) fn claim(&mut self, news: News) {
        let Some(mut connection) = self.connection.clone() else {
            return self.held.again(news);
        };
        let names = self.keys.channel(&news.app_id, &news.channel.name);
        let rules = (self.node.rulebook())(&news.app_id, &news.channel.name);
        let (scripts, teller) = (self.scripts.clone(), self.name.clone());
        let (generation, heartbeat) = (self.generation, self.settings.heartbeat);
        self.claims.push(Box::pin(async move {
            let mut pipe = Pipeline::new();
            let word = news.happening.word();
            let rules = Rules {
                is_told: true,
                ..rules
            };
            with_news(&news.node, news.number, rules, heartbeat, |written| {
                scripts.claim(&mut pipe, &names, &word, written, &teller);
            });
            let claim = nodes::one::<i64>(&mut connection, &mut pipe).await;
            (generation, news, claim)
        }));
    }

    pub(super) fn take_claimed(&mut self, (generation, news, claim): Claimed) {
        match claim {
            Ok(1) => self.tell(news),
            // Redis has lost what it knew of it
            Ok(2) if news.memory != self.life => self.tell(news),
            Ok(_) => self.close(&news),
            Err(error) => {
                self.held.again(news);
                if generation == self.generation {
                    self.lost(&error.to_string());
                }
            }
        }
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
