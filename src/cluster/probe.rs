//! One look at Redis, as the server itself would have it: for those who want to know beforehand whether it will do.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use redis::{RedisResult, Value, cmd};

use super::{
    connection::{Connection, Inbound, Link, Patience, Servers},
    scripts::{History, Scripts},
};
use crate::{client::one_line, config::cluster::Cluster};

/// Sharded messages came with it.
const CLUSTER_VERSION_MIN: u32 = 7;
const VERSION_MIN: u32 = 6;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    /// of each server that was reached, `127.0.0.1:6379`
    pub places: Vec<String>,
    /// of the oldest of them, as it says
    pub version: String,
    /// how long the slowest took to answer
    pub answered_in: Duration,
    /// Redis may throw away what it was given to keep: its policy when memory is short
    pub evicts: Option<String>,
}

/// Connects as a server does, and asks. `patience` is for each step. Fails with a sentence.
pub async fn probe(cluster: &Cluster, patience: Duration) -> Result<Seen, String> {
    let servers = Servers::new(&cluster.redis)?;
    let is_cluster = servers.is_cluster();
    let patience = Patience {
        connect: cluster.connect_timeout.min(patience),
        answer: cluster.answer_timeout.min(patience),
    };
    let (pushes, _inbound) = Inbound::new(cluster.inbound_bytes_max).queue();
    let scripts = Scripts::new(is_cluster, History::NONE);
    let sentence = |error: redis::RedisError| one_line(&error.to_string());
    let opened = Connection::open(&servers, patience, pushes, &scripts).await;
    let mut connection = opened.map_err(sentence)?;
    let links = match &mut connection {
        Connection::One(link) => std::slice::from_mut(link),
        Connection::Cluster(masters) => masters.links(),
    };
    let mut seen = Seen {
        places: Vec::new(),
        version: String::new(),
        answered_in: Duration::ZERO,
        evicts: None,
    };
    for link in links {
        look(link, &mut seen).await.map_err(sentence)?;
    }
    let needed = match is_cluster {
        true => CLUSTER_VERSION_MIN,
        false => VERSION_MIN,
    };
    match major(&seen.version) {
        Some(major) if major >= needed => Ok(seen),
        _ => Err(format!(
            "Redis at {} is version {}: {}",
            seen.places.join(", "),
            one_line(&seen.version),
            match is_cluster {
                true => "a Redis Cluster must be of version 7.0 or later, all of it",
                false => "it must be 6.0 or later",
            }
        )),
    }
}

async fn look(link: &mut Link, seen: &mut Seen) -> RedisResult<()> {
    seen.places.push(link.place().to_string());
    let asked = Instant::now();
    let hello: HashMap<String, Value> = cmd("HELLO").arg(3).query_async(link).await?;
    seen.answered_in = seen.answered_in.max(asked.elapsed());
    let version = match hello.get("version") {
        Some(Value::BulkString(text)) => String::from_utf8_lossy(text).into_owned(),
        Some(Value::SimpleString(text)) => text.clone(),
        _ => "unknown".to_owned(),
    };
    if seen.version.is_empty() || major(&version) < major(&seen.version) {
        seen.version = version;
    }
    // Who isn't allowed to ask doesn't get to know.
    let memory: RedisResult<String> = cmd("INFO").arg("memory").query_async(link).await;
    if let Ok(policy) = memory.as_deref().map(policy)
        && seen.evicts.is_none()
    {
        seen.evicts = policy;
    }
    Ok(())
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

/// The policy by which keys without a time to live are thrown away, if there is a limit and such a policy.
fn policy(info: &str) -> Option<String> {
    let field = |name: &str| {
        let lines = info.lines();
        let mut found = lines.filter_map(|line| line.split_once(':'));
        found.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let policy = field("maxmemory_policy")?;
    let is_limited = field("maxmemory")? != "0";
    (is_limited && policy.starts_with("allkeys")).then(|| one_line(policy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cluster::testing::RedisServer, config::from_toml};

    async fn seen(lines: &str) -> Result<Seen, String> {
        let settings = from_toml(&format!("[cluster]\nenabled = true\n{lines}"));
        let cluster = settings.expect(lines).cluster.expect("a cluster");
        probe(&cluster, Duration::from_secs(10)).await
    }

    #[tokio::test]
    async fn a_redis_that_will_do() {
        let redis = RedisServer::start();
        let url = format!("url = '{}'", redis.url());
        let found = seen(&url).await.expect("Redis");
        assert_eq!(found.places, [redis.address.to_string()]);
        assert!(major(&found.version) >= Some(6), "{found:?}");
        assert_eq!(found.evicts, None);
        redis.order(&["config", "set", "maxmemory-policy", "allkeys-lru"]);
        assert_eq!(seen(&url).await.expect("Redis").evicts, None);
        redis.order(&["config", "set", "maxmemory", "100mb"]);
        let found = seen(&url).await.expect("Redis");
        assert_eq!(found.evicts.as_deref(), Some("allkeys-lru"));
    }

    #[tokio::test]
    async fn a_redis_that_will_not_do() {
        let redis = RedisServer::start();
        let address = redis.address;
        let check = async |lines: String, part: &str| {
            let sentence = seen(&lines).await.expect_err(&lines);
            assert!(sentence.contains(part), "{sentence}");
            assert!(!sentence.contains("hush"), "{sentence}");
        };
        check(
            format!("url = 'redis://u:hush@{address}'"),
            "refuses the user u",
        )
        .await;
        check(
            format!("url = 'redis://{address}/99'"),
            "has no database 99",
        )
        .await;
        check(format!("sentinels = ['{address}']"), "no Sentinel").await;
        check(format!("nodes = ['{address}']"), "Redis Cluster").await;
        let port = crate::cluster::testing::free_port();
        check(format!("port = {port}"), "can't be reached").await;
    }

    #[test]
    fn versions_and_policies() {
        assert_eq!(major("7.0.15"), Some(7));
        assert_eq!(major("unknown"), None);
        let info = |max: &str, policy: &str| {
            format!("# Memory\r\nmaxmemory:{max}\r\nmaxmemory_policy:{policy}\r\n")
        };
        let check = |max: &str, name: &str, expected: Option<&str>| {
            assert_eq!(policy(&info(max, name)).as_deref(), expected);
        };
        check("0", "allkeys-lru", None);
        check("1000", "allkeys-lru", Some("allkeys-lru"));
        check("1000", "volatile-lru", None);
        check("1000", "noeviction", None);
    }
}
