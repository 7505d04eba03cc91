//! Limits: defaults, the preset, and what other settings make of them.

use super::*;

#[test]
fn appendix_b_defaults() {
    let settings = from_variables(&[]).expect("defaults");
    let limits = &settings.apps[0].limits;
    assert_eq!(limits.channel_name_chars_max, 200);
    assert_eq!(limits.event_name_chars_max, 200);
    assert_eq!(limits.event_data_bytes_max, 10_240);
    assert_eq!(limits.channels_per_event_max, 100);
    assert_eq!(limits.batch_events_max, 10);
    assert_eq!(limits.message_bytes_max, 65_536);
    assert_eq!(limits.client_event_data_bytes_max, 10_240);
    assert_eq!(limits.client_events_per_s, None);
    assert_eq!(limits.message_rate, None);
    assert_eq!(limits.presence_members_max, None);
    assert_eq!(limits.presence_user_id_chars_max, 128);
    assert_eq!(limits.presence_user_info_bytes_max, 10_240);
    assert_eq!(limits.connections_max, None);
    assert_eq!(limits.cache_ttl_s, 1_800);
    assert_eq!(limits.timestamp_window_s, 600);
}

#[test]
fn appendix_b_preset_hosted_lies_between_defaults_and_explicit_settings() {
    let settings = with_app(&[
        ("RESOUND_APP_DEFAULTS_PRESET", "hosted"),
        ("RESOUND_APP_DEFAULTS_PRESENCE_MEMBERS_MAX", "500"),
    ]);
    let limits = &settings.apps[0].limits;
    assert_eq!(limits.channel_name_chars_max, 164);
    assert_eq!(limits.client_events_per_s, Some(10));
    assert_eq!(limits.presence_members_max, Some(500));
    assert_eq!(limits.presence_user_info_bytes_max, 1_024);
    let listed = listed(&settings, "app_defaults.channel_name_chars_max");
    assert_eq!(listed, ("164", "the preset hosted"));

    let text = "
        [app_defaults]
        presence_members_max = 7
        [[apps]]
        id = 1
        key = 'a'
        secret = 's'
        preset = 'hosted'
        client_events_per_s = 3
        [[apps]]
        id = 2
        key = 'b'
        secret = 's'
    ";
    let settings = from_toml(text).expect("two apps");
    let limits = |index: usize| &settings.apps[index].limits;
    assert_eq!(limits(0).presence_members_max, Some(100));
    assert_eq!(limits(0).client_events_per_s, Some(3));
    assert_eq!(limits(1).presence_members_max, Some(7));
    assert_eq!(limits(1).channel_name_chars_max, 200);
}

#[test]
fn c25_the_default_message_size_holds_the_largest_client_event() {
    let limits = &from_variables(&[]).expect("defaults").apps[0].limits;
    assert!(limits.message_bytes_max >= limits.client_event_data_bytes_max * 6 + 4_096);
}

#[test]
fn limits_of_addresses_are_generous_and_0_switches_them_off() {
    let limits = from_variables(&[]).expect("defaults").limits;
    assert_eq!(limits.connections_per_address, Some(10_000));
    assert_eq!(limits.handshakes_per_s_per_address, Some(500));
    // after a break everybody behind an address comes back at once
    assert_eq!(
        Some(limits.handshake_burst_per_address),
        limits.connections_per_address
    );
    assert_eq!(limits.auth_failures_per_min_per_address, Some(6_000));
    assert_eq!(limits.signature_failures_per_min_per_address, Some(6_000));
    let off = from_variables(&[
        ("RESOUND_LIMITS_CONNECTIONS_PER_ADDRESS", "0"),
        ("RESOUND_LIMITS_HANDSHAKES_PER_S_PER_ADDRESS", "0"),
    ]);
    let off = off.expect("settings").limits;
    assert_eq!(off.connections_per_address, None);
    assert_eq!(off.handshakes_per_s_per_address, None);
    let refused = from_variables(&[("RESOUND_LIMITS_ADDRESSES_MAX", "0")]);
    assert_eq!(
        refusal(refused),
        "limits.addresses_max is \"0\" in environment variable RESOUND_LIMITS_ADDRESSES_MAX; it must be a whole number from 64 to 100000000"
    );
}

#[test]
fn reverb_max_request_size_lets_larger_events_through() {
    let check = |size: &str, explicit: &[(&str, &str)], request: usize, event: usize| {
        let pairs = [&[("REVERB_MAX_REQUEST_SIZE", size)], explicit].concat();
        let settings = with_app(&pairs);
        assert_eq!(settings.server.request_bytes_max, request, "{size}");
        let limits = &settings.apps[0].limits;
        assert_eq!(limits.event_data_bytes_max, event, "{size} {explicit:?}");
    };
    let event_variable = "RESOUND_APP_DEFAULTS_EVENT_DATA_BYTES_MAX";
    check("10000", &[], 10_000, 10_240);
    check("200000", &[], 200_000, 200_000);
    check("200000", &[(event_variable, "50")], 200_000, 50);
}
