//! A server of the protocol with one fault, to see whether the load generator notices. Knows just enough of it: whoever connects
//! is subscribed to all he asks for, and everybody gets every event, written as Reverb writes it.
use resound::bench::token::Token;
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// What it does wrongly, with every tenth of the first fifty events if that is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    Loses,
    Duplicates,
    /// sends it after the one behind it
    Reorders,
    /// sends events that nobody posted
    Invents,
    /// takes the first event, and never answers again
    FallsSilent,
    /// answers handshakes with an error of HTTP
    RefusesSockets,
    /// does so with the second one only
    RefusesOneSocket,
    /// answers events with an error
    RefusesEvents,
    /// closes each connection after its answer, as some servers do
    ClosesAfterAnswers,
    /// sends events in fragments with pings in between
    Fragments,
}

#[derive(Default)]
struct State {
    sockets: Vec<TcpStream>,
    handshakes: u64,
    held_back: Option<Vec<u8>>,
    events: u64,
}

/// Listens until the test's process ends.
pub fn faulty(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let state = Arc::new(Mutex::new(State::default()));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let state = state.clone();
            // whoever disturbs it is the tool; what becomes of that shows in the figures
            thread::spawn(move || drop(serve(stream, fault, &state)));
        }
    });
    address
}

fn serve(mut stream: TcpStream, fault: Fault, state: &Mutex<State>) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let head = read_until(&mut stream, &mut bytes, |bytes| {
            Some(memory(bytes, b"\r\n\r\n")? + 4)
        })?;
        let head = String::from_utf8_lossy(&head).into_owned();
        if head.starts_with("GET /app/") {
            return socket(stream, bytes, fault, state);
        }
        let length = head.split("Content-Length: ").nth(1).unwrap_or_default();
        let length: usize = length
            .lines()
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        let body = read_until(&mut stream, &mut bytes, |bytes| {
            (bytes.len() >= length).then_some(length)
        })?;
        let events = event(&body, fault, state);
        let answer = match fault {
            Fault::FallsSilent if events > 1 => continue,
            Fault::RefusesEvents if events > 1 => {
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
            }
            Fault::ClosesAfterAnswers => {
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
            }
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        };
        stream.write_all(answer.as_bytes())?;
        if fault == Fault::ClosesAfterAnswers {
            return Ok(());
        }
    }
}

fn socket(
    mut stream: TcpStream,
    mut bytes: Vec<u8>,
    fault: Fault,
    state: &Mutex<State>,
) -> io::Result<()> {
    let handshakes = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.handshakes += 1;
        state.handshakes
    };
    let is_refused = match fault {
        Fault::RefusesSockets => true,
        Fault::RefusesOneSocket => handshakes == 2,
        _ => false,
    };
    if is_refused {
        return stream.write_all(b"HTTP/1.1 500 Out Of Order\r\n\r\nno sockets today");
    }
    let greeting = r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":30}"}"#;
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")?;
    stream.write_all(&frame(0x81, greeting.as_bytes()))?;
    // a short text frame of a client has a header of 8 bytes at most
    read_until(&mut stream, &mut bytes, |bytes| {
        Some(memory(bytes, b"pusher:subscribe")? + 1)
    })?;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let confirmed =
        br#"{"event":"pusher_internal:subscription_succeeded","data":"{}","channel":"c"}"#;
    stream.write_all(&frame(0x81, confirmed))?;
    state.sockets.push(stream);
    Ok(())
}

/// How many came so far, this one among them.
fn event(body: &[u8], fault: Fault, state: &Mutex<State>) -> u64 {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.events += 1;
    let events = state.events;
    let token = Token::find(body).filter(|token| token.stream != u32::MAX);
    let Some(token) = token else {
        return events;
    };
    // not among the last, behind which nothing comes
    let is_tenth = token.sequence < 50 && token.sequence % 10 == 3;
    let message = message(token);
    let mut out = match fault {
        Fault::Loses if is_tenth => Vec::new(),
        Fault::Duplicates if is_tenth => message.repeat(2),
        Fault::Reorders if is_tenth => {
            state.held_back = Some(message);
            return events;
        }
        Fault::Invents if is_tenth => {
            let stream = token.stream + 1_000;
            [message, self::message(Token { stream, ..token })].concat()
        }
        Fault::RefusesEvents | Fault::FallsSilent => Vec::new(),
        Fault::Fragments => fragments(token),
        _ => message,
    };
    out.extend(state.held_back.take().unwrap_or_default());
    for socket in &mut state.sockets {
        // a reader that has gone
        let _ = socket.write_all(&out);
    }
    events
}

fn text(token: Token) -> String {
    format!(
        r#"{{"event":"bench","data":"{{\"t\":\"{token}\",\"u\":\"http:\/\/a\"}}","channel":"c"}}"#
    )
}

fn message(token: Token) -> Vec<u8> {
    frame(0x81, text(token).as_bytes())
}

/// The token itself is cut in two.
fn fragments(token: Token) -> Vec<u8> {
    let text = text(token);
    let (first, rest) = text.split_at(50);
    [
        frame(0x01, first.as_bytes()),
        frame(0x89, b"still there?"),
        frame(0x80, rest.as_bytes()),
    ]
    .concat()
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u8::try_from(payload.len()) {
        Ok(short @ ..126) => bytes.push(short),
        _ => {
            bytes.push(126);
            bytes.extend((payload.len() as u16).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

fn memory(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// Reads until `end` says how many bytes are taken; the others stay.
fn read_until(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    end: impl Fn(&[u8]) -> Option<usize>,
) -> io::Result<Vec<u8>> {
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = end(bytes) {
            return Ok(bytes.drain(..end).collect());
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}
