//! A lane of an endpoint: one request after the other, each repeated until it is taken or its time is over, so that
//! nothing overtakes (W-9, W-10).
use super::{
    Counters, Event, Shared, body,
    queue::{Budget, Outlet, Queued},
    send::Client,
};
use crate::{
    apps::{App, webhook::Webhook},
    config::WebhookSettings,
};
use bytes::Bytes;
use futures_util::FutureExt;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

/// Half of nginx's default limit for a body.
const BATCH_BYTES_MAX: usize = 524_288;

const X_PUSHER_KEY: HeaderName = HeaderName::from_static("x-pusher-key");
const X_PUSHER_SIGNATURE: HeaderName = HeaderName::from_static("x-pusher-signature");

struct Lane {
    app: Arc<App>,
    webhook: Arc<Webhook>,
    queue: mpsc::UnboundedReceiver<Queued>,
    /// taken from the queue, but too much for the last batch
    leftover: Option<Queued>,
    budget: Arc<Budget>,
    client: Client,
    settings: WebhookSettings,
    shared: Arc<Shared>,
    streak: Streak,
}

/// Events that go in one request; never empty.
struct Batch {
    events: Vec<Arc<Event>>,
    bytes: usize,
    /// since when the last of them has waited
    youngest: Instant,
}

/// Starts the lanes of an endpoint and returns their entrance.
pub(super) fn start(
    app: &Arc<App>,
    webhook: &Arc<Webhook>,
    budget: &Arc<Budget>,
    client: &Client,
    settings: &WebhookSettings,
    shared: &Arc<Shared>,
    tasks: &mut JoinSet<()>,
) -> Outlet {
    // batches do what several lanes do otherwise
    let count = if settings.batching {
        1
    } else {
        settings.requests_max
    };
    let mut entrances = Vec::with_capacity(count);
    for _ in 0..count {
        let (entrance, queue) = mpsc::unbounded_channel();
        entrances.push(entrance);
        let lane = Lane {
            app: app.clone(),
            webhook: webhook.clone(),
            queue,
            leftover: None,
            budget: budget.clone(),
            client: client.clone(),
            settings: *settings,
            shared: shared.clone(),
            streak: Streak::new(settings),
        };
        tasks.spawn(lane.run());
    }
    Outlet::new(webhook.clone(), entrances, budget.clone())
}

impl Lane {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            // A lane that was gone would take its events with it from then on.
            let delivered = AssertUnwindSafe(self.deliver(&batch)).catch_unwind();
            if delivered.await.is_err() {
                self.give_up(&batch, "sending it panicked, which is a fault of Resound");
            }
            self.budget.give_back(batch.events.len(), batch.bytes);
        }
    }

    /// The next events to be sent together: one, unless batching is on (W-12). `None` when there will be no more.
    async fn next_batch(&mut self) -> Option<Batch> {
        let first = match self.leftover.take() {
            Some(first) => first,
            None => self.queue.recv().await?,
        };
        // what waited behind a failing request doesn't wait again
        let until = first.since + self.settings.batch_time;
        let mut batch = Batch::new(first);
        while self.settings.batching && batch.events.len() < self.settings.batch_events_max {
            let Ok(Some(next)) = timeout_at(until, self.queue.recv()).await else {
                break;
            };
            if batch.bytes + next.event.bytes() > BATCH_BYTES_MAX {
                self.leftover = Some(next);
                break;
            }
            batch.push(next);
        }
        Some(batch)
    }

    /// Sends a batch until it is taken or its time is over.
    async fn deliver(&mut self, batch: &Batch) {
        if self.streak.is_hopeless(batch.youngest, Instant::now()) {
            return self.give_up(batch, "it has taken nothing for too long");
        }
        let body = body::body(unix_ms(), batch.events.iter().map(AsRef::as_ref));
        let headers = headers(&self.app, &self.webhook, &body);
        let body = Bytes::from(body);
        for attempt in 1_u32.. {
            let started = Instant::now();
            let sent = self
                .client
                .post(&self.webhook, headers.clone(), body.clone());
            let Err(failure) = sent.await else {
                return self.succeeded(batch);
            };
            Counters::add(&self.shared.counters.requests_failed, 1);
            let jitter = rand::random_range(0.5..=1.0);
            let retry = self
                .streak
                .failed(started, batch.youngest, Instant::now(), jitter);
            self.log_failure(batch, attempt, &failure.to_string(), retry);
            match retry {
                Some(delay) => sleep(delay).await,
                None => return self.give_up(batch, &failure.to_string()),
            }
        }
    }

    fn succeeded(&mut self, batch: &Batch) {
        self.streak.succeeded();
        Counters::add(&self.shared.counters.requests_ok, 1);
        Counters::add(&self.shared.counters.delivered, batch.events.len());
    }

    fn log_failure(&self, batch: &Batch, attempt: u32, reason: &str, retry: Option<Duration>) {
        tracing::warn!(
            app = self.app.id,
            url = self.webhook.shown_url(),
            attempt,
            events = batch.events.len(),
            retry_in_ms = retry.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            "a webhook failed: {reason}"
        );
    }

    fn give_up(&mut self, batch: &Batch, reason: &str) {
        self.streak.gave_up();
        Counters::add(&self.shared.counters.given_up, batch.events.len());
        tracing::error!(
            app = self.app.id,
            url = self.webhook.shown_url(),
            events = batch.events.len(),
            "gave up a webhook, its events are lost: {reason}"
        );
    }
}

impl Batch {
    fn new(first: Queued) -> Batch {
        Batch {
            bytes: first.event.bytes(),
            youngest: first.since,
            events: vec![first.event],
        }
    }

    fn push(&mut self, next: Queued) {
        self.bytes += next.event.bytes();
        self.youngest = next.since;
        self.events.push(next.event);
    }
}

fn unix_ms() -> u64 {
    let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// The endpoint's own headers and ours (W-2, W-3). Repeated requests repeat them.
fn headers(app: &App, webhook: &Webhook, body: &str) -> HeaderMap {
    let mut headers = webhook.headers.clone();
    // without a charset: the Node SDK compares for equality
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let signature = app.secret.sign(body.as_bytes());
    for (name, value) in [
        (X_PUSHER_KEY, app.key.as_str()),
        (X_PUSHER_SIGNATURE, signature.as_str()),
    ] {
        // keys are checked to fit a path, signatures are hex: both fit a header
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers
}

/// How long a lane's endpoint has been failing, and what follows from it. Pure: time and chance are passed in.
struct Streak {
    delay: Duration,
    delay_min: Duration,
    delay_max: Duration,
    window: Duration,
    /// start of the first failed request since the last good one
    failing_since: Option<Instant>,
    /// batches given up since then
    given_up: u32,
}

impl Streak {
    fn new(settings: &WebhookSettings) -> Streak {
        let delay_min = settings.retry_delay.min(settings.retry_delay_max);
        Streak {
            delay: delay_min,
            delay_min,
            delay_max: settings.retry_delay_max,
            window: settings.retry_window,
            failing_since: None,
            given_up: 0,
        }
    }

    fn succeeded(&mut self) {
        self.delay = self.delay_min;
        self.failing_since = None;
        self.given_up = 0;
    }

    /// A request failed. Returns the delay until it is to be repeated, `None` when its time is over. `jitter`: 0.5 to 1.
    fn failed(
        &mut self,
        started: Instant,
        waiting_since: Instant,
        now: Instant,
        jitter: f64,
    ) -> Option<Duration> {
        let failing_since = *self.failing_since.get_or_insert(started);
        let left = self
            .expiry(waiting_since, failing_since)
            .saturating_duration_since(now);
        if left.is_zero() {
            return None;
        }
        let delay = self.delay.mul_f64(jitter);
        self.delay = self.delay.saturating_mul(2).min(self.delay_max);
        // the last attempt is at the very end
        Some(delay.min(left))
    }

    fn gave_up(&mut self) {
        self.given_up = self.given_up.saturating_add(1);
    }

    /// Whether a batch needs no attempt of its own: its time ran out behind others, and not only one of them, which may have
    /// been the endpoint's problem itself, was given up.
    fn is_hopeless(&self, waiting_since: Instant, now: Instant) -> bool {
        let is_over = |failing_since| self.expiry(waiting_since, failing_since) <= now;
        self.given_up >= 2 && self.failing_since.is_some_and(is_over)
    }

    /// A batch's time starts when it could first have been sent to an endpoint that takes nothing (W-9).
    fn expiry(&self, waiting_since: Instant, failing_since: Instant) -> Instant {
        waiting_since.max(failing_since) + self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streak() -> Streak {
        Streak::new(&crate::config::from_toml("").expect("defaults").webhook)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn w9_delays_double_up_to_a_minute_for_five_minutes() {
        let mut streak = streak();
        let start = Instant::now();
        let mut now = start;
        let mut delays = Vec::new();
        while let Some(delay) = streak.failed(now, start, now, 1.0) {
            delays.push(delay.as_secs());
            now += delay;
        }
        // 1 + 2 + … + 32 + 60 + … = 300: the last is cut so that it ends with the window
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60, 57]);
        assert_eq!(now - start, seconds(300));
    }

    #[test]
    fn w9_delays_are_jittered() {
        let start = Instant::now();
        let mut streak = streak();
        let first = streak.failed(start, start, start, 0.5);
        assert_eq!(first, Some(Duration::from_millis(500)));
        let second = streak.failed(start, start, start, 0.75);
        assert_eq!(second, Some(Duration::from_millis(1_500)));
    }

    #[test]
    fn w9_a_success_starts_over() {
        let start = Instant::now();
        let mut streak = streak();
        streak.failed(start, start, start, 1.0);
        streak.failed(start, start, start, 1.0);
        streak.succeeded();
        let later = start + seconds(1_000);
        // queued long ago, behind slow but good requests: its time starts now
        let delay = streak.failed(later, start, later, 1.0);
        assert_eq!(delay, Some(seconds(1)));
    }

    #[test]
    fn w9_what_waited_behind_failures_has_its_time_from_its_start() {
        let start = Instant::now();
        let at = |s: u64| start + seconds(s);
        let mut streak = streak();
        assert!(streak.failed(start, start, start, 1.0).is_some());
        assert!(streak.failed(at(300), start, at(300), 1.0).is_none());
        streak.gave_up();
        // one was given up: the next, out of time as well, gets its attempt
        assert!(!streak.is_hopeless(at(0), at(300)));
        assert!(streak.failed(at(300), at(0), at(301), 1.0).is_none());
        streak.gave_up();
        assert!(streak.is_hopeless(at(1), at(301)));
        assert!(!streak.is_hopeless(at(2), at(301)));
        assert!(streak.failed(at(301), at(2), at(301), 1.0).is_some());
        streak.succeeded();
        assert!(!streak.is_hopeless(at(0), at(400)));
    }

    #[test]
    fn w9_no_window_means_no_retry() {
        let start = Instant::now();
        let mut streak = streak();
        streak.window = Duration::ZERO;
        assert_eq!(streak.failed(start, start, start, 1.0), None);
    }

    #[test]
    fn w2_our_headers_win() {
        let settings = crate::config::from_toml(
            "[[apps]]
            id = '3'
            key = '278d425bdf160c739803'
            secret = '7ad3773142a6692b25b8'
            webhooks = [{ url = 'https://example.com', headers = { 'X-Own' = 'a', Accept = 'b' } }]",
        )
        .expect("settings");
        let app = &settings.apps[0];
        let body = r#"{"time_ms":1327078148132,"events":[{"name":"channel_occupied","channel":"project-3"}]}"#;
        let headers = headers(app, &app.webhooks[0], body);
        let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(get("content-type"), Some("application/json"));
        assert_eq!(get("x-pusher-key"), Some("278d425bdf160c739803"));
        assert_eq!(
            get("x-pusher-signature"),
            Some("73654ae6d45e9562503ac8d017e634454e3e309c82b32e49c67677dde9e798b3")
        );
        assert_eq!((get("x-own"), get("accept")), (Some("a"), Some("b")));
        assert_eq!(headers.len(), 5);
    }
}
