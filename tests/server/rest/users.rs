use super::request::get;
use crate::{client::Client, helpers::Server};

#[tokio::test]
async fn h32_users_of_a_presence_channel_each_once() {
    let server = Server::start().await;
    let _one = Client::member(&server, "presence-room", "7").await;
    let _again = Client::member(&server, "presence-room", "7").await;
    get(&server, "/channels/presence-room/users", &[])
        .await
        .assert_json(r#"{"users":[{"id":"7"}]}"#);
    get(
        &server,
        "/channels/presence-empty/users",
        &[("info", "ignored")],
    )
    .await
    .assert_json(r#"{"users":[]}"#);
    get(&server, "/channels/private-x/users", &[])
        .await
        .assert_refused(400, "Users can only be retrieved for presence channels");
}
