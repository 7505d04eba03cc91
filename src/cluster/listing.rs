//! The nodes of a cluster, for somebody who asks Redis without being one of them.

use std::{sync::LazyLock, time::Duration};

use redis::{FromRedisValue, Script, Value};

pub use super::serving::Load;
use super::{
    connection::{Connection, Inbound, Patience, Servers},
    keys::Keys,
    nodes::BEATS,
    scripts::{History, Scripts},
};
use crate::{client::one_line, config::cluster::Cluster};

static NODES: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/nodes.lua")));

/// A node as Redis knows it.
#[derive(Debug)]
pub struct Listed {
    /// what the others call it; another one after each start
    pub name: String,
    /// time since its last sign of life, by the clock of Redis
    pub silent: Duration,
    /// dead ones are there until another node has cleaned up after them
    pub is_alive: bool,
    /// what it said of itself with that sign; `None` if that can't be read
    pub load: Option<Load>,
}

/// All nodes, by host and process. `patience` is for each step. Fails with a sentence.
pub async fn list(cluster: &Cluster, patience: Duration) -> Result<Vec<Listed>, String> {
    let servers = Servers::new(&cluster.redis)?;
    let patience = Patience {
        connect: cluster.connect_timeout.min(patience),
        answer: cluster.answer_timeout.min(patience),
    };
    let (pushes, _inbound) = Inbound::new(cluster.inbound_bytes_max).queue();
    let scripts = Scripts::new(servers.is_cluster(), History::NONE);
    let sentence = |error: redis::RedisError| one_line(&error.to_string());
    let opened = Connection::open(&servers, patience, pushes, &scripts).await;
    let mut connection = opened.map_err(sentence)?;
    let keys = Keys::new(&cluster.prefix);
    let mut call = NODES.key(keys.nodes());
    call.key(keys.loads());
    let answer = call.invoke_async(&mut connection).await;
    let mut nodes = listed(answer.map_err(sentence)?, cluster.heartbeat * BEATS);
    nodes.sort_by(|a, b| place(a).cmp(&place(b)));
    Ok(nodes)
}

fn place(node: &Listed) -> Option<(&str, u32, &str)> {
    let load = node.load.as_ref()?;
    Some((&load.host, load.pid, &node.name))
}

/// What the script answers; nodes that make no sense are left out. `dead_after`: how long a node may be silent.
fn listed(answer: Vec<Value>, dead_after: Duration) -> Vec<Listed> {
    let node = |parts: &[Value]| {
        let [name, silent_ms, load] = parts else {
            return None;
        };
        let text = |value: &Value| String::from_redis_value_ref(value).ok();
        // the clock of Redis may have been set back
        let silent_ms = text(silent_ms)?.parse::<i64>().ok()?.max(0);
        let silent = Duration::from_millis(u64::try_from(silent_ms).ok()?);
        Some(Listed {
            name: text(name)?,
            silent,
            is_alive: silent <= dead_after,
            load: serde_json::from_str(&text(load)?).ok(),
        })
    };
    answer.chunks_exact(3).filter_map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: &[&str], expected: &[(&str, u64, bool, Option<&str>)]) {
        let answer = parts
            .iter()
            .map(|part| Value::BulkString(part.as_bytes().to_vec()))
            .collect();
        let nodes = listed(answer, Duration::from_secs(3));
        let found: Vec<_> = nodes
            .iter()
            .map(|node| {
                let silent_ms = u64::try_from(node.silent.as_millis()).expect("a short time");
                let version = node.load.as_ref().map(|load| load.version.as_str());
                (node.name.as_str(), silent_ms, node.is_alive, version)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_nodes_of_other_versions_say_is_read_as_far_as_it_goes() {
        let load = r#"{"version":"9.9","host":"a","more":{"x":1}}"#;
        check(&[], &[]);
        check(
            &[
                "a", "0", load, "b", "3000", "", "c", "3001", "[", "d", "-5", "{}",
            ],
            &[
                ("a", 0, true, Some("9.9")),
                ("b", 3000, true, None),
                ("c", 3001, false, None),
                ("d", 0, true, Some("")),
            ],
        );
        check(&["a", "long ago", load, "b"], &[]);
    }
}
