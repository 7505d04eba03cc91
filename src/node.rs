//! Node: the process-wide handle that endpoints and sessions hold: settings, apps, the directory, this node's part in a cluster.
//! `publish`, the one way an event takes to its subscribers, and what is asked about channels are in files of their own: they
//! alone know whether the cluster answers or the directory of a node that is alone.

mod events;
mod readiness;
mod state;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};

pub use self::{
    events::{Congested, Event, MemberEvent},
    readiness::Readiness,
};
pub use crate::directory::{Cached, Occupancy};
use crate::{
    apps::{App, AppUsage, Apps},
    cluster::{self, Cluster, ClusterSettings},
    config::Settings,
    directory::Directory,
    gate::Gate,
    hub::inbox::{ChannelKey, Command, Inbox},
    idempotency::Answers,
    live::Live,
    metrics::Metrics,
    observe::Observer,
    protocol::{channel::ChannelName, codes::CloseReason},
    webhook::Webhooks,
};

/// See the module's documentation.
pub struct Node {
    /// swapped whole by a reload
    settings: Arc<ArcSwap<Settings>>,
    apps: Arc<ArcSwap<Apps>>,
    /// counts the reloads, so that a session sees with one look whether its app may have changed
    version: AtomicU64,
    directory: Directory,
    webhooks: Webhooks,
    /// `None`: this node is alone
    cluster: Option<Cluster>,
    answers: Answers,
    observer: Observer,
    gate: Arc<Gate>,
    is_draining: AtomicBool,
    is_closing: AtomicBool,
    hands_over: AtomicBool,
    connections: AtomicUsize,
    connections_max: usize,
}

/// A connection that is counted; dropped, it counts no longer (C-10).
pub struct ConnectionPermit {
    node: Arc<Node>,
    usage: Arc<AppUsage>,
}

impl Node {
    /// A node that is alone. `inboxes`: one for each worker. `connections_max`: sockets this node takes (C-8 #8). Webhooks are
    /// delivered on the runtime that this is called in.
    pub fn new(settings: Settings, inboxes: Vec<Inbox>, connections_max: usize) -> Node {
        let apps = Apps::new(settings.apps.clone());
        let ids = settings.apps.iter().map(|app| app.id.as_str());
        let observer = Observer::new(
            Arc::new(Metrics::new(inboxes.len(), ids)),
            Live::new(
                settings.admin.live_listeners_max,
                settings.admin.live_queue_events_max,
            ),
        );
        let webhooks = Webhooks::start(&settings.webhook, &apps);
        Node {
            apps: Arc::new(ArcSwap::from_pointee(apps)),
            version: AtomicU64::new(1),
            directory: Directory::new(inboxes, settings.hub.cached_events_max, webhooks.clone()),
            webhooks,
            cluster: None,
            answers: Answers::new(
                settings.publish.idempotency_window,
                settings.publish.idempotency_keys_max,
            ),
            observer,
            gate: Arc::new(Gate::new()),
            is_draining: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            hands_over: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            connections_max,
            settings: Arc::new(ArcSwap::from_pointee(settings)),
        }
    }

    /// The same node as one of a cluster, from now on. Fails if there can be no thread for it.
    pub fn in_cluster(mut self, settings: ClusterSettings) -> io::Result<Node> {
        let parts = cluster::Parts {
            inboxes: self.directory.inboxes().to_vec(),
            apps: self.apps.clone(),
            settings: self.settings.clone(),
            webhooks: self.webhooks.clone(),
            metrics: self.observer.metrics.clone(),
        };
        self.cluster = Some(cluster::start(settings, parts)?);
        Ok(self)
    }

    /// The settings in force. Don't keep them: a reload puts others in their place.
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// The apps in force.
    pub fn apps(&self) -> Guard<Arc<Apps>> {
        self.apps.load()
    }

    /// Grows with every reload, after the apps have changed. Never 0.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Puts new settings into force. Connections of apps that are gone or disabled are closed with 4001 or 4003 (C-38);
    /// everything else goes on, and goes by the new settings from its next message or request on. What belongs to
    /// listeners, workers and queues stays as it was at the start.
    pub async fn reload(&self, settings: Settings) {
        let apps = Arc::new(self.apps.load().succeeded_by(settings.apps.clone()));
        let webhook = settings.webhook;
        for app in apps.iter() {
            self.observer.metrics.app(&app.id);
        }
        let before = self.apps.swap(apps.clone());
        self.settings.store(Arc::new(settings));
        self.version.fetch_add(1, Ordering::Release);
        for app in before.iter() {
            let reason = match apps.by_id(&app.id) {
                None => CloseReason::AppDoesNotExist,
                Some(app) if !app.enabled => CloseReason::AppDisabled,
                Some(_) => continue,
            };
            self.close_app(app.index, reason);
        }
        self.webhooks.replace(&apps, &webhook).await;
    }

    fn close_app(&self, app: u32, reason: CloseReason) {
        for inbox in self.directory.inboxes() {
            inbox.push(Command::CloseApp { app, reason });
        }
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// This node's part in a cluster, if it isn't alone.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    #[cfg(test)]
    pub(crate) fn take_part_in(&mut self, cluster: Cluster) {
        self.cluster = Some(cluster);
    }

    pub fn webhooks(&self) -> &Webhooks {
        &self.webhooks
    }

    /// Counts what happens, and tells it.
    pub fn observe(&self) -> &Observer {
        &self.observer
    }

    /// Whether idempotency keys are looked at at all.
    pub fn answers_repeats(&self) -> bool {
        !self.settings().publish.idempotency_window.is_zero()
    }

    /// The answers that publishers with idempotency keys were given.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Open connections of all apps.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Sockets this node takes.
    pub fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// Counts a new connection, or says which limit it breaks (C-8 #7 and #8).
    ///
    /// The app's limit is one for the whole cluster. What other nodes have is known as of the last heartbeat: for that long nodes
    /// that are asked at the same time may admit more than the limit together.
    pub fn admit(self: &Arc<Self>, app: &App) -> Result<ConnectionPermit, CloseReason> {
        let of_app = &app.usage.connections;
        let quota = app.limits.connections_max.map_or(usize::MAX, |max| {
            (max as usize).saturating_sub(self.known_elsewhere(app))
        });
        if !count_up(of_app, quota) {
            return Err(CloseReason::OverConnectionQuota);
        }
        if !count_up(&self.connections, self.connections_max) {
            of_app.fetch_sub(1, Ordering::Relaxed);
            return Err(CloseReason::OverCapacity);
        }
        Ok(ConnectionPermit {
            node: self.clone(),
            usage: app.usage.clone(),
        })
    }

    fn known_elsewhere(&self, app: &App) -> usize {
        let cluster = self.cluster.as_ref();
        cluster.map_or(0, |cluster| cluster.status().connections_elsewhere(&app.id))
    }

    /// What one address may do.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Whether a stop has begun: readiness fails.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Whether sockets are being closed, so that new ones can't stay.
    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Whether a successor takes connections already: newcomers are sent on with 4200 instead of refused.
    pub fn hands_over(&self) -> bool {
        self.hands_over.load(Ordering::Relaxed)
    }

    pub fn hand_over(&self) {
        self.hands_over.store(true, Ordering::Relaxed);
    }

    /// From now on readiness fails; otherwise everything goes on.
    pub fn fail_readiness(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// From now on new sockets are refused and readiness fails; the open ones are closed as `server.drain_s` or
    /// `server.drain_rate_per_s` say (C-34). Returns how long that will take.
    pub fn drain(&self) -> Duration {
        self.fail_readiness();
        self.is_closing.store(true, Ordering::Relaxed);
        let over = {
            let server = &self.settings().server;
            server.stopping.time_for(self.connections(), server.drain)
        };
        for inbox in self.directory.inboxes() {
            inbox.push(Command::Drain { over });
        }
        over
    }
}

impl ConnectionPermit {
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }
}

fn key(app: &App, channel: &ChannelName) -> ChannelKey {
    ChannelKey {
        app: app.index,
        name: channel.clone(),
    }
}

/// Adds one unless that would exceed `max`.
fn count_up(count: &AtomicUsize, max: usize) -> bool {
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
            (n < max).then_some(n + 1)
        })
        .is_ok()
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.node.connections.fetch_sub(1, Ordering::Relaxed);
        self.usage.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
