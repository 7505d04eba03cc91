use super::request::{APP_ID, Connection, Unsigned, get, post};
use crate::{client::Client, helpers::Server};

const EVENT: &str =
    r#"{"name":"n","channels":["a"],"data":"x","info":"subscription_count","idempotency_key":"k"}"#;

#[tokio::test]
async fn a_repeated_key_is_answered_like_the_first_time_and_publishes_nothing() {
    let server = Server::start().await;
    let mut first = Client::on(&server, "a").await;
    let answer = r#"{"channels":{"a":{"subscription_count":1}}}"#;
    post(&server, "/events", EVENT).await.assert_json(answer);
    assert_eq!(first.next().await["event"], "n");
    let _second = Client::on(&server, "a").await;
    post(&server, "/events", EVENT).await.assert_json(answer);
    assert!(first.has_nothing().await);
    // another key, and no key
    let other = EVENT.replace("\"k\"", "\"other\"");
    let newer = r#"{"channels":{"a":{"subscription_count":2}}}"#;
    post(&server, "/events", &other).await.assert_json(newer);
    assert_eq!(first.next().await["event"], "n");
}

#[tokio::test]
async fn a_refused_request_does_not_use_its_key_up() {
    let server = Server::start().await;
    let wrong = EVENT.replace("\"a\"", "\"not a name\"");
    post(&server, "/events", &wrong)
        .await
        .assert_refused(400, "Invalid channel name");
    post(&server, "/events", EVENT)
        .await
        .assert_json(r#"{"channels":{"a":{"subscription_count":0}}}"#);
}

#[tokio::test]
async fn the_key_may_be_a_header_and_batches_have_one_too() {
    let server = Server::start().await;
    let mut subscriber = Client::on(&server, "a").await;
    let body = r#"{"batch":[{"name":"n","channel":"a","data":"x"}]}"#;
    let path = format!("/apps/{APP_ID}/batch_events");
    for header in ["Idempotency-Key", "X-Idempotency-Key"] {
        for _ in 0..2 {
            let target = Unsigned::new("POST", &path, body.as_bytes()).sign();
            let mut connection = Connection::open(server.addr).await;
            connection
                .send(format!(
                    "POST {target} HTTP/1.1\r\nHost: test\r\n{header}: {header}\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ))
                .await;
            connection.response().await.assert_json("{}");
        }
        assert_eq!(subscriber.next().await["event"], "n");
        assert!(subscriber.has_nothing().await, "{header}");
    }
}

#[tokio::test]
async fn keys_are_short_texts() {
    let server = Server::start().await;
    for key in ["1", "\"\"", "{}", &format!("\"{}\"", "x".repeat(256))] {
        post(&server, "/events", &EVENT.replace("\"k\"", key))
            .await
            .assert_refused(400, "An idempotency key is a text of 1 to 255 bytes");
    }
    get(&server, "/channels", &[])
        .await
        .assert_json(r#"{"channels":{}}"#);
}

#[tokio::test]
async fn a_window_of_zero_ignores_keys() {
    let server = Server::with("[publish]\nidempotency_window_s = 0").await;
    let mut subscriber = Client::on(&server, "a").await;
    for _ in 0..2 {
        assert_eq!(post(&server, "/events", EVENT).await.status, 200);
        assert_eq!(subscriber.next().await["event"], "n");
    }
}
