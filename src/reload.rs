//! A reload: the settings are read anew and checked as a whole; if they are good, what can change while serving is put
//! into force, and what changed is told. Settings of listeners, workers and queues keep their values until the next start.

use std::collections::BTreeMap;

use crate::{
    apps::App,
    config::{ConfigError, Setting, Settings},
    log,
    node::Node,
};

/// Settings that are used up at the start: these, and all below those that end with a dot.
const AT_START: [&str; 22] = [
    "server.host",
    "server.port",
    "server.path",
    "server.workers",
    "server.connections_max",
    "server.keep_alive_s",
    "server.handshake_timeout_s",
    "server.proxy_protocol",
    "server.plain_host",
    "server.plain_port",
    "server.unix_socket",
    "server.unix_socket_mode",
    "socket.write_timeout_s",
    "socket.message_timeout_s",
    "socket.close_timeout_s",
    "hub.inbox_depth_max",
    "hub.cached_events_max",
    "publish.",
    "admin.",
    "cluster.",
    "log.format",
    "tls.",
];

/// What a reload changes, a sentence each.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// in force from now on
    pub now: Vec<String>,
    /// in force from the next start on
    pub at_next_start: Vec<String>,
    /// of the new settings, as far as the old ones didn't have them
    pub warnings: Vec<String>,
}

/// Puts the settings that `load` reads into force. If they can't be used nothing changes.
pub async fn reload(
    node: &Node,
    load: impl FnOnce() -> Result<Settings, ConfigError>,
) -> Result<Changes, ConfigError> {
    let mut settings = load()?;
    let changes = {
        let before = node.settings();
        let changes = compare(&before, &settings);
        keep_what_belongs_to_the_start(&before, &mut settings);
        changes
    };
    log::change_level(&settings.log);
    node.reload(settings).await;
    Ok(changes)
}

/// What differs between two versions of the settings. Secrets are named, never shown.
pub fn compare(before: &Settings, after: &Settings) -> Changes {
    let mut changes = Changes::default();
    let (old, new) = (by_key(&before.listing), by_key(&after.listing));
    for (key, value) in &new {
        match old.get(key) {
            Some(before) if before != value => {
                let list = if is_used_up_at_start(key) {
                    &mut changes.at_next_start
                } else {
                    &mut changes.now
                };
                list.push(format!("{key} is {value}, it was {before}"));
            }
            None if !is_of_new_app(key, before) => changes.now.push(format!("{key} is {value}")),
            _ => {}
        }
    }
    for key in old.keys() {
        if !new.contains_key(key) && !is_of_new_app(key, after) {
            changes.now.push(format!("{key} is no longer set"));
        }
    }
    compare_apps(&before.apps, &after.apps, &mut changes.now);
    let passwords = |settings: &Settings| {
        let redis = &settings.cluster.as_ref()?.redis;
        Some(redis.passwords().map(|password| password.cloned()))
    };
    if let (Some(old), Some(new)) = (passwords(before), passwords(after))
        && old != new
    {
        let told = "a password in cluster is another";
        changes.at_next_start.push(told.to_owned());
    }
    let warnings = after.warnings.iter();
    let new = warnings.filter(|warning| !before.warnings.contains(warning));
    changes.warnings = new.cloned().collect();
    changes
}

fn by_key(listing: &[Setting]) -> BTreeMap<&str, &str> {
    let entries = listing.iter().map(|line| (&*line.key, &*line.value));
    entries.collect()
}

fn is_used_up_at_start(key: &str) -> bool {
    AT_START.iter().any(|name| match name.strip_suffix('.') {
        Some(section) => key.split_once('.').is_some_and(|(of, _)| of == section),
        None => key == *name,
    })
}

/// Whether the key is of an app that those settings don't have: one sentence about the app says it all.
fn is_of_new_app(key: &str, settings: &Settings) -> bool {
    key.starts_with("apps.")
        && !settings.apps.iter().any(|app| {
            let rest = key.strip_prefix("apps.");
            let rest = rest.and_then(|rest| rest.strip_prefix(app.id.as_str()));
            rest.is_some_and(|rest| rest.starts_with('.'))
        })
}

/// What the listing can't show: who comes and goes, and what is secret.
fn compare_apps(before: &[App], after: &[App], changes: &mut Vec<String>) {
    for app in after {
        let Some(old) = before.iter().find(|old| old.id == app.id) else {
            changes.push(format!("app {} is new", app.id));
            continue;
        };
        if !old.secret.is_same(&app.secret) {
            changes.push(format!("apps.{}.secret is another", app.id));
        }
        if old.webhooks != app.webhooks {
            changes.push(format!("apps.{}.webhooks are others", app.id));
        }
    }
    let gone = before
        .iter()
        .filter(|old| !after.iter().any(|app| app.id == old.id));
    changes.extend(gone.map(|app| format!("app {} is gone", app.id)));
}

/// What the parts that were made at the start go by must not look changed to the others.
fn keep_what_belongs_to_the_start(before: &Settings, after: &mut Settings) {
    let server = before.server.clone();
    after.server.host = server.host;
    after.server.port = server.port;
    after.server.path = server.path;
    after.server.workers = server.workers;
    after.server.connections_max = server.connections_max;
    after.server.keep_alive = server.keep_alive;
    after.server.handshake_timeout = server.handshake_timeout;
    after.server.listeners = server.listeners;
    after.tls = before.tls.clone();
    after.socket.write_timeout = before.socket.write_timeout;
    after.socket.message_timeout = before.socket.message_timeout;
    after.socket.close_timeout = before.socket.close_timeout;
    after.hub.inbox_depth_max = before.hub.inbox_depth_max;
    after.hub.cached_events_max = before.hub.cached_events_max;
    after.publish = before.publish;
    after.admin = before.admin.clone();
    after.cluster = before.cluster.clone();
    after.log.format = before.log.format;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_toml;

    const APP: &str = "[[apps]]\nid = \"7\"\nkey = \"k\"\nsecret = \"hunter2\"\n";

    fn check(before: &str, after: &str, now: &[&str], at_next_start: &[&str]) {
        let settings = |text: &str| from_toml(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let changes = compare(&settings(before), &settings(after));
        assert_eq!(changes.now, now, "{after}");
        assert_eq!(changes.at_next_start, at_next_start, "{after}");
    }

    #[test]
    fn what_changed_is_named() {
        check(APP, APP, &[], &[]);
        check(
            APP,
            &format!("{APP}[app_defaults]\nconnections_max = 5\n[log]\nlevel = \"debug\""),
            &[
                "app_defaults.connections_max is 5, it was 0",
                "log.level is \"debug\", it was \"info\"",
            ],
            &[],
        );
        check(
            APP,
            &format!("{APP}[server]\nport = 9\ndrain_s = 7\n[publish]\nidempotency_window_s = 1"),
            &["server.drain_s is 7, it was 5"],
            &[
                "publish.idempotency_window_s is 1, it was 120",
                "server.port is 9, it was 8080",
            ],
        );
    }

    /// Both the HTTP library, which was told at the start, and what watches over it go by the same time.
    #[test]
    fn the_time_for_a_handshake_is_the_starts() {
        let settings = |seconds: u32| {
            let lines = format!("{APP}[server]\nhandshake_timeout_s = {seconds}");
            from_toml(&lines).expect("settings")
        };
        let (before, mut after) = (settings(10), settings(30));
        let changes = compare(&before, &after);
        let told = "server.handshake_timeout_s is 30, it was 10";
        assert_eq!(changes.at_next_start, [told]);
        keep_what_belongs_to_the_start(&before, &mut after);
        let timeout = |settings: &Settings| settings.server.handshake_timeout;
        assert_eq!(timeout(&after), timeout(&before));
    }

    #[test]
    fn the_cluster_is_made_at_the_start() {
        let cluster = |lines: &str| format!("{APP}[cluster]\nenabled = true\n{lines}");
        check(
            APP,
            &cluster("host = 'r'"),
            &[],
            &[
                "cluster.enabled is true, it was false",
                "cluster.host is \"r\", it was \"127.0.0.1\"",
            ],
        );
        check(
            &cluster("url = 'redis://:hush1@r'"),
            &cluster("url = 'redis://:hush2@r'"),
            &[],
            &["a password in cluster is another"],
        );
    }

    #[test]
    fn warnings_are_told_once() {
        let settings = |text: &str| from_toml(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let good = settings(APP);
        let bad = settings(&format!("{APP}[server]\ndrain_s = 60"));
        assert_eq!(bad.warnings.len(), 1);
        assert_eq!(compare(&good, &bad).warnings, bad.warnings);
        assert!(compare(&bad, &bad).warnings.is_empty());
        assert!(compare(&bad, &good).warnings.is_empty());
    }

    #[test]
    fn apps_come_and_go_and_change_their_secrets() {
        let other = APP.replace('7', "70").replace("\"k\"", "\"k2\"");
        check(APP, &format!("{APP}{other}"), &["app 70 is new"], &[]);
        check(&format!("{APP}{other}"), APP, &["app 70 is gone"], &[]);
        check(
            APP,
            &APP.replace("hunter2", "hunter3"),
            &["apps.7.secret is another"],
            &[],
        );
        check(
            APP,
            &format!("{APP}enabled = false"),
            &["apps.7.enabled is false"],
            &[],
        );
        check(
            &format!(
                "{APP}webhooks = [{{ url = \"https://a.example/\", headers = {{ T = \"1\" }} }}]"
            ),
            &format!(
                "{APP}webhooks = [{{ url = \"https://a.example/\", headers = {{ T = \"2\" }} }}]"
            ),
            &["apps.7.webhooks are others"],
            &[],
        );
    }
}
