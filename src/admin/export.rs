//! Resound's metrics as a scrape sees them: everything is added up here, when somebody asks. `docs/metrics.md` lists them;
//! a test compares.

use std::{fmt, sync::Arc};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::{cluster::cluster, page::Page};
use crate::{
    gate::Refusal,
    metrics::{AppMetrics, CHANNEL_KINDS, process, worker::SocketMetrics},
    node::Node,
};

/// See the module's documentation.
pub struct Export(pub Arc<Node>);

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Export")
    }
}

impl Collector for Export {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let node = &self.0;
        let page = &mut Page(encoder);
        sockets(node, page)?;
        limits_of_apps(node, page)?;
        events(node, page)?;
        refusals(node, page)?;
        gate(node, page)?;
        http(node, page)?;
        stores(node, page)?;
        webhooks(node, page)?;
        cluster(node, page)?;
        live(node, page)?;
        this_process(node, page)
    }
}

/// A number that an app's sockets have, and one that the app has.
type OfSockets = fn(&SocketMetrics) -> u64;
pub type OfApp = fn(&AppMetrics) -> u64;

fn sockets(node: &Node, page: &mut Page<'_>) -> fmt::Result {
    let apps = node.observe().metrics.apps();
    let each = |number: OfApp| {
        apps.iter()
            .map(move |(id, app)| (vec![("app", &**id)], number(app)))
    };
    page.gauges(
        "resound_connections",
        "Open WebSocket connections",
        each(|app| app.open(|s| s.closed.get(), |s| s.opened.get())),
    )?;
    page.gauge(
        "resound_connections_limit",
        "Connections this node takes (server.connections_max, file limit)",
        node.connections_max() as u64,
    )?;
    page.counters(
        "resound_connections_opened",
        "Connections that were admitted",
        each(|app| app.sum(|s| s.opened.get())),
    )?;
    let closed: Vec<_> = apps.iter().map(|(id, app)| (id, app.closed())).collect();
    page.counters(
        "resound_connections_closed",
        "Connections that ended, by reason",
        closed.iter().flat_map(|(id, reasons)| {
            reasons
                .iter()
                .map(move |(reason, count)| (vec![("app", &***id), ("reason", *reason)], *count))
        }),
    )?;
    page.gauges(
        "resound_subscriptions",
        "Subscriptions of connections to channels",
        each(|app| app.open(|s| s.unsubscribed.get(), |s| s.subscribed.get())),
    )?;
    page.counters(
        "resound_subscriptions_opened",
        "Subscriptions that succeeded",
        each(|app| app.sum(|s| s.subscribed.get())),
    )?;
    page.gauges(
        "resound_channels",
        "Channels in use, by kind; server_to_user are signed-in users",
        apps.iter().flat_map(|(id, app)| {
            (0..CHANNEL_KINDS.len()).map(move |kind| {
                let open = app.open(|s| s.vacated[kind].get(), |s| s.occupied[kind].get());
                (vec![("app", &**id), ("kind", CHANNEL_KINDS[kind])], open)
            })
        }),
    )?;
    traffic(&apps, page)?;
    let evictions: [(&str, OfSockets); 4] = [
        ("message_timeout", |s| s.evicted_message_timeout.get()),
        ("outbox_full", |s| s.evicted_outbox_full.get()),
        ("pong_timeout", |s| s.evicted_pong_timeout.get()),
        ("write_timeout", |s| s.evicted_write_timeout.get()),
    ];
    page.counters(
        "resound_evictions",
        "Connections given up because their client takes nothing, says nothing or never comes to the end of a message",
        apps.iter().flat_map(|(id, app)| {
            evictions
                .map(|(reason, count)| (vec![("app", &**id), ("reason", reason)], app.sum(count)))
        }),
    )
}

fn traffic(apps: &[(Arc<str>, Arc<AppMetrics>)], page: &mut Page<'_>) -> fmt::Result {
    let numbers: [(&str, &str, OfSockets); 5] = [
        (
            "resound_socket_received_messages",
            "WebSocket messages from clients, control frames included",
            |s| s.received_messages.get(),
        ),
        (
            "resound_socket_received_bytes",
            "Bytes from clients after their handshakes",
            |s| s.received_bytes.get(),
        ),
        (
            "resound_socket_sent_messages",
            "WebSocket frames written to clients, control frames included",
            |s| s.sent_messages.get(),
        ),
        (
            "resound_socket_sent_bytes",
            "Bytes written to clients, answers to their handshakes included",
            |s| s.sent_bytes.get(),
        ),
        (
            "resound_client_events",
            "Client events that were passed on",
            |s| s.client_events.get(),
        ),
    ];
    for (name, help, number) in numbers {
        let values = apps
            .iter()
            .map(|(id, app)| (vec![("app", &**id)], app.sum(number)));
        page.counters(name, help, values)?;
    }
    Ok(())
}

fn limits_of_apps(node: &Node, page: &mut Page<'_>) -> fmt::Result {
    let apps: Vec<_> = node.apps().iter().cloned().collect();
    page.gauges(
        "resound_app_connections_limit",
        "Connections the app may have; without a limit there is none",
        apps.iter().filter_map(|app| {
            let max = app.limits.connections_max?;
            Some((vec![("app", app.id.as_str())], max))
        }),
    )?;
    page.gauges(
        "resound_app_channels_limit",
        "Channels of the app that may be in use at one time",
        apps.iter().map(|app| {
            (
                vec![("app", app.id.as_str())],
                app.limits.channels_max as u64,
            )
        }),
    )
}

fn events(node: &Node, page: &mut Page<'_>) -> fmt::Result {
    let metrics = &node.observe().metrics;
    let apps = metrics.apps();
    page.counters(
        "resound_publishes",
        "Events published over HTTP, one for each channel",
        apps.iter()
            .map(|(id, app)| (vec![("app", &**id)], app.published())),
    )?;
    let names: Vec<String> = (0..metrics.workers().len())
        .map(|worker| worker.to_string())
        .collect();
    let workers = || names.iter().zip(metrics.workers());
    page.counters(
        "resound_deliveries",
        "Frames handed to subscribers, one for each of them",
        workers().map(|(name, worker)| (vec![("worker", name.as_str())], worker.deliveries.get())),
    )?;
    latency(node, page)?;
    let inboxes = || names.iter().zip(node.directory().inboxes());
    page.gauges(
        "resound_inbox_depth",
        "Commands that wait for a worker",
        inboxes().map(|(name, inbox)| (vec![("worker", name.as_str())], inbox.depth() as u64)),
    )?;
    page.gauge(
        "resound_inbox_depth_limit",
        "Commands that may wait for a worker (hub.inbox_depth_max)",
        node.settings().hub.inbox_depth_max as u64,
    )?;
    page.counters(
        "resound_inbox_full",
        "How often a worker's queue became full, which makes publishers wait",
        inboxes().map(|(name, inbox)| (vec![("worker", name.as_str())], inbox.fillings())),
    )
}

fn latency(node: &Node, page: &mut Page<'_>) -> fmt::Result {
    let workers = node.observe().metrics.workers();
    page.histogram(
        "resound_publish_to_flush_seconds",
        "From an event's publishing until a worker has offered it to all of its subscribers",
        workers.iter().map(|worker| &worker.latency),
    )
}

fn refusals(node: &Node, page: &mut Page<'_>) -> fmt::Result {
    let refusals = node.observe().metrics.refusals();
    page.counters(
        "resound_refusals",
        "What was refused, and why",
        refusals.iter().map(|((what, reason), count)| {
            (vec![("what", what.name()), ("reason", *reason)], *count)
        }),
    )
}

/// Limits that hold for addresses and for the HTTP API.
fn gate(node: &Node, page: &mut Page<'_>) -> fmt::Result {
    page.counters(
        "resound_limit_refusals",
        "How often a limit of addresses or of an app's requests was met",
        Refusal::ALL.map(|limit| (vec![("limit", limit.name())], node.gate().refused(limit))),
    )?;
    page.gauge(
        "resound_limited_addresses",
        "Addresses that are remembered for the limits on them",
        node.gate().addresses() as u64,
    )?;
    page.gauge(
        "resound_limited_addresses_limit",
        "Addresses that are remembered at most (limits.addresses_max)",
        node.settings().limits.addresses_max as u64,
    )
}

fn http(node: &Node, page: &mut Page<'_>) -> fmt::Result {
    let counts = node.observe().metrics.http.counts();
    let statuses: Vec<String> = counts.iter().map(|(_, s, _)| s.to_string()).collect();
    page.counters(
        "resound_http_requests",
        "Answered requests by route and status, WebSocket handshakes not among them",
        counts
            .iter()
            .zip(&statuses)
            .map(|((route, _, count), status)| {
                (vec![("route", *route), ("status", status.as_str())], *count)
            }),
    )?;
    let apps = node.observe().metrics.apps();
    let numbers: [(&str, &str, OfApp); 3] = [
        (
            "resound_api_requests",
            "Requests to the app's part of the HTTP API",
            AppMetrics::requests,
        ),
        (
            "resound_api_request_bytes",
            "Bytes of their bodies",
            AppMetrics::request_bytes,
        ),
        (
            "resound_api_response_bytes",
            "Bytes of the answers' bodies",
            AppMetrics::response_bytes,
        ),
    ];
    for (name, help, number) in numbers {
        let values = apps
            .iter()
            .map(|(id, app)| (vec![("app", &**id)], number(app)));
        page.counters(name, help, values)?;
    }
    Ok(())
}

/// What is kept for later, beside its limit.
fn stores(node: &Node, page: &mut Page<'_>) -> fmt::Result {
    page.gauge(
        "resound_cached_events",
        "Events of cache channels in memory",
        node.directory().cached_events() as u64,
    )?;
    page.gauge(
        "resound_cached_events_limit",
        "Events of cache channels that are kept (hub.cached_events_max)",
        node.settings().hub.cached_events_max as u64,
    )?;
    page.gauge(
        "resound_idempotency_keys",
        "Idempotency keys that are remembered",
        node.answers().count() as u64,
    )?;
    page.gauge(
        "resound_idempotency_keys_limit",
        "Idempotency keys that are kept (publish.idempotency_keys_max)",
        node.settings().publish.idempotency_keys_max as u64,
    )
}

fn webhooks(node: &Node, page: &mut Page<'_>) -> fmt::Result {
    use std::sync::atomic::{AtomicU64, Ordering};
    let counters = node.webhooks().counters();
    let get = |number: Option<&AtomicU64>| number.map_or(0, |n| n.load(Ordering::Relaxed));
    page.counter(
        "resound_webhook_events_delivered",
        "Events that reached an endpoint, counted for each",
        get(counters.map(|c| &c.delivered)),
    )?;
    page.counters(
        "resound_webhook_requests",
        "Requests to endpoints, by what came of them",
        [
            (
                vec![("result", "failed")],
                get(counters.map(|c| &c.requests_failed)),
            ),
            (
                vec![("result", "ok")],
                get(counters.map(|c| &c.requests_ok)),
            ),
        ],
    )?;
    page.counter(
        "resound_webhook_events_dropped",
        "Events dropped because a queue was full",
        get(counters.map(|c| &c.dropped)),
    )?;
    page.counter(
        "resound_webhook_events_given_up",
        "Events given up after the time for retries",
        get(counters.map(|c| &c.given_up)),
    )?;
    page.gauge(
        "resound_webhook_events_pending",
        "Events that wait to be sent or repeated, or are held back",
        node.webhooks().pending() as u64,
    )?;
    page.gauge(
        "resound_webhook_events_pending_limit",
        "Events that may wait for one endpoint (webhook.queue_events_max)",
        node.settings().webhook.queue_events_max as u64,
    )
}

fn live(node: &Node, page: &mut Page<'_>) -> fmt::Result {
    let live = &node.observe().live;
    page.gauge(
        "resound_live_listeners",
        "Listeners to the live stream",
        live.listeners() as u64,
    )?;
    page.gauge(
        "resound_live_listeners_limit",
        "Listeners it takes (admin.live_listeners_max)",
        live.listeners_max() as u64,
    )?;
    page.counter(
        "resound_live_events_dropped",
        "Live events lost because a listener read too slowly",
        live.dropped(),
    )
}

fn this_process(node: &Node, page: &mut Page<'_>) -> fmt::Result {
    page.gauges(
        "resound_build_info",
        "Always 1; the version is in the label",
        [(vec![("version", env!("CARGO_PKG_VERSION"))], 1_u64)],
    )?;
    page.gauge(
        "resound_draining",
        "1 while the server is stopping, else 0",
        u64::from(node.is_draining()),
    )?;
    page.gauge(
        "resound_workers",
        "Worker threads",
        node.observe().metrics.workers().len() as u64,
    )?;
    if let Some(memory) = process::Memory::of_this_process() {
        page.gauge(
            "resound_machine_memory_bytes",
            "Memory of the machine",
            memory.total_bytes,
        )?;
    }
    process_metrics("resound_", node, page)
}

/// What the operating system knows, under the names that Prometheus has for it, behind a prefix.
pub fn process_metrics(prefix: &str, node: &Node, page: &mut Page<'_>) -> fmt::Result {
    let name = |name: &str| format!("{prefix}process_{name}");
    page.gauge(
        &name("start_time_seconds"),
        "When the server started, in Unix time",
        node.observe().metrics.started_s(),
    )?;
    if let Some(memory) = process::Memory::of_this_process() {
        page.gauge(
            &name("resident_memory_bytes"),
            "Memory the process has in use",
            memory.used_bytes,
        )?;
    }
    if let Some(cpu_s) = process::cpu_s() {
        let help = "Processor time used";
        page.counter(&name("cpu_seconds"), help, cpu_s)?;
    }
    if let Some(files) = process::open_files() {
        page.gauge(&name("open_fds"), "Open files, sockets among them", files)?;
    }
    if let Some(files_max) = process::open_files_max() {
        page.gauge(&name("max_fds"), "Files that may be open", files_max)?;
    }
    Ok(())
}
