//! Who wins, and where soketi's own defaults hold.

use super::*;
use crate::apps::ClientEvents;

#[test]
fn who_wins() {
    let check = |pairs: &[(&str, &str)], file: &str, port: u16| {
        let settings = settings_of(&[&APP[..], pairs].concat(), Some(file));
        assert_eq!(settings.expect("settings").server.port, port, "{pairs:?}");
    };
    check(&[], "{}", 6001);
    check(&[], "{\"port\": 7001}", 7001);
    check(&[("SOKETI_PORT", "7002")], "{\"port\": 7001}", 7002);
    let reverb = ("REVERB_SERVER_PORT", "7003");
    check(&[("SOKETI_PORT", "7002"), reverb], "{}", 7003);
    let ours = ("RESOUND_SERVER_PORT", "7004");
    check(&[("SOKETI_PORT", "7002"), reverb, ours], "{}", 7004);
}

#[test]
fn soketis_defaults_hold_for_who_has_nothing_else() {
    let settings = settings_of(&APP, None).expect("settings");
    assert_eq!(settings.server.port, 6001);
    assert_eq!(settings.server.host.to_string(), "0.0.0.0");
    assert_eq!(settings.warnings, Vec::<String>::new());
    let app = &settings.apps[0];
    assert_eq!(app.client_events, ClientEvents::None);
    assert_eq!(app.limits.event_data_bytes_max, 102_400);
    assert_eq!(app.limits.cache_ttl_s, 3_600);
    assert!(!settings.webhook.allow_private_targets);

    let reverb = [
        ("REVERB_APP_ID", "1"),
        ("REVERB_APP_KEY", "k"),
        ("REVERB_APP_SECRET", "s"),
    ];
    let both = settings_of(&[&APP[..], &reverb].concat(), None).expect("settings");
    assert_eq!(both.apps.len(), 2);
    assert_eq!(both.server.port, 8080);
    assert_eq!(both.apps[0].client_events, ClientEvents::Members);

    // the pusher driver is what an app that uses soketi has
    let pusher = [
        ("PUSHER_APP_ID", "482915"),
        ("PUSHER_APP_KEY", "k3y"),
        ("PUSHER_APP_SECRET", "hush"),
    ];
    let both = settings_of(&[&APP[..], &pusher].concat(), None).expect("settings");
    assert_eq!((both.apps.len(), both.server.port), (1, 6001));
    let only_pusher = settings_of(&pusher, None).expect("settings");
    assert_eq!(only_pusher.server.port, 8080);
    // what is said of soketi's app holds for the one there is
    let messages = [("SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES", "true")];
    let both = settings_of(&[&pusher[..], &messages].concat(), None).expect("settings");
    assert_eq!(both.apps[0].client_events, ClientEvents::Members);
}

#[test]
fn the_stock_service_of_sail_works() {
    let settings = settings_of(
        &[
            ("SOKETI_DEBUG", "1"),
            ("SOKETI_METRICS_SERVER_PORT", "9601"),
            ("SOKETI_DEFAULT_APP_ID", "app-id"),
            ("SOKETI_DEFAULT_APP_KEY", "app-key"),
            ("SOKETI_DEFAULT_APP_SECRET", "not the published one"),
        ],
        None,
    )
    .expect("settings");
    assert_eq!(settings.server.port, 6001);
    assert_eq!(settings.server.host.to_string(), "0.0.0.0");
    assert_eq!(settings.log.level, "debug");
    if is_known("admin.port") {
        assert_eq!(settings.warnings, Vec::<String>::new());
    }
}
