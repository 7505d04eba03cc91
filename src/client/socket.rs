//! A WebSocket as pusher-js has it: opens, signs subscriptions, answers pings, and tells what the server says.
use super::{Address, ConnectError, Stream, connect, http::Answer};
use crate::{apps::App, protocol::channel::ChannelKind};
use futures_util::{SinkExt, StreamExt};
use reqwest::header::HeaderValue;
use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error as SocketError, Message, client::IntoClientRequest, http::header::ORIGIN},
};

/// How long a `pusher:ping` may stay unanswered (C-18).
const PONG_PATIENCE: Duration = Duration::from_secs(30);

/// Of what the server says before its first frame is read no more than this is shown.
const REASON_CHARS_MAX: usize = 300;

/// An open connection, greeted by the server.
pub struct Socket {
    stream: WebSocketStream<Box<dyn Stream>>,
    /// as the server gave it
    pub socket_id: String,
    pub activity_timeout: Duration,
    /// when silence is too long: to be pinged, or (after a ping) to be given up
    deadline: Instant,
    is_pinged: bool,
}

/// One thing that the server says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Event {
    pub event: String,
    pub channel: Option<String>,
    #[serde(default)]
    pub data: Value,
    pub user_id: Option<Value>,
}

impl Event {
    /// The data: the text if it came as one, JSON otherwise.
    pub fn data_text(&self) -> String {
        match &self.data {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// The data as JSON, also if it came as text.
    pub fn data_json(&self) -> Value {
        match &self.data {
            Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
            other => other.clone(),
        }
    }
}

/// What comes next on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Event(Event),
    /// the connection is over
    Closed(Closed),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// of the close frame; `None` if there was none
    pub code: Option<u16>,
    pub reason: String,
}

/// What clients do after a close code (C-31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// the same, over TLS
    UseTls,
    /// it would be refused again
    Stop,
    ReconnectLater,
    ReconnectAtOnce,
}

impl Closed {
    pub fn then(&self) -> Then {
        match self.code {
            Some(4000) => Then::UseTls,
            Some(4001..=4099 | 4300..) => Then::Stop,
            Some(4200..=4299) => Then::ReconnectAtOnce,
            _ => Then::ReconnectLater,
        }
    }
}

/// Why a connection didn't come to its greeting.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// an HTTP answer instead of the upgrade
    #[error("{} answers the WebSocket handshake with status {}", .at, .answer.status)]
    Answer { at: String, answer: Box<Answer> },
    #[error("{at} didn't finish the WebSocket handshake within {} s", .patience.as_secs())]
    Timeout { at: String, patience: Duration },
    #[error("{at} fails the WebSocket handshake: {reason}")]
    Broken { at: String, reason: String },
    /// upgraded, then refused by an error or a close code
    #[error("{at} refuses the connection: {}", refusal(.closed))]
    Refused { at: String, closed: Closed },
    /// the greeting isn't what clients need (C-12)
    #[error("{at} greets with what clients don't understand: {reason}")]
    Greeting { at: String, reason: String },
}

fn refusal(closed: &Closed) -> String {
    match closed.code {
        Some(code) => format!("{} (code {code})", closed.reason),
        None => closed.reason.clone(),
    }
}

/// Who subscribes to a presence channel.
#[derive(Clone, Debug)]
pub struct Member {
    pub user_id: String,
    pub user_info: Option<Value>,
}

impl Member {
    fn channel_data(&self) -> String {
        let mut data = json!({ "user_id": self.user_id });
        if let Some(info) = &self.user_info {
            data["user_info"] = info.clone();
        }
        data.to_string()
    }
}

impl Socket {
    /// Connects and waits for the greeting; `patience` is for each of the steps. `origin`: the page that a browser would
    /// be on.
    pub async fn open(
        address: &Address,
        key: &str,
        tls: &Arc<ClientConfig>,
        origin: Option<&str>,
        patience: Duration,
    ) -> Result<Socket, OpenError> {
        let at = address.authority();
        let broken = |reason: String| OpenError::Broken {
            at: at.clone(),
            reason,
        };
        let request = address.socket_url(key).into_client_request();
        let mut request = request.map_err(|error| broken(error.to_string()))?;
        if let Some(origin) = origin {
            let origin = HeaderValue::from_str(origin);
            let origin = origin.map_err(|_| broken("the origin is no header value".to_owned()))?;
            request.headers_mut().insert(ORIGIN, origin);
        }
        let stream = connect(address, tls, patience).await?;
        let waited = || OpenError::Timeout {
            at: at.clone(),
            patience,
        };
        let opened = timeout(patience, client_async(request, stream)).await;
        let (stream, _) = opened.map_err(|_| waited())?.map_err(|error| match error {
            SocketError::Http(answer) => OpenError::Answer {
                at: at.clone(),
                answer: Box::new(to_answer(*answer)),
            },
            other => broken(other.to_string()),
        })?;
        let mut socket = Socket {
            stream,
            socket_id: String::new(),
            activity_timeout: patience,
            deadline: Instant::now() + patience,
            is_pinged: false,
        };
        let greeting = timeout(patience, socket.greeting(&at)).await;
        greeting.map_err(|_| waited())??;
        Ok(socket)
    }

    async fn greeting(&mut self, at: &str) -> Result<(), OpenError> {
        let at = at.to_owned();
        match self.next().await {
            // The close frame behind it has the same code; some servers send none.
            Next::Event(event) if event.event == "pusher:error" => Err(OpenError::Refused {
                at,
                closed: to_closed(&event),
            }),
            Next::Event(event) => self
                .greet(&event)
                .map_err(|reason| OpenError::Greeting { at, reason }),
            Next::Closed(closed) => Err(OpenError::Refused { at, closed }),
        }
    }

    fn greet(&mut self, event: &Event) -> Result<(), String> {
        if event.event != "pusher:connection_established" {
            return Err(format!(
                "the first event is {}, not pusher:connection_established",
                shown(&event.event)
            ));
        }
        let data = event.data_json();
        let socket_id = data["socket_id"].as_str();
        let socket_id =
            socket_id.ok_or("there is no socket_id in pusher:connection_established")?;
        let activity_timeout_s = data["activity_timeout"].as_u64().unwrap_or(0);
        if activity_timeout_s == 0 {
            return Err("activity_timeout must be a number above zero".to_owned());
        }
        self.socket_id = socket_id.to_owned();
        self.activity_timeout = Duration::from_secs(activity_timeout_s.min(86_400));
        self.deadline = Instant::now() + self.activity_timeout;
        Ok(())
    }

    /// Asks for a channel, signed if its kind needs it. The answer comes as an event. `false` if the connection is gone,
    /// which [`next`](Self::next) explains.
    pub async fn subscribe(&mut self, app: &App, channel: &str, member: Option<&Member>) -> bool {
        let kind = ChannelKind::of(channel);
        let mut data = json!({ "channel": channel });
        if kind.needs_auth() {
            let mut to_sign = format!("{}:{channel}", self.socket_id);
            if kind.is_presence()
                && let Some(member) = member
            {
                let channel_data = member.channel_data();
                to_sign = format!("{to_sign}:{channel_data}");
                data["channel_data"] = channel_data.into();
            }
            let signature = app.secret.sign(to_sign.as_bytes());
            data["auth"] = format!("{}:{signature}", app.key).into();
        }
        self.send(json!({ "event": "pusher:subscribe", "data": data }))
            .await
    }

    /// What the server says next. Pings are answered, and the server is pinged when it is silent for too long; neither is
    /// told of. May be dropped at any time and called again.
    pub async fn next(&mut self) -> Next {
        loop {
            match timeout_at(self.deadline, self.stream.next()).await {
                Ok(Some(Ok(message))) => {
                    self.deadline = Instant::now() + self.activity_timeout;
                    self.is_pinged = false;
                    if let Some(next) = self.take(message).await {
                        return next;
                    }
                }
                Ok(Some(Err(error))) => return lost(error.to_string()),
                Ok(None) => return lost("the connection ended without a close frame".to_owned()),
                Err(_) if self.is_pinged => {
                    return lost("no answer to a ping".to_owned());
                }
                Err(_) => {
                    self.is_pinged = true;
                    self.deadline = Instant::now() + PONG_PATIENCE;
                    self.send(json!({ "event": "pusher:ping", "data": {} }))
                        .await;
                }
            }
        }
    }

    async fn take(&mut self, message: Message) -> Option<Next> {
        let text = match &message {
            Message::Text(text) => text.as_str(),
            Message::Close(frame) => {
                return Some(Next::Closed(Closed {
                    code: frame.as_ref().map(|frame| frame.code.into()),
                    reason: frame.as_ref().map_or_else(
                        || "closed without a reason".to_owned(),
                        |frame| shown(&frame.reason),
                    ),
                }));
            }
            _ => return None,
        };
        let Ok(event) = serde_json::from_str::<Event>(text) else {
            return Some(lost(format!("not an event: {}", shown(text))));
        };
        match event.event.as_str() {
            "pusher:ping" => {
                self.send(json!({ "event": "pusher:pong", "data": {} }))
                    .await;
                None
            }
            "pusher:pong" => None,
            _ => Some(Next::Event(event)),
        }
    }

    async fn send(&mut self, message: Value) -> bool {
        self.stream
            .send(Message::text(message.to_string()))
            .await
            .is_ok()
    }

    /// Says goodbye and waits a moment for the answer.
    pub async fn close(mut self) {
        let goodbye = async {
            let _ = self.stream.close(None).await;
            while let Some(Ok(_)) = self.stream.next().await {}
        };
        let _ = timeout(Duration::from_secs(1), goodbye).await;
    }
}

fn to_answer(answer: tokio_tungstenite::tungstenite::http::Response<Option<Vec<u8>>>) -> Answer {
    let body = answer.body().as_deref().unwrap_or_default();
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: String::from_utf8_lossy(body).into_owned(),
    }
}

/// A `pusher:error` as the close frame behind it will say it.
fn to_closed(error: &Event) -> Closed {
    let data = error.data_json();
    let code = data["code"].as_u64();
    Closed {
        code: code.and_then(|code| u16::try_from(code).ok()),
        reason: shown(data["message"].as_str().unwrap_or("no message")),
    }
}

fn lost(reason: String) -> Next {
    Next::Closed(Closed { code: None, reason })
}

fn shown(text: &str) -> String {
    super::one_line(&crate::protocol::codes::shown(text, REASON_CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c31_what_clients_do_after_a_close_code() {
        let check = |code: Option<u16>, expected: Then| {
            let reason = String::new();
            assert_eq!(Closed { code, reason }.then(), expected, "{code:?}");
        };
        check(None, Then::ReconnectLater);
        check(Some(1000), Then::ReconnectLater);
        check(Some(1006), Then::ReconnectLater);
        check(Some(4000), Then::UseTls);
        check(Some(4001), Then::Stop);
        check(Some(4009), Then::Stop);
        check(Some(4099), Then::Stop);
        check(Some(4100), Then::ReconnectLater);
        check(Some(4200), Then::ReconnectAtOnce);
        check(Some(4299), Then::ReconnectAtOnce);
        check(Some(4300), Then::Stop);
    }

    #[test]
    fn events_have_their_data_as_text_or_json() {
        let check = |text: &str, data_text: &str, data_json: &str| {
            let event: Event = serde_json::from_str(text).expect(text);
            assert_eq!(event.data_text(), data_text, "{text}");
            assert_eq!(event.data_json().to_string(), data_json, "{text}");
        };
        check(r#"{"event":"e"}"#, "", "null");
        check(
            r#"{"event":"e","data":"{\"a\":1}"}"#,
            r#"{"a":1}"#,
            r#"{"a":1}"#,
        );
        check(
            r#"{"event":"e","data":{"a":1}}"#,
            r#"{"a":1}"#,
            r#"{"a":1}"#,
        );
        check(r#"{"event":"e","data":"text"}"#, "text", "null");
    }
}
