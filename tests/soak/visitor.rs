//! Clients that come and go: users with several connections each, who join, speak, sign in, and leave in every way there is.
use crate::{
    client::Client,
    field::Field,
    listener::{FLOOD, HALL, TALK},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// Visitors at a time; each has one connection.
const VISITORS: u64 = 24;

/// Users they are.
pub const USERS: u64 = 6;

pub fn user(number: u64) -> String {
    format!("visitor-{number}")
}

pub fn spawn(tasks: &mut JoinSet<()>, field: &Arc<Field>) {
    for number in 0..VISITORS {
        let field = field.clone();
        tasks.spawn(async move {
            let mut chance = StdRng::seed_from_u64(number + field.number as u64 * VISITORS);
            while !field.is_over() {
                let connected = Client::connect(&field).await;
                match connected {
                    Ok(client) => visit(&field, client, number % USERS, &mut chance).await,
                    Err(wrong) => field.fault(format!("a visitor: {wrong}")),
                }
            }
        });
    }
}

/// How the server ends it, or that it doesn't answer any more, isn't asked: the visitor may have been terminated.
async fn visit(field: &Field, mut client: Client, number: u64, chance: &mut StdRng) {
    let _ = stay(field, &mut client, &user(number), chance).await;
    match chance.random_range(0..5) {
        0 | 1 => {
            field.did("closings");
            client.close().await;
        }
        2 => {
            field.did("resets");
            client.reset();
        }
        3 => {
            // says nothing more and is gone some time later, like a telephone in a tunnel
            field.did("half-open connections");
            let stream = client.into_stream();
            field.rest(Duration::from_millis(800)).await;
            crate::client::reset(stream);
        }
        _ => {
            field.did("drops");
            drop(client);
        }
    }
}

async fn stay(
    field: &Field,
    client: &mut Client,
    user: &str,
    chance: &mut StdRng,
) -> Result<(), String> {
    let own = format!("private-of-{}", chance.random_range(0..1_000));
    for _ in 0..chance.random_range(1..4) {
        client.ask(field, HALL, user).await?;
        client.ask(field, &own, user).await?;
        let others = ["news", TALK, FLOOD, "cache-score", "cache-empty", "batch"];
        let other = others[chance.random_range(0..others.len())];
        client.ask(field, other, user).await?;
        if chance.random_range(0..3) == 0 {
            client.sign_in(field, user).await?;
            field.did("sign-ins");
        }
        for _ in 0..3 {
            let said = json!({ "event": "client-moved", "channel": own, "data": { "x": 1 } });
            client.send(said).await?;
        }
        let moment = Duration::from_millis(chance.random_range(0..150));
        client.read_for(moment).await?;
        client.leave(&own).await?;
        client.leave(HALL).await?;
        field.did("presences");
    }
    client.ask(field, HALL, user).await
}
