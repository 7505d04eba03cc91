//! Webhooks of an app in a settings file.

use super::*;
use crate::apps::webhook::EventType;

const WEBHOOKS: &str = "
    [[apps]]
    id = 7
    key = 'k'
    secret = 'hush'
    [[apps.webhooks]]
    url = 'https://me:hush@example.com:8443/hook?token=hush'
    event_types = ['channel_occupied', 'channel_vacated']
    channel_name_starts_with = 'presence-'
    channel_name_ends_with = '-1'
    [apps.webhooks.headers]
    Authorization = 'Bearer hush'
    X-Tenant = 'hush'
    [[apps.webhooks]]
    url = 'http://example.com'
    [[apps]]
    id = 8
    key = 'l'
    secret = 'hush'
";

#[test]
fn w13_webhooks_of_an_app() {
    let settings = from_toml(WEBHOOKS).expect("settings");
    let [first, second] = &settings.apps[0].webhooks[..] else {
        panic!("two webhooks")
    };
    assert!(settings.apps[1].webhooks.is_empty());
    let password = first.url.password();
    assert_eq!(
        (password, first.url.query()),
        (Some("hush"), Some("token=hush"))
    );
    let header = |name: &str| first.headers.get(name).and_then(|text| text.to_str().ok());
    assert_eq!(header("authorization"), Some("Bearer hush"));
    assert_eq!(header("x-tenant"), Some("hush"));
    assert!(first.event_types.contains(EventType::ChannelVacated));
    assert!(!first.event_types.contains(EventType::MemberAdded));
    assert_eq!(first.channel_name_starts_with, "presence-");
    assert_eq!(first.channel_name_ends_with, "-1");
    assert!(
        EventType::ALL
            .into_iter()
            .all(|kind| second.event_types.contains(kind))
    );
    assert!(second.headers.is_empty());
    assert_eq!(second.url.as_str(), "http://example.com/");
}

#[test]
fn w13_secrets_of_webhooks_are_nowhere_to_be_seen() {
    let settings = from_toml(WEBHOOKS).expect("settings");
    assert!(!format!("{settings:?}").contains("hush"));
    let check = |key: &str, value: &str| {
        let listed = listed(&settings, key);
        assert_eq!(listed, (value, "the given text"), "{key}");
    };
    check("apps.7.webhooks.1.url", "\"https://example.com:8443/hook\"");
    let headers = listed(&settings, "apps.7.webhooks.1.headers").0;
    assert_eq!(
        headers.to_lowercase(),
        "{ \"authorization\" = \"****\", \"x-tenant\" = \"****\" }"
    );
    check("apps.7.webhooks.1.channel_name_ends_with", "\"-1\"");
    check("apps.7.webhooks.2.url", "\"http://example.com/\"");
}

#[test]
fn w13_wrong_webhooks_are_refused() {
    let app = |rest: &str| format!("[[apps]]\nid = 7\nkey = 'k'\nsecret = 's'\n{rest}\n");
    let check_app = |rest: &str, expected: &str| {
        let sentence = refusal(from_toml(&app(rest)));
        assert!(sentence.contains(expected), "{rest}: {sentence}");
        assert!(!sentence.contains("hush"), "{rest}: {sentence}");
    };
    let check = |webhook: &str, expected: &str| {
        check_app(&format!("[[apps.webhooks]]\n{webhook}"), expected);
    };
    let url = |rest: &str| format!("url = 'https://example.com'\n{rest}");
    check("", "url of webhook 1 of app 7 is missing");
    check(
        "event_types = []",
        "url of webhook 1 of app 7 is missing in the given text",
    );
    check(
        "url = 3",
        "url of webhook 1 of app 7 is 3 in the given text",
    );
    check(
        "url = ''",
        "url of webhook 1 of app 7 is not a URL in the given text; it must be a URL such as",
    );
    check("url = 'example.com/hush'", "is not a URL");
    check("url = 'http://'", "is not a URL");
    check("url = 'http://[::1/hush'", "is not a URL");
    check("url = 'mailto:hush@example.com'", "is not a URL");
    check("url = 'ftp://hush@example.com'", "is ftp://example.com/ in");
    check("url = 'file:///hush'", "url of webhook 1");
    for private in [
        "http://127.0.0.1:8000/x?hush",
        "http://hush@localhost",
        "https://10.1.2.3",
        "http://[::1]:80",
        "http://[fd00::1]",
        "http://169.254.169.254",
        "http://0x7f000001",
        "http://[::ffff:192.168.0.1]",
    ] {
        check(
            &format!("url = '{private}'"),
            "it must be on the public internet unless webhook.allow_private_targets is true",
        );
    }
    check(
        &url("event_type = []"),
        "event_type of [[apps.webhooks]] in the given text is not a setting; the nearest is event_types",
    );
    check(
        &url("event_types = ['channel_ocupied']"),
        "it must be \"channel_occupied\", or another of",
    );
    check(
        &url("event_types = ['qqq']"),
        "it must be a list out of channel_occupied, channel_vacated",
    );
    check(
        &url("event_types = 3"),
        "event_types of webhook 1 of app 7 is 3",
    );
    check(
        &url("event_types = [3]"),
        "event_types of webhook 1 of app 7 is [3]",
    );
    check(
        &url("channel_name_starts_with = 3"),
        "channel_name_starts_with of webhook 1 of app 7 is 3",
    );
    check(
        &url("channel_name_ends_with = []"),
        "channel_name_ends_with of webhook 1",
    );
    check(
        &url("headers = 'hush'"),
        "headers of webhook 1 of app 7 is something else",
    );
    check(
        &url("headers = { 'a b' = 'hush' }"),
        "headers of webhook 1 of app 7 is \"a b\"",
    );
    check(&url("headers = { A = 3 }"), "not usable at");
    check(&url("headers = { A = \"hush\\nhush\" }"), "not usable at");
    check(
        &url("headers = { 'Content-Type' = 'hush' }"),
        "it must be without connection, ",
    );
    check(
        &url("headers = { 'x-pusher-KEY' = 'hush' }"),
        "it must be without connection, ",
    );

    for wrong in [
        "webhooks = 'hush'",
        "webhooks = ['hush']",
        "[apps.webhooks]\nurl = 'hush'",
    ] {
        check_app(wrong, "each written [[apps.webhooks]]");
    }
    let private = app("webhooks = [{ url = 'http://127.0.0.1' }]");
    let allowed = from_toml(&format!(
        "[webhook]\nallow_private_targets = true\n{private}"
    ));
    assert_eq!(allowed.expect("allowed").apps[0].webhooks.len(), 1);
}
