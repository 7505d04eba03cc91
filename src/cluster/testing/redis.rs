//! Redis for tests: servers of one's own on free ports of the loopback interface, killed when they are dropped. Needs Debian's
//! packages `redis-server` and `redis-tools`, or those of another system.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::{RedisResult, Value, cmd};
use tempfile::TempDir;

use crate::cluster::connection::{Access, Password, Place, Seeds, Sentinels, Server, Servers, Tls};

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

/// A port that nobody listens on, outside the range of those that connections take for themselves.
pub fn free_port() -> u16 {
    let free = (0..1_000).find_map(|_| {
        let port = rand::random_range(12_000..32_000);
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

/// A CA, and a server's and a client's certificate of it, in files.
pub struct Authority {
    pub directory: TempDir,
    pub ca_pem: String,
    /// certificate and key
    pub client_pem: (String, String),
}

impl Authority {
    pub fn new() -> Authority {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let directory = tempfile::tempdir().expect("a directory");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        let name = format!("CA {}", rand::random::<u32>());
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = params.self_signed(&key).expect("a CA").pem();
        let issuer = Issuer::new(params, key);
        let issue = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new([name.to_owned()]).expect("parameters");
            let certificate = params.signed_by(&key, &issuer).expect("a certificate");
            (certificate.pem(), key.serialize_pem())
        };
        let (server, client_pem) = (issue("127.0.0.1"), issue("client"));
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).expect("written");
        };
        write("ca", &ca_pem);
        write("certificate", &server.0);
        write("key", &server.1);
        Authority {
            directory,
            ca_pem,
            client_pem,
        }
    }

    /// A Redis that speaks only TLS; `clients`: `yes` if it wants certificates of its clients.
    pub fn redis(&self, clients: &str) -> RedisServer {
        let file = |name: &str| self.directory.path().join(name).display().to_string();
        let mut server = RedisServer::start_with(&[
            "--tls-port",
            "PORT",
            "--tls-auth-clients",
            clients,
            "--tls-ca-cert-file",
            &file("ca"),
            "--tls-cert-file",
            &file("certificate"),
            "--tls-key-file",
            &file("key"),
        ]);
        server.access.tls = Some(self.tls());
        server
    }

    /// Believes this CA and no other.
    pub fn tls(&self) -> Tls {
        Tls::new(Some(self.ca_pem.as_bytes()), None).expect("TLS")
    }

    pub fn tls_with_identity(&self) -> Tls {
        let (certificate, key) = &self.client_pem;
        let identity = Some((certificate.as_bytes(), key.as_bytes()));
        Tls::new(Some(self.ca_pem.as_bytes()), identity).expect("TLS")
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

/// A master, a replica of it, and three Sentinels that watch them. The servers have one password, the Sentinels another.
pub struct SentinelSet {
    pub servers: Vec<RedisServer>,
    pub sentinels: Vec<RedisServer>,
}

/// What the Sentinels call the master.
pub const MASTER_NAME: &str = "main";

impl SentinelSet {
    pub fn start() -> SentinelSet {
        let replicating = [
            "--repl-diskless-sync-delay",
            "0",
            "--repl-ping-replica-period",
            "1",
        ];
        let master = RedisServer::start_with(&replicating);
        let port = master.address.port().to_string();
        let replica = RedisServer::start_with(&replicating);
        replica.order(&["REPLICAOF", "127.0.0.1", &port]);
        wait("the replica has all", || {
            replica
                .text(&["INFO", "replication"])
                .contains("master_link_status:up")
        });
        let sentinels = (0..3).map(|_| start_sentinel(&port)).collect();
        let set = SentinelSet {
            servers: vec![master, replica],
            sentinels,
        };
        for sentinel in &set.sentinels {
            wait("every Sentinel knows everybody", || {
                let info = sentinel.text(&["INFO", "sentinel"]);
                info.contains("slaves=1,sentinels=3") && info.contains("status=ok")
            });
        }
        set
    }

    pub fn settings(&self) -> Sentinels {
        Sentinels {
            sentinels: self.sentinels.iter().map(RedisServer::server).collect(),
            name: MASTER_NAME.to_owned(),
            access: Access::default(),
        }
    }

    pub fn where_is_the_master(&self) -> u16 {
        let question = ["SENTINEL", "get-master-addr-by-name", MASTER_NAME];
        let found = self.sentinels[0].order(&question);
        let (_, port): (String, u16) = redis::from_redis_value(found).expect("an address");
        port
    }
}

fn start_sentinel(master_port: &str) -> RedisServer {
    let started = (0..10).find_map(|_| {
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let path = directory.path().display();
        let config = format!(
            "port {port}\nbind 127.0.0.1\ndir {path}\n\
             sentinel monitor {MASTER_NAME} 127.0.0.1 {master_port} 2\n\
             sentinel down-after-milliseconds {MASTER_NAME} 1000\n\
             sentinel failover-timeout {MASTER_NAME} 6000\n"
        );
        std::fs::write(directory.path().join("sentinel.conf"), config).expect("written");
        RedisServer::try_start(port, &["DIR/sentinel.conf", "--sentinel"], directory)
    });
    started.expect("a Sentinel, of Debian's package redis-server")
}

/// Three masters, each with a third of the slots; servers after those have none, until they are made replicas or given some.
pub struct RedisCluster {
    pub nodes: Vec<RedisServer>,
}

/// The first slots of the masters, and the end.
const THIRDS: [u16; 4] = [0, 5_461, 10_923, 16_384];

impl RedisCluster {
    pub fn start() -> RedisCluster {
        RedisCluster::start_with(3)
    }

    pub fn start_with(count: usize) -> RedisCluster {
        let nodes: Vec<RedisServer> = (0..count).map(|_| start_node()).collect();
        for (node, thirds) in nodes.iter().zip(THIRDS.windows(2)) {
            let (first, last) = (thirds[0].to_string(), (thirds[1] - 1).to_string());
            node.order(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
        for (number, node) in nodes.iter().enumerate() {
            let epoch = (number + 1).to_string();
            node.order(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
            if number > 0 {
                node.order(&meeting(&nodes[0]).each_ref().map(String::as_str));
            }
        }
        let cluster = RedisCluster { nodes };
        cluster.wait_until_complete();
        cluster
    }

    pub fn wait_until_complete(&self) {
        for node in &self.nodes {
            wait("every node knows all the others, and all slots", || {
                let info = node.text(&["CLUSTER", "INFO"]);
                let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
                info.contains("cluster_state:ok")
                    && info.contains("cluster_slots_ok:16384")
                    && info.contains(&known)
            });
        }
    }

    pub fn id(&self, node: usize) -> String {
        self.nodes[node].text(&["CLUSTER", "MYID"])
    }

    /// Makes the one a replica of the other, and waits until it has all.
    pub fn make_replica(&self, node: usize, master: usize) {
        let id = self.id(master);
        self.nodes[node].order(&["CLUSTER", "REPLICATE", &id]);
        wait("the replica has all", || {
            let info = self.nodes[node].text(&["INFO", "replication"]);
            info.contains("role:slave") && info.contains("master_link_status:up")
        });
    }

    /// As every resharding ends, for a slot without keys.
    pub fn move_slot(&self, slot: u16, to: usize) {
        let (slot, id) = (slot.to_string(), self.id(to));
        self.nodes[to].order(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        for node in &self.nodes {
            node.order(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        }
    }

    pub fn seeds(&self) -> Seeds {
        Seeds {
            places: self.nodes.iter().map(RedisServer::place).collect(),
            access: Access::default(),
        }
    }

    pub fn servers(&self) -> Servers {
        Servers::Cluster(self.seeds())
    }
}

fn start_node() -> RedisServer {
    let bus_port = free_port().to_string();
    RedisServer::start_with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus_port,
        "--cluster-node-timeout",
        "2000",
        "--repl-diskless-sync-delay",
        "0",
    ])
}

/// The words by which a node makes itself known to another.
fn meeting(other: &RedisServer) -> [String; 5] {
    let port = other.address.port().to_string();
    let bus_port = other.options[3].clone();
    let ip = other.address.ip().to_string();
    ["CLUSTER".to_owned(), "MEET".to_owned(), ip, port, bus_port]
}

pub fn user(name: &str, password: &str) -> Access {
    Access {
        username: (!name.is_empty()).then(|| name.to_owned()),
        password: Some(Password::new(password)),
        ..Access::default()
    }
}

/// The rules of the ACL that the documentation of the connection gives, for another prefix.
pub fn documented_rules(prefix: &str, is_cluster: bool) -> String {
    let source = include_str!("../connection.rs");
    let after = |opening: &str| {
        let line = source.lines().find_map(|line| line.split_once(opening));
        line.expect("the documented rules").1
    };
    let mut rules = after("//! ACL SETUSER resound on >PASSWORD ").to_owned();
    if is_cluster {
        let more = after("on a Redis Cluster also `");
        rules = format!("{rules} {}", more.split('`').next().unwrap_or_default());
    }
    rules.replace("resound:", &format!("{prefix}:"))
}
