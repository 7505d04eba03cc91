//! Every variable and option of soketi's, alone and through the whole configuration.
use super::*;
use crate::{
    apps::ClientEvents,
    config::{Overrides, Settings, cluster::tests::redis_of, load},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{collections::HashMap, fmt::Debug, io::Write, net::IpAddr};

const APP: [(&str, &str); 3] = [
    ("SOKETI_DEFAULT_APP_ID", "482915"),
    ("SOKETI_DEFAULT_APP_KEY", "k3y"),
    ("SOKETI_DEFAULT_APP_SECRET", "hush"),
];

fn of_file(text: &str) -> Result<FromSoketi, ConfigError> {
    let file = SoketiFile::parse(text, "file soketi.json")?;
    read(&Variables::new(), Some(&file))
}

fn of_variables(pairs: &[(&str, &str)]) -> Result<FromSoketi, ConfigError> {
    let named = |name: &str| format!("environment variable {name}");
    let variables = pairs
        .iter()
        .map(|(name, text)| (*name, (*text, named(name))));
    read(&variables.collect(), None)
}

fn settings_of(pairs: &[(&str, &str)], file: Option<&str>) -> Result<Settings, ConfigError> {
    let variables: HashMap<String, String> = pairs
        .iter()
        .map(|(name, text)| (name.to_string(), text.to_string()))
        .collect();
    let written = file.map(|text| {
        let mut file = tempfile::Builder::new()
            .suffix(".json")
            .tempfile()
            .expect("temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    });
    let overrides = Overrides {
        file: written.as_ref().map(|file| file.path().to_owned()),
        ..Overrides::default()
    };
    load(&overrides, &variables)
}

fn refusal<T: Debug>(result: Result<T, ConfigError>) -> String {
    let sentence = result.expect_err("refused").to_string();
    assert!(
        !sentence.contains('\n') && !sentence.ends_with('.'),
        "{sentence}"
    );
    sentence
}

/// `key value` of the layer, as text.
fn shown(layer: &Layer) -> Vec<String> {
    let values = &layer.values;
    let mut lines: Vec<String> = values
        .iter()
        .map(|(key, value)| format!("{key} {}", super::super::layers::shown(value)))
        .collect();
    lines.sort();
    lines
}

fn is_known(key: &str) -> bool {
    KNOWN_KEYS.iter().any(|known| known.path == key)
}

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
fn an_app_of_variables() {
    let pairs = [
        ("SOKETI_DEFAULT_APP_ID", "007"),
        ("SOKETI_DEFAULT_APP_KEY", "12345678901234567890123"),
        ("SOKETI_DEFAULT_APP_SECRET", "1e5"),
        ("SOKETI_DEFAULT_APP_ENABLED", "false"),
        ("SOKETI_DEFAULT_APP_MAX_CONNS", "200"),
        ("SOKETI_DEFAULT_APP_MAX_CLIENT_EVENTS_PER_SEC", "-1"),
        ("SOKETI_DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SEC", "-1"),
        ("SOKETI_DEFAULT_APP_USER_AUTHENTICATION", "true"),
        ("SOKETI_USER_AUTHENTICATION_TIMEOUT", "10500"),
        ("SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES", "true"),
    ];
    let settings = settings_of(&pairs, None).expect("settings");
    assert_eq!(settings.warnings, Vec::<String>::new());
    let [app] = &settings.apps[..] else {
        panic!("one app")
    };
    assert_eq!(app.id, "007");
    assert_eq!(app.key, "12345678901234567890123");
    assert!(!app.enabled);
    assert_eq!(app.limits.connections_max, Some(200));
    assert_eq!(app.limits.client_events_per_s, None);
    assert_eq!(app.users.authorization_timeout_s, Some(11));
    assert_eq!(app.client_events, ClientEvents::Members);
    let line = |key: &str| {
        let found = settings.listing.iter().find(|line| line.key == key);
        found.map(|line| line.origin.clone()).unwrap_or_default()
    };
    assert_eq!(
        line("apps.007.connections_max"),
        "environment variable SOKETI_DEFAULT_APP_MAX_CONNS"
    );
    assert_eq!(line("server.port"), "soketi's defaults");
}

#[test]
fn soketis_defaults_hold_for_who_has_nothing_else() {
    let settings = settings_of(&APP, None).expect("settings");
    assert_eq!(settings.server.port, 6001);
    assert_eq!(settings.server.host.to_string(), "0.0.0.0");
    assert_eq!(settings.warnings, Vec::<String>::new());
    let app = &settings.apps[0];
    assert_eq!(app.client_events, ClientEvents::None);
    assert_eq!(app.limits.event_data_bytes_max, 102_400);
    assert_eq!(app.limits.cache_ttl_s, 3_600);
    assert!(!settings.webhook.allow_private_targets);

    let reverb = [
        ("REVERB_APP_ID", "1"),
        ("REVERB_APP_KEY", "k"),
        ("REVERB_APP_SECRET", "s"),
    ];
    let both = settings_of(&[&APP[..], &reverb].concat(), None).expect("settings");
    assert_eq!(both.apps.len(), 2);
    assert_eq!(both.server.port, 8080);
    assert_eq!(both.apps[0].client_events, ClientEvents::Members);

    // the pusher driver is what an app that uses soketi has
    let pusher = [
        ("PUSHER_APP_ID", "482915"),
        ("PUSHER_APP_KEY", "k3y"),
        ("PUSHER_APP_SECRET", "hush"),
    ];
    let both = settings_of(&[&APP[..], &pusher].concat(), None).expect("settings");
    assert_eq!((both.apps.len(), both.server.port), (1, 6001));
    let only_pusher = settings_of(&pusher, None).expect("settings");
    assert_eq!(only_pusher.server.port, 8080);
    // what is said of soketi's app holds for the one there is
    let messages = [("SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES", "true")];
    let both = settings_of(&[&pusher[..], &messages].concat(), None).expect("settings");
    assert_eq!(both.apps[0].client_events, ClientEvents::Members);
}

#[test]
fn who_wins() {
    let check = |pairs: &[(&str, &str)], file: &str, port: u16| {
        let settings = settings_of(&[&APP[..], pairs].concat(), Some(file));
        assert_eq!(settings.expect("settings").server.port, port, "{pairs:?}");
    };
    check(&[], "{}", 6001);
    check(&[], "{\"port\": 7001}", 7001);
    check(&[("SOKETI_PORT", "7002")], "{\"port\": 7001}", 7002);
    let reverb = ("REVERB_SERVER_PORT", "7003");
    check(&[("SOKETI_PORT", "7002"), reverb], "{}", 7003);
    let ours = ("RESOUND_SERVER_PORT", "7004");
    check(&[("SOKETI_PORT", "7002"), reverb, ours], "{}", 7004);
}

#[test]
fn incomplete_and_published_apps() {
    let check = |pairs: &[(&str, &str)], parts: &[&str]| {
        let sentence = refusal(settings_of(pairs, None));
        for part in parts {
            assert!(sentence.contains(part), "{pairs:?}: {sentence}");
        }
    };
    check(
        &APP[..1],
        &[
            "SOKETI_DEFAULT_APP_SECRET is not set",
            "SOKETI_DEFAULT_APP_ID",
        ],
    );
    check(&APP[..2], &["SOKETI_DEFAULT_APP_SECRET is not set"]);
    let everybody_knows = [
        ("SOKETI_DEFAULT_APP_ID", "app-id"),
        ("SOKETI_DEFAULT_APP_KEY", "app-key"),
        ("SOKETI_DEFAULT_APP_SECRET", "app-secret"),
    ];
    let everywhere = [("SOKETI_HOST", "0.0.0.0")];
    check(
        &[&everybody_knows[..], &everywhere].concat(),
        &["SOKETI_HOST", "published"],
    );
    check(
        &[&everywhere[..], &[("SOKETI_DEBUG", "1")]].concat(),
        &["SOKETI_HOST", "published"],
    );
    for pairs in [&everybody_knows[..], &[("SOKETI_DEBUG", "1")]] {
        let settings = settings_of(pairs, None).expect("settings");
        assert_eq!(settings.server.host, IpAddr::from([127, 0, 0, 1]));
        assert!(settings.is_development);
        assert_eq!(
            (settings.apps[0].id.as_str(), settings.server.port),
            ("app-id", 6001)
        );
    }
    // the other two parts soketi has itself
    let settings = settings_of(&APP[2..], None).expect("settings");
    assert_eq!(settings.apps[0].id, "app-id");
    assert_eq!(settings.apps[0].key, "app-key");
    assert!(!settings.is_development);
}

#[test]
fn the_stock_service_of_sail_works() {
    let settings = settings_of(
        &[
            ("SOKETI_DEBUG", "1"),
            ("SOKETI_METRICS_SERVER_PORT", "9601"),
            ("SOKETI_DEFAULT_APP_ID", "app-id"),
            ("SOKETI_DEFAULT_APP_KEY", "app-key"),
            ("SOKETI_DEFAULT_APP_SECRET", "not the published one"),
        ],
        None,
    )
    .expect("settings");
    assert_eq!(settings.server.port, 6001);
    assert_eq!(settings.server.host.to_string(), "0.0.0.0");
    assert_eq!(settings.log.level, "debug");
    if is_known("admin.port") {
        assert_eq!(settings.warnings, Vec::<String>::new());
    }
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

const WEBHOOKS: &str = r#"[
    {"url": "https://user:hush@example.com/a?token=hush", "event_types": ["channel_occupied", "cache_miss"],
     "headers": {"X-Custom": "hush", "X-Number": 5, "Content-Type": "text/plain"},
     "filter": {"channel_name_starts_with": "private-", "channel_name_ends_with": ".1", "more": 1}},
    {"url": "http://laravel.test/hook", "event_types": ["client_event"]},
    {"lambda_function": "notify", "lambda": {"region": "eu-west-1"}, "event_types": ["client_event"]},
    {"url": "https://example.com/b", "event_types": []},
    {"url": "https://example.com/c", "event_types": ["channel_painted"]}
]"#;

#[test]
fn webhooks_of_an_app() {
    let webhooks = [("SOKETI_DEFAULT_APP_WEBHOOKS", WEBHOOKS)];
    let settings = settings_of(&[&APP[..], &webhooks].concat(), None).expect("settings");
    let [first, second] = &settings.apps[0].webhooks[..] else {
        panic!("two webhooks")
    };
    assert_eq!(first.url.host_str(), Some("example.com"));
    assert_eq!(first.headers.len(), 2);
    assert_eq!(first.headers["x-number"], "5");
    assert_eq!(first.channel_name_starts_with, "private-");
    assert_eq!(first.channel_name_ends_with, ".1");
    assert_eq!(second.url.as_str(), "http://laravel.test/hook");
    assert!(settings.webhook.allow_private_targets);
    let warnings = settings.warnings.join("\n");
    for part in [
        "webhook 1 in SOKETI_DEFAULT_APP_WEBHOOKS has the header Content-Type",
        "webhook 1 in SOKETI_DEFAULT_APP_WEBHOOKS has filter.more",
        "webhook 3 in SOKETI_DEFAULT_APP_WEBHOOKS is left out: Lambda",
        "webhook 4 in SOKETI_DEFAULT_APP_WEBHOOKS is left out",
        "webhook 5 in SOKETI_DEFAULT_APP_WEBHOOKS has the event type \"channel_painted\"",
        "webhook 5 in SOKETI_DEFAULT_APP_WEBHOOKS is left out",
    ] {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
    assert_eq!(settings.warnings.len(), 6, "{warnings}");
    let all = format!("{:?}{:?}{warnings}", settings.apps, settings.listing);
    assert!(!all.contains("hush"), "{all}");
}

#[test]
fn files_nested_and_dotted() {
    let check = |text: &str, expected: &[&str]| {
        let from = of_file(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(shown(&from.settings), expected, "{text}");
        assert_eq!(from.warnings, Vec::<String>::new(), "{text}");
        assert!(from.is_present);
    };
    check("{}", &[]);
    check("\u{feff} {\"port\": 6002}", &["server.port 6002"]);
    check("{\"port\": null, \"host\": \"\"}", &[]);
    check("{\"eventLimits\": null}", &[]);
    let both = [
        "app_defaults.batch_events_max 20",
        "app_defaults.event_data_bytes_max 10240",
    ];
    check(
        "{\"eventLimits\": {\"maxBatchSize\": 20, \"maxPayloadInKb\": \"10\"}}",
        &both,
    );
    check(
        "{\"eventLimits.maxBatchSize\": 20, \"eventLimits.maxPayloadInKb\": 10}",
        &both,
    );
    check(
        "{\"eventLimits\": {\"maxBatchSize\": 1, \"maxPayloadInKb\": 10}, \"eventLimits.maxBatchSize\": 20}",
        &both,
    );
    check(
        "{\"webhooks.batching\": {\"enabled\": 1}}",
        &["webhook.batching true"],
    );
    check(
        "{\"httpApi\": {\"requestLimitInMb\": 2}}",
        &["server.request_bytes_max 2097152"],
    );
    check(
        "{\"httpApi\": {\"acceptTraffic\": {\"memoryThreshold\": 85}}}",
        &[],
    );
    check(
        "{\"cors\": {\"origin\": [\"*\"], \"credentials\": true, \"methods\": []}}",
        &[],
    );
    check(
        "{\"adapter\": {\"redis\": {\"redisSubOptions\": {\"anything\": 1}}}}",
        &[],
    );
}

#[test]
fn apps_of_files() {
    let app = |text: &str| {
        let settings =
            settings_of(&[], Some(text)).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(settings.warnings, Vec::<String>::new(), "{text}");
        let app = settings.apps.last().expect("an app").clone();
        (app.id, app.limits.connections_max, app.client_events)
    };
    let expected = || ("7".to_owned(), Some(10), ClientEvents::Members);
    for (connections, messages) in [
        ("maxConnections", "enableClientMessages"),
        ("MaxConnections", "EnableClientMessages"),
        ("max_connections", "enable_client_messages"),
    ] {
        let fields = format!(
            "{{\"id\": 7, \"key\": \"k\", \"secret\": \"s\", \"{connections}\": \"10\", \"{messages}\": 1}}"
        );
        for text in [
            format!("{{\"appManager.array.apps\": [{fields}]}}"),
            format!(
                "{{\"appManager\": {{\"driver\": \"array\", \"array\": {{\"apps\": [{fields}]}}}}}}"
            ),
            format!("{{\"appManager.array\": {{\"apps\": [{fields}]}}}}"),
            format!("{{\"appManager.array.apps.0\": {fields}}}"),
            format!(
                "{{\"appManager.array.apps\": [{{\"id\": 1, \"key\": \"a\", \"secret\": \"b\"}}, {fields}]}}"
            ),
        ] {
            assert_eq!(app(&text), expected(), "{text}");
        }
    }
    let dotted = "{\"appManager.array.apps.0.id\": 7, \"appManager.array.apps.0.secret\": \"s\", \"appManager.array.apps.0.max_connections\": 10, \"appManager.array.apps.0.enableClientMessages\": true}";
    assert_eq!(app(dotted), expected());
    let databases = "{\"appManager.array.apps\": [{\"AppId\": \"7\", \"AppKey\": \"k\", \"AppSecret\": \"s\", \"max_connections\": 10, \"MaxConnections\": null, \"EnableClientMessages\": true, \"webhooks\": \"[]\"}]}";
    assert_eq!(app(databases), expected());
}

#[test]
fn variables_are_about_the_first_app_of_the_file() {
    let file = "{\"appManager.array.apps\": [{\"id\": \"1\", \"key\": \"a\", \"secret\": \"b\"}, {\"id\": \"2\", \"key\": \"c\", \"secret\": \"d\"}]}";
    let settings = settings_of(&[("SOKETI_DEFAULT_APP_KEY", "z")], Some(file)).expect("settings");
    let apps: Vec<_> = settings
        .apps
        .iter()
        .map(|app| (app.id.as_str(), app.key.as_str()))
        .collect();
    assert_eq!(apps, [("1", "z"), ("2", "c")]);
}

#[test]
fn unknown_keys_of_files_are_warned_of() {
    let check = |text: &str, part: &str| {
        let from = of_file(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let [warning] = &from.warnings[..] else {
            panic!("{text}: {:?}", from.warnings)
        };
        assert!(warning.contains(part), "{warning}");
        assert!(!warning.contains("hush"), "{warning}");
    };
    check(
        "{\"prot\": 1}",
        "prot in file soketi.json is not known and without effect (the nearest is port)",
    );
    check(
        "{\"eventLimits\": {\"maxBatch\": 1}}",
        "eventLimits.maxBatch in file soketi.json",
    );
    check(
        "{\"eventLimits.maxBatch\": 1}",
        "eventLimits.maxBatch in file soketi.json",
    );
    check("{\"a\": {\"b\": \"hush\"}}", "a in file soketi.json");
    check("{\"\": 1}", "is not known");
    check("{\"eventLimits.\": 1}", "eventLimits. in file");
    check("{\"eventLimits\": {\"\": 1}}", "eventLimits. in file");
    check(
        "{\"appManager.array.apps.5.id\": 1}",
        "appManager.array.apps.5.id",
    );
    check(
        "{\"appManager.array.apps\": [{\"secret\": \"s\", \"max_conn\": \"hush\"}]}",
        "appManager.array.apps.0.max_conn",
    );
    check(
        "{\"cors\": {\"origin\": [\"https://example.com\"]}}",
        "allowed_origins",
    );
}

#[test]
fn wrong_files_are_refused_by_place() {
    let check = |text: &str, parts: &[&str]| {
        let sentence = refusal(of_file(text));
        for part in [&["file soketi.json"], parts].concat() {
            assert!(sentence.contains(part), "{text}: {part}: {sentence}");
        }
        assert!(!sentence.contains("hush"), "{sentence}");
    };
    check("{", &["not valid JSON", "line 1"]);
    check("{\"port\": hush}", &["not valid JSON", "line 1"]);
    check("[]", &["must be an object"]);
    check("{\"port\": \"x\"}", &["(port)", "a whole number"]);
    check("{\"eventLimits\": 5}", &["eventLimits", "an object"]);
    check(
        "{\"database\": \"mysql://hush@host\"}",
        &["database", "an object"],
    );
    check("{\"appManager.array.apps\": {}}", &["a list of objects"]);
    check(
        "{\"appManager.array.apps\": [\"hush\"]}",
        &["appManager.array.apps.0"],
    );
    check(
        "{\"appManager.array.apps\": [{\"id\": 1}]}",
        &["appManager.array.apps.0.secret is missing"],
    );
    check(
        "{\"appManager.array.apps\": [{\"id\": [\"hush\"], \"secret\": \"hush\"}]}",
        &["apps.0.id", "a text"],
    );
    check(
        "{\"appManager.array.apps\": [{\"secret\": {\"a\": \"hush\"}}]}",
        &["a text"],
    );
    let two =
        "{\"appManager.array.apps\": [{\"id\": 1, \"key\": 1, \"secret\": 1}, {\"secret\": 2}]}";
    check(two, &["appManager.array.apps.1.id is missing"]);
    check(
        "{\"appManager.driver\": \"mysql\"}",
        &["mysql", "not supported yet"],
    );
}

#[test]
fn which_files_are_soketis() {
    let check = |name: &str, text: &str, expected: bool| {
        assert_eq!(SoketiFile::is_one(name, text), expected, "{name}");
    };
    check("soketi.json", "", true);
    check("/etc/soketi/config.JSON", "port = 1", true);
    check("config", " \n{\"port\": 1}", true);
    check("config", "\u{feff}{}", true);
    check("resound.toml", "[server]", false);
    check("json", "", false);
}

#[test]
fn random_input_ends_in_settings_or_a_sentence() {
    let mut random = SmallRng::seed_from_u64(20_260_417);
    let texts = [
        "1",
        "-1",
        "0",
        "true",
        "null",
        "[]",
        "{}",
        "\"x\"",
        "x",
        "1e99",
        "[[{}]]",
        "0.1",
        "{\"0\":{\"id\":1}}",
        "[{\"id\":1,\"key\":2,\"secret\":3}]",
        "99999999999999999999",
        "[{\"url\":\"http://a\",\"event_types\":[\"client_event\"]}]",
        "ä€",
        "array",
        "full",
    ];
    for _ in 0..3_000 {
        let mut pairs: Vec<(String, &str)> = Vec::new();
        let mut members = Vec::new();
        for _ in 0..random.random_range(0..5) {
            let option = &OPTIONS[random.random_range(0..OPTIONS.len())];
            let text = texts[random.random_range(0..texts.len())];
            pairs.push((format!("SOKETI_{}", option.variable), text));
            let cut = random.random_range(0..=option.path.len());
            let path = option.path.get(..cut).unwrap_or_default();
            if serde_json::from_str::<Json>(text).is_ok() {
                members.push(format!("\"{path}\": {text}"));
            }
        }
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, t)| (n.as_str(), *t)).collect();
        if let Err(error) = of_variables(&pairs) {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        let text = format!("{{{}}}", members.join(", "));
        if let Err(error) = of_file(&text) {
            assert!(error.to_string().contains("file soketi.json"), "{error}");
        }
    }
}

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
