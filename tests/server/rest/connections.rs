use super::request::get;
use crate::{client::Client, helpers::Server};

#[tokio::test]
async fn h9_connections_count_with_and_without_subscription() {
    let server = Server::start().await;
    get(&server, "/connections", &[])
        .await
        .assert_json(r#"{"connections":0}"#);
    let _idle = Client::connect(&server).await;
    let _subscribed = Client::on(&server, "a").await;
    get(&server, "/connections", &[])
        .await
        .assert_json(r#"{"connections":2}"#);
}
