//! A WebSocket client that sits on channels, so that the API has something to count and to deliver to.
use super::request::{KEY, SECRET, hmac_hex};
use crate::helpers::Server;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async, tungstenite::protocol::Message,
};

pub struct Subscriber {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub socket_id: String,
}

impl Subscriber {
    pub async fn connect(server: &Server) -> Subscriber {
        let url = format!("ws://{}/app/{KEY}?protocol=7", server.addr);
        let (socket, _) = connect_async(url).await.unwrap();
        let mut subscriber = Subscriber {
            socket,
            socket_id: String::new(),
        };
        let established = subscriber.next().await;
        assert_eq!(established["event"], "pusher:connection_established");
        let data: Value = serde_json::from_str(established["data"].as_str().unwrap()).unwrap();
        subscriber.socket_id = data["socket_id"].as_str().unwrap().to_owned();
        subscriber
    }

    /// Connects and waits until the subscription stands.
    pub async fn on(server: &Server, channel: &str) -> Subscriber {
        let mut subscriber = Subscriber::connect(server).await;
        subscriber.subscribe(channel, None).await;
        subscriber
    }

    /// A member of a presence channel.
    pub async fn member(server: &Server, channel: &str, user_id: &str) -> Subscriber {
        let mut subscriber = Subscriber::connect(server).await;
        let member = json!({ "user_id": user_id }).to_string();
        subscriber.subscribe(channel, Some(member)).await;
        subscriber
    }

    pub async fn subscribe(&mut self, channel: &str, member: Option<String>) {
        let mut data = json!({ "channel": channel });
        if channel.starts_with("private-") || channel.starts_with("presence-") {
            let mut text = format!("{}:{channel}", self.socket_id);
            if let Some(member) = member {
                text = format!("{text}:{member}");
                data["channel_data"] = member.into();
            }
            data["auth"] = format!("{KEY}:{}", hmac_hex(SECRET, &text)).into();
        }
        let message = json!({ "event": "pusher:subscribe", "data": data });
        let text = message.to_string();
        self.socket.send(Message::text(text)).await.unwrap();
        let answer = self.next().await;
        assert_eq!(
            answer["event"], "pusher_internal:subscription_succeeded",
            "{answer}"
        );
    }

    /// The next text frame.
    pub async fn next(&mut self) -> Value {
        loop {
            let frame = timeout(Duration::from_secs(10), self.socket.next()).await;
            let frame = frame.expect("a frame").expect("an open socket").unwrap();
            if let Message::Text(text) = frame {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// Whether nothing more has come: a ping makes a round trip, and what was sent before it would have come first.
    pub async fn has_nothing(&mut self) -> bool {
        let ping = r#"{"event":"pusher:ping","data":{}}"#;
        self.socket.send(Message::text(ping)).await.unwrap();
        self.next().await["event"] == "pusher:pong"
    }
}
