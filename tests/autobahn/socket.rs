//! The table over TCP: each case on a connection of its own to an echo server that stands on Resound's socket code.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::cases::{self, Case, End, Pace, Run};
use super::echo::echo_server;
use super::wire::{CLOSE, FIN, Reply, frame, take_reply};

/// The longest wait for something that has to come.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long nothing must come before something wrong was sent.
const QUIET: Duration = Duration::from_millis(30);

const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// One connection, after its handshake.
struct Client {
    stream: TcpStream,
    /// Read, but not yet a whole frame.
    unread: Vec<u8>,
}

/// What one read gave.
enum Arrived {
    Reply(Reply),
    /// The server has closed the connection.
    End,
    /// Nothing within the timeout.
    Nothing,
}

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let mut stream = TcpStream::connect(address).expect("a listening server");
        stream.set_nodelay(true).expect("a TCP socket");
        stream
            .set_read_timeout(Some(ANSWER_TIMEOUT))
            .expect("a valid timeout");
        stream
            .set_write_timeout(Some(ANSWER_TIMEOUT))
            .expect("a valid timeout");
        stream
            .write_all(HANDSHAKE.as_bytes())
            .expect("the request is taken");
        let mut client = Client {
            stream,
            unread: Vec::new(),
        };
        client.read_response();
        client
    }

    fn read_response(&mut self) {
        loop {
            let end = self.unread.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let response: Vec<u8> = self.unread.drain(..end + 4).collect();
                let response = response.escape_ascii().to_string();
                assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
                return;
            }
            assert!(self.fill() > Some(0), "the handshake is answered");
        }
    }

    /// Reads more; the number of bytes, 0 at the end, `None` if nothing comes.
    fn fill(&mut self) -> Option<usize> {
        let mut piece = vec![0; 64 << 10];
        match self.stream.read(&mut piece) {
            Ok(length) => {
                self.unread.extend_from_slice(&piece[..length]);
                Some(length)
            }
            // A server that closes with something of ours unread resets the connection.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(0),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                None
            }
            Err(error) => panic!("reading: {error}"),
        }
    }

    fn next(&mut self) -> Arrived {
        loop {
            if let Some((reply, taken)) = take_reply(&self.unread) {
                self.unread.drain(..taken);
                return Arrived::Reply(reply);
            }
            match self.fill() {
                Some(0) => return Arrived::End,
                Some(_) => {}
                None => return Arrived::Nothing,
            }
        }
    }

    /// Reads up to and including the close frame: what came before it, and its code.
    fn replies_and_code(&mut self, mut replies: Vec<Reply>) -> (Vec<Reply>, Option<u16>) {
        loop {
            match self.next() {
                Arrived::Reply(reply) if reply.opcode == CLOSE => {
                    let code = reply.payload.first_chunk().copied();
                    return (replies, code.map(u16::from_be_bytes));
                }
                Arrived::Reply(reply) => replies.push(reply),
                Arrived::End => panic!("no close frame, after {} replies", replies.len()),
                Arrived::Nothing => panic!("no answer, after {} replies", replies.len()),
            }
        }
    }

    /// Nothing may follow the server's close frame but the end of the connection.
    fn expect_end(&mut self) {
        match self.next() {
            Arrived::End => {}
            Arrived::Reply(reply) => panic!("after the close frame: {reply:?}"),
            Arrived::Nothing => panic!("the server leaves the connection open"),
        }
    }

    fn expect_quiet(&mut self) {
        self.stream
            .set_read_timeout(Some(QUIET))
            .expect("a valid timeout");
        assert!(matches!(self.next(), Arrived::Nothing), "failed too early");
        self.stream
            .set_read_timeout(Some(ANSWER_TIMEOUT))
            .expect("a valid timeout");
    }

    /// Writes the pieces; an error only tells that the server has closed, as it may.
    fn write(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            if self.stream.write_all(piece).is_err() {
                return;
            }
        }
    }

    /// Writes the pieces on another thread while reading here, so that neither side waits for the other to read.
    fn write_and_read(&mut self, pieces: &[&[u8]]) -> (Vec<Reply>, Option<u16>) {
        let mut writer = Client {
            stream: self.stream.try_clone().expect("one more descriptor"),
            unread: Vec::new(),
        };
        thread::scope(|scope| {
            scope.spawn(move || writer.write(pieces));
            self.replies_and_code(Vec::new())
        })
    }

    /// Sends the case as it wants to be sent and reads up to the server's close frame.
    fn converse(&mut self, case: &Case) -> (Vec<Reply>, Option<u16>) {
        let stream = case.stream();
        match (&case.pace, case.end) {
            (Pace::AwaitReply, _) => self.converse_in_turns(case),
            (Pace::Stops(stops), End::Failed { by, .. }) => {
                self.write(&[&stream[..stops[0]]]);
                self.expect_quiet();
                // Never the rest: the server mustn't wait for it.
                self.write_and_read(&[&stream[stops[0]..by]])
            }
            (Pace::Stops(stops), End::Closed(_)) => {
                let (start, rest) = stream.split_at(stops[0]);
                self.write_and_read(&[start, rest])
            }
            (Pace::Stream, _) => self.write_and_read(&[&stream]),
            (Pace::Frames, _) => {
                let frames: Vec<&[u8]> = case.frames.iter().map(Vec::as_slice).collect();
                self.write_and_read(&frames)
            }
            (&Pace::Chops(size), _) => {
                let chops: Vec<&[u8]> = stream.chunks(size).collect();
                self.write_and_read(&chops)
            }
        }
    }

    /// Each frame after the reply to the one before; the last is the close frame.
    fn converse_in_turns(&mut self, case: &Case) -> (Vec<Reply>, Option<u16>) {
        let mut replies = Vec::new();
        for (index, frame) in case.frames.iter().enumerate() {
            self.write(&[frame]);
            if index < case.replies.len() {
                match self.next() {
                    Arrived::Reply(reply) => replies.push(reply),
                    _ => panic!("no reply to frame {index}"),
                }
            }
        }
        self.replies_and_code(replies)
    }
}

fn check(case: &Case, address: SocketAddr) {
    let context = format!("{} ({})", case.id, case.description);
    // Shown if what follows panics.
    println!("{context}");
    let mut client = Client::connect(address);
    let (replies, code) = client.converse(case);
    // Not `assert_eq`, which would print all of up to a thousand replies.
    assert!(
        replies == case.replies,
        "{context}: {} replies, {:?}",
        replies.len(),
        replies.first()
    );
    match case.end {
        End::Closed(expected) => {
            let accepted = code == expected || code == Some(1000);
            assert!(accepted, "{context}: closed with {code:?}");
        }
        End::Failed { code: expected, .. } => {
            assert_eq!(code, Some(expected), "{context}");
            // The peer's part of the closing handshake.
            client.write(&[&frame(FIN | CLOSE, b"")]);
        }
    }
    client.expect_end();
}

/// Runs a section against an echo server of its own.
fn check_section(section: fn(Run<'_>)) {
    let address = echo_server();
    section(&mut |case| check(&case, address));
}

#[test]
fn section_1_framing() {
    check_section(cases::section_1_framing);
}

#[test]
fn section_2_pings() {
    check_section(cases::section_2_pings);
}

#[test]
fn section_3_reserved_bits() {
    check_section(cases::section_3_reserved_bits);
}

#[test]
fn section_4_opcodes() {
    check_section(cases::section_4_opcodes);
}

#[test]
fn section_5_fragmentation() {
    check_section(cases::section_5_fragmentation);
}

#[test]
fn section_6_utf8() {
    check_section(cases::section_6_utf8);
}

#[test]
fn section_6_sequences() {
    check_section(cases::section_6_sequences);
}

#[test]
fn section_7_close() {
    check_section(cases::section_7_close);
}

#[test]
fn section_9_long() {
    check_section(cases::section_9_long);
}

#[test]
fn section_9_fragments() {
    check_section(cases::section_9_fragments);
}

#[test]
fn section_9_chops() {
    check_section(cases::section_9_chops);
}

#[test]
fn section_9_round_trips() {
    check_section(cases::section_9_round_trips);
}

#[test]
fn section_10_fragments() {
    check_section(cases::section_10_fragments);
}
