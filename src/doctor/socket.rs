//! A WebSocket as a browser opens it, and an event on its whole way: from a backend, through the server, to a browser.
use super::{
    Context, Finding,
    answer::{Who, who},
    event,
    place::Place,
};
use crate::client::{
    http::Answer,
    one_line,
    socket::{Closed, Next, OpenError, Socket},
};
use std::time::Instant;
use tokio::time::timeout;

pub(super) const CHECK: &str = "websocket";
pub(super) const ROUND_TRIP: &str = "round trip";

/// The proxy's settings that let a WebSocket through.
const UPGRADE: &str = "let the proxy speak HTTP/1.1 to Resound and pass the headers Upgrade and Connection (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"Upgrade\";)";

/// A connection that has been greeted, or why there is none.
pub(super) async fn open(
    context: &Context<'_>,
    place: &Place,
    key: &str,
) -> (Option<Socket>, Finding) {
    let address = &place.address;
    let check = place.named(CHECK);
    let own = || format!("{}://{}", address.scheme(), address.authority());
    let origin = context.origin.clone().unwrap_or_else(own);
    let patience = context.patience;
    let opened = Socket::open(
        address,
        key,
        &context.asking(address).tls,
        Some(&origin),
        patience,
    )
    .await;
    match opened {
        Ok(socket) => {
            let seconds = socket.activity_timeout.as_secs();
            let text = format!(
                "{address} takes WebSockets from pages of {origin} (activity_timeout {seconds} s)"
            );
            (Some(socket), Finding::ok(check, text))
        }
        Err(error) => (None, fault(check, place, key, &origin, &error)),
    }
}

fn fault(check: String, place: &Place, key: &str, origin: &str, error: &OpenError) -> Finding {
    let text = error.to_string();
    match error {
        OpenError::Answer { answer, .. } => answered(check, place, answer),
        OpenError::Refused { closed, .. } => refused(check, place, key, origin, closed),
        OpenError::Timeout { .. } => Finding::wrong(
            check,
            text,
            "look whether a proxy or firewall in between holds WebSockets back",
        ),
        OpenError::Broken { .. } => Finding::wrong(check, text, UPGRADE),
        OpenError::Greeting { .. } => Finding::wrong(
            check,
            text,
            "set app_defaults.activity_timeout_s (REVERB_APP_ACTIVITY_TIMEOUT) above zero, and see that Resound answers there",
        ),
        OpenError::Connect(_) => {
            Finding::wrong(check, text, format!("correct {}", place.settings()))
        }
    }
}

/// HTTP instead of an upgrade.
fn answered(check: String, place: &Place, answer: &Answer) -> Finding {
    let address = &place.address;
    let status = answer.status;
    match who(answer) {
        Who::Resound | Who::Unknown(400, _)
            if status == 426 || answer.body.contains("WebSocket handshake") =>
        {
            Finding::wrong(
                check,
                format!(
                    "the proxy at {address} takes the Upgrade headers away, so Resound sees no WebSocket (status {status})"
                ),
                UPGRADE,
            )
        }
        Who::Gateway(503) if answer.body.starts_with("The server is shutting down") => {
            Finding::wrong(
                check,
                format!(
                    "the server at {address} is draining: it stops, and takes no new connections"
                ),
                "wait for its restart",
            )
        }
        Who::Page(404, _) | Who::Unknown(404, _) => Finding::wrong(
            check,
            format!(
                "{address} answers a WebSocket below /app with status 404: the proxy forwards /apps, but not /app"
            ),
            format!("let the proxy forward everything below /app to Resound as well; {UPGRADE}"),
        ),
        who => Finding::wrong(
            check,
            format!("{address} answers a WebSocket with {who} instead of the upgrade"),
            UPGRADE,
        ),
    }
}

/// Upgraded, and then told to go.
fn refused(check: String, place: &Place, key: &str, origin: &str, closed: &Closed) -> Finding {
    let address = &place.address;
    let said = &closed.reason;
    let (text, cure) = match closed.code {
        Some(4000) => (
            format!("{address} takes this app's connections over TLS only (code 4000)"),
            "connect with https and wss; behind a proxy that speaks TLS, let it send X-Forwarded-Proto and name it in server.trusted_proxies".to_owned(),
        ),
        Some(4001) => (
            format!("{address} knows no app with the key {key} (code 4001)"),
            "give the server, PHP and the browser's build the same key".to_owned(),
        ),
        Some(4003) => (
            format!("the app with the key {key} is disabled at {address} (code 4003)"),
            "set enabled = true for it".to_owned(),
        ),
        Some(4004) => (
            format!("the app has as many connections as it may (code 4004): {said}"),
            "raise connections_max (REVERB_APP_MAX_CONNECTIONS)".to_owned(),
        ),
        Some(4009) => (
            format!("{address} refuses pages of {origin} (code 4009: {said})"),
            format!("add the host of {origin} to allowed_origins (REVERB_ALLOWED_ORIGINS)"),
        ),
        Some(code @ 4100..=4199) => (
            format!("{address} is full (code {code}): {said}"),
            "raise server.connections_max and the limit of open files".to_owned(),
        ),
        Some(code) => (
            format!("{address} refuses the connection (code {code}): {said}"),
            "see what the reason says".to_owned(),
        ),
        None => (
            format!("{address} upgrades the connection and loses it at once: {said}"),
            UPGRADE.to_owned(),
        ),
    };
    Finding::wrong(check, text, cure)
}

/// Subscribes, has the event posted at `backend`, and waits until it comes.
pub(super) async fn round_trip(
    context: &Context<'_>,
    backend: &Place,
    mut socket: Socket,
    check: &str,
) -> Finding {
    let travelled = travel(context, backend, &mut socket).await;
    socket.close().await;
    match travelled {
        Ok(milliseconds) => Finding::ok(
            check,
            format!("an event came back after {milliseconds:.1} ms"),
        ),
        Err(Lost::Subscription(reason)) => Finding::wrong(
            check,
            format!("a public channel can't be subscribed to: {reason}"),
            "see what the reason says",
        ),
        Err(Lost::Post(reason)) => Finding::wrong(
            check,
            format!("the second event wasn't taken: {reason}"),
            "look at the log of the server",
        ),
        Err(Lost::Event) => Finding::wrong(
            check,
            format!(
                "an event was taken at {}, but didn't come back over the WebSocket within {} s",
                backend.address,
                context.patience.as_secs()
            ),
            "let both addresses lead to the same server; several servers need a common broker",
        ),
    }
}

/// Where an event stopped.
enum Lost {
    Subscription(String),
    Post(String),
    Event,
}

async fn travel(context: &Context<'_>, backend: &Place, socket: &mut Socket) -> Result<f64, Lost> {
    socket.subscribe(context.app, &context.channel, None).await;
    let subscribed = wait_for(context, socket, "pusher_internal:subscription_succeeded").await;
    subscribed.map_err(Lost::Subscription)?;
    let began = Instant::now();
    let answer = event::post(context, backend).await.map_err(Lost::Post)?;
    if answer.status != 200 {
        return Err(Lost::Post(one_line(answer.body.trim())));
    }
    let came = wait_for(context, socket, event::EVENT).await;
    came.map_err(|_| Lost::Event)?;
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}

/// Waits for an event of this name on our channel.
async fn wait_for(context: &Context<'_>, socket: &mut Socket, name: &str) -> Result<(), String> {
    let waited = timeout(context.patience, async {
        loop {
            match socket.next().await {
                Next::Closed(closed) => return Err(closed.reason),
                Next::Event(event) if event.event == name => return Ok(()),
                Next::Event(event) if event.event == "pusher:error" => {
                    return Err(one_line(&event.data_text()));
                }
                Next::Event(_) => {}
            }
        }
    });
    waited.await.unwrap_or_else(|_| Err("no answer".to_owned()))
}
