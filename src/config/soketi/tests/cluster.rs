//! Several servers: adapters, and where Redis is.

use super::*;
use crate::config::cluster::tests::redis_of;

#[test]
fn several_servers() {
    let check = |pairs: &[(&str, &str)], expected: &str| {
        let on = [("SOKETI_ADAPTER_DRIVER", "redis")];
        let settings = settings_of(&[&APP[..], &on, pairs].concat(), None)
            .unwrap_or_else(|error| panic!("{pairs:?}: {error}"));
        assert_eq!(redis_of(&settings), expected, "{pairs:?}");
        assert_eq!(settings.warnings, Vec::<String>::new(), "{pairs:?}");
        assert!(!format!("{settings:?}").contains("hush"));
    };
    check(&[], "127.0.0.1:6379 - - 0 resound");
    check(
        &[
            ("SOKETI_DB_REDIS_HOST", "r"),
            ("SOKETI_DB_REDIS_PORT", "7"),
            ("SOKETI_DB_REDIS_DB", "2"),
            ("SOKETI_DB_REDIS_USERNAME", "u"),
            ("SOKETI_DB_REDIS_PASSWORD", "hush"),
        ],
        "r:7 u hush 2 resound",
    );
    // a password of digits is JSON's number
    check(
        &[("SOKETI_DB_REDIS_PASSWORD", "0123")],
        "127.0.0.1:6379 - 0123 0 resound",
    );
    check(
        &[("SOKETI_DB_REDIS_KEY_PREFIX", "app:")],
        "127.0.0.1:6379 - - 0 app",
    );
    check(
        &[
            ("SOKETI_ADAPTER_REDIS_PREFIX", "one"),
            ("SOKETI_DB_REDIS_KEY_PREFIX", "app:"),
        ],
        "127.0.0.1:6379 - - 0 app:one",
    );
    let sentinels = "[{\"host\":\"a\",\"port\":1},{\"host\":\"::1\"}]";
    check(
        &[
            ("SOKETI_DB_REDIS_SENTINELS", sentinels),
            ("SOKETI_DB_REDIS_SENTINEL_PASSWORD", "hush"),
            ("SOKETI_DB_REDIS_PASSWORD", "hush2"),
        ],
        "mymaster of a:1,[::1]:26379 (- hush) - hush2 0 resound",
    );
    check(
        &[
            ("SOKETI_DB_REDIS_SENTINELS", sentinels),
            ("SOKETI_DB_REDIS_INSTANCE_NAME", "m"),
            ("SOKETI_ADAPTER_REDIS_SUB_OPTIONS", "{\"tls\":{}}"),
        ],
        "m+ of a:1,[::1]:26379 (- -) - - 0 resound",
    );
    let nodes = (
        "SOKETI_DB_REDIS_CLUSTER_NODES",
        "[{\"host\":\"a\",\"port\":\"1\"},\"b:2\"]",
    );
    check(&[nodes], "127.0.0.1:6379 - - 0 resound");
    check(
        &[
            nodes,
            ("SOKETI_ADAPTER_REDIS_CLUSTER_MODE", "true"),
            ("SOKETI_DB_REDIS_DB", "2"),
        ],
        "cluster a:1,b:2 - - 0 resound",
    );
}

#[test]
fn several_servers_of_a_file() {
    let settings = settings_of(
        &[],
        Some(
            "{\"adapter\": {\"driver\": \"redis\", \"redis\": {\"prefix\": \"one\"}},
              \"database.redis\": {\"host\": \"r\", \"password\": \"hush\", \"tls\": {\"ca\": \"hush\"}}}",
        ),
    )
    .expect("settings");
    assert_eq!(redis_of(&settings), "r:6379+ - hush 0 one");
    let [warning] = &settings.warnings[..] else {
        panic!("{:?}", settings.warnings)
    };
    assert!(
        warning.contains("cluster.tls_ca") && !warning.contains("hush"),
        "{warning}"
    );
}

#[test]
fn adapters_and_redis_that_cannot_be_used() {
    let check = |pairs: &[(&str, &str)], part: &str| {
        let sentence = refusal(settings_of(pairs, None));
        assert!(sentence.contains(part), "{sentence}");
    };
    for driver in ["cluster", "nats", "1"] {
        check(
            &[("SOKETI_ADAPTER_DRIVER", driver)],
            "it must be local or redis: several servers share their channels over Redis only",
        );
    }
    check(&[("SOKETI_DB_REDIS_PORT", "x")], "SOKETI_DB_REDIS_PORT");
    check(
        &[("SOKETI_DB_REDIS_SENTINELS", "hush")],
        "cluster.sentinels is something else",
    );
    check(
        &[("SOKETI_DB_REDIS_SENTINELS", "[{\"port\": 1}]")],
        "a host and a port",
    );
    check(
        &[("SOKETI_ADAPTER_REDIS_CLUSTER_MODE", "true")],
        "SOKETI_DB_REDIS_CLUSTER_NODES",
    );
    let from = of_variables(&[("SOKETI_DB_REDIS_HOST", "r")]).expect("read");
    assert_eq!(from.unused.len(), 1, "{:?}", from.unused);
}
