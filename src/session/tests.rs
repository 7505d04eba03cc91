//! Sessions whose cluster is played by the test: what waits for its answers, and what is left when a connection ends.

mod authorization;
mod closing;
mod signin;
mod subscriptions;
mod waiting;

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Wake, Waker},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::*;
use crate::{
    cluster::testing::fake::{Asked, Fake},
    config,
    frame::{FrameReader, write_masked},
    hub::{
        self,
        inbox::{Command, Inbox, WorkerId, inbox},
        ticker::{KeepAlive, Limits},
    },
    protocol::{codes::SubscribeError, signature::Secret, socket_id::SocketId},
    socket::connection::Connection,
};

const KEEP_ALIVE: KeepAlive = KeepAlive {
    ping_interval_s: 30,
    pong_timeout_s: 30,
};

const PING: &str = r#"{"event":"pusher:ping"}"#;

/// A node whose cluster is played by the test, and its only worker.
struct Scene {
    node: Arc<Node>,
    fake: Fake,
    hub: Rc<Hub>,
    inbox: Inbox,
    worker: Pin<Box<dyn Future<Output = ()>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Scene {
    /// `settings`: of the app
    fn new(settings: &str) -> Scene {
        Scene::with_room(settings, 100)
    }

    fn with_room(settings: &str, publishes_max: usize) -> Scene {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        let (inbox, commands) = inbox(1000);
        let app = "[[apps]]\nid = \"app\"\nkey = \"key\"\nsecret = \"secret\"";
        let settings = config::from_toml(&format!("{app}\n{settings}")).expect("settings");
        let (cluster, fake) = Fake::new(publishes_max);
        let inboxes = vec![inbox.clone()];
        let node = runtime.block_on(async {
            let mut node = Node::new(settings, inboxes, 1000);
            node.take_part_in(cluster);
            Arc::new(node)
        });
        let hub = Hub::new(WorkerId(0), Limits::USUAL, Arc::default());
        Scene {
            node,
            fake,
            inbox,
            worker: Box::pin(hub::run(hub.clone(), commands)),
            hub,
            _runtime: runtime,
        }
    }

    fn app(&self) -> Arc<App> {
        self.node.apps().by_id("app").expect("the app").clone()
    }

    fn connect(&self, number: u32) -> Peer {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let app = self.app();
        let socket_id = SocketId::new(1, number);
        let metrics = self.node.observe().metrics.app("app").on(0);
        let app_index = Some(app.index);
        let link = Link::new(ours, socket_id, app_index, KEEP_ALIVE, 65_536, 0, metrics);
        let key = self.hub.add(link.clone());
        let (node, hub) = (self.node.clone(), self.hub.clone());
        let client = Client::Behind(None);
        let session = Session::open(node, hub.clone(), link.clone(), key, app, client);
        let reader = FrameReader::new(65_536);
        let early = BytesMut::new();
        let mut peer = Peer {
            connection: Some(Connection::new(
                link.clone(),
                hub,
                key,
                reader,
                Some(session),
                early,
                None,
            )),
            link,
            theirs,
            is_woken: Arc::new(Woken(AtomicBool::new(true))),
            heard: BytesMut::new(),
            socket_id,
        };
        peer.run();
        assert_eq!(peer.heard().len(), 1, "connection_established");
        peer
    }

    /// Has the hub obey. Connections don't run yet.
    fn obey(&mut self, command: Command) {
        self.inbox.push(command);
        let mut cx = Context::from_waker(Waker::noop());
        while self.inbox.depth() > 0 {
            assert!(self.worker.as_mut().poll(&mut cx).is_pending());
        }
        assert!(self.worker.as_mut().poll(&mut cx).is_pending());
    }

    /// What was asked since the last look; events aside.
    fn asked(&mut self) -> Vec<Asked> {
        let mut asked = self.fake.asked();
        asked.retain(|asked| !asked.what.starts_with("publish "));
        asked
    }

    /// Exactly this was asked, and is left unanswered.
    fn check_asked(&mut self, expected: &[&str]) -> Vec<Asked> {
        let asked = self.asked();
        let what: Vec<&str> = asked.iter().map(|asked| &*asked.what).collect();
        assert_eq!(what, expected);
        asked
    }

    /// Exactly this was asked, and is answered with these frames.
    fn grant(&mut self, expected: &str, frames: &[&str]) {
        let mut asked = self.check_asked(&[expected]);
        self.obey(asked.remove(0).granted(frames));
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection with its client.
struct Peer {
    connection: Option<Connection<DuplexStream, Session>>,
    link: Rc<Link>,
    theirs: DuplexStream,
    is_woken: Arc<Woken>,
    /// not taken apart yet
    heard: BytesMut,
    socket_id: SocketId,
}

impl Peer {
    /// Polls the connection as long as it is woken: what nobody wakes it for doesn't happen.
    fn run(&mut self) {
        let waker = Waker::from(self.is_woken.clone());
        let mut cx = Context::from_waker(&waker);
        while self.is_woken.0.swap(false, Ordering::Relaxed) {
            let Some(connection) = &mut self.connection else {
                return;
            };
            if Pin::new(connection).poll(&mut cx).is_ready() {
                self.connection = None;
            }
        }
    }

    /// Sends these in one piece; returns what is heard.
    fn say(&mut self, texts: &[&str]) -> Vec<String> {
        let frames: Vec<u8> = texts.iter().flat_map(|text| masked(0x81, text)).collect();
        self.send(&frames);
        self.heard()
    }

    fn send(&mut self, bytes: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        let written = Pin::new(&mut self.theirs).poll_write(&mut cx, bytes);
        assert!(matches!(written, Poll::Ready(Ok(n)) if n == bytes.len()));
        self.run();
    }

    /// What has come since the last look: texts, and the codes of close frames.
    fn heard(&mut self) -> Vec<String> {
        self.run();
        let mut cx = Context::from_waker(Waker::noop());
        let mut bytes = [0; 65_536];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = Pin::new(&mut self.theirs).poll_read(&mut cx, &mut buffer);
            if !matches!(read, Poll::Ready(Ok(()))) || buffer.filled().is_empty() {
                break;
            }
            self.heard.extend_from_slice(buffer.filled());
        }
        let mut all = Vec::new();
        while self.heard.len() >= 2 {
            let (head, length) = match self.heard[1] {
                126 => (
                    4,
                    usize::from(self.heard[2]) << 8 | usize::from(self.heard[3]),
                ),
                short => (2, usize::from(short)),
            };
            let frame = self.heard.split_to(head + length);
            let payload = &frame[head..];
            all.push(match frame[0] {
                0x81 => String::from_utf8(payload.to_vec()).expect("text"),
                0x88 => format!(
                    "close {}",
                    u16::from(payload[0]) << 8 | u16::from(payload[1])
                ),
                other => panic!("frame {other:#x}"),
            });
        }
        all
    }

    fn subscribe_private(&self, channel: &str) -> String {
        let signed = format!("{}:{channel}", self.socket_id);
        subscribe_with(channel, &format!(r#","auth":"{}""#, auth(&signed)))
    }

    fn signin(&self, user_data: &str) -> String {
        let signed = format!("{}::user::{user_data}", self.socket_id);
        let data = serde_json::json!({"auth": auth(&signed), "user_data": user_data});
        format!(r#"{{"event":"pusher:signin","data":{data}}}"#)
    }

    fn counts(&self) -> (u64, u64) {
        let metrics = self.link.metrics();
        (metrics.subscribed.get(), metrics.unsubscribed.get())
    }
}

/// What was asked, whose answers nobody waits for any more.
fn texts_of(asked: Vec<Asked>) -> Vec<String> {
    asked.into_iter().map(|asked| asked.what).collect()
}

fn masked(first_byte: u8, text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    write_masked(&mut frame, first_byte, text.as_bytes(), [0; 4]);
    frame
}

fn auth(signed: &str) -> String {
    format!("key:{}", Secret::new("secret").sign(signed.as_bytes()))
}

fn subscribe_with(channel: &str, more: &str) -> String {
    format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"{more}}}}}"#)
}

fn subscribe(channel: &str) -> String {
    subscribe_with(channel, "")
}

fn unsubscribe(channel: &str) -> String {
    format!(r#"{{"event":"pusher:unsubscribe","data":{{"channel":"{channel}"}}}}"#)
}

fn is_pong(text: &str) -> bool {
    text.contains("pusher:pong")
}
