//! soketi's Redis: which server, and what the names in it begin with. It becomes settings of `[cluster]`, which count once the
//! adapter is `redis` or a cluster is asked for in other words.
use super::{
    FromSoketi,
    found::Found,
    options::{Meaning, RedisPart, SoketiOption},
};
use crate::config::error::ConfigError;
use config::{Value, ValueKind};
use serde_json::Value as Json;

/// Why an option says nothing as long as the adapter is another.
const NOT_USED: &str =
    "Redis is used with SOKETI_ADAPTER_DRIVER=redis and with cluster.enabled only";

pub(super) fn read(
    options: &[(&SoketiOption, Found)],
    from: &mut FromSoketi,
) -> Result<(), ConfigError> {
    let parts = || {
        options
            .iter()
            .filter_map(|(option, found)| match option.meaning {
                Meaning::Redis(part) => Some((part, found)),
                _ => None,
            })
    };
    let mode = parts().find(|(part, _)| matches!(part, RedisPart::ClusterMode));
    let is_cluster = match mode {
        Some((_, found)) => found.switch("cluster.nodes")?,
        None => false,
    };
    for (part, found) in parts() {
        match part {
            // A Redis Cluster has no other than 0, and ioredis doesn't ask for one.
            RedisPart::Setting("cluster.database", _) if is_cluster => {}
            RedisPart::Setting(key, kind) => {
                if let Some(value) = found.convert(key, kind)? {
                    from.redis.set(key, value, &found.origin);
                }
            }
            RedisPart::Sentinels if !is_cluster => {
                list("cluster.sentinels", "redis://", found, from)?
            }
            RedisPart::Nodes if is_cluster => list("cluster.nodes", "", found, from)?,
            RedisPart::Tls => tls(&found.value, found, from),
            RedisPart::Options => {
                if let Some(value) = found.value.get("tls") {
                    tls(value, found, from);
                }
            }
            RedisPart::Sentinels
            | RedisPart::Nodes
            | RedisPart::ClusterMode
            | RedisPart::KeyPrefix
            | RedisPart::Prefix => {}
        }
    }
    if let Some((_, found)) = mode.filter(|_| is_cluster)
        && !from.redis.values.contains_key("cluster.nodes")
    {
        let allowed = "false as long as database.redis.clusterNodes (SOKETI_DB_REDIS_CLUSTER_NODES) names no nodes";
        return Err(found.invalid("adapter.redis.clusterMode", allowed));
    }
    prefix(parts(), from)?;
    if !from.settings.values.contains_key("cluster.enabled") {
        let unused = parts().map(|(_, found)| format!("{} has no effect: {NOT_USED}", found.name));
        from.unused.extend(unused);
    }
    Ok(())
}

/// Both prefixes, that of the keys in front.
fn prefix<'a>(
    parts: impl Iterator<Item = (RedisPart, &'a Found)> + Clone,
    from: &mut FromSoketi,
) -> Result<(), ConfigError> {
    let key = "cluster.prefix";
    let (mut text, mut origins) = (String::new(), Vec::new());
    for wanted in [RedisPart::KeyPrefix, RedisPart::Prefix] {
        if let Some((_, found)) = parts.clone().find(|(part, _)| *part == wanted) {
            // Braces make all names one slot of a Redis Cluster; each channel has a slot here.
            text.push_str(&found.as_text(key)?.replace(['{', '}'], ""));
            origins.push(found.origin.as_str());
        }
    }
    if !text.is_empty() {
        from.redis.set(key, text, &origins.join(" and "));
    }
    Ok(())
}

/// `[{"host": "10.0.0.1", "port": 26379}]`, or texts.
fn list(key: &str, scheme: &str, found: &Found, from: &mut FromSoketi) -> Result<(), ConfigError> {
    let wrong = || found.wrong(key, "a list of objects, each with a host and a port");
    let Json::Array(list) = &found.value else {
        return Err(wrong());
    };
    let addresses: Option<Vec<String>> = list.iter().map(address).collect();
    let addresses = addresses.ok_or_else(wrong)?.into_iter();
    let values: Vec<Value> = addresses
        .map(|address| match address.contains("://") {
            true => address,
            false => format!("{scheme}{address}"),
        })
        .map(|address| Value::new(Some(&found.origin), address))
        .collect();
    if !values.is_empty() {
        from.redis.set(key, ValueKind::Array(values), &found.origin);
    }
    Ok(())
}

fn address(node: &Json) -> Option<String> {
    if let Json::String(text) = node {
        return Some(text.clone());
    }
    let host = node.get("host")?.as_str()?;
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    match node.get("port") {
        None | Some(Json::Null) => Some(host),
        Some(Json::Number(port)) => Some(format!("{host}:{port}")),
        Some(Json::String(port)) => Some(format!("{host}:{port}")),
        Some(_) => None,
    }
}

/// ioredis's options for TLS: that there are any switches it on.
fn tls(value: &Json, found: &Found, from: &mut FromSoketi) {
    if matches!(value, Json::Null | Json::Bool(false)) {
        return;
    }
    from.redis.set("cluster.tls", true, &found.origin);
    if value.as_object().is_some_and(|options| !options.is_empty()) {
        from.warnings.push(format!(
            "of the options for TLS in {} only that it is on is used: certificates are named by cluster.tls_ca, tls_certificate and tls_key",
            found.name
        ));
    }
}
