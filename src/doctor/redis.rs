//! The Redis of a cluster: is it there, does it let us in, is it new enough and does it keep what it is given?
use super::Finding;
use crate::{
    cluster::probe::{Seen, probe},
    config::Settings,
};
use std::time::Duration;

pub(super) const CHECK: &str = "redis";

/// Each answer from another data centre costs each event as much.
const SLOW: Duration = Duration::from_millis(20);

/// `None` for a server that is alone.
pub(super) async fn check(settings: &Settings, patience: Duration) -> Option<Finding> {
    let cluster = settings.cluster.as_ref()?;
    Some(match probe(cluster, patience).await {
        Ok(seen) => judge(&seen),
        Err(error) => Finding::wrong(
            CHECK,
            error,
            format!(
                "start Redis, or correct where it is ({}); `resound config` shows all of [cluster] and where it comes from. Until then servers don't share their channels",
                origin(settings)
            ),
        ),
    })
}

fn judge(seen: &Seen) -> Finding {
    let text = format!(
        "Redis {} at {} answers within {} ms and lets us in",
        seen.version,
        seen.places.join(", "),
        seen.answered_in.as_millis().max(1)
    );
    if let Some(policy) = &seen.evicts {
        return Finding::warning(
            CHECK,
            format!(
                "{text}, but may throw away members of channels when its memory is full (maxmemory-policy {policy})"
            ),
            "take another policy (noeviction or volatile-lru), or a Redis that is no cache",
        );
    }
    if seen.answered_in > SLOW {
        return Finding::warning(
            CHECK,
            format!("{text}: each event waits as long for it"),
            "take a Redis that is nearer to the servers",
        );
    }
    Finding::ok(CHECK, text)
}

/// Who says where Redis is: the first setting that somebody set.
fn origin(settings: &Settings) -> String {
    let keys = ["nodes", "sentinels", "url", "host"].map(|key| format!("cluster.{key}"));
    let mut lines = keys.iter().filter_map(|key| {
        let mut listing = settings.listing.iter();
        listing.find(|line| line.key == *key && !["\"\"", "[]"].contains(&line.value.as_str()))
    });
    match lines.next() {
        Some(line) => format!("{} is {} in {}", line.key, line.value, line.origin),
        None => "cluster.host".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::testing::{RedisServer, free_port},
        config::from_toml,
        doctor::Verdict,
    };

    async fn checked(lines: &str) -> Option<Finding> {
        let settings = from_toml(lines).unwrap_or_else(|error| panic!("{lines}: {error}"));
        check(&settings, Duration::from_secs(10)).await
    }

    #[tokio::test]
    async fn redis_is_looked_at_in_a_cluster_only() {
        assert_eq!(checked("").await, None);
        let redis = RedisServer::start();
        let lines = format!("[cluster]\nenabled = true\nurl = '{}'", redis.url());
        let finding = checked(&lines).await.expect("a finding");
        assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
        let port = free_port();
        let lines = format!("[cluster]\nenabled = true\nport = {port}\npassword = 'hush'");
        let finding = checked(&lines).await.expect("a finding");
        assert_eq!(finding.verdict, Verdict::Wrong);
        let said = format!("{finding:?}");
        assert!(
            said.contains(&port.to_string()) && !said.contains("hush"),
            "{said}"
        );
        assert!(said.contains("cluster.host is"), "{said}");
    }

    #[test]
    fn what_is_seen_is_judged() {
        let check = |ms: u64, evicts: Option<&str>, expected: Verdict| {
            let seen = Seen {
                places: vec!["a:1".to_owned()],
                version: "7.2.4".to_owned(),
                answered_in: Duration::from_millis(ms),
                evicts: evicts.map(str::to_owned),
            };
            assert_eq!(judge(&seen).verdict, expected, "{seen:?}");
        };
        check(0, None, Verdict::Ok);
        check(21, None, Verdict::Warning);
        check(0, Some("allkeys-lru"), Verdict::Warning);
    }
}
