//! The least any server of the protocol could do, to quote ratios against: one thread and its poll answer every handshake and
//! every subscription with fixed bytes, and an event of the HTTP API goes to each socket of its channel as one frame and one write. Nothing
//! is checked. `resound bench` drives it like a server; it is none.
//!
//! `cargo run --release --example floor [-- PORT]` prints the address it listens on.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::SocketAddr,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

const LISTENER: Token = Token(usize::MAX);

/// Bytes read at a time, and of the longest request that is understood.
const BUFFER_BYTES: usize = 64 * 1024;

/// The accepted key is that of `dGhlIHNhbXBsZSBub25jZQ==`, which the load generator always sends.
const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const WELCOME: &str = r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.1\",\"activity_timeout\":120}"}"#;
const PONG: &str = r#"{"event":"pusher:pong","data":"{}"}"#;
const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
const TAKEN_AND_CLOSED: &[u8] =
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1);
    let port = port.map_or(Ok(0), |port| port.parse());
    let port = port.map_err(|_| io::Error::other("usage: floor [PORT]"))?;
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut floor = Floor::listen(SocketAddr::from(([127, 0, 0, 1], port)))?;
    println!("http://{}", floor.listener.local_addr()?);
    floor.serve()
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    /// by token; a hole is used again
    clients: Vec<Option<Client>>,
    holes: Vec<usize>,
    channels: HashMap<Vec<u8>, Vec<usize>>,
    buffer: Box<[u8]>,
}

struct Client {
    stream: TcpStream,
    is_socket: bool,
    /// the beginning of a request or frame that hasn't come as a whole
    rest: Vec<u8>,
    /// what the system didn't take at once
    owed: Vec<u8>,
    channels: Vec<Vec<u8>>,
}

/// Something whole that a client said.
enum Said<'a> {
    Handshake,
    Event {
        channel: &'a [u8],
        data: &'a [u8],
        closes: bool,
    },
    Message(&'a [u8]),
    Close,
}

impl Floor {
    fn listen(address: SocketAddr) -> io::Result<Floor> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Floor {
            poll,
            listener,
            clients: Vec::new(),
            holes: Vec::new(),
            channels: HashMap::new(),
            buffer: vec![0; BUFFER_BYTES].into(),
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(n) => {
                        if self.turn(n).is_none() {
                            self.forget(n);
                        }
                    }
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let n = self.holes.pop().unwrap_or(self.clients.len());
            let both = Interest::READABLE | Interest::WRITABLE;
            let _ = stream.set_nodelay(true);
            self.poll.registry().register(&mut stream, Token(n), both)?;
            let client = Client {
                stream,
                is_socket: false,
                rest: Vec::new(),
                owed: Vec::new(),
                channels: Vec::new(),
            };
            match self.clients.get_mut(n) {
                Some(hole) => *hole = Some(client),
                None => self.clients.push(Some(client)),
            }
        }
    }

    /// Writes and reads what goes. `None`: the client is gone.
    fn turn(&mut self, n: usize) -> Option<()> {
        // Taken out, so that what is read of it may change all others.
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut client = self.clients.get_mut(n)?.take()?;
        let turned = self.talk(n, &mut client, &mut buffer);
        self.buffer = buffer;
        self.clients[n] = Some(client);
        turned
    }

    fn talk(&mut self, n: usize, client: &mut Client, buffer: &mut [u8]) -> Option<()> {
        client.write(&[])?;
        loop {
            let kept = client.rest.len();
            buffer.get_mut(..kept)?.copy_from_slice(&client.rest);
            let read = match client.stream.read(&mut buffer[kept..]) {
                Ok(0) => return None,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(()),
                Err(_) => return None,
            };
            let mut bytes = &mut buffer[..kept + read];
            while let Some((said, length)) = next(bytes, client.is_socket) {
                self.answer(n, client, said)?;
                bytes = &mut bytes[length..];
            }
            // Nothing is kept for clients that have said all they wanted.
            client.rest = bytes.to_vec();
        }
    }

    fn answer(&mut self, n: usize, client: &mut Client, said: Said<'_>) -> Option<()> {
        match said {
            Said::Handshake => {
                client.is_socket = true;
                client.write(&[UPGRADED, &frame(WELCOME.as_bytes())].concat())
            }
            Said::Event {
                channel,
                data,
                closes,
            } => {
                self.publish(channel, data);
                client.write(if closes { TAKEN_AND_CLOSED } else { TAKEN })?;
                (!closes).then_some(())
            }
            Said::Message(text) => match between(text, b"\"channel\":\"", b'"') {
                Some(channel) => {
                    let channel = channel.to_vec();
                    self.channels.entry(channel.clone()).or_default().push(n);
                    let answer = [
                        br#"{"event":"pusher_internal:subscription_succeeded","channel":""#,
                        &channel[..],
                        br#"","data":"{}"}"#,
                    ];
                    let answer = frame(&answer.concat());
                    client.channels.push(channel);
                    client.write(&answer)
                }
                None => client.write(&frame(PONG.as_bytes())),
            },
            Said::Close => None,
        }
    }

    /// One frame for all, one write for each.
    fn publish(&mut self, channel: &[u8], data: &[u8]) {
        let Some(subscribers) = self.channels.get(channel) else {
            return;
        };
        let parts = [
            br#"{"event":"bench","channel":""#,
            channel,
            br#"","data":""#,
            data,
            br#""}"#,
        ];
        let frame = frame(&parts.concat());
        for n in subscribers {
            if let Some(Some(client)) = self.clients.get_mut(*n) {
                // One that is gone is noticed when its turn comes.
                let _ = client.write(&frame);
            }
        }
    }

    fn forget(&mut self, n: usize) {
        let Some(client) = self.clients.get_mut(n).and_then(Option::take) else {
            return;
        };
        for channel in &client.channels {
            if let Some(subscribers) = self.channels.get_mut(channel) {
                subscribers.retain(|other| *other != n);
            }
        }
        self.holes.push(n);
    }
}

impl Client {
    fn write(&mut self, bytes: &[u8]) -> Option<()> {
        if !self.owed.is_empty() {
            self.owed.extend_from_slice(bytes);
            let owed = std::mem::take(&mut self.owed);
            return self.write_now(&owed);
        }
        match bytes {
            [] => Some(()),
            _ => self.write_now(bytes),
        }
    }

    fn write_now(&mut self, bytes: &[u8]) -> Option<()> {
        let written = match self.stream.write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return None,
        };
        self.owed.extend_from_slice(&bytes[written..]);
        Some(())
    }
}

/// The first whole thing in `bytes`, and its length. A frame's mask is taken off in place.
fn next(bytes: &mut [u8], is_socket: bool) -> Option<(Said<'_>, usize)> {
    if is_socket {
        return next_frame(bytes);
    }
    let bytes = &*bytes;
    let head_end = find(bytes, b"\r\n\r\n")? + 4;
    let head = &bytes[..head_end];
    if head.starts_with(b"GET") {
        return Some((Said::Handshake, head_end));
    }
    let length = between(head, b"Content-Length: ", b'\r')?;
    let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
    let body = bytes.get(head_end..head_end + length)?;
    // Its data is a JSON string, escaped as it goes on; it is the last member.
    let data_start = find(body, b"\"data\":\"")? + b"\"data\":\"".len();
    let said = Said::Event {
        channel: between(body, b"\"channel\":\"", b'"')?,
        data: body.get(data_start..length - 2)?,
        closes: find(head, b"Connection: close").is_some(),
    };
    Some((said, head_end + length))
}

fn next_frame(bytes: &mut [u8]) -> Option<(Said<'_>, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, start) = match second & 0x7f {
        126 => {
            let length = bytes.get(2..4)?;
            (u16::from_be_bytes(length.try_into().ok()?).into(), 4)
        }
        127 => return Some((Said::Close, bytes.len())),
        short => (usize::from(short), 2),
    };
    let mask: [u8; 4] = bytes.get(start..start + 4)?.try_into().ok()?;
    let end = start + 4 + length;
    let payload = bytes.get_mut(start + 4..end)?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    let said = match first & 0x0f {
        8 => Said::Close,
        _ => Said::Message(payload),
    };
    Some((said, end))
}

/// An unmasked text frame.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(payload.len()) {
        Ok(short @ ..126) => frame.push(short),
        _ => {
            frame.push(126);
            // requests are shorter than 64 KiB
            let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// What follows `start`, up to `end`.
fn between<'a>(bytes: &'a [u8], start: &[u8], end: u8) -> Option<&'a [u8]> {
    let after = &bytes[find(bytes, start)? + start.len()..];
    after.split(|byte| *byte == end).next()
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, part)
}
