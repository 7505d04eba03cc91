use super::request::post;
use crate::{client::Client, helpers::Server};

#[tokio::test]
async fn h27_messages_are_published_in_order() {
    let server = Server::start().await;
    let mut subscriber = Client::on(&server, "a").await;
    let body = r#"{"batch":[{"channel":"a","name":"one","data":"{\"n\":1}"},{"channel":"b","name":"x","data":""},{"channel":"a","name":"two","data":"plain text"}]}"#;
    post(&server, "/batch_events", body).await.assert_json("{}");
    let (one, two) = (subscriber.next().await, subscriber.next().await);
    assert_eq!(
        (&one["event"], &one["data"]),
        (&"one".into(), &r#"{"n":1}"#.into())
    );
    assert_eq!(
        (&two["event"], &two["data"]),
        (&"two".into(), &"plain text".into())
    );
    assert!(subscriber.has_nothing().await);
}

#[tokio::test]
async fn h27_empty_batch() {
    let server = Server::start().await;
    // V-46
    post(&server, "/batch_events", r#"{"batch":[]}"#)
        .await
        .assert_json("{}");
}

#[tokio::test]
async fn h27_any_failure_refuses_the_whole_batch() {
    let server = Server::start().await;
    let mut subscriber = Client::on(&server, "a").await;
    let good = r#"{"channel":"a","name":"n","data":""}"#;
    let large = format!(
        r#"{{"channel":"a","name":"n","data":"{}"}}"#,
        "x".repeat(10_241)
    );
    let eleven = [good; 11].join(",");
    for (items, status, text) in [
        (
            format!(r#"{good},{{"channel":"a","data":""}}"#),
            400,
            "Expected name parameter to be a string (message 2 of the batch)",
        ),
        (
            format!("{good},{large}"),
            413,
            "The data content of this event exceeds the allowed maximum (10240 bytes)",
        ),
        (
            format!(r#"{good},{{"channel":"a b","name":"n","data":""}}"#),
            400,
            "Invalid channel name: a b",
        ),
        (
            format!("{good},null"),
            400,
            "Invalid JSON: expected an object",
        ),
        (
            eleven,
            400,
            "Cannot batch-send more than 10 messages at once",
        ),
    ] {
        let body = format!(r#"{{"batch":[{items}]}}"#);
        post(&server, "/batch_events", &body)
            .await
            .assert_refused(status, text);
    }
    post(&server, "/batch_events", "{}")
        .await
        .assert_refused(400, "Missing parameter: batch");
    post(&server, "/batch_events", "")
        .await
        .assert_refused(400, "Missing parameter: batch");
    assert!(subscriber.has_nothing().await);
}

#[tokio::test]
async fn h28_info_is_an_array_in_request_order() {
    let server = Server::start().await;
    let _member = Client::member(&server, "presence-lobby", "1").await;
    let body = r#"{"batch":[{"channel":"a","name":"n","data":""},{"channel":"presence-lobby","name":"n","data":"","info":"user_count"},{"channel":"a","name":"n","data":"","info":"subscription_count,user_count"}]}"#;
    post(&server, "/batch_events", body)
        .await
        .assert_json(r#"{"batch":[{},{"user_count":1},{"subscription_count":0}]}"#);
}
