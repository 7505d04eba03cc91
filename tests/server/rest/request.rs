//! An HTTP/1.1 client that also sends what no client should, and the signing of requests, written apart from the server's.
use crate::helpers::Server;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

pub const APP_ID: &str = "3";
pub const KEY: &str = "278d425bdf160c739803";
pub const SECRET: &str = "7ad3773142a6692b25b8";

/// Far more than any answer takes; a missing one fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(40);

pub fn hmac_hex(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

pub fn md5_hex(bytes: &[u8]) -> String {
    hex::encode(Md5::digest(bytes))
}

pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// The parameters of a request before they are signed; tests take out or change what they like.
pub struct Unsigned {
    pub method: &'static str,
    pub path: String,
    pub params: BTreeMap<String, String>,
    pub secret: String,
}

impl Unsigned {
    pub fn new(method: &'static str, path: &str, body: &[u8]) -> Unsigned {
        let mut params = BTreeMap::from([
            ("auth_key".to_owned(), KEY.to_owned()),
            ("auth_timestamp".to_owned(), now_s().to_string()),
            ("auth_version".to_owned(), "1.0".to_owned()),
        ]);
        if !body.is_empty() {
            params.insert("body_md5".to_owned(), md5_hex(body));
        }
        Unsigned {
            method,
            path: path.to_owned(),
            params,
            secret: SECRET.to_owned(),
        }
    }

    pub fn with(mut self, key: &str, value: &str) -> Unsigned {
        self.params.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn without(mut self, key: &str) -> Unsigned {
        self.params.remove(key);
        self
    }

    /// Path and query as they go into the request line.
    pub fn sign(&self) -> String {
        self.sign_as(&self.path)
    }

    /// Signs another path than the one that is requested (H-15).
    pub fn sign_as(&self, signed_path: &str) -> String {
        let pairs: Vec<String> = self
            .params
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let text = format!("{}\n{signed_path}\n{}", self.method, pairs.join("&"));
        let encoded: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.params)
            .append_pair("auth_signature", &hmac_hex(&self.secret, &text))
            .finish();
        format!("{}?{encoded}", self.path)
    }
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    /// A success as every SDK can read it (H-18).
    #[track_caller]
    pub fn assert_json(&self, body: &str) {
        assert_eq!((self.status, self.body.as_str()), (200, body), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
    }

    /// A refusal in one line of plain text with a request id (H-19); `text` is how it starts.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, text: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.body.starts_with(text), "{:?}", self.body);
        let line = self.body.strip_suffix('\n').expect("ends in a newline");
        assert!(!line.contains('\n') && !line.ends_with('.'), "{line:?}");
        assert_eq!(
            self.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        let id = self.header("x-request-id").expect("a request id");
        assert!(
            id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()),
            "{id}"
        );
    }
}

/// One TCP connection.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub async fn open(addr: SocketAddr) -> Connection {
        Connection {
            stream: TcpStream::connect(addr).await.unwrap(),
            received: Vec::new(),
        }
    }

    /// Sends the bytes as they are. The server may have closed its side already: then the answer, or its absence, tells.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    pub async fn send_request(&mut self, method: &str, target: &str, body: &[u8]) {
        self.send(request_head(method, target, body.len())).await;
        self.send(body).await;
    }

    pub async fn finish_sending(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next answer, interim ones (1xx) included.
    pub async fn response(&mut self) -> Response {
        self.try_response(true).await.expect("an answer")
    }

    /// An answer to HEAD: its Content-Length announces nothing.
    pub async fn response_to_head(&mut self) -> Response {
        self.try_response(false).await.expect("an answer")
    }

    /// The next answer, or `None` if the server closes without one.
    pub async fn try_response(&mut self, has_body: bool) -> Option<Response> {
        let head_end = loop {
            if let Some(at) = find(&self.received, b"\r\n\r\n") {
                break at;
            }
            if !self.receive().await {
                return None;
            }
        };
        let head = String::from_utf8(self.received.drain(..head_end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap();
        let status = status_line
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .expect(status_line);
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').expect(line))
            .map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers
            .iter()
            .find(|(key, _)| key == "content-length")
            .map_or(0, |(_, value)| value.parse().expect(value));
        let length = if has_body { length } else { 0 };
        while self.received.len() < length {
            assert!(self.receive().await, "closed in the middle of a body");
        }
        let body = String::from_utf8(self.received.drain(..length).collect()).unwrap();
        Some(Response {
            status,
            headers,
            body,
        })
    }

    /// Whether the server closes without saying anything more.
    pub async fn is_closed(&mut self) -> bool {
        self.received.is_empty() && !self.receive().await
    }

    async fn receive(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received));
        match read.await.expect("the server neither answers nor closes") {
            Ok(count) => count > 0,
            Err(_) => false,
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

pub fn request_head(method: &str, target: &str, body_bytes: usize) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {body_bytes}\r\n\r\n")
}

/// One request on a connection of its own.
pub async fn send(server: &Server, method: &str, target: &str, body: &[u8]) -> Response {
    let mut connection = Connection::open(server.addr).await;
    connection.send_request(method, target, body).await;
    connection.response().await
}

/// A signed POST to `/apps/3{path}`.
pub async fn post(server: &Server, path: &str, body: &str) -> Response {
    let path = format!("/apps/{APP_ID}{path}");
    let target = Unsigned::new("POST", &path, body.as_bytes()).sign();
    send(server, "POST", &target, body.as_bytes()).await
}

/// A signed GET of `/apps/3{path}` with further parameters.
pub async fn get(server: &Server, path: &str, params: &[(&str, &str)]) -> Response {
    let path = format!("/apps/{APP_ID}{path}");
    let mut request = Unsigned::new("GET", &path, b"");
    for (key, value) in params {
        request = request.with(key, value);
    }
    send(server, "GET", &request.sign(), b"").await
}
