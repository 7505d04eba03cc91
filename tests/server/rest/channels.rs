use super::request::get;
use crate::{client::Client, helpers::Server};

#[tokio::test]
async fn h18_no_channels_are_an_empty_object() {
    let server = Server::start().await;
    get(&server, "/channels", &[])
        .await
        .assert_json(r#"{"channels":{}}"#);
}

#[tokio::test]
async fn h29_occupied_channels_with_filter_and_info() {
    let server = Server::start().await;
    let _a = Client::on(&server, "a").await;
    let _b = Client::on(&server, "b").await;
    let _second = Client::on(&server, "b").await;
    let _member = Client::member(&server, "presence-room", "7").await;

    get(&server, "/channels", &[])
        .await
        .assert_json(r#"{"channels":{"a":{},"b":{},"presence-room":{}}}"#);
    get(
        &server,
        "/channels",
        &[
            ("info", "subscription_count,unknown"),
            ("filter_by_prefix", "b"),
        ],
    )
    .await
    .assert_json(r#"{"channels":{"b":{"subscription_count":2}}}"#);
    get(
        &server,
        "/channels",
        &[("info", "user_count"), ("filter_by_prefix", "presence-")],
    )
    .await
    .assert_json(r#"{"channels":{"presence-room":{"user_count":1}}}"#);
    // a prefix is literal
    get(&server, "/channels", &[("filter_by_prefix", ".*")])
        .await
        .assert_json(r#"{"channels":{}}"#);
    get(&server, "/channels", &[("info", "user_count")])
        .await
        .assert_refused(400, "user_count may only be requested for presence channels - please supply filter_by_prefix beginning with presence-");
}

#[tokio::test]
async fn h30_one_channel() {
    let server = Server::start().await;
    let _member = Client::member(&server, "presence-room", "7").await;
    let counts = [("info", "user_count,subscription_count")];
    get(&server, "/channels/presence-room", &counts)
        .await
        .assert_json(r#"{"occupied":true,"user_count":1,"subscription_count":1}"#);
    get(&server, "/channels/presence-room", &[])
        .await
        .assert_json(r#"{"occupied":true}"#);
    get(&server, "/channels/presence-empty", &counts)
        .await
        .assert_json(r#"{"occupied":false,"user_count":0,"subscription_count":0}"#);
    get(&server, "/channels/cache-x", &[("info", "cache")])
        .await
        .assert_json(r#"{"occupied":false,"cache":null}"#);
    get(&server, "/channels/a", &[("info", "user_count")])
        .await
        .assert_refused(
            400,
            "Cannot retrieve the user count unless the channel is a presence channel",
        );
    get(&server, "/channels/a", &[("info", "cache")])
        .await
        .assert_refused(
            400,
            "Cannot retrieve the cache unless the channel is a cache channel",
        );
    get(&server, "/channels/a%20b", &[])
        .await
        .assert_refused(400, "Invalid channel name: a b");
}

#[tokio::test]
async fn h15_channel_names_are_decoded_from_the_path() {
    let server = Server::start().await;
    let _subscriber = Client::on(&server, "a=b@c,d;e").await;
    for path in [
        "/channels/a=b@c,d;e",
        "/channels/a%3Db%40c%2Cd%3Be",
        "/channels/%61=b@c,d;e",
    ] {
        get(&server, path, &[])
            .await
            .assert_json(r#"{"occupied":true}"#);
    }
}
