//! Metrics under the names that soketi has for them, for dashboards that exist.

use std::{fmt, sync::Arc};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::{
    export::{OfApp, process_metrics},
    page::Page,
};
use crate::{metrics::AppMetrics, node::Node};

/// See the module's documentation.
pub struct Soketi {
    node: Arc<Node>,
    prefix: String,
    /// of the main listener, as soketi labels all it says
    port: String,
}

impl Soketi {
    pub fn new(node: Arc<Node>, prefix: &str, port: u16) -> Soketi {
        Soketi {
            node,
            prefix: prefix.to_owned(),
            port: port.to_string(),
        }
    }
}

impl fmt::Debug for Soketi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Soketi")
    }
}

impl Collector for Soketi {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let page = &mut Page(encoder);
        let apps = self.node.observe().metrics.apps();
        let each = |number: OfApp| {
            apps.iter().map(move |(id, app)| {
                let labels = vec![("app_id", &**id), ("port", self.port.as_str())];
                (labels, number(app))
            })
        };
        let name = |name: &str| format!("{}{name}", self.prefix);
        page.gauges(
            &name("connected"),
            "Open WebSocket connections",
            each(|app| app.open(|s| s.closed.get(), |s| s.opened.get())),
        )?;
        let counters: [(&str, &str, OfApp); 5] = [
            ("new_connections", "Connections that were admitted", |app| {
                app.sum(|s| s.opened.get())
            }),
            ("new_disconnections", "Connections that ended", |app| {
                app.sum(|s| s.closed.get())
            }),
            ("ws_messages_received", "Messages from clients", |app| {
                app.sum(|s| s.received_messages.get())
            }),
            ("ws_messages_sent", "Messages to clients", |app| {
                app.sum(|s| s.sent_messages.get())
            }),
            (
                "http_calls_received",
                "Requests to the HTTP API",
                AppMetrics::requests,
            ),
        ];
        for (counter, help, number) in counters {
            page.counters(&name(counter), help, each(number))?;
        }
        // These only grow, too, but soketi's names for them lack the ending that a counter must have.
        let gauges: [(&str, &str, OfApp); 4] = [
            ("socket_received_bytes", "Bytes from clients", |app| {
                app.sum(|s| s.received_bytes.get())
            }),
            ("socket_transmitted_bytes", "Bytes to clients", |app| {
                app.sum(|s| s.sent_bytes.get())
            }),
            (
                "http_received_bytes",
                "Bytes of requests to the HTTP API",
                AppMetrics::request_bytes,
            ),
            (
                "http_transmitted_bytes",
                "Bytes of its answers",
                AppMetrics::response_bytes,
            ),
        ];
        for (gauge, help, number) in gauges {
            page.gauges(&name(gauge), help, each(number))?;
        }
        process_metrics(&self.prefix, &self.node, page)
    }
}
