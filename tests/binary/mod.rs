//! The binary as a user starts it: in a folder, with arguments and variables, and nothing of whoever runs the tests.
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// Far more than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// What it takes to have no variables but these.
pub fn resound(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resound"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A command that ends by itself.
pub fn output(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = resound(folder, arguments, &[]);
    command.output().expect("the binary")
}

/// A running server. Dropped, it is killed.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
    /// the log up to the line that says it listens
    pub log: String,
    lines: mpsc::Receiver<String>,
}

impl Running {
    /// Starts it and waits until it listens.
    #[track_caller]
    pub fn start(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        let command = &mut resound(folder, arguments, variables);
        let mut child = command.spawn().expect("the binary");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // reads on to the end, so that the server never waits for us
            for line in log.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut running = Running {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log: String::new(),
            lines,
        };
        let line = running.wait_for("resound: listening on ");
        let (_, after) = line.split_once("listening on ").expect("these words");
        let address = after.split_whitespace().next().unwrap_or_default();
        let address: SocketAddr = address.parse().expect("an address");
        running.address.set_port(address.port());
        running
    }

    /// Reads the log until a line has this text; returns the line.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("never logged: {text}; but {}", self.log);
            };
            self.log.push_str(&line);
            self.log.push('\n');
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("kill").success());
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// All that it has logged.
    pub fn log_so_far(&mut self) -> &str {
        for line in self.lines.try_iter() {
            self.log.push_str(&line);
            self.log.push('\n');
        }
        &self.log
    }

    /// The answer to a GET, up to its end or to a socket's greeting.
    pub fn get(&self, target: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        let limit = stream.set_read_timeout(Some(PATIENCE));
        limit.expect("a time limit");
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while !String::from_utf8_lossy(&answer).contains("activity_timeout") {
            match stream.read(&mut chunk).expect("an answer in time") {
                0 => break,
                count => answer.extend_from_slice(&chunk[..count]),
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub fn status(&self, target: &str) -> u16 {
        status(&self.get(target, "Connection: close\r\n"))
    }

    /// The answer to a WebSocket handshake, greeting and all.
    pub fn handshake(&self, target: &str) -> String {
        let headers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        self.get(target, headers)
    }

    /// What it printed until it was stopped.
    pub fn stopped(mut self) -> String {
        self.child.kill().expect("killed");
        let mut text = String::new();
        let mut output = self.child.stdout.take().expect("a pipe");
        output.read_to_string(&mut text).expect("text");
        text
    }
}

/// The status of an answer.
pub fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.unwrap_or_else(|| panic!("no status in {answer}"))
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
