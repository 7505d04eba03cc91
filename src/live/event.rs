//! What can be told: an event, and as a line of JSON.

use std::{
    borrow::Cow,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

/// Bytes shown of an event's data.
const DATA_SHOWN_BYTES: usize = 1000;

/// What can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Connected,
    Disconnected,
    Subscribed,
    Unsubscribed,
    /// a transport, handshake, connection, subscription, message or request
    Refused,
    /// over the HTTP API
    Published,
    ClientEvent,
    /// a connection that the server gave up, because its client takes nothing or says nothing
    Evicted,
}

impl Kind {
    pub const ALL: [(&str, Kind); 8] = [
        ("connected", Kind::Connected),
        ("disconnected", Kind::Disconnected),
        ("subscribed", Kind::Subscribed),
        ("unsubscribed", Kind::Unsubscribed),
        ("refused", Kind::Refused),
        ("published", Kind::Published),
        ("client_event", Kind::ClientEvent),
        ("evicted", Kind::Evicted),
    ];
}

/// Something that happened. As JSON it is one line; members that say nothing are left out.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Unix time
    pub time_ms: u64,
    pub kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// the name of a published or client event
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// of the event's data
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// what was refused
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<&'static str>,
    /// the name of the reason, as metrics have it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// the reason as a sentence
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Cow<'static, str>>,
    /// close code, error code or HTTP status
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// how long the connection stood
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// the client's address
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// of a refused handshake or request, without its query
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// only for listeners who ask for it
    #[serde(skip)]
    pub data: Option<String>,
}

impl Event {
    /// An event of now about which nothing more is known.
    pub fn new(kind: Kind) -> Event {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Event {
            time_ms: since.map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }),
            kind,
            app: None,
            socket_id: None,
            channel: None,
            event: None,
            bytes: None,
            user_id: None,
            what: None,
            reason: None,
            message: None,
            code: None,
            duration_ms: None,
            peer: None,
            origin: None,
            path: None,
            request_id: None,
            data: None,
        }
    }

    /// One line of JSON.
    pub fn to_json(&self, with_data: bool) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(flatten)]
            event: &'a Event,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a str>,
        }
        let line = Line {
            event: self,
            data: self.data.as_deref().filter(|_| with_data),
        };
        // Only maps with keys that are no texts and failing writers make this fail.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// The data of an event as the stream shows it: text, cut to 1000 bytes. `json`: a JSON string, as frames carry it.
pub fn shown_data(json: &str) -> String {
    let mut text = serde_json::from_str(json).unwrap_or_else(|_| json.to_owned());
    if text.len() > DATA_SHOWN_BYTES {
        let is_boundary = |at: &usize| text.is_char_boundary(*at);
        let cut = (0..=DATA_SHOWN_BYTES).rev().find(is_boundary);
        text.truncate(cut.unwrap_or(0));
        text.push('…');
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn event(kind: Kind, app: &str, channel: &str) -> Event {
        Event {
            app: Some(app.to_owned()),
            channel: Some(channel.to_owned()).filter(|channel| !channel.is_empty()),
            socket_id: Some("1.1".to_owned()),
            ..Event::new(kind)
        }
    }

    #[test]
    fn a_line_has_only_what_is_known_and_data_only_when_asked_for() {
        let event = Event {
            time_ms: 7,
            data: Some("secret".to_owned()),
            ..event(Kind::ClientEvent, "3", "a")
        };
        assert_eq!(
            event.to_json(false),
            r#"{"time_ms":7,"kind":"client_event","app":"3","socket_id":"1.1","channel":"a"}"#
        );
        assert!(event.to_json(true).ends_with(r#","data":"secret"}"#));
    }

    #[test]
    fn data_is_shown_as_text_and_cut() {
        assert_eq!(shown_data(r#""{\"a\":1}""#), r#"{"a":1}"#);
        assert_eq!(shown_data("null"), "null");
        let long = format!("\"{}\"", "é".repeat(1000));
        assert_eq!(shown_data(&long), format!("{}…", "é".repeat(500)));
    }
}
