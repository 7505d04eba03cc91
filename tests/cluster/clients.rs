//! Clients that run by themselves: watchers, which write down all they see, and publishers, which number what they send.
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async, tungstenite::protocol::Message,
};

use crate::{
    ledger::{Ledger, Published, Sent},
    nodes::Node,
    rest::request::{APP_ID, KEY, SECRET, Unsigned, hmac_hex},
    until_seen,
};

/// What a watcher subscribes to: a channel, as whom if that is a presence channel.
#[derive(Clone, Debug)]
pub struct Wish {
    pub channel: String,
    pub user: Option<String>,
}

/// A subscription; `user`: "" for nobody.
pub fn wish(channel: &str, user: &str) -> Wish {
    Wish {
        channel: channel.to_owned(),
        user: (!user.is_empty()).then(|| user.to_owned()),
    }
}

enum Command {
    Subscribe(Wish),
    Unsubscribe(String),
}

/// A connection that keeps a ledger. Dropped, it is closed.
pub struct Watcher {
    ledger: Arc<Mutex<Ledger>>,
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Connects and subscribes; that it loses its connection is an error.
    pub async fn on(node: &Node, wishes: &[Wish]) -> Watcher {
        let watcher = Watcher::start(&[node.addr], false, wishes);
        watcher.is_subscribed(wishes).await;
        watcher
    }

    /// Connects to the first of these that takes it, again and again.
    pub async fn roaming(nodes: &[&Node], wishes: &[Wish]) -> Watcher {
        let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.addr).collect();
        let watcher = Watcher::start(&addresses, true, wishes);
        watcher.is_subscribed(wishes).await;
        watcher
    }

    /// Connects, and waits for nothing.
    pub fn at(address: SocketAddr) -> Watcher {
        Watcher::start(&[address], false, &[])
    }

    fn start(addresses: &[SocketAddr], comes_back: bool, wishes: &[Wish]) -> Watcher {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let (commands, receiver) = mpsc::unbounded_channel();
        let life = Life {
            addresses: addresses.to_vec(),
            comes_back,
            wishes: wishes.to_vec(),
            ledger: ledger.clone(),
            commands: receiver,
        };
        Watcher {
            ledger,
            commands,
            task: tokio::spawn(life.live()),
        }
    }

    async fn is_subscribed(&self, wishes: &[Wish]) {
        until_seen("the watcher is subscribed", || {
            let ledger = self.ledger();
            wishes
                .iter()
                .all(|wish| ledger.is_subscribed(&wish.channel))
        })
        .await;
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no watcher has panicked")
    }

    pub async fn subscribe(&self, wish: Wish) {
        let _ = self.commands.send(Command::Subscribe(wish.clone()));
        self.is_subscribed(&[wish]).await;
    }

    /// Without waiting: nobody says when it has happened.
    pub fn unsubscribe(&self, channel: &str) {
        self.ledger().unsubscribed(channel);
        let _ = self.commands.send(Command::Unsubscribe(channel.to_owned()));
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Life {
    addresses: Vec<SocketAddr>,
    comes_back: bool,
    wishes: Vec<Wish>,
    ledger: Arc<Mutex<Ledger>>,
    commands: mpsc::UnboundedReceiver<Command>,
}

/// How a connection ended.
enum End {
    Lost(String),
    TestIsOver,
}

impl Life {
    async fn live(mut self) {
        loop {
            let Some((socket, id)) = self.connect().await else {
                // as clients do, with less patience
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let end = self.connected(socket, &id).await;
            self.ledger().disconnected();
            match end {
                End::TestIsOver => return,
                End::Lost(_) if self.comes_back => {}
                End::Lost(reason) => {
                    return self
                        .ledger()
                        .wrong(format!("the connection is lost: {reason}"));
                }
            }
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no watcher has panicked")
    }

    /// The next address is tried after one that doesn't answer.
    async fn connect(&mut self) -> Option<(Socket, String)> {
        let url = format!("ws://{}/app/{KEY}?protocol=7", self.addresses[0]);
        let greeted = async {
            let (mut socket, _) = connect_async(url).await.ok()?;
            let Some(Ok(Message::Text(text))) = socket.next().await else {
                return None;
            };
            let frame: Value = serde_json::from_str(&text).ok()?;
            let data: Value = serde_json::from_str(frame["data"].as_str()?).ok()?;
            Some((socket, data["socket_id"].as_str()?.to_owned()))
        };
        let greeted = timeout(Duration::from_secs(2), greeted)
            .await
            .ok()
            .flatten();
        if greeted.is_none() {
            self.addresses.rotate_left(1);
        }
        greeted
    }

    async fn connected(&mut self, mut socket: Socket, id: &str) -> End {
        self.ledger().connected();
        for wish in &self.wishes {
            if socket.send(subscribe(id, wish)).await.is_err() {
                return End::Lost("while subscribing".to_owned());
            }
        }
        loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        if let Some(answer) = self.take(&text) {
                            let _ = socket.send(answer).await;
                        }
                    }
                    Some(Ok(Message::Close(frame))) => return End::Lost(format!("{frame:?}")),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return End::Lost(error.to_string()),
                    None => return End::Lost("no close frame".to_owned()),
                },
                command = self.commands.recv() => match command {
                    None => return End::TestIsOver,
                    Some(Command::Subscribe(wish)) => {
                        let _ = socket.send(subscribe(id, &wish)).await;
                        self.wishes.push(wish);
                    }
                    Some(Command::Unsubscribe(channel)) => {
                        self.wishes.retain(|wish| wish.channel != channel);
                        let data = json!({ "channel": channel });
                        let frame = json!({ "event": "pusher:unsubscribe", "data": data });
                        let _ = socket.send(Message::text(frame.to_string())).await;
                    }
                },
            }
        }
    }

    /// Writes down what the server says; returns what it wants to hear.
    fn take(&mut self, text: &str) -> Option<Message> {
        let Ok(frame) = serde_json::from_str::<Value>(text) else {
            self.ledger().wrong(format!("no JSON: {text}"));
            return None;
        };
        if frame["event"] == "pusher:ping" {
            let pong = json!({ "event": "pusher:pong", "data": {} });
            return Some(Message::text(pong.to_string()));
        }
        self.ledger().hear(&frame);
        None
    }
}

/// The message that asks for a channel, signed for this connection if need be.
pub fn subscribe(socket_id: &str, wish: &Wish) -> Message {
    let channel = &wish.channel;
    let mut data = json!({ "channel": channel });
    if channel.starts_with("private-") || channel.starts_with("presence-") {
        let mut to_sign = format!("{socket_id}:{channel}");
        if let Some(user) = &wish.user {
            let member = json!({ "user_id": user }).to_string();
            to_sign = format!("{to_sign}:{member}");
            data["channel_data"] = member.into();
        }
        data["auth"] = format!("{KEY}:{}", hmac_hex(SECRET, &to_sign)).into();
    }
    Message::text(json!({ "event": "pusher:subscribe", "data": data }).to_string())
}

/// Publishes to one channel, one event after the other. Dropped, it stops.
pub struct Publisher {
    published: Arc<Mutex<Published>>,
    /// ends it after the event that it is at
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    task: JoinHandle<Backend>,
}

impl Publisher {
    /// To the first of these nodes that answers. `id`: tells the events of several publishers apart.
    pub fn start(id: u32, channel: &str, nodes: &[&Node], pace: Duration) -> Publisher {
        Publisher::of_bytes(0, id, channel, nodes, pace)
    }

    /// Each event with so many bytes besides its number.
    pub fn of_bytes(
        bytes: usize,
        id: u32,
        channel: &str,
        nodes: &[&Node],
        pace: Duration,
    ) -> Publisher {
        let published = Arc::new(Mutex::new(Published {
            id,
            channel: channel.to_owned(),
            sent: Vec::new(),
        }));
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let mut backend = Backend {
            addresses: nodes.iter().map(|node| node.addr).collect(),
            stream: None,
            more: "x".repeat(bytes),
            published: published.clone(),
        };
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(pace);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = &mut stopped => return backend,
                    _ = ticks.tick() => {}
                }
                backend.publish_next().await;
            }
        });
        Publisher {
            published,
            stop: Some(stop),
            task,
        }
    }

    /// How many events have been taken.
    pub fn answered(&self) -> usize {
        let published = self.published.lock().expect("no publisher has panicked");
        published
            .sent
            .iter()
            .filter(|sent| sent.is_answered)
            .count()
    }

    /// Waits until this many more have been taken.
    pub async fn more(&self, count: usize) {
        let wanted = self.answered() + count;
        until_seen("events are taken", || self.answered() >= wanted).await;
    }

    /// Stops it after one more event that was taken for sure.
    pub async fn finish(mut self) -> Published {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let mut backend = (&mut self.task).await.expect("no publisher has panicked");
        let backend = &mut backend;
        let deadline = Instant::now() + crate::PATIENCE;
        while !backend.publish_next().await {
            assert!(Instant::now() < deadline, "nobody takes events");
        }
        self.published
            .lock()
            .expect("no publisher has panicked")
            .clone()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How long an answer to an event may take; then the next node is asked.
const ANSWER: Duration = Duration::from_secs(10);

struct Backend {
    addresses: Vec<SocketAddr>,
    stream: Option<TcpStream>,
    /// what makes events large
    more: String,
    published: Arc<Mutex<Published>>,
}

impl Backend {
    /// Whether it was taken. If not, it may have been all the same: it isn't sent again.
    async fn publish_next(&mut self) -> bool {
        let begun = Instant::now();
        let (at, body) = {
            let mut published = self.published.lock().expect("no publisher has panicked");
            let at = published.sent.len();
            let data = format!("{} {at} {}", published.id, self.more);
            let body = json!({ "name": "n", "channel": published.channel, "data": data });
            published.sent.push(Sent {
                begun,
                took: Duration::ZERO,
                is_answered: false,
            });
            (at, body.to_string())
        };
        let answer = timeout(ANSWER, self.post(&body)).await.ok().flatten();
        let is_answered = answer
            .as_deref()
            .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"));
        let mut published = self.published.lock().expect("no publisher has panicked");
        published.sent[at].took = begun.elapsed();
        published.sent[at].is_answered = is_answered;
        if !is_answered {
            self.stream = None;
            self.addresses.rotate_left(1);
        }
        is_answered
    }

    async fn post(&mut self, body: &str) -> Option<String> {
        let path = format!("/apps/{APP_ID}/events");
        let target = Unsigned::new("POST", &path, body.as_bytes()).sign();
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.addresses[0]).await.ok()?,
        };
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        loop {
            if stream.read_buf(&mut answer).await.ok()? == 0 {
                return None;
            }
            let text = String::from_utf8_lossy(&answer);
            // an event's answer is "{}"; a refusal ends in a line
            if text
                .split_once("\r\n\r\n")
                .is_some_and(|(_, body)| !body.is_empty())
            {
                let answer = text.into_owned();
                if answer.starts_with("HTTP/1.1 200") {
                    self.stream = Some(stream);
                }
                return Some(answer);
            }
        }
    }
}
