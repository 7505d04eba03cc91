//! What happens most often, each part alone: reading frames and messages, checking a request, writing an event, joining and
//! leaving, handing a frame to the sockets of a channel. No sockets and no system calls, so that a change of our own code shows.
//!
//! `cargo bench` takes half a minute; `cargo bench -- frames` only those of that name.
use std::{
    cell::Cell,
    hint::black_box,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use reqwest::Method;
use resound::{
    apps::App,
    client::http::signed_target,
    config,
    directory::{Directory, Publication},
    frame::{FrameReader, write_masked},
    hub::{
        self, Hub,
        inbox::{ChannelKey, Commands, Position, WorkerId, inbox},
        link::{Link, Transport},
        ticker::{KeepAlive, Limits},
    },
    protocol::{
        channel::ChannelName,
        client::ClientMessage,
        event::EventData,
        presence::Member,
        request::{Query, SignedRequest, check_request},
        server,
        signature::Secret,
        socket_id::SocketId,
    },
    webhook::Webhooks,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const SUBSCRIBE: &str = r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"orders.1"}}"#;
const CLIENT_EVENT: &str = r#"{"event":"client-typing","channel":"private-room.1","data":{"user":7,"text":"hello there"}}"#;

/// Sockets of a channel.
const SOCKETS: usize = 1_000;

criterion_group! {
    name = benches;
    // Enough to see some percent of change.
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = frames, messages, requests, events, joining, delivery
}
criterion_main!(benches);

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("frames");
    let large = "x".repeat(64 * 1024);
    let cases = [
        ("a short one", masked(SUBSCRIBE), 1),
        ("64 KiB", masked(&large), 1),
        ("100 in a buffer", masked(SUBSCRIBE).repeat(100), 100),
    ];
    for (name, bytes, count) in cases {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| {
            // Taken bytes are unmasked where they lie, so each run has its own.
            let read = |mut input: Vec<u8>| {
                assert_eq!(messages_in(&mut input), count);
                input
            };
            b.iter_batched(|| bytes.clone(), read, BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn messages_in(input: &mut [u8]) -> usize {
    let mut reader = FrameReader::new(1 << 20);
    let (mut from, mut messages) = (0, 0);
    loop {
        let (taken, message) = reader.feed(&mut input[from..]).expect("right frames");
        from += taken;
        match black_box(message) {
            Some(_) => messages += 1,
            None => return messages,
        }
    }
}

/// A text frame as browsers send it.
fn masked(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    write_masked(&mut frame, 0x81, text.as_bytes(), [0x12, 0x34, 0x56, 0x78]);
    frame
}

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("messages");
    for (name, text) in [
        ("subscribe", SUBSCRIBE),
        ("client event", CLIENT_EVENT),
        ("ping", r#"{"event":"pusher:ping","data":{}}"#),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| ClientMessage::parse(black_box(text)).expect("a message"));
        });
    }
    group.finish();
}

fn requests(c: &mut Criterion) {
    const PATH: &str = "/apps/1001/events";
    const NOW_S: u64 = 1_700_000_000;
    let secret = Secret::new("app-secret");
    let data = "x".repeat(200);
    let body = format!(r#"{{"name":"event","channel":"orders.1","data":"{data}"}}"#);
    let body = body.as_bytes();
    let target = signed_target("app-key", &secret, &Method::POST, PATH, body, NOW_S);
    let (_, query) = target.split_once('?').expect("a query");
    c.bench_function("requests/signature and body", |b| {
        b.iter(|| {
            let query = Query::parse(black_box(query));
            let request = SignedRequest {
                method: "POST",
                paths: &[PATH],
                query: &query,
                body,
            };
            check_request(&request, "app-key", &secret, NOW_S, 600).expect("signed");
        });
    });
}

fn events(c: &mut Criterion) {
    let channel = channel("orders.1");
    let data = EventData::from_text(&r#"{"id":1}"#.repeat(25));
    c.bench_function("events/encode", |b| {
        b.iter(|| server::event(black_box("order.paid"), &channel, &data, None));
    });
}

fn joining(c: &mut Criterion) {
    let mut group = c.benchmark_group("joining");
    let (directory, app, _commands) = directory();
    let now = Instant::now();
    let public = key("orders.1");
    group.bench_function("public, the first and last", |b| {
        b.iter(|| join_and_leave(&directory, &app, &public, None, now));
    });
    let _stays = directory.join(&app, &public, WorkerId(0), None, now);
    group.bench_function("public, one of several", |b| {
        b.iter(|| join_and_leave(&directory, &app, &public, None, now));
    });
    let presence = key("presence-room");
    let newcomer = member(0);
    group.bench_function("presence, alone", |b| {
        b.iter(|| join_and_leave(&directory, &app, &presence, Some(&newcomer), now));
    });
    // On the same user's second connection, so that nobody is told and no inbox grows.
    let members: Vec<_> = (0..50).map(member).collect();
    for one in &members {
        let joined = directory.join(&app, &presence, WorkerId(0), Some(one), now);
        joined.expect("few members");
    }
    group.bench_function("presence, among 50", |b| {
        b.iter(|| join_and_leave(&directory, &app, &presence, Some(&newcomer), now));
    });
    group.finish();
}

fn join_and_leave(
    directory: &Directory,
    app: &App,
    channel: &ChannelKey,
    member: Option<&Arc<Member>>,
    now: Instant,
) {
    let joined = directory.join(app, channel, WorkerId(0), member, now);
    black_box(joined.expect("within the limits"));
    let user_id = member.map(|member| &*member.user_id);
    directory.leave(app, channel, WorkerId(0), user_id, now);
}

fn delivery(c: &mut Criterion) {
    let mut group = c.benchmark_group("delivery");
    let (directory, app, mut commands) = directory();
    let now = Instant::now();
    let channel_key = key("orders.1");
    let joined = directory.join(&app, &channel_key, WorkerId(0), None, now);
    joined.expect("within the limits");
    let frame = server::event(
        "order.paid",
        &channel("orders.1"),
        &EventData::from_text(&"x".repeat(200)),
        None,
    );
    let publication = Publication {
        channel: channel_key,
        frame,
        except: None,
        published: now,
        cached: None,
    };
    let mut batch = Vec::new();
    group.bench_function("from the directory into a worker's inbox", |b| {
        b.iter(|| {
            directory.publish(&publication, now).expect("room");
            commands.take_now(&mut batch, 1);
            batch.clear();
        });
    });
    let mut worker = Worker::new(directory, publication, commands);
    group.throughput(Throughput::Elements(SOCKETS as u64));
    group.bench_function("through the hub to 1000 sockets, an event", |b| {
        b.iter(|| worker.deliver(1));
    });
    group.throughput(Throughput::Elements(8 * SOCKETS as u64));
    group.bench_function("through the hub to 1000 sockets, 8 events", |b| {
        b.iter(|| worker.deliver(8));
    });
    group.finish();
}

/// A worker's hub with sockets on a channel, behind the directory.
struct Worker {
    directory: Directory,
    publication: Publication,
    /// the hub at work
    turns: Pin<Box<dyn Future<Output = ()>>>,
    written_bytes: Rc<Cell<usize>>,
}

impl Worker {
    fn new(directory: Directory, publication: Publication, commands: Commands) -> Worker {
        let limits = Limits {
            write_timeout_s: 30,
            close_timeout_s: 5,
            message_timeout_s: 60,
        };
        let keep_alive = KeepAlive {
            ping_interval_s: 3_600,
            pong_timeout_s: 3_600,
        };
        let hub = Hub::new(WorkerId(0), limits, Arc::default());
        let written_bytes = Rc::new(Cell::new(0));
        for number in 0..SOCKETS as u32 {
            let io = Abyss(written_bytes.clone());
            let id = SocketId::new(1, number);
            let link = Link::new(io, id, None, keep_alive, 1 << 20, 0, Arc::default());
            link.set_task(Waker::noop());
            let socket = hub.add(link);
            hub.subscribe(publication.channel.clone(), socket, Position(0));
        }
        Worker {
            directory,
            publication,
            turns: Box::pin(hub::run(hub, commands)),
            written_bytes,
        }
    }

    /// Publishes, and lets the hub take its turns until every socket has all.
    fn deliver(&mut self, events: usize) {
        for _ in 0..events {
            let published = self.directory.publish(&self.publication, Instant::now());
            published.expect("room");
        }
        let event_bytes = self.publication.frame.as_bytes().len();
        let wanted = self.written_bytes.get() + events * SOCKETS * event_bytes;
        let mut context = Context::from_waker(Waker::noop());
        while self.written_bytes.get() < wanted {
            assert!(self.turns.as_mut().poll(&mut context).is_pending());
        }
    }
}

/// Takes everything, and counts the bytes.
struct Abyss(Rc<Cell<usize>>);

impl Abyss {
    fn take(&self, bytes: &[u8]) -> usize {
        self.0.set(self.0.get() + black_box(bytes).len());
        bytes.len()
    }
}

impl Transport for Abyss {}

impl AsyncRead for Abyss {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Abyss {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.take(bytes)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(slices.iter().map(|slice| self.take(slice)).sum()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A directory for one worker, whose inbox never counts as full, with the development app.
fn directory() -> (Directory, App, Commands) {
    let (sender, commands) = inbox(usize::MAX);
    let mut settings = config::from_toml("").expect("defaults");
    let directory = Directory::new(vec![sender], 1_000, Webhooks::default());
    (directory, settings.apps.remove(0), commands)
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name, 200).expect("a name")
}

fn key(name: &str) -> ChannelKey {
    ChannelKey {
        app: 0,
        name: channel(name),
    }
}

fn member(number: usize) -> Arc<Member> {
    Arc::new(Member {
        user_id: number.to_string().into(),
        user_info: r#"{"name":"somebody"}"#.into(),
    })
}
