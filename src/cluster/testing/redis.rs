//! Redis for tests: servers of one's own on free ports of the loopback interface, killed when they are dropped. Needs Debian's
//! packages `redis-server` and `redis-tools`, or those of another system.

mod access;
mod authority;
mod sentinels;
mod sharded;

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::{RedisResult, Value, cmd};
use tempfile::TempDir;

pub use self::{access::*, authority::Authority, sentinels::*, sharded::RedisCluster};
use crate::cluster::connection::{Access, Place, Server, Servers};

/// What anything may take on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A Redis, or a Sentinel.
pub struct RedisServer {
    process: Child,
    pub address: SocketAddr,
    options: Vec<String>,
    /// how the tests get in
    pub access: Access,
    directory: TempDir,
}

/// A port that nobody listens on, outside the range of those that connections take for themselves, and of those that
/// `tests/cluster` takes.
pub fn free_port() -> u16 {
    let free = (0..1_000).find_map(|_| {
        let port = rand::random_range(30_000..32_000);
        TcpListener::bind(("127.0.0.1", port)).ok().map(|_| port)
    });
    free.expect("a free port")
}

impl RedisServer {
    pub fn start() -> RedisServer {
        RedisServer::start_with(&[])
    }

    /// `options` as on the command line; `DIR` in them is a directory of the server's own. Another process may take the free
    /// port first: then another one is tried.
    pub fn start_with(options: &[&str]) -> RedisServer {
        let started = (0..10).find_map(|_| {
            let directory = tempfile::tempdir().expect("a directory");
            RedisServer::try_start(free_port(), options, directory)
        });
        started.expect("redis-server, of Debian's package of that name")
    }

    fn try_start(port: u16, options: &[&str], directory: TempDir) -> Option<RedisServer> {
        let path = directory.path().to_str().expect("a path");
        let options = options.iter().map(|option| option.replace("DIR", path));
        let options: Vec<String> = options.collect();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Some(RedisServer {
            process: spawn(address, &options, directory.path())?,
            address,
            options,
            access: Access::default(),
            directory,
        })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn place(&self) -> Place {
        Place::Tcp {
            host: self.address.ip().to_string(),
            port: self.address.port(),
        }
    }

    pub fn server(&self) -> Server {
        Server {
            place: self.place(),
            access: self.access.clone(),
        }
    }

    pub fn servers(&self) -> Servers {
        Servers::One(self.server())
    }

    /// As the default user, over plain TCP.
    pub fn ask(&self, words: &[&str]) -> RedisResult<Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }

    /// What must work.
    pub fn order(&self, words: &[&str]) -> Value {
        let answer = self.ask(words);
        answer.unwrap_or_else(|error| panic!("{words:?} at {}: {error}", self.address))
    }

    pub fn order_line(&self, line: &str) -> Value {
        self.order(&line.split(' ').collect::<Vec<_>>())
    }

    pub fn text(&self, words: &[&str]) -> String {
        let value = self.order(words);
        redis::from_redis_value(value).expect("a text")
    }

    /// It answers nothing any more, and its connections stay.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(status.is_ok_and(|status| status.success()));
    }

    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// At the same port, with nothing in it.
    pub fn restart(&mut self) {
        self.kill();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(process) = spawn(self.address, &self.options, self.directory.path()) {
                self.process = process;
                return;
            }
            assert!(
                Instant::now() < deadline,
                "redis-server doesn't start again"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn spawn(address: SocketAddr, options: &[String], directory: &Path) -> Option<Child> {
    let port = address.port().to_string();
    let directory = directory.to_str().expect("a path");
    let is_tls = options.iter().any(|option| option == "--tls-port");
    let mut command = Command::new("redis-server");
    // the first argument, for a Sentinel, is its file
    let is_sentinel = options.iter().any(|option| option == "--sentinel");
    if !is_sentinel {
        command.args(["--save", "", "--appendonly", "no", "--dir", directory]);
        command.args(["--port", if is_tls { "0" } else { &port }]);
        command.args(["--bind", "127.0.0.1", "--daemonize", "no"]);
    }
    let options = options.iter().map(|option| option.replace("PORT", &port));
    let mut process = command
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        if process.try_wait().ok()?.is_some() {
            return None;
        }
        assert!(Instant::now() < deadline, "redis-server doesn't listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    // One that somebody else started there would answer too.
    std::thread::sleep(Duration::from_millis(20));
    match process.try_wait() {
        Ok(None) => Some(process),
        _ => None,
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until it is so; looks now and then.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
