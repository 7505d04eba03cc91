use std::time::{Duration, Instant};

use resound::gate::Refusal;
use serde_json::json;

use crate::{
    client::Client,
    helpers::Server,
    rest::request::{Response, Unsigned, get, post, send},
};

/// Channels `c0`, `c1`, and so on.
fn event(channels: usize) -> String {
    let channels: Vec<String> = (0..channels).map(|n| format!("c{n}")).collect();
    json!({ "name": "e", "data": "x", "channels": channels }).to_string()
}

fn batch(events: usize) -> String {
    let event = json!({ "name": "e", "data": "x", "channel": "c" });
    json!({ "batch": vec![event; events] }).to_string()
}

/// One event as old SDKs publish it.
async fn legacy(server: &Server) -> Response {
    let request = Unsigned::new("POST", "/apps/3/channels/c/events", b"x").with("name", "e");
    send(server, "POST", &request.sign(), b"x").await
}

#[track_caller]
fn assert_counted(answer: &Response, status: u16, limit: &str, remaining: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("x-ratelimit-limit"), Some(limit));
    assert_eq!(answer.header("x-ratelimit-remaining"), Some(remaining));
    let retry_after = (status == 429).then_some("1");
    assert_eq!(answer.header("retry-after"), retry_after);
}

/// Repeats `attempt`, each time with a server of its own, until it came to its end within the second that is counted.
async fn within_a_second(
    settings: &str,
    attempt: impl AsyncFn(&Server) -> Vec<Response>,
) -> (Server, Vec<Response>) {
    for _ in 0..20 {
        let server = Server::with(settings).await;
        let started = Instant::now();
        let answers = attempt(&server).await;
        if started.elapsed() < Duration::from_secs(1) {
            return (server, answers);
        }
    }
    panic!("no attempt within a second");
}

#[tokio::test]
async fn events_count_once_for_each_channel() {
    let settings = "[app_defaults]\nbackend_events_per_s = 10";
    let (server, answers) = within_a_second(settings, async |server| {
        vec![
            post(server, "/events", &event(4)).await,
            post(server, "/batch_events", &batch(5)).await,
            post(server, "/events", &event(2)).await,
            // what was refused, and what was wrong, didn't count
            post(server, "/events", "{}").await,
            legacy(server).await,
            legacy(server).await,
            post(server, "/events", &event(1)).await,
            get(server, "/channels", &[]).await,
        ]
    })
    .await;
    assert_counted(&answers[0], 200, "10", "6");
    assert_counted(&answers[1], 200, "10", "1");
    assert_counted(&answers[2], 429, "10", "1");
    answers[2].assert_refused(
        429,
        "Too many events: the app may publish 10 a second (backend_events_per_s)",
    );
    assert_eq!(answers[3].status, 400);
    assert_eq!(answers[3].header("x-ratelimit-limit"), None);
    assert_counted(&answers[4], 202, "10", "0");
    assert_counted(&answers[5], 429, "10", "0");
    assert_counted(&answers[6], 429, "10", "0");
    answers[7].assert_json(r#"{"channels":{}}"#);
    assert_eq!(answers[7].header("x-ratelimit-limit"), None);
    assert_eq!(server.node.gate().refused(Refusal::BackendEvents), 3);
}

#[tokio::test]
async fn a_request_that_is_too_much_for_any_second_says_so() {
    let server = Server::with("[app_defaults]\nbackend_events_per_s = 3").await;
    for _ in 0..3 {
        let answer = post(&server, "/events", &event(4)).await;
        answer.assert_refused(429, "Too many events: this request counts as 4, one for each channel, and the app may publish 3 a second");
        let answer = post(&server, "/batch_events", &batch(4)).await;
        assert_counted(&answer, 429, "3", "3");
    }
    // the same channel again is the same channel
    let twice = json!({ "name": "e", "data": "x", "channels": ["a", "a", "a", "a"] });
    let answer = post(&server, "/events", &twice.to_string()).await;
    assert_counted(&answer, 200, "3", "2");
}

#[tokio::test]
async fn nothing_of_a_refused_request_is_published() {
    let server = Server::with("[app_defaults]\nbackend_events_per_s = 3").await;
    let mut client = Client::on(&server, "c0").await;
    for _ in 0..3 {
        let answer = post(&server, "/events", &event(4)).await;
        assert_eq!(answer.status, 429);
    }
    assert_eq!(post(&server, "/events", &event(1)).await.status, 200);
    assert_eq!(client.next().await["event"], "e");
    assert!(client.has_nothing().await);
}

#[tokio::test]
async fn reads_have_a_limit_of_their_own() {
    let settings = "[app_defaults]\nread_requests_per_s = 4";
    let (server, answers) = within_a_second(settings, async |server| {
        vec![
            get(server, "/channels", &[]).await,
            get(server, "/channels/c", &[]).await,
            get(server, "/channels/presence-c/users", &[]).await,
            get(server, "/connections", &[]).await,
            get(server, "/channels", &[]).await,
            get(server, "/connections", &[]).await,
            post(server, "/events", &event(100)).await,
        ]
    })
    .await;
    for (answer, remaining) in answers.iter().zip(["3", "2", "1", "0"]) {
        assert_counted(answer, 200, "4", remaining);
    }
    for answer in &answers[4..6] {
        assert_counted(answer, 429, "4", "0");
        answer.assert_refused(
            429,
            "Too many requests: the app may ask 4 times a second (read_requests_per_s)",
        );
    }
    answers[6].assert_json("{}");
    assert_eq!(server.node.gate().refused(Refusal::ReadRequests), 2);
}

#[tokio::test]
async fn by_default_there_are_no_such_limits() {
    let server = Server::start().await;
    for _ in 0..50 {
        let answer = post(&server, "/events", &event(100)).await;
        assert_eq!(answer.header("x-ratelimit-limit"), None);
        answer.assert_json("{}");
        get(&server, "/connections", &[])
            .await
            .assert_json(r#"{"connections":0}"#);
    }
}

#[tokio::test]
async fn apps_have_limits_of_their_own() {
    let server = Server::with(
        "[[apps]]\nid = \"4\"\nkey = \"other\"\nsecret = \"s\"\nbackend_events_per_s = 1\n",
    )
    .await;
    for _ in 0..20 {
        post(&server, "/events", &event(2)).await.assert_json("{}");
    }
    assert_eq!(server.node.gate().refused(Refusal::BackendEvents), 0);
}
