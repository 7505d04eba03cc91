//! Messages of topics, from how they are written to the terms of the [`core`](super::core).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    terms::{Body, Event, Message, What, parse_member},
    wire,
};
use crate::frame::Frame;

/// A message of another node, in the terms of the core.
pub fn understand(text: &str) -> Result<Message, wire::Unreadable> {
    let message = wire::Message::parse(text)?;
    let event = |body, except, cached_ms| {
        What::Event(Arc::new(Event {
            body,
            except,
            cached_for: (cached_ms > 0).then(|| Duration::from_millis(cached_ms)),
            published: Instant::now(),
        }))
    };
    let (mut number_of_origin, mut number_of_channel) = (0, 0);
    let what = match message.kind {
        wire::Kind::Event {
            events,
            number,
            except,
            cached_ms,
            frame,
        } => {
            (number_of_origin, number_of_channel) = (number, events);
            event(Body::Frame(Frame::text(frame)), except, cached_ms)
        }
        wire::Kind::Close { events, number } => {
            (number_of_origin, number_of_channel) = (number, events);
            event(Body::Close, None, 0)
        }
        wire::Kind::MemberAdded(text) => {
            What::MemberAdded(parse_member(text).ok_or(wire::Unreadable::Malformed)?)
        }
        wire::Kind::MemberChanged(text) => {
            What::MemberChanged(parse_member(text).ok_or(wire::Unreadable::Malformed)?)
        }
        wire::Kind::MemberRemoved(id) => What::MemberRemoved(id.into()),
        wire::Kind::Count(count) => What::Count(count),
        wire::Kind::Online(is_online) => What::Online(is_online),
        wire::Kind::Registered { doubt_ms: 0 } => What::Nothing,
        wire::Kind::Registered { doubt_ms } => What::Doubt(Duration::from_millis(doubt_ms)),
    };
    Ok(Message {
        sequence: message.sequence,
        what,
        origin: message.node.into(),
        number: number_of_origin,
        events: number_of_channel,
    })
}
