//! Names, kinds, signatures, subscribe and unsubscribe (S-1 to S-19).
use serde_json::{Value, json};

use crate::{
    client::{Client, publish},
    helpers::{Server, answers_are_in_order, until},
    rest::request::{KEY, SECRET, hmac_hex},
};

/// One of each kind (S-3).
const KINDS: [&str; 8] = [
    "room",
    "cache-room",
    "private-room",
    "private-cache-room",
    "private-encrypted-room",
    "private-encrypted-cache-room",
    "presence-room",
    "presence-cache-room",
];

fn channel_data(channel: &str) -> Option<String> {
    channel
        .starts_with("presence-")
        .then(|| r#"{"user_id":"10"}"#.to_owned())
}

async fn channel_count(server: &Server) -> usize {
    server.channels("").await.len()
}

#[tokio::test]
async fn s1_s2_s4_names() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    for name in [
        "a",
        "-",
        "azAZ09_-=@,.;",
        "App.Models.User.1",
        "presence",
        &"a".repeat(200),
    ] {
        client.subscribe(name, None).await;
        publish(&server, name, "event", "x").await;
        client
            .expect(json!({"event": "event", "channel": name, "data": "x"}))
            .await;
    }
    let count = channel_count(&server).await;
    for name in [
        "",
        " ",
        "a b",
        "a/b",
        "a:b",
        "a#b",
        "#a",
        "ä",
        "a\u{0}",
        "a\n",
        "a*",
        "private-ä",
        "presence-a b",
        "private-encrypted-a b",
        &"a".repeat(201),
    ] {
        client.ask(name, None).await;
        let shown: String = if name.len() > 200 {
            format!("{}…", "a".repeat(200))
        } else {
            name.to_owned()
        };
        client
            .assert_not_subscribed(name, 400, &format!("Invalid channel name: {shown}"))
            .await;
    }
    assert_eq!(channel_count(&server).await, count);
}

#[tokio::test]
async fn s2_prefixes_count_and_the_limit_is_a_setting() {
    let server = Server::with("[app_defaults]\nchannel_name_chars_max = 16").await;
    let mut client = Client::connect(&server).await;
    client.subscribe("private-12345678", None).await;
    client.ask("private-123456789", None).await;
    client
        .assert_not_subscribed(
            "private-123456789",
            400,
            "Invalid channel name: private-123456789",
        )
        .await;
}

/// What is no prefix makes a public channel that asks for nothing and keeps nothing.
#[tokio::test]
async fn s3_kinds_are_decided_by_whole_prefixes() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    for name in [
        "privatefoo",
        "Private-foo",
        "PRESENCE-foo",
        "presence",
        "private",
        "foo-cache-x",
        "cacheprices",
        "xprivate-foo",
    ] {
        client
            .send(json!({"event": "pusher:subscribe", "data": {"channel": name}}))
            .await;
        client
            .expect(json!({"event": "pusher_internal:subscription_succeeded", "channel": name, "data": "{}"}))
            .await;
        assert!(client.has_nothing().await, "{name} is no cache channel");
    }
    client
        .send(json!({"event": "pusher:subscribe", "data": {"channel": "cache-private-x"}}))
        .await;
    assert_eq!(
        client.next().await["event"],
        "pusher_internal:subscription_succeeded"
    );
    assert_eq!(client.next().await["event"], "pusher:cache_miss");
}

#[tokio::test]
async fn s3_s10_s11_every_kind_is_confirmed_in_its_form() {
    let server = Server::start().await;
    for channel in KINDS {
        let mut client = Client::connect(&server).await;
        client.ask(channel, channel_data(channel).as_deref()).await;
        let data = if channel.starts_with("presence-") {
            r#"{\"presence\":{\"count\":1,\"ids\":[\"10\"],\"hash\":{\"10\":{}}}}"#
        } else {
            "{}"
        };
        assert_eq!(
            client.next_text().await,
            format!(
                r#"{{"event":"pusher_internal:subscription_succeeded","channel":"{channel}","data":"{data}"}}"#
            )
        );
        if channel.contains("cache-") {
            client
                .expect(json!({"event": "pusher:cache_miss", "channel": channel, "data": "{}"}))
                .await;
        }
        publish(&server, channel, "event", "{\"a\":1}").await;
        client
            .expect(json!({"event": "event", "channel": channel, "data": "{\"a\":1}"}))
            .await;
    }
}

#[tokio::test]
async fn s5_s17_a_wrong_signature_of_every_kind() {
    let server = Server::start().await;
    for channel in KINDS.into_iter().skip(2) {
        let data = channel_data(channel);
        let mut client = Client::connect(&server).await;
        let mut signed = format!("{}:{channel}", client.socket_id);
        if let Some(data) = &data {
            signed = format!("{signed}:{data}");
        }
        let right = hmac_hex(SECRET, &signed);
        let elsewhere = hmac_hex(SECRET, &signed.replacen('.', ".1", 1));
        let other_secret = hmac_hex("another secret", &signed);
        for signature in [
            "BADSIG",
            &elsewhere,
            &other_secret,
            &right[1..],
            &format!("{right}00"),
            "",
        ] {
            let auth = format!("{KEY}:{signature}");
            let data = json!({"channel": channel, "auth": auth, "channel_data": data});
            client
                .send(json!({"event": "pusher:subscribe", "data": data}))
                .await;
            let message = format!(
                "Invalid signature: Expected HMAC SHA256 hex digest of {signed}, but got {signature}"
            );
            client.assert_not_subscribed(channel, 401, &message).await;
        }
        // the connection is open, the channel empty once the last round's socket has left, and the right signature still good
        until("no channel", async || channel_count(&server).await == 0).await;
        client.subscribe(channel, data).await;
    }
}

#[tokio::test]
async fn s5_channel_data_is_signed_as_it_was_sent() {
    let server = Server::start().await;
    for data in [
        r#"{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#,
        r#"{"user_id": "10", "user_info": {"name": "Mr. Channels"}}"#,
        r#"{"user_id":"ü-1","user_info":{"name":"Žofie 🚀"}}"#,
        r#"{"user_id":"\u00fc-1"}"#,
        r#"{"user_id":"10","user_info":{"name":"Zo\/\u00e9"}}"#,
        "\t{ \"user_info\":{ } ,\"user_id\":\"10\" }\n",
    ] {
        let mut client = Client::connect(&server).await;
        client
            .subscribe("presence-room", Some(data.to_owned()))
            .await;
    }
}

#[tokio::test]
async fn s6_key_and_digest_in_any_case_but_the_key_must_be_ours() {
    let server = Server::start().await;
    let channel = "private-room";
    for change in [str::to_lowercase, str::to_uppercase] {
        let mut client = Client::connect(&server).await;
        let auth = change(&client.auth(channel, None));
        client
            .send(json!({"event": "pusher:subscribe", "data": {"channel": channel, "auth": auth}}))
            .await;
        let answer = client.next().await;
        assert_eq!(answer["event"], "pusher_internal:subscription_succeeded");
    }
    let mut client = Client::connect(&server).await;
    let right = client.auth(channel, None);
    let digest = right.split_once(':').unwrap().1;
    for key in ["another", "", &KEY[1..]] {
        client
            .send(json!({"event": "pusher:subscribe",
                "data": {"channel": channel, "auth": format!("{key}:{digest}")}}))
            .await;
        let message = format!("Invalid key in subscription auth data: '{key}'");
        client.assert_not_subscribed(channel, 401, &message).await;
    }
}

#[tokio::test]
async fn s7_channel_data_on_private_channels() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    let data = r#"{"any":"thing"}"#;
    for (channel, signed) in [("private-a", Some(data)), ("private-b", None)] {
        let request =
            json!({"channel": channel, "auth": client.auth(channel, signed), "channel_data": data});
        client
            .send(json!({"event": "pusher:subscribe", "data": request}))
            .await;
        client
            .expect(json!({"event": "pusher_internal:subscription_succeeded", "channel": channel, "data": "{}"}))
            .await;
    }
    for (channel, absent) in [("private-c", json!(null)), ("private-d", json!(""))] {
        let request =
            json!({"channel": channel, "auth": client.auth(channel, None), "channel_data": absent});
        client
            .send(json!({"event": "pusher:subscribe", "data": request}))
            .await;
        assert_eq!(
            client.next().await["event"],
            "pusher_internal:subscription_succeeded"
        );
    }
}

#[tokio::test]
async fn s8_auth_on_public_channels_is_ignored() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    for (n, auth) in [
        json!(""),
        json!("x"),
        json!(null),
        json!(7),
        json!({"a": []}),
    ]
    .into_iter()
    .enumerate()
    {
        let channel = format!("room-{n}");
        client
            .send(json!({"event": "pusher:subscribe", "data": {"channel": channel, "auth": auth, "channel_data": auth}}))
            .await;
        client
            .expect(json!({"event": "pusher_internal:subscription_succeeded", "channel": channel, "data": "{}"}))
            .await;
    }
}

#[tokio::test]
async fn s9_optional_fields_may_be_null_and_channel_data_is_a_string() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client
        .send(json!({"event": "pusher:subscribe", "data": {"channel": "room", "auth": null, "channel_data": null}}))
        .await;
    assert_eq!(
        client.next().await["event"],
        "pusher_internal:subscription_succeeded"
    );
    let channel = "presence-room";
    for data in [
        json!({"user_id": "10"}),
        json!(7),
        json!(["x"]),
        json!(true),
    ] {
        let auth = client.auth(channel, Some(&data.to_string()));
        client
            .send(json!({"event": "pusher:subscribe",
                "data": {"channel": channel, "auth": auth, "channel_data": data}}))
            .await;
        let message = format!("Invalid channel_data for channel {channel}");
        client.assert_not_subscribed(channel, 400, &message).await;
    }
}

#[tokio::test]
async fn s12_every_subscribe_gets_exactly_one_answer() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    // all sent before anything is read
    for n in 0..100 {
        let channel = match n % 3 {
            0 => format!("room-{n}"),
            1 => format!("private-{n}"),
            _ => format!("bad name {n}"),
        };
        client.ask(&channel, None).await;
    }
    let mut answers = Vec::new();
    for _ in 0..100 {
        let frame = client.next().await;
        let channel = frame["channel"].as_str().expect("a channel").to_owned();
        if channel.starts_with("bad") {
            assert_eq!(frame["event"], "pusher:subscription_error");
            let message = format!("Invalid channel name: {channel}");
            client.assert_error(None, &message).await;
        } else {
            assert_eq!(frame["event"], "pusher_internal:subscription_succeeded");
        }
        let (_, number) = channel.rsplit_once(['-', ' ']).expect("a number");
        answers.push(number.parse::<usize>().expect("a number"));
    }
    if !answers_are_in_order() {
        answers.sort_unstable();
    }
    assert!(answers.into_iter().eq(0..100));
    assert!(client.has_nothing().await);
}

/// Joins and leaves while events are published: what a subscriber gets is a run without gap or repetition, and none of it
/// comes before the confirmation.
#[tokio::test]
async fn s13_no_event_is_lost_doubled_or_early() {
    let server = Server::start().await;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let publisher = async {
        let mut n = 0;
        while !*stopped.borrow_and_update() {
            publish(&server, "cache-ticks", "tick", &n.to_string()).await;
            n += 1;
        }
    };
    let subscribers = async {
        futures_util::future::join_all((0..8).map(async |_| {
            let mut client = Client::connect(&server).await;
            for _ in 0..6 {
                client.subscribe("cache-ticks", None).await;
                let mut last: Option<u64> = None;
                // a few ticks each time
                while last.is_none_or(|n| n % 7 != 0) {
                    let frame = client.next().await;
                    if frame["event"] == "pusher:cache_miss" {
                        assert_eq!(last, None, "a miss comes first or not at all");
                        continue;
                    }
                    assert_eq!(frame["event"], "tick", "{frame}");
                    let n: u64 = frame["data"].as_str().unwrap().parse().unwrap();
                    assert!(last.is_none_or(|last| n == last + 1), "{n} after {last:?}");
                    last = Some(n);
                }
                client.unsubscribe("cache-ticks").await;
                // what was on its way before the server knew
                client.settle().await;
            }
        }))
        .await;
        stop.send(true).unwrap();
    };
    tokio::join!(publisher, subscribers);
}

#[tokio::test]
async fn s14_again_is_success_and_changes_nothing() {
    let server = Server::start().await;
    let mut watcher = Client::member(&server, "presence-cache-room", "1").await;
    watcher
        .expect(
            json!({"event": "pusher:cache_miss", "channel": "presence-cache-room", "data": "{}"}),
        )
        .await;
    let mut client = Client::connect(&server).await;
    let member = |id: &str| Some(json!({ "user_id": id }).to_string());
    client.subscribe("presence-cache-room", member("2")).await;
    assert_eq!(client.next().await["event"], "pusher:cache_miss");
    assert_eq!(
        watcher.next().await["event"],
        "pusher_internal:member_added"
    );
    publish(&server, "presence-cache-room", "e", "cached").await;
    let event = json!({"event": "e", "channel": "presence-cache-room", "data": "cached"});
    client.expect(event.clone()).await;
    watcher.expect(event.clone()).await;

    let again = client.subscribe("presence-cache-room", member("2")).await;
    assert_eq!(again["presence"]["count"], 2);
    client.expect(event).await;
    let (_, occupancy) = server.channels("presence-").await.remove(0);
    assert_eq!((occupancy.subscription_count, occupancy.user_count), (2, 2));

    // with a wrong signature it is refused, with another id too, and the old subscription stays
    client
        .send(json!({"event": "pusher:subscribe",
            "data": {"channel": "presence-cache-room", "auth": format!("{KEY}:x"), "channel_data": member("2")}}))
        .await;
    assert_eq!(client.next().await["event"], "pusher:subscription_error");
    assert_eq!(client.next().await["event"], "pusher:error");
    client
        .ask("presence-cache-room", member("3").as_deref())
        .await;
    client
        .assert_error(None, "Existing subscription to channel presence-cache-room")
        .await;
    publish(&server, "presence-cache-room", "e", "live").await;
    let live = json!({"event": "e", "channel": "presence-cache-room", "data": "live"});
    client.expect(live.clone()).await;
    watcher.expect(live).await;

    // one unsubscribe ends it, and nobody heard of anything else
    client.unsubscribe("presence-cache-room").await;
    let removed = watcher.next().await;
    assert_eq!(removed["event"], "pusher_internal:member_removed");
    watcher.assert_silence(&server).await;
}

#[tokio::test]
async fn s14_again_on_plain_channels() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    for _ in 0..3 {
        client.subscribe("private-room", None).await;
    }
    publish(&server, "private-room", "e", "once").await;
    client
        .expect(json!({"event": "e", "channel": "private-room", "data": "once"}))
        .await;
    client.unsubscribe("private-room").await;
    assert!(client.has_nothing().await);
    until("it is left", async || channel_count(&server).await == 0).await;
}

#[tokio::test]
async fn s15_channels_of_one_connection() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    for n in 0..1000 {
        client.ask(&format!("room-{n}"), None).await;
    }
    for _ in 0..1000 {
        assert_eq!(
            client.next().await["event"],
            "pusher_internal:subscription_succeeded"
        );
    }
    assert_eq!(channel_count(&server).await, 1000);

    // limits are settings
    let server =
        Server::with("[app_defaults]\nchannels_per_connection_max = 2\nchannels_max = 3").await;
    let mut client = Client::connect(&server).await;
    client.subscribe("a", None).await;
    client.subscribe("b", None).await;
    client.ask("c", None).await;
    let message = "The maximum of 2 channels per connection was reached";
    client.assert_not_subscribed("c", 413, message).await;
    client.subscribe("a", None).await;
    let mut other = Client::on(&server, "c").await;
    other.ask("d", None).await;
    let message = "The maximum of 3 channels of this app was reached";
    other.assert_not_subscribed("d", 413, message).await;
    client.unsubscribe("b").await;
    client.subscribe("c", None).await;
}

#[tokio::test]
async fn s16_messages_are_processed_in_order_without_waiting() {
    let server = Server::start().await;
    let mut other = Client::on(&server, "private-room").await;
    let mut client = Client::connect(&server).await;
    client.ask("private-room", None).await;
    client
        .send(json!({"event": "client-hello", "channel": "private-room", "data": 1}))
        .await;
    client.unsubscribe("private-room").await;
    client
        .send(json!({"event": "client-bye", "channel": "private-room", "data": 2}))
        .await;
    assert_eq!(
        client.next().await["event"],
        "pusher_internal:subscription_succeeded"
    );
    client
        .assert_error(
            None,
            "Cannot broadcast client event (connection not subscribed to channel private-room)",
        )
        .await;
    other
        .expect(json!({"event": "client-hello", "channel": "private-room", "data": "1"}))
        .await;
    other.assert_silence(&server).await;
}

#[tokio::test]
async fn s17_other_failures() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    let id = client.socket_id.clone();
    let no_signature = |signed: &str| {
        format!("Invalid signature: Expected HMAC SHA256 hex digest of {signed}, but got ")
    };
    let presence = "presence-room";
    for (data, channel, status, message) in [
        (
            json!({"channel": "private-x"}),
            "private-x",
            401,
            no_signature(&format!("{id}:private-x")),
        ),
        (
            json!({"channel": "private-x", "auth": ""}),
            "private-x",
            401,
            no_signature(&format!("{id}:private-x")),
        ),
        (
            json!({"channel": "private-x", "auth": null}),
            "private-x",
            401,
            no_signature(&format!("{id}:private-x")),
        ),
        (
            json!({"channel": presence, "auth": client.auth(presence, None)}),
            presence,
            401,
            format!("{presence} is a presence channel and subscription must include channel_data"),
        ),
        (
            json!({"channel": presence, "auth": client.auth(presence, Some("x")), "channel_data": "x"}),
            presence,
            400,
            format!("Invalid channel_data for channel {presence}"),
        ),
        (
            json!({"channel": "#server-to-user-1", "auth": client.auth("#server-to-user-1", None)}),
            "#server-to-user-1",
            401,
            "Invalid server-to-user channel: #server-to-user-1".to_owned(),
        ),
    ] {
        client
            .send(json!({"event": "pusher:subscribe", "data": data}))
            .await;
        client
            .assert_not_subscribed(channel, status, &message)
            .await;
    }
    assert_eq!(channel_count(&server).await, 0);
    for channel in [presence, "private-x", "#server-to-user-1"] {
        publish(&server, channel, "secret", "x").await;
    }
    client.assert_silence(&server).await;
}

#[tokio::test]
async fn s18_unsubscribe_is_never_answered() {
    let server = Server::start().await;
    let mut client = Client::on(&server, "room").await;
    for channel in ["room", "room", "never", "private-x", "a b", "", "#x"] {
        client.unsubscribe(channel).await;
    }
    assert!(client.has_nothing().await);
    until("it is left", async || channel_count(&server).await == 0).await;
    // and it may come back
    client.subscribe("room", None).await;
    assert_eq!(channel_count(&server).await, 1);
}

#[tokio::test]
async fn s19_nothing_comes_after_unsubscribing() {
    let server = Server::start().await;
    let mut stays = Client::on(&server, "room").await;
    let mut leaves = Client::on(&server, "room").await;
    leaves.subscribe("other", None).await;
    leaves.unsubscribe("room").await;
    assert!(leaves.has_nothing().await);
    publish(&server, "room", "e", "").await;
    let frame: Value = stays.next().await;
    assert_eq!(frame["event"], "e");
    leaves.assert_silence(&server).await;
    publish(&server, "other", "e", "").await;
    assert_eq!(leaves.next().await["channel"], "other");
}
