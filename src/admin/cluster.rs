//! Metrics of this node's part in a cluster. A node that is alone has none.

use std::{
    fmt,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use super::page::Page;
use crate::node::Node;

/// See the module's documentation.
pub fn cluster(node: &Node, page: &mut Page<'_>) -> fmt::Result {
    let Some(cluster) = node.cluster() else {
        return Ok(());
    };
    let status = cluster.status();
    page.gauge(
        "resound_cluster_up",
        "1 while Redis is there, else 0: then this node goes on alone",
        u64::from(status.is_up()),
    )?;
    page.gauge(
        "resound_cluster_nodes_alive",
        "Nodes that give signs of life, this one included, as of the last one of this node's own",
        now(&status.nodes_alive),
    )?;
    page.counter(
        "resound_cluster_losses",
        "How often Redis was lost",
        count(&status.losses),
    )?;
    page.gauge(
        "resound_cluster_backlog_events",
        "Events for other nodes that wait for Redis",
        now(&status.backlog_events),
    )?;
    page.gauge(
        "resound_cluster_backlog_bytes",
        "Bytes of these events",
        now(&status.backlog_bytes),
    )?;
    if let Some(settings) = &node.settings().cluster {
        page.gauge(
            "resound_cluster_backlog_bytes_limit",
            "Bytes of events that may wait (cluster.backlog_bytes_max)",
            settings.backlog_bytes_max as u64,
        )?;
    }
    let counters: [(&str, &str, &AtomicU64); 4] = [
        (
            "resound_cluster_dropped_events",
            "Events that never reached other nodes: too many waited for Redis, or for too long",
            &status.dropped,
        ),
        (
            "resound_cluster_missed_events",
            "Events of other nodes that never came",
            &status.missed,
        ),
        (
            "resound_cluster_skipped_messages",
            "Messages that this version doesn't understand, skipped",
            &status.skipped,
        ),
        (
            "resound_cluster_renamed",
            "How often the others took this node for dead while it lived",
            &status.renamed,
        ),
    ];
    for (name, help, number) in counters {
        page.counter(name, help, count(number))?;
    }
    page.histogram(
        "resound_cluster_redis_seconds",
        "How long Redis took for a batch of calls",
        [&status.latency],
    )
}

fn now(number: &AtomicUsize) -> u64 {
    number.load(Ordering::Relaxed) as u64
}

fn count(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}
