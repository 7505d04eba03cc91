//! What holds when several sources say something, and when none does.

use super::*;
use crate::apps::ClientEvents;

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
        assert_eq!(listed(&settings, key), (value, from), "{key}");
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
