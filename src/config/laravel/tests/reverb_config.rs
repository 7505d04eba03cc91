//! `config/reverb.php`: as Reverb publishes it, edited by hand, and of no use.

use super::*;
use crate::apps::{ClientEvents, MessageRateLimit};

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
