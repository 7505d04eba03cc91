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
    "database": {"redis": {"password": "pass", "sentinels": [{"host": "10.0.0.1", "port": 26379}]}},
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
        "[cluster]\nenabled = true  # from file ",
        "password = \"pass\"  # from file ",
        "sentinels = [\"redis://10.0.0.1:26379\"]  # from file ",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
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
        "[cluster]\nenabled = true\nurl = \"rediss://u:p@r:7/1\"\ntls_ca = \"ca.pem\"\nprefix = \"one\"\nretry_ms = 500\n",
        "[cluster]\nenabled = true\nnodes = [\"redis://a:1\", \"redis://b:1\"]\npassword = \"p\"\n",
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

const ENV: &str = r#"APP_NAME=Laravel
APP_URL=http://localhost
BROADCAST_CONNECTION=reverb
REVERB_APP_ID=482915
REVERB_APP_KEY=laravelkey
REVERB_APP_SECRET="s#cret \"x\""
REVERB_HOST="localhost"
REVERB_PORT=9090
REVERB_SCHEME=http
REVERB_SERVER_HOST=127.0.0.1
REVERB_SERVER_PORT=9090
REVERB_SERVER_PATH=reverb/
REVERB_MAX_REQUEST_SIZE=200000
REVERB_ALLOWED_ORIGINS="example.com, *.example.org"
REVERB_APP_MAX_CONNECTIONS=50
REVERB_APP_PING_INTERVAL=90
REVERB_APP_ACTIVITY_TIMEOUT=20
REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM=all
REVERB_APP_RATE_LIMITING_ENABLED=true
REVERB_APP_RATE_LIMIT_TERMINATE=1
REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS=10
REVERB_SCALING_ENABLED=true
VITE_REVERB_APP_KEY="${REVERB_APP_KEY}"
"#;

const REVERB_CONFIG_TEXT: &str = r"<?php
return [
    'default' => env('REVERB_SERVER', 'reverb'),
    'servers' => ['reverb' => [
        'host' => env('REVERB_SERVER_HOST', '0.0.0.0'),
        'port' => env('REVERB_SERVER_PORT', 8080),
        'path' => env('REVERB_SERVER_PATH', ''),
        'max_request_size' => env('REVERB_MAX_REQUEST_SIZE', 10_000),
    ]],
    'apps' => ['provider' => 'config', 'apps' => [
        [
            'key' => env('REVERB_APP_KEY'), 'secret' => env('REVERB_APP_SECRET'), 'app_id' => env('REVERB_APP_ID'),
            'allowed_origins' => ['a.example.com'], 'ping_interval' => 45, 'max_message_size' => 20_000,
        ],
        [
            'key' => 'second', 'secret' => 'another', 'app_id' => 2,
            'allowed_origins' => ['*'], 'ping_interval' => 60, 'max_message_size' => 10_000,
            'accept_client_events_from' => 'members',
        ],
    ]],
];
";

/// A folder of these files is imported, and what comes out says what serving that folder would.
fn check_project(files: &[(&str, &str)], from_path: &str) -> String {
    let folder = tempfile::tempdir().expect("folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }
    let path = folder.path().join(from_path);
    let imported = from(&path).unwrap_or_else(|error| panic!("{files:?}: {error}"));
    let overrides = Overrides {
        folder: Some(folder.path().to_owned()),
        ..Overrides::default()
    };
    let served = load(&overrides, &HashMap::new()).expect("settings");
    let again = from_toml(&imported).unwrap_or_else(|error| panic!("{error} in {imported}"));
    assert_eq!(essence(&again), essence(&served), "{imported}");
    imported
}

#[test]
fn laravel_projects() {
    let check = |files: &[(&str, &str)], from_path: &str, parts: &[&str]| {
        let text = check_project(files, from_path);
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    };
    let env = (".env", ENV);
    let parts = [
        "port = 9090  # from .env line 11 (REVERB_SERVER_PORT)\n",
        "request_bytes_max = 200000 ",
        "event_data_bytes_max = 200000 ",
        "allowed_origins = [\"example.com\", \"*.example.org\"]",
        "message_rate_terminate = true",
        "id = \"482915\"",
        "REVERB_SCALING_ENABLED",
    ];
    check(&[env], ".", &parts);
    check(&[env, ("artisan", ""), ("config.json", "[]")], ".", &parts);
    let two = ["id = \"2\"", "key = \"second\"", "ping_interval_s = 45"];
    let config = ("config/reverb.php", REVERB_CONFIG_TEXT);
    check(&[env, config], ".", &two);
    check(&[env, config], "config/reverb.php", &two);
    let cached = include_str!("../../compat-fixtures/laravel/cached-config-excerpt.php");
    let cached = ("bootstrap/cache/config.php", cached);
    check(&[env, config, cached], ".", &["cached"]);
    check(&[cached], "bootstrap/cache/config.php", &["[[apps]]"]);
    let soketi = "SOKETI_PORT=7001\nSOKETI_DEFAULT_APP_ID=1\nSOKETI_DEFAULT_APP_KEY=k\nSOKETI_DEFAULT_APP_SECRET=s\nSOKETI_SSL_CA=/ca.pem\n";
    check(
        &[(".env", soketi)],
        ".",
        &[
            "port = 7001  # from .env line 1 (SOKETI_PORT)",
            "# To look at: SOKETI_SSL_CA",
        ],
    );
    check(
        &[
            ("artisan", ""),
            (
                ".env",
                "LARAVEL_WEBSOCKETS_PORT=6002\nPUSHER_APP_ID=1\nPUSHER_APP_KEY=k\nPUSHER_APP_SECRET=s\n",
            ),
        ],
        ".",
        &["port = 6002 "],
    );
}

#[test]
fn an_environment_file_by_itself() {
    let folder = tempfile::tempdir().expect("folder");
    for name in [".env", ".env.production", "soketi.env", "settings"] {
        let path = folder.path().join(name);
        fs::write(&path, ENV).expect("written");
        let text = from(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            text.contains("port = 9090 ") && text.contains("id = \"482915\""),
            "{text}"
        );
        from_toml(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
    }
    let other = folder.path().join("other.php");
    fs::write(&other, "<?php return [];").expect("written");
    let sentence = from(&other).expect_err("not ours").to_string();
    assert!(sentence.contains("of PHP files only"), "{sentence}");
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
