//! Clients that do as little as they can, so that the machine's other core is the server's.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use md5::{Digest, Md5};
use resound::protocol::signature::Secret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const KEY: &str = "app-key";
const SECRET: &str = "app-secret";

/// A WebSocket on one public channel.
pub struct Subscriber {
    stream: TcpStream,
    frames: Frames,
}

impl Subscriber {
    /// Connects and waits for the confirmation of the subscription.
    pub async fn connect(address: SocketAddr, channel: &str) -> Subscriber {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("nodelay");
        let message = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#);
        let mut out = handshake(address);
        out.extend(masked(message.as_bytes()));
        stream.write_all(&out).await.expect("sent");

        let mut received = Vec::new();
        while !received.ends_with(b"\"{}\"}") {
            let n = stream.read_buf(&mut received).await.expect("an answer");
            assert!(n > 0, "closed: {}", String::from_utf8_lossy(&received));
        }
        Subscriber {
            stream,
            frames: Frames::default(),
        }
    }

    /// Counts frames until the server is gone.
    pub async fn count_into(mut self, received: Arc<AtomicU64>) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n) = self.stream.read(&mut buffer).await {
            if n == 0 {
                return;
            }
            received.fetch_add(self.frames.count(&buffer[..n]), Ordering::Relaxed);
        }
    }
}

/// Occupies and vacates channels until the server is gone, about 2,000 changes a second.
pub async fn come_and_go(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(&handshake(address)).await.expect("sent");
    let mut answers = vec![0; 16 * 1024];
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(10));
    for n in 0_u64.. {
        ticks.tick().await;
        let mut out = Vec::new();
        for event in ["pusher:subscribe", "pusher:unsubscribe"] {
            for channel in 0..10 {
                let message = format!(
                    r#"{{"event":"{event}","data":{{"channel":"c{}"}}}}"#,
                    n % 100 * 10 + channel
                );
                out.extend(masked(message.as_bytes()));
            }
        }
        if stream.write_all(&out).await.is_err() || stream.read(&mut answers).await.is_err() {
            return;
        }
    }
}

fn handshake(address: SocketAddr) -> Vec<u8> {
    format!(
        "GET /app/{KEY}?protocol=7 HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// A text frame as a client sends it, masked with zeros.
fn masked(payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    assert!(length < 126, "short");
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.extend(payload);
    frame
}

/// Counts whole frames in a stream cut anywhere.
#[derive(Default)]
struct Frames {
    header: Vec<u8>,
    payload_left: usize,
}

impl Frames {
    fn count(&mut self, mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let n = self.payload_left.min(bytes.len());
                self.payload_left -= n;
                bytes = &bytes[n..];
                count += u64::from(self.payload_left == 0);
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            let length = match self.header[..] {
                [_, short] if short < 126 => usize::from(short),
                [_, 126, high, low] => usize::from(u16::from_be_bytes([high, low])),
                _ => continue,
            };
            self.header.clear();
            self.payload_left = length;
            count += u64::from(length == 0);
        }
        count
    }
}

/// A backend with one connection that is kept alive.
pub struct Publisher {
    stream: TcpStream,
    secret: Secret,
    answer: Vec<u8>,
}

impl Publisher {
    pub async fn connect(address: SocketAddr) -> Publisher {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("nodelay");
        Publisher {
            stream,
            secret: Secret::new(SECRET),
            answer: Vec::new(),
        }
    }

    /// A signed request, as an SDK sends it.
    pub fn request(&self, channel: &str, data: &str) -> Vec<u8> {
        let body = format!(r#"{{"name":"event","channel":"{channel}","data":"{data}"}}"#);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let query = format!(
            "auth_key={KEY}&auth_timestamp={}&auth_version=1.0&body_md5={}",
            now.expect("after 1970").as_secs(),
            hex::encode(Md5::digest(body.as_bytes()))
        );
        let path = "/apps/1001/events";
        let signature = self
            .secret
            .sign(format!("POST\n{path}\n{query}").as_bytes());
        format!(
            "POST {path}?{query}&auth_signature={signature} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    pub async fn publish(&mut self, channel: &str, data: &str) {
        let request = self.request(channel, data);
        self.send(&request).await;
    }

    /// Sends a request and waits for its answer, which must be 200 `{}`.
    pub async fn send(&mut self, request: &[u8]) {
        self.send_pipelined(request, 1).await;
    }

    /// Sends `count` requests at once and waits for their answers, each 200 `{}`.
    pub async fn send_pipelined(&mut self, requests: &[u8], count: usize) {
        const END: &[u8] = b"\r\n\r\n{}";
        self.stream.write_all(requests).await.expect("sent");
        self.answer.clear();
        let mut answers = 0;
        while answers < count {
            let n = self.stream.read_buf(&mut self.answer).await;
            let n = n.expect("an answer");
            assert!(n > 0, "closed: {}", String::from_utf8_lossy(&self.answer));
            while let Some(end) = self.answer.windows(END.len()).position(|part| part == END) {
                assert!(self.answer.starts_with(b"HTTP/1.1 200"));
                self.answer.drain(..end + END.len());
                answers += 1;
            }
        }
    }
}
