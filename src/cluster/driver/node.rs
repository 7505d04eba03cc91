//! Whom the driver serves.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use crate::cluster::{
    core::Core,
    rules::Rules,
    terms::{Happening, What},
    wire,
};
use crate::{
    hub::inbox::{ChannelKey, WorkerId},
    protocol::channel::ChannelName,
};

/// Whom a node serves: what the [`Core`] says is for somebody is given to it.
pub trait Node: Send + 'static {
    /// Who waits for the answer to an ask.
    type Waiter: Send;

    /// To the subscribers on these workers that joined before `position`.
    fn tell(&mut self, channel: &ChannelKey, workers: &[WorkerId], position: u64, what: &What);
    /// What is told from the sequence of the channel's view on is for the joiner, who joined at the sequence `joined` or later.
    fn joined(&mut self, waiter: Self::Waiter, core: &Core, joined: u64);
    /// the channel has as many members as it may
    fn full(&mut self, waiter: Self::Waiter);
    /// whether one more channel is more than this node may have, beside so many of its app that are about to be opened
    fn has_no_room_for(&self, channel: &ChannelKey, opening: usize) -> bool;
    fn has_no_room(&mut self, waiter: Self::Waiter);
    fn looked(&mut self, waiter: Self::Waiter, core: &Core);
    fn published(&mut self, waiter: Self::Waiter);
    /// the channel has its first subscriber on this node, or its last one has gone
    fn opened(&mut self, channel: &ChannelKey, is_open: bool);
    /// something that this node alone tells
    fn happened(&mut self, channel: &ChannelKey, happening: &Happening);
    /// channels in whose cache nothing was for somebody, and how often that may be told
    fn missed_cache(&mut self) -> Vec<(ChannelKey, Duration)>;
    fn tell_cache_miss(&mut self, channel: &ChannelKey);
    /// events of other nodes that did not come
    fn missed(&mut self, events: u64);
    fn skipped(&mut self, topic: &str, why: wire::Unreadable);
    /// Redis is there, or away: also at every attempt that fails
    fn link(&mut self, is_up: bool);
    fn named(&mut self, name: &str, is_renamed: bool);
    fn alive(&mut self, nodes: usize);
    fn backlog(&mut self, events: usize, bytes: usize, dropped: u64);
    /// how long Redis took for a batch
    fn took(&mut self, time: Duration);
    /// whether a worker has more to do than it can
    fn is_congested(&self) -> bool;
    /// completes when everything has been asked that follows from what clients have done by now
    fn catch_up(&mut self) -> impl Future<Output = ()> + Send + 'static;
    /// what the node says of itself, as JSON
    fn load(&self) -> String;
    /// open connections, by app
    fn connections(&self) -> Vec<(Arc<str>, usize)>;
    /// connections on other nodes of the apps whose quota counts them
    fn apps_with_quota(&self) -> Vec<Arc<str>>;
    fn connections_elsewhere(&mut self, counts: HashMap<String, usize>);
    /// the app's place in this process, if it has it
    fn app(&self, app_id: &str) -> Option<u32>;
    /// what else is to be done when somebody comes to a channel of the app or goes
    fn rulebook(&self) -> Arc<Rulebook>;
}

/// By app id and channel.
pub type Rulebook = dyn Fn(&str, &ChannelName) -> Rules + Send + Sync;
