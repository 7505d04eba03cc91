//! Fuzzing of what comes from other nodes: see [`crate::fuzzing`].

use super::{
    messages::understand,
    wire::{Kind, Message, event_head},
};

/// The bytes are a message of a topic.
pub fn cluster_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let understood = understand(text);
    let Ok(message) = Message::parse(text) else {
        assert!(understood.is_err());
        return;
    };
    if let Ok(understood) = understood {
        assert_eq!(understood.sequence, message.sequence);
    }
    let again = written(&message);
    assert_eq!(Message::parse(&again).as_ref(), Ok(&message), "{again:?}");
}

fn written(message: &Message<'_>) -> String {
    let Message {
        sequence,
        node,
        kind,
    } = message;
    let plain = |kind, body: &str| format!("1{kind}{sequence} {node}\n{body}");
    match kind {
        Kind::Event {
            events,
            number,
            except,
            cached_ms,
            frame,
        } => {
            let head = event_head(node, *number, *except, *cached_ms);
            format!("1!{sequence} {events} {head}\n{frame}")
        }
        Kind::Close { events, number } => format!("1x{sequence} {events} {node} {number}\n"),
        Kind::MemberAdded(body) => plain('+', body),
        Kind::MemberChanged(body) => plain('=', body),
        Kind::MemberRemoved(body) => plain('-', body),
        Kind::Count(count) => plain('#', &count.to_string()),
        Kind::Online(is_online) => plain('^', if *is_online { "1" } else { "0" }),
        Kind::Registered { doubt_ms: 0 } => plain('.', ""),
        Kind::Registered { doubt_ms } => plain('.', &doubt_ms.to_string()),
    }
}
