use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Wake, Waker},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::{awaited::AWAITED_MAX, *};
use crate::{
    cluster::{
        Asker,
        testing::fake::{Asked, Fake},
    },
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

const PING: &str = r#"{"event":"pusher:ping"}"#;

fn is_pong(text: &str) -> bool {
    text.contains("pusher:pong")
}

#[test]
fn what_depends_on_a_subscription_waits_for_it_and_everything_behind_with_it() {
    let mut scene = Scene::new("");
    let mut peer = scene.connect(1);
    let subscribe_a = peer.subscribe_private("private-a");
    let event = r#"{"event":"client-e","channel":"private-a","data":1}"#;
    let unsubscribe_a = unsubscribe("private-a");
    let texts = [&*subscribe_a, event, &unsubscribe_a, &subscribe_a, PING];
    assert_eq!(peer.say(&texts), [""; 0]);
    scene.grant("join private-a", &["first"]);
    let heard = peer.heard();
    assert_eq!(heard[0], "first");
    // The event was one of a subscriber's: no error. The ping is nothing that a subscription concerns.
    assert!(heard.len() == 2 && is_pong(&heard[1]), "{heard:?}");
    assert_eq!(peer.link.metrics().client_events.get(), 1);
    let mut asked = scene.check_asked(&["leave private-a", "join private-a"]);
    scene.obey(asked.remove(1).granted(&["second"]));
    assert_eq!(peer.heard(), ["second"]);
    assert_eq!(peer.counts(), (2, 1));
}

#[test]
fn what_waits_goes_on_after_the_last_of_several_answers() {
    let mut scene = Scene::new("");
    let mut peer = scene.connect(1);
    let heard = peer.say(&[&subscribe("a"), &subscribe("b"), &unsubscribe("c"), PING]);
    assert_eq!(heard, [""; 0]);
    let mut asked = scene.check_asked(&["join a", "join b"]);
    scene.obey(asked.remove(1).granted(&["b"]));
    assert_eq!(peer.heard(), ["b"]);
    scene.obey(asked.remove(0).granted(&["a"]));
    let heard = peer.heard();
    assert_eq!(heard[0], "a");
    assert!(is_pong(&heard[1]));
}

#[test]
fn a_subscription_to_a_channel_on_its_way_is_a_repeated_one() {
    let mut scene = Scene::new("");
    let mut peer = scene.connect(1);
    peer.say(&[&subscribe("a"), &subscribe("a")]);
    scene.grant("join a", &["first"]);
    assert_eq!(peer.heard(), ["first"]);
    let mut asked = scene.check_asked(&["look a"]);
    assert_eq!(peer.say(&[&unsubscribe("a")]), [""; 0]);
    scene.check_asked(&[]);
    scene.obey(asked.remove(0).granted(&["again"]));
    assert_eq!(peer.heard(), ["again"]);
    scene.check_asked(&["leave a"]);
    assert_eq!(peer.counts(), (1, 1));
    assert_eq!(scene.hub.subscriptions(), 0);
}

#[test]
fn so_many_answers_are_awaited_and_no_more() {
    let mut scene = Scene::new("");
    let mut peer = scene.connect(1);
    let texts: Vec<String> = (0..AWAITED_MAX + 3)
        .map(|n| subscribe(&format!("c{n}")))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    peer.say(&texts);
    let mut asked = scene.asked();
    assert_eq!(asked.len(), AWAITED_MAX);
    // pieces of a read that waits are not overtaken by the next one
    assert_eq!(peer.say(&[PING]), [""; 0]);
    for missing in [3, 2, 1] {
        scene.obey(asked.remove(0).granted(&[]));
        peer.run();
        asked.extend(scene.check_asked(&[&format!("join c{}", AWAITED_MAX + 3 - missing)]));
    }
    assert_eq!(peer.heard(), [""; 0]);
    scene.obey(asked.remove(0).granted(&[]));
    assert!(is_pong(&peer.heard()[0]));
    scene.check_asked(&[]);
}

#[test]
fn subscriptions_on_their_way_count_towards_the_limit() {
    let mut scene = Scene::new("channels_per_connection_max = 2");
    let mut peer = scene.connect(1);
    let texts = [subscribe("a"), subscribe("b"), subscribe("c")];
    let heard = peer.say(&texts.each_ref().map(String::as_str));
    assert_eq!(heard.len(), 2);
    assert!(heard[0].contains("pusher:subscription_error"), "{heard:?}");
    scene.check_asked(&["join a", "join b"]);
}

#[test]
fn a_refused_subscription_is_told_and_may_be_tried_again() {
    let mut scene = Scene::new("");
    let mut peer = scene.connect(1);
    peer.say(&[&subscribe("a")]);
    let mut asked = scene.check_asked(&["join a"]);
    scene.obey(asked.remove(0).refused(SubscribeError::MembersLimit));
    let heard = peer.heard();
    assert_eq!(heard.len(), 2);
    assert!(heard[0].contains("pusher:subscription_error"), "{heard:?}");
    peer.say(&[&subscribe("a")]);
    scene.grant("join a", &["in"]);
    assert_eq!(peer.heard(), ["in"]);
    drop(peer);
    scene.check_asked(&["leave a"]);
}

#[test]
fn a_message_that_waits_counts_once() {
    let limit = "message_rate_limit = true\nmessage_rate_attempts_max = 3";
    let mut scene = Scene::new(limit);
    let mut peer = scene.connect(1);
    peer.say(&[&subscribe("a"), &unsubscribe("a"), PING, PING]);
    scene.grant("join a", &["in"]);
    let heard = peer.heard();
    assert!(is_pong(&heard[1]), "{heard:?}");
    assert!(heard[2].contains("4301"), "{heard:?}");
}

/// What a connection has asked for when it ends is left, whatever became of it by then.
#[test]
fn c37_what_was_asked_for_is_left_exactly_once() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Answered {
        After,
        AfterItsKeyWentOn,
        WhileClosing,
        Unread,
        UnreadAndClosing,
        Read,
    }
    let check = |answered: Answered| {
        let mut scene = Scene::new("");
        let mut peer = scene.connect(1);
        let member = r#"{"user_id":"u"}"#;
        let signed = format!("{}:presence-a:{member}", peer.socket_id);
        let data = serde_json::json!({
            "channel": "presence-a", "auth": auth(&signed), "channel_data": member,
        });
        peer.say(&[&format!(r#"{{"event":"pusher:subscribe","data":{data}}}"#)]);
        let mut asked = scene.check_asked(&["join presence-a as u"]);
        let answer = asked.remove(0).granted(&["in"]);
        let close = Command::CloseApp {
            app: scene.app().index,
            reason: CloseReason::AppDisabled,
        };
        match answered {
            Answered::After => {
                drop(peer);
                scene.obey(answer);
            }
            Answered::AfterItsKeyWentOn => {
                drop(peer);
                let mut next = scene.connect(2);
                scene.obey(answer);
                assert_eq!(next.heard(), [""; 0]);
            }
            Answered::WhileClosing => {
                scene.obey(close);
                scene.obey(answer);
                peer.run();
                assert_eq!(peer.counts(), (0, 0), "{answered:?}");
            }
            Answered::Unread => {
                scene.obey(answer);
                let link = peer.link.clone();
                drop(peer);
                assert_eq!(link.metrics().subscribed.get(), 1);
                assert_eq!(link.metrics().unsubscribed.get(), 1);
            }
            Answered::UnreadAndClosing => {
                scene.obey(answer);
                scene.obey(close);
                peer.run();
                assert_eq!(peer.counts(), (1, 1), "{answered:?}");
            }
            Answered::Read => {
                scene.obey(answer);
                assert_eq!(peer.heard(), ["in"]);
                drop(peer);
            }
        }
        let left: Vec<String> = scene.asked().into_iter().map(|asked| asked.what).collect();
        assert_eq!(left, ["leave presence-a as u"], "{answered:?}");
        assert_eq!(scene.hub.subscriptions(), 0, "{answered:?}");
    };
    check(Answered::After);
    check(Answered::AfterItsKeyWentOn);
    check(Answered::WhileClosing);
    check(Answered::Unread);
    check(Answered::UnreadAndClosing);
    check(Answered::Read);
}

const USER: &str = r##"{"id":"u","watchlist":["v","w"]}"##;
const ALL_LEFT: [&str; 3] = [
    "leave #watchers-of-v",
    "leave #watchers-of-w",
    "leave #server-to-user-u",
];

#[test]
fn u12_a_signin_is_answered_with_the_users_channel_and_then_the_watchlist() {
    let mut scene = Scene::new("watchlist = true\nauthorization_timeout_s = 5");
    let mut peer = scene.connect(1);
    let own = subscribe("#server-to-user-u");
    let signed = format!("{}:presence-a", peer.socket_id);
    let as_user = subscribe_with("presence-a", &format!(r#","auth":"{}""#, auth(&signed)));
    let signin = peer.signin(USER);
    // What isn't the user's doesn't wait for him.
    let heard = peer.say(&[&signin, &subscribe("a"), &own, &as_user]);
    assert_eq!(heard, [""; 0]);
    let mut asked = scene.check_asked(&["join #server-to-user-u", "join a"]);
    scene.obey(asked.remove(1).granted(&["in a"]));
    assert_eq!(peer.heard(), ["in a"]);
    // It has shown who it is, however long the answer takes.
    let due = peer.link.due(10, &Limits::USUAL);
    assert_eq!(due, crate::hub::ticker::Due::Nothing);
    scene.obey(asked.remove(0).granted(&[]));
    let heard = peer.heard();
    assert!(
        heard.len() == 1 && heard[0].contains("pusher:signin_success"),
        "{heard:?}"
    );
    scene.grant("watch 2", &["who is there"]);
    let heard = peer.heard();
    assert_eq!(heard[0], "who is there");
    assert!(heard[1].contains("subscription_succeeded"), "{heard:?}");
    scene.grant("join presence-a as u", &["in"]);
    assert_eq!(peer.heard(), ["in"]);

    // again, as the same user
    let heard = peer.say(&[&signin]);
    assert!(
        heard.len() == 1 && heard[0].contains("pusher:signin_success"),
        "{heard:?}"
    );
    let mut asked = scene.check_asked(&[ALL_LEFT[0], ALL_LEFT[1], "watch 2"]);
    scene.obey(asked.remove(2).granted(&["who is there now"]));
    assert_eq!(peer.heard(), ["who is there now"]);
    drop(peer);
    let left = scene.asked().into_iter().map(|asked| asked.what);
    let mut left: Vec<String> = left.collect();
    assert_eq!(left.split_off(3), ["leave a", "leave presence-a as u"]);
    assert_eq!(left, ALL_LEFT);
    assert_eq!(scene.hub.subscriptions(), 0);
}

#[test]
fn c36_a_signed_subscription_on_its_way_is_in_time() {
    for (is_signed, expected) in [
        (true, crate::hub::ticker::Due::Nothing),
        (false, crate::hub::ticker::Due::AuthorizationTimeout),
    ] {
        let mut scene = Scene::new("authorization_timeout_s = 5");
        let mut peer = scene.connect(1);
        let subscribe = match is_signed {
            true => peer.subscribe_private("private-a"),
            false => subscribe("a"),
        };
        assert_eq!(peer.say(&[&subscribe]), [""; 0]);
        let asked = scene.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!(peer.link.due(10, &Limits::USUAL), expected);
    }
}

#[test]
fn c36_a_signed_subscription_that_is_refused_is_none() {
    let over = SubscribeError::MembersLimit;
    for (is_other_signed, expected) in [
        (true, crate::hub::ticker::Due::Nothing),
        (false, crate::hub::ticker::Due::AuthorizationTimeout),
    ] {
        let mut scene = Scene::new("authorization_timeout_s = 5");
        let mut peer = scene.connect(1);
        let first = peer.subscribe_private("private-a");
        let other = match is_other_signed {
            true => peer.subscribe_private("private-b"),
            false => subscribe("b"),
        };
        peer.say(&[&first, &other]);
        let mut asked = scene.asked();
        scene.obey(asked.remove(0).refused(over.clone()));
        peer.run();
        if is_other_signed {
            // which may still be let in
            assert_eq!(
                peer.link.due(10, &Limits::USUAL),
                crate::hub::ticker::Due::Nothing
            );
        }
        scene.obey(asked.remove(0).granted(&["in"]));
        peer.run();
        assert_eq!(peer.link.due(10, &Limits::USUAL), expected);
    }
}

#[test]
fn c37_a_user_is_left_exactly_once_whatever_the_signin_had_come_to() {
    for steps in 0..=4 {
        let mut scene = Scene::new("watchlist = true");
        let mut peer = scene.connect(1);
        peer.say(&[&peer.signin(USER)]);
        let mut asked = scene.check_asked(&["join #server-to-user-u"]);
        let joined = asked.remove(0).granted(&[]);
        let mut left = Vec::new();
        if steps == 0 {
            drop(peer);
            scene.obey(joined);
        } else {
            scene.obey(joined);
            if steps > 1 {
                peer.run();
                let mut asked = scene.check_asked(&["watch 2"]);
                let watching = asked.remove(0).granted(&[]);
                if steps == 2 {
                    drop(peer);
                    left.extend(scene.asked());
                    scene.obey(watching);
                } else {
                    scene.obey(watching);
                    if steps == 4 {
                        peer.run();
                    }
                    drop(peer);
                }
            } else {
                drop(peer);
            }
        }
        left.extend(scene.asked());
        let mut left: Vec<String> = left.into_iter().map(|asked| asked.what).collect();
        left.sort();
        let mut expected = ALL_LEFT[if steps > 1 { 0 } else { 2 }..].to_vec();
        expected.sort_unstable();
        assert_eq!(left, expected, "{steps}");
        assert_eq!(scene.hub.subscriptions(), 0, "{steps}");
    }
}

#[test]
fn u24_a_cut_watchlist_is_told_after_the_success_and_an_empty_one_not_asked_for() {
    let mut scene = Scene::new("watchlist = true\nwatchlist_max = 1");
    let mut peer = scene.connect(1);
    peer.say(&[&peer.signin(USER)]);
    scene.grant("join #server-to-user-u", &[]);
    let heard = peer.heard();
    assert!(heard.len() == 2 && heard[1].contains("4302"), "{heard:?}");
    scene.grant("watch 1", &[]);

    let mut peer = scene.connect(2);
    let signin = peer.signin(r#"{"id":"u"}"#);
    peer.say(&[&signin, &unsubscribe("a"), PING]);
    scene.grant("join #server-to-user-u", &[]);
    assert_eq!(peer.heard().len(), 2);
    scene.check_asked(&[]);
}

/// On another thread the answers may be there before the one who asks has gone on to its next step.
#[test]
fn u22_a_watchlist_is_answered_however_soon() {
    const COUNT: usize = 2_000;
    let mut scene = Scene::new("watchlist = true");
    let peer = scene.connect(1);
    let asker = Asker {
        worker: WorkerId(0),
        socket: scene.hub.add(peer.link.clone()),
        socket_id: peer.socket_id,
    };
    let (node, app) = (scene.node.clone(), scene.app());
    let asking = std::thread::spawn(move || {
        let cluster = node.cluster().expect("a cluster");
        for _ in 0..COUNT {
            cluster.watch(&app, &["v".into()], asker);
            // so that whoever answers has nothing else to do
            std::thread::sleep(Duration::from_micros(1));
        }
    });
    let mut answered = 0;
    let mut is_over = false;
    while !is_over {
        is_over = asking.is_finished();
        let asked = scene.asked();
        answered += asked.iter().filter(|asked| asked.what == "watch 1").count();
    }
    assert_eq!(answered, COUNT);
}

#[test]
fn messages_wait_while_too_many_events_are_on_their_way() {
    let mut scene = Scene::with_room("", 1);
    let mut peer = scene.connect(1);
    let publication = crate::directory::Publication {
        channel: ChannelKey {
            app: scene.app().index,
            name: ChannelName::parse("a", 200).expect("a name"),
        },
        frame: Frame::text("{}"),
        except: None,
        published: Instant::now(),
        cached: None,
    };
    let cluster = scene.node.cluster().expect("a cluster");
    let taken = cluster.publish_client_event(&scene.app(), publication);
    assert_eq!(taken, Ok(()));
    assert_eq!(peer.say(&[PING]), [""; 0]);
    scene.asked();
    scene.obey(Command::CloseApp {
        app: u32::MAX,
        reason: CloseReason::AppDisabled,
    });
    assert!(is_pong(&peer.heard()[0]));
}

#[test]
fn c30_a_connection_that_waits_closes_like_any_other() {
    let mut scene = Scene::new("");
    let mut peer = scene.connect(1);
    peer.say(&[&subscribe("a"), &unsubscribe("a")]);
    scene.obey(Command::CloseApp {
        app: scene.app().index,
        reason: CloseReason::AppDisabled,
    });
    let heard = peer.heard();
    assert_eq!(heard.last().map(String::as_str), Some("close 4003"));
    peer.send(&masked(0x88, ""));
    assert!(peer.connection.is_none(), "the client's close wasn't read");
}
