//! Clients over any kind of stream.
use std::{net::SocketAddr, path::Path, sync::Arc, time::SystemTime};

use futures_util::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::helpers::{Made, PATIENCE};

pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}
pub type Stream = Box<dyn Io>;

pub async fn tcp(address: SocketAddr) -> Stream {
    Box::new(TcpStream::connect(address).await.expect("a connection"))
}

pub async fn unix(path: &Path) -> Stream {
    Box::new(UnixStream::connect(path).await.expect("a connection"))
}

/// A client's side of TLS that trusts these certificates only.
pub fn trusting(
    certificates: &[&Made],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for made in certificates {
        roots.add(made.der.clone()).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config).into()
}

pub fn any_version(certificates: &[&Made]) -> TlsConnector {
    trusting(certificates, &[&TLS12, &TLS13])
}

pub async fn tls_over<T: Io>(stream: T, connector: &TlsConnector) -> std::io::Result<TlsStream<T>> {
    let name = ServerName::try_from("localhost").expect("a name");
    timeout(PATIENCE, connector.connect(name, stream))
        .await
        .expect("a TLS handshake in time")
}

pub async fn tls(address: SocketAddr, connector: &TlsConnector) -> Stream {
    let stream = TcpStream::connect(address).await.expect("a connection");
    Box::new(tls_over(stream, connector).await.expect("TLS"))
}

/// The certificate that new connections are shown.
pub async fn shown_certificate(
    address: SocketAddr,
    connector: &TlsConnector,
) -> CertificateDer<'static> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let stream = tls_over(stream, connector).await.expect("TLS");
    let (_, session) = stream.get_ref();
    session.peer_certificates().expect("certificates")[0]
        .clone()
        .into_owned()
}

/// Everything until the server ends the connection, however it does.
pub async fn rest(stream: &mut Stream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    // A reset loses nothing that has arrived.
    let _ = read.expect("the server closes in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

pub async fn send(stream: &mut Stream, bytes: impl AsRef<[u8]>) {
    stream.write_all(bytes.as_ref()).await.expect("sent");
    stream.flush().await.expect("sent");
}

/// One answer with a Content-Length; head and body. Interim ones are passed over.
pub async fn answer(stream: &mut Stream) -> (String, String) {
    let mut bytes = Vec::new();
    let reading = async {
        loop {
            if bytes.starts_with(b"HTTP/1.1 100 Continue\r\n\r\n") {
                bytes.drain(..25);
            }
            if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..at + 4].to_vec()).expect("text");
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
                while bytes.len() < at + 4 + length {
                    assert!(
                        stream.read_buf(&mut bytes).await.expect("more") > 0,
                        "cut: {head}"
                    );
                }
                assert_eq!(bytes.len(), at + 4 + length, "more than one answer");
                let body = String::from_utf8(bytes[at + 4..].to_vec()).expect("text");
                return (head, body);
            }
            let read = stream.read_buf(&mut bytes).await.expect("an answer");
            assert!(
                read > 0,
                "closed without an answer: {:?}",
                String::from_utf8_lossy(&bytes)
            );
        }
    };
    timeout(PATIENCE, reading).await.expect("an answer in time")
}

/// One answer with status 200; returns its body.
pub async fn ok(stream: &mut Stream) -> String {
    let (head, body) = answer(stream).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}{body}");
    body
}

pub fn hmac_hex(text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"secret7").expect("a key");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// A signed request that publishes, with further header lines.
pub fn publish(body: &str, headers: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let query = format!(
        "auth_key=key7&auth_timestamp={}&auth_version=1.0&body_md5={}",
        now.expect("a time").as_secs(),
        hex::encode(Md5::digest(body))
    );
    let signature = hmac_hex(&format!("POST\n/apps/7/events\n{query}"));
    format!(
        "POST /apps/7/events?{query}&auth_signature={signature} HTTP/1.1\r\nHost: test\r\n\
         Content-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

pub fn event(data: &str) -> String {
    json!({ "name": "e", "channel": "room", "data": data }).to_string()
}

/// A WebSocket that may have been greeted.
pub struct Socket {
    socket: WebSocketStream<Stream>,
}

impl Socket {
    pub async fn open(stream: Stream) -> Socket {
        let handshake = client_async("ws://test/app/key7?protocol=7", stream);
        let (socket, _) = timeout(PATIENCE, handshake)
            .await
            .expect("in time")
            .expect("a handshake");
        Socket { socket }
    }

    /// Connected, and subscribed to `room`.
    pub async fn on_room(stream: Stream) -> Socket {
        let mut socket = Socket::open(stream).await;
        assert_eq!(
            socket.next().await["event"],
            "pusher:connection_established"
        );
        let subscribe = json!({ "event": "pusher:subscribe", "data": { "channel": "room" } });
        socket
            .socket
            .send(Message::text(subscribe.to_string()))
            .await
            .expect("sent");
        assert_eq!(
            socket.next().await["event"],
            "pusher_internal:subscription_succeeded"
        );
        socket
    }

    /// The next message.
    pub async fn next(&mut self) -> Value {
        loop {
            let message = timeout(PATIENCE, self.socket.next())
                .await
                .expect("a message in time");
            match message.expect("a message").expect("no error") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The data of the next event.
    pub async fn next_data(&mut self) -> String {
        let message = self.next().await;
        assert_eq!(message["event"], "e", "{message}");
        message["data"].as_str().expect("text").to_owned()
    }

    /// Until the end; the code of the close frame.
    pub async fn closed(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some(message) = timeout(PATIENCE, self.socket.next())
            .await
            .expect("the end in time")
        {
            match message {
                Ok(Message::Close(frame)) => code = frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        code
    }

    /// Whether the transport ends in order.
    pub async fn leave(mut self) {
        let _ = self.socket.close(None).await;
        while let Some(message) = timeout(PATIENCE, self.socket.next())
            .await
            .expect("the end in time")
        {
            message.expect("no error");
        }
    }
}
