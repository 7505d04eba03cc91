//! Signs of life: this node's own, what follows from those of others that are missing, and how many connections there are.

use std::{collections::HashMap, mem, sync::Arc, time::Instant};

use super::{Done, Driver, Node};
use crate::cluster::{core::Input, nodes, queries};

impl<N: Node> Driver<N> {
    pub(super) fn beat(&mut self) {
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        if mem::replace(&mut self.is_beating, true) {
            return;
        }
        let (keys, name) = (self.keys.clone(), self.name.clone());
        let (heartbeat, is_first) = (self.settings.heartbeat, !self.has_beaten);
        let load = self.node.load();
        let sweeps = Instant::now() >= self.sweeps_from;
        self.begin(async move {
            let beat = nodes::beat(
                &mut connection,
                &keys,
                &name,
                heartbeat,
                is_first,
                &load,
                sweeps,
            );
            Done::Beat(beat.await)
        });
        self.ask_for_connections_elsewhere();
    }

    pub(super) fn take_beat(&mut self, beat: nodes::Beat) {
        self.is_beating = false;
        self.has_beaten = true;
        self.last_beat = Some(Instant::now());
        self.memory = beat.memory.into();
        if beat.was_forgotten {
            return self.rename();
        }
        self.node.alive(beat.alive);
        if !self.is_up {
            self.go_up();
        }
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

    pub(super) fn go_up(&mut self) {
        self.is_up = true;
        self.node.link(true);
        self.expire_backlog();
        self.input(Input::Up);
        self.tell_watchers_again();
    }

    pub(super) fn expire_backlog(&mut self) {
        if let Some(oldest) = Instant::now().checked_sub(self.settings.backlog_age_max) {
            self.core.expire_backlog(oldest, &mut self.outputs);
        }
    }

    /// The others took this node for dead, or Redis has forgotten it: what it has is registered under another name.
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
        // The others have taken out what this node had, but not what it did by its old name since then.
        let topics = self.names.values().map(|n| n.keys.topic.clone()).collect();
        self.lingering.clear();
        self.sweep(vec![before], topics);
        self.beat();
    }

    /// Writes down how many connections there are, if the number has changed.
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
            .filter(|(app_id, count)| self.noted.get(app_id).copied().unwrap_or(0) != *count)
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
