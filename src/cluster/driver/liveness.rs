//! Signs of life: this node's own, what follows from those of others that are missing, and how many connections there are.

use std::{collections::HashMap, mem, sync::Arc, time::Instant};

use tokio::sync::mpsc;

use super::{Done, Driver, Node, Request};
use crate::cluster::{connection::Push, core::Input, nodes, queries};

impl<N: Node> Driver<N> {
    pub(super) fn beat(&mut self) {
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        if mem::replace(&mut self.is_beating, true) {
            return;
        }
        self.beaten = Instant::now();
        let (keys, name) = (self.keys.clone(), self.name.clone());
        let (heartbeat, is_first) = (self.settings.heartbeat, !self.has_beaten);
        let (load, life) = (self.node.load(), self.life.clone());
        let sweeps = Instant::now() >= self.sweeps_from;
        self.begin(async move {
            let node = nodes::Living {
                name: &name,
                load: &load,
                is_first,
                sweeps,
                life: &life,
            };
            Done::Beat(nodes::beat(&mut connection, &keys, heartbeat, node).await)
        });
        self.ask_for_connections_elsewhere();
    }

    pub(super) fn take_beat(&mut self, beat: nodes::Beat) {
        self.is_beating = false;
        self.has_beaten = true;
        self.last_beat = Some(self.beaten);
        let before = mem::replace(&mut self.life, beat.life.into());
        if beat.was_forgotten {
            return self.rename();
        }
        self.alive = beat.alive;
        self.node.alive(beat.alive);
        if before != self.life && !before.is_empty() {
            self.was_emptied = true;
            self.redis_was_emptied();
            if self.connection.is_none() {
                return;
            }
        }
        if !self.is_up {
            self.catch_up();
        }
        self.go_on_with_calls();
        self.sweep_former_names();
        let dead = beat.dead.into_iter().map(Arc::from);
        let dead: Vec<Arc<str>> = dead
            .filter(|name| !self.sweeping.contains_key(name))
            .collect();
        if !dead.is_empty() {
            tracing::warn!(
                "other nodes have given no sign of life for three heartbeats, their subscribers are taken out: {}",
                dead.join(", ")
            );
            self.sweep(dead, Vec::new());
        }
    }

    /// Whether it is high time for a sign of life: this node hung, or its machine did, and others may have taken away what it has.
    pub(super) fn may_be_taken_for_dead(&self) -> bool {
        let soon = self.settings.heartbeat * (nodes::BEATS - 1);
        self.last_beat.is_some_and(|last| last.elapsed() >= soon)
    }

    /// The others know this node: what waited for that is asked. A sign of life that was given before that says nothing of it.
    fn go_on_with_calls(&mut self) {
        if !self.suspended.is_empty() && self.beaten < self.suspended_since {
            return self.beat();
        }
        for (channel, calls) in mem::take(&mut self.suspended) {
            self.put(channel, calls);
        }
    }

    /// Redis has forgotten every node. Each keeps its name, since nobody took it for dead, and registers what it has, which is written
    /// down nowhere any more. Of single masters of a Redis Cluster this is not found out here, but from the channels on them, whenever
    /// the connection was lost or a channel is spoken of: see `register.lua`.
    fn redis_was_emptied(&mut self) {
        tracing::warn!("Redis has come back empty: this node registers what it has");
        self.sweeps_from = Instant::now() + self.settings.heartbeat * nodes::BEATS;
        if !self.is_up {
            return;
        }
        // What was told before is heard: Redis doesn't remember it.
        if let Some(mut pushes) = self.pushes.take() {
            while let Ok(push) = pushes.try_recv() {
                match push {
                    Push::Message { topic, text } => self.take_message(&topic, &text),
                    Push::Lost => return self.lost("it ended the connection"),
                }
            }
            self.pushes = Some(pushes);
        }
        self.is_up = false;
        self.forget_work();
        self.input(Input::Down);
    }

    /// This node may have stood still for long: nobody is registered who has gone meanwhile, and of whom the workers haven't read that yet.
    fn catch_up(&mut self) {
        if mem::replace(&mut self.is_catching_up, true) {
            return;
        }
        let (catching_up, patience) = (self.node.catch_up(), self.settings.patience.answer);
        self.begin(async move {
            if tokio::time::timeout(patience, catching_up).await.is_err() {
                tracing::warn!("a worker hasn't read from its sockets for {patience:?}: what this node has is registered without waiting for that");
            }
            Done::CaughtUp
        });
    }

    /// What the workers found has been asked by now: it is taken before anything is registered.
    pub(super) fn go_up_if_caught_up(
        &mut self,
        requests: &mut mpsc::UnboundedReceiver<Request<N::Waiter>>,
    ) {
        if !mem::take(&mut self.has_caught_up) {
            return;
        }
        for _ in 0..requests.len() {
            if let Ok(request) = requests.try_recv() {
                self.take_request(request);
            }
        }
        self.is_catching_up = false;
        self.go_up();
    }

    fn go_up(&mut self) {
        self.is_up = true;
        self.node.link(true);
        self.expire_backlog();
        let was_emptied = mem::take(&mut self.was_emptied);
        self.input(Input::Up { was_emptied });
        self.tell_watchers_again();
    }

    pub(super) fn expire_backlog(&mut self) {
        if let Some(oldest) = Instant::now().checked_sub(self.settings.backlog_age_max) {
            self.core.expire_backlog(oldest, &mut self.outputs);
        }
    }

    /// The others took this node for dead: what it has is registered under another name.
    pub(super) fn rename(&mut self) {
        let before = mem::replace(&mut self.name, nodes::new_name().into());
        tracing::warn!(
            "this node, {before}, was taken for dead: it goes on as {}",
            self.name
        );
        self.node.named(&self.name, true);
        self.forget_work();
        self.has_beaten = false;
        if mem::replace(&mut self.is_up, false) {
            self.input(Input::Down);
        }
        self.core.forget_lives();
        let topics = self.names.values().map(|n| n.keys.topic.clone()).collect();
        self.former.insert(before, topics);
        self.lingering.clear();
        self.sweep_former_names();
        self.beat();
    }

    /// The others have taken out what this node had, but not what it did by its old name since then. Whatever a lost connection has
    /// interrupted is done again.
    fn sweep_former_names(&mut self) {
        let left = self.former.iter();
        let left = left.filter(|(name, _)| !self.sweeping.contains_key(*name));
        let left: Vec<_> = left
            .map(|(n, topics)| (n.clone(), topics.clone()))
            .collect();
        for (name, topics) in left {
            self.sweep(vec![name], topics);
        }
    }

    /// Writes down how many connections there are, if the number has changed, or isn't known to Redis for sure.
    pub(super) fn note_connections(&mut self) {
        if self.is_noting || !self.has_beaten {
            return;
        }
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        let counts = self.node.connections();
        let changed: Vec<(Arc<str>, usize)> = counts
            .into_iter()
            .filter(|(app_id, count)| self.noted.get(app_id) != Some(count))
            .collect();
        if changed.is_empty() {
            return;
        }
        self.is_noting = true;
        self.noted.extend(changed.iter().cloned());
        let (keys, name) = (self.keys.clone(), self.name.clone());
        self.begin(async move {
            let noted = nodes::note_connections(&mut connection, &keys, &name, &changed);
            Done::Noted(noted.await)
        });
    }

    pub(super) fn ask_for_connections_elsewhere(&mut self) {
        let apps = self.node.apps_with_quota();
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        if apps.is_empty() {
            return;
        }
        let (keys, name) = (self.keys.clone(), self.name.clone());
        self.begin(async move {
            let mut counts = HashMap::new();
            for app_id in apps {
                match queries::connections(&mut connection, &keys, &app_id, &name).await {
                    Ok(count) => counts.insert(app_id.to_string(), count),
                    Err(error) => return Done::Elsewhere(Err(error)),
                };
            }
            Done::Elsewhere(Ok(counts))
        });
    }
}
