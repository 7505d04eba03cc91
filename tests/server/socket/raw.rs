//! A peer that sends whatever bytes it likes and does nothing by itself: no pong, no closing handshake.
use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    helpers::{Server, answers_are_in_order},
    rest::request::{KEY, SECRET, hmac_hex},
};

const PATIENCE: Duration = Duration::from_secs(40);

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
/// The last or only fragment.
pub const FIN: u8 = 0x80;

/// A client's frame, masked; `first_byte` is opcode and flags.
pub fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    resound::frame::write_masked(&mut bytes, first_byte, payload, [0x37, 0xfa, 0x21, 0x3d]);
    bytes
}

/// A whole text message.
pub fn text(payload: &str) -> Vec<u8> {
    frame(FIN | TEXT, payload.as_bytes())
}

/// Path and query as pusher-js has them.
pub fn app_path() -> String {
    format!("/app/{KEY}?protocol=7&client=js&version=8.6.0&flash=false")
}

/// A complete handshake with further header lines.
pub fn handshake(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

pub struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Raw {
    /// A TCP connection on which nothing is said yet.
    pub async fn open(server: &Server) -> Raw {
        Raw::open_at(server.addr).await
    }

    pub async fn open_at(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Raw {
            stream,
            received: Vec::new(),
        }
    }

    /// As [`Raw::open`], with room for hardly anything that isn't read.
    pub async fn open_narrow(server: &Server) -> Raw {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        Raw {
            stream: socket.connect(server.addr).await.unwrap(),
            received: Vec::new(),
        }
    }

    /// After the handshake; `connection_established` is still to come.
    pub async fn upgraded(server: &Server) -> Raw {
        Raw::open(server).await.upgrade().await
    }

    pub async fn upgrade(mut self) -> Raw {
        self.send(handshake(&app_path(), "")).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        self
    }

    /// Connected, `connection_established` read.
    pub async fn connect(server: &Server) -> Raw {
        let mut raw = Raw::upgraded(server).await;
        raw.established().await;
        raw
    }

    /// Connected and subscribed to a public channel.
    pub async fn on(server: &Server, channel: &str) -> Raw {
        let mut raw = Raw::connect(server).await;
        raw.subscribe(channel).await;
        raw
    }

    pub async fn subscribe(&mut self, channel: &str) {
        let message = json!({"event": "pusher:subscribe", "data": {"channel": channel}});
        self.send(text(&message.to_string())).await;
        let answer = self.next_text().await;
        assert_eq!(answer["event"], "pusher_internal:subscription_succeeded");
    }

    pub async fn established(&mut self) -> String {
        let established = self.next_text().await;
        assert_eq!(established["event"], "pusher:connection_established");
        let data: Value = serde_json::from_str(established["data"].as_str().unwrap()).unwrap();
        data["socket_id"].as_str().unwrap().to_owned()
    }

    /// Becomes a member of `presence-room`; `connection_established` is still unread.
    pub async fn join(&mut self, user_id: &str) {
        self.ask_to_join(user_id).await;
        let answer = self.next_text().await;
        assert_eq!(answer["event"], "pusher_internal:subscription_succeeded");
    }

    /// As [`Raw::join`], without reading the answer.
    pub async fn ask_to_join(&mut self, user_id: &str) {
        let socket_id = self.established().await;
        let channel = "presence-room";
        let data = json!({ "user_id": user_id }).to_string();
        let signature = hmac_hex(SECRET, &format!("{socket_id}:{channel}:{data}"));
        let data =
            json!({"channel": channel, "channel_data": data, "auth": format!("{KEY}:{signature}")});
        let message = json!({"event": "pusher:subscribe", "data": data});
        self.send(text(&message.to_string())).await;
    }

    /// Sends bytes as they are. The server may have closed its side already: then what it said tells.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Sends what fits into the next `limit`; `false` if the server takes nothing more.
    pub async fn try_send(&mut self, bytes: &[u8], limit: Duration) -> bool {
        matches!(
            timeout(limit, self.stream.write_all(bytes)).await,
            Ok(Ok(()))
        )
    }

    /// Nothing more will be sent; reading goes on.
    pub async fn finish_sending(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Ends the connection with a TCP reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// Whether the stream ends with a TCP reset, after whatever came before.
    pub async fn ends_in_reset(mut self) -> bool {
        loop {
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received));
            match read.await.expect("the end") {
                Ok(0) => return false,
                Ok(_) => self.received.clear(),
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }

    /// Until the end of the stream, however it comes; what is received is thrown away.
    pub async fn end(&mut self) {
        while let Ok(1..) = self.stream.read_buf(&mut self.received).await {
            self.received.clear();
        }
    }

    /// Reads a single byte; `false` at the end of the stream.
    pub async fn read_byte(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_u8());
        let byte = read.await.expect("something from the server");
        byte.map(|byte| self.received.push(byte)).is_ok()
    }

    /// The name of the next event, read a byte at a time.
    pub async fn next_by_bytes(&mut self) -> String {
        loop {
            assert!(self.read_byte().await, "closed");
            if server_frame(&self.received)
                .is_some_and(|(_, start, length)| self.received.len() >= start + length)
            {
                let event = self.next_text().await["event"].clone();
                return event.as_str().unwrap().to_owned();
            }
        }
    }

    /// Sends this again and again as fast as it is taken, and reads what comes meanwhile.
    pub async fn flood(self, bytes: Vec<u8>) {
        let (mut reading, mut writing) = self.stream.into_split();
        let read = async {
            let mut received = vec![0; 65_536];
            while let Ok(1..) = reading.read(&mut received).await {}
        };
        let send = async { while writing.write_all(&bytes).await.is_ok() {} };
        tokio::join!(read, send);
    }

    async fn receive(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received));
        matches!(read.await.expect("something from the server"), Ok(1..))
    }

    /// An HTTP response up to its empty line.
    pub async fn head(&mut self) -> String {
        loop {
            let end = self.received.windows(4).position(|w| w == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.received.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(self.receive().await, "closed within a response");
        }
    }

    /// The next bytes, as many as asked for.
    pub async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.received.len() < count {
            assert!(self.receive().await, "closed too early");
        }
        self.received.drain(..count).collect()
    }

    /// Everything up to the end of the stream.
    pub async fn rest(mut self) -> Vec<u8> {
        while self.receive().await {}
        self.received
    }

    /// The next frame: its first byte and payload; `None` at the end of the stream.
    pub async fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((first_byte, start, length)) = server_frame(&self.received)
                && self.received.len() >= start + length
            {
                let payload = self.received[start..start + length].to_vec();
                self.received.drain(..start + length);
                return Some((first_byte, payload));
            }
            if !self.receive().await {
                return None;
            }
        }
    }

    /// Expects what follows a handshake, a subscription and a ping in one go.
    pub async fn assert_established_subscribed_and_answered(&mut self) {
        let mut events = Vec::new();
        for _ in 0..3 {
            events.push(self.next_text().await["event"].clone());
        }
        if !answers_are_in_order() {
            events[1..].sort_by_key(|event| event == "pusher:pong");
        }
        let expected = [
            "pusher:connection_established",
            "pusher_internal:subscription_succeeded",
            "pusher:pong",
        ];
        assert_eq!(events, expected);
    }

    /// The next text frame, pings and pongs skipped.
    pub async fn next_text(&mut self) -> Value {
        loop {
            match self.next_frame().await {
                Some((byte, payload)) if byte == FIN | TEXT => {
                    return serde_json::from_slice(&payload).unwrap();
                }
                Some((byte, _)) if byte == FIN | PING || byte == FIN | PONG => {}
                other => panic!("wanted a text frame, got {other:?}"),
            }
        }
    }

    /// Skips to the close frame and returns its code and reason; (1006, "") if the stream ends without one.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next_frame().await {
                Some((byte, payload)) if byte == FIN | CLOSE => {
                    let Some((code, reason)) = payload.split_first_chunk() else {
                        return (1005, String::new());
                    };
                    let reason = String::from_utf8(reason.to_vec()).unwrap();
                    return (u16::from_be_bytes(*code), reason);
                }
                Some(_) => {}
                None => return (1006, String::new()),
            }
        }
    }

    /// Whether the server ends the stream without another byte.
    pub async fn is_ended(&mut self) -> bool {
        self.received.is_empty() && !self.receive().await
    }
}

/// First byte, where the payload starts and how long it is. Server frames are never masked.
fn server_frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&first_byte, &length) = (bytes.first()?, bytes.get(1)?);
    assert!(length < 128, "a masked frame");
    match length {
        127 => {
            let length = bytes.get(2..10)?.try_into().unwrap();
            Some((first_byte, 10, u64::from_be_bytes(length) as usize))
        }
        126 => {
            let length = bytes.get(2..4)?.try_into().unwrap();
            Some((first_byte, 4, u16::from_be_bytes(length).into()))
        }
        length => Some((first_byte, 2, length.into())),
    }
}
