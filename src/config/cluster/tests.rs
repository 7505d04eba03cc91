//! The section by itself, and Redis in the words of variables.
use super::*;
use crate::config::{Overrides, Settings, from_toml, load};
use std::collections::HashMap;

/// Where Redis is, in one line; `alone` without a cluster.
pub(in crate::config) fn redis_of(settings: &Settings) -> String {
    let Some(cluster) = &settings.cluster else {
        return "alone".to_owned();
    };
    let redis = &cluster.redis;
    let list = |addresses: &[RedisAddress]| {
        let shown = addresses.iter().map(|address| {
            let tls = if address.is_tls() { "+" } else { "" };
            format!("{address}{tls}")
        });
        shown.collect::<Vec<_>>().join(",")
    };
    let login = |login: &Login| {
        let password = login.password.as_ref().map_or("-", Password::reveal);
        format!("{} {password}", login.username.as_deref().unwrap_or("-"))
    };
    let servers = match &redis.servers {
        RedisServers::One(address) => list(std::slice::from_ref(address)),
        RedisServers::Cluster(addresses) => format!("cluster {}", list(addresses)),
        RedisServers::Sentinels {
            addresses,
            master,
            is_tls,
            login: own,
        } => {
            let tls = if *is_tls { "+" } else { "" };
            format!("{master}{tls} of {} ({})", list(addresses), login(own))
        }
    };
    format!(
        "{servers} {} {} {}",
        login(&redis.login),
        redis.database,
        cluster.prefix
    )
}

fn of_file(lines: &str) -> Result<Settings, ConfigError> {
    from_toml(&format!("[cluster]\nenabled = true\n{lines}"))
}

fn of_variables(text: &str, file: &str) -> Result<Settings, ConfigError> {
    let pairs = text.split_whitespace().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let variables: HashMap<String, String> = pairs.collect();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("resound.toml"), file).expect("written");
    let overrides = Overrides {
        folder: Some(folder.path().to_owned()),
        ..Overrides::default()
    };
    load(&overrides, &variables)
}

#[test]
fn nobody_is_in_a_cluster_unasked() {
    for text in ["", "[cluster]", "[cluster]\nenabled = false"] {
        let settings = from_toml(text).expect(text);
        assert_eq!(settings.cluster, None);
        assert_eq!(settings.warnings, Vec::<String>::new());
    }
    let settings = from_toml("[cluster]\nurl = 'redis://:hush@a'").expect("settings");
    assert_eq!(settings.cluster, None);
    let [warning] = &settings.warnings[..] else {
        panic!("{:?}", settings.warnings)
    };
    assert!(
        warning.starts_with("cluster.url is set in the given text, but cluster.enabled is off")
    );
}

#[test]
fn a_cluster_without_a_redis_and_a_host_without_effect_are_named() {
    let check = |variables: &str, file: &str, expected: &str| {
        let settings = of_variables(variables, file).expect(variables);
        let about = settings.warnings.iter();
        let about: Vec<_> = about
            .filter(|text| text.contains("Redis"))
            .map(String::as_str)
            .collect();
        let expected: Vec<&str> = [expected].into_iter().filter(|e| !e.is_empty()).collect();
        assert_eq!(about, expected, "{variables} {file}");
    };
    let app = "REVERB_APP_ID=1 REVERB_APP_KEY=k REVERB_APP_SECRET=s REVERB_SCALING_ENABLED=true";
    let nowhere = "environment variable REVERB_SCALING_ENABLED asks for several servers on one Redis, but environment variable REDIS_HOST is not set: it is looked for on this machine, 127.0.0.1";
    check(app, "", nowhere);
    check(&format!("{app} REDIS_PASSWORD=hush"), "", nowhere);
    check(&format!("{app} REDIS_HOST=127.0.0.1"), "", "");
    check(&format!("{app} REDIS_URL=redis://a"), "", "");
    check(app, "[cluster]\nhost = 'a'", "");
    check("", "[cluster]\nenabled = true", "");
    check(
        "RESOUND_CLUSTER_HOST=b",
        "[cluster]\nenabled = true\nurl = 'redis://a'",
        "cluster.host is set in environment variable RESOUND_CLUSTER_HOST, but has no effect: cluster.url says where Redis is",
    );
    // a Laravel app may well have both
    check(&format!("{app} REDIS_HOST=b REDIS_URL=redis://a"), "", "");
}

#[test]
fn the_defaults_of_a_cluster() {
    let settings = of_file("").expect("settings");
    assert_eq!(redis_of(&settings), "127.0.0.1:6379 - - 0 resound");
    let cluster = settings.cluster.expect("a cluster");
    assert_eq!(cluster.heartbeat, Duration::from_secs(5));
    assert_eq!(cluster.connect_timeout, Duration::from_secs(5));
    assert_eq!(cluster.answer_timeout, Duration::from_secs(5));
    assert_eq!(cluster.retry, Duration::from_secs(1));
    assert_eq!(cluster.backlog_bytes_max, 64 << 20);
    assert_eq!(cluster.backlog_age_max, Duration::from_secs(300));
    assert_eq!(cluster.history_events_max, 512);
    assert_eq!(cluster.history_age_max, Duration::from_secs(60));
    assert_eq!(cluster.publishes_max, 16_384);
    assert_eq!(cluster.inbound_bytes_max, 64 << 20);
    assert!(cluster.ready_when_degraded);
    assert_eq!(cluster.redis.tls, RedisTls::default());
}

#[test]
fn ways_to_say_where_redis_is() {
    let check = |lines: &str, expected: &str| {
        let settings = of_file(lines).unwrap_or_else(|error| panic!("{lines}: {error}"));
        assert_eq!(redis_of(&settings), expected, "{lines}");
        assert!(!format!("{settings:?}").contains("hush"), "{lines}");
        for line in &settings.listing {
            assert!(!line.value.contains("hush"), "{lines}: {line:?}");
        }
    };
    check("url = 'redis://u:hush@a:7/2'", "a:7 u hush 2 resound");
    check("url = 'redis://a'\ntls = true", "a:6379+ - - 0 resound");
    check(
        "url = 'rediss://a'\npassword = 'hush'\ndatabase = 3",
        "a:6379+ - hush 3 resound",
    );
    // what a URL says counts more than the parts
    check(
        "url = 'redis://u:hush@a/1'\nusername = 'v'\npassword = 'x'\ndatabase = 3\nhost = 'b'",
        "a:6379 u hush 1 resound",
    );
    check(
        "host = 'b'\nport = 7\nusername = 'v'\npassword = 'hush'\nprefix = 'one:'",
        "b:7 v hush 0 one",
    );
    check("host = 'tls://b'", "b:6379+ - - 0 resound");
    check("host = '/run/redis.sock'", "/run/redis.sock - - 0 resound");
    check(
        "nodes = ['redis://u:hush@a:1', 'b']",
        "cluster a:1,b:6379 u hush 0 resound",
    );
    check(
        "nodes = ['a', 'redis://b']\ntls = true\npassword = 'hush'",
        "cluster a:6379+,b:6379+ - hush 0 resound",
    );
    check(
        "sentinels = ['a', 'redis://:hush@b:1']\npassword = 'hush2'\ndatabase = 4",
        "mymaster of a:26379,b:1 (- hush) - hush2 4 resound",
    );
    check(
        "sentinels = ['a', 'redis://b']\nsentinel_master = 'm'\nsentinel_username = 's'\nsentinel_password = 'hush'\ntls = true",
        "m+ of a:26379+,b:26379 (s hush) - - 0 resound",
    );
}

#[test]
fn certificates_for_redis() {
    let tls = |lines: &str| {
        let settings = of_file(&format!("tls = true\n{lines}")).expect(lines);
        settings.cluster.expect("a cluster").redis.tls
    };
    let client = |key: &str| {
        Some(ClientCertificate {
            certificate: "c.pem".into(),
            key: key.into(),
        })
    };
    assert_eq!(tls("tls_ca = 'ca.pem'").ca, Some("ca.pem".into()));
    assert_eq!(tls("tls_certificate = 'c.pem'").client, client("c.pem"));
    let both = "tls_certificate = 'c.pem'\ntls_key = 'k.pem'";
    assert_eq!(tls(both).client, client("k.pem"));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let check = |lines: &str, parts: &[&str]| {
        let sentence = of_file(lines).expect_err(lines).to_string();
        for part in parts.iter().chain(&["the given text"]) {
            assert!(sentence.contains(part), "{part:?} is not in {sentence}");
        }
        assert!(!sentence.contains("hush"), "{sentence}");
    };
    check(
        "url = 'redis://a'\nnodes = ['redis://:hush@b']",
        &["cluster.nodes is", "empty as long as cluster.url is set"],
    );
    check(
        "sentinels = ['a']\nnodes = ['b']",
        &["cluster.nodes is", "cluster.sentinels is set"],
    );
    check(
        "url = 'http://u:hush@a'",
        &["cluster.url is \"http://u:****@a\""],
    );
    check("url = 'redis://u:hush#1@a'", &["cluster.url", "%XX"]);
    check("url = ['redis://u:hush@a']", &["cluster.url"]);
    check("host = 'a b'", &["cluster.host", "a host name"]);
    check("port = 0", &["cluster.port"]);
    check("nodes = ['redis+unix:///a']", &["cluster.nodes"]);
    check("nodes = ['redis://a/1']", &["without a database"]);
    check("nodes = ['redis://a', 'rediss://b']", &["all with TLS"]);
    check("nodes = ['a']\ndatabase = 1", &["cluster.database is 1"]);
    check("sentinels = [':hush@a b']", &["cluster.sentinels"]);
    check(
        "sentinels = ['a']\nsentinel_master = ''",
        &["cluster.sentinel_master"],
    );
    check("password = 12345", &["cluster.password is not usable"]);
    check(
        "sentinel_password = ['hush']",
        &["cluster.sentinel_password"],
    );
    check("tls_ca = 'ca.pem'", &["cluster.tls_ca", "without TLS"]);
    check(
        "tls = true\ntls_key = 'k'",
        &["cluster.tls_key", "a key alone"],
    );
    for prefix in ["", ":", "a b", "a{b}", "ä", &"a".repeat(101)] {
        check(&format!("prefix = '{prefix}'"), &["cluster.prefix"]);
    }
    for number in [
        "heartbeat_s = 0",
        "heartbeat_s = 301",
        "connect_timeout_ms = 9",
        "answer_timeout_ms = 9",
        "retry_ms = 0",
        "backlog_bytes_max = 1073741825",
        "backlog_age_max_s = 0",
        "history_events_max = 100001",
        "history_age_max_s = 0",
        "publishes_max = 15",
        "inbound_bytes_max = 65535",
        "database = 65536",
    ] {
        check(number, &[number.split(' ').next().unwrap_or_default()]);
    }
}

#[test]
fn variables_of_laravel() {
    let check = |variables: &str, file: &str, expected: &str| {
        let settings = of_variables(variables, file)
            .unwrap_or_else(|error| panic!("{variables} {file}: {error}"));
        assert_eq!(redis_of(&settings), expected, "{variables} {file}");
    };
    const REDIS: &str = "REDIS_HOST=r REDIS_PORT=7 REDIS_PASSWORD=hush REDIS_DB=2";
    const ON: &str = "REVERB_SCALING_ENABLED=true";
    let all = |more: &str| format!("{ON} {REDIS} {more}");
    // an app's Redis alone means nothing
    check(REDIS, "", "alone");
    check(
        &format!("{REDIS} REVERB_SCALING_ENABLED=false"),
        "",
        "alone",
    );
    check(&format!("{REDIS} REDIS_PORT=nonsense"), "", "alone");
    check(ON, "", "127.0.0.1:6379 - - 0 resound");
    // PHP takes it for true
    check(
        "REVERB_SCALING_ENABLED=no",
        "",
        "127.0.0.1:6379 - - 0 resound",
    );
    check(&all(""), "", "r:7 - hush 2 resound");
    check(&all("REDIS_USERNAME=null"), "", "r:7 - hush 2 resound");
    check(&all("REDIS_PASSWORD=null"), "", "r:7 - - 2 resound");
    check(&all("REDIS_URL=tls://u:p@q:8"), "", "q:8+ u p 2 resound");
    check(
        &all("REDIS_URL=tcp://q?database=5"),
        "",
        "q:6379 - hush 5 resound",
    );
    check(&all("REDIS_HOST=tls://r"), "", "r:7+ - hush 2 resound");
    check(&all("REDIS_SCHEME=tls"), "", "r:7+ - hush 2 resound");
    // what Kubernetes makes of a service called redis
    check(
        &all("REDIS_PORT=tcp://10.0.0.1:6379"),
        "",
        "r:6379 - hush 2 resound",
    );
    check(
        &all("REVERB_SCALING_CHANNEL=reverb"),
        "",
        "r:7 - hush 2 resound",
    );
    check(&all("REVERB_SCALING_CHANNEL=one"), "", "r:7 - hush 2 one");
    check(&all("REDIS_PREFIX=app_"), "", "r:7 - hush 2 app_resound");
    check(
        &all("REDIS_PREFIX={app}: REVERB_SCALING_CHANNEL=one"),
        "",
        "r:7 - hush 2 app:one",
    );
    check("WEBSOCKETS_REPLICATION_MODE=local", "", "alone");
    check(
        &format!("{REDIS} WEBSOCKETS_REPLICATION_MODE=redis"),
        "",
        "r:7 - hush 2 resound",
    );

    // [cluster] and its variables beside them
    let on = "[cluster]\nenabled = true\n";
    check(REDIS, on, "r:7 - hush 2 resound");
    check(
        &all("REDIS_PREFIX=app_"),
        "[cluster]\nprefix = 'own'\nusername = 'v'",
        "r:7 v hush 2 own",
    );
    // the password isn't sent elsewhere
    check(REDIS, &format!("{on}host = 's'"), "s:6379 - - 0 resound");
    check(
        &all("RESOUND_CLUSTER_URL=redis://s/1 RESOUND_CLUSTER_PASSWORD=own"),
        "",
        "s:6379 - own 1 resound",
    );
    check(
        &all("RESOUND_CLUSTER_SENTINELS=a,b:1"),
        "[cluster]\nsentinel_master = 'm'",
        "m of a:26379,b:1 (- -) - - 0 resound",
    );
    check(&all("RESOUND_CLUSTER_ENABLED=false"), "", "alone");
    check(
        ON,
        "[cluster]\nenabled = false",
        "127.0.0.1:6379 - - 0 resound",
    );
}

#[test]
fn laravel_and_soketi_are_not_mixed() {
    let check = |variables: &str, expected: &str| {
        let all = format!("REDIS_HOST=r REDIS_PASSWORD=hush SOKETI_DB_REDIS_HOST=s {variables}");
        let settings = of_variables(&all, "").unwrap_or_else(|error| panic!("{all}: {error}"));
        assert_eq!(redis_of(&settings), expected, "{variables}");
    };
    check("", "alone");
    check("REVERB_SCALING_ENABLED=true", "r:6379 - hush 0 resound");
    check("SOKETI_ADAPTER_DRIVER=redis", "s:6379 - - 0 resound");
    check(
        "SOKETI_ADAPTER_DRIVER=redis REVERB_SCALING_ENABLED=true",
        "r:6379 - hush 0 resound",
    );
    check("RESOUND_CLUSTER_ENABLED=true", "r:6379 - hush 0 resound");
}

#[test]
fn refusals_name_the_variable() {
    let check = |variables: &str, part: &str| {
        let all = format!("REVERB_SCALING_ENABLED=true {variables}");
        let sentence = of_variables(&all, "").expect_err(&all).to_string();
        assert!(sentence.contains(part), "{sentence}");
        assert!(!sentence.contains("hush"), "{sentence}");
    };
    check("REDIS_PORT=x", "environment variable REDIS_PORT");
    check("REDIS_DB=x", "environment variable REDIS_DB");
    check(
        "REDIS_URL=mysql://u:hush@a",
        "environment variable REDIS_URL",
    );
    check("REVERB_SCALING_CHANNEL=ä", "REVERB_SCALING_CHANNEL");
    check(
        "RESOUND_CLUSTER_URL=redis://a RESOUND_CLUSTER_NODES=b",
        "environment variable RESOUND_CLUSTER_NODES",
    );
}

#[test]
fn what_has_no_effect_is_noted() {
    let settings = of_variables("REVERB_SCALING_ENABLED=true REDIS_TIMEOUT=60", "");
    let notes = settings.expect("settings").notes;
    let is_it = |note: &&String| note.contains("REDIS_TIMEOUT has no effect");
    assert_eq!(notes.iter().filter(is_it).count(), 1, "{notes:?}");
}
