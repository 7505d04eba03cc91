//! Fuzzing of the bodies that publish: see [`crate::fuzzing`].

use std::{collections::BTreeSet, sync::OnceLock};

use serde_json::{Value, json};

use super::{
    batch_events::{self, Batch},
    error::ApiError,
    events::{self, Fields, Message},
    signed::check_json,
};
use crate::{
    apps::AppLimits,
    config,
    protocol::{channel::ChannelName, request::Query, server},
};

/// A sentence quotes at most a part of what it refuses.
const SENTENCE_BYTES_MAX: usize = 4_096;

/// Small ones are reached more often.
fn limits() -> &'static AppLimits {
    static LIMITS: OnceLock<AppLimits> = OnceLock::new();
    LIMITS.get_or_init(|| {
        let text = "[[apps]]\nid = \"a\"\nkey = \"k\"\nsecret = \"s\"";
        let app = &config::from_toml(text).expect("settings").apps[0];
        AppLimits {
            event_name_chars_max: 50,
            event_data_bytes_max: 100,
            channels_per_event_max: 5,
            batch_events_max: 5,
            ..app.limits.clone()
        }
    })
}

/// The first line is the query, the rest the body: of one event, or of a batch.
pub fn event_body(data: &[u8]) {
    let (query, body) = match data.iter().position(|&byte| byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (&data[..0], data),
    };
    let query = Query::parse(&String::from_utf8_lossy(query));
    let Ok(text) = std::str::from_utf8(body) else {
        return;
    };
    let body = Some(text).filter(|text| !text.is_empty());
    if let Some(Err(error)) = body.map(check_json) {
        return refused(&error);
    }
    match Fields::read(body).and_then(|fields| event(&fields, &query)) {
        Ok(()) => {}
        Err(error) => refused(&error),
    }
    match Batch::read(body).and_then(|batch| several(&batch)) {
        Ok(()) => {}
        Err(error) => refused(&error),
    }
}

fn refused(error: &ApiError) {
    let sentence = error.to_string();
    assert!(sentence.len() <= SENTENCE_BYTES_MAX, "{}", sentence.len());
}

fn event(fields: &Fields<'_>, query: &Query) -> Result<(), ApiError> {
    let (message, channels) = events::parse(fields, query, limits())?;
    assert!((1..=limits().channels_per_event_max).contains(&channels.len()));
    let different: BTreeSet<_> = channels.iter().map(ChannelName::as_str).collect();
    assert_eq!(different.len(), channels.len(), "each once");
    channels.iter().for_each(|name| published(&message, name));
    let names: Vec<&str> = channels.iter().map(ChannelName::as_str).collect();
    let again = written(&message, json!({ "channels": names }));
    let fields = Fields::read(Some(&again)).expect(&again);
    let no_query = Query::parse("");
    let (reread, rechannels) = events::parse(&fields, &no_query, limits()).expect(&again);
    assert_eq!(rechannels, channels, "{again}");
    same(&reread, &message);
    Ok(())
}

fn several(batch: &Batch<'_>) -> Result<(), ApiError> {
    let messages = batch_events::parse(batch, limits())?;
    assert!(messages.len() <= limits().batch_events_max);
    let items = messages.iter().map(|(message, name)| {
        published(message, name);
        written(message, json!({ "channel": name.as_str() }))
    });
    let items: Vec<String> = items.collect();
    let again = format!("{{\"batch\":[{}]}}", items.join(","));
    let batch = Batch::read(Some(&again)).expect(&again);
    let reread = batch_events::parse(&batch, limits()).expect(&again);
    assert_eq!(reread.len(), messages.len(), "{again}");
    for ((message, name), (reread, rename)) in messages.iter().zip(&reread) {
        assert_eq!(name, rename);
        same(reread, message);
    }
    Ok(())
}

/// What subscribers get is JSON that says the same.
fn published(message: &Message<'_>, channel: &ChannelName) {
    assert!((1..=limits().event_name_chars_max).contains(&message.name.chars().count()));
    assert!(message.data.len_bytes() <= limits().event_data_bytes_max);
    let frame = server::event(&message.name, channel, &message.data, None);
    let said: Value = serde_json::from_slice(frame.payload()).expect("events are JSON");
    assert_eq!(said["event"], *message.name);
    assert!(!message.name.starts_with("pusher:"), "{}", message.name);
    assert_eq!(said["channel"], channel.as_str());
    let data = said["data"].as_str().expect("data is text");
    assert_eq!(data.len(), message.data.len_bytes());
}

/// The event in its plainest form, its data with the very token that goes to subscribers.
fn written(message: &Message<'_>, channels: Value) -> String {
    let mut event = channels;
    event["name"] = (*message.name).into();
    if let Some(socket_id) = message.except {
        event["socket_id"] = socket_id.to_string().into();
    }
    let info = message.info;
    let asked = [
        (info.user_count, "user_count"),
        (info.subscription_count, "subscription_count"),
        (info.cache, "cache"),
    ];
    let asked = asked.into_iter().filter(|(is_asked, _)| *is_asked);
    let asked: Vec<&str> = asked.map(|(_, name)| name).collect();
    event["info"] = asked.join(",").into();
    let event = event.to_string();
    let open = event.strip_suffix('}').expect("an object");
    format!("{open},\"data\":{}}}", message.data.as_json())
}

fn same(reread: &Message<'_>, message: &Message<'_>) {
    assert_eq!(reread.name, message.name);
    assert_eq!(reread.data, message.data);
    assert_eq!(reread.except, message.except);
    assert_eq!(reread.info, message.info);
}
