use super::request::{APP_ID, Connection, Unsigned, get, post, send};
use crate::{client::Client, helpers::Server};
use serde_json::json;

#[tokio::test]
async fn h23_publishing_to_an_empty_channel_is_success() {
    let server = Server::start().await;
    // V-20, V-21, V-41, V-42 and what a Rust SDK sends
    for body in [
        r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#,
        r#"{"name":"foo","data":"{\"some\":\"data\"}","channel":"project-3"}"#,
        r##"{"name":"foo","channels":["#server-to-user-12345"],"data":"{\"some\":\"data\"}"}"##,
        r#"{"name":"naïve","channels":["project-3"],"data":"\"Žofie 🚀\""}"#,
        r#"{"name":"foo","channels":["project-3"],"data":"","socket_id":null,"info":null}"#,
    ] {
        post(&server, "/events", body).await.assert_json("{}");
    }
}

#[tokio::test]
async fn h20_data_arrives_byte_for_byte() {
    let server = Server::start().await;
    let mut subscriber = Client::on(&server, "project-3").await;
    let body = r#"{"name":"App\\Events\\Ping","channel":"project-3","data":"{\"a\":\"h\\u00e9 \\\/ 🚀\"}"}"#;
    post(&server, "/events", body).await.assert_json("{}");
    assert_eq!(
        subscriber.next().await,
        json!({"event": "App\\Events\\Ping", "channel": "project-3", "data": "{\"a\":\"h\\u00e9 \\/ 🚀\"}"})
    );
}

#[tokio::test]
async fn h20_everything_may_come_in_the_query() {
    let server = Server::start().await;
    let mut subscriber = Client::on(&server, "project-3").await;
    let path = format!("/apps/{APP_ID}/events");
    // V-45
    let target = Unsigned::new("POST", &path, b"")
        .with("channel", "project-3")
        .with("data", r#"{"some":"data"}"#)
        .with("name", "foo")
        .sign();
    send(&server, "POST", &target, b"").await.assert_json("{}");
    assert_eq!(
        subscriber.next().await,
        json!({"event": "foo", "channel": "project-3", "data": "{\"some\":\"data\"}"})
    );
}

#[tokio::test]
async fn h21_refusals_publish_nothing() {
    let server = Server::start().await;
    let mut subscriber = Client::on(&server, "a").await;
    let large = format!(
        r#"{{"name":"n","channel":"a","data":"{}"}}"#,
        "x".repeat(10_241)
    );
    let long = format!(
        r#"{{"name":"{}","channel":"a","data":""}}"#,
        "n".repeat(201)
    );
    let names: Vec<String> = (0..101).map(|i| format!("c{i}")).collect();
    let many = json!({"name": "n", "data": "", "channels": names}).to_string();
    for (body, status, text) in [
        ("{", 400, "Invalid JSON"),
        ("[]", 400, "Invalid JSON"),
        ("{} {}", 400, "Invalid JSON"),
        (
            r#"{"channel":"a","data":""}"#,
            400,
            "Expected name parameter to be a string",
        ),
        (
            r#"{"name":1,"channel":"a","data":""}"#,
            400,
            "Expected name parameter to be a string",
        ),
        (
            &long,
            400,
            "Event name is too long. Maximum allowed size is 200",
        ),
        (
            r#"{"name":"pusher:x","channel":"a","data":""}"#,
            400,
            "The 'pusher' namespace is reserved for internal usage",
        ),
        (
            r#"{"name":"n","channel":"a"}"#,
            400,
            "Missing parameter: data",
        ),
        (
            &large,
            413,
            "The data content of this event exceeds the allowed maximum (10240 bytes). See https://pusher.com/",
        ),
        (
            r#"{"name":"n","data":""}"#,
            400,
            "Missing parameter: channels",
        ),
        (
            r#"{"name":"n","data":"","channels":["a",null]}"#,
            400,
            "Missing parameter: channels",
        ),
        (
            &many,
            400,
            "Cannot broadcast to more than 100 channels at once",
        ),
        (
            r#"{"name":"n","data":"","channels":["a","b c"]}"#,
            400,
            "Invalid channel name: b c",
        ),
        (
            r#"{"name":"n","data":"","channel":"a","socket_id":"x"}"#,
            400,
            "Invalid socket id: x",
        ),
    ] {
        post(&server, "/events", body)
            .await
            .assert_refused(status, text);
    }
    assert!(subscriber.has_nothing().await);
}

#[tokio::test]
async fn h22_a_channel_named_twice_gets_the_event_once() {
    let server = Server::start().await;
    let mut subscriber = Client::on(&server, "a").await;
    let body = r#"{"name":"n","channels":["a","b","a"],"data":""}"#;
    post(&server, "/events", body).await.assert_json("{}");
    assert_eq!(subscriber.next().await["event"], "n");
    assert!(subscriber.has_nothing().await);
}

#[tokio::test]
async fn h24_socket_id_excludes_exactly_that_connection() {
    let server = Server::start().await;
    let mut sender = Client::on(&server, "a").await;
    let mut other = Client::on(&server, "a").await;
    let body = json!({"name": "n", "channel": "a", "data": "", "socket_id": sender.socket_id});
    post(&server, "/events", &body.to_string())
        .await
        .assert_json("{}");
    assert_eq!(other.next().await["event"], "n");
    assert!(sender.has_nothing().await);

    let unknown = r#"{"name":"m","channel":"a","data":"","socket_id":"1.1"}"#;
    post(&server, "/events", unknown).await.assert_json("{}");
    assert_eq!(other.next().await["event"], "m");
    assert_eq!(sender.next().await["event"], "m");
}

#[tokio::test]
async fn h26_info_per_channel() {
    let server = Server::start().await;
    let _member = Client::member(&server, "presence-foobar", "1").await;
    let _same_user = Client::member(&server, "presence-foobar", "1").await;
    let body = r#"{"name":"n","data":"","channels":["presence-foobar","another","another"],"info":"user_count,subscription_count,cache"}"#;
    post(&server, "/events", body).await.assert_json(
        r#"{"channels":{"presence-foobar":{"user_count":1,"subscription_count":2},"another":{"subscription_count":0}}}"#,
    );
}

#[tokio::test]
async fn h17_any_content_type_chunked_and_expect_continue() {
    let server = Server::start().await;
    let body = r#"{"name":"n","channel":"a","data":"x"}"#;
    let path = format!("/apps/{APP_ID}/events");
    let target = Unsigned::new("POST", &path, body.as_bytes()).sign();
    let mut connection = Connection::open(server.addr).await;

    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "nonsense",
    ] {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.send(head).await;
        connection.response().await.assert_json("{}");
    }

    let (front, back) = body.split_at(10);
    let chunked = format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{front}\r\n{:x}\r\n{back}\r\n0\r\n\r\n",
        front.len(),
        back.len()
    );
    connection.send(chunked).await;
    connection.response().await.assert_json("{}");

    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send(head).await;
    assert_eq!(connection.response().await.status, 100);
    connection.send(body).await;
    connection.response().await.assert_json("{}");
}

#[tokio::test]
async fn s20_cache_channels_keep_the_event() {
    let server = Server::start().await;
    let body = r#"{"name":"n","channel":"cache-prices","data":"{\"a\": 1}"}"#;
    post(&server, "/events", body).await.assert_json("{}");
    let answer = get(&server, "/channels/cache-prices", &[("info", "cache")]).await;
    let start = r#"{"occupied":false,"cache":{"data":"{\"a\": 1}","ttl":"#;
    assert!(answer.body.starts_with(start), "{}", answer.body);
}
