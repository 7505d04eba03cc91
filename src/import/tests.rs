//! What is imported says the same when it is read again.
use super::*;
use crate::config::{from_toml, load};
use std::fs;

const SOKETI: &str = r#"{
    "debug": true,
    "port": 7001,
    "host": "0.0.0.0",
    "pathPrefix": "/ws",
    "shutdownGracePeriod": 4500,
    "userAuthenticationTimeout": 20000,
    "eventLimits": {"maxBatchSize": 25, "maxPayloadInKb": "20.5"},
    "presence.maxMembersPerChannel": 500,
    "adapter.driver": "redis",
    "database": {"redis": {"password": "hush"}},
    "portt": 1,
    "appManager.array.apps": [
        {"id": 1, "key": "one", "secret": "it's \"quoted\"\n\\ and #", "enabled": false, "maxConnections": 10,
         "enableClientMessages": true, "enableUserAuthentication": true,
         "webhooks": [
            {"url": "https://u:p@example.com/a?t=1", "event_types": ["client_event", "cache_miss"],
             "headers": {"Authorization": "Bearer \"x\"", "X.Dotted": "1"},
             "filter": {"channel_name_starts_with": "a-"}},
            {"url": "http://10.0.0.1/b", "event_types": ["channel_occupied"]}
         ]},
        {"id": "2", "key": "two", "secret": "s"}
    ]
}"#;

/// Loads a file by itself.
fn settings_of(path: &Path) -> Settings {
    let overrides = Overrides {
        file: Some(path.to_owned()),
        ..Overrides::default()
    };
    load(&overrides, &HashMap::new()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything that counts, but not where it came from.
fn essence(settings: &Settings) -> String {
    let lines: Vec<String> = settings
        .listing
        .iter()
        .map(|line| format!("{} = {}", line.key, line.value))
        .collect();
    let parts = |app: &ExplicitApp| {
        format!(
            "{:?}",
            app.keys
                .iter()
                .map(|(key, value, _)| (key.clone(), shown(value)))
                .collect::<Vec<_>>()
        )
    };
    let apps: Vec<String> = settings.explicit.apps.iter().map(parts).collect();
    format!(
        "{}\n{:?}\n{}",
        lines.join("\n"),
        settings.apps,
        apps.join("\n")
    )
}

fn shown(value: &TomlValue) -> String {
    toml_value(value).to_string()
}

fn check_round_trip(name: &str, text: &str) -> String {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join(name);
    fs::write(&path, text).expect("written");
    let imported = from(&path).unwrap_or_else(|error| panic!("{text}: {error}"));
    let again = from_toml(&imported).unwrap_or_else(|error| panic!("{error} in {imported}"));
    assert_eq!(essence(&again), essence(&settings_of(&path)), "{imported}");
    imported
}

#[test]
fn a_file_of_soketis() {
    let text = check_round_trip("soketi.json", SOKETI);
    for part in [
        "port = 7001  # from file ",
        "(port)\n",
        "drain_s = 5 ",
        "level = \"debug\"",
        "event_data_bytes_max = 20992 ",
        "presence_members_max = 500 ",
        "allow_private_targets = true  # from soketi's defaults\n",
        "client_events = \"none\"  # from soketi's defaults\n",
        "[[apps]]\nid = \"1\"  # from file ",
        "authorization_timeout_s = 20 ",
        "[[apps.webhooks]]\n",
        "url = \"http://10.0.0.1/b\"",
        "# To look at: portt in file ",
        "# To look at: adapter.driver in file ",
        "# Without equal: database.redis.password in file ",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn small_and_odd_files_of_soketis() {
    for text in [
        "{}",
        "{\"debug\": 1}",
        "{\"port\": 0}",
        "{\"host\": \"localhost\", \"path\": 1}",
        "{\"metrics\": {\"enabled\": true, \"port\": 9700}}",
        "{\"ssl.certPath\": \"/c.pem\", \"ssl.keyPath\": \"/k.pem\", \"ssl.passphrase\": \"x\"}",
        "{\"appManager.array.apps.0.secret\": \"s\"}",
        "{\"appManager.array.apps\": [{\"enableClientMessages\": true}]}",
        "{\"appManager.array.apps\": [{\"id\": \"ä\\u0000\", \"secret\": \"s\"}]}",
        "{\"webhooks.batching\": {\"enabled\": true, \"duration\": 5}}",
    ] {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("soketi.json");
        fs::write(&path, text).expect("written");
        if let Err(error) = from(&path) {
            assert!(text.contains("u0000"), "{text}: {error}");
        } else {
            check_round_trip("soketi.json", text);
        }
    }
}

#[test]
fn our_own_files_come_out_as_they_went_in() {
    for text in [
        "",
        "[app_defaults]\npreset = \"hosted\"\nallowed_origins = [\"*.example.com\", \"b.example.com\"]\n",
        "[[apps]]\nid = \"7\"\nkey = \"k\"\nsecret = '''a\n'b\"'''\npreset = \"hosted\"\ncache_ttl_s = 60\n",
        "[server]\nworkers = 3\ntrusted_proxies = [\"10.0.0.0/8\"]\n[hub]\ninbox_depth_max = 64\n",
    ] {
        check_round_trip("resound.toml", text);
    }
}

#[test]
fn folders() {
    let folder = tempfile::tempdir().expect("folder");
    let nothing = from(folder.path()).expect_err("nothing there").to_string();
    assert!(nothing.contains("nothing to import"), "{nothing}");
    fs::write(folder.path().join("config.json"), SOKETI).expect("written");
    let text = from(folder.path()).expect("settings");
    assert!(text.contains("port = 7001"), "{text}");
    let missing = folder.path().join("missing");
    let missing = from(&missing).expect_err("not there").to_string();
    assert!(missing.contains("doesn't exist"), "{missing}");
}

#[test]
fn what_cannot_be_read_is_a_sentence() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.json");
    for (text, part) in [
        ("{\"port\": \"hush\", }", "not valid JSON"),
        ("{\"appManager.driver\": \"mysql\"}", "not supported yet"),
        (
            "{\"appManager.array.apps\": [{\"id\": 1, \"key\": \"hush\"}]}",
            "secret is missing",
        ),
    ] {
        fs::write(&path, text).expect("written");
        let sentence = from(&path).expect_err(text).to_string();
        assert!(
            sentence.contains(part) && !sentence.contains("hush"),
            "{sentence}"
        );
    }
}

#[test]
fn comments_stay_comments() {
    assert_eq!(comment("a\nb\r\u{7f}c"), "# a b  c\n");
}
