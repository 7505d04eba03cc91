//! `.env`: what is read from it, and which Laravel couldn't read.

use super::*;

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
