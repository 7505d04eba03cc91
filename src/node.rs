//! Node: the process-wide handle that endpoints and sessions hold.
use crate::{
    apps::{App, Apps},
    config::Settings,
    protocol::{channel::ChannelName, event::EventData, socket_id::SocketId},
};
use std::sync::Arc;

pub struct Node {}

/// An event to be published to one channel.
pub struct Event<'a> {
    pub name: &'a str,
    pub data: &'a EventData<'a>,
    pub except: Option<SocketId>,
}

/// Some worker's inbox stayed full for `hub.publish_wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The server is overloaded and took nothing: send the event again in a moment")]
pub struct Congested;

/// Who is on a channel now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    pub subscription_count: u32,
    pub user_count: u32,
}

/// The cached event of a cache channel (H-31).
pub struct Cached {
    pub data: EventData<'static>,
    pub ttl_s: u64,
}

impl Node {
    pub fn settings(&self) -> &Settings {
        todo!()
    }
    pub fn apps(&self) -> &Apps {
        todo!()
    }
    pub fn is_draining(&self) -> bool {
        todo!()
    }
    /// Publishes an event that came over the HTTP API; cache channels keep it (S-20).
    pub async fn publish(
        &self,
        app: &Arc<App>,
        channel: &ChannelName,
        event: Event<'_>,
    ) -> Result<(), Congested> {
        let _ = (app, channel, event);
        todo!()
    }
    pub fn occupancy(&self, app: &App, channel: &ChannelName) -> Occupancy {
        let _ = (app, channel);
        todo!()
    }
    /// Occupied channels whose name starts with `prefix`, sorted by name; no user channels (U-16).
    pub fn channels(&self, app: &App, prefix: &str) -> Vec<(ChannelName, Occupancy)> {
        let _ = (app, prefix);
        todo!()
    }
    /// Ids of a presence channel's members, each once.
    pub fn users(&self, app: &App, channel: &ChannelName) -> Vec<Arc<str>> {
        let _ = (app, channel);
        todo!()
    }
    pub fn cached(&self, app: &App, channel: &ChannelName) -> Option<Cached> {
        let _ = (app, channel);
        todo!()
    }
    /// Open connections of the app (H-9).
    pub fn connection_count(&self, app: &App) -> usize {
        let _ = app;
        todo!()
    }
}
