//! Signed-in users: who watches them, when they come and go, and ending their connections (part 5). A user is there while
//! his channel is occupied, and a little longer.

use std::{sync::Arc, time::Instant};

use super::{Directory, Shard};
use crate::{
    hub::inbox::{ChannelKey, Command, Position, WorkerId},
    protocol::{channel::ChannelName, codes::CloseReason, server},
};

/// What a new watcher of a user finds.
#[derive(Debug)]
pub struct Watched {
    /// the channel on which the user's coming and going is told
    pub channel: ChannelKey,
    pub since: Position,
    pub is_online: bool,
}

/// Which way a user went.
#[derive(Clone, Copy)]
pub(super) struct IsOnline(pub(super) bool);

fn user_key(app: u32, user_id: &str) -> ChannelKey {
    ChannelKey {
        app,
        name: ChannelName::server_to_user(user_id),
    }
}

impl Directory {
    /// Adds a watcher of a user; returns the watchers' channel, and whether the user is online at this moment (U-22).
    pub fn watch(&self, app: u32, user_id: &str, worker: WorkerId) -> Watched {
        let user = user_key(app, user_id);
        let channel = ChannelKey {
            app,
            name: ChannelName::watchers_of(user_id),
        };
        let mut shard = self.shard(&channel);
        let entry = shard.channels.entry(channel.clone()).or_default();
        entry.add(worker);
        Watched {
            is_online: shard.channels.contains_key(&user) || shard.lingering.contains_key(&user),
            since: Position(shard.position),
            channel,
        }
    }

    /// Takes a watcher away; `channel` is what [`watch`](Directory::watch) returned.
    pub fn unwatch(&self, channel: &ChannelKey, worker: WorkerId) {
        let mut shard = self.shard(channel);
        if let Some(entry) = shard.channels.get_mut(channel) {
            entry.subtract(worker);
            if entry.workers.is_empty() {
                shard.channels.remove(channel);
            }
        }
    }

    /// Closes every connection that is signed in as this user (U-30).
    pub fn terminate_user(&self, app: u32, user_id: &str) {
        let channel = user_key(app, user_id);
        let mut guard = self.shard(&channel);
        let shard = &mut *guard;
        let Some(entry) = shard.channels.get(&channel) else {
            return;
        };
        shard.position += 1;
        for (worker, _) in &entry.workers {
            if let Some(inbox) = self.inbox(*worker) {
                inbox.push(Command::Close {
                    channel: channel.clone(),
                    position: Position(shard.position),
                    reason: CloseReason::TerminatedByApp,
                });
            }
        }
    }

    /// Tells those who watch a user that it has come or gone (U-23). Does nothing for other channels.
    pub(super) fn tell_watchers(
        &self,
        shard: &mut Shard,
        channel: &ChannelKey,
        is_online: IsOnline,
        now: Instant,
    ) {
        let Some(user_id) = channel.name.user_id() else {
            return;
        };
        let watchers = ChannelKey {
            app: channel.app,
            name: ChannelName::watchers_of(user_id),
        };
        if let Some(entry) = shard.channels.get(&watchers) {
            let ids = [Arc::from(user_id)];
            let frame = match is_online {
                IsOnline(true) => server::watchlist_events(&ids, &[]),
                IsOnline(false) => server::watchlist_events(&[], &ids),
            };
            shard.position += 1;
            let position = Position(shard.position);
            self.tell(entry, &watchers, position, &frame, None, now);
        }
    }
}
