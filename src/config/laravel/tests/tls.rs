//! Certificates.

use super::*;

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
