//! The binary with what soketi's users have: its JSON file and variables as they stand, and as `resound import` turns them into
//! a file of our own.
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "not a published one";

/// The binary at work. Dropped, it is killed.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts it with variables, waits until it listens.
    fn start(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Server {
        let mut child = resound(folder, arguments, variables)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // reads on to the end, so that the server never waits for us
            for line in log.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut server = Server {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        server.address = listening_at(&lines);
        server
    }

    fn status_of(&self, app: &str, key: &str, secret: &str) -> u16 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock");
        let path = format!("/apps/{app}/channels");
        let query = format!(
            "auth_key={key}&auth_timestamp={}&auth_version=1.0",
            now.as_secs()
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
        mac.update(format!("GET\n{path}\n{query}").as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        self.get(&format!("{path}?{query}&auth_signature={signature}"), "")
    }

    /// The status of a WebSocket handshake.
    fn handshake(&self, path: &str) -> u16 {
        let headers = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        self.get(path, headers)
    }

    fn get(&self, path: &str, headers: &str) -> u16 {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut status_line = [0; 12];
        stream.read_exact(&mut status_line).expect("an answer");
        let text = String::from_utf8_lossy(&status_line);
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
        status.unwrap_or_else(|| panic!("no status in {text}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without the variables of whoever runs the tests.
fn resound(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resound"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = resound(folder, arguments, &[]);
    command.output().expect("the binary")
}

fn listening_at(lines: &mpsc::Receiver<String>) -> SocketAddr {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(line) = lines.recv_timeout(left) else {
            panic!("never listened: {seen:?}");
        };
        let address = line.split_once("listening on ").map(|(_, rest)| {
            let address = rest.split_whitespace().next().unwrap_or_default();
            address.trim_matches('\u{1b}').parse::<SocketAddr>()
        });
        match address {
            Some(Ok(address)) => return SocketAddr::from(([127, 0, 0, 1], address.port())),
            _ => seen.push(line),
        }
    }
}

/// soketi's file for one app, on a port that was free a moment ago.
fn soketi_file(port: u16) -> String {
    format!(
        "{{\"host\": \"127.0.0.1\", \"port\": {port}, \"pathPrefix\": \"/ws\", \"appManager.array.apps\": [{{\"id\": 9, \"key\": \"k9\", \"secret\": \"{SECRET}\", \"max_connections\": 100}}]}}"
    )
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn check_app_nine(server: &Server, port: u16) {
    assert_eq!(server.address.port(), port);
    assert_eq!(server.status_of("9", "k9", SECRET), 200);
    assert_eq!(server.status_of("9", "k9", "app-secret"), 401);
    assert_eq!(server.handshake("/ws/app/k9?protocol=7"), 101);
}

#[test]
fn soketis_file_starts_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    fs::write(folder.path().join("soketi.json"), soketi_file(port)).expect("written");
    let server = Server::start(folder.path(), &["start", "--config=soketi.json"], &[]);
    check_app_nine(&server, port);
}

#[test]
fn an_imported_file_starts_the_same_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    fs::write(folder.path().join("config.json"), soketi_file(port)).expect("written");
    for from in ["config.json", "."] {
        let imported = run(folder.path(), &["import", from]);
        assert!(imported.status.success(), "{imported:?}");
        let file = folder.path().join("resound.toml");
        fs::write(file, imported.stdout).expect("written");
        let server = Server::start(folder.path(), &["--config", "resound.toml"], &[]);
        check_app_nine(&server, port);
    }
}

/// As Sail's stock service sets them, in a container.
#[test]
fn the_variables_of_sails_soketi_start_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let metrics = free_port().to_string();
    let variables = [
        ("SOKETI_DEBUG", "1"),
        ("SOKETI_METRICS_SERVER_PORT", metrics.as_str()),
        ("SOKETI_DEFAULT_APP_ID", "app-id"),
        ("SOKETI_DEFAULT_APP_KEY", "app-key"),
        ("SOKETI_DEFAULT_APP_SECRET", SECRET),
    ];
    // tests listen on this machine only, and 6001 may be taken on it
    let variables = [&variables[..], &[("SOKETI_METRICS_HOST", "127.0.0.1")]].concat();
    let options = ["--host", "127.0.0.1", "--port", "0"];
    let server = Server::start(folder.path(), &options, &variables);
    assert_eq!(server.status_of("app-id", "app-key", SECRET), 200);
    assert_eq!(server.handshake("/app/app-key?protocol=7"), 101);
}

#[test]
fn what_cannot_be_imported_is_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("bad.json"), "{\"port\": }").expect("written");
    for (from, part) in [
        ("bad.json", "not valid JSON"),
        ("missing.json", "missing.json doesn't exist"),
        (".", "nothing to import"),
    ] {
        let output = run(folder.path(), &["import", from]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty());
        assert!(
            error.contains(part) && error.lines().count() == 1,
            "{error}"
        );
    }
}
