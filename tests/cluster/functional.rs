//! Two nodes behave as one server would.
mod apart;
mod cache;
mod events;
mod operations;
mod presence;
mod queries;
mod users;
mod webhooks;

use serde_json::{Value, json};

use crate::{
    client::Client,
    helpers::Server,
    rest::request::{KEY, SECRET, hmac_hex, post},
};

/// An event as it is delivered.
pub fn event(name: &str, channel: &str, data: &str) -> Value {
    json!({ "event": name, "channel": channel, "data": data })
}

pub fn added(channel: &str, user_id: &str) -> Value {
    let data = format!(r#"{{"user_id":"{user_id}","user_info":{{}}}}"#);
    event("pusher_internal:member_added", channel, &data)
}

pub fn removed(channel: &str, user_id: &str) -> Value {
    let data = format!(r#"{{"user_id":"{user_id}"}}"#);
    event("pusher_internal:member_removed", channel, &data)
}

/// Signs a connection in; its answer is heard.
pub async fn signin(client: &mut Client, user_data: &str) {
    let text = format!("{}::user::{user_data}", client.socket_id);
    let auth = format!("{KEY}:{}", hmac_hex(SECRET, &text));
    client
        .send(json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}))
        .await;
    client
        .expect(json!({"event": "pusher:signin_success", "data": {"user_data": user_data}}))
        .await;
}

/// A connection of a user.
pub async fn user(server: &Server, id: &str) -> Client {
    let mut client = Client::connect(server).await;
    signin(&mut client, &format!(r#"{{"id":"{id}"}}"#)).await;
    client
}

/// A subscriber, as a member if the channel has some.
async fn on(server: &Server, channel: &str) -> Client {
    match channel.starts_with("presence-") {
        true => Client::member(server, channel, "same").await,
        false => Client::on(server, channel).await,
    }
}

/// Publishes with this body; returns the answer.
async fn trigger(server: &Server, body: Value) -> Value {
    let answer = post(server, "/events", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).expect("JSON")
}
