//! Settings as a whole: every source, every refusal, and the documentation.
use super::*;
use crate::apps::{ClientEvents, MessageRateLimit};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::fmt::Write;

const REVERB_APP: [(&str, &str); 3] = [
    ("REVERB_APP_ID", "482915"),
    ("REVERB_APP_KEY", "key"),
    ("REVERB_APP_SECRET", "hush"),
];

fn variables(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    let owned = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    owned.collect()
}

fn from_variables(pairs: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    load(&Overrides::default(), &variables(pairs))
}

fn with_app(pairs: &[(&str, &str)]) -> Settings {
    let all = [&REVERB_APP[..], pairs].concat();
    from_variables(&all).unwrap_or_else(|error| panic!("{pairs:?}: {error}"))
}

fn refusal(result: Result<Settings, ConfigError>) -> String {
    let sentence = result.expect_err("refused").to_string();
    assert!(
        !sentence.contains('\n') && !sentence.ends_with('.'),
        "{sentence}"
    );
    sentence
}

fn origin<'a>(settings: &'a Settings, key: &str) -> (&'a str, &'a str) {
    let found = settings.listing.iter().find(|line| line.key == key);
    found
        .map(|line| (line.value.as_str(), line.origin.as_str()))
        .unwrap_or_else(|| panic!("{key} is not listed"))
}

#[test]
fn nothing_configured_is_the_development_app_on_loopback() {
    let settings = from_variables(&[]).expect("defaults");
    assert!(settings.is_development);
    assert_eq!(settings.server.host.to_string(), "127.0.0.1");
    assert_eq!(settings.server.port, 8080);
    assert_eq!(settings.server.path, "");
    assert!(settings.server.workers >= 1);
    assert_eq!(settings.server.connections_max, None);
    assert_eq!(settings.server.request_bytes_max, 1 << 20);
    assert_eq!(settings.server.trusted_proxies.len(), 2);
    assert_eq!(settings.warnings, Vec::<String>::new());
    let [app] = &settings.apps[..] else {
        panic!("one app")
    };
    assert_eq!((app.id.as_str(), app.key.as_str()), ("1001", "app-key"));
    assert!(app.enabled && !app.require_tls);
    assert_eq!(app.client_events, ClientEvents::Members);
    assert_eq!(app.activity_timeout_s, 30);
}

#[test]
fn appendix_b_defaults() {
    let settings = from_variables(&[]).expect("defaults");
    let limits = &settings.apps[0].limits;
    assert_eq!(limits.channel_name_chars_max, 200);
    assert_eq!(limits.event_name_chars_max, 200);
    assert_eq!(limits.event_data_bytes_max, 10_240);
    assert_eq!(limits.channels_per_event_max, 100);
    assert_eq!(limits.batch_events_max, 10);
    assert_eq!(limits.message_bytes_max, 65_536);
    assert_eq!(limits.client_event_data_bytes_max, 10_240);
    assert_eq!(limits.client_events_per_s, None);
    assert_eq!(limits.message_rate, None);
    assert_eq!(limits.presence_members_max, None);
    assert_eq!(limits.presence_user_id_chars_max, 128);
    assert_eq!(limits.presence_user_info_bytes_max, 10_240);
    assert_eq!(limits.connections_max, None);
    assert_eq!(limits.cache_ttl_s, 1_800);
    assert_eq!(limits.timestamp_window_s, 600);
}

#[test]
fn appendix_b_preset_hosted_lies_between_defaults_and_explicit_settings() {
    let settings = with_app(&[
        ("RESOUND_APP_DEFAULTS_PRESET", "hosted"),
        ("RESOUND_APP_DEFAULTS_PRESENCE_MEMBERS_MAX", "500"),
    ]);
    let limits = &settings.apps[0].limits;
    assert_eq!(limits.channel_name_chars_max, 164);
    assert_eq!(limits.client_events_per_s, Some(10));
    assert_eq!(limits.presence_members_max, Some(500));
    assert_eq!(limits.presence_user_info_bytes_max, 1_024);
    let listed = origin(&settings, "app_defaults.channel_name_chars_max");
    assert_eq!(listed, ("164", "the preset hosted"));

    let text = "
        [app_defaults]
        presence_members_max = 7
        [[apps]]
        id = 1
        key = 'a'
        secret = 's'
        preset = 'hosted'
        client_events_per_s = 3
        [[apps]]
        id = 2
        key = 'b'
        secret = 's'
    ";
    let settings = from_toml(text).expect("two apps");
    let limits = |index: usize| &settings.apps[index].limits;
    assert_eq!(limits(0).presence_members_max, Some(100));
    assert_eq!(limits(0).client_events_per_s, Some(3));
    assert_eq!(limits(1).presence_members_max, Some(7));
    assert_eq!(limits(1).channel_name_chars_max, 200);
}

#[test]
fn limits_of_addresses_are_generous_and_0_switches_them_off() {
    let limits = from_variables(&[]).expect("defaults").limits;
    assert_eq!(limits.connections_per_address, Some(10_000));
    assert_eq!(limits.handshakes_per_s_per_address, Some(500));
    // after a break everybody behind an address comes back at once
    assert_eq!(
        Some(limits.handshake_burst_per_address),
        limits.connections_per_address
    );
    assert_eq!(limits.auth_failures_per_min_per_address, Some(6_000));
    assert_eq!(limits.signature_failures_per_min_per_address, Some(6_000));
    let off = from_variables(&[
        ("RESOUND_LIMITS_CONNECTIONS_PER_ADDRESS", "0"),
        ("RESOUND_LIMITS_HANDSHAKES_PER_S_PER_ADDRESS", "0"),
    ]);
    let off = off.expect("settings").limits;
    assert_eq!(off.connections_per_address, None);
    assert_eq!(off.handshakes_per_s_per_address, None);
    let refused = from_variables(&[("RESOUND_LIMITS_ADDRESSES_MAX", "0")]);
    assert_eq!(
        refusal(refused),
        "limits.addresses_max is \"0\" in environment variable RESOUND_LIMITS_ADDRESSES_MAX; it must be a whole number from 64 to 100000000"
    );
}

#[test]
fn allowed_origins_as_people_write_them() {
    let check = |text: &str, expected: &[&str]| {
        let settings = with_app(&[("REVERB_ALLOWED_ORIGINS", text)]);
        assert_eq!(settings.apps[0].allowed_origins, expected, "{text:?}");
    };
    check(" a.com ,  b.com,", &["a.com", "b.com"]);
    check("\"a.com, b.com\"", &["a.com", "b.com"]);
    check(
        "https://a.com/, http://localhost:*",
        &["a.com", "localhost"],
    );
    // every origin
    for star in ["*", "a.com, *", "https://*", "*:443", "https://*:*/"] {
        check(star, &[]);
    }
}

#[test]
fn a_later_source_wins_and_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("resound.toml");
    std::fs::write(
        &path,
        "[server]\nport = 1\npath = 'file'\nworkers = 3\n[log]\nformat = 'json'",
    )
    .expect("written");
    let overrides = Overrides {
        file: Some(path.clone()),
        port: Some("4".into()),
        debug: true,
        ..Overrides::default()
    };
    let all = [
        &REVERB_APP[..],
        &[
            ("REVERB_SERVER_PORT", "2"),
            ("REVERB_SERVER_PATH", "/laravel/"),
            ("RESOUND_SERVER_PORT", "3"),
            ("RESOUND_SERVER_WORKERS", "5"),
        ],
    ]
    .concat();
    let settings = load(&overrides, &variables(&all)).expect("settings");
    let file = format!("file {}", path.display());
    let check = |key: &str, value: &str, from: &str| {
        assert_eq!(origin(&settings, key), (value, from), "{key}");
    };
    check("server.port", "4", "option --port");
    check(
        "server.path",
        "\"/laravel\"",
        "environment variable REVERB_SERVER_PATH",
    );
    check(
        "server.workers",
        "5",
        "environment variable RESOUND_SERVER_WORKERS",
    );
    check("log.format", "\"json\"", &file);
    check("log.level", "\"debug\"", "option --debug");
    check("server.drain_s", "5", "the defaults");
    check("server.host", "\"0.0.0.0\"", "the defaults");
    assert_eq!(settings.server.port, 4);
    assert_eq!(settings.server.path, "/laravel");
    assert_eq!(settings.log.format, LogFormat::Json);
}

#[test]
fn laravel_variables_are_read() {
    let settings = with_app(&[
        ("REVERB_SERVER_HOST", "127.0.0.1"),
        ("REVERB_SERVER_PORT", "\"6001\""),
        ("REVERB_APP_MAX_MESSAGE_SIZE", "100000"),
        ("REVERB_APP_PING_INTERVAL", "61"),
        ("REVERB_APP_ACTIVITY_TIMEOUT", "31"),
        ("REVERB_APP_MAX_CONNECTIONS", "9"),
        ("REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM", "all"),
        ("REVERB_APP_RATE_LIMITING_ENABLED", "(TRUE)"),
        ("REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS", "5"),
        ("REVERB_APP_RATE_LIMIT_DECAY_SECONDS", "6"),
        ("REVERB_APP_RATE_LIMIT_TERMINATE", "yes"),
        (
            "REVERB_ALLOWED_ORIGINS",
            "https://App.example.com:8443, *.b.com ,",
        ),
        // where others reach the server
        ("REVERB_PORT", "443"),
        ("REVERB_HOST", "ws.example.com"),
        ("PORT", "1"),
        ("HOST", "x"),
    ]);
    assert_eq!(settings.server.host.to_string(), "127.0.0.1");
    assert_eq!(settings.server.port, 6001);
    assert!(!settings.is_development);
    let app = &settings.apps[0];
    assert_eq!((app.id.as_str(), app.key.as_str()), ("482915", "key"));
    assert_eq!((app.ping_interval_s, app.activity_timeout_s), (61, 31));
    assert_eq!(app.client_events, ClientEvents::All);
    assert_eq!(app.allowed_origins, ["app.example.com", "*.b.com"]);
    assert_eq!(app.limits.connections_max, Some(9));
    assert_eq!(app.limits.message_bytes_max, 100_000);
    let listed = origin(&settings, "app_defaults.message_rate_terminate").0;
    assert_eq!(listed, "true");
    let rate = MessageRateLimit {
        max_attempts: 5,
        decay_s: 6,
        terminate: true,
    };
    assert_eq!(app.limits.message_rate, Some(rate));
    assert_eq!(settings.warnings, Vec::<String>::new());
}

#[test]
fn e4_values_of_client_events() {
    let check = |text: &str, expected: ClientEvents, warned: bool| {
        let settings = with_app(&[("REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM", text)]);
        assert_eq!(settings.apps[0].client_events, expected, "{text:?}");
        assert_eq!(settings.warnings.len(), usize::from(warned), "{text:?}");
    };
    check("all", ClientEvents::All, false);
    check("Members", ClientEvents::Members, false);
    check("none", ClientEvents::None, false);
    check("nobody", ClientEvents::None, true);
    check("", ClientEvents::Members, false);
    check("null", ClientEvents::Members, false);
}

#[test]
fn switches_of_laravel_follow_php() {
    let limit = |name: &str, text: &str| {
        let settings = with_app(&[("REVERB_APP_RATE_LIMITING_ENABLED", "true"), (name, text)]);
        settings.apps[0].limits.message_rate
    };
    let check_enabled = |text: &str, on: bool| {
        let found = limit("REVERB_APP_RATE_LIMITING_ENABLED", text);
        assert_eq!(found.is_some(), on, "{text:?}");
    };
    check_enabled("true", true);
    check_enabled("'TRUE'", true);
    check_enabled("1", false);
    check_enabled("yes", false);
    check_enabled("false", false);
    check_enabled("", false);
    let check_terminate = |text: &str, on: bool| {
        let found = limit("REVERB_APP_RATE_LIMIT_TERMINATE", text);
        assert_eq!(found.map(|rate| rate.terminate), Some(on), "{text:?}");
    };
    check_terminate("1", true);
    check_terminate("no", true);
    check_terminate("(false)", false);
    check_terminate("0", false);
    check_terminate("null", false);
}

#[test]
fn reverb_max_request_size_lets_larger_events_through() {
    let check = |size: &str, explicit: &[(&str, &str)], request: usize, event: usize| {
        let pairs = [&[("REVERB_MAX_REQUEST_SIZE", size)], explicit].concat();
        let settings = with_app(&pairs);
        assert_eq!(settings.server.request_bytes_max, request, "{size}");
        let limits = &settings.apps[0].limits;
        assert_eq!(limits.event_data_bytes_max, event, "{size} {explicit:?}");
    };
    let event_variable = "RESOUND_APP_DEFAULTS_EVENT_DATA_BYTES_MAX";
    check("10000", &[], 10_000, 10_240);
    check("200000", &[], 200_000, 200_000);
    check("200000", &[(event_variable, "50")], 200_000, 50);
}

#[test]
fn apps_come_from_every_complete_triple() {
    let ids = |pairs: &[(&str, &str)]| -> Vec<String> {
        let settings = from_variables(pairs).expect("apps");
        settings.apps.iter().map(|app| app.id.clone()).collect()
    };
    let pusher = [
        ("PUSHER_APP_ID", "2"),
        ("PUSHER_APP_KEY", "b"),
        ("PUSHER_APP_SECRET", "s"),
    ];
    let resound = [
        ("RESOUND_APP_ID", "3"),
        ("RESOUND_APP_KEY", "c"),
        ("RESOUND_APP_SECRET", "s"),
    ];
    let same = [
        ("PUSHER_APP_ID", "\"482915\""),
        ("PUSHER_APP_KEY", "key"),
        ("PUSHER_APP_SECRET", "hush"),
    ];
    let absent = [
        ("PUSHER_APP_ID", ""),
        ("PUSHER_APP_KEY", "null"),
        ("PUSHER_APP_SECRET", "(empty)"),
        ("PUSHER_APP_CLUSTER", "mt1"),
    ];
    assert_eq!(ids(&pusher), ["2"]);
    assert_eq!(
        ids(&[&REVERB_APP[..], &pusher, &resound].concat()),
        ["482915", "2", "3"]
    );
    assert_eq!(ids(&[&REVERB_APP[..], &same].concat()), ["482915"]);
    assert_eq!(ids(&[&REVERB_APP[..], &absent].concat()), ["482915"]);
    // as from a .env: an app is meant
    let sentence = refusal(from_variables(&absent));
    assert!(
        sentence.contains("PUSHER_APP_SECRET have no value"),
        "{sentence}"
    );
}

#[test]
fn incomplete_and_clashing_apps_are_refused() {
    let check = |pairs: &[(&str, &str)], part: &str| {
        let sentence = refusal(from_variables(pairs));
        assert!(sentence.contains(part), "{sentence}");
        assert!(!sentence.contains("hush"), "{sentence}");
    };
    check(
        &REVERB_APP[..2],
        "REVERB_APP_SECRET is not set, but REVERB_APP_ID is",
    );
    check(
        &REVERB_APP[1..],
        "REVERB_APP_ID is not set, but REVERB_APP_KEY is",
    );
    check(
        &[("RESOUND_APP_SECRET", "hush")],
        "RESOUND_APP_ID is not set",
    );
    let clash = |id: &'static str, key: &'static str, secret: &'static str| {
        let pusher = [
            ("PUSHER_APP_ID", id),
            ("PUSHER_APP_KEY", key),
            ("PUSHER_APP_SECRET", secret),
        ];
        [&REVERB_APP[..], &pusher].concat()
    };
    check(
        &clash("482915", "key", "other"),
        "two apps have the id 482915",
    );
    check(
        &clash("2", "key", "other"),
        "two apps have the key key but differ otherwise, one from environment variables REVERB_APP_*",
    );
    check(
        &clash("a/b", "b", "hush"),
        "the app's id is \"a/b\" in environment variable PUSHER_APP_ID",
    );
    check(
        &clash("2", "a:b", "hush"),
        "PUSHER_APP_KEY; it must be 1 to 200 characters",
    );
    check(&clash("2", "..", "hush"), "PUSHER_APP_KEY");
    check(&clash("2", "ключ", "hush"), "PUSHER_APP_KEY");
}

#[test]
fn a_published_secret_is_not_served_to_others() {
    let published = [
        ("PUSHER_APP_ID", "app-id"),
        ("PUSHER_APP_KEY", "app-key"),
        ("PUSHER_APP_SECRET", "app-secret"),
    ];
    let host = |name: &'static str| [("REVERB_SERVER_HOST", name)];
    let check = |pairs: &[(&str, &str)], allowed: Option<&str>| match allowed {
        Some(address) => {
            let settings = from_variables(pairs).expect("allowed");
            assert_eq!(settings.server.host.to_string(), address, "{pairs:?}");
        }
        None => {
            let sentence = refusal(from_variables(pairs));
            assert!(sentence.contains("published development key"), "{sentence}");
            assert!(sentence.contains("REVERB_APP_SECRET"), "{sentence}");
        }
    };
    check(&published, Some("127.0.0.1"));
    check(&host("0.0.0.0"), None);
    check(&host("::"), None);
    check(&host("192.168.1.4"), None);
    check(&host("::1"), Some("::1"));
    check(&host("[::1]"), Some("::1"));
    check(&host("localhost"), Some("127.0.0.1"));
    check(&host("127.3.2.1"), Some("127.3.2.1"));
    check(&[&published[..], &host("0.0.0.0")].concat(), None);
    check(&[&published[..], &REVERB_APP].concat(), None);
    check(
        &[&published[..], &REVERB_APP, &host("localhost")].concat(),
        Some("127.0.0.1"),
    );
    check(&REVERB_APP, Some("0.0.0.0"));

    // in a container, for an app that somebody named
    let allow = [("RESOUND_SERVER_ALLOW_PUBLISHED_SECRET", "true")];
    check(&allow, Some("127.0.0.1"));
    check(&[&allow[..], &host("0.0.0.0")].concat(), None);
    let both = [&published[..], &allow].concat();
    check(&both, Some("0.0.0.0"));
    check(&[&both[..], &REVERB_APP].concat(), Some("0.0.0.0"));
    check(&[&both[..], &host("127.0.0.1")].concat(), Some("127.0.0.1"));
    let warnings = from_variables(&both).expect("allowed").warnings;
    assert!(
        warnings[0].contains("app app-id has the published"),
        "{warnings:?}"
    );
    assert!(warnings[0].contains("0.0.0.0, port 8080"), "{warnings:?}");
}

#[test]
fn a_wrong_value_is_refused_with_its_source_and_what_is_allowed() {
    let check = |pairs: &[(&str, &str)], expected: &str| {
        let all = [&REVERB_APP[..], pairs].concat();
        assert_eq!(refusal(from_variables(&all)), expected);
    };
    check(
        &[("REVERB_SERVER_PORT", "eighty")],
        "server.port is \"eighty\" in environment variable REVERB_SERVER_PORT; it must be a whole number from 0 to 65535",
    );
    check(
        &[("RESOUND_SERVER_PORT", "65536")],
        "server.port is \"65536\" in environment variable RESOUND_SERVER_PORT; it must be a whole number from 0 to 65535",
    );
    check(
        &[("RESOUND_LOG_LEVEL", "verbose")],
        "log.level is \"verbose\" in environment variable RESOUND_LOG_LEVEL; it must be off, error, warn, info, debug or trace, or a list with parts such as info,resound::hub=debug",
    );
    check(
        &[("RESOUND_LOG_FORMAT", "xml")],
        "log.format is \"xml\" in environment variable RESOUND_LOG_FORMAT; it must be \"text\" or \"json\"",
    );
    check(
        &[("REVERB_SERVER_HOST", "ws.example.com")],
        "server.host is \"ws.example.com\" in environment variable REVERB_SERVER_HOST; it must be an IP address or localhost",
    );
    check(
        &[("REVERB_APP_ACTIVITY_TIMEOUT", "0")],
        "activity_timeout_s of app 482915 is \"0\" in environment variable REVERB_APP_ACTIVITY_TIMEOUT; it must be a whole number from 1 to 86400",
    );
    check(
        &[("RESOUND_APP_DEFAULTS_REQUIRE_TLS", "maybe")],
        "require_tls of app 482915 is \"maybe\" in environment variable RESOUND_APP_DEFAULTS_REQUIRE_TLS; it must be true or false",
    );
    check(
        &[("REVERB_ALLOWED_ORIGINS", "a.com,b c")],
        "allowed_origins of app 482915 is [\"a.com\", \"b c\"] in environment variable REVERB_ALLOWED_ORIGINS; it must be a list of host names such as app.example.com or *.example.com",
    );
    check(
        &[("RESOUND_SERVER_TRUSTED_PROXIES", "10.0.0.0/8,proxy")],
        "server.trusted_proxies is [\"10.0.0.0/8\", \"proxy\"] in environment variable RESOUND_SERVER_TRUSTED_PROXIES; it must be a list of IP addresses and networks such as 10.0.0.0/8",
    );
    let overrides = Overrides {
        port: Some("-1".into()),
        ..Overrides::default()
    };
    assert_eq!(
        refusal(load(&overrides, &HashMap::new())),
        "server.port is \"-1\" in option --port; it must be a whole number from 0 to 65535",
    );
}

#[test]
fn a_wrong_file_is_refused_by_place() {
    let check = |text: &str, expected: &str| {
        let sentence = refusal(from_toml(text));
        assert!(sentence.starts_with(expected), "{text:?}: {sentence}");
    };
    check(
        "[server]\nport = 70000",
        "server.port is 70000 in the given text; it must be",
    );
    check("[server]\nport = -1", "server.port is -1 in");
    check("[server]\nport = true", "server.port is true in");
    check(
        "[server]\nprot = 1",
        "server.prot in the given text is not a setting; the nearest is server.port",
    );
    check(
        "[sever]\nport = 1",
        "sever in the given text is not a setting; the nearest is server",
    );
    check("qqq = 1", "qqq in the given text is not a setting");
    check(
        "server = 1",
        "server is 1 in the given text; it must be a section, written [server]",
    );
    check("port = 1", "port in the given text is not a setting");
    check(
        "[apps]\nid = '1'",
        "apps is a section in the given text; it must be sections, each written [[apps]]",
    );
    check("apps = [1]", "apps is 1 in");
    check("[server]\npath = '/a//b'", "server.path is \"/a//b\" in");
    check("[server]\npath = '/a/../b'", "server.path is");
    check("[server]\npath = '/a b'", "server.path is");
    check(
        "[socket]\noutbox_bytes_max = 10",
        "socket.outbox_bytes_max is 10 in",
    );
    check("[hub]\ninbox_depth_max = 0", "hub.inbox_depth_max is 0 in");
    check(
        "[app_defaults]\npreset = 'pusher'",
        "app_defaults.preset is \"pusher\" in the given text; it must be \"\" or \"hosted\"",
    );
    check(
        "[server\nport = 1",
        "the given text is not valid TOML (line 1, column 8): ",
    );
    check(
        "[server]\nport = 1\nport = 2",
        "the given text is not valid TOML (line 3, column 1): duplicate key",
    );

    let app = |rest: &str| format!("[[apps]]\n{rest}");
    check(
        &app("key = 'k'\nsecret = 's'"),
        "id of [[apps]] number 1 is missing in the given text; an app needs",
    );
    check(
        &app("id = '1'\nkey = ''\nsecret = 's'"),
        "key of [[apps]] number 1 is \"\" in",
    );
    check(
        &app("id = 1\nkey = 'k'\nsecret = 1234567"),
        "secret of [[apps]] number 1 is not a text in the given text",
    );
    check(
        &app("id = 1\nkey = 'k'\nsecret = ''"),
        "secret of [[apps]] number 1 is empty in",
    );
    check(
        &app("id = 1\nkey = 'k'\nsecret = 's'\nping_interval = 3"),
        "ping_interval of [[apps]] in the given text is not a setting; the nearest is ping_interval_s",
    );
    check(
        &app("id = 1\nkey = 'k'\nsecret = 's'\nping_interval_s = 0"),
        "ping_interval_s of app 1 is 0 in the given text",
    );
    check(
        &app("id = 1\nkey = 'k'\nsecret = 's'\nenabled = 3"),
        "enabled of app 1 is 3 in",
    );
    let twice = app("id = 1\nkey = 'k'\nsecret = 's'\n").repeat(2);
    check(&twice, "two apps have the id 1");
}

#[test]
fn a_syntax_error_does_not_quote_the_source() {
    let text = "[[apps]]\nid = '1'\nkey = 'k'\nsecret = 'hush' oops";
    let sentence = refusal(from_toml(text));
    assert!(sentence.contains("line 4"), "{sentence}");
    assert!(!sentence.contains("hush"), "{sentence}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let overrides = Overrides {
        file: Some("no/such/resound.toml".into()),
        ..Overrides::default()
    };
    let sentence = refusal(load(&overrides, &HashMap::new()));
    assert!(
        sentence.starts_with("the file no/such/resound.toml can't be read: "),
        "{sentence}"
    );
}

#[test]
fn unknown_resound_variables_are_refused_and_others_ignored() {
    let sentence = refusal(from_variables(&[("RESOUND_SERVER_PROT", "1")]));
    assert_eq!(
        sentence,
        "environment variable RESOUND_SERVER_PROT is not a setting; the nearest is RESOUND_SERVER_PORT"
    );
    // Kubernetes' variables for services called resound and resound-server
    let settings = from_variables(&[
        ("RESOUND_PORT", "tcp://10.0.0.1:8080"),
        ("RESOUND_SERVICE_HOST", "10.0.0.1"),
        ("RESOUND_SERVICE_PORT", "8080"),
        ("RESOUND_SERVICE_PORT_HTTP", "8080"),
        ("RESOUND_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("RESOUND_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("RESOUND_PORT_8080_TCP_PROTO", "tcp"),
        ("RESOUND_SERVER_PORT", "tcp://10.0.0.2:8080"),
        ("RESOUND_SERVER_SERVICE_HOST", "10.0.0.2"),
        ("SOMETHING", "else"),
    ]);
    assert_eq!(settings.expect("ignored").server.port, 8080);
}

#[test]
fn variables_that_cannot_be_meant_are_warned_about() {
    let check = |pairs: &[(&str, &str)], part: &str| {
        let warnings = with_app(pairs).warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(part), "{warnings:?}");
    };
    check(
        &[("REVERB_APP_SECRET", "${OTHER_SECRET}")],
        "REVERB_APP_SECRET holds a literal ${...}",
    );
    check(
        &[("WEBSOCKETS_REPLICATION_MODE", "swoole")],
        "WEBSOCKETS_REPLICATION_MODE is \"swoole\", which leaves the server alone",
    );
    check(
        &[
            ("REVERB_SCALING_ENABLED", "1"),
            ("REDIS_HOST", "redis"),
            ("REDIS_PASSWORD", "${SECRET}"),
        ],
        "REDIS_PASSWORD holds a literal ${...}",
    );
    check(
        &[("REVERB_APP_RATE_LIMITING_ENABLED", "1")],
        "only true switches it on",
    );
    check(
        &[("REVERB_APP_MAX_MESSAGE_SIZE", "10000")],
        "can need 65536 bytes once escaped",
    );
    check(
        &[
            ("RESOUND_SOCKET_OUTBOX_BYTES_MAX", "16384"),
            ("REVERB_MAX_REQUEST_SIZE", "20000"),
        ],
        "socket.outbox_bytes_max is 16384",
    );
}

#[test]
fn c25_the_default_message_size_holds_the_largest_client_event() {
    let limits = &from_variables(&[]).expect("defaults").apps[0].limits;
    assert!(limits.message_bytes_max >= limits.client_event_data_bytes_max * 6 + 4_096);
}

#[test]
fn the_path_is_normalised() {
    let check = |text: &str, expected: &str| {
        let settings = with_app(&[("RESOUND_SERVER_PATH", text)]);
        assert_eq!(settings.server.path, expected, "{text:?}");
    };
    check("reverb", "/reverb");
    check("/reverb", "/reverb");
    check("/reverb/", "/reverb");
    check("a/b-c/", "/a/b-c");
    check("/", "");
}

#[test]
fn single_addresses_are_networks_too() {
    let settings = with_app(&[("RESOUND_SERVER_TRUSTED_PROXIES", "10.1.2.3, fd00::/8")]);
    let shown: Vec<String> = settings
        .server
        .trusted_proxies
        .iter()
        .map(|n| n.to_string())
        .collect();
    assert_eq!(shown, ["10.1.2.3/32", "fd00::/8"]);
}

#[test]
fn secrets_are_nowhere_to_be_seen() {
    let settings = with_app(&[]);
    assert!(!format!("{settings:?}").contains("hush"));
    let listed = origin(&settings, "apps.482915.secret");
    assert_eq!(listed, ("****", "environment variable REVERB_APP_SECRET"));
}

const WEBHOOKS: &str = "
    [[apps]]
    id = 7
    key = 'k'
    secret = 'hush'
    [[apps.webhooks]]
    url = 'https://me:hush@example.com:8443/hook?token=hush'
    event_types = ['channel_occupied', 'channel_vacated']
    channel_name_starts_with = 'presence-'
    channel_name_ends_with = '-1'
    [apps.webhooks.headers]
    Authorization = 'Bearer hush'
    X-Tenant = 'hush'
    [[apps.webhooks]]
    url = 'http://example.com'
    [[apps]]
    id = 8
    key = 'l'
    secret = 'hush'
";

#[test]
fn w13_webhooks_of_an_app() {
    use crate::apps::webhook::EventType;
    let settings = from_toml(WEBHOOKS).expect("settings");
    let [first, second] = &settings.apps[0].webhooks[..] else {
        panic!("two webhooks")
    };
    assert!(settings.apps[1].webhooks.is_empty());
    let password = first.url.password();
    assert_eq!(
        (password, first.url.query()),
        (Some("hush"), Some("token=hush"))
    );
    let header = |name: &str| first.headers.get(name).and_then(|text| text.to_str().ok());
    assert_eq!(header("authorization"), Some("Bearer hush"));
    assert_eq!(header("x-tenant"), Some("hush"));
    assert!(first.event_types.contains(EventType::ChannelVacated));
    assert!(!first.event_types.contains(EventType::MemberAdded));
    assert_eq!(first.channel_name_starts_with, "presence-");
    assert_eq!(first.channel_name_ends_with, "-1");
    assert!(
        EventType::ALL
            .into_iter()
            .all(|kind| second.event_types.contains(kind))
    );
    assert!(second.headers.is_empty());
    assert_eq!(second.url.as_str(), "http://example.com/");
}

#[test]
fn w13_secrets_of_webhooks_are_nowhere_to_be_seen() {
    let settings = from_toml(WEBHOOKS).expect("settings");
    assert!(!format!("{settings:?}").contains("hush"));
    let check = |key: &str, value: &str| {
        let listed = origin(&settings, key);
        assert_eq!(listed, (value, "the given text"), "{key}");
    };
    check("apps.7.webhooks.1.url", "\"https://example.com:8443/hook\"");
    let headers = &settings
        .listing
        .iter()
        .find(|line| line.key == "apps.7.webhooks.1.headers");
    let headers = headers.expect("listed").value.to_lowercase();
    assert_eq!(
        headers,
        "{ \"authorization\" = \"****\", \"x-tenant\" = \"****\" }"
    );
    check("apps.7.webhooks.1.channel_name_ends_with", "\"-1\"");
    check("apps.7.webhooks.2.url", "\"http://example.com/\"");
}

#[test]
fn w13_wrong_webhooks_are_refused() {
    let check = |webhook: &str, expected: &str| {
        let text =
            format!("[[apps]]\nid = 7\nkey = 'k'\nsecret = 's'\n[[apps.webhooks]]\n{webhook}\n");
        let sentence = refusal(from_toml(&text));
        assert!(sentence.contains(expected), "{webhook}: {sentence}");
        assert!(!sentence.contains("hush"), "{webhook}: {sentence}");
    };
    let url = |rest: &str| format!("url = 'https://example.com'\n{rest}");
    check("", "url of webhook 1 of app 7 is missing");
    check(
        "event_types = []",
        "url of webhook 1 of app 7 is missing in the given text",
    );
    check(
        "url = 3",
        "url of webhook 1 of app 7 is 3 in the given text",
    );
    check(
        "url = ''",
        "url of webhook 1 of app 7 is not a URL in the given text; it must be a URL such as",
    );
    check("url = 'example.com/hush'", "is not a URL");
    check("url = 'http://'", "is not a URL");
    check("url = 'http://[::1/hush'", "is not a URL");
    check("url = 'mailto:hush@example.com'", "is not a URL");
    check("url = 'ftp://hush@example.com'", "is ftp://example.com/ in");
    check("url = 'file:///hush'", "url of webhook 1");
    for private in [
        "http://127.0.0.1:8000/x?hush",
        "http://hush@localhost",
        "https://10.1.2.3",
        "http://[::1]:80",
        "http://[fd00::1]",
        "http://169.254.169.254",
        "http://0x7f000001",
        "http://[::ffff:192.168.0.1]",
    ] {
        check(
            &format!("url = '{private}'"),
            "it must be on the public internet unless webhook.allow_private_targets is true",
        );
    }
    check(
        &url("event_type = []"),
        "event_type of [[apps.webhooks]] in the given text is not a setting; the nearest is event_types",
    );
    check(
        &url("event_types = ['channel_ocupied']"),
        "it must be \"channel_occupied\", or another of",
    );
    check(
        &url("event_types = ['qqq']"),
        "it must be a list out of channel_occupied, channel_vacated",
    );
    check(
        &url("event_types = 3"),
        "event_types of webhook 1 of app 7 is 3",
    );
    check(
        &url("event_types = [3]"),
        "event_types of webhook 1 of app 7 is [3]",
    );
    check(
        &url("channel_name_starts_with = 3"),
        "channel_name_starts_with of webhook 1 of app 7 is 3",
    );
    check(
        &url("channel_name_ends_with = []"),
        "channel_name_ends_with of webhook 1",
    );
    check(
        &url("headers = 'hush'"),
        "headers of webhook 1 of app 7 is something else",
    );
    check(
        &url("headers = { 'a b' = 'hush' }"),
        "headers of webhook 1 of app 7 is \"a b\"",
    );
    check(&url("headers = { A = 3 }"), "not usable at");
    check(&url("headers = { A = \"hush\\nhush\" }"), "not usable at");
    check(
        &url("headers = { 'Content-Type' = 'hush' }"),
        "it must be without connection, ",
    );
    check(
        &url("headers = { 'x-pusher-KEY' = 'hush' }"),
        "it must be without connection, ",
    );

    let app = |rest: &str| format!("[[apps]]\nid = 7\nkey = 'k'\nsecret = 's'\n{rest}\n");
    for wrong in [
        "webhooks = 'hush'",
        "webhooks = ['hush']",
        "[apps.webhooks]\nurl = 'hush'",
    ] {
        let sentence = refusal(from_toml(&app(wrong)));
        assert!(
            sentence.contains("each written [[apps.webhooks]]"),
            "{sentence}"
        );
        assert!(!sentence.contains("hush"), "{sentence}");
    }
    let allowed = "[webhook]\nallow_private_targets = true\n[[apps]]\nid = 7\nkey = 'k'\nsecret = 's'\nwebhooks = [{ url = 'http://127.0.0.1' }]";
    assert_eq!(
        from_toml(allowed).expect("allowed").apps[0].webhooks.len(),
        1
    );
}

#[test]
fn every_key_is_read_and_checked() {
    for known in KNOWN_KEYS.iter() {
        // no setting takes a fraction
        let text = format!("[{}]\n{} = 1.5", known.section, known.key);
        let sentence = refusal(from_toml(&text));
        assert!(sentence.contains(known.key), "{}: {sentence}", known.path);
        if known.section == "app_defaults" {
            let text = format!(
                "[[apps]]\nid = 1\nkey = 'k'\nsecret = 's'\n{} = 1.5",
                known.key
            );
            let sentence = refusal(from_toml(&text));
            assert!(sentence.contains(known.key), "{}: {sentence}", known.path);
        }
    }
}

#[test]
fn every_key_has_its_own_variable_and_a_meaning() {
    let parsed = layers::defaults().expect("defaults");
    let in_file: usize = parsed
        .values
        .values()
        .map(|value| match &value.kind {
            ::config::ValueKind::Table(table) => table.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(KNOWN_KEYS.len(), in_file);
    let mut variables: Vec<&str> = KNOWN_KEYS
        .iter()
        .map(|known| known.variable.as_str())
        .collect();
    variables.sort_unstable();
    variables.dedup();
    assert_eq!(variables.len(), KNOWN_KEYS.len());
    let mut meanings: Vec<&str> = KNOWN_KEYS.iter().map(|known| known.meaning).collect();
    assert!(meanings.iter().all(|meaning| meaning.ends_with('.')));
    meanings.sort_unstable();
    meanings.dedup();
    assert_eq!(meanings.len(), KNOWN_KEYS.len(), "two keys share a comment");
    for (_, path) in variables::LARAVEL_SETTINGS {
        assert!(KNOWN_KEYS.iter().any(|known| known.path == path), "{path}");
    }
}

#[test]
fn the_preset_has_only_known_keys() {
    layers::toml(include_str!("hosted.toml"), "the preset").expect("known keys");
}

#[test]
fn random_files_and_variables_end_in_a_sentence() {
    let mut random = SmallRng::seed_from_u64(3);
    let words = [
        "[server]\n",
        "[[apps]]\n",
        "port",
        "=",
        " = ",
        "\"",
        "'x'",
        "1",
        "-",
        "[",
        "]",
        "\n",
        "id",
        "key",
        "secret",
        "${",
        "é",
        "\0",
        ",",
        "*",
        ":",
        "/",
        "[app_defaults]\n",
        "allowed_origins",
        "99999999999999999999",
        ".",
        "#",
    ];
    let names: Vec<&str> = KNOWN_KEYS
        .iter()
        .map(|known| known.variable.as_str())
        .chain(variables::LARAVEL_SETTINGS.map(|(name, _)| name))
        .collect();
    for _ in 0..2_000 {
        let length = random.random_range(0..14);
        let text: String = (0..length)
            .map(|_| words[random.random_range(0..words.len())])
            .collect();
        if let Err(error) = from_toml(&text) {
            assert!(!error.to_string().contains('\n'), "{text:?}: {error}");
        }
        let name = names[random.random_range(0..names.len())];
        if let Err(error) = from_variables(&[(name, &text)]) {
            assert!(error.to_string().contains(name), "{name}={text:?}: {error}");
        }
    }
}

/// The tables at the end of `docs/configuration.md`.
fn settings_tables() -> String {
    let mut text = String::new();
    let mut section = "";
    for known in KNOWN_KEYS.iter() {
        if known.section != section {
            section = known.section;
            let _ = write!(
                text,
                "### `[{section}]`\n\nVariables: `RESOUND_{}_` and the key in capitals.\n\n| Key | Default | Meaning |\n|---|---|---|\n",
                section.to_uppercase()
            );
        }
        let laravel: Vec<String> = variables::LARAVEL_SETTINGS
            .iter()
            .filter(|(_, path)| *path == known.path)
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        let laravel = match laravel.is_empty() {
            true => String::new(),
            false => format!(" Also {}.", laravel.join(", ")),
        };
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {}{laravel} |",
            known.key,
            known.default,
            known.meaning.replace('*', "\\*")
        );
        let is_last = KNOWN_KEYS.iter().rfind(|other| other.section == section) == Some(known);
        if is_last && section != "app_defaults" {
            text.push('\n');
        }
    }
    text
}

/// `RESOUND_WRITE_DOCS=1 cargo test documentation` brings the tables up to date.
#[test]
fn the_documentation_lists_every_setting() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = std::fs::read_to_string(path).expect("docs/configuration.md");
    let head = "## Every setting\n\nThe tables are made from `src/config/default.toml`; a test compares them.\n\n";
    let (before, tables) = page.split_once(head).expect("the heading");
    if std::env::var_os("RESOUND_WRITE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{head}{}", settings_tables())).expect("written");
        return;
    }
    assert_eq!(
        tables,
        settings_tables(),
        "docs/configuration.md is out of date"
    );
    for (name, path) in variables::LARAVEL_SETTINGS {
        assert!(
            before.contains(&format!("| `{name}` | `{path}` |")),
            "{name}"
        );
    }
}
