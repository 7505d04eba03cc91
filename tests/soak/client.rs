//! One connection as a client library has it, and as one that misbehaves can take it apart.
use crate::{PATIENCE, field::Field};
use futures_util::{SinkExt, StreamExt};
use resound::protocol::channel::ChannelKind;
use serde_json::{Value, json};
use socket2::SockRef;
use std::time::Duration;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

pub struct Client {
    socket: WebSocketStream<TcpStream>,
    pub socket_id: String,
}

impl Client {
    pub async fn connect(field: &Field) -> Result<Client, String> {
        Client::connect_with(field, None).await
    }

    /// `receive_bytes`: what the system may hold back for a client that doesn't read.
    pub async fn connect_with(field: &Field, receive_bytes: Option<u32>) -> Result<Client, String> {
        let connected = timeout(PATIENCE, connected(field, receive_bytes)).await;
        connected.map_err(|_| "no greeting in time".to_owned())?
    }

    pub async fn send(&mut self, message: Value) -> Result<(), String> {
        let sent = self.socket.send(Message::text(message.to_string())).await;
        sent.map_err(|error| error.to_string())
    }

    /// Asks for a channel, signed if it needs that; on presence channels as this user.
    pub async fn ask(&mut self, field: &Field, channel: &str, user: &str) -> Result<(), String> {
        let kind = ChannelKind::of(channel);
        let mut data = json!({ "channel": channel });
        let mut to_sign = format!("{}:{channel}", self.socket_id);
        if kind.is_presence() {
            let member = json!({ "user_id": user, "user_info": { "name": user } }).to_string();
            to_sign = format!("{to_sign}:{member}");
            data["channel_data"] = member.into();
        }
        if kind.needs_auth() {
            data["auth"] = signed(field, &to_sign).into();
        }
        self.send(json!({ "event": "pusher:subscribe", "data": data }))
            .await
    }

    pub async fn leave(&mut self, channel: &str) -> Result<(), String> {
        self.send(json!({ "event": "pusher:unsubscribe", "data": { "channel": channel } }))
            .await
    }

    pub async fn sign_in(&mut self, field: &Field, user: &str) -> Result<(), String> {
        let user_data = json!({ "id": user }).to_string();
        let auth = signed(field, &format!("{}::user::{user_data}", self.socket_id));
        let data = json!({ "auth": auth, "user_data": user_data });
        self.send(json!({ "event": "pusher:signin", "data": data }))
            .await
    }

    /// What the server says next; pings are answered.
    pub async fn next(&mut self) -> Result<Value, String> {
        loop {
            let message = self.socket.next().await.ok_or("the connection ended")?;
            let text = match message.map_err(|error| error.to_string())? {
                Message::Text(text) => text,
                Message::Close(frame) => return Err(format!("closed: {frame:?}")),
                _ => continue,
            };
            let event: Value =
                serde_json::from_str(&text).map_err(|_| format!("no JSON: {text}"))?;
            if event["event"] != "pusher:ping" {
                return Ok(event);
            }
            self.send(json!({ "event": "pusher:pong", "data": {} }))
                .await?;
        }
    }

    /// Reads for a while, whatever comes. An error if the server ends it.
    pub async fn read_for(&mut self, time: Duration) -> Result<(), String> {
        let reading = async {
            loop {
                if let Err(reason) = self.next().await {
                    return reason;
                }
            }
        };
        timeout(time, reading).await.map_or(Ok(()), Err)
    }

    pub async fn close(mut self) {
        let goodbye = async {
            let _ = self.socket.close(None).await;
            while let Some(Ok(_)) = self.socket.next().await {}
        };
        let _ = timeout(PATIENCE, goodbye).await;
    }

    /// Ends it with a reset instead of an end.
    pub fn reset(self) {
        reset(self.socket.into_inner());
    }

    /// The connection itself, with what else is said over it.
    pub fn into_stream(self) -> TcpStream {
        self.socket.into_inner()
    }
}

/// Ends a connection with a reset.
pub fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

async fn connected(field: &Field, receive_bytes: Option<u32>) -> Result<Client, String> {
    let broken = |error: std::io::Error| format!("can't connect: {error}");
    let socket = TcpSocket::new_v4().map_err(broken)?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes).map_err(broken)?;
    }
    let stream = socket.connect(field.address).await.map_err(broken)?;
    let request = field.at.socket_url(&field.app.key).into_client_request();
    let request = request.map_err(|error| error.to_string())?;
    let opened = client_async(request, stream).await;
    let (socket, _) = opened.map_err(|error| format!("no handshake: {error}"))?;
    let mut client = Client {
        socket,
        socket_id: String::new(),
    };
    let greeting = client.next().await?;
    let data = greeting["data"].as_str().unwrap_or_default();
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    let socket_id = data["socket_id"].as_str();
    let socket_id = socket_id.ok_or_else(|| format!("no greeting: {greeting}"))?;
    socket_id.clone_into(&mut client.socket_id);
    field.did("connections");
    Ok(client)
}

fn signed(field: &Field, text: &str) -> String {
    let signature = field.app.secret.sign(text.as_bytes());
    format!("{}:{signature}", field.app.key)
}
