//! Everything the server can say, each a function that returns a Frame. The shapes are those the strictest SDK needs: `data`
//! is a string except in `pusher:error`, and what belongs to the connection has no `channel`.

use super::{
    channel::ChannelName,
    codes::{ClientError, CloseReason, SubscribeError},
    event::EventData,
    json,
    presence::Member,
    socket_id::SocketId,
};
use crate::frame::Frame;
use std::{fmt::Write, sync::Arc};

/// `pusher:connection_established`, the first thing every client hears (C-11, C-12).
pub fn connection_established(socket_id: SocketId, activity_timeout_s: u32) -> Frame {
    Frame::text(&connection_established_json(socket_id, activity_timeout_s))
}

fn connection_established_json(socket_id: SocketId, activity_timeout_s: u32) -> String {
    let mut json = String::with_capacity(160);
    // numbers alone: nothing in the string inside needs escapes of its own
    let _ = write!(
        json,
        r#"{{"event":"pusher:connection_established","data":"{{\"socket_id\":\"{socket_id}\",\"activity_timeout\":{activity_timeout_s}}}"}}"#
    );
    json
}

/// The answer to `pusher:ping` (C-16).
pub fn pong() -> Frame {
    Frame::text(PONG)
}

const PONG: &str = r#"{"event":"pusher:pong","data":"{}"}"#;

/// non-fatal `pusher:error` (C-26, C-29)
pub fn error(error: &ClientError) -> Frame {
    Frame::text(&error_json(error.code(), &error.to_string()))
}

/// `pusher:error` that precedes the close frame (C-30)
pub fn fatal_error(reason: CloseReason) -> Frame {
    Frame::text(&error_json(Some(reason.code()), reason.message()))
}

/// the close frame itself
pub fn close(reason: CloseReason) -> Frame {
    Frame::close(Some(reason.code()), reason.message())
}

/// `pusher:error`; its data is an object, not a string (C-26), its code is never left out (C-27).
fn error_json(code: Option<u16>, message: &str) -> String {
    let code = code.map_or_else(|| "null".to_owned(), |code| code.to_string());
    let message = json::quoted(message);
    format!(r#"{{"event":"pusher:error","data":{{"code":{code},"message":{message}}}}}"#)
}

/// `pusher:subscription_error` on the channel, S-17 frame 1; the name may be invalid, so it is a plain string.
/// Not for channels whose kind is encrypted: an Android SDK dies of it.
pub fn subscription_error(channel: &str, error: &SubscribeError) -> Frame {
    Frame::text(&subscription_error_json(channel, error))
}

fn subscription_error_json(channel: &str, error: &SubscribeError) -> String {
    let data = format!(
        r#"{{"type":"{}","error":{},"status":{}}}"#,
        error.kind(),
        json::quoted(&error.to_string()),
        error.status()
    );
    channel_json("pusher:subscription_error", channel, &data)
}

/// the `pusher:error` of S-17 frame 2
pub fn subscription_pusher_error(error: &SubscribeError) -> Frame {
    Frame::text(&error_json(None, &error.to_string()))
}

/// Success on all kinds but presence (S-10).
pub fn subscription_succeeded(channel: &ChannelName) -> Frame {
    Frame::text(&subscription_succeeded_json(channel, "{}"))
}

/// Success on presence kinds, with everyone who is there, the joiner among them (S-11, P-4). `members` has each id once.
pub fn presence_subscription_succeeded(channel: &ChannelName, members: &[Arc<Member>]) -> Frame {
    let data = presence_data(members);
    Frame::text(&subscription_succeeded_json(channel, &data))
}

fn subscription_succeeded_json(channel: &ChannelName, data: &str) -> String {
    let event = "pusher_internal:subscription_succeeded";
    channel_json(event, channel.as_str(), data)
}

/// The member list: a count, ids as strings, and an object from ids to user_info, which agree (P-4).
fn presence_data(members: &[Arc<Member>]) -> String {
    let (mut ids, mut hash) = (String::new(), String::new());
    for member in members {
        if !ids.is_empty() {
            ids.push(',');
            hash.push(',');
        }
        let id = json::quoted(&member.user_id);
        ids.push_str(&id);
        hash.push_str(&id);
        hash.push(':');
        hash.push_str(&member.user_info);
    }
    let count = members.len();
    format!(r#"{{"presence":{{"count":{count},"ids":[{ids}],"hash":{{{hash}}}}}}}"#)
}

/// The answer to a sign-in, with the very string that was signed; an object, not a string (U-3).
pub fn signin_success(user_data: &str) -> Frame {
    Frame::text(&signin_success_json(user_data))
}

fn signin_success_json(user_data: &str) -> String {
    let user_data = json::quoted(user_data);
    format!(r#"{{"event":"pusher:signin_success","data":{{"user_data":{user_data}}}}}"#)
}

/// Who of the watched users is online and who isn't; a name without ids is left out (U-22).
pub fn watchlist_events(online: &[Arc<str>], offline: &[Arc<str>]) -> Frame {
    Frame::text(&watchlist_events_json(online, offline))
}

fn watchlist_events_json(online: &[Arc<str>], offline: &[Arc<str>]) -> String {
    let of = |name: &str, ids: &[Arc<str>]| {
        let ids: Vec<String> = ids.iter().map(|id| json::quoted(id)).collect();
        format!(r#"{{"name":"{name}","user_ids":[{}]}}"#, ids.join(","))
    };
    let events: Vec<String> = [("online", online), ("offline", offline)]
        .into_iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(name, ids)| of(name, ids))
        .collect();
    format!(
        r#"{{"event":"pusher_internal:watchlist_events","data":{{"events":[{}]}}}}"#,
        events.join(",")
    )
}

/// How many connections are on a channel (S-25).
pub fn subscription_count(channel: &ChannelName, count: u32) -> Frame {
    Frame::text(&subscription_count_json(channel, count))
}

fn subscription_count_json(channel: &ChannelName, count: u32) -> String {
    channel_json(
        "pusher_internal:subscription_count",
        channel.as_str(),
        &format!(r#"{{"subscription_count":{count}}}"#),
    )
}

/// There is no cached event (S-22).
pub fn cache_miss(channel: &ChannelName) -> Frame {
    Frame::text(&cache_miss_json(channel))
}

fn cache_miss_json(channel: &ChannelName) -> String {
    channel_json("pusher:cache_miss", channel.as_str(), "{}")
}

/// An event of a publisher (S-28) or of a client (E-7); `user_id` is the sender's on presence channels (E-8).
pub fn event(
    name: &str,
    channel: &ChannelName,
    data: &EventData<'_>,
    user_id: Option<&str>,
) -> Frame {
    Frame::text(&event_json(name, channel, data, user_id))
}

/// The one text that a broadcast consists of: written once, in one allocation, with `data` as it came.
fn event_json(
    name: &str,
    channel: &ChannelName,
    data: &EventData<'_>,
    user_id: Option<&str>,
) -> String {
    const EVENT: &str = r#"{"event":""#;
    const CHANNEL: &str = r#"","channel":""#;
    const DATA: &str = r#"","data":"#;
    const USER_ID: &str = r#","user_id":""#;
    let user_id_len = user_id.map_or(0, |id| USER_ID.len() + json::escaped_len(id) + 1);
    let len = EVENT.len() + json::escaped_len(name) + CHANNEL.len() + channel.as_str().len();
    let len = len + DATA.len() + data.as_json().len() + user_id_len + 1;

    let mut out = String::with_capacity(len);
    out.push_str(EVENT);
    json::escape_into(&mut out, name);
    out.push_str(CHANNEL);
    // valid names hold nothing that JSON escapes
    out.push_str(channel.as_str());
    out.push_str(DATA);
    out.push_str(data.as_json());
    if let Some(user_id) = user_id {
        out.push_str(USER_ID);
        json::escape_into(&mut out, user_id);
        out.push('"');
    }
    out.push('}');
    debug_assert_eq!(out.len(), len);
    out
}

/// Somebody's first connection has joined; for all others on the channel (P-6, P-7).
pub fn member_added(channel: &ChannelName, member: &Member) -> Frame {
    Frame::text(&member_added_json(channel, member))
}

fn member_added_json(channel: &ChannelName, member: &Member) -> String {
    let mut data = String::from(r#"{"user_id":"#);
    data.push_str(&json::quoted(&member.user_id));
    data.push_str(r#","user_info":"#);
    data.push_str(&member.user_info);
    data.push('}');
    channel_json("pusher_internal:member_added", channel.as_str(), &data)
}

/// Somebody's last connection has left (P-8).
pub fn member_removed(channel: &ChannelName, user_id: &str) -> Frame {
    Frame::text(&member_removed_json(channel, user_id))
}

fn member_removed_json(channel: &ChannelName, user_id: &str) -> String {
    let data = format!(r#"{{"user_id":{}}}"#, json::quoted(user_id));
    channel_json("pusher_internal:member_removed", channel.as_str(), &data)
}

/// A message of the server's own on a channel, its `data` encoded into a string.
fn channel_json(event: &str, channel: &str, data: &str) -> String {
    let mut out = String::with_capacity(
        40 + event.len() + json::escaped_len(channel) + json::escaped_len(data),
    );
    // writing to a String cannot fail
    let _ = write!(out, r#"{{"event":"{event}","channel":""#);
    json::escape_into(&mut out, channel);
    out.push_str(r#"","data":""#);
    json::escape_into(&mut out, data);
    out.push_str("\"}");
    out
}

#[cfg(test)]
mod tests;
