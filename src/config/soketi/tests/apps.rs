//! Apps of variables and of files, and which are refused.

use std::net::IpAddr;

use super::*;
use crate::apps::ClientEvents;

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
