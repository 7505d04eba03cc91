//! A backend: each task publishes one stream over HTTP, one request after the other; others ask what is there.
use crate::{
    PATIENCE,
    field::{Field, Stream},
    listener::{FLOOD, HALL, PERSON, PERSON_CHANNEL},
};
use reqwest::Method;
use resound::{
    client::{http::Http, http::signed_target, now_s},
    protocol::signature::Secret,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// Each publishes so often: slow enough for every reader on a busy machine.
const PAUSE: Duration = Duration::from_millis(15);

/// Bytes of what floods: a stalled reader of 60 a second has 1 MiB waiting after two seconds, and is cut for it. On a machine
/// that publishes a quarter of them, it still is before it would be cut for taking nothing.
const FLOOD_BYTES: usize = 10_000;

/// Asking isn't cheap when there is much to tell.
const ASK_PAUSE: Duration = Duration::from_millis(100);

pub fn spawn(tasks: &mut JoinSet<()>, field: &Arc<Field>) {
    let streams = [
        Stream::News,
        Stream::Desk,
        Stream::Batch,
        Stream::Cache,
        Stream::Person,
        Stream::Flood,
        Stream::Twice,
    ];
    for stream in streams {
        tasks.spawn(publish(field.clone(), stream));
    }
    tasks.spawn(ask(field.clone()));
    tasks.spawn(terminate(field.clone()));
}

async fn publish(field: Arc<Field>, stream: Stream) {
    let http = Http::to(&field.at, PATIENCE);
    while !field.is_over() {
        let mut event = json!({ "name": "said" });
        let to = |event: &mut Value, channels: &[&str]| event["channels"] = json!(channels);
        match stream {
            Stream::News => to(&mut event, &["news"]),
            Stream::Desk => {
                to(&mut event, &["private-desk", HALL]);
                event["info"] = "subscription_count,user_count".into();
            }
            Stream::Cache => to(&mut event, &["cache-score", "private-cache-score"]),
            Stream::Person => to(&mut event, &[PERSON_CHANNEL]),
            Stream::Flood => to(&mut event, &[FLOOD]),
            Stream::Twice => to(&mut event, &["twice"]),
            Stream::Batch | Stream::Talk => {}
        }
        let data = field.message(stream);
        match stream {
            Stream::Batch => {
                let body = batch(&field, data).to_string();
                post(&field, &http, "/batch_events", body).await;
            }
            Stream::Twice => {
                event["idempotency_key"] = data.replace(' ', "-").into();
                event["data"] = data.into();
                for _ in 0..2 {
                    post(&field, &http, "/events", event.to_string()).await;
                }
            }
            _ => {
                let padding = match stream {
                    Stream::Flood => ".".repeat(FLOOD_BYTES),
                    _ => String::new(),
                };
                event["data"] = format!("{data} {padding}").into();
                post(&field, &http, "/events", event.to_string()).await;
            }
        }
        field.rest(PAUSE).await;
    }
}

/// Five messages, each to two channels.
fn batch(field: &Field, first: String) -> Value {
    let messages = std::iter::once(first).chain((1..5).map(|_| field.message(Stream::Batch)));
    let both = |data: String| {
        ["batch", "private-encrypted-vault"]
            .map(|channel| json!({ "name": "said", "channel": channel, "data": data }))
    };
    let batch: Vec<Value> = messages.flat_map(both).collect();
    json!({ "batch": batch })
}

async fn post(field: &Field, http: &Http, path: &str, body: String) {
    field.did("requests");
    match http.post_signed(&field.at, &field.app, path, body).await {
        Ok(answer) if answer.status == 200 => {}
        Ok(answer) => field.fault(format!("{path}: {} {}", answer.status, answer.body)),
        Err(error) => field.fault(format!("{path}: no answer: {error}")),
    }
}

/// What dashboards do.
async fn ask(field: Arc<Field>) {
    let http = Http::to(&field.at, PATIENCE);
    let users = format!("/channels/{HALL}/users");
    let hall = format!("/channels/{HALL}");
    while !field.is_over() {
        for path in ["/channels", "/connections", &users, &hall] {
            field.did("requests");
            match get(&field, &http, path).await {
                Ok(_) => {}
                Err(wrong) => field.fault(wrong),
            }
        }
        field.rest(ASK_PAUSE).await;
    }
}

/// Asks for a path of the app.
pub async fn get(field: &Field, http: &Http, path: &str) -> Result<Value, String> {
    let path = format!("/apps/{}{path}", field.app.id);
    let secret: &Secret = &field.app.secret;
    let target = signed_target(&field.app.key, secret, &Method::GET, &path, b"", now_s());
    let answer = http.get(&field.at.http_url(&target)).await;
    let answer = answer.map_err(|error| format!("{path}: no answer: {error}"))?;
    if answer.status != 200 {
        return Err(format!("{path}: {} {}", answer.status, answer.body));
    }
    serde_json::from_str(&answer.body).map_err(|_| format!("{path}: no JSON: {}", answer.body))
}

/// Ends the connections of a visitor, whoever has them at the moment; never those of a listener.
async fn terminate(field: Arc<Field>) {
    let http = Http::to(&field.at, PATIENCE);
    while !field.is_over() {
        for user in 0..crate::visitor::USERS {
            let user = crate::visitor::user(user);
            debug_assert_ne!(user, PERSON);
            let path = format!("/users/{user}/terminate_connections");
            post(&field, &http, &path, "{}".to_owned()).await;
            field.rest(Duration::from_millis(500)).await;
        }
    }
}
