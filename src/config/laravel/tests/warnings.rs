//! What can't be meant is said at start.

use super::*;

#[test]
fn each_warning_at_start() {
    let check = |edit: &[(&str, &str)], expected: &str| {
        let mut env = ENV.to_owned();
        for (from, to) in edit {
            assert!(env.contains(from) || from.is_empty(), "{from}");
            env = match *from {
                "" => format!("{env}{to}\n"),
                from => env.replace(from, to),
            };
        }
        let warnings = Case::new(&[(".env", &env)]).settings().warnings;
        let [warning] = &warnings[..] else {
            panic!("{expected}: {warnings:?}")
        };
        assert!(warning.contains(expected), "{warning}");
        assert!(!warning.contains("hush"), "{warning}");
    };
    let broadcaster = |word: &'static str| [("BROADCAST_CONNECTION=reverb", word)];
    check(
        &broadcaster("BROADCAST_CONNECTION=log"),
        "the broadcaster is log in .env line 7 (BROADCAST_CONNECTION): Laravel then sends no events",
    );
    check(
        &broadcaster("BROADCAST_CONNECTION=null"),
        "the broadcaster is null in .env line 7",
    );
    check(
        &broadcaster("BROADCAST_DRIVER=log"),
        "the broadcaster is log in .env line 7 (BROADCAST_DRIVER)",
    );
    check(
        &broadcaster("BROADCAST_CONNECTION="),
        "is missing from .env",
    );
    check(&broadcaster(""), "is missing from .env");
    check(
        &broadcaster("BROADCAST_CONNECTION=pusher"),
        "PUSHER_HOST is empty: events go to pusher.com",
    );
    check(
        &[("", "BROADCAST_DRIVER=log")],
        "BROADCAST_CONNECTION is reverb, but BROADCAST_DRIVER is log",
    );
    check(
        &[("SCHEME=http", "SCHEME=https")],
        "the app posts to https://localhost:8080, but this server has no certificate",
    );
    check(
        &[("PORT=8080", "PORT=8081")],
        "the app posts to port 8081 of localhost, but this server listens on port 8080",
    );
    check(
        &[("", "REVERB_SERVER_PORT=9000")],
        "but this server listens on port 9000",
    );
    check(
        &[
            ("REVERB_PORT=8080\n", ""),
            ("", "REVERB_SERVER_PORT=443\nREVERB_PORT=8080"),
        ],
        "listens on port 443",
    );
    check(&[("APP_URL=http:", "APP_URL=https:")], "APP_URL is https");
    check(
        &[("", "RESOUND_SERVER_PROXY_PROTOCOL=true")],
        "the app posts to http://localhost:8080, but only proxies are heard there",
    );
    check(
        &[("SECRET=hush", "SECRET=hush#hush")],
        ".env line 13 (REVERB_APP_SECRET) ends at a #",
    );
    check(
        &[("=\"${REVERB_APP_KEY}\"", "=stale")],
        "browsers are built with key stale",
    );
    check(
        &[
            ("", "REVERB_SCALING_ENABLED=true\nREDIS_HOST=redis"),
            ("REDIS_PASSWORD=null", "REDIS_PASSWORD=hush#hush"),
        ],
        "(REDIS_PASSWORD) ends at a #",
    );
    check(
        &[("", "WEBSOCKETS_REPLICATION_MODE=swoole")],
        "(WEBSOCKETS_REPLICATION_MODE) is \"swoole\"",
    );
    check(
        &[("", "LARAVEL_WEBSOCKETS_SSL_PASSPHRASE=hush")],
        "a key with a passphrase can't be used",
    );
    check(
        &[
            ("", "REVERB_SERVER_PATH=\"${NOPE}\""),
            ("", "RESOUND_SERVER_PATH=x"),
        ],
        "(REVERB_SERVER_PATH) holds a literal ${...}: what it refers to",
    );
    check(
        &[("", "X=\"open")],
        ".env line 23 opens a double quote that is never closed",
    );
    // elsewhere is not ours to judge
    let env = ENV
        .replace("\"localhost\"", "ws.example.com")
        .replace("SCHEME=http", "SCHEME=https")
        .replace("PORT=8080", "PORT=443");
    assert_eq!(
        Case::new(&[(".env", &env)]).settings().warnings,
        Vec::<String>::new()
    );
}

#[test]
fn a_variable_that_laravel_would_not_look_at() {
    let php = REVERB_PHP.replace("env('REVERB_SERVER_PORT', 8080)", "9000");
    let env = |port: u16| {
        format!("{ENV}REVERB_SERVER_PORT={port}\n").replace("PORT=8080", &format!("PORT={port}"))
    };
    let warnings = |port: u16| {
        let settings = Case::new(&[(".env", &env(port)), ("config/reverb.php", &php)]).settings();
        assert_eq!(settings.server.port, port);
        settings.warnings
    };
    assert_eq!(warnings(9000), Vec::<String>::new());
    assert_eq!(
        warnings(9001),
        [
            "server.port is 9000 in config/reverb.php line 8 and \"9001\" in .env line 23 (REVERB_SERVER_PORT): the second counts here, Laravel would take the first"
        ]
    );
}

#[test]
fn empty_values_are_noted() {
    let env = format!("{ENV}REVERB_SERVER_PORT=\nREVERB_APP_MAX_CONNECTIONS=null\n");
    let settings = Case::new(&[(".env", &env), ("config/reverb.php", REVERB_PHP)]).settings();
    assert_eq!(settings.server.port, 8080);
    let has = |note: &str| settings.notes.iter().any(|found| found.starts_with(note));
    assert!(
        has(".env line 23 (REVERB_SERVER_PORT) is empty"),
        "{:?}",
        settings.notes
    );
    assert!(has(".env line 24 (REVERB_APP_MAX_CONNECTIONS) is empty"));
    assert!(has("config/reverb.php line 8: port is empty"));
}
