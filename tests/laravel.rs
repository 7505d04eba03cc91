//! The binary in the folder of a Laravel project: it listens, serves the app of the `.env`, and says why it won't start.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

const ENV: &str = "APP_URL=http://localhost
BROADCAST_CONNECTION=reverb
REVERB_APP_ID=482915
REVERB_APP_KEY=lab0key
REVERB_APP_SECRET=hush
REVERB_HOST=\"localhost\"
REVERB_PORT=8080
REVERB_SCHEME=http
REVERB_SERVER_HOST=127.0.0.1
VITE_REVERB_APP_KEY=\"${REVERB_APP_KEY}\"
VITE_REVERB_HOST=\"${REVERB_HOST}\"
VITE_REVERB_PORT=\"${REVERB_PORT}\"
VITE_REVERB_SCHEME=\"${REVERB_SCHEME}\"
";

fn project(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("written");
    }
    folder
}

fn resound(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resound"));
    command
        .args(arguments)
        .env_clear()
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running binary. Dropped, it is killed.
struct Running {
    child: Child,
    address: SocketAddr,
    /// the log up to the line that says it listens
    log: String,
}

impl Running {
    /// `reverb:start` as Supervisor has it, on a free port.
    fn start(folder: &Path) -> Running {
        let arguments = ["reverb:start", "--no-interaction", "--port", "0"];
        let mut child = resound(folder, &arguments).spawn().expect("the binary");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let mut log = String::new();
        let address = loop {
            let line = lines.next().and_then(Result::ok);
            let line = line.unwrap_or_else(|| panic!("it ended: {log}"));
            log.push_str(&line);
            log.push('\n');
            if let Some((_, after)) = line.split_once("listening on ") {
                let address = after.split_whitespace().next().expect("an address");
                break address.parse().expect("an address");
            }
        };
        // whoever writes to a pipe nobody reads would be stopped by it
        std::thread::spawn(move || lines.for_each(drop));
        Running {
            child,
            address,
            log,
        }
    }

    /// The answer to a GET: status line and all.
    fn get(&self, target: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        // up to the greeting, or the end
        while !String::from_utf8_lossy(&answer).contains("activity_timeout") {
            match stream.read(&mut chunk).expect("an answer in time") {
                0 => break,
                count => answer.extend_from_slice(&chunk[..count]),
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn handshake(&self, key: &str) -> String {
        let headers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        self.get(
            &format!("/app/{key}?protocol=7&client=js&version=8.6.0"),
            headers,
        )
    }

    /// What it printed until it was stopped.
    fn stopped(mut self) -> String {
        self.child.kill().expect("killed");
        let mut text = String::new();
        let mut output = self.child.stdout.take().expect("a pipe");
        output.read_to_string(&mut text).expect("text");
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ended(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = resound(folder, arguments).output().expect("the binary");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn the_app_of_the_env_file_is_served() {
    let folder = project(&[(".env", ENV), ("artisan", "")]);
    let running = Running::start(folder.path());
    assert!(
        running.log.contains("settings read from .env"),
        "{}",
        running.log
    );
    let answer = running.handshake("lab0key");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("pusher:connection_established"), "{answer}");
    let refused = running.handshake("another");
    assert!(refused.contains("4001"), "{refused}");
    let health = running.get("/up", "Connection: close\r\n");
    assert!(health.contains("{\"health\":\"OK\"}"), "{health}");

    let port = running.address.port();
    let text = running.stopped();
    let line = format!(
        "Laravel (.env): listening on 127.0.0.1:{port}, the app posts to http://localhost:8080, browsers use ws://localhost:8080\n"
    );
    assert!(text.contains(&line), "{text}");
    let mismatch = format!(
        "  can't work: the app posts to port 8080 of localhost, but this server listens on port {port}"
    );
    assert!(text.contains(&mismatch), "{text}");
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn the_apps_of_a_cached_configuration_are_served() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/compat-fixtures/laravel/cached-config-excerpt.php"
    );
    let cached = fs::read_to_string(path).expect("the excerpt");
    let cached = cached.replace("'0.0.0.0'", "'127.0.0.1'");
    let folder = project(&[(".env", ENV), ("bootstrap/cache/config.php", &cached)]);
    let running = Running::start(folder.path());
    assert!(
        running.log.contains("the app's configuration is cached"),
        "{}",
        running.log
    );
    let answer = running.handshake("lab0key1lab2key3lab4");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(running.handshake("lab0key").contains("4001"));
}

#[test]
fn settings_that_cannot_be_used_end_with_78_and_one_sentence() {
    let check = |files: &[(&str, &str)], arguments: &[&str], expected: &str| {
        let folder = project(files);
        let (code, text) = ended(folder.path(), arguments);
        assert_eq!(code, Some(78), "{text}");
        assert!(text.starts_with(&format!("resound: {expected}")), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains("hush"), "{text}");
    };
    let broken = format!("{ENV}APP_NAME=hush hush\n");
    check(
        &[(".env", &broken)],
        &[],
        ".env can't be read, by Laravel neither: line 14: unexpected whitespace",
    );
    let incomplete = ENV.replace("REVERB_APP_SECRET=hush\n", "");
    check(
        &[(".env", &incomplete)],
        &["start"],
        "REVERB_APP_SECRET is missing from .env, but .env line 3 (REVERB_APP_ID) is set",
    );
    check(
        &[(".env", "BROADCAST_CONNECTION=log\n")],
        &["config"],
        "no app is configured: REVERB_APP_ID, REVERB_APP_KEY",
    );
    check(&[], &["--env-file", "nope"], "the file nope can't be read");
    check(
        &[("resound.toml", "[server]\nport = 70000")],
        &[],
        "server.port is 70000 in file resound.toml",
    );
    check(
        &[],
        &["--port", "x"],
        "server.port is \"x\" in option --port",
    );
}

#[test]
fn other_failures_have_other_codes() {
    let folder = project(&[(".env", ENV)]);
    assert_eq!(ended(folder.path(), &["--no-such-option"]).0, Some(2));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let (code, text) = ended(folder.path(), &["start", "--port", &port]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.lines()
            .last()
            .expect("a line")
            .starts_with("resound: "),
        "{text}"
    );
}

#[test]
fn the_listing_names_file_and_line() {
    let folder = project(&[(".env", ENV), ("other.env", &ENV.replace("482915", "5"))]);
    let listing = |arguments: &[&str]| {
        let output = resound(folder.path(), arguments)
            .output()
            .expect("the binary");
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = listing(&["config"]);
    assert!(
        text.contains("# from .env line 9 (REVERB_SERVER_HOST)"),
        "{text}"
    );
    assert!(
        text.contains("# from .env line 5 (REVERB_APP_SECRET)"),
        "{text}"
    );
    assert!(!text.contains("hush"), "{text}");
    let text = listing(&["config", "--env-file", "other.env"]);
    assert!(text.contains("apps.5.id"), "{text}");
    assert!(
        text.contains("# from other.env line 3 (REVERB_APP_ID)"),
        "{text}"
    );
}
