//! Several servers, as Reverb's `scaling` has them.

use super::*;
use crate::config::cluster::tests::redis_of;

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
