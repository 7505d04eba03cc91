//! A worker, and a client that says the same in every conversation.

use std::{
    cell::RefCell,
    future::Future,
    io::{Read, Write},
    pin::Pin,
    rc::{Rc, Weak},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, pki_types::ServerName};
use tokio_rustls::TlsAcceptor;

use super::io::{Fault, FaultyIo, Wire};
use crate::{
    config,
    frame::{Frame, FrameReader, write_masked},
    hub::{
        self, Hub,
        inbox::{ChannelKey, Command, Inbox, Position, WorkerId, inbox},
        link::{Link, Transport},
        ticker::{KeepAlive, Limits},
    },
    node::Node,
    observe::Caller,
    peer::Client,
    protocol::{channel::ChannelName, codes::CloseReason, signature::Secret, socket_id::SocketId},
    session::Session,
    socket::{Held, connection::Connection},
    upgrade::attendance::Attendance,
};

const APP: &str = "[[apps]]\nid = \"app\"\nkey = \"key\"\nsecret = \"secret\"";

const KEEP_ALIVE: KeepAlive = KeepAlive {
    ping_interval_s: 30,
    pong_timeout_s: 30,
};

/// More than the server has to say.
const OUTBOX_BYTES_MAX: usize = 1 << 20;

const GREETING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

/// Bytes that come along with the handshake: part of a message.
const EARLY_BYTES: usize = 40;

/// More than a socket takes at once, and than one TLS record holds.
const LARGE_BYTES: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transports {
    Plain,
    Tls,
}

/// How the conversation comes to its end.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    /// The client closes.
    Client,
    /// The server closes, the client answers.
    Server,
    /// The server closes, the client doesn't answer and is cut.
    Silent,
    /// The client goes without a word.
    Vanishes,
    /// The client breaks RFC 6455.
    Violation,
}

impl Ending {
    pub const ALL: [Ending; 5] = [
        Ending::Client,
        Ending::Server,
        Ending::Silent,
        Ending::Vanishes,
        Ending::Violation,
    ];
}

/// What the transport does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Behaviour {
    /// `None`: everything goes at once
    pub seed: Option<u64>,
    pub is_vectored: bool,
    pub fault: Option<Fault>,
}

/// What has become of a conversation.
pub struct Heard {
    /// what the client got, TLS taken off
    pub stream: Vec<u8>,
    /// over the transport, to the server
    pub bytes_read: usize,
    /// and from it
    pub bytes_written: usize,
    /// the connection has ended
    pub is_over: bool,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A future that is polled when it was woken, and only then.
struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Woken>,
    polls: usize,
}

impl Task {
    fn new(future: impl Future<Output = ()> + 'static) -> Task {
        Task {
            future: Some(Box::pin(future)),
            woken: Arc::new(Woken(true.into())),
            polls: 0,
        }
    }

    /// `false` if nobody has woken it.
    fn run(&mut self) -> bool {
        if !self.woken.0.swap(false, Ordering::Relaxed) {
            return false;
        }
        let Some(future) = &mut self.future else {
            return false;
        };
        self.polls += 1;
        let waker = Waker::from(self.woken.clone());
        if let Poll::Ready(()) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.future = None;
        }
        true
    }
}

/// A node with one worker.
#[derive(Clone)]
struct Stage {
    node: Arc<Node>,
    hub: Rc<Hub>,
    inbox: Inbox,
    tls: Option<(TlsAcceptor, Arc<ClientConfig>)>,
}

pub struct Scene {
    stage: Stage,
    worker: Task,
    /// what the client says first
    said: Vec<u8>,
    _runtime: tokio::runtime::Runtime,
}

impl Scene {
    pub fn new(transports: Transports) -> Scene {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        let (inbox, commands) = inbox(1000);
        let settings = config::from_toml(APP).expect("settings");
        let inboxes = vec![inbox.clone()];
        let node = runtime.block_on(async { Arc::new(Node::new(settings, inboxes, 1000)) });
        let hub = Hub::new(WorkerId(0), Limits::USUAL, Arc::default());
        Scene {
            worker: Task::new(hub::run(hub.clone(), commands)),
            stage: Stage {
                node,
                hub,
                inbox,
                tls: (transports == Transports::Tls).then(tls),
            },
            said: said(),
            _runtime: runtime,
        }
    }

    /// One conversation, from its handshake to its end; then looks whether anything is left of it.
    pub fn converse(&mut self, behaviour: Behaviour, ending: Ending) -> Heard {
        let Behaviour {
            seed,
            is_vectored,
            fault,
        } = behaviour;
        let wire = Wire::new(seed, is_vectored, fault);
        let opened = Rc::new(RefCell::new(None));
        let early = BytesMut::from(&self.said[..EARLY_BYTES]);
        let io = FaultyIo(wire.clone());
        let served = serve(self.stage.clone(), io, early, opened.clone());
        let mut client = Talker::new(&self.stage, wire, Task::new(served));
        client.say(&self.said[EARLY_BYTES..]);
        self.settle(&mut client);
        for channel in ["room", "presence-hall", "other", "room"] {
            self.deliver(channel, "{}");
        }
        self.deliver("room", &"large ".repeat(LARGE_BYTES / 6));
        self.deliver("presence-hall", "the last");
        self.settle(&mut client);

        let link = || {
            let opened: Option<Weak<Link>> = opened.borrow().clone();
            opened.and_then(|link| link.upgrade())
        };
        let close = || link().inspect(|link| link.close(CloseReason::ServerClosing));
        match ending {
            Ending::Client => client.say(&frame(0x88, &1000_u16.to_be_bytes())),
            Ending::Server => {
                drop(close());
                self.settle(&mut client);
                client.say(&frame(0x88, &4200_u16.to_be_bytes()));
            }
            Ending::Silent => {
                drop(close());
                self.settle(&mut client);
                drop(link().inspect(|link| link.give_up()));
            }
            Ending::Violation => client.say(b"\x81\x02{}"),
            Ending::Vanishes => {}
        }
        self.settle(&mut client);
        client.wire.borrow_mut().end();
        self.settle(&mut client);

        self.deliver("room", "to nobody");
        self.settle(&mut client);
        let heard = client.heard();
        if heard.is_over {
            assert!(link().is_none(), "somebody keeps the transport");
            self.check_nothing_is_left();
        }
        heard
    }

    fn deliver(&self, channel: &str, text: &str) {
        let name = ChannelName::parse(channel, 200).expect("a name");
        let app = self.stage.node.apps().by_id("app").map(|app| app.index);
        self.stage.inbox.push(Command::Deliver {
            channel: ChannelKey {
                app: app.expect("the app"),
                name,
            },
            position: Position(u64::MAX),
            frame: Frame::text(text),
            except: None,
            published: Instant::now(),
        });
    }

    /// Goes on until nobody has anything to do. What waits without having been woken, waits for ever.
    fn settle(&mut self, client: &mut Talker) {
        loop {
            let server = client.server.run();
            let worker = self.worker.run();
            let is_busy = server | worker | client.pump();
            if !is_busy && !client.wire.borrow_mut().release() {
                return;
            }
            client.check_polls();
        }
    }

    fn check_nothing_is_left(&self) {
        let Stage { node, hub, .. } = &self.stage;
        assert_eq!((hub.sockets(), hub.subscriptions()), (0, 0));
        assert_eq!(node.connections(), 0);
        let apps = node.apps();
        let app = apps.by_id("app").expect("the app");
        assert_eq!(node.directory().channels(app.index, "").len(), 0);
        let metrics = node.observe().metrics.app("app");
        let metrics = metrics.on(0);
        assert_eq!(metrics.opened.get(), metrics.closed.get());
        assert_eq!(metrics.subscribed.get(), metrics.unsubscribed.get());
    }
}

/// The server's side of a connection, as the handshake leaves it.
async fn serve(
    stage: Stage,
    io: FaultyIo,
    early: BytesMut,
    opened: Rc<RefCell<Option<Weak<Link>>>>,
) {
    match &stage.tls {
        None => open(&stage, io, early, &opened).await,
        Some((acceptor, _)) => {
            if let Ok(io) = acceptor.accept(io).await {
                open(&stage, io, early, &opened).await;
            }
        }
    }
}

fn open<T: Transport + 'static>(
    stage: &Stage,
    io: T,
    early: BytesMut,
    opened: &RefCell<Option<Weak<Link>>>,
) -> Connection<T, Session> {
    let Stage { node, hub, .. } = stage;
    let app = node.apps().by_id("app").expect("the app").clone();
    let socket_id = SocketId::new(1, 1);
    let metrics = node.observe().metrics.app("app").on(0);
    let index = Some(app.index);
    let link = Link::new(
        io,
        socket_id,
        index,
        KEEP_ALIVE,
        OUTBOX_BYTES_MAX,
        0,
        metrics,
    );
    let weak: Weak<Link> = Rc::downgrade(&(link.clone() as Rc<Link>));
    opened.replace(Some(weak));
    link.push_raw(Bytes::from_static(GREETING));
    let key = hub.add(link.clone());
    link.metrics().opened.add(1);
    let caller = Caller {
        client: Client::Behind(None),
        path: "/app/key",
        origin: None,
    };
    let permit = node.admit(&app).unwrap_or_else(|_| panic!("no room"));
    let place = node.gate().connect(caller.client, &node.settings().limits);
    let place = place.expect("a place");
    let attendance = Attendance::begin(permit, place, app.clone(), socket_id, &caller);
    let held: Option<Box<dyn Held>> = Some(Box::new(attendance));
    let (node, hub) = (node.clone(), hub.clone());
    let session = Session::open(node, hub.clone(), link.clone(), key, app, caller.client);
    let reader = FrameReader::new(65_536);
    Connection::new(link, hub, key, reader, Some(session), early, held)
}

/// The client, and the server's task that it talks to.
struct Talker {
    wire: Rc<RefCell<Wire>>,
    server: Task,
    tls: Option<Tls>,
}

struct Tls {
    connection: ClientConnection,
    /// bytes of the transport that were taken apart
    taken: usize,
    heard: Vec<u8>,
}

impl Talker {
    fn new(stage: &Stage, wire: Rc<RefCell<Wire>>, server: Task) -> Talker {
        let tls = stage.tls.as_ref().map(|(_, config)| {
            let name = ServerName::try_from("localhost").expect("a name");
            let connection = ClientConnection::new(config.clone(), name);
            Tls {
                connection: connection.expect("a client"),
                taken: 0,
                heard: Vec::new(),
            }
        });
        Talker { wire, server, tls }
    }

    fn say(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            None => self.wire.borrow_mut().say(bytes),
            Some(tls) => {
                let written = tls.connection.writer().write_all(bytes);
                written.expect("room");
            }
        }
    }

    /// Passes on what TLS makes of both directions; `false` if there is nothing.
    fn pump(&mut self) -> bool {
        let Some(tls) = &mut self.tls else {
            return false;
        };
        let mut wire = self.wire.borrow_mut();
        let mut is_busy = false;
        let mut rest = &wire.got[tls.taken..];
        while !rest.is_empty() {
            is_busy = true;
            tls.taken += tls.connection.read_tls(&mut rest).expect("bytes");
            let done = tls.connection.process_new_packets();
            done.expect("the server speaks TLS");
            // ends with "would block", or with the end
            let _ = tls.connection.reader().read_to_end(&mut tls.heard);
        }
        let mut said = Vec::new();
        while tls.connection.wants_write() {
            is_busy = true;
            tls.connection.write_tls(&mut said).expect("a vector");
        }
        if !said.is_empty() {
            wire.say(&said);
        }
        is_busy
    }

    /// A poll moves bytes, or was made vain by the transport. A few are for the hub, for what is said, and for the end.
    fn check_polls(&self) {
        let wire = self.wire.borrow();
        let enough = 64 + 2 * (wire.stops + wire.bytes_read + wire.got.len());
        assert!(self.server.polls <= enough, "{} polls", self.server.polls);
    }

    fn heard(self) -> Heard {
        let is_over = self.server.future.is_none();
        drop(self.server);
        let wire = self.wire.borrow();
        Heard {
            bytes_read: wire.bytes_read,
            bytes_written: wire.got.len(),
            is_over,
            stream: match self.tls {
                None => wire.got.clone(),
                Some(tls) => tls.heard,
            },
        }
    }
}

/// Both ends' settings, with a certificate for this occasion.
fn tls() -> (TlsAcceptor, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let made = made.expect("a certificate");
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let key = made.signing_key.serialize_der();
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![made.cert.der().clone()],
            key.try_into().expect("a key"),
        );
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server.expect("a pair")).into(), Arc::new(client))
}

/// All that a client says on its own: subscriptions of two kinds, fragments with a ping between, things that are refused.
fn said() -> Vec<u8> {
    let text = |text: &str| frame(0x81, text.as_bytes());
    let member = r#"{"user_id":"ann","user_info":{"name":"Ann"}}"#;
    let to_sign = format!("{}:presence-hall:{member}", SocketId::new(1, 1));
    let auth = format!("key:{}", Secret::new("secret").sign(to_sign.as_bytes()));
    let hall = serde_json::json!({
        "event": "pusher:subscribe",
        "data": { "channel": "presence-hall", "auth": auth, "channel_data": member },
    });
    [
        text(r#"{"event":"pusher:subscribe","data":{"channel":"room"}}"#),
        text(&hall.to_string()),
        frame(0x01, br#"{"event":"pusher:sub"#),
        frame(0x89, b"between"),
        frame(0x80, br#"scribe","data":{"channel":"other"}}"#),
        text(r#"{"event":"client-waves","channel":"presence-hall","data":"hi"}"#),
        text("not JSON"),
        text(r#"{"event":"pusher:unsubscribe","data":{"channel":"other"}}"#),
        text(r#"{"event":"pusher:ping"}"#),
    ]
    .concat()
}

/// A client's frame.
fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_masked(&mut frame, first_byte, payload, [7, 77, 177, 77]);
    frame
}
