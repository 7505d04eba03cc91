//! A webhook's body: events as the SDKs read them (W-1, W-5).
use super::Event;
use crate::protocol::json;
use std::fmt::Write;

/// The body of one request. `time_ms`: Unix milliseconds.
pub(super) fn body<'a>(time_ms: u64, events: impl IntoIterator<Item = &'a Event>) -> String {
    let mut out = String::new();
    // writing to a String cannot fail
    let _ = write!(out, "{{\"time_ms\":{time_ms},\"events\":[");
    for (at, event) in events.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_event(&mut out, event);
    }
    out.push_str("]}");
    out
}

fn write_event(out: &mut String, event: &Event) {
    out.push_str("{\"name\":\"");
    out.push_str(event.kind().name());
    out.push('"');
    member(out, "channel", event.channel().as_str());
    match event {
        Event::ChannelOccupied { .. } | Event::ChannelVacated { .. } | Event::CacheMiss { .. } => {}
        Event::MemberAdded { user_id, .. } | Event::MemberRemoved { user_id, .. } => {
            member(out, "user_id", user_id);
        }
        Event::ClientEvent {
            event,
            data,
            socket_id,
            user_id,
            ..
        } => {
            member(out, "event", event);
            // a JSON string already: what the other members got (W-7)
            out.push_str(",\"data\":");
            out.push_str(data.as_json());
            let _ = write!(out, ",\"socket_id\":\"{socket_id}\"");
            if let Some(user_id) = user_id {
                member(out, "user_id", user_id);
            }
        }
        Event::SubscriptionCount { count, .. } => {
            let _ = write!(out, ",\"subscription_count\":{count}");
        }
    }
    out.push('}');
}

fn member(out: &mut String, name: &str, text: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":\"");
    json::escape_into(out, text);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        channel::ChannelName, event::EventData, signature::Secret, socket_id::SocketId,
    };

    const SECRET: &str = "7ad3773142a6692b25b8";

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name, 200).expect(name)
    }

    fn check(events: &[Event], expected: &str, signature: &str) {
        let body = body(1_327_078_148_132, events);
        assert_eq!(body, expected);
        assert_eq!(Secret::new(SECRET).sign(body.as_bytes()), signature);
    }

    #[test]
    fn w1_w3_vectors() {
        let occupied = |name: &str| Event::ChannelOccupied {
            channel: channel(name),
        };
        // V-34
        check(
            &[occupied("project-3")],
            r#"{"time_ms":1327078148132,"events":[{"name":"channel_occupied","channel":"project-3"}]}"#,
            "73654ae6d45e9562503ac8d017e634454e3e309c82b32e49c67677dde9e798b3",
        );
        // V-35
        let added = Event::MemberAdded {
            channel: channel("presence-lobby"),
            user_id: "10".into(),
        };
        check(
            &[added, occupied("presence-lobby")],
            r#"{"time_ms":1327078148132,"events":[{"name":"member_added","channel":"presence-lobby","user_id":"10"},{"name":"channel_occupied","channel":"presence-lobby"}]}"#,
            "4672f5eba441040225aa8c1c9faebdc659710622d66929aa1897390484a6616c",
        );
        // V-36
        let client_event = Event::ClientEvent {
            channel: channel("presence-lobby"),
            event: "client-typing".to_owned(),
            data: EventData::from_text("{\"on\":true}"),
            socket_id: SocketId::new(1234, 1234),
            user_id: Some("10".into()),
        };
        check(
            &[client_event],
            r#"{"time_ms":1327078148132,"events":[{"name":"client_event","channel":"presence-lobby","event":"client-typing","data":"{\"on\":true}","socket_id":"1234.1234","user_id":"10"}]}"#,
            "9bc907f50747ec1cf27e541283849b6379901d7b28ba1e7957a012c7d5454552",
        );
        // V-37
        let count = Event::SubscriptionCount {
            channel: channel("project-3"),
            count: 2,
        };
        check(
            &[count],
            r#"{"time_ms":1327078148132,"events":[{"name":"subscription_count","channel":"project-3","subscription_count":2}]}"#,
            "dc76e392cec1146e505d2837a6aef4ce4cc2b2f8d03192c26736b4377fb0d291",
        );
        // V-38
        let miss = Event::CacheMiss {
            channel: channel("cache-prices"),
        };
        check(
            &[miss],
            r#"{"time_ms":1327078148132,"events":[{"name":"cache_miss","channel":"cache-prices"}]}"#,
            "6fc652044277a9c5670e4a78dff6b4c044953e386ef62bada6f36637503e7d28",
        );
        // V-39
        let vacated = Event::ChannelVacated {
            channel: channel("project-3"),
        };
        let removed = Event::MemberRemoved {
            channel: channel("presence-lobby"),
            user_id: "10".into(),
        };
        check(
            &[vacated, removed],
            r#"{"time_ms":1327078148132,"events":[{"name":"channel_vacated","channel":"project-3"},{"name":"member_removed","channel":"presence-lobby","user_id":"10"}]}"#,
            "dd827e15a44bc4a3a43c0f6b75d9644c7be53ddf5ba6aca4d1787b1b0c4e4b5b",
        );
    }

    #[test]
    fn w3_published_vector() {
        // V-39b
        let body = r#"{"time_ms":1403175510755,"events":[{"channel":"test_channel","name":"channel_vacated"}]}"#;
        assert_eq!(
            Secret::new("tofu").sign(body.as_bytes()),
            "c17257e92037cd7de407ebc1ed174ceb7b2e518db127f44411b9ffc4f5b28cc5"
        );
    }

    #[test]
    fn w5_values_are_escaped_and_flat() {
        let client_event = Event::ClientEvent {
            channel: channel("private-a"),
            event: "client-\"\\\n\u{1}é".to_owned(),
            data: EventData::null(),
            socket_id: SocketId::new(1, 2),
            user_id: None,
        };
        let added = Event::MemberAdded {
            channel: channel("presence-a"),
            user_id: "\"},{\"name\":\"x".into(),
        };
        let parsed: serde_json::Value =
            serde_json::from_str(&body(0, &[client_event, added])).expect("JSON");
        assert_eq!(
            parsed,
            serde_json::json!({"time_ms": 0, "events": [
                {"name": "client_event", "channel": "private-a", "event": "client-\"\\\n\u{1}é",
                 "data": "null", "socket_id": "1.2"},
                {"name": "member_added", "channel": "presence-a", "user_id": "\"},{\"name\":\"x"},
            ]})
        );
    }
}
