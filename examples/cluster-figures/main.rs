//! Measures what a cluster costs: servers of the release binary on a Redis of their own, all on this machine, over loopback.
//!
//! `cargo build --release && cargo run --example cluster-figures [-- latency|publishes|commands|memory]`
//!
//! Everything shares the machine's cores, so compare figures of one run with each other. Processor times blur less.

mod node;
mod redis;

use std::{
    io::{BufRead, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use node::{Backend, Node, Socket, batch};
use redis::{Redis, packed};

/// Bytes of an event's data.
const DATA_BYTES: usize = 200;

/// The most events of one request.
const BATCH: usize = 10;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let all: [(&str, fn()); 4] = [
        ("commands", commands),
        ("memory", memory),
        ("latency", latency),
        ("publishes", publishes),
    ];
    for (name, measure) in all {
        if wanted.is_empty() || wanted.iter().any(|want| want == name) {
            println!("{name}");
            measure();
        }
    }
}

fn names(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{kind}-{n:05}")).collect()
}

fn data() -> String {
    "x".repeat(DATA_BYTES)
}

/// How long an event takes to a subscriber on a server that is alone, on the node that was asked, and on another node; one after
/// the other, in turn.
fn latency() {
    const EVENTS: usize = 3_000;
    let redis = Redis::start();
    let alone = Node::start("alone", None, "");
    let [a, b] = ["a", "b"].map(|name| Node::start(name, Some(redis.port), ""));
    let channel = names("latency", 1);
    let mut sockets = [&alone, &a, &b].map(|node| {
        let mut socket = Socket::connect(node);
        socket.subscribe(&channel);
        let (sender, arrivals) = mpsc::channel();
        thread::spawn(move || {
            while let Ok(text) = socket.try_next() {
                if text.contains("latency") && sender.send(Instant::now()).is_err() {
                    return;
                }
            }
        });
        (arrivals, Vec::new())
    });
    let mut backends = [&alone, &a].map(Backend::connect);
    let request = batch(&channel, &data());
    for event in 0..EVENTS + 200 {
        let heard: [&[usize]; 2] = [&[0], &[1, 2]];
        for (backend, heard) in backends.iter_mut().zip(heard) {
            let begun = Instant::now();
            backend.post(&request, 1);
            for socket in heard {
                let (arrivals, times) = &mut sockets[*socket];
                let arrived = arrivals.recv_timeout(Duration::from_secs(5));
                let time = arrived.expect("an event") - begun;
                if event >= 200 {
                    times.push(time);
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
    let what = ["without a cluster", "to the same node", "to another node"];
    for (what, (_, times)) in what.iter().zip(&mut sockets) {
        times.sort();
        let at = |share: usize| times[times.len() * share / 1000].as_micros();
        println!(
            "  {what:20} p50 {:>5} µs  p90 {:>5} µs  p99 {:>5} µs",
            at(500),
            at(900),
            at(990)
        );
    }
}

/// Events that servers pass on through Redis, posted to one node and heard on another; beside it what Redis does with bare
/// `PUBLISH` of as many bytes.
fn publishes() {
    for (settings, what) in [("", "with history"), ("history_events_max = 0", "without")] {
        for channels in [1, 1_000] {
            let redis = Redis::start();
            let [a, b] = ["a", "b"].map(|name| Node::start(name, Some(redis.port), settings));
            let bare = bare_publishes(&redis, channels);
            println!(
                "  {what:12} {channels:>5} channels: {}; bare PUBLISH {bare}",
                through(&redis, &a, &b, channels)
            );
        }
    }
}

fn through(redis: &Redis, a: &Node, b: &Node, channels: usize) -> String {
    const EVENTS: usize = 100_000;
    const WINDOW: usize = 5_000;
    const BACKENDS: usize = 4;
    let names = names("through", channels);
    let mut subscriber = Socket::connect(b).with_room();
    subscriber.subscribe(&names);
    let heard = Arc::new(AtomicUsize::new(0));
    let counter = heard.clone();
    let counting = thread::spawn(move || {
        const STEP: usize = 100;
        for _ in 0..EVENTS / STEP {
            subscriber.count(STEP);
            counter.fetch_add(STEP, Relaxed);
        }
    });
    let before = (redis.cpu(), a.cpu(), b.cpu());
    let begun = Instant::now();
    let sent = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for backend in 0..BACKENDS {
            let (names, sent, heard) = (&names, &sent, &heard);
            scope.spawn(move || {
                let mut connection = Backend::connect(a);
                let mut others = names.iter().skip(backend).step_by(BACKENDS).cycle();
                let requests: Vec<Vec<u8>> = (0..channels.div_ceil(BATCH))
                    .map(|_| {
                        let channels = (0..BATCH).map(|_| match channels {
                            1 => names[0].clone(),
                            _ => others.next().expect("channels").clone(),
                        });
                        batch(&channels.collect::<Vec<_>>(), &data())
                    })
                    .collect();
                for request in requests.iter().cycle().take(EVENTS / BATCH / BACKENDS) {
                    while sent.load(Relaxed) > heard.load(Relaxed) + WINDOW {
                        thread::sleep(Duration::from_micros(200));
                    }
                    sent.fetch_add(BATCH, Relaxed);
                    connection.post(request, 1);
                }
            });
        }
    });
    counting.join().expect("every event came");
    let took = begun.elapsed().as_secs_f64();
    let after = (redis.cpu(), a.cpu(), b.cpu());
    let us = |before: f64, after: f64| (after - before) * 1e6 / EVENTS as f64;
    format!(
        "{:.0} events/s; processor time an event: Redis {:.1} µs, node asked: cluster's thread {:.1} µs, others {:.1} µs, other node: {:.1} µs, {:.1} µs",
        EVENTS as f64 / took,
        us(before.0, after.0),
        us(before.1.0, after.1.0),
        us(before.1.1, after.1.1),
        us(before.2.0, after.2.0),
        us(before.2.1, after.2.1),
    )
}

/// On connections with many commands on their way, with one subscriber, as a node is.
fn bare_publishes(redis: &Redis, channels: usize) -> String {
    const EVENTS: usize = 400_000;
    const PIPELINE: usize = 100;
    let names = names("bare", channels);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // what surrounds the data in an event, too
    let text = "x".repeat(DATA_BYTES + 120);
    let mut subscriber = redis.connect();
    let stream = subscriber.0.get_mut();
    stream
        .write_all(&packed("SUBSCRIBE", &names))
        .expect("sent");
    let reading = thread::spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(1..) = subscriber.0.get_mut().read(&mut buffer) {}
    });
    let (cpu, begun) = (redis.cpu(), Instant::now());
    let mut publisher = redis.connect();
    let mut at = names.iter().cycle();
    let (mut lines, mut bytes) = (String::new(), Vec::new());
    for _ in 0..EVENTS / PIPELINE {
        bytes.clear();
        for _ in 0..PIPELINE {
            bytes.extend(packed("PUBLISH", &[at.next().expect("names"), &text]));
        }
        publisher.0.get_mut().write_all(&bytes).expect("sent");
        for _ in 0..PIPELINE {
            lines.clear();
            publisher.0.read_line(&mut lines).expect("an answer");
        }
    }
    let (took, cpu) = (begun.elapsed().as_secs_f64(), redis.cpu() - cpu);
    redis.connect().ask("CLIENT", &["KILL", "TYPE", "pubsub"]);
    let _ = reading.join();
    format!(
        "{:.0} events/s, Redis {:.1} µs an event",
        EVENTS as f64 / took,
        cpu * 1e6 / EVENTS as f64
    )
}

/// What is asked of Redis for each thing that happens, each a thousand times.
fn commands() {
    const TIMES: usize = 1_000;
    let redis = Redis::start();
    let [a, b] = ["a", "b"].map(|name| Node::start(name, Some(redis.port), ""));
    let publics = names("public", TIMES);
    let caches = names("cache", TIMES);
    let presences = names("presence-room", TIMES);
    let mut first = Socket::connect(&a);
    let mut second = Socket::connect(&a);
    let mut elsewhere = Socket::connect(&b);
    let mut backend = Backend::connect(&a);
    let requests = |channels: &[String]| -> Vec<Vec<u8>> {
        let chunks = channels.chunks(BATCH);
        chunks.map(|channels| batch(channels, &data())).collect()
    };
    let count = |what: &str, act: &mut dyn FnMut()| counted(&redis, what, TIMES, act);
    count("first subscriber of a channel on a node", &mut || {
        first.subscribe(&publics)
    });
    count("second one on the node", &mut || second.subscribe(&publics));
    count("first one on another node", &mut || {
        elsewhere.subscribe(&publics)
    });
    count("event", &mut || {
        for request in requests(&publics) {
            backend.post(&request, 1);
        }
    });
    count("event nobody has subscribed to", &mut || {
        for request in requests(&names("nobody", TIMES)) {
            backend.post(&request, 1);
        }
    });
    count("last but one on a node leaves", &mut || {
        second.leave(&publics)
    });
    count("last one on a node leaves", &mut || first.leave(&publics));
    count("last one of all leaves", &mut || elsewhere.leave(&publics));
    count("first subscriber of a cache channel", &mut || {
        first.subscribe(&caches)
    });
    count("event of a cache channel", &mut || {
        for request in requests(&caches) {
            backend.post(&request, 1);
        }
    });
    count("first member of a presence channel", &mut || {
        first.enter(&presences, 1)
    });
    count("another member", &mut || second.enter(&presences, 2));
    count("first member on another node", &mut || {
        elsewhere.enter(&presences, 3)
    });
    count("a member leaves", &mut || second.leave(&presences));
    counted(&redis, "ten idle seconds of two nodes", 1, &mut || {
        thread::sleep(Duration::from_secs(10))
    });
}

fn counted(redis: &Redis, what: &str, times: usize, act: &mut dyn FnMut()) {
    let ((before, before_us), cpu) = (redis.commands(), redis.cpu());
    act();
    thread::sleep(Duration::from_millis(300));
    let ((after, after_us), cpu) = (redis.commands(), redis.cpu() - cpu);
    let times = times as f64;
    let all = after.iter().filter_map(|(name, count)| {
        let each = (count - before.get(name).unwrap_or(&0.0)) / times;
        let is_ours = !["info", "hello"].contains(&name.as_str()) && each >= 0.05;
        is_ours.then(|| format!("{name} {each:.1}"))
    });
    println!(
        "  {what:40} {}; scripts {:.0} µs, Redis in all {:.0} µs",
        all.collect::<Vec<_>>().join(", "),
        (after_us - before_us) / times,
        cpu * 1e6 / times,
    );
}

/// Bytes in Redis and in servers.
fn memory() {
    const CHANNELS: usize = 10_000;
    const MEMBERS: usize = 2_000;
    let redis = Redis::start();
    let [a, b] = ["a", "b"].map(|name| Node::start(name, Some(redis.port), ""));
    let alone = Node::start("alone", None, "");
    let publics = names("public", CHANNELS);
    let mut before = redis.memory();
    let mut in_redis = |what: &str, count: usize| {
        // Redis looks after its buffers and tables every now and then
        thread::sleep(Duration::from_secs(3));
        let now = redis.memory();
        println!(
            "  Redis, {what:44} {:.0} bytes",
            (now - before) / count as f64
        );
        before = now;
    };
    let mut sockets = Vec::new();
    for (node, what) in [(&alone, "alone"), (&a, "in a cluster")] {
        // what the first ones cost once isn't counted for each
        let mut socket = Socket::connect(node);
        socket.subscribe(&names("warm-up", 100));
        let start = node.rss();
        socket.subscribe(&publics);
        println!(
            "  server {what:12} a channel with a subscriber {:.0} bytes",
            (node.rss() - start) / CHANNELS as f64
        );
        let start = node.rss();
        sockets.extend((0..MEMBERS).map(|_| Socket::connect(node)));
        println!(
            "  server {what:12} a socket {:.0} bytes",
            (node.rss() - start) / MEMBERS as f64
        );
        socket.read_on();
    }
    in_redis("a channel", CHANNELS + 100);
    let mut elsewhere = Socket::connect(&b);
    elsewhere.subscribe(&publics);
    elsewhere.read_on();
    in_redis("a channel's second node", CHANNELS);
    let mut backend = Backend::connect(&a);
    for channels in publics.chunks(BATCH) {
        backend.post(&batch(channels, &data()), 1);
    }
    in_redis("the first remembered event of 200 bytes", CHANNELS);
    // the server has closed the one that was idle
    let mut backend = Backend::connect(&a);
    for channels in publics[..1_000].chunks(BATCH) {
        backend.post(&batch(channels, &data()), 20);
    }
    in_redis("each further one", 20_000);
    let rooms = names("presence-room", 100);
    let members = &mut sockets[MEMBERS..];
    for (user, member) in members.iter_mut().enumerate().take(20) {
        member.enter(&rooms, user);
    }
    in_redis("a member of channels with 20", MEMBERS);
    let one = names("presence-large", 1);
    for (user, member) in members.iter_mut().enumerate().take(MEMBERS) {
        member.enter(&one, user);
    }
    in_redis("a member of a channel with 2,000", MEMBERS);
}
