//! Measures a Resound binary over loopback and prints figures: memory per idle socket, deliveries, REST triggers.
//!
//! `cargo build --release && cargo run --release --example bench [-- idle|fanout|steady|rest|webhooks]`
//!
//! The server and this program share the machine, so figures of two runs compare only if nothing else ran; the `steady` and
//! `fanout` figures also give the server's own CPU time, which the client doesn't blur.

mod client;
mod server;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use client::{Publisher, Subscriber};
use server::Server;
use tokio::task::LocalSet;

/// Bytes of an event's data.
const DATA_BYTES: usize = 200;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let all: [(&str, fn()); 5] = [
        ("idle", idle),
        ("fanout", fanout),
        ("steady", steady),
        ("rest", rest),
        ("webhooks", webhooks),
    ];
    for (name, measure) in all {
        if wanted.is_empty() || wanted.iter().any(|want| want == name) {
            measure();
        }
    }
}

/// Runs on one thread, so that the other core is the server's.
fn run<F: Future<Output = ()>>(measure: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, measure);
}

/// Resident memory for each of 5,000 sockets, each on one public channel, and how fast they came.
fn idle() {
    const SOCKETS: usize = 5_000;
    run(async {
        let server = Server::start(2);
        // One socket first, so that what the first one costs once isn't counted for each.
        let _first = Subscriber::connect(server.address, "warm-up").await;
        let before = server.rss_bytes();
        let begun = Instant::now();
        let mut sockets = Vec::with_capacity(SOCKETS);
        for n in 0..SOCKETS {
            sockets.push(Subscriber::connect(server.address, &format!("room-{}", n % 100)).await);
        }
        let rate = SOCKETS as f64 / begun.elapsed().as_secs_f64();
        let per_socket = (server.rss_bytes() - before) as f64 / SOCKETS as f64;
        println!(
            "idle: {per_socket:.0} B RSS a socket at {SOCKETS} sockets; {rate:.0} connects+subscribes/s one after the other"
        );
    });
}

/// As many deliveries as go through: 1,000 subscribers, a publisher that keeps 64 events on their way.
fn fanout() {
    const SUBSCRIBERS: usize = 1_000;
    const EVENTS: u64 = 2_000;
    for workers in [1, 2] {
        run(async {
            let server = Server::start(workers);
            let received = subscribe_all(&server, SUBSCRIBERS).await;
            let cpu_before = server.cpu();
            let begun = Instant::now();
            let address = server.address;
            // A thread of its own: it must not wait for this one's 1,000 readers.
            let publisher = std::thread::spawn(move || run(publish_ahead(address, EVENTS)));
            let wanted = EVENTS * SUBSCRIBERS as u64;
            wait_for(&received, wanted).await;
            let seconds = begun.elapsed().as_secs_f64();
            publisher.join().expect("no panic");
            let cpu = (server.cpu() - cpu_before).as_secs_f64();
            println!(
                "fanout, saturated, {workers} worker(s): {:.0} deliveries/s to {SUBSCRIBERS} subscribers, {:.2} µs server CPU a delivery, {wanted} of {wanted} arrived",
                wanted as f64 / seconds,
                cpu * 1e6 / wanted as f64,
            );
        });
    }
}

/// Sends events without waiting for the answer of each.
async fn publish_ahead(address: SocketAddr, events: u64) {
    const AHEAD: u64 = 64;
    let mut publisher = Publisher::connect(address).await;
    let request = publisher.request("room", &"x".repeat(DATA_BYTES));
    let some = request.repeat(AHEAD as usize);
    for _ in 0..events / AHEAD {
        publisher.send_pipelined(&some, AHEAD as usize).await;
    }
    for _ in 0..events % AHEAD {
        publisher.send(&request).await;
    }
}

/// 80 events a second to 1,000 subscribers: what a delivery costs when nothing piles up, and how long it takes.
fn steady() {
    run(async {
        let server = Server::start(1);
        let figures = measure_steady(&server, 1_000).await;
        println!("steady, 80k deliveries/s, 1 worker: {figures}");
    });
}

/// The same while channels come and go, without webhooks and with an endpoint that never answers: a receiver that hangs
/// must not slow the delivery to sockets.
fn webhooks() {
    let hanging = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/hook", hanging.local_addr().expect("its address"));
    for (what, endpoint) in [
        ("no webhooks", None),
        ("a webhook endpoint that hangs", Some(&url)),
    ] {
        run(async {
            let server = Server::start_with_webhook(1, endpoint.map(String::as_str));
            tokio::task::spawn_local(client::come_and_go(server.address));
            let figures = measure_steady(&server, 200).await;
            println!("webhooks, 16k deliveries/s while channels come and go, {what}: {figures}");
        });
    }
}

/// What a steady load costs, in words.
async fn measure_steady(server: &Server, subscribers: usize) -> String {
    const EVENTS: u64 = 400;
    const PAUSE: Duration = Duration::from_micros(12_500);
    let received = subscribe_all(server, subscribers).await;
    let mut publisher = Publisher::connect(server.address).await;
    let data = "x".repeat(DATA_BYTES);
    let mut times = Vec::new();
    let cpu_before = server.cpu();
    let mut ticks = tokio::time::interval(PAUSE);
    for n in 1..=EVENTS {
        ticks.tick().await;
        let begun = Instant::now();
        publisher.publish("room", &data).await;
        wait_for(&received, n * subscribers as u64).await;
        times.push(begun.elapsed());
    }
    let cpu = (server.cpu() - cpu_before).as_secs_f64();
    times.sort();
    let deliveries = EVENTS * subscribers as u64;
    format!(
        "{:.2} µs server CPU a delivery; publish until all {subscribers} have it: p50 {:?}, p99 {:?}",
        cpu * 1e6 / deliveries as f64,
        times[times.len() / 2],
        times[times.len() * 99 / 100],
    )
}

/// REST triggers to a channel nobody is on, over 16 connections that are kept alive.
fn rest() {
    const CONNECTIONS: usize = 16;
    const EACH: usize = 10_000;
    run(async {
        let server = Server::start(2);
        let begun = Instant::now();
        let tasks: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let address = server.address;
                tokio::task::spawn_local(async move {
                    let mut publisher = Publisher::connect(address).await;
                    // Signed once: signing is the backend's work, not the server's.
                    let request = publisher.request("nobody", &"x".repeat(DATA_BYTES));
                    for _ in 0..EACH {
                        publisher.send(&request).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        let count = CONNECTIONS * EACH;
        println!(
            "rest: {:.0} triggers/s without subscribers, {CONNECTIONS} connections, keep-alive; {:.2} µs server CPU each",
            count as f64 / begun.elapsed().as_secs_f64(),
            server.cpu().as_secs_f64() * 1e6 / count as f64,
        );
    });
}

/// Subscribers of `room` that count what they get.
async fn subscribe_all(server: &Server, count: usize) -> Arc<AtomicU64> {
    let received = Arc::new(AtomicU64::new(0));
    for _ in 0..count {
        let subscriber = Subscriber::connect(server.address, "room").await;
        tokio::task::spawn_local(subscriber.count_into(received.clone()));
    }
    received
}

/// Gives up after a minute: a lost delivery must not hang the benchmark.
async fn wait_for(received: &AtomicU64, wanted: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while received.load(Ordering::Relaxed) < wanted {
        assert!(
            Instant::now() < deadline,
            "lost: {} of {wanted} arrived",
            received.load(Ordering::Relaxed)
        );
        tokio::task::yield_now().await;
    }
}
