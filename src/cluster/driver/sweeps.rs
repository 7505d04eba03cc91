//! What becomes of what a dead node had: one of the others takes it away, and tells what follows and what the dead one hasn't told.

use std::{collections::hash_map::Entry, future::Future, sync::Arc};

use redis::RedisResult;

use super::{Done, Driver, Node};
use crate::{
    cluster::{
        connection::Connection,
        held::News,
        nodes::{self, Swept},
        terms::Happening,
    },
    hub::inbox::ChannelKey,
};

impl<N: Node> Driver<N> {
    /// Takes away what dead nodes had: what is written down of them, and what they may have on these topics.
    pub(super) fn sweep(&mut self, dead: Vec<Arc<str>>, topics: Vec<String>) {
        let Some(connection) = self.connection.clone() else {
            return;
        };
        for name in &dead {
            self.sweeping.insert(name.clone(), false);
        }
        let sweep = self.sweep_of(dead, topics, connection);
        self.begin(async move { Done::Swept(sweep.await) });
    }

    fn sweep_of(
        &self,
        names: Vec<Arc<str>>,
        topics: Vec<String>,
        mut connection: Connection,
    ) -> impl Future<Output = RedisResult<Vec<(Arc<str>, Vec<Swept>)>>> + Send + use<N> {
        let (keys, scripts) = (self.keys.clone(), self.scripts.clone());
        let (teller, heartbeat) = (self.name.clone(), self.settings.heartbeat);
        let apps = self.node.connections();
        let rules = self.node.rulebook();
        async move {
            let apps: Vec<Arc<str>> = apps.into_iter().map(|(app_id, _)| app_id).collect();
            let sweep = nodes::Sweep {
                keys: &keys,
                scripts: &scripts,
                teller: &teller,
                heartbeat,
                apps: &apps,
                rules: &*rules,
            };
            let mut swept = Vec::new();
            for name in names {
                let news = nodes::sweep(&mut connection, &sweep, &name, &topics).await?;
                swept.push((name, news));
            }
            Ok(swept)
        }
    }

    pub(super) fn take_swept(&mut self, swept: Vec<(Arc<str>, Vec<Swept>)>) {
        for (node, channels) in swept {
            if let Entry::Occupied(mut is_listed) = self.sweeping.entry(node.clone()) {
                is_listed.insert(true);
            }
            for channel in channels {
                self.take_news_of(&node, channel);
            }
            self.end_sweep(&node);
        }
    }

    /// What a dead node hasn't told, and what happens by its death.
    fn take_news_of(&mut self, node: &Arc<str>, swept: Swept) {
        // without the app there is nobody to tell: the news end with their time
        let Some(app) = self.node.app(&swept.app_id) else {
            return;
        };
        let rules = (self.node.rulebook())(&swept.app_id, &swept.channel);
        let app_id: Arc<str> = swept.app_id.into();
        let channel = ChannelKey {
            app,
            name: swept.channel,
        };
        if let Some(count) = swept.count {
            self.node.happened(&channel, &Happening::Count(count));
        }
        for open in swept.news {
            let news = News {
                channel: channel.clone(),
                app_id: app_id.clone(),
                happening: open.happening,
                node: node.clone(),
                number: open.number,
                memory: self.life.clone(),
            };
            self.happened(news, open.is_held.then(|| rules.hold.unwrap_or_default()));
        }
    }

    /// Once everything of a dead node has been told nothing of it stays.
    pub(super) fn end_sweep(&mut self, node: &Arc<str>) {
        if self.sweeping.get(node) != Some(&true) || self.open.has_any_of(node) {
            return;
        }
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        let (keys, node) = (self.keys.clone(), node.clone());
        self.begin(async move {
            let ended = nodes::forget(&mut connection, &keys, &node).await;
            Done::Ended(node, ended)
        });
    }

    /// Takes away what this node has, at its own end. What it couldn't tell is left to the others.
    pub(super) fn end(
        &self,
        mut connection: Connection,
    ) -> impl Future<Output = RedisResult<()>> + Send + use<N> {
        let (keys, name) = (self.keys.clone(), self.name.clone());
        let sweep = self.sweep_of(vec![name.clone()], Vec::new(), connection.clone());
        async move {
            let swept = sweep.await?;
            match swept.iter().all(|(_, channels)| channels.is_empty()) {
                true => nodes::forget(&mut connection, &keys, &name).await,
                false => nodes::hand_over(&mut connection, &keys, &name).await,
            }
        }
    }
}
