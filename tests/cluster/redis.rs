//! Redis as the tests need it: one server, one with a replica and three Sentinels, a cluster of three masters; and everything bad that
//! can happen to them. All are killed when dropped. Needs Debian's packages `redis-server` and `redis-sentinel`.
use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::{FromRedisValue, aio::MultiplexedConnection};
use tempfile::TempDir;

use crate::{PATIENCE, ports::free_port, until};

/// One `redis-server`, on a port that it keeps.
pub struct Redis {
    process: Option<Child>,
    pub port: u16,
    arguments: Vec<String>,
    folder: TempDir,
}

impl Redis {
    pub fn start() -> Redis {
        Redis::with(&[])
    }

    /// With further arguments.
    pub fn with(arguments: &[&str]) -> Redis {
        // Another process may take the free port first: then another one is tried.
        for _ in 0..5 {
            let mut redis = Redis {
                process: None,
                port: free_port(),
                arguments: arguments.iter().map(ToString::to_string).collect(),
                folder: tempfile::tempdir().expect("a folder"),
            };
            if redis.try_start() {
                return redis;
            }
        }
        panic!("redis-server, of Debian's package of that name, doesn't start");
    }

    fn try_start(&mut self) -> bool {
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string()])
            .args(["--bind", "127.0.0.1", "--daemonize", "no"])
            .args(["--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut process = process.expect("redis-server, of Debian's package of that name");
        let is_up = listens(&mut process, self.port);
        self.process = Some(process);
        is_up
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The settings of a node that uses it.
    pub fn settings(&self) -> String {
        format!("url = \"{}\"", self.url())
    }

    /// `kill -9`: what it held is lost.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again, empty, where it was.
    pub fn start_again(&mut self) {
        self.kill();
        let deadline = Instant::now() + PATIENCE;
        while !self.try_start() {
            self.kill();
            assert!(
                Instant::now() < deadline,
                "redis-server doesn't start again"
            );
        }
    }

    /// It stops in its tracks: connections stay, nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("a running redis-server");
        crate::nodes::signal(process.id(), name);
    }

    pub async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("a URL");
        let connection = client.get_multiplexed_async_connection().await;
        connection.expect("a connection to redis-server")
    }

    /// One command, over a connection of its own.
    pub async fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let answer = self.answer(command).await;
        answer.unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    async fn answer<T: FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let mut ask = redis::cmd(command[0]);
        ask.arg(&command[1..]);
        ask.query_async(&mut self.connection().await).await
    }

    /// Cuts the connections of all clients.
    pub async fn cut_clients(&self) {
        let _: i64 = self.ask(&["CLIENT", "KILL", "SKIPME", "yes"]).await;
    }

    /// All keys, sorted.
    pub async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.ask(&["KEYS", "*"]).await;
        keys.sort();
        keys
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the process that was just started listens there; `false` if it ended instead.
fn listens(process: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if !matches!(process.try_wait(), Ok(None)) {
            return false;
        }
        assert!(Instant::now() < deadline, "redis-server doesn't listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    // One that somebody else started there would answer too; ours would then be gone in a moment.
    std::thread::sleep(Duration::from_millis(20));
    matches!(process.try_wait(), Ok(None))
}

/// A master with a replica, and three Sentinels that see to it that there is a master.
pub struct Sentinels {
    pub servers: Vec<Redis>,
    sentinels: Vec<Redis>,
}

const MASTER: &str = "the-master";

impl Sentinels {
    pub async fn start() -> Sentinels {
        let master = Redis::start();
        let of = ["--replicaof", "127.0.0.1", &master.port.to_string()];
        let replica = Redis::with(&of);
        let settings = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds {MASTER} 500\n\
             sentinel failover-timeout {MASTER} 2000\n",
            master.port
        );
        let sentinels = Sentinels {
            sentinels: (0..3).map(|_| sentinel(&settings)).collect(),
            servers: vec![master, replica],
        };
        until("Sentinels know each other and the replica", async || {
            for sentinel in &sentinels.sentinels {
                let quorum: redis::RedisResult<String> = sentinel.try_ask("CKQUORUM").await;
                let replicas: redis::RedisResult<Vec<redis::Value>> =
                    sentinel.try_ask("REPLICAS").await;
                let others: redis::RedisResult<Vec<redis::Value>> =
                    sentinel.try_ask("SENTINELS").await;
                let has = |list: redis::RedisResult<Vec<_>>, count| {
                    list.is_ok_and(|list| list.len() == count)
                };
                if quorum.is_err() || !has(replicas, 1) || !has(others, 2) {
                    return false;
                }
            }
            let replication: String = sentinels.servers[1].ask(&["INFO", "replication"]).await;
            replication.contains("master_link_status:up")
        })
        .await;
        sentinels
    }

    pub fn settings(&self) -> String {
        let urls = self
            .sentinels
            .iter()
            .map(|sentinel| format!("{:?}", sentinel.url()));
        let urls: Vec<String> = urls.map(|url| url.replace("/0", "")).collect();
        format!(
            "sentinels = [{}]\nsentinel_master = \"{MASTER}\"",
            urls.join(", ")
        )
    }

    /// The port of the master that the Sentinels name.
    pub async fn master(&self) -> u16 {
        let address: redis::RedisResult<Vec<String>> =
            self.sentinels[0].try_ask("GET-MASTER-ADDR-BY-NAME").await;
        let port = address
            .ok()
            .and_then(|address| address.get(1)?.parse().ok());
        port.unwrap_or(0)
    }
}

/// A Sentinel writes what it learns into its settings file.
fn sentinel(settings: &str) -> Redis {
    for _ in 0..5 {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sentinel.conf");
        let port = free_port();
        let text = format!("port {port}\nbind 127.0.0.1\ndaemonize no\n{settings}");
        fs::write(&file, text).expect("the settings");
        let process = Command::new("redis-sentinel")
            .arg(&file)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut process = process.expect("redis-sentinel, of Debian's package of that name");
        let is_up = listens(&mut process, port);
        let redis = Redis {
            process: Some(process),
            port,
            arguments: Vec::new(),
            folder,
        };
        if is_up {
            return redis;
        }
    }
    panic!("redis-sentinel, of Debian's package of that name, doesn't start");
}

impl Redis {
    /// `SENTINEL command the-master`.
    async fn try_ask<T: FromRedisValue>(&self, command: &str) -> redis::RedisResult<T> {
        let mut ask = redis::cmd("SENTINEL");
        ask.arg(command).arg(MASTER);
        ask.query_async(&mut self.connection().await).await
    }
}

/// Three masters that share the slots.
pub struct Cluster {
    pub servers: Vec<Redis>,
}

impl Cluster {
    pub async fn start() -> Cluster {
        let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        let servers: Vec<Redis> = (0..3).map(|_| Redis::with(&arguments)).collect();
        let slots = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        for (server, (from, to)) in servers.iter().zip(slots) {
            let _: String = server.ask(&["CLUSTER", "ADDSLOTSRANGE", from, to]).await;
            let port = servers[0].port.to_string();
            let _: String = server.ask(&["CLUSTER", "MEET", "127.0.0.1", &port]).await;
        }
        until("the cluster is complete", async || {
            for server in &servers {
                let info: String = server.ask(&["CLUSTER", "INFO"]).await;
                let all = [
                    "cluster_state:ok",
                    "cluster_known_nodes:3",
                    "cluster_size:3",
                ];
                if !all.iter().all(|line| info.contains(line)) {
                    return false;
                }
            }
            true
        })
        .await;
        Cluster { servers }
    }

    pub fn settings(&self) -> String {
        let urls = self.servers.iter();
        let urls = urls.map(|server| format!("\"redis://127.0.0.1:{}\"", server.port));
        format!("nodes = [{}]", urls.collect::<Vec<_>>().join(", "))
    }

    /// Moves the slot of a key with all that is in it from one master to the next one, step by step as `redis-cli --cluster reshard` does.
    pub async fn move_slot_of(&self, key: &str) {
        let (from, to) = self.owner_and_next(key).await;
        let slot: u16 = from.ask(&["CLUSTER", "KEYSLOT", key]).await;
        let slot = slot.to_string();
        let ids: [String; 2] = [
            from.ask(&["CLUSTER", "MYID"]).await,
            to.ask(&["CLUSTER", "MYID"]).await,
        ];
        let set = async |server: &Redis, state: &str, id: &str| {
            let _: String = server.ask(&["CLUSTER", "SETSLOT", &slot, state, id]).await;
        };
        set(to, "IMPORTING", &ids[0]).await;
        set(from, "MIGRATING", &ids[1]).await;
        let port = to.port.to_string();
        loop {
            let keys: Vec<String> = from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]).await;
            let Some(key) = keys.first() else {
                break;
            };
            // NOKEY if it has gone by itself
            let _: String = from
                .ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"])
                .await;
        }
        set(to, "NODE", &ids[1]).await;
        for server in &self.servers {
            set(server, "NODE", &ids[1]).await;
        }
    }

    async fn owner_and_next(&self, key: &str) -> (&Redis, &Redis) {
        for (number, server) in self.servers.iter().enumerate() {
            if server.answer::<i64>(&["EXISTS", key]).await.is_ok() {
                return (server, &self.servers[(number + 1) % self.servers.len()]);
            }
        }
        panic!("no master has {key}");
    }

    pub async fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for server in &self.servers {
            keys.extend(server.keys().await);
        }
        keys.sort();
        keys
    }
}

#[tokio::test]
async fn a_server_comes_back_empty_where_it_was() {
    let mut redis = Redis::start();
    let _: String = redis.ask(&["SET", "a", "1"]).await;
    assert_eq!(redis.keys().await, ["a"]);
    redis.start_again();
    assert_eq!(redis.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn sentinels_choose_another_master() {
    let mut sentinels = Sentinels::start().await;
    assert_eq!(sentinels.master().await, sentinels.servers[0].port);
    sentinels.servers[0].kill();
    let replica = sentinels.servers[1].port;
    until("the replica is the master", async || {
        sentinels.master().await == replica
    })
    .await;
}

#[tokio::test]
async fn three_masters_share_the_keys() {
    let cluster = Cluster::start().await;
    for name in ["a", "b", "c", "d"] {
        let mut taken = 0;
        for server in &cluster.servers {
            // the others say who has the key
            taken += u8::from(server.answer::<String>(&["SET", name, "1"]).await.is_ok());
        }
        assert_eq!(taken, 1, "{name}");
    }
    assert_eq!(cluster.keys().await, ["a", "b", "c", "d"]);
}
