//! Where the server listens, and behind whom.

use super::*;

#[test]
fn the_path_is_normalised() {
    let check = |text: &str, expected: &str| {
        let settings = with_app(&[("RESOUND_SERVER_PATH", text)]);
        assert_eq!(settings.server.path, expected, "{text:?}");
    };
    check("reverb", "/reverb");
    check("/reverb", "/reverb");
    check("/reverb/", "/reverb");
    check("a/b-c/", "/a/b-c");
    check("/", "");
}

#[test]
fn single_addresses_are_networks_too() {
    let settings = with_app(&[("RESOUND_SERVER_TRUSTED_PROXIES", "10.1.2.3, fd00::/8")]);
    let shown: Vec<String> = settings
        .server
        .trusted_proxies
        .iter()
        .map(|n| n.to_string())
        .collect();
    assert_eq!(shown, ["10.1.2.3/32", "fd00::/8"]);
}
