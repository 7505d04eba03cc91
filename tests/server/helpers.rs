//! A server of one's own for each test.
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use resound::{
    config,
    node::{Node, Occupancy},
    protocol::channel::ChannelName,
    server,
};
use tokio::sync::oneshot;

/// App `3`, whose key and secret are those of the protocol's test vectors.
const APP: &str = r#"
[[apps]]
id = "3"
key = "278d425bdf160c739803"
secret = "7ad3773142a6692b25b8"
"#;

/// Far more than anything takes; a condition that isn't met by then fails the test.
const PATIENCE: Duration = Duration::from_secs(40);

/// A running server. Dropped, it stops.
pub struct Server {
    pub addr: SocketAddr,
    pub node: Arc<Node>,
    /// where the admin listener is, if the settings name a port for it
    #[allow(dead_code, reason = "only tests of that listener need it")]
    pub admin: Option<SocketAddr>,
    stop: Option<oneshot::Sender<Stop>>,
    thread: Option<JoinHandle<()>>,
}

enum Stop {
    AtOnce,
    AfterDraining,
}

fn redis() -> Option<String> {
    std::env::var("RESOUND_TEST_REDIS").ok()
}

/// Whether a connection's answers come in the order of its messages. Those that a cluster gives come when Redis has answered;
/// pongs and refusals don't wait for them.
pub fn answers_are_in_order() -> bool {
    redis().is_none()
}

impl Server {
    pub async fn start() -> Server {
        Server::with("").await
    }

    /// `settings`: TOML tables besides the app; `[app_defaults]` applies to it.
    pub async fn with(settings: &str) -> Server {
        Server::with_toml(&format!("{settings}\n{APP}")).await
    }

    /// `settings`: all of the configuration but where to listen. With a Redis in `RESOUND_TEST_REDIS` the server is the only node
    /// of a cluster of its own there, and does what it does alone.
    pub async fn with_toml(settings: &str) -> Server {
        let redis = redis();
        let cluster = redis.as_ref().map_or_else(String::new, |url| {
            let prefix: u64 = rand::random();
            format!("[cluster]\nenabled = true\nurl = '{url}'\nprefix = 'test-{prefix:x}'\n")
        });
        let mut settings = config::from_toml(&format!("{cluster}{settings}")).expect("settings");
        settings.server.host = [127, 0, 0, 1].into();
        settings.server.port = 0;
        // Two, whatever the machine has: enough for what crosses workers.
        settings.server.workers = 2;
        settings.admin.enabled &= settings.admin.is_port_chosen;
        let (started, running) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let running = server::start(settings, 10_000).expect("a free port");
                started
                    .send((
                        running.address,
                        running.node.clone(),
                        running.admin.as_ref().map(|admin| admin.address),
                    ))
                    .expect("the test waits");
                if let Ok(Stop::AfterDraining) = stopped.await {
                    running.drained().await;
                }
                running.stop().await.expect("a clean stop");
            });
        });
        let (addr, node, admin) = running.recv().expect("a running server");
        if redis.is_some() {
            eventually("it has Redis", || is_ready(addr)).await;
        }
        Server {
            addr,
            node,
            admin,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// What of the app is occupied.
    #[allow(dead_code, reason = "not all tests ask")]
    pub async fn channels(&self, prefix: &str) -> Vec<(ChannelName, Occupancy)> {
        let app = self.node.apps().by_id("3").cloned().expect("the app");
        self.node.channels(&app, prefix).await
    }

    /// Begins to stop as a signal would.
    pub fn drain(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(Stop::AfterDraining);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(Stop::AtOnce);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}

/// Whether it is a part of its cluster.
fn is_ready(addr: SocketAddr) -> bool {
    let mut answer = String::new();
    let mut stream = TcpStream::connect(addr).expect("a connection");
    let request = b"GET /ready HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("a request");
    stream.read_to_string(&mut answer).expect("an answer");
    answer.starts_with("HTTP/1.1 200") && !answer.to_lowercase().contains("degraded")
}

/// Waits until a condition holds that somebody has to be asked for.
#[allow(dead_code, reason = "not all tests ask")]
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let what = what.to_owned();
    let deadline = std::time::Instant::now() + PATIENCE;
    async move {
        while !condition() {
            assert!(std::time::Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
