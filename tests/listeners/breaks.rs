//! Connections that break after any byte: of a handshake, of the frames behind it, of a TLS hello, of a PROXY protocol header. The
//! server forgets them, has nothing to complain of, and goes on serving.
use std::{net::SocketAddr, time::Duration};

use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    helpers::{Files, Made, PATIENCE},
    peer::{Socket, Stream, answer, any_version, ok, rest, send, tcp, tls},
    process::{Process, Start, metrics},
    proxy_protocol,
};

const HANDSHAKE: &[u8] = b"GET /app/key7?protocol=7 HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// How a client goes.
#[derive(Clone, Copy, Debug)]
enum Break {
    Reset,
    Close,
    /// It says nothing more, and reads on until the server ends it.
    HalfClose,
}

const BREAKS: [Break; 3] = [Break::Reset, Break::Close, Break::HalfClose];

/// A server with its log, and where it counts.
struct Broken {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Broken {
    /// `head`: what must come first in the settings, of the section `[server]`.
    fn start(server: &str, more: &str) -> Broken {
        let settings = format!(
            "[server]\nhandshake_timeout_s = 3\n{server}\n[socket]\nclose_timeout_s = 1\n{more}"
        );
        let (process, address, admin) = Process::listening_with_admin(Start {
            settings: &settings,
            ..Start::default()
        });
        Broken {
            process,
            address,
            admin,
        }
    }

    /// A client says the first so many bytes, and goes.
    async fn goes_after(&self, bytes: &[u8], how: Break) {
        let mut stream = TcpStream::connect(self.address).await.expect("accepted");
        // refused in the middle of it is fine
        let _ = stream.write_all(bytes).await;
        match how {
            Break::Reset => {
                let reset = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                reset.expect("a socket's option");
            }
            Break::Close => {}
            Break::HalfClose => {
                let _ = stream.shutdown().await;
                let mut answer = Vec::new();
                let end = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
                let _ = end.unwrap_or_else(|_| panic!("kept open after {} bytes", bytes.len()));
            }
        }
    }

    async fn goes_after_each(&self, bytes: &[u8], step: usize) {
        for how in BREAKS {
            for at in (0..=bytes.len()).step_by(step) {
                self.goes_after(&bytes[..at], how).await;
            }
        }
    }

    /// Nothing is left of anybody, nothing bad was logged, and the next one is served.
    async fn check(self, mut next: Stream) {
        ok_after_all(&mut next).await;
        drop(next);
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let gauges = ["connections", "subscriptions", "channels"];
            let open = metrics(self.admin, &gauges).await;
            if open.iter().all(|line| line.ends_with(" 0")) && !open.is_empty() {
                break;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "still there: {open:#?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for line in self.process.logged() {
            let is_bad = line.contains(" ERROR ") || line.contains("panicked");
            assert!(!is_bad, "{line}");
        }
    }
}

async fn ok_after_all(stream: &mut Stream) {
    send(stream, "GET /up HTTP/1.1\r\nHost: test\r\n\r\n").await;
    ok(stream).await;
}

/// A handshake, subscriptions of two kinds, a message, and goodbye.
fn conversation() -> Vec<u8> {
    let subscribe = |channel: &str| {
        let text = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#);
        frame(0x81, text.as_bytes())
    };
    let frames = [
        subscribe("room"),
        subscribe("cache-room"),
        frame(0x89, b"ping"),
        frame(0x81, br#"{"event":"pusher:ping"}"#),
        frame(0x88, &1000_u16.to_be_bytes()),
    ];
    [HANDSHAKE, &frames.concat()].concat()
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    assert!(length < 126);
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// The first bytes that a TLS client sends.
fn hello() -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(config.into(), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a hello");
    bytes
}

#[tokio::test]
async fn after_each_byte_of_a_handshake_and_of_what_follows() {
    let server = Broken::start("", "");
    server.goes_after_each(&conversation(), 1).await;
    let next = tcp(server.address).await;
    server.check(next).await;
}

#[tokio::test]
async fn after_each_byte_of_a_tls_hello() {
    let made = Made::new();
    let files = Files::with(&made);
    let server = Broken::start("", &files.section(""));
    server.goes_after_each(&hello(), 1).await;
    let next = tls(server.address, &any_version(&[&made])).await;
    server.check(next).await;
}

#[tokio::test]
async fn after_each_byte_of_a_proxy_protocol_header() {
    let server = Broken::start("proxy_protocol = true\n", "");
    for header in [proxy_protocol::V1, &proxy_protocol::v2()] {
        let step = header.len().div_ceil(100);
        let bytes = [header, &conversation()].concat();
        let (beginning, _) = bytes.split_at(header.len() + 20);
        server.goes_after_each(beginning, step).await;
        server.goes_after_each(&bytes, 61).await;
    }
    let mut next = tcp(server.address).await;
    send(&mut next, proxy_protocol::V1).await;
    server.check(next).await;
}

/// As `nc -N` and some HTTP/1.0 clients do.
#[tokio::test]
async fn who_has_said_everything_is_answered() {
    let server = Broken::start("", "");
    let mut stream = tcp(server.address).await;
    send(&mut stream, "GET /up HTTP/1.1\r\nHost: test\r\n\r\n").await;
    stream.shutdown().await.expect("half closed");
    let (head, _) = answer(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(rest(&mut stream).await, "");

    let socket = Socket::on_room(tcp(server.address).await).await;
    drop(socket);
    let next = tcp(server.address).await;
    server.check(next).await;
}
