//! A Pusher client as a test drives it: frames in, frames out, nothing done by itself.
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        client::IntoClientRequest,
        protocol::{Message, frame::coding::CloseCode},
    },
};

use crate::{
    helpers::Server,
    rest::request::{KEY, SECRET, hmac_hex, post},
};

const PATIENCE: Duration = Duration::from_secs(40);

/// One connection.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub socket_id: String,
}

impl Client {
    /// Opens a WebSocket on this path with these headers and says nothing; the first frame is still to come.
    pub async fn open(server: &Server, path: &str, headers: &[(&'static str, &str)]) -> Client {
        let url = format!("ws://{}{path}", server.addr);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = connect_async(request).await.unwrap();
        Client {
            socket,
            socket_id: String::new(),
        }
    }

    /// Connects as pusher-js does and reads its socket id.
    pub async fn connect(server: &Server) -> Client {
        Client::connect_to(
            server,
            &format!("/app/{KEY}?protocol=7&client=js&version=8.6.0"),
        )
        .await
    }

    pub async fn connect_to(server: &Server, path: &str) -> Client {
        let mut client = Client::open(server, path, &[]).await;
        client.established().await;
        client
    }

    /// The first frame of a connection; returns its data (C-11, C-12).
    pub async fn established(&mut self) -> Value {
        let frame = self.next().await;
        assert_eq!(frame["event"], "pusher:connection_established", "{frame}");
        let data: Value = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
        self.socket_id = data["socket_id"].as_str().unwrap().to_owned();
        data
    }

    /// Connects and waits until the subscription stands.
    pub async fn on(server: &Server, channel: &str) -> Client {
        let mut client = Client::connect(server).await;
        client.subscribe(channel, None).await;
        client
    }

    /// A member of a presence channel.
    pub async fn member(server: &Server, channel: &str, user_id: &str) -> Client {
        let mut client = Client::connect(server).await;
        let member = json!({ "user_id": user_id }).to_string();
        client.subscribe(channel, Some(member)).await;
        client
    }

    /// The `auth` of this connection for a channel.
    pub fn auth(&self, channel: &str, channel_data: Option<&str>) -> String {
        let mut text = format!("{}:{channel}", self.socket_id);
        if let Some(data) = channel_data {
            text = format!("{text}:{data}");
        }
        format!("{KEY}:{}", hmac_hex(SECRET, &text))
    }

    /// Asks for a channel with the signature it needs.
    pub async fn ask(&mut self, channel: &str, channel_data: Option<&str>) {
        let mut data = json!({ "channel": channel });
        if channel.starts_with("private-") || channel.starts_with("presence-") {
            data["auth"] = self.auth(channel, channel_data).into();
            if let Some(channel_data) = channel_data {
                data["channel_data"] = channel_data.into();
            }
        }
        self.send(json!({ "event": "pusher:subscribe", "data": data }))
            .await;
    }

    /// Subscribes and returns the data of the success.
    pub async fn subscribe(&mut self, channel: &str, channel_data: Option<String>) -> Value {
        self.ask(channel, channel_data.as_deref()).await;
        let answer = self.next().await;
        assert_eq!(
            answer["event"], "pusher_internal:subscription_succeeded",
            "{answer}"
        );
        assert_eq!(answer["channel"], channel);
        serde_json::from_str(answer["data"].as_str().unwrap()).unwrap()
    }

    /// Subscribes to a presence channel as this user; returns the data of the success.
    pub async fn join(&mut self, channel: &str, user_id: &str) -> Value {
        let member = json!({ "user_id": user_id }).to_string();
        self.subscribe(channel, Some(member)).await
    }

    pub async fn unsubscribe(&mut self, channel: &str) {
        self.send(json!({ "event": "pusher:unsubscribe", "data": { "channel": channel } }))
            .await;
    }

    pub async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    /// The server may be closing already: then its close frame tells.
    pub async fn send_message(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    /// The next message of any kind; `None` at the end of the stream.
    pub async fn next_message(&mut self) -> Option<Message> {
        let message = timeout(PATIENCE, self.socket.next()).await;
        message.expect("something from the server")?.ok()
    }

    /// The next text frame.
    pub async fn next(&mut self) -> Value {
        loop {
            match self.next_message().await {
                Some(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("wanted a text frame, got {other:?}"),
            }
        }
    }

    /// The next text frame as it was sent, not parsed.
    pub async fn next_text(&mut self) -> String {
        loop {
            match self.next_message().await {
                Some(Message::Text(text)) => return text.to_string(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("wanted a text frame, got {other:?}"),
            }
        }
    }

    /// Expects this frame next.
    pub async fn expect(&mut self, frame: Value) {
        assert_eq!(self.next().await, frame);
    }

    /// Sends a client event; it has taken effect when this returns and no error has come.
    pub async fn whisper(&mut self, channel: &str, event: &str, data: Value) {
        self.send(json!({ "event": event, "channel": channel, "data": data }))
            .await;
        assert!(self.has_nothing().await, "{event} on {channel}");
    }

    /// Expects that nothing the server had for this connection is left, on whatever worker it is: an event to a channel
    /// of its own comes through the same queue as all the others, after them.
    pub async fn assert_silence(&mut self, server: &Server) {
        let channel = format!("silence-{}", self.socket_id);
        let channel = channel.replace('.', "-");
        self.subscribe(&channel, None).await;
        publish(server, &channel, "over", "").await;
        self.expect(json!({ "event": "over", "channel": channel, "data": "" }))
            .await;
        self.unsubscribe(&channel).await;
    }

    /// Expects the frames of a failed subscription, which leaves the connection open (S-17).
    pub async fn assert_not_subscribed(&mut self, channel: &str, status: u16, message: &str) {
        if !channel.starts_with("private-encrypted-") {
            let kind = match status {
                401 => "AuthError",
                413 => "LimitReached",
                _ => "InvalidRequest",
            };
            let frame = self.next().await;
            assert_eq!(frame["event"], "pusher:subscription_error", "{frame}");
            assert_eq!(frame["channel"], channel);
            let data: Value = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
            assert_eq!(
                data,
                json!({ "type": kind, "error": message, "status": status })
            );
        }
        self.assert_error(None, message).await;
    }

    /// Makes a round trip and returns what came before its answer.
    pub async fn settle(&mut self) -> Vec<Value> {
        self.send(json!({"event": "pusher:ping"})).await;
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            if frame["event"] == "pusher:pong" {
                return frames;
            }
            frames.push(frame);
        }
    }

    /// Whether nothing more has come: a ping makes a round trip, and what was sent before it would have come first.
    pub async fn has_nothing(&mut self) -> bool {
        self.send(json!({"event": "pusher:ping", "data": {}})).await;
        let frame = self.next().await;
        if frame["event"] != "pusher:pong" {
            eprintln!("unexpected: {frame}");
        }
        frame["event"] == "pusher:pong"
    }

    /// Reads up to the close frame; returns its code and reason. Text frames before it are skipped.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next_message().await {
                Some(Message::Close(Some(frame))) => {
                    return (CloseCode::into(frame.code), frame.reason.to_string());
                }
                Some(Message::Close(None)) => return (1005, String::new()),
                Some(_) => {}
                None => return (1006, String::new()),
            }
        }
    }

    /// Expects the error event and the close frame of C-30, and then the end of the stream.
    pub async fn assert_refused(&mut self, code: u16, message: &str) {
        assert_eq!(
            self.next().await,
            json!({"event": "pusher:error", "data": {"code": code, "message": message}})
        );
        assert_eq!(self.closed().await, (code, message.to_owned()));
        assert!(self.next_message().await.is_none());
    }

    /// Expects a `pusher:error` that leaves the connection open.
    pub async fn assert_error(&mut self, code: Option<u16>, message: &str) {
        assert_eq!(
            self.next().await,
            json!({"event": "pusher:error", "data": {"code": code, "message": message}})
        );
    }

    /// Ends the connection without a word.
    pub fn drop_connection(self) {}

    pub async fn close(&mut self) {
        let _ = self.socket.close(None).await;
    }
}

/// Publishes an event over HTTP.
pub async fn publish(server: &Server, channel: &str, name: &str, data: &str) {
    publish_except(server, channel, name, data, None).await;
}

/// Publishes to everybody on the channel but one (H-24).
pub async fn publish_except(
    server: &Server,
    channel: &str,
    name: &str,
    data: &str,
    socket_id: Option<&str>,
) {
    let body = json!({ "name": name, "channel": channel, "data": data, "socket_id": socket_id });
    post(server, "/events", &body.to_string())
        .await
        .assert_json("{}");
}
