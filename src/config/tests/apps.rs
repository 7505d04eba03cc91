//! Apps: where they come from, which are refused, and what of them is shown.

use super::*;
use crate::apps::ClientEvents;

#[test]
fn apps_come_from_every_complete_triple() {
    let ids = |pairs: &[(&str, &str)]| -> Vec<String> {
        let settings = from_variables(pairs).expect("apps");
        settings.apps.iter().map(|app| app.id.clone()).collect()
    };
    let pusher = [
        ("PUSHER_APP_ID", "2"),
        ("PUSHER_APP_KEY", "b"),
        ("PUSHER_APP_SECRET", "s"),
    ];
    let resound = [
        ("RESOUND_APP_ID", "3"),
        ("RESOUND_APP_KEY", "c"),
        ("RESOUND_APP_SECRET", "s"),
    ];
    let same = [
        ("PUSHER_APP_ID", "\"482915\""),
        ("PUSHER_APP_KEY", "key"),
        ("PUSHER_APP_SECRET", "hush"),
    ];
    let absent = [
        ("PUSHER_APP_ID", ""),
        ("PUSHER_APP_KEY", "null"),
        ("PUSHER_APP_SECRET", "(empty)"),
        ("PUSHER_APP_CLUSTER", "mt1"),
    ];
    assert_eq!(ids(&pusher), ["2"]);
    assert_eq!(
        ids(&[&REVERB_APP[..], &pusher, &resound].concat()),
        ["482915", "2", "3"]
    );
    assert_eq!(ids(&[&REVERB_APP[..], &same].concat()), ["482915"]);
    assert_eq!(ids(&[&REVERB_APP[..], &absent].concat()), ["482915"]);
    // as from a .env: an app is meant
    let sentence = refusal(from_variables(&absent));
    assert!(
        sentence.contains("PUSHER_APP_SECRET have no value"),
        "{sentence}"
    );
}

#[test]
fn incomplete_and_clashing_apps_are_refused() {
    let check = |pairs: &[(&str, &str)], part: &str| {
        let sentence = refusal(from_variables(pairs));
        assert!(sentence.contains(part), "{sentence}");
        assert!(!sentence.contains("hush"), "{sentence}");
    };
    check(
        &REVERB_APP[..2],
        "REVERB_APP_SECRET is not set, but REVERB_APP_ID is",
    );
    check(
        &REVERB_APP[1..],
        "REVERB_APP_ID is not set, but REVERB_APP_KEY is",
    );
    check(
        &[("RESOUND_APP_SECRET", "hush")],
        "RESOUND_APP_ID is not set",
    );
    let clash = |id: &'static str, key: &'static str, secret: &'static str| {
        let pusher = [
            ("PUSHER_APP_ID", id),
            ("PUSHER_APP_KEY", key),
            ("PUSHER_APP_SECRET", secret),
        ];
        [&REVERB_APP[..], &pusher].concat()
    };
    check(
        &clash("482915", "key", "other"),
        "two apps have the id 482915",
    );
    check(
        &clash("2", "key", "other"),
        "two apps have the key key but differ otherwise, one from environment variables REVERB_APP_*",
    );
    check(
        &clash("a/b", "b", "hush"),
        "the app's id is \"a/b\" in environment variable PUSHER_APP_ID",
    );
    check(
        &clash("2", "a:b", "hush"),
        "PUSHER_APP_KEY; it must be 1 to 200 characters",
    );
    check(&clash("2", "..", "hush"), "PUSHER_APP_KEY");
    check(&clash("2", "ключ", "hush"), "PUSHER_APP_KEY");
}

#[test]
fn a_published_secret_is_not_served_to_others() {
    let published = [
        ("PUSHER_APP_ID", "app-id"),
        ("PUSHER_APP_KEY", "app-key"),
        ("PUSHER_APP_SECRET", "app-secret"),
    ];
    let host = |name: &'static str| [("REVERB_SERVER_HOST", name)];
    let check = |pairs: &[(&str, &str)], allowed: Option<&str>| match allowed {
        Some(address) => {
            let settings = from_variables(pairs).expect("allowed");
            assert_eq!(settings.server.host.to_string(), address, "{pairs:?}");
        }
        None => {
            let sentence = refusal(from_variables(pairs));
            assert!(sentence.contains("published development key"), "{sentence}");
            assert!(sentence.contains("REVERB_APP_SECRET"), "{sentence}");
        }
    };
    check(&published, Some("127.0.0.1"));
    check(&host("0.0.0.0"), None);
    check(&host("::"), None);
    check(&host("192.168.1.4"), None);
    check(&host("::1"), Some("::1"));
    check(&host("[::1]"), Some("::1"));
    check(&host("localhost"), Some("127.0.0.1"));
    check(&host("127.3.2.1"), Some("127.3.2.1"));
    check(&[&published[..], &host("0.0.0.0")].concat(), None);
    check(&[&published[..], &REVERB_APP].concat(), None);
    check(
        &[&published[..], &REVERB_APP, &host("localhost")].concat(),
        Some("127.0.0.1"),
    );
    check(&REVERB_APP, Some("0.0.0.0"));

    // in a container, for an app that somebody named
    let allow = [("RESOUND_SERVER_ALLOW_PUBLISHED_SECRET", "true")];
    check(&allow, Some("127.0.0.1"));
    check(&[&allow[..], &host("0.0.0.0")].concat(), None);
    let both = [&published[..], &allow].concat();
    check(&both, Some("0.0.0.0"));
    check(&[&both[..], &REVERB_APP].concat(), Some("0.0.0.0"));
    check(&[&both[..], &host("127.0.0.1")].concat(), Some("127.0.0.1"));
    let warnings = from_variables(&both).expect("allowed").warnings;
    assert!(
        warnings[0].contains("app app-id has the published"),
        "{warnings:?}"
    );
    assert!(warnings[0].contains("0.0.0.0, port 8080"), "{warnings:?}");
}

#[test]
fn allowed_origins_as_people_write_them() {
    let check = |text: &str, expected: &[&str]| {
        let settings = with_app(&[("REVERB_ALLOWED_ORIGINS", text)]);
        assert_eq!(settings.apps[0].allowed_origins, expected, "{text:?}");
    };
    check(" a.com ,  b.com,", &["a.com", "b.com"]);
    check("\"a.com, b.com\"", &["a.com", "b.com"]);
    check(
        "https://a.com/, http://localhost:*",
        &["a.com", "localhost"],
    );
    // every origin
    for star in ["*", "a.com, *", "https://*", "*:443", "https://*:*/"] {
        check(star, &[]);
    }
}

#[test]
fn e4_values_of_client_events() {
    let check = |text: &str, expected: ClientEvents, warned: bool| {
        let settings = with_app(&[("REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM", text)]);
        assert_eq!(settings.apps[0].client_events, expected, "{text:?}");
        assert_eq!(settings.warnings.len(), usize::from(warned), "{text:?}");
    };
    check("all", ClientEvents::All, false);
    check("Members", ClientEvents::Members, false);
    check("none", ClientEvents::None, false);
    check("nobody", ClientEvents::None, true);
    check("", ClientEvents::Members, false);
    check("null", ClientEvents::Members, false);
}

#[test]
fn secrets_are_nowhere_to_be_seen() {
    let settings = with_app(&[]);
    assert!(!format!("{settings:?}").contains("hush"));
    let listed = listed(&settings, "apps.482915.secret");
    assert_eq!(listed, ("****", "environment variable REVERB_APP_SECRET"));
}
