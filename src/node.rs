//! Node: the process-wide handle that endpoints and sessions hold: settings, apps, the directory, and `publish`, the one
//! way an event takes to its subscribers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};

pub use crate::directory::{Cached, Occupancy};
use crate::{
    apps::{App, AppUsage, Apps},
    broker::{Broker, local::Local},
    cluster::Cluster,
    config::Settings,
    directory::{Directory, Full, Publication},
    gate::Gate,
    hub::inbox::{ChannelKey, Command, Inbox},
    idempotency::Answers,
    live::Live,
    metrics::Metrics,
    observe::{Observer, Socket},
    protocol::{
        channel::ChannelName, codes::CloseReason, event::EventData, server, socket_id::SocketId,
    },
    webhook::{self, Webhooks},
};

/// See the module's documentation.
pub struct Node {
    /// swapped whole by a reload
    settings: ArcSwap<Settings>,
    apps: ArcSwap<Apps>,
    /// counts the reloads, so that a session sees with one look whether its app may have changed
    version: AtomicU64,
    directory: Arc<Directory>,
    /// `None`: this node is all there is
    cluster: Option<Cluster>,
    webhooks: Webhooks,
    broker: Box<dyn Broker>,
    answers: Answers,
    observer: Observer,
    gate: Arc<Gate>,
    is_draining: AtomicBool,
    is_closing: AtomicBool,
    hands_over: AtomicBool,
    connections: AtomicUsize,
    connections_max: usize,
}

/// An event to be published to one channel.
pub struct Event<'a> {
    pub name: &'a str,
    pub data: &'a EventData<'a>,
    /// the connection that must not get it (H-24)
    pub except: Option<SocketId>,
}

/// A member's client event, after all checks.
pub struct MemberEvent<'a> {
    pub name: &'a str,
    pub data: &'a EventData<'a>,
    /// the connection that doesn't get it (E-6)
    pub sender: SocketId,
    /// the sender's id on a presence channel (E-8)
    pub user_id: Option<&'a Arc<str>>,
}

/// Some worker's inbox stayed full for `hub.publish_wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The server is overloaded and took nothing: send the event again in a moment")]
pub struct Congested;

/// A connection that is counted; dropped, it counts no longer (C-10).
pub struct ConnectionPermit {
    node: Arc<Node>,
    usage: Arc<AppUsage>,
}

impl Node {
    /// `inboxes`: one for each worker. `connections_max`: sockets this node takes (C-8 #8). Webhooks are delivered on the
    /// runtime that this is called in.
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
        let directory = Arc::new(Directory::new(
            inboxes,
            settings.hub.cached_events_max,
            webhooks.clone(),
        ));
        Node {
            apps: ArcSwap::from_pointee(apps),
            version: AtomicU64::new(1),
            broker: Box::new(Local::new(directory.clone())),
            directory,
            cluster: None,
            webhooks,
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
            settings: ArcSwap::from_pointee(settings),
        }
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

    /// The other nodes' doings, if there are others.
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

    /// Publishes an event that came over the HTTP API; cache channels keep it (S-20). While a worker has no room it
    /// waits, up to `hub.publish_wait`.
    pub async fn publish(
        &self,
        app: &App,
        channel: &ChannelName,
        event: Event<'_>,
    ) -> Result<(), Congested> {
        let cached = channel.kind().is_cache().then(|| {
            let ttl = Duration::from_secs(u64::from(app.limits.cache_ttl_s));
            (event.data.clone().into_owned(), ttl)
        });
        let publication = Publication {
            channel: key(app, channel),
            frame: server::event(event.name, channel, event.data, None),
            except: event.except,
            published: Instant::now(),
            cached,
        };
        if let Err(full) = self.broker.publish(&publication) {
            let wait = self.settings().hub.publish_wait;
            let published = self.publish_when_there_is_room(&publication, full);
            tokio::time::timeout(wait, published).await.map_err(|_| {
                tracing::warn!(
                    app = app.id,
                    channel = channel.as_str(),
                    "refused an event: a worker's inbox is full (hub.inbox_depth_max)"
                );
                Congested
            })?;
        }
        self.observer
            .published(&app.id, channel, event.name, event.data);
        Ok(())
    }

    async fn publish_when_there_is_room(&self, publication: &Publication, mut full: Full) {
        while let Some(inbox) = self.directory.inbox(full.0) {
            let mut room = std::pin::pin!(inbox.room());
            // Listening before looking again, so that no news is missed in between.
            room.as_mut().enable();
            match self.broker.publish(publication) {
                Ok(()) => return,
                Err(still_full) => full = still_full,
            }
            room.await;
        }
    }

    /// Publishes a client event to all but its sender (E-6), and tells the webhooks (E-12). Never waits; never cached.
    pub fn publish_client_event(
        &self,
        app: &App,
        channel: &ChannelName,
        event: MemberEvent<'_>,
    ) -> Result<(), Congested> {
        let MemberEvent {
            name,
            data,
            sender,
            user_id,
        } = event;
        let publication = Publication {
            channel: key(app, channel),
            frame: server::event(name, channel, data, user_id.map(|id| &**id)),
            except: Some(sender),
            published: Instant::now(),
            cached: None,
        };
        self.broker.publish(&publication).map_err(|_| Congested)?;
        let socket = Socket {
            app: &app.id,
            id: sender,
        };
        self.observer.client_event(socket, channel, name, data);
        if self.webhooks.is_wanted(app) {
            let event = webhook::Event::ClientEvent {
                channel: channel.clone(),
                event: name.to_owned(),
                data: data.clone().into_owned(),
                socket_id: sender,
                user_id: user_id.cloned(),
            };
            self.webhooks.raise(app, event);
        }
        Ok(())
    }

    pub fn occupancy(&self, app: &App, channel: &ChannelName) -> Occupancy {
        self.directory.occupancy(&key(app, channel))
    }

    /// Occupied channels whose name starts with `prefix`, sorted by name; no user channels (U-16).
    pub fn channels(&self, app: &App, prefix: &str) -> Vec<(ChannelName, Occupancy)> {
        let mut channels = self.directory.channels(app.index, prefix);
        channels.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        channels
    }

    /// Ids of a presence channel's members, each once, sorted.
    pub fn users(&self, app: &App, channel: &ChannelName) -> Vec<Arc<str>> {
        let mut users = self.directory.users(&key(app, channel));
        users.sort_unstable();
        users
    }

    pub fn cached(&self, app: &App, channel: &ChannelName) -> Option<Cached> {
        self.directory.cached(&key(app, channel), Instant::now())
    }

    /// Closes every connection that is signed in as this user (U-30). Nobody being there is no failure.
    pub fn terminate_user(&self, app: &App, user_id: &str) {
        self.directory.terminate_user(app.index, user_id);
    }

    /// Open connections of the app (H-9).
    pub fn connection_count(&self, app: &App) -> usize {
        app.usage.connections.load(Ordering::Relaxed)
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
    pub fn admit(self: &Arc<Self>, app: &App) -> Result<ConnectionPermit, CloseReason> {
        let of_app = &app.usage.connections;
        let quota = app
            .limits
            .connections_max
            .map_or(usize::MAX, |max| max as usize);
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
