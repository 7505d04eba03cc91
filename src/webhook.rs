//! Webhooks: tells an app's own servers what happens on its channels (part 7).
//!
//! An event goes from [`Webhooks::raise`] through one bounded queue to the collector, which holds removals back and drops
//! what cancels out; from there to the queue of each endpoint that takes it; and from that, by one of the endpoint's
//! lanes, over HTTP. Nothing on this way can hold up whoever raised it.
mod body;
mod collector;
mod endpoints;
mod lane;
mod queue;
mod send;

use crate::{
    apps::{App, Apps, webhook::EventType},
    config::WebhookSettings,
    protocol::{channel::ChannelName, event::EventData, socket_id::SocketId},
    vital::supervise,
};
use arc_swap::ArcSwap;
use collector::Collector;
use endpoints::{Endpoints, Wanted};
use queue::Budget;
use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::AbortHandle,
    time::Instant,
};

/// Messages the collector takes in one turn.
const TURN_MAX: usize = 256;

/// What a webhook can tell (W-5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    ChannelOccupied {
        channel: ChannelName,
    },
    ChannelVacated {
        channel: ChannelName,
    },
    MemberAdded {
        channel: ChannelName,
        user_id: Arc<str>,
    },
    MemberRemoved {
        channel: ChannelName,
        user_id: Arc<str>,
    },
    ClientEvent {
        channel: ChannelName,
        event: String,
        data: EventData<'static>,
        socket_id: SocketId,
        /// on presence channels
        user_id: Option<Arc<str>>,
    },
    CacheMiss {
        channel: ChannelName,
    },
    SubscriptionCount {
        channel: ChannelName,
        count: u32,
    },
}

impl Event {
    pub fn kind(&self) -> EventType {
        match self {
            Event::ChannelOccupied { .. } => EventType::ChannelOccupied,
            Event::ChannelVacated { .. } => EventType::ChannelVacated,
            Event::MemberAdded { .. } => EventType::MemberAdded,
            Event::MemberRemoved { .. } => EventType::MemberRemoved,
            Event::ClientEvent { .. } => EventType::ClientEvent,
            Event::CacheMiss { .. } => EventType::CacheMiss,
            Event::SubscriptionCount { .. } => EventType::SubscriptionCount,
        }
    }

    pub fn channel(&self) -> &ChannelName {
        match self {
            Event::ChannelOccupied { channel }
            | Event::ChannelVacated { channel }
            | Event::MemberAdded { channel, .. }
            | Event::MemberRemoved { channel, .. }
            | Event::ClientEvent { channel, .. }
            | Event::CacheMiss { channel }
            | Event::SubscriptionCount { channel, .. } => channel,
        }
    }

    /// Bytes the event takes in memory, near enough for a limit; its JSON is not much longer.
    fn bytes(&self) -> usize {
        // the enum and what a queue keeps beside it
        const FIXED: usize = 192;
        let variable = match self {
            Event::ClientEvent { event, data, .. } => event.len() + data.as_json().len(),
            Event::MemberAdded { user_id, .. } | Event::MemberRemoved { user_id, .. } => {
                user_id.len()
            }
            Event::ChannelOccupied { .. }
            | Event::ChannelVacated { .. }
            | Event::CacheMiss { .. }
            | Event::SubscriptionCount { .. } => 0,
        };
        FIXED + self.channel().as_str().len() + variable
    }
}

/// What became of events and requests since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// events that reached an endpoint, counted for each
    pub delivered: AtomicU64,
    /// requests that an endpoint took (2xx)
    pub requests_ok: AtomicU64,
    /// requests that failed: no answer in time, or not 2xx
    pub requests_failed: AtomicU64,
    /// events dropped because a queue was full
    pub dropped: AtomicU64,
    /// events given up after the time for retries
    pub given_up: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// The handle to raise events with; cheap to clone. The default one has no endpoints and does nothing.
#[derive(Clone, Default)]
pub struct Webhooks {
    /// `None`: there are no endpoints and never will be
    inner: Option<Arc<Inner>>,
}

struct Inner {
    /// of the settings in force
    wanted: ArcSwap<Wanted>,
    inlet: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    /// ends the collector and every lane
    tasks: AbortHandle,
}

/// What the handle and the tasks both look at.
struct Shared {
    counters: Counters,
    /// what waits in the inlet
    inlet: Budget,
    /// what the collector holds back
    held: AtomicUsize,
    /// what waits for each endpoint, also for those that the settings no longer have. Looked at when somebody asks what is
    /// pending, and changed when settings are read: never while events pass.
    outlets: Mutex<Vec<Weak<Budget>>>,
    started: Instant,
    /// when a drop was last logged, in milliseconds after the start; 0 = never
    drop_logged_ms: AtomicU64,
}

enum Message {
    Raised(Raised),
    /// from now on other endpoints; what was raised before still goes to the old ones
    Replace(Arc<Apps>, WebhookSettings),
    /// from now on hold nothing back
    Hurry,
}

struct Raised {
    app: u32,
    event: Event,
    /// neither waits nor cancels anything
    is_settled: bool,
}

impl Webhooks {
    /// Spawns the delivery tasks on the tokio runtime it is called in.
    pub fn start(settings: &WebhookSettings, apps: &Apps) -> Webhooks {
        let shared = Arc::new(Shared {
            counters: Counters::default(),
            inlet: Budget::new(settings.queue_events_max, settings.queue_bytes_max),
            held: AtomicUsize::new(0),
            outlets: Mutex::default(),
            started: Instant::now(),
            drop_logged_ms: AtomicU64::new(0),
        });
        let mut endpoints = Endpoints::new(settings, shared.clone());
        endpoints.replace(apps, settings);
        let (inlet, messages) = mpsc::channel(settings.queue_events_max);
        let collector = Collector::new(settings);
        let collecting = tokio::spawn(collect(messages, collector, endpoints, shared.clone()));
        let tasks = collecting.abort_handle();
        supervise("collector of webhooks", collecting);
        Webhooks {
            inner: Some(Arc::new(Inner {
                wanted: ArcSwap::from_pointee(endpoints::wanted(apps)),
                inlet,
                shared,
                tasks,
            })),
        }
    }

    /// Takes over the endpoints and settings of a reload, but for the size of the first queue. Events that were raised
    /// before go where they would have gone.
    pub async fn replace(&self, apps: &Arc<Apps>, settings: &WebhookSettings) {
        let Some(inner) = &self.inner else {
            return;
        };
        let message = Message::Replace(apps.clone(), *settings);
        // Fails only after the stop.
        if inner.inlet.send(message).await.is_ok() {
            inner.wanted.store(Arc::new(endpoints::wanted(apps)));
        }
    }

    /// Whether the app has any endpoint: what is worth doing only for webhooks is not worth doing without one.
    pub fn is_wanted(&self, app: &App) -> bool {
        self.inner
            .as_ref()
            .is_some_and(|inner| inner.wanted.load().contains_key(&app.index))
    }

    /// Tells the app's endpoints of an event, some time soon. Never blocks and never fails: over the queue's limit the event
    /// is dropped, counted and (once a second at most) logged.
    pub fn raise(&self, app: &App, event: Event) {
        self.raise_for(app.index, event);
    }

    /// [`Webhooks::raise`] for the app with this index.
    pub fn raise_for(&self, app: u32, event: Event) {
        if let Some(inner) = &self.inner {
            inner.raise(app, event, false);
        }
    }

    /// [`Webhooks::raise_for`] an event that has waited already, or needn't: whoever raises it knows that nothing cancels it.
    pub fn raise_settled(&self, app: u32, event: Event) {
        if let Some(inner) = &self.inner {
            inner.raise(app, event, true);
        }
    }

    /// `None` where webhooks were never started.
    pub fn counters(&self) -> Option<&Counters> {
        self.inner.as_ref().map(|inner| &inner.shared.counters)
    }

    /// Events that wait: to be sent, to be repeated, or held back.
    pub fn pending(&self) -> usize {
        self.inner
            .as_ref()
            .map_or(0, |inner| inner.shared.pending())
    }

    /// At shutdown: gives what is queued this long to go out, what is held back included, then stops. Events raised later are
    /// lost.
    pub async fn flush(&self, patience: Duration) {
        let Some(inner) = &self.inner else {
            return;
        };
        let emptied = async {
            // Fails only when flushed before; nothing is pending then.
            let _ = inner.inlet.send(Message::Hurry).await;
            while inner.shared.pending() > 0 && !inner.inlet.is_closed() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(patience, emptied).await.is_ok();
        inner.tasks.abort();
        if !in_time {
            let lost = inner.shared.pending();
            Counters::add(&inner.shared.counters.given_up, lost);
            tracing::warn!("{lost} webhook events were still waiting at the stop and are lost");
        }
    }
}

impl Inner {
    fn raise(&self, app: u32, event: Event, is_settled: bool) {
        let (kind, channel) = (event.kind(), event.channel());
        let wanted = self.wanted.load();
        let is_wanted = wanted
            .get(&app)
            .is_some_and(|all| all.iter().any(|endpoint| endpoint.concerns(kind, channel)));
        if !is_wanted {
            return;
        }
        let bytes = event.bytes();
        if !self.shared.inlet.take(bytes) {
            return self.shared.dropped(1);
        }
        let message = Message::Raised(Raised {
            app,
            event,
            is_settled,
        });
        if let Err(refused) = self.inlet.try_send(message) {
            self.shared.inlet.give_back(1, bytes);
            // closed: after the stop, when nobody waits for news
            if let TrySendError::Full(_) = refused {
                self.shared.dropped(1);
            }
        }
    }
}

impl Shared {
    fn pending(&self) -> usize {
        // in the order in which events move, so that none is missed on its way
        self.inlet.events()
            + self.held.load(Ordering::Acquire)
            + self
                .outlets()
                .iter()
                .filter_map(Weak::upgrade)
                .map(|b| b.events())
                .sum::<usize>()
    }

    fn outlets(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Budget>>> {
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on what is in this budget counts as pending.
    fn watch(&self, budget: Budget) -> Arc<Budget> {
        let budget = Arc::new(budget);
        let mut outlets = self.outlets();
        outlets.retain(|known| known.strong_count() > 0);
        outlets.push(Arc::downgrade(&budget));
        budget
    }

    fn dropped(&self, count: usize) {
        Counters::add(&self.counters.dropped, count);
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.drop_logged_ms.load(Ordering::Relaxed);
        if last != 0 && now < last.saturating_add(1_000) {
            return;
        }
        let ours = self.drop_logged_ms.compare_exchange(
            last,
            now.max(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if ours.is_ok() {
            tracing::warn!(
                dropped = self.counters.dropped.load(Ordering::Relaxed),
                "dropped webhook events: more are waiting than webhook.queue_events_max or webhook.queue_bytes_max allows"
            );
        }
    }
}

/// The collector's task; owns the endpoints. Ends when the last handle is gone and everything has been sent.
async fn collect(
    mut messages: mpsc::Receiver<Message>,
    mut collector: Collector,
    mut endpoints: Endpoints,
    shared: Arc<Shared>,
) {
    let mut turn = Vec::new();
    let mut ready = Vec::new();
    let mut is_open = true;
    while is_open {
        let due = collector.next_due();
        tokio::select! {
            count = messages.recv_many(&mut turn, TURN_MAX) => is_open = count > 0,
            () = sleep_until(due) => {}
        }
        let now = Instant::now();
        let (mut count, mut bytes) = (0, 0);
        for message in turn.drain(..) {
            match message {
                Message::Raised(raised) => {
                    count += 1;
                    bytes += raised.event.bytes();
                    match raised.is_settled {
                        true => ready.push((raised.app, raised.event)),
                        false => collector.take(raised.app, raised.event, now, &mut ready),
                    }
                }
                Message::Replace(apps, settings) => {
                    for (app, event) in ready.drain(..) {
                        endpoints.hand_out(app, event, now);
                    }
                    endpoints.replace(&apps, &settings);
                    collector.configure(&settings);
                }
                Message::Hurry => collector.stop_holding(&mut ready),
            }
        }
        collector.release(now, &mut ready);
        if !is_open {
            collector.stop_holding(&mut ready);
        }
        for (app, event) in ready.drain(..) {
            endpoints.hand_out(app, event, now);
        }
        // Backwards and last, so that no event is nowhere while `pending` looks.
        shared.held.store(collector.held(), Ordering::Release);
        shared.inlet.give_back(count, bytes);
    }
    endpoints.finish().await;
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
