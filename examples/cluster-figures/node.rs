//! A server under measurement, the release binary as a child process; and clients that do as little as they can.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use md5::{Digest, Md5};
use resound::protocol::signature::Secret;

const KEY: &str = "app-key";
const SECRET: &str = "app-secret";

pub struct Node {
    child: Child,
    pub address: SocketAddr,
}

impl Node {
    /// Starts `target/release/resound`, or what `RESOUND_BIN` names, on a free port: alone, or with others on this Redis.
    pub fn start(name: &str, redis: Option<u16>, cluster: &str) -> Node {
        let file = format!("resound-figures-{}-{name}.toml", std::process::id());
        let file = std::env::temp_dir().join(file);
        let cluster = redis.map_or_else(String::new, |port| {
            format!("[cluster]\nenabled = true\nport = {port}\n{cluster}\n")
        });
        let app = "[[apps]]\nid = \"1001\"\nkey = \"app-key\"\nsecret = \"app-secret\"\n";
        fs::write(&file, format!("{cluster}{app}")).expect("a settings file");
        let binary =
            std::env::var("RESOUND_BIN").unwrap_or_else(|_| "target/release/resound".to_owned());
        let mut child = Command::new(&binary)
            .args(["--port", "0", "--config"])
            .arg(&file)
            .env("RESOUND_SERVER_WORKERS", "1")
            .env("RESOUND_LOG_LEVEL", "error")
            // no setting of the server
            .env_remove("RESOUND_BIN")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("can't start {binary}: {error}; build it first"));
        let stdout = child.stdout.take().expect("piped");
        let address = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("http://")?.1.trim().parse().ok())
            .expect("the line that says where it listens");
        let _ = fs::remove_file(&file);
        let node = Node { child, address };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !node.is_ready() {
            assert!(Instant::now() < deadline, "{name} never becomes ready");
            thread::sleep(Duration::from_millis(20));
        }
        node
    }

    fn is_ready(&self) -> bool {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        let request = "GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.starts_with("HTTP/1.1 200") && !answer.contains("DEGRADED")
    }

    pub fn rss(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("Linux");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kib.expect("a figure in KiB") * 1024.0
    }

    /// Seconds of processor time so far of the thread that talks to Redis, and of all others.
    pub fn cpu(&self) -> (f64, f64) {
        let (mut cluster, mut others) = (0.0, 0.0);
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("Linux");
        for task in tasks.flatten() {
            let Ok(stat) = fs::read_to_string(task.path().join("stat")) else {
                continue;
            };
            let (name, rest) = stat.rsplit_once(')').expect("a name");
            let fields: Vec<&str> = rest.split_whitespace().collect();
            let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks");
            // The kernel's USER_HZ is 100 everywhere.
            let seconds = (ticks(11) + ticks(12)) / 100.0;
            match name.ends_with("(cluster") {
                true => cluster += seconds,
                false => others += seconds,
            }
        }
        (cluster, others)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A WebSocket, greeted.
pub struct Socket {
    stream: BufReader<TcpStream>,
    id: String,
}

impl Socket {
    pub fn connect(node: &Node) -> Socket {
        let stream = TcpStream::connect(node.address).expect("a connection");
        stream.set_nodelay(true).expect("nodelay");
        let mut stream = BufReader::with_capacity(512, stream);
        let handshake = format!(
            "GET /app/{KEY}?protocol=7 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream
            .get_mut()
            .write_all(handshake.as_bytes())
            .expect("sent");
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(stream.read_line(&mut line).expect("an answer") > 0);
        }
        let mut socket = Socket {
            stream,
            id: String::new(),
        };
        let greeting = socket.next();
        let id = greeting.split("socket_id\\\":\\\"").nth(1);
        let id = id.and_then(|rest| rest.split('\\').next());
        socket.id = id.expect("a socket id").to_owned();
        socket
    }

    /// The text of the next frame.
    pub fn next(&mut self) -> String {
        self.try_next().expect("a frame")
    }

    /// Fails when the server is gone.
    pub fn try_next(&mut self) -> io::Result<String> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length)?;
                u64::from_be_bytes(length)
            }
            length => u64::from(length),
        };
        let mut text = vec![0; usize::try_from(length).expect("a length")];
        self.stream.read_exact(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Reads until so many frames came that speak of this.
    pub fn wait_for(&mut self, what: &str, count: usize) {
        let mut found = 0;
        while found < count {
            found += usize::from(self.next().contains(what));
        }
    }

    fn send(&mut self, messages: impl Iterator<Item = String>) {
        let mut bytes = Vec::new();
        for message in messages {
            let length = u16::try_from(message.len()).expect("short");
            bytes.extend([0x81, 0x80 | 126]);
            bytes.extend(length.to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(message.as_bytes());
        }
        self.stream.get_mut().write_all(&bytes).expect("sent");
    }

    /// Subscribes to all of them, and waits until that is confirmed.
    pub fn subscribe(&mut self, channels: &[String]) {
        // what is confirmed must be read before too much of it waits
        for channels in channels.chunks(500) {
            let messages = channels.iter().map(|channel| {
                format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#)
            });
            self.send(messages);
            self.wait_for("subscription_succeeded", channels.len());
        }
    }

    /// The same on presence channels.
    pub fn enter(&mut self, channels: &[String], user: usize) {
        let member = format!(
            r#"{{\"user_id\":\"{user}\",\"user_info\":{{\"name\":\"The user {user:06}\"}}}}"#
        );
        let plain = member.replace('\\', "");
        let secret = Secret::new(SECRET);
        let messages: Vec<String> = channels
            .iter()
            .map(|channel| {
                let signature = secret.sign(format!("{}:{channel}:{plain}", self.id).as_bytes());
                format!(
                    r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}","auth":"{KEY}:{signature}","channel_data":"{member}"}}}}"#
                )
            })
            .collect();
        self.send(messages.into_iter());
        self.wait_for("subscription_succeeded", channels.len());
    }

    /// Leaves all of them, and waits until that is done.
    pub fn leave(&mut self, channels: &[String]) {
        let messages = channels.iter().map(|channel| {
            format!(r#"{{"event":"pusher:unsubscribe","data":{{"channel":"{channel}"}}}}"#)
        });
        let ping = r#"{"event":"pusher:ping","data":{}}"#.to_owned();
        self.send(messages.chain([ping]));
        self.wait_for("pusher:pong", 1);
    }

    /// Counts frames until so many came.
    pub fn count(&mut self, expected: usize) {
        for _ in 0..expected {
            let mut head = [0; 4];
            self.stream.read_exact(&mut head).expect("a frame");
            let left = match head[1] {
                126 => i64::from(u16::from_be_bytes([head[2], head[3]])),
                short => i64::from(short) - 2,
            };
            let left = usize::try_from(left).expect("no frame is as short as that");
            let mut rest = [0; 2048];
            self.stream.read_exact(&mut rest[..left]).expect("a frame");
        }
    }

    /// Reads whatever comes until the server is gone: who doesn't read is cut off in the end.
    pub fn read_on(mut self) {
        thread::spawn(move || while self.try_next().is_ok() {});
    }

    /// With room for many frames at a time.
    pub fn with_room(self) -> Socket {
        let stream = self.stream.into_inner();
        Socket {
            stream: BufReader::with_capacity(64 * 1024, stream),
            id: self.id,
        }
    }
}

/// A backend with one connection.
pub struct Backend(BufReader<TcpStream>);

impl Backend {
    pub fn connect(node: &Node) -> Backend {
        let stream = TcpStream::connect(node.address).expect("a connection");
        stream.set_nodelay(true).expect("nodelay");
        Backend(BufReader::new(stream))
    }

    /// Sends a request so often at once, and waits for the answers.
    pub fn post(&mut self, request: &[u8], times: usize) {
        self.0
            .get_mut()
            .write_all(&request.repeat(times))
            .expect("sent");
        for _ in 0..times {
            self.answer();
        }
    }

    fn answer(&mut self) {
        let (mut line, mut length) = (String::new(), 0);
        self.0.read_line(&mut line).expect("an answer");
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        while line != "\r\n" {
            line.clear();
            self.0.read_line(&mut line).expect("an answer");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        self.0.read_exact(&mut vec![0; length]).expect("an answer");
    }
}

/// A signed request for one event on each of these channels; it is good for some minutes.
pub fn batch(channels: &[String], data: &str) -> Vec<u8> {
    let events = channels
        .iter()
        .map(|channel| format!(r#"{{"name":"event","channel":"{channel}","data":"{data}"}}"#));
    let events = events.collect::<Vec<_>>().join(",");
    let body = format!(r#"{{"batch":[{events}]}}"#);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let query = format!(
        "auth_key={KEY}&auth_timestamp={}&auth_version=1.0&body_md5={}",
        now.expect("after 1970").as_secs(),
        hex::encode(Md5::digest(body.as_bytes()))
    );
    let path = "/apps/1001/batch_events";
    let signature = Secret::new(SECRET).sign(format!("POST\n{path}\n{query}").as_bytes());
    format!(
        "POST {path}?{query}&auth_signature={signature} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
