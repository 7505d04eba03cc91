use super::request::{APP_ID, Response, Unsigned, send};
use crate::{client::Client, helpers::Server};
use serde_json::json;

async fn publish(server: &Server, channel: &str, params: &[(&str, &str)], body: &[u8]) -> Response {
    let path = format!("/apps/{APP_ID}/channels/{channel}/events");
    let mut request = Unsigned::new("POST", &path, body);
    for (key, value) in params {
        request = request.with(key, value);
    }
    send(server, "POST", &request.sign(), body).await
}

#[tokio::test]
async fn h34_raw_body_is_the_data() {
    let server = Server::start().await;
    let mut subscriber = Client::on(&server, "project-3").await;
    for data in [r#"{"some":"data"}"#, "not JSON \u{1}\n"] {
        let answer = publish(&server, "project-3", &[("name", "foo")], data.as_bytes()).await;
        assert_eq!((answer.status, answer.body.as_str()), (202, "{}"));
        assert_eq!(
            subscriber.next().await,
            json!({"event": "foo", "channel": "project-3", "data": data})
        );
    }
    let params = [
        ("name", "foo"),
        ("socket_id", subscriber.socket_id.as_str()),
    ];
    let answer = publish(&server, "project-3", &params, b"x").await;
    assert_eq!(answer.status, 202);
    assert!(subscriber.has_nothing().await);
}

#[tokio::test]
async fn h34_rules_of_events_apply() {
    let server = Server::start().await;
    let name = [("name", "n")];
    publish(&server, "a", &[], b"")
        .await
        .assert_refused(400, "Expected name parameter");
    publish(&server, "a%20b", &name, b"")
        .await
        .assert_refused(400, "Invalid channel name: a b");
    publish(&server, "a", &name, b"\xff")
        .await
        .assert_refused(400, "The request body is not valid UTF-8");
    let large = vec![b'x'; 10_241];
    publish(&server, "a", &name, &large)
        .await
        .assert_refused(413, "The data content");
}
