//! Variables: what each means, which have no equal, which can't be used.

use super::*;

#[test]
fn settings_of_every_variable() {
    let check = |name: &str, text: &str, expected: &str| {
        let from = of_variables(&[(name, text)]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let key = expected.split(' ').next().unwrap_or_default();
        if expected.is_empty() || is_known(key) {
            let expected: Vec<&str> = Some(expected)
                .filter(|text| !text.is_empty())
                .into_iter()
                .collect();
            assert_eq!(shown(&from.settings), expected, "{name}={text}");
            assert_eq!(from.warnings, Vec::<String>::new(), "{name}");
        } else {
            assert_eq!(from.warnings.len(), 1, "{name}: {:?}", from.warnings);
        }
        assert!(from.is_present && from.apps.is_empty(), "{name}");
    };
    check("SOKETI_HOST", "::", "server.host \"::\"");
    check("SOKETI_PORT", "6002", "server.port 6002");
    check("SOKETI_PORT", "\"6002\"", "server.port 6002");
    check("SOKETI_PATH_PREFIX", "/ws", "server.path \"/ws\"");
    for on in ["1", "true", "\"true\"", "yes", "on"] {
        check("SOKETI_DEBUG", on, "log.level \"debug\"");
    }
    for off in ["0", "false", "no", "off"] {
        check("SOKETI_DEBUG", off, "");
    }
    check("SOKETI_SHUTDOWN_GRACE_PERIOD", "3000", "server.drain_s 3");
    check("SOKETI_SHUTDOWN_GRACE_PERIOD", "3001", "server.drain_s 4");
    check("SOKETI_SHUTDOWN_GRACE_PERIOD", "0", "server.drain_s 0");
    check("SOKETI_USER_AUTHENTICATION_TIMEOUT", "30000", "");
    check("SOKETI_SSL_CERT", "/c.pem", "tls.certificate \"/c.pem\"");
    check("SOKETI_SSL_KEY", "/k.pem", "tls.key \"/k.pem\"");
    check("SOKETI_METRICS_HOST", "0.0.0.0", "admin.host \"0.0.0.0\"");
    check("SOKETI_METRICS_SERVER_PORT", "9601", "admin.port 9601");
    check(
        "SOKETI_METRICS_PROMETHEUS_PREFIX",
        "ws_",
        "admin.soketi_prefix \"ws_\"",
    );
    check(
        "SOKETI_METRICS_ENABLED",
        "1",
        "admin.soketi_prefix \"soketi_\"",
    );
    check("SOKETI_WEBHOOKS_BATCHING", "true", "webhook.batching true");
    check(
        "SOKETI_WEBHOOKS_BATCHING_DURATION",
        "75",
        "webhook.batch_ms 75",
    );
    let limits = [
        (
            "CHANNEL_LIMITS_MAX_NAME_LENGTH",
            "150",
            "channel_name_chars_max 150",
        ),
        ("CHANNEL_CACHE_TTL", "60", "cache_ttl_s 60"),
        ("EVENT_MAX_BATCH_SIZE", "50", "batch_events_max 50"),
        (
            "EVENT_MAX_CHANNELS_AT_ONCE",
            "7",
            "channels_per_event_max 7",
        ),
        ("EVENT_MAX_NAME_LENGTH", "99", "event_name_chars_max 99"),
        ("EVENT_MAX_SIZE_IN_KB", "64", "event_data_bytes_max 65536"),
        ("EVENT_MAX_SIZE_IN_KB", "0.5", "event_data_bytes_max 512"),
        ("PRESENCE_MAX_MEMBERS", "250", "presence_members_max 250"),
        ("PRESENCE_MAX_MEMBERS", "-1", "presence_members_max 0"),
        (
            "PRESENCE_MAX_MEMBER_SIZE",
            "2",
            "presence_user_info_bytes_max 2048",
        ),
        ("DEFAULT_APP_MAX_CONNS", "-1", "connections_max 0"),
        ("DEFAULT_APP_MAX_CONNS", "100", "connections_max 100"),
        (
            "DEFAULT_APP_ENABLE_CLIENT_MESSAGES",
            "true",
            "client_events \"members\"",
        ),
        (
            "DEFAULT_APP_ENABLE_CLIENT_MESSAGES",
            "0",
            "client_events \"none\"",
        ),
        (
            "DEFAULT_APP_MAX_CLIENT_EVENTS_PER_SEC",
            "5",
            "client_events_per_s 5",
        ),
        (
            "DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SEC",
            "6",
            "backend_events_per_s 6",
        ),
        (
            "DEFAULT_APP_MAX_READ_REQ_PER_SEC",
            "7",
            "read_requests_per_s 7",
        ),
        (
            "DEFAULT_APP_USER_AUTHENTICATION",
            "true",
            "authorization_timeout_s 30",
        ),
    ];
    for (name, text, expected) in limits {
        let expected = format!("app_defaults.{expected}");
        check(&format!("SOKETI_{name}"), text, &expected);
    }
    check("SOKETI_DEFAULT_APP_USER_AUTHENTICATION", "false", "");
    // soketi's own defaults of what there is no equal for, and what says nothing
    for (name, text) in [
        ("SOKETI_MODE", "full"),
        ("SOKETI_MODE", "server"),
        ("SOKETI_APP_MANAGER_DRIVER", "array"),
        ("SOKETI_ADAPTER_DRIVER", "local"),
        ("SOKETI_CACHE_DRIVER", "memory"),
        ("SOKETI_RATE_LIMITER_DRIVER", "local"),
        ("SOKETI_QUEUE_DRIVER", "sync"),
        ("SOKETI_METRICS_DRIVER", "prometheus"),
        ("SOKETI_METRICS_ENABLED", "false"),
        ("SOKETI_HTTP_ACCEPT_TRAFFIC_MEMORY_THRESHOLD", "\"85\""),
        ("SOKETI_DB_REDIS_SENTINELS", "[{\"host\":\"a\",\"port\":1}]"),
        ("SOKETI_DB_MYSQL_PASSWORD", "hush"),
    ] {
        check(name, text, "");
    }
}

#[test]
fn every_variable_of_soketi_is_understood() {
    for option in OPTIONS.iter().filter(|option| !option.variable.is_empty()) {
        let name = format!("SOKETI_{}", option.variable);
        // of no use to most, but none is unknown
        for text in ["array", "[]", "1"] {
            if let Ok(from) = of_variables(&[(&name, text)]) {
                let unknown = from.warnings.iter().any(|line| line.contains("not known"));
                assert!(!unknown, "{name}: {:?}", from.warnings);
            }
        }
    }
    let mut paths: Vec<&str> = OPTIONS.iter().map(|option| option.path).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), OPTIONS.len(), "a path is there twice");
}

#[test]
fn what_has_no_equal_is_warned_of() {
    let check = |name: &str, text: &str, part: &str| {
        let from = of_variables(&[(name, text)]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let [warning] = &from.warnings[..] else {
            panic!("{name}: {:?}", from.warnings)
        };
        assert!(
            warning.starts_with(name) && warning.contains(part),
            "{warning}"
        );
        assert!(!warning.contains("hush"), "{warning}");
    };
    check("SOKETI_CACHE_DRIVER", "redis", "in the process");
    check("SOKETI_RATE_LIMITER_DRIVER", "redis", "in the process");
    check("SOKETI_QUEUE_DRIVER", "sqs", "in the process");
    check("SOKETI_SSL_PASS", "hush", "must not be encrypted");
    check("SOKETI_SSL_CA", "/ca.pem", "file of the certificate");
    check(
        "SOKETI_HTTP_ACCEPT_TRAFFIC_MEMORY_THRESHOLD",
        "70",
        "memory",
    );
    check("SOKETI_DEFAULT_APP_ENABLED", "false", "without an app");
    check("SOKETI_DEFAULT_APP_WEBHOOKS", "[]", "without an app");
}

#[test]
fn unknown_names_are_listed_with_the_nearest() {
    let from = of_variables(&[
        ("SOKETI_PROT", "1"),
        ("SOKETI_DEFAULT_APP_SECRETS", "hush"),
        ("SOKETI_PORT", "7001"),
        ("SOKETI_ÄÖ", "1"),
        ("SOKETI_ÖÄ", "1"),
    ])
    .expect("settings");
    let [warning] = &from.warnings[..] else {
        panic!("{:?}", from.warnings)
    };
    for part in [
        "SOKETI_PROT (the nearest is SOKETI_PORT)",
        "SOKETI_DEFAULT_APP_SECRETS (the nearest is SOKETI_DEFAULT_APP_SECRET)",
        "SOKETI_ÄÖ, ",
    ] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
    assert!(!warning.contains("hush"));
    assert!(
        !of_variables(&[("SOKETI_PROT", "1")])
            .expect("settings")
            .is_present
    );
}

#[test]
fn a_value_that_cannot_be_used_is_refused_by_name() {
    let check = |name: &str, text: &str, parts: &[&str]| {
        let sentence = refusal(of_variables(&[(name, text)]));
        for part in [&[name], parts].concat() {
            assert!(sentence.contains(part), "{name}={text}: {part}: {sentence}");
        }
    };
    check(
        "SOKETI_PORT",
        "six",
        &["server.port", "\"six\"", "a whole number"],
    );
    check("SOKETI_PORT", "-1", &["a whole number"]);
    check("SOKETI_PORT", "[1]", &["a list"]);
    check("SOKETI_DEBUG", "perhaps", &["true or false"]);
    check("SOKETI_DEBUG", "2", &["true or false"]);
    check("SOKETI_EVENT_MAX_SIZE_IN_KB", "much", &["a number of KB"]);
    check("SOKETI_EVENT_MAX_SIZE_IN_KB", "1e300", &["a number of KB"]);
    check("SOKETI_SHUTDOWN_GRACE_PERIOD", "1.5", &["milliseconds"]);
    check("SOKETI_USER_AUTHENTICATION_TIMEOUT", "x", &["milliseconds"]);
    check("SOKETI_DEFAULT_APP_MAX_CONNS", "0", &["from 1, or -1"]);
    check(
        "SOKETI_MODE",
        "worker",
        &["webhooks are sent by the server"],
    );
    for driver in ["mysql", "postgres", "dynamodb"] {
        let parts = [driver, "not supported yet", "resound import"];
        check("SOKETI_APP_MANAGER_DRIVER", driver, &parts);
    }
    check("SOKETI_HOST", "{\"a\":1}", &["a text"]);
    let with_app = |name: &str, text: &str, parts: &[&str]| {
        let sentence = refusal(settings_of(&[&APP[..], &[(name, text)]].concat(), None));
        for part in parts {
            assert!(sentence.contains(part), "{name}={text}: {part}: {sentence}");
        }
        assert!(!sentence.contains("hush"), "{sentence}");
    };
    with_app(
        "SOKETI_PORT",
        "70000",
        &["environment variable SOKETI_PORT", "65535"],
    );
    with_app(
        "SOKETI_HOST",
        "example.com",
        &["SOKETI_HOST", "an IP address"],
    );
    with_app(
        "SOKETI_CHANNEL_LIMITS_MAX_NAME_LENGTH",
        "5",
        &["SOKETI_CHANNEL", "16 to"],
    );
    with_app(
        "SOKETI_DEFAULT_APP_WEBHOOKS",
        "hush",
        &["SOKETI_DEFAULT_APP_WEBHOOKS", "as JSON"],
    );
    with_app(
        "SOKETI_DEFAULT_APP_WEBHOOKS",
        "[\"hush\"]",
        &["a list of objects"],
    );
    with_app(
        "SOKETI_DEFAULT_APP_WEBHOOKS",
        "[{\"url\":[\"hush\"]}]",
        &["url of webhook 1"],
    );
}

#[test]
fn links_of_kubernetes_are_no_settings() {
    let links = [
        ("SOKETI_PORT", "tcp://10.0.0.1:6001"),
        ("SOKETI_PORT_6001_TCP_ADDR", "10.0.0.1"),
        ("SOKETI_SERVICE_HOST", "10.0.0.1"),
        ("SOKETI_SERVICE_PORT", "6001"),
    ];
    let settings = settings_of(&[&APP[..], &links].concat(), None).expect("settings");
    assert_eq!(settings.server.port, 6001);
    assert_eq!(settings.warnings, Vec::<String>::new());
}
