//! Webhooks as an app's server sees them, over real connections, and what bad servers can't do to us.
mod receiver;

use receiver::{Answer, PATIENCE, Receiver};
use resound::{
    apps::Apps,
    config::{self, Settings},
    protocol::{channel::ChannelName, event::EventData, signature::Secret, socket_id::SocketId},
    webhook::{Counters, Event, Webhooks},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

const KEY: &str = "278d425bdf160c739803";
const SECRET: &str = "7ad3773142a6692b25b8";

/// Short times, so that a failure is over soon.
const QUICK: &str = "retry_delay_ms = 2\nretry_delay_max_ms = 20\nremoval_delay_ms = 100";

/// Settings of one app. `webhook`: lines of `[webhook]`; `endpoints`: entries of the app's `webhooks`.
fn settings(webhook: &str, endpoints: &[String]) -> Settings {
    let text = format!(
        "[webhook]\nallow_private_targets = true\n{webhook}\n
        [[apps]]\nid = '3'\nkey = '{KEY}'\nsecret = '{SECRET}'\nwebhooks = [{}]",
        endpoints.join(", ")
    );
    config::from_toml(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn endpoint(url: &str) -> String {
    format!("{{ url = '{url}' }}")
}

fn start(settings: &Settings) -> Webhooks {
    Webhooks::start(&settings.webhook, &Apps::new(settings.apps.clone()))
}

/// One endpoint, quick.
fn webhooks(receiver: &Receiver) -> Webhooks {
    start(&settings(QUICK, &[endpoint(&receiver.url())]))
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name, 200).expect(name)
}

fn occupied(name: &str) -> Event {
    let channel = channel(name);
    Event::ChannelOccupied { channel }
}

fn vacated(name: &str) -> Event {
    let channel = channel(name);
    Event::ChannelVacated { channel }
}

fn count(name: &str, count: u32) -> Event {
    let channel = channel(name);
    Event::SubscriptionCount { channel, count }
}

fn raise_counts(webhooks: &Webhooks, name: &str, to: u32) -> Vec<String> {
    for number in 1..=to {
        webhooks.raise_for(0, count(name, number));
    }
    let expected = (1..=to).map(|number| format!("subscription_count {name} {number}"));
    expected.collect()
}

fn counter(webhooks: &Webhooks, which: fn(&Counters) -> &AtomicU64) -> u64 {
    let counters = webhooks.counters().expect("endpoints");
    which(counters).load(Ordering::Relaxed)
}

/// Waits until a condition holds; there is nothing to be woken by.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, met).await;
    in_time.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn all_done(webhooks: &Webhooks) {
    until("nothing pending", || webhooks.pending() == 0).await;
}

#[tokio::test]
async fn w1_w2_w3_the_request_on_the_wire() {
    let mut receiver = Receiver::start([]).await;
    let url = format!("http://me:pass@{}/hook?token=1", receiver.address);
    let headers = "headers = { 'X-Tenant' = 'a', 'Accept' = 'b/c' }";
    let settings = settings(QUICK, &[format!("{{ url = '{url}', {headers} }}")]);
    let webhooks = start(&settings);
    webhooks.raise(
        &settings.apps[0],
        Event::ClientEvent {
            channel: channel("presence-lobby"),
            event: "client-typing".to_owned(),
            data: EventData::from_text("{\"on\":true}"),
            socket_id: SocketId::new(1234, 5678),
            user_id: Some("10".into()),
        },
    );
    let request = receiver.next().await;
    assert!(request.head.starts_with("POST /hook?token=1 HTTP/1.1\r\n"));
    assert_eq!(request.header("Content-Type"), Some("application/json"));
    assert_eq!(request.header("X-Pusher-Key"), Some(KEY));
    let signature = Secret::new(SECRET).sign(request.body.as_bytes());
    assert_eq!(
        request.header("X-Pusher-Signature"),
        Some(signature.as_str())
    );
    assert_eq!(request.header("X-Tenant"), Some("a"));
    assert_eq!(request.header("Accept"), Some("b/c"));
    assert_eq!(request.header("Authorization"), Some("Basic bWU6cGFzcw=="));
    assert_eq!(
        request.header("Host"),
        Some(receiver.address.to_string().as_str())
    );
    let time_ms = request.json()["time_ms"].as_u64().expect("an integer");
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    assert!(u128::from(time_ms).abs_diff(now.as_millis()) < 10_000);
    let rest = r#""events":[{"name":"client_event","channel":"presence-lobby","event":"client-typing","data":"{\"on\":true}","socket_id":"1234.5678","user_id":"10"}]}"#;
    assert_eq!(request.body, format!("{{\"time_ms\":{time_ms},{rest}"));
}

#[tokio::test]
async fn connections_are_used_again() {
    let mut receiver = Receiver::start([Answer::Status(500)]).await;
    let webhooks = webhooks(&receiver);
    raise_counts(&webhooks, "room", 5);
    for _ in 0..6 {
        assert_eq!(receiver.next().await.connection, 0);
    }
}

#[tokio::test]
async fn w9_failures_are_repeated_with_the_same_bytes_and_in_order() {
    let answers = [
        Answer::Status(500),
        Answer::Status(404),
        Answer::Close,
        Answer::Status(200),
        Answer::Rubbish,
        Answer::Status(302),
        Answer::Status(204),
    ];
    let mut receiver = Receiver::start(answers).await;
    let webhooks = webhooks(&receiver);
    raise_counts(&webhooks, "room", 3);
    let mut requests = Vec::new();
    for _ in 0..8 {
        requests.push(receiver.next().await);
    }
    let numbers: Vec<String> = requests.iter().flat_map(|r| r.events()).collect();
    let number = |n: u32| format!("subscription_count room {n}");
    let expected = [1, 1, 1, 1, 2, 2, 2, 3].map(number);
    assert_eq!(numbers, expected);
    for pair in [(0, 1), (0, 3), (4, 6)] {
        let (first, again) = (&requests[pair.0], &requests[pair.1]);
        assert_eq!((&first.head, &first.body), (&again.head, &again.body));
    }
    all_done(&webhooks).await;
    assert!(receiver.is_silent());
    assert_eq!(counter(&webhooks, |c| &c.delivered), 3);
    assert_eq!(counter(&webhooks, |c| &c.requests_ok), 3);
    assert_eq!(counter(&webhooks, |c| &c.requests_failed), 5);
    assert_eq!(counter(&webhooks, |c| &c.given_up), 0);
}

#[tokio::test]
async fn w9_after_an_outage_everything_arrives_in_order() {
    let gone = Receiver::start([]).await;
    let (address, url) = (gone.address, gone.url());
    drop(gone);
    let webhooks = start(&settings(QUICK, &[endpoint(&url)]));
    let expected = raise_counts(&webhooks, "room", 50);
    until("failures", || {
        counter(&webhooks, |c| &c.requests_failed) > 3
    })
    .await;
    assert_eq!(webhooks.pending(), 50);
    let mut back = Receiver::start_at(address, []).await;
    assert_eq!(back.events(50).await, expected);
    all_done(&webhooks).await;
    assert_eq!(counter(&webhooks, |c| &c.delivered), 50);
}

#[tokio::test]
async fn w10_channels_keep_their_order_whatever_fails() {
    let failing = |number| match number % 3 {
        0 => Answer::Status(503),
        1 => Answer::Close,
        _ => Answer::Status(200),
    };
    let mut receiver = Receiver::start((0..90).map(failing)).await;
    let webhooks = webhooks(&receiver);
    let names: Vec<String> = (0..20).map(|number| format!("room-{number}")).collect();
    for number in 1..=10 {
        for name in &names {
            webhooks.raise_for(0, count(name, number));
        }
    }
    all_done(&webhooks).await;
    let mut seen = Vec::new();
    while let Ok(request) = tokio::time::timeout(Duration::ZERO, receiver.next()).await {
        seen.extend(request.events());
    }
    for name in &names {
        let of_channel = format!("subscription_count {name} ");
        let mut numbers: Vec<u32> = seen
            .iter()
            .filter_map(|event| event.strip_prefix(&of_channel)?.parse().ok())
            .collect();
        assert!(numbers.is_sorted(), "{name}: {numbers:?}");
        numbers.dedup();
        assert_eq!(numbers, (1..=10).collect::<Vec<u32>>(), "{name}");
    }
    assert_eq!(counter(&webhooks, |c| &c.delivered), 200);
}

#[tokio::test]
async fn w9_after_its_time_an_event_is_given_up() {
    let mut receiver = Receiver::start([Answer::Status(500)]).await;
    let webhooks = start(&settings(
        "retry_window_s = 0",
        &[endpoint(&receiver.url())],
    ));
    let expected = raise_counts(&webhooks, "room", 3);
    assert_eq!(receiver.events(3).await, expected);
    all_done(&webhooks).await;
    assert_eq!(counter(&webhooks, |c| &c.given_up), 1);
    assert_eq!(counter(&webhooks, |c| &c.delivered), 2);
}

#[tokio::test]
async fn w4_a_hanging_receiver_costs_the_timeout() {
    for answer in [Answer::Hang, Answer::EndlessHead] {
        let mut receiver = Receiver::start([answer.clone()]).await;
        let webhook = format!("{QUICK}\ntimeout_ms = 150");
        let webhooks = start(&settings(&webhook, &[endpoint(&receiver.url())]));
        let expected = raise_counts(&webhooks, "room", 2);
        let events = receiver.events(3).await;
        assert_eq!((&events[0], &events[1..]), (&expected[0], &expected[..]));
        assert_eq!(counter(&webhooks, |c| &c.requests_failed), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn w4_bodies_of_answers_mean_nothing() {
    for answer in [
        Answer::LyingLength,
        Answer::EndlessBody,
        Answer::DrippingBody,
    ] {
        let mut receiver = Receiver::start([answer.clone()]).await;
        let webhooks = webhooks(&receiver);
        let expected = raise_counts(&webhooks, "room", 2);
        assert_eq!(receiver.events(2).await, expected, "{answer:?}");
        all_done(&webhooks).await;
        assert_eq!(counter(&webhooks, |c| &c.requests_failed), 0, "{answer:?}");
        assert_eq!(counter(&webhooks, |c| &c.delivered), 2, "{answer:?}");
    }
}

#[tokio::test]
async fn w4_redirects_are_failures_and_not_followed() {
    let mut elsewhere = Receiver::start([]).await;
    let mut receiver = Receiver::start([Answer::Redirect(elsewhere.url())]).await;
    let webhooks = webhooks(&receiver);
    webhooks.raise_for(0, occupied("room"));
    receiver.events(2).await;
    all_done(&webhooks).await;
    assert_eq!(counter(&webhooks, |c| &c.requests_failed), 1);
    assert!(elsewhere.is_silent());
}

#[tokio::test]
async fn what_waits_is_bounded_and_the_rest_counted() {
    let mut receiver = Receiver::start(vec![Answer::Hang; 100]).await;
    let webhook = "queue_events_max = 16\nrequests_max = 1";
    let webhooks = start(&settings(webhook, &[endpoint(&receiver.url())]));
    // the tasks only run while the test waits, so the inlet takes 16
    raise_counts(&webhooks, "room", 100);
    assert_eq!(webhooks.pending(), 16);
    assert_eq!(counter(&webhooks, |c| &c.dropped), 84);
    receiver.next().await;
    assert_eq!(webhooks.pending(), 16);
    // now the endpoint's queue is full
    raise_counts(&webhooks, "room", 10);
    until("dropped", || counter(&webhooks, |c| &c.dropped) == 94).await;
    assert_eq!(webhooks.pending(), 16);
}

#[tokio::test]
async fn what_waits_is_bounded_in_bytes_too() {
    let receiver = Receiver::start(vec![Answer::Hang; 100]).await;
    let webhooks = start(&settings(
        "queue_bytes_max = 65536",
        &[endpoint(&receiver.url())],
    ));
    for _ in 0..100 {
        webhooks.raise_for(
            0,
            Event::ClientEvent {
                channel: channel("private-a"),
                event: "client-a".to_owned(),
                data: EventData::from_text(&"x".repeat(10_000)),
                socket_id: SocketId::new(1, 1),
                user_id: None,
            },
        );
    }
    assert_eq!(webhooks.pending(), 6);
    assert_eq!(counter(&webhooks, |c| &c.dropped), 94);
}

#[tokio::test]
async fn a_failing_endpoint_does_not_hold_up_the_others() {
    let mut stuck = Receiver::start(vec![Answer::Hang; 10]).await;
    let mut well = Receiver::start([]).await;
    let endpoints = [endpoint(&stuck.url()), endpoint(&well.url())];
    let webhooks = start(&settings(QUICK, &endpoints));
    let expected = raise_counts(&webhooks, "room", 100);
    assert_eq!(well.events(100).await, expected);
    assert_eq!(stuck.events(1).await, expected[..1]);
    until("the good one done", || webhooks.pending() == 100).await;
    assert_eq!(counter(&webhooks, |c| &c.delivered), 100);
}

#[tokio::test]
async fn w13_each_endpoint_gets_what_it_asks_for() {
    let mut presence = Receiver::start([]).await;
    let mut ends = Receiver::start([]).await;
    let endpoints = [
        format!(
            "{{ url = '{}', event_types = ['channel_occupied'], channel_name_starts_with = 'presence-' }}",
            presence.url()
        ),
        format!(
            "{{ url = '{}', channel_name_ends_with = '-1' }}",
            ends.url()
        ),
    ];
    let webhook = format!("{QUICK}\nbatching = true");
    let webhooks = start(&settings(&webhook, &endpoints));
    for event in [
        occupied("presence-a"),
        count("presence-a", 1),
        occupied("a-1"),
        count("a-1", 3),
        occupied("presence-b-1"),
        occupied("#server-to-user-1"),
    ] {
        webhooks.raise_for(0, event);
    }
    let request = presence.next().await;
    let expected = [
        "channel_occupied presence-a",
        "channel_occupied presence-b-1",
    ];
    assert_eq!(request.events(), expected);
    let signature = Secret::new(SECRET).sign(request.body.as_bytes());
    assert_eq!(
        request.header("X-Pusher-Signature"),
        Some(signature.as_str())
    );
    let expected = [
        "channel_occupied a-1",
        "subscription_count a-1 3",
        "channel_occupied presence-b-1",
    ];
    assert_eq!(ends.next().await.events(), expected);
    all_done(&webhooks).await;
    assert!(presence.is_silent() && ends.is_silent());
}

#[tokio::test]
async fn w12_batches_have_a_limit() {
    let mut receiver = Receiver::start([Answer::Status(500)]).await;
    let webhook = format!("{QUICK}\nbatching = true\nbatch_events_max = 4\nbatch_ms = 20");
    let webhooks = start(&settings(&webhook, &[endpoint(&receiver.url())]));
    let expected = raise_counts(&webhooks, "room", 10);
    let mut sizes = Vec::new();
    let mut events = Vec::new();
    while events.len() < 14 {
        let request = receiver.next().await.events();
        sizes.push(request.len());
        events.extend(request);
    }
    assert_eq!(sizes, [4, 4, 4, 2]);
    assert_eq!(events[..4], expected[..4]);
    assert_eq!(events[4..], expected);
}

#[tokio::test]
async fn w12_what_waits_behind_a_failure_goes_in_one_batch() {
    let mut receiver = Receiver::start([Answer::Status(500)]).await;
    let webhook = "retry_delay_ms = 200\nbatching = true\nbatch_ms = 1";
    let webhooks = start(&settings(webhook, &[endpoint(&receiver.url())]));
    webhooks.raise_for(0, occupied("room"));
    receiver.next().await;
    let expected = raise_counts(&webhooks, "room", 20);
    assert_eq!(receiver.next().await.events(), ["channel_occupied room"]);
    assert_eq!(receiver.next().await.events(), expected);
}

#[tokio::test]
async fn w11_a_fast_return_is_not_told() {
    let mut receiver = Receiver::start([]).await;
    let webhooks = webhooks(&receiver);
    webhooks.raise_for(0, vacated("room"));
    webhooks.raise_for(0, vacated("other"));
    webhooks.raise_for(0, occupied("room"));
    assert_eq!(receiver.events(1).await, ["channel_vacated other"]);
    all_done(&webhooks).await;
    assert!(receiver.is_silent());
}

#[tokio::test]
async fn w11_an_endpoint_that_wants_only_occupied_is_not_told_of_a_return() {
    let mut receiver = Receiver::start([]).await;
    let only = format!(
        "{{ url = '{}', event_types = ['channel_occupied'] }}",
        receiver.url()
    );
    let webhooks = start(&settings(QUICK, &[only]));
    webhooks.raise_for(0, vacated("room"));
    webhooks.raise_for(0, occupied("room"));
    webhooks.raise_for(0, occupied("other"));
    assert_eq!(receiver.events(1).await, ["channel_occupied other"]);
    all_done(&webhooks).await;
    assert!(receiver.is_silent());
}

#[tokio::test]
async fn private_targets_are_refused_where_the_connection_is_made() {
    let mut receiver = Receiver::start([]).await;
    let port = receiver.address.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let url = format!("http://{host}:{port}/");
        let mut settings = settings("retry_window_s = 0", &[endpoint(&url)]);
        // as if the name had passed at the start and leads here now
        settings.webhook.allow_private_targets = false;
        let webhooks = start(&settings);
        webhooks.raise_for(0, occupied("room"));
        all_done(&webhooks).await;
        assert_eq!(counter(&webhooks, |c| &c.given_up), 1, "{host}");
    }
    assert!(receiver.is_silent());
}

#[tokio::test]
async fn tls_that_is_none_is_a_failure_like_others() {
    let receiver = Receiver::start([]).await;
    let SocketAddr::V4(address) = receiver.address else {
        panic!("IPv4")
    };
    let url = format!("https://{address}/");
    // our hello is no request to the receiver, so it says nothing
    let webhooks = start(&settings(
        "retry_window_s = 0\ntimeout_ms = 100",
        &[endpoint(&url)],
    ));
    webhooks.raise_for(0, occupied("room"));
    all_done(&webhooks).await;
    assert_eq!(counter(&webhooks, |c| &c.given_up), 1);
}

#[tokio::test]
async fn at_a_stop_what_is_held_goes_out() {
    let mut receiver = Receiver::start([Answer::Status(500)]).await;
    let webhook = "removal_delay_ms = 60000\nretry_delay_ms = 2";
    let webhooks = start(&settings(webhook, &[endpoint(&receiver.url())]));
    webhooks.raise_for(0, vacated("room"));
    webhooks.raise_for(0, vacated("other"));
    webhooks.flush(PATIENCE).await;
    assert_eq!(counter(&webhooks, |c| &c.delivered), 2);
    assert_eq!(receiver.events(3).await.len(), 3);
    // afterwards nothing happens any more
    webhooks.raise_for(0, occupied("room"));
    webhooks.flush(PATIENCE).await;
    assert!(receiver.is_silent());
}

#[tokio::test]
async fn at_a_stop_patience_ends() {
    let receiver = Receiver::start(vec![Answer::Hang; 10]).await;
    let webhooks = webhooks(&receiver);
    raise_counts(&webhooks, "room", 5);
    webhooks.flush(Duration::from_millis(50)).await;
    assert_eq!(counter(&webhooks, |c| &c.delivered), 0);
    assert_eq!(counter(&webhooks, |c| &c.given_up), 5);
}

#[tokio::test]
async fn apps_without_endpoints_raise_nothing() {
    let settings = settings("", &[]);
    let webhooks = start(&settings);
    assert!(!webhooks.is_wanted(&settings.apps[0]));
    webhooks.raise_for(0, occupied("room"));
    webhooks.raise_for(77, occupied("room"));
    assert_eq!(webhooks.pending(), 0);
    webhooks.flush(PATIENCE).await;
}

#[tokio::test]
async fn a_reload_replaces_endpoints_between_two_events_and_keeps_those_that_stay() {
    let (mut stays, mut gone, mut new) = (
        Receiver::start([Answer::Status(500)]).await,
        Receiver::start([Answer::Status(500)]).await,
        Receiver::start([]).await,
    );
    let before = settings(QUICK, &[endpoint(&gone.url()), endpoint(&stays.url())]);
    let webhooks = start(&before);
    raise_counts(&webhooks, "room", 3);
    let after = settings(QUICK, &[endpoint(&stays.url()), endpoint(&new.url())]);
    let apps = Apps::new(before.apps.clone()).succeeded_by(after.apps.clone());
    webhooks.replace(&Arc::new(apps), &after.webhook).await;
    webhooks.raise_for(0, count("room", 4));

    let number = |n: u32| format!("subscription_count room {n}");
    let expect = async |receiver: &mut Receiver, numbers: &[u32]| {
        for wanted in numbers {
            assert_eq!(receiver.next().await.events(), [number(*wanted)]);
        }
    };
    // the failed first request is repeated, by the same lane, before what follows
    expect(&mut stays, &[1, 1, 2, 3, 4]).await;
    expect(&mut gone, &[1, 1, 2, 3]).await;
    expect(&mut new, &[4]).await;
    all_done(&webhooks).await;
    assert!(stays.is_silent() && gone.is_silent() && new.is_silent());

    // no endpoints at all, and then one again
    let none = settings(QUICK, &[]);
    let apps = Arc::new(Apps::new(none.apps.clone()));
    webhooks.replace(&apps, &none.webhook).await;
    assert!(!webhooks.is_wanted(&none.apps[0]));
    webhooks.raise_for(0, count("room", 5));
    let apps = Arc::new(Apps::new(after.apps.clone()));
    webhooks.replace(&apps, &after.webhook).await;
    webhooks.raise_for(0, count("room", 6));
    expect(&mut new, &[6]).await;
}
