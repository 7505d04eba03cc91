//! What a delivery allocates: nothing. The real server and its subscribers are in this process, over loopback, and an allocator counts
//! for all threads. A test binary of its own, so that nobody else allocates meanwhile.
use std::{
    alloc::System,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use reqwest::Method;
use resound::{
    client::{http::signed_target, now_s},
    config,
    protocol::signature::Secret,
    server,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::sync::oneshot;

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Far more than anything takes; what doesn't come by then fails the test.
const PATIENCE: Duration = Duration::from_secs(30);

const MANY: usize = 1_000;

/// Events before the first one that counts: queues and tables have grown by then.
const WARM_UP: usize = 50;
const EVENTS: usize = 100;

#[test]
fn a_delivery_allocates_nothing() {
    // both ends of each connection are in this process
    let files = rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    assert!(files > 2 * MANY as u64 + 100, "only {files} open files");
    let server = Server::start();
    let mut one = Audience::gather(server.address, "solo", 1);
    let mut many = Audience::gather(server.address, "many", MANY);
    let mut backend = connect(server.address);
    for _ in 0..WARM_UP {
        one.hear(&mut backend);
        many.hear(&mut backend);
    }
    let (mut of_one, mut of_many) = ([0; EVENTS], [0; EVENTS]);
    for n in 0..EVENTS {
        // in turns, so that what else the server does falls on both alike; the median leaves out the clock's sweeps
        of_one[n] = one.hear(&mut backend);
        of_many[n] = many.hear(&mut backend);
    }
    let (of_one, of_many) = (median(of_one), median(of_many));
    println!("an event to one allocates {of_one} times, one to {MANY} {of_many} times");
    // A request itself takes one or two more or fewer, as its parts come together. An allocation in one of ten deliveries would be
    // a hundred.
    let more = of_many.saturating_sub(of_one);
    assert!(more < MANY / 100, "{more} more for {} deliveries", MANY - 1);
}

/// Allocations so far, of all threads. What grows in place may move as well.
fn allocations() -> usize {
    let stats = COUNTED.stats();
    stats.allocations + stats.reallocations
}

fn median(mut all: [usize; EVENTS]) -> usize {
    all.sort_unstable();
    all[EVENTS / 2]
}

/// Subscribers of a channel, and an event for it.
struct Audience {
    subscribers: Vec<TcpStream>,
    request: Vec<u8>,
    /// what an event is to each of them
    frame_bytes: usize,
}

impl Audience {
    fn gather(address: SocketAddr, channel: &str, count: usize) -> Audience {
        let data = "x".repeat(200);
        let event = format!(r#"{{"event":"e","channel":"{channel}","data":"{data}"}}"#);
        Audience {
            subscribers: (0..count).map(|_| subscribe(address, channel)).collect(),
            request: request(channel, &data),
            // two bytes of header, two more of length
            frame_bytes: 4 + event.len(),
        }
    }

    /// Posts the event, waits until everybody has it, and returns what was allocated. Allocates nothing itself.
    fn hear(&mut self, backend: &mut TcpStream) -> usize {
        let mut buffer = [0; 1024];
        let before = allocations();
        backend.write_all(&self.request).expect("sent");
        let answer = backend.read(&mut buffer).expect("an answer");
        let answer = &buffer[..answer];
        assert!(answer.starts_with(b"HTTP/1.1 200"), "refused");
        assert!(answer.ends_with(b"{}"), "in two parts");
        for subscriber in &mut self.subscribers {
            let frame = &mut buffer[..self.frame_bytes];
            subscriber.read_exact(frame).expect("the event");
            assert_eq!(frame[..2], [0x81, 126], "no event");
        }
        allocations() - before
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

fn subscribe(address: SocketAddr, channel: &str) -> TcpStream {
    let mut stream = connect(address);
    stream
        .write_all(b"GET /app/app-key?protocol=7 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .expect("sent");
    read_until(&mut stream, "connection_established");
    let message = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#);
    let length = u8::try_from(message.len()).expect("short");
    assert!(length < 126, "short");
    // masked with zeros, which changes nothing
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.extend(message.into_bytes());
    stream.write_all(&frame).expect("sent");
    read_until(&mut stream, r#""data":"{}"}"#);
    stream
}

/// Reads up to a text with which nothing else is on its way.
fn read_until(stream: &mut TcpStream, text: &str) {
    let mut said = Vec::new();
    let mut chunk = [0; 1024];
    while !String::from_utf8_lossy(&said).contains(text) {
        let count = stream.read(&mut chunk).expect("an answer");
        assert!(count > 0, "closed: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&chunk[..count]);
    }
}

fn request(channel: &str, data: &str) -> Vec<u8> {
    let body = format!(r#"{{"name":"e","channel":"{channel}","data":"{data}"}}"#);
    let secret = Secret::new("app-secret");
    let target = signed_target(
        "app-key",
        &secret,
        &Method::POST,
        "/apps/1001/events",
        body.as_bytes(),
        now_s(),
    );
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The server with one worker. Dropped, it stops.
struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Server {
        let app = "[[apps]]\nid = '1001'\nkey = 'app-key'\nsecret = 'app-secret'\n[admin]\nenabled = false";
        let mut settings = config::from_toml(app).expect("settings");
        settings.server.host = [127, 0, 0, 1].into();
        settings.server.port = 0;
        settings.server.workers = 1;
        let (started, running) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let running = server::start(settings, 20_000).expect("a server");
                started.send(running.address).expect("the test waits");
                let _ = stopped.await;
                running.stop().await.expect("a clean stop");
            });
        });
        Server {
            address: running.recv_timeout(PATIENCE).expect("a running server"),
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}
