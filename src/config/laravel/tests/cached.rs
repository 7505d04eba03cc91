//! A cached configuration: it counts and `.env` doesn't.

use super::*;

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
