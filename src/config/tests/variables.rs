//! Variables, ours and Laravel's: what they mean, which are refused, which are warned about.

use super::*;
use crate::apps::{ClientEvents, MessageRateLimit};

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
    let listed = listed(&settings, "app_defaults.message_rate_terminate").0;
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
