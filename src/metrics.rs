//! Metrics: what is counted, and how it is told. Counting is done by those to whom it happens, on counters that take no
//! lock; adding up and writing is left to [`admin`](crate::admin), when somebody asks.

pub mod http;
pub mod process;
pub mod shared;
pub mod worker;

use std::sync::{Arc, atomic::AtomicU64};

use self::{
    http::HttpMetrics,
    shared::{Family, Striped},
    worker::{KINDS, SocketMetrics, WorkerMetrics},
};
use crate::protocol::channel::ChannelKind;

/// All counters of the process.
#[derive(Debug)]
pub struct Metrics {
    workers: Box<[Arc<WorkerMetrics>]>,
    apps: Family<Arc<str>, AppMetrics>,
    /// of peers that were refused before their app was known; told nowhere
    strangers: Arc<AppMetrics>,
    refusals: Family<(Refused, &'static str), AtomicU64>,
    pub http: HttpMetrics,
    started_s: f64,
}

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refused {
    /// a connection, before there was a request
    Transport,
    /// a WebSocket handshake, with an HTTP status
    Handshake,
    /// a connection, with a close code
    Connection,
    Subscription,
    /// any other message of a client
    Message,
    /// a request of the HTTP API
    Request,
}

impl Refused {
    pub fn name(self) -> &'static str {
        match self {
            Refused::Transport => "transport",
            Refused::Handshake => "handshake",
            Refused::Connection => "connection",
            Refused::Subscription => "subscription",
            Refused::Message => "message",
            Refused::Request => "request",
        }
    }
}

/// What is counted for one app.
#[derive(Debug)]
pub struct AppMetrics {
    /// the last one is for channels whose coming and going a cluster decides
    workers: Box<[Arc<SocketMetrics>]>,
    /// connections that ended, by reason
    closed: Family<&'static str, AtomicU64>,
    api: Striped<4>,
}

/// Indices into [`AppMetrics::api`].
const PUBLISHED: usize = 0;
const REQUESTS: usize = 1;
const REQUEST_BYTES: usize = 2;
const RESPONSE_BYTES: usize = 3;

impl AppMetrics {
    fn new(workers: usize) -> AppMetrics {
        AppMetrics {
            workers: (0..=workers.max(1)).map(|_| Arc::default()).collect(),
            closed: Family::default(),
            api: Striped::default(),
        }
    }

    /// The counters of the app's sockets on the worker with this number, which alone may add to them.
    pub fn on(&self, worker: u16) -> Arc<SocketMetrics> {
        let own = self.workers.get(usize::from(worker));
        own.unwrap_or(&self.workers[0]).clone()
    }

    /// Of the thread that takes part in a cluster, which alone may add to them.
    pub fn cluster(&self) -> &SocketMetrics {
        &self.workers[self.workers.len() - 1]
    }

    pub fn closed(&self) -> Vec<(&'static str, u64)> {
        self.closed.counts()
    }

    pub fn published(&self) -> u64 {
        self.api.get(PUBLISHED)
    }

    pub fn requests(&self) -> u64 {
        self.api.get(REQUESTS)
    }

    pub fn request_bytes(&self) -> u64 {
        self.api.get(REQUEST_BYTES)
    }

    pub fn response_bytes(&self) -> u64 {
        self.api.get(RESPONSE_BYTES)
    }

    /// Something that its sockets count, of all workers.
    pub fn sum(&self, number: impl Fn(&SocketMetrics) -> u64) -> u64 {
        self.workers.iter().map(|sockets| number(sockets)).sum()
    }

    /// What has begun and not ended. The two are read one after the other, the end first, so it is never below zero.
    pub fn open(
        &self,
        ended: impl Fn(&SocketMetrics) -> u64,
        begun: impl Fn(&SocketMetrics) -> u64,
    ) -> u64 {
        let ended = self.sum(ended);
        self.sum(begun).saturating_sub(ended)
    }
}

impl Metrics {
    pub fn new<'a>(workers: usize, apps: impl IntoIterator<Item = &'a str>) -> Metrics {
        let metrics = Metrics {
            workers: (0..workers.max(1)).map(|_| Arc::default()).collect(),
            apps: Family::default(),
            strangers: Arc::new(AppMetrics::new(workers)),
            refusals: Family::default(),
            http: HttpMetrics::default(),
            started_s: process::now_s(),
        };
        // An app without connections has none: that is worth telling.
        for app in apps {
            metrics.app(app);
        }
        metrics
    }

    /// The counters of the hub of the worker with this number, which alone may add to them.
    pub fn worker(&self, worker: u16) -> Arc<WorkerMetrics> {
        let own = self.workers.get(usize::from(worker));
        own.unwrap_or(&self.workers[0]).clone()
    }

    /// The counters of a configured app. Never ask for an id that came over the wire.
    pub fn app(&self, id: &str) -> Arc<AppMetrics> {
        match self.apps.find(id) {
            Some(known) => known,
            None => self
                .apps
                .find_or_make(id.into(), || AppMetrics::new(self.workers.len())),
        }
    }

    /// A connection of the app ended.
    pub fn count_closed(&self, app: &str, reason: &'static str) {
        self.apps.with(app, |app| app.closed.count(reason));
    }

    /// One event to one channel of the app, published over HTTP.
    pub fn count_published(&self, app: &str) {
        self.apps.with(app, |app| app.api.add(PUBLISHED, 1));
    }

    /// An answered request to the app, if there is such an app: the id may come over the wire.
    pub fn count_request(&self, app: &str, request_bytes: u64, response_bytes: u64) {
        self.apps.with(app, |app| {
            app.api.add(REQUESTS, 1);
            app.api.add(REQUEST_BYTES, request_bytes);
            app.api.add(RESPONSE_BYTES, response_bytes);
        });
    }

    /// All apps that are or were configured, by id.
    pub fn apps(&self) -> Vec<(Arc<str>, Arc<AppMetrics>)> {
        self.apps.list()
    }

    /// All workers', in their order.
    pub fn workers(&self) -> &[Arc<WorkerMetrics>] {
        &self.workers
    }

    pub fn refusals(&self) -> Vec<((Refused, &'static str), u64)> {
        self.refusals.counts()
    }

    /// When the process started serving, in Unix seconds.
    pub fn started_s(&self) -> f64 {
        self.started_s
    }

    /// For sockets of no app.
    pub fn strangers(&self) -> &AppMetrics {
        &self.strangers
    }

    /// `reason`: one of a fixed set of names.
    pub fn count_refusal(&self, what: Refused, reason: &'static str) {
        self.refusals.count((what, reason));
    }
}

/// Kinds of channel as labels, in the order of the counters in [`SocketMetrics`].
pub const CHANNEL_KINDS: [&str; KINDS] = [
    "public",
    "cache",
    "private",
    "private_cache",
    "private_encrypted",
    "private_encrypted_cache",
    "presence",
    "presence_cache",
    "server_to_user",
];

/// Where channels of this kind are counted in [`SocketMetrics`].
pub fn kind_index(kind: ChannelKind) -> usize {
    match kind {
        ChannelKind::Public => 0,
        ChannelKind::Cache => 1,
        ChannelKind::Private => 2,
        ChannelKind::PrivateCache => 3,
        ChannelKind::PrivateEncrypted => 4,
        ChannelKind::PrivateEncryptedCache => 5,
        ChannelKind::Presence => 6,
        ChannelKind::PresenceCache => 7,
        ChannelKind::ServerToUser => 8,
    }
}
