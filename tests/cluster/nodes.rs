//! The binary, several times, on one Redis.
use std::{
    fs,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    PATIENCE,
    binary::{Running, output},
    ports::free_port,
    redis::Redis,
    rest::request::{APP_ID, Connection, KEY, Response, SECRET},
    until,
};

/// Between two signs of life. Three missing ones are a death; a busy machine may miss one or two.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// What a prefix the keys of the tests have.
pub const PREFIX: &str = "test";

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// lines of `[cluster]`
    pub cluster: String,
    /// tables of TOML, and apps before the one that tests use
    pub settings: String,
    /// lines of that app
    pub app: String,
    /// of the environment
    pub variables: Vec<(String, String)>,
}

impl Setup {
    /// `cluster`: where Redis is.
    pub fn on(cluster: &str) -> Setup {
        Setup {
            cluster: format!("prefix = \"{PREFIX}\"\n{cluster}"),
            settings: String::new(),
            app: String::new(),
            variables: Vec::new(),
        }
    }

    pub fn settings(mut self, settings: &str) -> Setup {
        self.settings = settings.to_owned();
        self
    }

    pub fn app(mut self, app: &str) -> Setup {
        self.app = app.to_owned();
        self
    }

    fn toml(&self, admin_port: u16) -> String {
        // otherwise it is the variables' to say
        let enabled = self.variables.is_empty().then_some("enabled = true");
        format!(
            "{}\n[server]\nworkers = 2\ndrain_s = 0\n[admin]\nport = {admin_port}\n\
             [cluster]\n{}\nheartbeat_s = {}\nretry_ms = 50\nanswer_timeout_ms = 1000\n\
             connect_timeout_ms = 1000\n{}\n\
             [[apps]]\nid = \"{APP_ID}\"\nkey = \"{KEY}\"\nsecret = \"{SECRET}\"\n{}\n",
            self.settings,
            enabled.unwrap_or_default(),
            HEARTBEAT.as_secs(),
            self.cluster,
            self.app
        )
    }
}

/// One node. Dropped, it is killed; if its test has failed, its log is printed.
pub struct Node {
    pub addr: SocketAddr,
    admin: SocketAddr,
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
    running: Option<Running>,
}

impl Node {
    /// Starts one, and waits until it is part of the cluster.
    pub async fn start(setup: &Setup) -> Node {
        let node = Node::start_alone(setup);
        node.is_connected().await;
        node
    }

    /// Starts one, whether or not it finds Redis.
    pub fn start_alone(setup: &Setup) -> Node {
        let [addr, admin] = [free_port(), free_port()].map(|port| ([127, 0, 0, 1], port).into());
        let mut node = Node {
            addr,
            admin,
            folder: tempfile::tempdir().expect("a folder"),
            variables: setup.variables.clone(),
            running: None,
        };
        let toml = setup.toml(node.admin.port());
        fs::write(node.folder.path().join("resound.toml"), toml).expect("the settings");
        node.run();
        node
    }

    fn run(&mut self) {
        let port = self.addr.port().to_string();
        let arguments = [
            "--config",
            "resound.toml",
            "--host",
            "127.0.0.1",
            "--port",
            &port,
        ];
        let arguments = [&arguments[..], &["--debug"]].concat();
        let variables: Vec<(&str, &str)> = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.running = Some(Running::start(self.folder.path(), &arguments, &variables));
    }

    /// Starts it again where it was.
    pub async fn start_again(&mut self) {
        self.kill();
        self.run();
        self.is_connected().await;
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("a running node")
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn kill(&mut self) {
        self.running = None;
    }

    pub fn pause(&self) {
        self.running().signal("STOP");
    }

    pub fn go_on(&self) {
        self.running().signal("CONT");
    }

    /// Stops it as an operator does, and waits for its end.
    pub async fn stop(&mut self) {
        let mut running = self.running.take().expect("a running node");
        running.signal("TERM");
        let deadline = Instant::now() + PATIENCE;
        while !running.has_ended() {
            assert!(Instant::now() < deadline, "the node never ends");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Exit code and output of a command with its settings.
    pub fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = output(self.folder.path(), arguments);
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text.into_owned())
    }

    /// A GET of the admin listener.
    pub async fn admin(&self, target: &str) -> Response {
        let mut connection = Connection::open(self.admin).await;
        connection.send_request("GET", target, b"").await;
        connection.response().await
    }

    /// Whether it says that it is without the others.
    /// Waits for a line of its log.
    pub fn until_it_logs(&mut self, text: &str) {
        if let Some(running) = &mut self.running {
            running.wait_for(text);
        }
    }

    pub async fn is_degraded(&self) -> bool {
        let ready = self.admin("/ready").await;
        ready.status != 200 || ready.body.to_lowercase().contains("degraded")
    }

    pub async fn is_connected(&self) {
        until("the node has Redis", async || !self.is_degraded().await).await;
    }

    /// The sum of all series of the cluster whose names have this word.
    pub async fn metric(&self, word: &str) -> u64 {
        let text = self.admin("/metrics").await.body;
        let lines = text
            .lines()
            .filter(|line| line.starts_with("resound_cluster_"));
        let series = lines.filter_map(|line| line.rsplit_once(' '));
        let values = series.filter(|(name, _)| name.contains(word));
        let sum: f64 = values.map(|(_, value)| value.parse().unwrap_or(0.0)).sum();
        sum as u64
    }

    /// Events that it knows it lost: missed while it wasn't connected, or dropped from its backlog.
    pub async fn lost(&self) -> u64 {
        self.metric("missed").await + self.metric("dropped").await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let (true, Some(running)) = (std::thread::panicking(), &mut self.running) {
            eprintln!("the log of {}:\n{}", self.addr, running.log_so_far());
        }
    }
}

/// Sends a signal to one process.
pub fn signal(id: u32, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &id.to_string()])
        .status();
    assert!(sent.expect("kill").success(), "{name} to {id}");
}

/// Nodes on one Redis.
pub struct Nodes {
    // before Redis, so that they are gone first
    pub nodes: Vec<Node>,
    pub redis: Redis,
}

impl Nodes {
    pub async fn two() -> Nodes {
        Nodes::with(2, "", "").await
    }

    /// `settings`: tables of TOML; `app`: lines of the app.
    pub async fn with(count: usize, settings: &str, app: &str) -> Nodes {
        let redis = Redis::start();
        let setup = Setup::on(&redis.settings()).settings(settings).app(app);
        let mut nodes = Nodes {
            nodes: (0..count).map(|_| Node::start_alone(&setup)).collect(),
            redis,
        };
        for node in &mut nodes.nodes {
            node.is_connected().await;
        }
        nodes
    }

    pub fn both(&self) -> (&Node, &Node) {
        (&self.nodes[0], &self.nodes[1])
    }
}
