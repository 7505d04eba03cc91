//! Projects as folders: what is found in them, what wins, what is said about it.
use super::super::{ConfigError, Overrides, Settings, cluster::tests::redis_of, load};
use crate::apps::{ClientEvents, MessageRateLimit};
use std::{collections::HashMap, path::Path};
use tempfile::TempDir;

/// What `reverb:install` and `install:broadcasting` leave behind in Laravel 11 and later.
const ENV: &str = "APP_NAME=Laravel
APP_ENV=local
APP_KEY=base64:AAEC/+==
APP_URL=http://localhost

DB_PASSWORD=\"a b#c\"
BROADCAST_CONNECTION=reverb

REDIS_PASSWORD=null

REVERB_APP_ID=482915
REVERB_APP_KEY=lab0key
REVERB_APP_SECRET=hush
REVERB_HOST=\"localhost\"
REVERB_PORT=8080
REVERB_SCHEME=http

VITE_APP_NAME=\"${APP_NAME}\"
VITE_REVERB_APP_KEY=\"${REVERB_APP_KEY}\"
VITE_REVERB_HOST=\"${REVERB_HOST}\"
VITE_REVERB_PORT=\"${REVERB_PORT}\"
VITE_REVERB_SCHEME=\"${REVERB_SCHEME}\"
";

/// Laravel 9 and 10, with the pusher driver pointed here.
const ENV_10: &str = "APP_URL=http://localhost
BROADCAST_DRIVER=pusher
PUSHER_APP_ID=7
PUSHER_APP_KEY=k7
PUSHER_APP_SECRET=hush
PUSHER_HOST=127.0.0.1
PUSHER_PORT=8080
PUSHER_SCHEME=http
PUSHER_APP_CLUSTER=mt1
VITE_PUSHER_APP_KEY=\"${PUSHER_APP_KEY}\"
VITE_PUSHER_HOST=\"${PUSHER_HOST}\"
";

/// `config/reverb.php` in the form Reverb publishes since 1.9.
const REVERB_PHP: &str = "<?php

return [
    'default' => env('REVERB_SERVER', 'reverb'),
    'servers' => [
        'reverb' => [
            'host' => env('REVERB_SERVER_HOST', '0.0.0.0'),
            'port' => env('REVERB_SERVER_PORT', 8080),
            'path' => env('REVERB_SERVER_PATH', ''),
            'hostname' => env('REVERB_HOST'),
            'options' => [
                'tls' => [],
            ],
            'max_request_size' => env('REVERB_MAX_REQUEST_SIZE', 10_000),
            'scaling' => [
                'enabled' => env('REVERB_SCALING_ENABLED', false),
                'server' => ['port' => env('REDIS_PORT', '6379')],
            ],
            'pulse_ingest_interval' => env('REVERB_PULSE_INGEST_INTERVAL', 15),
        ],
    ],
    'apps' => [
        'provider' => 'config',
        'apps' => [
            [
                'key' => env('REVERB_APP_KEY'),
                'secret' => env('REVERB_APP_SECRET'),
                'app_id' => env('REVERB_APP_ID'),
                'options' => [
                    'host' => env('REVERB_HOST'),
                    'port' => env('REVERB_PORT', 443),
                    'scheme' => env('REVERB_SCHEME', 'https'),
                    'useTLS' => env('REVERB_SCHEME', 'https') === 'https',
                ],
                'allowed_origins' => ['*'],
                'ping_interval' => env('REVERB_APP_PING_INTERVAL', 60),
                'activity_timeout' => env('REVERB_APP_ACTIVITY_TIMEOUT', 30),
                'max_connections' => env('REVERB_APP_MAX_CONNECTIONS'),
                'max_message_size' => env('REVERB_APP_MAX_MESSAGE_SIZE', 10_000),
                'accept_client_events_from' => env('REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM', 'members'),
                'rate_limiting' => [
                    'enabled' => env('REVERB_APP_RATE_LIMITING_ENABLED', false),
                    'max_attempts' => env('REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS', 60),
                    'decay_seconds' => env('REVERB_APP_RATE_LIMIT_DECAY_SECONDS', 60),
                    'terminate_on_limit' => env('REVERB_APP_RATE_LIMIT_TERMINATE', false),
                ],
            ],
        ],
    ],
];
";

/// Before 1.8 and edited by hand: literals, a second app, something that needs PHP.
const CUSTOM_PHP: &str = "<?php
return [
    'default' => 'reverb',
    'servers' => ['reverb' => [
        'host' => '127.0.0.1',
        'port' => (int) env('REVERB_SERVER_PORT', 9000),
        'hostname' => gethostname(),
        'options' => ['tls' => []],
        'max_request_size' => 64 * 1024,
    ]],
    'apps' => ['provider' => 'config', 'apps' => [
        [
            'app_id' => env('REVERB_APP_ID'), 'key' => env('REVERB_APP_KEY'), 'secret' => env('REVERB_APP_SECRET'),
            'allowed_origins' => array_map('trim', explode(',', env('ORIGINS', 'a.example.com, https://b.example.com'))),
            'ping_interval' => 45,
            'max_message_size' => 100_000,
        ],
        [
            'app_id' => 2, 'key' => 'second', 'secret' => 'hush2',
            'allowed_origins' => config('app.origins'),
            'ping_interval' => 60,
            'max_message_size' => 10000,
            'accept_client_events_from' => 'none',
            'max_connections' => '5',
            'rate_limiting' => ['enabled' => true, 'max_attempts' => 3, 'decay_seconds' => 4, 'terminate_on_limit' => 1],
        ],
        ['app_id' => 3, 'key' => 'third', 'ping_interval' => 60],
    ]],
];
";

struct Case {
    folder: TempDir,
    overrides: Overrides,
    process: HashMap<String, String>,
}

impl Case {
    fn new(files: &[(&str, &str)]) -> Case {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            write(folder.path(), name, text);
        }
        let overrides = Overrides {
            folder: Some(folder.path().to_owned()),
            ..Overrides::default()
        };
        Case {
            folder,
            overrides,
            process: HashMap::new(),
        }
    }

    fn with(mut self, process: &[(&str, &str)]) -> Case {
        let owned = process.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        self.process.extend(owned);
        self
    }

    fn load(&self) -> Result<Settings, ConfigError> {
        load(&self.overrides, &self.process)
    }

    #[track_caller]
    fn settings(&self) -> Settings {
        let settings = self.load().unwrap_or_else(|error| panic!("{error}"));
        assert!(!format!("{settings:?}").contains("hush"));
        settings
    }

    #[track_caller]
    fn refusal(&self) -> String {
        let sentence = self.load().expect_err("refused").to_string();
        assert!(!sentence.contains("hush"), "{sentence}");
        assert!(
            !sentence.contains('\n') && !sentence.ends_with('.'),
            "{sentence}"
        );
        sentence
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
    std::fs::write(path, text).expect("written");
}

#[track_caller]
fn listed<'a>(settings: &'a Settings, key: &str) -> (&'a str, &'a str) {
    let found = settings.listing.iter().find(|line| line.key == key);
    found
        .map(|line| (line.value.as_str(), line.origin.as_str()))
        .unwrap_or_else(|| panic!("{key} is not listed"))
}

fn ids(settings: &Settings) -> Vec<&str> {
    settings.apps.iter().map(|app| app.id.as_str()).collect()
}

fn excerpt() -> String {
    let path = "/compat-fixtures/laravel/cached-config-excerpt.php";
    std::fs::read_to_string(format!("{}{path}", env!("CARGO_MANIFEST_DIR"))).expect("the excerpt")
}

#[test]
fn an_env_file_as_the_installer_writes_it() {
    let settings = Case::new(&[(".env", ENV)]).settings();
    assert_eq!(ids(&settings), ["482915"]);
    assert_eq!(settings.files, [".env"]);
    assert_eq!(settings.warnings, Vec::<String>::new());
    assert_eq!(
        listed(&settings, "apps.482915.secret"),
        ("****", ".env line 13 (REVERB_APP_SECRET)")
    );
    let app = settings.laravel.expect("a Laravel app");
    assert_eq!(app.source, ".env");
    assert_eq!(app.env_file.as_deref(), Some(".env"));
    assert_eq!(app.broadcaster.as_deref(), Some("reverb"));
    assert_eq!(app.posts_to().as_deref(), Some("http://localhost:8080"));
    assert_eq!(app.browsers_use().as_deref(), Some("ws://localhost:8080"));
    assert_eq!(app.browser.key.as_deref(), Some("lab0key"));
    assert!(app.has_secret && !app.is_cached);
    assert_eq!(app.hostname.as_deref(), Some("localhost"));
}

#[test]
fn an_env_file_of_the_pusher_driver() {
    let settings = Case::new(&[(".env", ENV_10)]).settings();
    assert_eq!(ids(&settings), ["7"]);
    assert_eq!(settings.warnings, Vec::<String>::new());
    let app = settings.laravel.expect("a Laravel app");
    assert_eq!(app.posts_to().as_deref(), Some("http://127.0.0.1:8080"));
    assert_eq!(
        (app.app_id.as_deref(), app.app_key.as_deref()),
        (Some("7"), Some("k7"))
    );
    assert_eq!(app.browsers_use().as_deref(), Some("wss://127.0.0.1"));
}

#[test]
fn who_sends_what_is_to_be_broadcast() {
    let check = |line: &str, expected: Option<&str>| {
        let env = format!("{ENV}{line}\n");
        let settings = Case::new(&[(".env", &env)]).settings();
        let app = settings.laravel.expect("a Laravel app");
        assert_eq!(app.queue.as_deref(), expected, "{line}");
    };
    check("", None);
    check("QUEUE_CONNECTION=", None);
    check("QUEUE_CONNECTION=database", Some("database"));
    check("QUEUE_CONNECTION=\"null\"", Some("null"));
    check("QUEUE_DRIVER=sync", Some("sync"));
    // .env doesn't count any more
    let cache = excerpt().replacen(
        "'broadcasting' =>",
        "'queue' => array ('default' => 'redis'), 'broadcasting' =>",
        1,
    );
    let env = format!("{ENV}QUEUE_CONNECTION=sync\n");
    let settings = Case::new(&[(".env", &env), ("bootstrap/cache/config.php", &cache)]).settings();
    let app = settings.laravel.expect("a Laravel app");
    assert_eq!(app.queue.as_deref(), Some("redis"));
}

#[test]
fn stock_config_changes_nothing_but_names_its_lines() {
    let settings = Case::new(&[(".env", ENV), ("config/reverb.php", REVERB_PHP)]).settings();
    assert_eq!(settings.files, ["config/reverb.php", ".env"]);
    assert_eq!(settings.warnings, Vec::<String>::new());
    assert_eq!(
        listed(&settings, "server.port"),
        ("8080", "config/reverb.php line 8")
    );
    assert_eq!(settings.server.request_bytes_max, 1 << 20);
    let app = &settings.apps[0];
    assert_eq!(app.limits.message_bytes_max, 65_536);
    assert_eq!((app.ping_interval_s, app.activity_timeout_s), (30, 30));
    assert_eq!(app.client_events, ClientEvents::Members);
    assert_eq!(app.limits.message_rate, None);
    assert!(app.allowed_origins.is_empty());
}

#[test]
fn a_config_edited_by_hand() {
    let settings = Case::new(&[(".env", ENV), ("config/reverb.php", CUSTOM_PHP)]).settings();
    assert_eq!(ids(&settings), ["482915", "2"]);
    assert_eq!(settings.server.host.to_string(), "127.0.0.1");
    assert_eq!(
        listed(&settings, "server.port"),
        ("9000", "config/reverb.php line 6")
    );
    assert_eq!(settings.server.request_bytes_max, 65_536);
    let [first, second] = &settings.apps[..] else {
        panic!("two apps")
    };
    assert_eq!(first.allowed_origins, ["a.example.com", "b.example.com"]);
    assert_eq!(first.ping_interval_s, 45);
    assert_eq!(first.limits.message_bytes_max, 100_000);
    assert_eq!(first.limits.event_data_bytes_max, 65_536);
    // no such key in a file from before Reverb 1.8
    assert_eq!(first.client_events, ClientEvents::All);
    assert_eq!(second.client_events, ClientEvents::None);
    assert_eq!(second.limits.connections_max, Some(5));
    let rate = MessageRateLimit {
        max_attempts: 3,
        decay_s: 4,
        terminate: true,
    };
    assert_eq!(second.limits.message_rate, Some(rate));
    assert_eq!(
        listed(&settings, "apps.482915.ping_interval_s"),
        ("45", "config/reverb.php line 15")
    );
    let expected = [
        "config/reverb.php line 7: servers.reverb.hostname is a call of gethostname(), which can't be known",
        "config/reverb.php line 20: apps.apps.1.allowed_origins is a call of config(), which can't be known without running PHP, so origins are not limited by it",
        "secret of apps.apps.2 is empty in config/reverb.php line 27, so that app is left out",
        "the app posts to port 8080 of localhost, but this server listens on port 9000",
    ];
    for (warning, expected) in settings.warnings.iter().zip(expected) {
        assert!(warning.starts_with(expected), "{warning}");
    }
    assert_eq!(
        settings.warnings.len(),
        expected.len(),
        "{:?}",
        settings.warnings
    );
}

#[test]
fn what_is_spread_into_a_list_takes_nothing_from_the_others() {
    let php = CUSTOM_PHP.replace("'apps' => [\n", "'apps' => [...tenants(),\n");
    assert!(php.contains("...tenants()"));
    let settings = Case::new(&[(".env", ENV), ("config/reverb.php", &php)]).settings();
    assert_eq!(ids(&settings), ["482915", "2"]);
    assert_eq!(
        settings.apps[0].allowed_origins,
        ["a.example.com", "b.example.com"]
    );
    let expected = "config/reverb.php line 11: apps.apps.0 is another array spread into this one, which can't be known without running PHP, so it is not used";
    assert!(
        settings.warnings.iter().any(|w| w.starts_with(expected)),
        "{:?}",
        settings.warnings
    );
    // some origins known and others not: none is kept out
    let php = CUSTOM_PHP.replace("config('app.origins')", "['a.example', ...$others]");
    let settings = Case::new(&[(".env", ENV), ("config/reverb.php", &php)]).settings();
    assert_eq!(settings.apps[1].allowed_origins, Vec::<String>::new());
    let expected = "so origins are not limited by it";
    assert!(settings.warnings.iter().any(|w| w.contains(expected)));
}

#[test]
fn what_wins() {
    let toml = "[server]\nport = 9001\n[app_defaults]\nping_interval_s = 20";
    let check = |files: &[(&str, &str)], process: &[(&str, &str)], port: u16, origin: &str| {
        let files = [&[(".env", ENV), ("config/reverb.php", CUSTOM_PHP)], files].concat();
        let settings = Case::new(&files).with(process).settings();
        assert_eq!(settings.server.port, port, "{files:?}");
        assert_eq!(listed(&settings, "server.port").1, origin);
    };
    check(&[], &[], 9000, "config/reverb.php line 6");
    check(&[("resound.toml", toml)], &[], 9001, "file resound.toml");
    let env = format!("{ENV}REVERB_SERVER_PORT=9002\n");
    let files = [("resound.toml", toml), (".env", &env)];
    check(&files, &[], 9002, ".env line 23 (REVERB_SERVER_PORT)");
    check(
        &files,
        &[("REVERB_SERVER_PORT", "9003")],
        9003,
        "environment variable REVERB_SERVER_PORT",
    );
    let env = format!("{env}RESOUND_SERVER_PORT=9004\n");
    let files = [("resound.toml", toml), (".env", &env)];
    check(
        &files,
        &[("REVERB_SERVER_PORT", "9003")],
        9004,
        ".env line 24 (RESOUND_SERVER_PORT)",
    );
    // an empty variable of the process hides the file's, as it does for Laravel
    check(
        &files,
        &[("RESOUND_SERVER_PORT", "")],
        9002,
        ".env line 23 (REVERB_SERVER_PORT)",
    );

    let mut case = Case::new(&[
        (".env", ENV),
        ("config/reverb.php", CUSTOM_PHP),
        ("resound.toml", toml),
    ]);
    // what is said here for all apps beats what Laravel says of one, which beats Laravel's variables
    let settings = case.settings();
    assert_eq!(settings.apps[0].ping_interval_s, 20);
    let own = |line: &&crate::config::Setting| line.key == "apps.482915.ping_interval_s";
    assert_eq!(settings.listing.iter().find(own), None);
    case.overrides.port = Some("9005".to_owned());
    assert_eq!(
        listed(&case.settings(), "server.port"),
        ("9005", "option --port")
    );
}

#[test]
fn which_env_file() {
    let other = ENV.replace("482915", "5");
    let files = [
        (".env", ENV),
        (".env.staging", &other),
        ("sub/other", &other),
    ];
    let check = |edit: &dyn Fn(&mut Overrides), process: &[(&str, &str)], id: &str, file: &str| {
        let mut case = Case::new(&files).with(process);
        edit(&mut case.overrides);
        let settings = case.settings();
        assert_eq!(ids(&settings), [id]);
        assert_eq!(settings.files, [file]);
    };
    check(&|_| {}, &[], "482915", ".env");
    check(&|_| {}, &[("APP_ENV", "staging")], "5", ".env.staging");
    check(&|_| {}, &[("APP_ENV", "production")], "482915", ".env");
    check(&|_| {}, &[("APP_ENV", "../x")], "482915", ".env");
    check(
        &|o| o.env = Some("staging".to_owned()),
        &[("APP_ENV", "x")],
        "5",
        ".env.staging",
    );
    check(
        &|o| o.env = Some("nope".to_owned()),
        &[("APP_ENV", "staging")],
        "5",
        ".env.staging",
    );
    check(
        &|o| o.env_file = Some("sub/other".into()),
        &[("APP_ENV", "staging")],
        "5",
        "sub/other",
    );
    check(
        &|_| {},
        &[("RESOUND_ENV_FILE", ".env.staging")],
        "5",
        ".env.staging",
    );
    let mut case = Case::new(&files);
    case.overrides.env_file = Some("nope".into());
    assert_eq!(
        case.refusal(),
        "the file nope can't be read: there is no such file"
    );
    // nothing is read where nothing is to be looked for
    case.overrides = Overrides::default();
    assert_eq!(ids(&case.settings()), ["1001"]);
}

#[test]
fn which_settings_file() {
    let port = |port: u16| format!("[server]\nport = {port}");
    let (beside, named) = (port(1), port(2));
    let files = [("resound.toml", &*beside), ("other.toml", &*named)];
    assert_eq!(Case::new(&files).settings().server.port, 1);
    let case = Case::new(&files).with(&[("RESOUND_CONFIG", "other.toml")]);
    assert_eq!(case.settings().files, ["other.toml"]);
    assert_eq!(case.settings().server.port, 2);
    let mut case = case.with(&[("RESOUND_CONFIG", "nope.toml")]);
    assert!(
        case.refusal()
            .starts_with("the file nope.toml can't be read: ")
    );
    case.overrides.file = Some("other.toml".into());
    assert_eq!(case.settings().server.port, 2);
}

#[test]
fn a_cached_configuration_wins() {
    // .env says something else throughout
    let env = format!(
        "{}REVERB_SERVER_PORT=9002\n",
        ENV.replace("482915", "5").replace("lab0key", "other")
    );
    let files = [
        (".env", &*env),
        ("config/reverb.php", CUSTOM_PHP),
        ("bootstrap/cache/config.php", &excerpt()),
    ];
    let cached = "bootstrap/cache/config.php";
    let settings = Case::new(&files).settings();
    assert_eq!(ids(&settings), ["482915"]);
    assert_eq!(settings.files[0], cached);
    assert_eq!(
        listed(&settings, "server.port"),
        ("8080", "bootstrap/cache/config.php line 10")
    );
    assert_eq!(
        listed(&settings, "apps.482915.client_events").0,
        "\"members\""
    );
    let app = settings.laravel.as_ref().expect("a Laravel app");
    assert!(app.is_cached && app.has_secret);
    assert_eq!(app.source, cached);
    assert_eq!(app.broadcaster.as_deref(), Some("reverb"));
    assert_eq!(app.posts_to().as_deref(), Some("http://127.0.0.1:8080"));
    assert_eq!(app.app_id.as_deref(), Some("482915"));
    assert_eq!(app.hostname.as_deref(), Some("127.0.0.1"));
    // the JavaScript is built from .env nevertheless
    assert_eq!(app.browser.key.as_deref(), Some("other"));
    let warns =
        |settings: &Settings, part: &str| settings.warnings.iter().any(|w| w.contains(part));
    assert!(warns(
        &settings,
        "the app's configuration is cached: bootstrap/cache/config.php counts and .env does not"
    ));
    assert!(warns(&settings, "browsers are built with key other"));

    // RESOUND_ variables and the names no cache can have still count
    let env = format!("{env}RESOUND_SERVER_PORT=9006\nREVERB_ALLOWED_ORIGINS=a.example.com\n");
    let case = Case::new(&[(".env", &env), (cached, &excerpt())]);
    let settings = case.settings();
    assert_eq!(settings.server.port, 9006);
    assert_eq!(settings.apps[0].allowed_origins, ["a.example.com"]);

    // variables of the process were frozen, too
    let case = Case::new(&files).with(&[
        ("REVERB_SERVER_PORT", "9007"),
        ("REVERB_APP_ID", "482915"),
        ("REVERB_APP_SECRET", "hush"),
    ]);
    let settings = case.settings();
    assert_eq!(settings.server.port, 8080);
    assert!(warns(
        &settings,
        "REVERB_SERVER_PORT, REVERB_APP_SECRET of the environment and bootstrap/cache/config.php say different things"
    ));

    // a file named here is meant
    let mut case = Case::new(&files);
    case.overrides.env_file = Some(".env".into());
    let settings = case.settings();
    assert_eq!(ids(&settings), ["5", "2"]);
    assert!(
        settings
            .notes
            .iter()
            .any(|note| note.contains("config.php is not read"))
    );
}

#[test]
fn an_old_cache_and_a_broken_one_are_named() {
    let case = Case::new(&[("bootstrap/cache/config.php", &excerpt()), (".env", ENV)]);
    let cache = case.folder.path().join("bootstrap/cache/config.php");
    let past = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    let file = std::fs::File::options()
        .write(true)
        .open(cache)
        .expect("open");
    file.set_modified(past).expect("an older file");
    let warnings = case.settings().warnings;
    assert!(
        warnings
            .iter()
            .any(|w| w.starts_with("bootstrap/cache/config.php is older than .env")),
        "{warnings:?}"
    );

    let check = |text: &str, part: &str| {
        let case = Case::new(&[("bootstrap/cache/config.php", text), (".env", ENV)]);
        let settings = case.settings();
        assert_eq!(settings.files, [".env"]);
        assert!(
            settings.warnings[0].contains(part),
            "{:?}",
            settings.warnings
        );
    };
    check(
        "<?php return array (",
        "config.php is not used, though Laravel does: line 1",
    );
    check(
        "<?php return array ( 'app' => 1 );",
        "neither broadcasting nor reverb",
    );
}

#[test]
fn a_cached_configuration_of_the_pusher_driver() {
    let cached = "<?php return array (
  'app' => array ( 'url' => 'https://example.com' ),
  'broadcasting' => array (
    'default' => 'pusher',
    'connections' => array (
      'pusher' => array ( 'driver' => 'pusher', 'key' => 'k7', 'secret' => 'hush', 'app_id' => '7',
        'options' => array ( 'host' => 'api-mt1.pusher.com', 'port' => 443, 'scheme' => 'https' ) ),
      'log' => array ( 'driver' => 'log' ),
    ),
  ),
);";
    let settings = Case::new(&[("bootstrap/cache/config.php", cached)]).settings();
    assert_eq!(ids(&settings), ["7"]);
    let app = settings.laravel.expect("a Laravel app");
    assert_eq!(app.posts_to(), None);
    assert!(
        settings
            .warnings
            .iter()
            .any(|w| w.contains("events go to pusher.com")),
        "{:?}",
        settings.warnings
    );
    let without = cached.replace("'hush'", "NULL");
    let sentence = Case::new(&[("bootstrap/cache/config.php", &without)]).refusal();
    assert!(
        sentence.starts_with("no app is configured: secret of broadcasting.connections.pusher is empty in bootstrap/cache/config.php line 6; complete .env"),
        "{sentence}"
    );
}

#[test]
fn a_missing_part_is_named_with_its_file() {
    let check = |env: &str, expected: &str| {
        assert!(
            Case::new(&[(".env", env)]).refusal().starts_with(expected),
            "{}",
            Case::new(&[(".env", env)]).refusal()
        );
    };
    let without = |name: &str| -> String {
        let lines = ENV.lines().filter(|line| !line.starts_with(name));
        lines.map(|line| format!("{line}\n")).collect()
    };
    check(
        &without("REVERB_APP_SECRET"),
        "REVERB_APP_SECRET is missing from .env, but .env line 11 (REVERB_APP_ID) is set; an app needs",
    );
    check(
        &ENV.replace("REVERB_APP_SECRET=hush", "REVERB_APP_SECRET="),
        "REVERB_APP_SECRET is empty in .env line 13, but",
    );
    check(
        "BROADCAST_CONNECTION=log\n",
        "no app is configured: REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET are missing from .env; set them",
    );
    check(
        "BROADCAST_DRIVER=pusher\nPUSHER_APP_ID=\nPUSHER_APP_KEY=\nPUSHER_APP_SECRET=\nPUSHER_APP_CLUSTER=mt1\n",
        "no app is configured: PUSHER_APP_ID, PUSHER_APP_KEY and PUSHER_APP_SECRET have no value in .env",
    );
    // as Laravel 8 to 10 come
    check(
        "BROADCAST_DRIVER=log\nPUSHER_APP_ID=\nPUSHER_APP_KEY=\nPUSHER_APP_SECRET=\n",
        "no app is configured: PUSHER_APP_ID, PUSHER_APP_KEY and PUSHER_APP_SECRET have no value in .env",
    );
    // what isn't UTF-8 is read as this character
    check(
        &ENV.replace("=hush", "=hu\u{fffd}sh"),
        "the app's secret is unreadable in .env line 13 (REVERB_APP_SECRET); it must be UTF-8",
    );
    check(
        "BROADCAST_CONNECTION=pusher\nPUSHER_APP_ID=your-pusher-app-id\nPUSHER_APP_KEY=your-pusher-key\nPUSHER_APP_SECRET=your-pusher-secret\n",
        "no app is configured: PUSHER_APP_ID",
    );
    check(
        "BROADCAST_CONNECTION=pusher\nPUSHER_APP_ID=7\nPUSHER_APP_KEY=your-pusher-key\n",
        ".env line 3 (PUSHER_APP_KEY) is a placeholder, but .env line 2 (PUSHER_APP_ID) is set",
    );
    check(
        &format!(
            "BROADCAST_CONNECTION=reverb\nX=\"open\n{}",
            ENV.replace('"', "")
        ),
        "no app is configured: REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET are missing from .env (a double quote opened in line 2 is never closed, so nothing after it counts); set",
    );
    let sentence = Case::new(&[("config/reverb.php", REVERB_PHP)]).refusal();
    let expected = "no app is configured: REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET are not set, and there is no .env; set";
    assert!(sentence.starts_with(expected), "{sentence}");
    // a container whose variables come from nowhere
    let case = Case::new(&[]).with(&[("REVERB_APP_ID", ""), ("REVERB_APP_KEY", "")]);
    let sentence = case.refusal();
    let expected = "no app is configured: REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET have no value in the environment; set";
    assert!(sentence.starts_with(expected), "{sentence}");
    let case = Case::new(&[]).with(&[("REVERB_HOST", "localhost")]);
    assert_eq!(ids(&case.settings()), ["1001"]);
    // with another app it is only said
    let settings = Case::new(&[(".env", &format!("{ENV}PUSHER_APP_KEY=x\n"))]).settings();
    assert_eq!(ids(&settings), ["482915"]);
    assert!(
        settings.warnings[0].starts_with("PUSHER_APP_ID is missing from .env, but"),
        "{:?}",
        settings.warnings
    );
    // an app from elsewhere will do
    let toml = "[[apps]]\nid = 1\nkey = 'k'\nsecret = 'hush'";
    let settings = Case::new(&[
        (".env", "BROADCAST_CONNECTION=reverb\n"),
        ("resound.toml", toml),
    ])
    .settings();
    assert_eq!(ids(&settings), ["1"]);
}

#[test]
fn one_app_named_twice_is_one() {
    let env = format!(
        "{ENV}PUSHER_APP_ID=\"${{REVERB_APP_ID}}\"\nPUSHER_APP_KEY=${{REVERB_APP_KEY}}\nPUSHER_APP_SECRET=hush\n"
    );
    let settings = Case::new(&[(".env", &env)]).settings();
    assert_eq!(ids(&settings), ["482915"]);
    assert_eq!(settings.warnings, Vec::<String>::new());
    let settings = Case::new(&[(".env", &env.replace("\"${REVERB_APP_ID}\"", "5"))]).settings();
    assert_eq!(ids(&settings), ["482915"]);
    assert!(
        settings.warnings[0]
            .contains("id 482915 and key lab0key from REVERB_APP_* of .env count, id 5"),
        "{:?}",
        settings.warnings
    );
    let sentence = Case::new(&[(
        ".env",
        &env.replace("_SECRET=hush\nPUSHER", "_SECRET=hush\nX")
            .replace("PUSHER_APP_SECRET=hush", "PUSHER_APP_SECRET=hushhush"),
    )])
    .refusal();
    assert!(
        sentence.contains("two apps have the id 482915"),
        "{sentence}"
    );
}

#[test]
fn an_env_file_laravel_refuses() {
    let check = |env: &str, expected: &str| {
        let sentence = Case::new(&[(".env", env)]).refusal();
        assert!(sentence.starts_with(expected), "{sentence}");
    };
    check(
        &format!("{ENV}APP_TITLE=hush hush\n"),
        ".env can't be read, by Laravel neither: line 23: unexpected whitespace",
    );
    check(
        &format!("{ENV}A-B=1\n"),
        ".env can't be read, by Laravel neither: line 23: an invalid name",
    );
    // another program's file of that name doesn't stop the server
    let settings = Case::new(&[(".env", "TITLE=two words\n")]).settings();
    assert_eq!(ids(&settings), ["1001"]);
    assert!(settings.warnings[0].starts_with(".env is not used: line 1: unexpected whitespace"));
    assert_eq!(settings.laravel, None);
    let settings = Case::new(&[(".env/bin/python", "")]).settings();
    assert_eq!(settings.files, Vec::<String>::new());
    // nor does one without a word of ours make a Laravel project
    assert_eq!(
        Case::new(&[(".env", "PORT=3000\n")]).settings().laravel,
        None
    );
}

#[test]
fn wrong_values_are_refused_with_their_line() {
    let check = |files: &[(&str, &str)], expected: &str| {
        assert_eq!(Case::new(files).refusal(), expected);
    };
    let port = "it must be a whole number from 0 to 65535";
    check(
        &[(".env", &format!("{ENV}REVERB_SERVER_PORT=eighty\n"))],
        &format!("server.port is \"eighty\" in .env line 23 (REVERB_SERVER_PORT); {port}"),
    );
    let php = REVERB_PHP.replace("env('REVERB_SERVER_PORT', 8080)", "'eighty'");
    check(
        &[(".env", ENV), ("config/reverb.php", &php)],
        &format!("server.port is \"eighty\" in config/reverb.php line 8; {port}"),
    );
    let php = REVERB_PHP.replace("env('REVERB_APP_ACTIVITY_TIMEOUT', 30)", "0");
    check(
        &[(".env", ENV), ("config/reverb.php", &php)],
        "activity_timeout_s of app 482915 is 0 in config/reverb.php line 37; it must be a whole number from 1 to 86400",
    );
    check(
        &[(".env", &format!("{ENV}RESOUND_SERVER_PROT=1\n"))],
        ".env line 23 (RESOUND_SERVER_PROT) is not a setting; the nearest is RESOUND_SERVER_PORT",
    );
}

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

#[test]
fn config_files_that_cannot_be_read_as_a_whole() {
    let check = |php: &str, expected: &str| {
        let settings = Case::new(&[(".env", ENV), ("config/reverb.php", php)]).settings();
        assert_eq!(ids(&settings), ["482915"]);
        assert!(
            settings.warnings[0].contains(expected),
            "{:?}",
            settings.warnings
        );
    };
    check(
        "<?php\nreturn [\n'a' => 'b",
        "config/reverb.php is not used: line 3: a string isn't closed",
    );
    check(
        "<?php\nreturn require 'other.php';",
        "config/reverb.php line 2: what it returns is the constant require",
    );
    check(
        "<?php\n$x = 1;\nreturn ['servers' => ['reverb' => []]];",
        "config/reverb.php line 2 is code",
    );
    check(
        "<?php return ['servers' => ['reverb' => []], 'apps' => ['provider' => App\\P::class]];",
        "apps.provider is the class App\\P, which can't run here",
    );
    check("<?php return [];", "has no servers.reverb");
}

#[test]
fn docker_reads_env_files_differently() {
    // `docker run --env-file .env`: quotes stay, nothing is put in, nothing is cut
    let case = Case::new(&[]).with(&[
        ("REVERB_APP_ID", "482915"),
        ("REVERB_APP_KEY", "\"lab0key\""),
        ("REVERB_APP_SECRET", "'hush'"),
        ("REVERB_HOST", "\"localhost\""),
        ("REVERB_PORT", "8080"),
        ("REVERB_SCHEME", "http"),
        ("BROADCAST_CONNECTION", "\"reverb\""),
        ("VITE_REVERB_APP_KEY", "\"${REVERB_APP_KEY}\""),
        ("VITE_REVERB_HOST", "\"${REVERB_HOST}\""),
    ]);
    let settings = case.settings();
    assert_eq!(settings.apps[0].key, "lab0key");
    assert_eq!(settings.warnings, Vec::<String>::new());
    let app = settings.laravel.as_ref().expect("a Laravel app");
    assert_eq!(app.source, "the environment");
    assert_eq!(app.posts_to().as_deref(), Some("http://localhost:8080"));
    assert_eq!(app.browsers_use(), None);
    assert_eq!(settings.server.host.to_string(), "0.0.0.0");
}

#[test]
fn names_of_laravel_websockets() {
    let env = "BROADCAST_DRIVER=pusher
PUSHER_APP_ID=7
PUSHER_APP_KEY=k7
PUSHER_APP_SECRET=hush
PUSHER_APP_HOST=127.0.0.1
PUSHER_APP_PORT=6001
PUSHER_APP_SCHEME=http
WEBSOCKETS_REPLICATION_MODE=local
";
    let settings = Case::new(&[(".env", env)]).settings();
    assert_eq!(
        listed(&settings, "server.port"),
        ("6001", "laravel-websockets' default")
    );
    assert_eq!(settings.warnings, Vec::<String>::new());
    let app = settings.laravel.expect("a Laravel app");
    assert_eq!(app.posts_to().as_deref(), Some("http://127.0.0.1:6001"));
    let with_port = format!("{env}LARAVEL_WEBSOCKETS_PORT=6002\n");
    let settings = Case::new(&[(".env", &with_port)]).settings();
    assert_eq!(
        listed(&settings, "server.port"),
        ("6002", ".env line 9 (LARAVEL_WEBSOCKETS_PORT)")
    );
    let both = format!("{with_port}REVERB_SERVER_PORT=6003\n");
    assert_eq!(Case::new(&[(".env", &both)]).settings().server.port, 6003);
}

#[test]
fn certificates() {
    let check = |files: &[(&str, &str)], expected: [(&str, &str); 2]| {
        let settings = Case::new(files).settings();
        assert_eq!(listed(&settings, "tls.certificate"), expected[0]);
        assert_eq!(listed(&settings, "tls.key"), expected[1]);
        settings
    };
    let env = format!("{ENV}REVERB_SSL_PRIVATE_CERT=/c.pem\nREVERB_SSL_PRIVATE_KEY=/k.pem\n");
    let expected = [
        ("\"/c.pem\"", ".env line 23 (REVERB_SSL_PRIVATE_CERT)"),
        ("\"/k.pem\"", ".env line 24 (REVERB_SSL_PRIVATE_KEY)"),
    ];
    let settings = check(&[(".env", &env)], expected);
    let warning = "the app posts to http://localhost:8080, but this server speaks TLS";
    assert!(
        settings.warnings[0].starts_with(warning),
        "{:?}",
        settings.warnings
    );
    // a port without TLS for PHP
    let toml = "[server]\nport = 8443\nplain_port = 8080";
    let settings = check(&[(".env", &env), ("resound.toml", toml)], expected);
    assert_eq!(settings.warnings, Vec::<String>::new());

    let env = ENV.replace("SCHEME=http", "SCHEME=https");
    let tls = "'tls' => ['local_cert' => '/c.pem', 'local_pk' => '/k.pem', 'verify_peer' => false]";
    let php = REVERB_PHP.replace("'tls' => []", tls);
    let from = "config/reverb.php line 12";
    let expected = [("\"/c.pem\"", from), ("\"/k.pem\"", from)];
    let settings = check(&[(".env", &env), ("config/reverb.php", &php)], expected);
    assert_eq!(settings.warnings, Vec::<String>::new());
    assert_eq!(settings.tls.hostname.as_deref(), Some("localhost"));
    // PHP takes one file for both
    let php = REVERB_PHP.replace(
        "'tls' => []",
        "'tls' => ['local_cert' => '/c.pem', 'passphrase' => 'hush']",
    );
    let expected = [("\"/c.pem\"", from), ("\"/c.pem\"", from)];
    let settings = check(&[(".env", &env), ("config/reverb.php", &php)], expected);
    assert!(settings.warnings[0].starts_with("config/reverb.php line 12: a key with a passphrase"));

    // the host name whose certificate is looked for is in the cache, too
    let cached = Case::new(&[("bootstrap/cache/config.php", &excerpt())]).settings();
    assert_eq!(cached.tls.hostname.as_deref(), Some("127.0.0.1"));
    let env = format!("{ENV}LARAVEL_WEBSOCKETS_SSL_LOCAL_CERT=/c.pem\n")
        .replace("SCHEME=http", "SCHEME=https");
    let from = ".env line 23 (LARAVEL_WEBSOCKETS_SSL_LOCAL_CERT)";
    check(
        &[(".env", &env)],
        [("\"/c.pem\"", from), ("\"\"", "the defaults")],
    );
}

/// Several servers, as `config/reverb.php` has them since 1.5; the last key is of no use here.
const SCALING: &str = "'scaling' => [
                'enabled' => env('REVERB_SCALING_ENABLED', false),
                'channel' => env('REVERB_SCALING_CHANNEL', 'reverb'),
                'server' => [
                    'url' => env('REDIS_URL'),
                    'host' => env('REDIS_HOST', '127.0.0.1'),
                    'port' => env('REDIS_PORT', '6379'),
                    'username' => env('REDIS_USERNAME'),
                    'password' => env('REDIS_PASSWORD'),
                    'database' => env('REDIS_DB', '0'),
                    'timeout' => env('REDIS_TIMEOUT', 60),
                ],
            ],";

#[test]
fn several_servers() {
    let start = REVERB_PHP.find("'scaling'").expect("scaling");
    let end = REVERB_PHP
        .find("'pulse_ingest_interval'")
        .expect("the next");
    let check = |scaling: &str, env: &str, expected: &str| {
        let php = format!("{}{scaling}\n{}", &REVERB_PHP[..start], &REVERB_PHP[end..]);
        let env = format!(
            "{}{env}",
            ENV.replace("REDIS_PASSWORD=null", "REDIS_PASSWORD=hush")
        );
        let case = Case::new(&[(".env", &env), ("config/reverb.php", &php)]);
        let settings = case.settings();
        assert_eq!(redis_of(&settings), expected, "{scaling} {env}");
        settings
    };
    let on = "REVERB_SCALING_ENABLED=true\n";
    check(SCALING, "", "alone");
    check(SCALING, on, "127.0.0.1:6379 - hush 0 resound");
    let settings = check(
        SCALING,
        &format!("{on}REDIS_HOST=r\nREDIS_PORT=7\nREVERB_SCALING_CHANNEL=one\n"),
        "r:7 - hush 0 one",
    );
    let (value, origin) = listed(&settings, "cluster.host");
    assert_eq!(value, "\"r\"");
    assert!(origin.starts_with("config/reverb.php line ") && origin.ends_with(" (REDIS_HOST)"));
    assert_eq!(listed(&settings, "cluster.password").0, "****");
    assert_eq!(
        listed(&settings, "cluster.enabled"),
        ("true", ".env line 23 (REVERB_SCALING_ENABLED)")
    );
    // written out; what isn't there has no password either
    let literal = "'scaling' => ['enabled' => true, 'channel' => 'one', 'server' => ['host' => 'tls://r', 'port' => 7, 'database' => 1]],";
    check(literal, "REDIS_HOST=other\n", "r:7+ - - 1 one");
    check(literal, "REDIS_PREFIX=app_\n", "r:7+ - - 1 app_one");
    // before 1.5, and what was emptied
    let old =
        "'scaling' => ['enabled' => env('REVERB_SCALING_ENABLED', false), 'channel' => 'one'],";
    check(old, &format!("{on}REDIS_HOST=r\n"), "r:6379 - hush 0 one");
    let none = "'scaling' => ['enabled' => 1, 'server' => []],";
    check(none, "", "127.0.0.1:6379 - hush 0 resound");
    // the file says so, a variable says otherwise
    let settings = check(literal, "REVERB_SCALING_ENABLED=false\n", "alone");
    let warned = settings
        .warnings
        .iter()
        .any(|w| w.starts_with("cluster.enabled is true in"));
    assert!(warned, "{:?}", settings.warnings);
}

#[test]
fn several_servers_of_a_cached_configuration() {
    let check = |server: &str, expected: &str| {
        let cached = format!(
            "<?php return array ('broadcasting' => array ('default' => 'reverb'), 'reverb' => array ('default' => 'reverb', 'servers' => array ('reverb' => array ('host' => '0.0.0.0', 'port' => 8080, 'scaling' => array ('enabled' => true, 'channel' => 'reverb', {server}))), 'apps' => array ('provider' => 'config', 'apps' => array (0 => array ('app_id' => '1', 'key' => 'k', 'secret' => 'hush')))), 'database' => array ('redis' => array ('client' => 'phpredis', 'options' => array ('prefix' => 'laravel_database_'), 'default' => array ('url' => NULL, 'host' => 'd', 'username' => NULL, 'password' => 'hush', 'port' => '7', 'database' => '0'))));"
        );
        // what is said elsewhere is frozen
        let env = "REDIS_HOST=other\nREVERB_SCALING_CHANNEL=other\n";
        let case = Case::new(&[(".env", env), ("bootstrap/cache/config.php", &cached)]);
        assert_eq!(redis_of(&case.settings()), expected, "{server}");
    };
    check("", "d:7 - hush 0 resound");
    check(
        "'server' => array ('url' => NULL, 'host' => 's', 'password' => NULL)",
        "s:6379 - - 0 resound",
    );
}
