//! What the HTTP API asks about channels, users and connections. In a cluster the answers are those of all nodes, each from one
//! round trip to Redis; while it is away, of this node alone.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{Cached, Node, Occupancy, key};
use crate::{apps::App, cluster::Congested, protocol::channel::ChannelName};

impl Node {
    /// Who is on these channels, in their order.
    pub async fn occupancy<'a>(
        &self,
        app: &App,
        channels: impl Iterator<Item = &'a ChannelName>,
    ) -> Vec<Occupancy> {
        match &self.cluster {
            Some(cluster) => cluster.occupancy(app, channels.cloned().collect()).await,
            None => channels
                .map(|channel| self.directory.occupancy(&key(app, channel)))
                .collect(),
        }
    }

    /// Occupied channels whose name starts with `prefix`, sorted by name; no user channels (U-16).
    pub async fn channels(&self, app: &App, prefix: &str) -> Vec<(ChannelName, Occupancy)> {
        let mut channels = match &self.cluster {
            Some(cluster) => cluster.channels(app, prefix).await,
            None => self.directory.channels(app.index, prefix),
        };
        channels.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        channels
    }

    /// Who is on a channel, and the event that a cache channel keeps.
    pub async fn show(&self, app: &App, channel: &ChannelName) -> (Occupancy, Option<Cached>) {
        if let Some(cluster) = &self.cluster {
            return cluster.show(app, channel).await;
        }
        let is_cache = channel.kind().is_cache();
        let key = key(app, channel);
        let cached = is_cache.then(|| self.directory.cached(&key, Instant::now()));
        (self.directory.occupancy(&key), cached.flatten())
    }

    /// Ids of a presence channel's members, each once, sorted.
    pub async fn users(&self, app: &App, channel: &ChannelName) -> Vec<Arc<str>> {
        let mut users = match &self.cluster {
            Some(cluster) => cluster.users(app, channel).await,
            None => self.directory.users(&key(app, channel)),
        };
        users.sort_unstable();
        users
    }

    /// Closes every connection that is signed in as this user (U-30). Nobody being there is no failure.
    pub async fn terminate_user(&self, app: &App, user_id: &str) -> Result<(), Congested> {
        match &self.cluster {
            Some(cluster) => cluster.terminate_user(app, user_id).await,
            None => {
                self.directory.terminate_user(app.index, user_id);
                Ok(())
            }
        }
    }

    /// Open connections of the app (H-9).
    pub async fn connection_count(&self, app: &App) -> usize {
        let elsewhere = match &self.cluster {
            Some(cluster) => cluster.connections_elsewhere(app).await,
            None => 0,
        };
        elsewhere + app.usage.connections.load(Ordering::Relaxed)
    }
}
