//! Webhooks of an app.

use super::*;

const WEBHOOKS: &str = r#"[
    {"url": "https://user:hush@example.com/a?token=hush", "event_types": ["channel_occupied", "cache_miss"],
     "headers": {"X-Custom": "hush", "X-Number": 5, "Content-Type": "text/plain"},
     "filter": {"channel_name_starts_with": "private-", "channel_name_ends_with": ".1", "more": 1}},
    {"url": "http://laravel.test/hook", "event_types": ["client_event"]},
    {"lambda_function": "notify", "lambda": {"region": "eu-west-1"}, "event_types": ["client_event"]},
    {"url": "https://example.com/b", "event_types": []},
    {"url": "https://example.com/c", "event_types": ["channel_painted"]}
]"#;

#[test]
fn webhooks_of_an_app() {
    let webhooks = [("SOKETI_DEFAULT_APP_WEBHOOKS", WEBHOOKS)];
    let settings = settings_of(&[&APP[..], &webhooks].concat(), None).expect("settings");
    let [first, second] = &settings.apps[0].webhooks[..] else {
        panic!("two webhooks")
    };
    assert_eq!(first.url.host_str(), Some("example.com"));
    assert_eq!(first.headers.len(), 2);
    assert_eq!(first.headers["x-number"], "5");
    assert_eq!(first.channel_name_starts_with, "private-");
    assert_eq!(first.channel_name_ends_with, ".1");
    assert_eq!(second.url.as_str(), "http://laravel.test/hook");
    assert!(settings.webhook.allow_private_targets);
    let warnings = settings.warnings.join("\n");
    for part in [
        "webhook 1 in SOKETI_DEFAULT_APP_WEBHOOKS has the header Content-Type",
        "webhook 1 in SOKETI_DEFAULT_APP_WEBHOOKS has filter.more",
        "webhook 3 in SOKETI_DEFAULT_APP_WEBHOOKS is left out: Lambda",
        "webhook 4 in SOKETI_DEFAULT_APP_WEBHOOKS is left out",
        "webhook 5 in SOKETI_DEFAULT_APP_WEBHOOKS has the event type \"channel_painted\"",
        "webhook 5 in SOKETI_DEFAULT_APP_WEBHOOKS is left out",
    ] {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
    assert_eq!(settings.warnings.len(), 6, "{warnings}");
    let all = format!("{:?}{:?}{warnings}", settings.apps, settings.listing);
    assert!(!all.contains("hush"), "{all}");
}
