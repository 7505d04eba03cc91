//! The endpoints of every app with their lanes: what the collector hands events out to. Replaced as a whole when the
//! settings change; an endpoint that stays the same keeps its lanes, and with them the order of its events.
use super::{
    Event, Shared, lane,
    queue::{Budget, Outlet},
    send::Client,
};
use crate::{
    apps::{App, Apps, webhook::Webhook},
    config::WebhookSettings,
};
use std::{collections::HashMap, sync::Arc};
use tokio::{task::JoinSet, time::Instant};

/// Where every app's events go, by the app's index.
pub(super) type Wanted = HashMap<u32, Vec<Arc<Webhook>>>;

/// What [`super::Webhooks`] asks before it queues anything: apps without endpoints are left out.
pub(super) fn wanted(apps: &Apps) -> Wanted {
    apps.iter()
        .filter(|app| !app.webhooks.is_empty())
        .map(|app| (app.index, app.webhooks.clone()))
        .collect()
}

/// See the module's documentation. Dropping it ends the lanes, whatever waits in them.
pub(super) struct Endpoints {
    by_app: HashMap<u32, Vec<Endpoint>>,
    settings: WebhookSettings,
    client: Client,
    shared: Arc<Shared>,
    lanes: JoinSet<()>,
}

struct Endpoint {
    /// whose key and secret the requests are signed with
    app: Arc<App>,
    webhook: Arc<Webhook>,
    outlet: Outlet,
}

impl Endpoint {
    /// Whether the lanes of this endpoint may serve that one.
    fn is_same(&self, app: &App, webhook: &Webhook) -> bool {
        *self.webhook == *webhook && self.app.key == app.key && self.app.secret.is_same(&app.secret)
    }
}

impl Endpoints {
    pub(super) fn new(settings: &WebhookSettings, shared: Arc<Shared>) -> Endpoints {
        Endpoints {
            by_app: HashMap::new(),
            settings: *settings,
            client: Client::new(settings),
            shared,
            lanes: JoinSet::new(),
        }
    }

    /// Takes over the endpoints of new settings. Those that are gone still send what they have.
    pub(super) fn replace(&mut self, apps: &Apps, settings: &WebhookSettings) {
        let mut before = std::mem::take(&mut self.by_app);
        if self.settings != *settings {
            before.clear();
            self.settings = *settings;
            self.client = Client::new(settings);
        }
        for app in apps.iter() {
            let mut kept = before.remove(&app.index).unwrap_or_default();
            let endpoints = app.webhooks.iter().map(|webhook| {
                let same = kept.iter().position(|old| old.is_same(app, webhook));
                match same {
                    Some(at) => kept.swap_remove(at),
                    None => self.open(app, webhook),
                }
            });
            let endpoints: Vec<Endpoint> = endpoints.collect();
            if !endpoints.is_empty() {
                self.by_app.insert(app.index, endpoints);
            }
        }
        // The lanes that have come to their end since the last time.
        while self.lanes.try_join_next().is_some() {}
    }

    fn open(&mut self, app: &Arc<App>, webhook: &Arc<Webhook>) -> Endpoint {
        let settings = &self.settings;
        let budget = Budget::new(settings.queue_events_max, settings.queue_bytes_max);
        let budget = self.shared.watch(budget);
        let outlet = lane::start(
            app,
            webhook,
            &budget,
            &self.client,
            settings,
            &self.shared,
            &mut self.lanes,
        );
        Endpoint {
            app: app.clone(),
            webhook: webhook.clone(),
            outlet,
        }
    }

    /// Queues an event for each of the app's endpoints that takes it.
    pub(super) fn hand_out(&self, app: u32, event: Event, now: Instant) {
        let event = Arc::new(event);
        for endpoint in self.by_app.get(&app).into_iter().flatten() {
            let outlet = &endpoint.outlet;
            if outlet.takes(&event) && !outlet.push(&event, now) {
                self.shared.dropped(1);
            }
        }
    }

    /// Waits until everything has been sent.
    pub(super) async fn finish(mut self) {
        self.by_app.clear();
        self.lanes.join_all().await;
    }
}
