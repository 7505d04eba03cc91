//! Metrics: what is counted, and how it is told. Counting is done by those to whom it happens, on counters that take no
//! lock; all the work is left to [`export`], which adds up and writes when somebody asks.

pub mod export;
pub mod http;
pub mod process;
pub mod shared;
mod soketi;
pub mod worker;

use std::sync::{Arc, atomic::AtomicU64};

use self::{
    http::HttpMetrics,
    shared::{Family, Striped},
    worker::{KINDS, SocketMetrics, WorkerMetrics},
};
use crate::{hub::inbox::WorkerId, protocol::channel::ChannelKind};

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
            workers: (0..workers.max(1)).map(|_| Arc::default()).collect(),
            closed: Family::default(),
            api: Striped::default(),
        }
    }

    /// The counters of the app's sockets on this worker, which alone may add to them.
    pub fn on(&self, worker: WorkerId) -> Arc<SocketMetrics> {
        let own = self.workers.get(usize::from(worker.0));
        own.unwrap_or(&self.workers[0]).clone()
    }

    pub fn count_closed(&self, reason: &'static str) {
        self.closed.count(reason);
    }

    /// One event to one channel, published over HTTP.
    pub fn count_published(&self) {
        self.api.add(PUBLISHED, 1);
    }

    /// One answered request.
    pub fn count_request(&self, request_bytes: u64, response_bytes: u64) {
        self.api.add(REQUESTS, 1);
        self.api.add(REQUEST_BYTES, request_bytes);
        self.api.add(RESPONSE_BYTES, response_bytes);
    }

    /// Something that its sockets count, of all workers.
    fn sum(&self, number: impl Fn(&SocketMetrics) -> u64) -> u64 {
        self.workers.iter().map(|sockets| number(sockets)).sum()
    }

    /// What has begun and not ended. The two are read one after the other, the end first, so it is never below zero.
    fn open(
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

    /// The counters of this worker's hub, which alone may add to them.
    pub fn worker(&self, worker: WorkerId) -> Arc<WorkerMetrics> {
        let own = self.workers.get(usize::from(worker.0));
        own.unwrap_or(&self.workers[0]).clone()
    }

    /// The counters of a configured app. Never ask for an id that came over the wire: see [`find_app`](Metrics::find_app).
    pub fn app(&self, id: &str) -> Arc<AppMetrics> {
        match self.apps.find(id) {
            Some(known) => known,
            None => self
                .apps
                .find_or_make(id.into(), || AppMetrics::new(self.workers.len())),
        }
    }

    /// The counters of an app, if there is one with this id.
    pub fn find_app(&self, id: &str) -> Option<Arc<AppMetrics>> {
        self.apps.find(id)
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
const CHANNEL_KINDS: [&str; KINDS] = [
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
