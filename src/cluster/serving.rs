//! What the driver has for somebody of this process: frames for the workers' inboxes, answers for sockets and requests, webhooks.

use std::{
    collections::HashMap,
    future::Future,
    io, mem,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{
    core::Core,
    driver::{ClusterSettings, Driver, Node, Rulebook as RulesOf},
    handle::{Asker, Cluster, Joining, Looking, Place, Reply, Waiter, Watching, Welcome},
    rules::{Rulebook, Rules},
    status::Status,
    terms::{Body, Happening, View, What},
    wire,
};
use crate::{
    apps::{App, Apps},
    config::Settings,
    frame::Frame,
    hub::inbox::{Admission, ChannelKey, Command, Inbox, Letter, Position, WorkerId},
    metrics::{Metrics, kind_index},
    protocol::{
        channel::ChannelName,
        codes::{CloseReason, SubscribeError},
        presence::Member,
        server,
    },
    vital,
    webhook::{Event, Webhooks},
};

/// Between two log lines about messages of another version.
const SKIPPED_LOG_PAUSE: Duration = Duration::from_secs(60);

/// What a node brings into the cluster.
pub struct Parts {
    pub inboxes: Vec<Inbox>,
    pub apps: Arc<ArcSwap<Apps>>,
    pub settings: Arc<ArcSwap<Settings>>,
    pub webhooks: Webhooks,
    pub metrics: Arc<Metrics>,
}

/// Takes part in the cluster from now on, on a thread of its own. Whether Redis is there is found out later.
pub fn start(settings: ClusterSettings, parts: Parts) -> io::Result<Cluster> {
    let (requests, receiver) = mpsc::unbounded_channel();
    let status = Arc::new(Status::default());
    let rulebook = Rulebook {
        settings: parts.settings.clone(),
        webhooks: parts.webhooks.clone(),
    };
    let cluster = Cluster::new(
        requests,
        settings.publishes_max,
        status.clone(),
        rulebook.clone(),
    );
    let serving = Serving {
        inboxes: parts.inboxes,
        apps: parts.apps,
        webhooks: parts.webhooks,
        rulebook,
        status,
        started: Instant::now(),
        metrics: parts.metrics,
        host: gethostname::gethostname().to_string_lossy().into_owned(),
        missed_cache: Vec::new(),
        last_list: None,
        skipped_logged: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("cluster".to_owned())
        .spawn(move || {
            let driving = || runtime.block_on(Driver::new(settings, serving).run(receiver));
            if panic::catch_unwind(AssertUnwindSafe(driving)).is_err() {
                vital::end("driver of the cluster");
            }
        })?;
    Ok(cluster)
}

/// See the module's documentation.
struct Serving {
    inboxes: Vec<Inbox>,
    apps: Arc<ArcSwap<Apps>>,
    webhooks: Webhooks,
    rulebook: Rulebook,
    status: Arc<Status>,
    started: Instant,
    missed_cache: Vec<(ChannelKey, Duration)>,
    /// the list of members that was written last, and its edition
    last_list: Option<(u64, Frame)>,
    /// when a message of another version was last logged
    skipped_logged: Option<Instant>,
    metrics: Arc<Metrics>,
    host: String,
}

/// What a node says of itself, for `resound nodes`. Another version may say less or more.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    pub version: String,
    pub host: String,
    pub pid: u32,
    /// seconds
    pub up_s: u64,
    pub connections: usize,
    pub channels: usize,
}

impl Serving {
    fn push(&self, worker: WorkerId, command: Command) {
        if let Some(inbox) = self.inboxes.get(usize::from(worker.0)) {
            inbox.push(command);
        }
    }

    fn app(&self, index: u32) -> Option<Arc<App>> {
        self.apps.load().by_index(index).cloned()
    }

    /// The frames of a success, in the order of S-13.
    fn welcome(&mut self, channel: &ChannelKey, view: &View<'_>) -> Vec<Frame> {
        let name = &channel.name;
        let kind = name.kind();
        let mut frames = vec![match kind.is_presence() {
            true => self.member_list(name, view),
            false => server::subscription_succeeded(name),
        }];
        if kind.is_cache() {
            let kept = view.cached.filter(|kept| kept.until > Instant::now());
            match kept {
                Some(kept) => frames.push(kept.frame.clone()),
                None => {
                    frames.push(server::cache_miss(name));
                    self.note_cache_miss(channel);
                }
            }
        }
        frames
    }

    /// Many join a large channel at a time, and are told the same.
    fn member_list(&mut self, name: &ChannelName, view: &View<'_>) -> Frame {
        if let Some((edition, frame)) = &self.last_list
            && *edition == view.edition
            && view.edition > 0
        {
            return frame.clone();
        }
        let members: Vec<Arc<Member>> = view.members.values().cloned().collect();
        let frame = server::presence_subscription_succeeded(name, &members);
        self.last_list = Some((view.edition, frame.clone()));
        frame
    }

    /// The app may fill the cache (S-22); one node tells it.
    fn note_cache_miss(&mut self, channel: &ChannelKey) {
        if self
            .app(channel.app)
            .is_some_and(|app| self.webhooks.is_wanted(&app))
        {
            let interval = self.rulebook.settings.load().webhook.cache_miss_interval;
            self.missed_cache.push((channel.clone(), interval));
        }
    }

    /// Answers a socket. The place of a join goes with the reply.
    fn admit(
        &self,
        asker: Asker,
        channels: Vec<(ChannelKey, Position)>,
        frames: Vec<Frame>,
        reply: Reply,
    ) {
        let admission = Admission {
            socket: asker.socket,
            socket_id: asker.socket_id,
            channels,
            frames,
            letter: Letter(Box::new(reply)),
        };
        self.push(asker.worker, Command::Admit(Box::new(admission)));
    }

    fn let_in(&mut self, joining: Joining, core: &Core, joined: u64) {
        let Joining {
            asker,
            place,
            welcome,
        } = joining;
        let channel = place.channel().clone();
        let Some(view) = core.view(&channel) else {
            return;
        };
        let frames = match welcome {
            Welcome::Subscribed => {
                let mut frames = self.welcome(&channel, &view);
                // Of the number that it makes a joiner is told too (S-25), even if the others have been told already.
                let count = view.count.filter(|(told, _)| *told > joined);
                frames.extend(count.map(|(_, n)| server::subscription_count(&channel.name, n)));
                frames
            }
            Welcome::Frame(frame) => vec![frame],
        };
        let since = Position(view.sequence);
        self.admit(asker, vec![(channel, since)], frames, Reply::Joined(place));
    }

    /// All users of the list are watched: tells who is there at this moment.
    fn let_watch(&self, watching: &Watching, core: &Core) {
        let asker = watching.asker;
        let (mut online, mut offline) = (Vec::new(), Vec::new());
        let (mut places, mut since) = (Vec::new(), Vec::new());
        for channel in &watching.channels {
            let view = core.view(channel);
            let is_online = view.as_ref().is_some_and(|view| view.is_online);
            if let Some(user_id) = channel.name.concerned_user() {
                let list = if is_online { &mut online } else { &mut offline };
                list.push(Arc::from(user_id));
            }
            let sequence = view.map_or(0, |view| view.sequence);
            since.push((channel.clone(), Position(sequence)));
            places.push(Place::watching(watching, channel));
        }
        let frames = vec![server::watchlist_events(&online, &offline)];
        self.admit(asker, since, frames, Reply::Watching(places));
    }

    fn refuse(&self, waiter: Waiter, why: impl FnOnce(&App) -> SubscribeError) {
        if let Waiter::Join(joining) = waiter {
            let Joining { asker, place, .. } = *joining;
            let (app, channel) = place.forget();
            let reply = Reply::Refused(channel.name, why(&app));
            self.admit(asker, Vec::new(), Vec::new(), reply);
        }
    }

    fn frame_of(channel: &ChannelKey, what: &What) -> Option<Frame> {
        let name = &channel.name;
        Some(match what {
            What::Event(event) => match &event.body {
                Body::Frame(frame) => frame.clone(),
                Body::Close => return None,
            },
            What::MemberAdded(member) => server::member_added(name, member),
            What::MemberRemoved(user_id) => server::member_removed(name, user_id),
            What::Count(count) => server::subscription_count(name, *count),
            What::Online(is_online) => {
                let user = [Arc::from(name.concerned_user()?)];
                match is_online {
                    true => server::watchlist_events(&user, &[]),
                    false => server::watchlist_events(&[], &user),
                }
            }
            What::MemberChanged(_) | What::Doubt(_) | What::Nothing => return None,
        })
    }
}

impl Node for Serving {
    type Waiter = Waiter;

    fn tell(&mut self, channel: &ChannelKey, workers: &[WorkerId], position: u64, what: &What) {
        let position = Position(position);
        let (except, published) = match what {
            What::Event(event) => (event.except, event.published),
            _ => (None, Instant::now()),
        };
        let frame = Serving::frame_of(channel, what);
        let closes = matches!(what, What::Event(event) if event.body == Body::Close);
        for worker in workers {
            let channel = channel.clone();
            let command = match &frame {
                Some(frame) => Command::Deliver {
                    channel,
                    position,
                    frame: frame.clone(),
                    except,
                    published,
                },
                None if closes => Command::Close {
                    channel,
                    position,
                    reason: CloseReason::TerminatedByApp,
                },
                None => return,
            };
            self.push(*worker, command);
        }
    }

    fn joined(&mut self, waiter: Waiter, core: &Core, joined: u64) {
        match waiter {
            Waiter::Join(joining) => self.let_in(*joining, core, joined),
            Waiter::Watch(watching) => {
                if watching.is_answered() {
                    self.let_watch(&watching, core);
                }
            }
            Waiter::Look(_) | Waiter::Publish { .. } => {}
        }
    }

    fn full(&mut self, waiter: Waiter) {
        self.refuse(waiter, |_| SubscribeError::MembersLimit);
    }

    fn has_no_room_for(&self, channel: &ChannelKey, opening: usize) -> bool {
        self.app(channel.app).is_some_and(|app| {
            let open = app.usage.channels.load(Ordering::Relaxed);
            open + opening >= app.limits.channels_max
        })
    }

    fn has_no_room(&mut self, waiter: Waiter) {
        self.refuse(waiter, |app| SubscribeError::AppChannelsLimit {
            max: app.limits.channels_max,
        });
    }

    fn looked(&mut self, waiter: Waiter, core: &Core) {
        if let Waiter::Look(looking) = waiter {
            let Looking { asker, channel } = *looking;
            let frames = match core.view(&channel) {
                Some(view) => self.welcome(&channel, &view),
                None => vec![server::subscription_succeeded(&channel.name)],
            };
            self.admit(asker, Vec::new(), frames, Reply::Looked);
        }
    }

    fn published(&mut self, waiter: Waiter) {
        if let Waiter::Publish {
            taken: Some(taken), ..
        } = waiter
        {
            // whoever published may have gone
            let _ = taken.send(());
        }
    }

    fn opened(&mut self, channel: &ChannelKey, is_open: bool) {
        if channel.name.is_watchers() {
            return;
        }
        let apps = self.apps.load();
        if let Some(app) = apps.by_index(channel.app) {
            let kind = kind_index(channel.name.kind());
            let metrics = self.metrics.app(&app.id);
            match is_open {
                true => metrics.cluster().occupied[kind].add(1),
                false => metrics.cluster().vacated[kind].add(1),
            }
        }
        // also of an app that the settings miss by now: it may come back
        if let Some(usage) = apps.usage(channel.app) {
            // those of users don't count towards the limit
            let counted = usize::from(!channel.name.is_internal());
            match is_open {
                true => usage.channels.fetch_add(counted, Ordering::Relaxed),
                false => usage.channels.fetch_sub(counted, Ordering::Relaxed),
            };
        }
    }

    fn happened(&mut self, channel: &ChannelKey, happening: &Happening) {
        if channel.name.is_internal() {
            return;
        }
        let name = channel.name.clone();
        let event = match happening {
            Happening::Occupied => Event::ChannelOccupied { channel: name },
            Happening::Vacated => Event::ChannelVacated { channel: name },
            Happening::MemberAdded(user_id) => Event::MemberAdded {
                channel: name,
                user_id: user_id.clone(),
            },
            Happening::MemberRemoved(user_id) => Event::MemberRemoved {
                channel: name,
                user_id: user_id.clone(),
            },
            Happening::Count(count) => Event::SubscriptionCount {
                channel: name,
                count: *count,
            },
            // has been told already
            Happening::Restored => return,
        };
        self.webhooks.raise_settled(channel.app, event);
    }

    fn missed_cache(&mut self) -> Vec<(ChannelKey, Duration)> {
        mem::take(&mut self.missed_cache)
    }

    fn tell_cache_miss(&mut self, channel: &ChannelKey) {
        let event = Event::CacheMiss {
            channel: channel.name.clone(),
        };
        self.webhooks.raise_settled(channel.app, event);
    }

    fn missed(&mut self, events: u64) {
        self.status.missed.fetch_add(events, Ordering::Relaxed);
    }

    fn skipped(&mut self, topic: &str, why: wire::Unreadable) {
        self.status.skipped.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let is_first = self
            .skipped_logged
            .is_none_or(|logged| now - logged >= SKIPPED_LOG_PAUSE);
        if is_first {
            self.skipped_logged = Some(now);
            tracing::warn!(
                topic,
                "skipped a message of another node: {why}. While nodes of two versions run side by side that is to be expected; \
                 resound_cluster_skipped_messages_total counts them"
            );
        }
    }

    fn link(&mut self, is_up: bool) {
        let was_up = self.status.set_up(is_up);
        if was_up && !is_up {
            self.status.losses.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn named(&mut self, name: &str, is_renamed: bool) {
        self.status.set_name(name);
        if is_renamed {
            self.status.renamed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn alive(&mut self, nodes: usize) {
        self.status.nodes_alive.store(nodes, Ordering::Relaxed);
    }

    fn backlog(&mut self, events: usize, bytes: usize, dropped: u64) {
        self.status.backlog_events.store(events, Ordering::Relaxed);
        self.status.backlog_bytes.store(bytes, Ordering::Relaxed);
        self.status.dropped.store(dropped, Ordering::Relaxed);
    }

    fn took(&mut self, time: Duration) {
        self.status.latency.observe(time);
    }

    fn is_congested(&self) -> bool {
        self.inboxes.iter().any(Inbox::is_full)
    }

    fn catch_up(&mut self) -> impl Future<Output = ()> + Send + 'static {
        let ask = |inbox: &Inbox| {
            let (done, is_done) = oneshot::channel();
            inbox.push(Command::CatchUp { done });
            is_done
        };
        let workers: Vec<_> = self.inboxes.iter().map(ask).collect();
        async move {
            for is_done in workers {
                // a worker that is gone has no sockets left
                let _ = is_done.await;
            }
        }
    }

    fn load(&self) -> String {
        let apps = self.apps.load();
        let sum = |of: fn(&App) -> usize| apps.iter().map(|app| of(app)).sum();
        let load = Load {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: self.host.clone(),
            pid: std::process::id(),
            up_s: self.started.elapsed().as_secs(),
            connections: sum(|app| app.usage.connections.load(Ordering::Relaxed)),
            channels: sum(|app| app.usage.channels.load(Ordering::Relaxed)),
        };
        serde_json::to_string(&load).unwrap_or_default()
    }

    fn connections(&self) -> Vec<(Arc<str>, usize)> {
        let apps = self.apps.load();
        let counts = apps.usages().map(|(app_id, usage)| {
            let open = usage.connections.load(Ordering::Relaxed);
            (Arc::from(app_id), open)
        });
        counts.collect()
    }

    fn apps_with_quota(&self) -> Vec<Arc<str>> {
        let apps = self.apps.load();
        let limited = apps
            .iter()
            .filter(|app| app.limits.connections_max.is_some());
        limited.map(|app| app.id.as_str().into()).collect()
    }

    fn connections_elsewhere(&mut self, counts: HashMap<String, usize>) {
        self.status.set_connections_elsewhere(counts);
    }

    fn app(&self, app_id: &str) -> Option<u32> {
        self.apps.load().by_id(app_id).map(|app| app.index)
    }

    fn rulebook(&self) -> Arc<RulesOf> {
        let (apps, rulebook) = (self.apps.clone(), self.rulebook.clone());
        Arc::new(move |app_id: &str, channel: &ChannelName| {
            let apps = apps.load();
            let app = apps.by_id(app_id);
            app.map_or_else(Rules::default, |app| rulebook.rules(app, channel))
        })
    }
}
