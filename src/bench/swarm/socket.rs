//! One socket: from the first packet to its subscriptions, and what it then gets. No clock and no poll of its own.
use super::{Plan, Sent, Settled, Taken, source};
use crate::{
    bench::{
        account::{Arrival, Counts, Track},
        scanner::{Item, MESSAGE_BYTES_MAX, Scanner},
        stage::Stage,
        token::Token,
    },
    client::{Address, socket::Event},
    protocol::channel::ChannelKind,
};
use mio::{Interest, Registry, net::TcpStream};
use serde_json::json;
use socket2::{Domain, Protocol, Type};
use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

/// What is read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// What a thread's sockets read into: a message that isn't complete yet, and the next chunk.
pub const BUFFER_BYTES: usize = 2 * MESSAGE_BYTES_MAX + CHUNK_BYTES;

/// What a stalled socket's system takes before the server has to keep it.
const STALLED_RECEIVE_BYTES: usize = 4096;

/// `EINPROGRESS` of Linux and of the BSDs and macOS.
const IN_PROGRESS: [i32; 2] = [115, 36];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Closed,
    Connecting,
    Upgrading,
    Greeting,
    Subscribing,
    Ready,
}

impl State {
    /// What it waits for, in a sentence.
    fn waits_for(self) -> &'static str {
        match self {
            State::Closed | State::Connecting => "the connection",
            State::Upgrading => "the WebSocket handshake",
            State::Greeting => "pusher:connection_established",
            State::Subscribing => "its subscriptions",
            State::Ready => "nothing",
        }
    }
}

pub struct Socket {
    pub plan: Plan,
    pub state: State,
    /// changes with each attempt
    pub attempt: u32,
    pub began: Instant,
    /// when it last sent something
    pub spoke: Instant,
    pub socket_id: String,
    /// has had all its subscriptions once
    pub was_ready: bool,
    /// ready once, and gone without being dropped here
    pub is_gone: bool,
    /// subscriptions that were confirmed, so far
    pub confirmed: u64,
    stream: Option<TcpStream>,
    /// the beginning of what hasn't come as a whole
    rest: Vec<u8>,
    scanner: Scanner,
    out: Vec<u8>,
    subscriptions_left: usize,
    /// by stream, ascending
    tracks: Vec<(u32, Track)>,
}

/// What a socket reads with and where it counts.
pub struct Context<'a> {
    pub stage: &'a Stage,
    pub buffer: &'a mut [u8],
    pub taken: &'a mut Taken,
    pub counts: &'a mut [Counts],
    pub keeps_longest: bool,
    /// deliveries since the last look
    pub arrived: u64,
}

/// Why a connection is over, in words.
pub type Over = String;

impl Socket {
    pub fn new(plan: Plan, stage: &Stage) -> Socket {
        let now = Instant::now();
        let mut tracks: Vec<(u32, Track)> = Vec::new();
        for channel in &plan.channels {
            let channel = stage.channels.get(*channel as usize);
            let streams = channel.map_or(&[][..], |channel| &channel.streams);
            // nobody gets what he sends himself
            let others = streams
                .iter()
                .filter(|stream| plan.stream != Some(**stream));
            tracks.extend(others.map(|&stream| (stream, Track::from(stage.sent_of(stream)))));
        }
        tracks.sort_unstable_by_key(|&(stream, _)| stream);
        Socket {
            plan,
            state: State::Closed,
            attempt: 0,
            began: now,
            spoke: now,
            socket_id: String::new(),
            was_ready: false,
            is_gone: false,
            confirmed: 0,
            stream: None,
            rest: Vec::new(),
            scanner: Scanner::default(),
            out: Vec::new(),
            subscriptions_left: 0,
            tracks,
        }
    }

    /// Begins to connect.
    pub fn open(&mut self, stage: &Stage, registry: &Registry, token: usize) -> Result<(), Over> {
        self.attempt = self.attempt.wrapping_add(1);
        self.began = Instant::now();
        self.spoke = self.began;
        self.state = State::Connecting;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrNotAvailable => {
                "this machine has no more ports to connect from".to_owned()
            }
            _ => format!("no connection: {error}"),
        };
        let mut stream = self.connect(stage).map_err(failed)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = registry.register(&mut stream, mio::Token(token), interest);
        registered.map_err(failed)?;
        self.stream = Some(stream);
        let address = &stage.servers[self.plan.server].address;
        self.out = upgrade_request(address, &stage.app.key).into_bytes();
        Ok(())
    }

    fn connect(&self, stage: &Stage) -> io::Result<TcpStream> {
        let to = stage.servers[self.plan.server].at;
        let socket =
            socket2::Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if self.plan.is_stalled {
            socket.set_recv_buffer_size(STALLED_RECEIVE_BYTES)?;
        }
        bind(&socket, stage, to)?;
        match socket.connect(&to.into()) {
            Err(error)
                if !error
                    .raw_os_error()
                    .is_some_and(|code| IN_PROGRESS.contains(&code)) =>
            {
                Err(error)
            }
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }

    /// Lets go of the connection as if the network did. What it has counted stays.
    pub fn cut(&mut self) {
        self.stream = None;
        self.state = State::Closed;
        self.rest = Vec::new();
        self.out = Vec::new();
        self.scanner = Scanner::default();
        self.socket_id = String::new();
    }

    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Neither closed nor ready.
    pub fn is_on_its_way(&self) -> bool {
        !matches!(self.state, State::Closed | State::Ready)
    }

    /// Something is being sent to the server still.
    pub fn is_blocked(&self) -> bool {
        !self.out.is_empty()
    }

    pub fn local_port(&self) -> Option<u16> {
        let address = self.stream.as_ref()?.local_addr().ok()?;
        Some(address.port())
    }

    /// Says why it is over that waited for too long.
    pub fn timed_out(&self, patience: Duration) -> Over {
        let waits_for = self.state.waits_for();
        format!("{waits_for} took longer than {} s", patience.as_secs_f64())
    }

    /// Writes and reads what goes. `to_the_end`: the other side may have finished, which only a read to the end tells;
    /// otherwise a short read says that there is no more.
    pub fn turn(&mut self, context: &mut Context<'_>, to_the_end: bool) -> Result<(), Over> {
        let was_connecting = self.state == State::Connecting;
        self.write()?;
        let has_just_asked = was_connecting && self.state == State::Upgrading;
        if self.plan.is_stalled && self.is_ready() || has_just_asked && !to_the_end {
            // no server speaks first
            return Ok(());
        }
        self.read(context, to_the_end)?;
        self.write()
    }

    fn write(&mut self) -> Result<(), Over> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let mut written = 0;
        while written < self.out.len() {
            match stream.write(&self.out[written..]) {
                Ok(count) => written += count,
                Err(error) if is_not_yet(&error) => break,
                Err(error) => return Err(format!("no connection: {error}")),
            }
        }
        if written == self.out.len() {
            // an idle socket needs no memory of its own
            self.out = Vec::new();
            if self.state == State::Connecting {
                self.state = State::Upgrading;
            }
        } else {
            self.out.drain(..written);
        }
        Ok(())
    }

    fn read(&mut self, context: &mut Context<'_>, to_the_end: bool) -> Result<(), Over> {
        loop {
            let Some(stream) = &mut self.stream else {
                return Ok(());
            };
            let kept = self.rest.len();
            let room = &mut context.buffer[kept..kept + CHUNK_BYTES];
            match stream.read(room) {
                Ok(0) => return Err("the server closed the connection without a word".to_owned()),
                Ok(count) => {
                    context.buffer[..kept].copy_from_slice(&self.rest);
                    self.take(kept + count, context)?;
                    if count < CHUNK_BYTES && !to_the_end {
                        return Ok(());
                    }
                }
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(error) => return Err(format!("the connection broke: {error}")),
            }
            if self.plan.is_stalled && self.is_ready() {
                return Ok(());
            }
        }
    }

    /// What lies in the buffer; what of it isn't complete is kept.
    fn take(&mut self, filled: usize, context: &mut Context<'_>) -> Result<(), Over> {
        // taken for a moment, so that the bytes and the rest of the context can be used side by side
        let buffer = std::mem::take(&mut context.buffer);
        let result = self.items(&buffer[..filled], context);
        if let Ok(used) = result {
            self.rest.clear();
            self.rest.extend_from_slice(&buffer[used..filled]);
            if self.rest.is_empty() && self.rest.capacity() > 1024 {
                self.rest = Vec::new();
            }
        }
        context.buffer = buffer;
        result.map(|_| ())
    }

    /// How many of the bytes were used.
    fn items(&mut self, bytes: &[u8], context: &mut Context<'_>) -> Result<usize, Over> {
        let mut at = 0;
        if self.state <= State::Upgrading {
            match upgraded(bytes)? {
                Some(head) => at = head,
                None => return Ok(0),
            }
            self.state = State::Greeting;
        }
        let now_ns = context.stage.now_ns();
        // out of the way of what the items do
        let mut scanner = std::mem::take(&mut self.scanner);
        let result = loop {
            match scanner.next(bytes, &mut at) {
                Ok(None) => break Ok(at),
                Ok(Some(item)) => {
                    if let Err(over) = self.item(item, now_ns, context) {
                        break Err(over);
                    }
                }
                Err(error) => break Err(format!("the server sent {error}")),
            }
        };
        self.scanner = scanner;
        result
    }

    fn item(&mut self, item: Item<'_>, now_ns: u64, context: &mut Context<'_>) -> Result<(), Over> {
        match item {
            Item::Message(text) => match of_stream(text, context.stage) {
                Some(found) => {
                    self.delivered(found, now_ns, context);
                    Ok(())
                }
                None => self.event(text, context),
            },
            Item::Ping(payload) => {
                self.send(0x8a, payload);
                Ok(())
            }
            Item::Pong => Ok(()),
            Item::Close { code, reason } => {
                // Servers wait for the same from us before they let go.
                self.send(0x88, &code.unwrap_or(1000).to_be_bytes());
                let _ = self.write();
                let code = code.map_or("no code".to_owned(), |code| code.to_string());
                let reason = String::from_utf8_lossy(reason);
                Err(format!("closed with {code}: {reason}"))
            }
        }
    }

    /// Counts a message. Once for each delivery: no allocation, no system call.
    fn delivered(&mut self, found: Found, now_ns: u64, context: &mut Context<'_>) {
        let Found { token, lane } = found;
        // who comes and goes gets what happens meanwhile; nobody knows what that must be
        if self.plan.channels.is_empty() {
            return;
        }
        context.arrived += 1;
        let Some(counts) = context.counts.get_mut(self.plan.group) else {
            return;
        };
        counts.received += 1;
        let track = self
            .tracks
            .binary_search_by_key(&token.stream, |track| track.0);
        let Ok(track) = track else {
            counts.misdirected += 1;
            return;
        };
        match self.tracks[track].1.arrived(token.sequence) {
            Arrival::Forward => {}
            Arrival::Late => counts.reordered += 1,
            Arrival::Duplicate => counts.duplicated += 1,
        }
        let took_ns = now_ns.saturating_sub(token.sent_ns);
        if let Some(times) = context.taken.times.get_mut(lane.unwrap_or(self.plan.group)) {
            times.record_ns(took_ns);
        }
        if context.keeps_longest {
            longest(&mut context.taken.longest_us, context.stage, token, took_ns);
        }
    }

    /// What the server says by itself.
    fn event(&mut self, text: &[u8], context: &mut Context<'_>) -> Result<(), Over> {
        let Ok(event) = serde_json::from_slice::<Event>(text) else {
            context.taken.errors.add("a message that is no event");
            return Ok(());
        };
        match event.event.as_str() {
            "pusher:connection_established" => self.greeted(&event, context.stage),
            "pusher_internal:subscription_succeeded" => {
                self.confirmed += 1;
                self.subscriptions_left = self.subscriptions_left.saturating_sub(1);
                if self.subscriptions_left == 0 {
                    self.state = State::Ready;
                    self.was_ready = true;
                }
                Ok(())
            }
            "pusher:ping" => {
                self.say(r#"{"event":"pusher:pong","data":{}}"#);
                Ok(())
            }
            "pusher:error" | "pusher:subscription_error" => {
                let said = format!("{}: {}", event.event, event.data_text());
                match self.is_ready() {
                    true => {
                        context.taken.errors.add(&said);
                        Ok(())
                    }
                    false => Err(said),
                }
            }
            _ => Ok(()),
        }
    }

    fn greeted(&mut self, event: &Event, stage: &Stage) -> Result<(), Over> {
        let data = event.data_json();
        let socket_id = data["socket_id"].as_str();
        let socket_id =
            socket_id.ok_or("there is no socket_id in pusher:connection_established")?;
        self.socket_id = socket_id.to_owned();
        self.subscriptions_left = self.plan.channels.len();
        self.state = match self.plan.channels.is_empty() {
            true => State::Ready,
            false => State::Subscribing,
        };
        for channel in self.plan.channels.clone() {
            let user = self.plan.user.clone();
            self.subscribe(stage, channel, user.as_deref());
        }
        Ok(())
    }

    /// Asks for a channel; the next [`turn`](Self::turn) sends it.
    pub fn subscribe(&mut self, stage: &Stage, channel: u32, user: Option<&str>) {
        let Some(channel) = stage.channels.get(channel as usize) else {
            return;
        };
        let name = channel.name.as_str();
        let mut data = json!({ "channel": name });
        let kind = ChannelKind::of(name);
        if kind.needs_auth() {
            let mut to_sign = format!("{}:{name}", self.socket_id);
            if kind.is_presence() {
                let user = user.unwrap_or(&self.socket_id);
                let channel_data = json!({ "user_id": user }).to_string();
                to_sign = format!("{to_sign}:{channel_data}");
                data["channel_data"] = channel_data.into();
            }
            let signature = stage.app.secret.sign(to_sign.as_bytes());
            data["auth"] = format!("{}:{signature}", stage.app.key).into();
        }
        let message = json!({ "event": "pusher:subscribe", "data": data });
        self.say(&message.to_string());
    }

    /// Writes a text message; the next [`turn`](Self::turn) sends it.
    pub fn say(&mut self, text: &str) {
        self.send(0x81, text.as_bytes());
    }

    fn send(&mut self, first: u8, payload: &[u8]) {
        self.spoke = Instant::now();
        let out = &mut self.out;
        out.push(first);
        match payload.len() {
            short @ ..126 => out.push(0x80 | short as u8),
            medium @ ..65_536 => {
                out.push(0x80 | 126);
                out.extend((medium as u16).to_be_bytes());
            }
            long => {
                out.push(0x80 | 127);
                out.extend((long as u64).to_be_bytes());
            }
        }
        // a mask of zeros is one, and changes nothing
        out.extend([0; 4]);
        out.extend_from_slice(payload);
    }

    /// Adds what it should have got and didn't. One that never came about is told as such, and should have got nothing.
    pub fn settle(&self, sent: &Sent, settled: &mut Settled) {
        let group = self.plan.group;
        if self.is_gone {
            settled.gone[group] += 1;
        }
        if !self.was_ready {
            return;
        }
        let counts = &mut settled.groups[group];
        let has_tail = !(self.is_gone && sent.may_be_cut.contains(&group));
        for (stream, track) in &self.tracks {
            let total = sent.sent.get(*stream as usize).copied().unwrap_or(0);
            let from = sent.uncertain.partition_point(|one| one.0 < *stream);
            let own = sent.uncertain[from..]
                .iter()
                .take_while(|one| one.0 == *stream);
            let uncertain: Vec<u64> = own.map(|one| one.1).collect();
            let outcome = track.outcome(total, &uncertain, has_tail);
            counts.expected += outcome.expected;
            counts.lost += outcome.lost;
            counts.misdirected += outcome.unsent;
        }
    }
}

/// Chooses where it comes from. A port that somebody has is passed over.
fn bind(socket: &socket2::Socket, stage: &Stage, to: SocketAddr) -> io::Result<()> {
    const TRIES: usize = 64;
    for _ in 1..TRIES {
        let Some(from) = source(stage, to) else {
            return Ok(());
        };
        match socket.bind(&from.into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
    Err(io::ErrorKind::AddrNotAvailable.into())
}

/// A message that counts. `lane`: whose times it belongs to, if not its group's.
struct Found {
    token: Token,
    lane: Option<usize>,
}

fn of_stream(text: &[u8], stage: &Stage) -> Option<Found> {
    if !stage.is_presence {
        let token = Token::find(text)?;
        return Some(Found { token, lane: None });
    }
    // Members' ids are tokens, and stand in lists of members as well.
    let has = |part: &str| memchr::memmem::find(text, part.as_bytes()).is_some();
    if has("pusher_internal:member_added") {
        let token = Token::find(text)?;
        return Some(Found {
            token,
            lane: Some(0),
        });
    }
    if has("pusher_internal:member_removed") {
        let mut token = Token::find(text)?;
        token.sent_ns = stage.left_ns(token.stream, token.sequence)?;
        token.sequence += 1;
        return Some(Found {
            token,
            lane: Some(1),
        });
    }
    None
}

/// Events of a run are numbered across its streams.
fn longest(all: &mut Vec<u32>, stage: &Stage, token: Token, took_ns: u64) {
    /// More are left out: 40 MB.
    const EVENTS_MAX: u64 = 10_000_000;
    let streams = stage.streams.len() as u64;
    let number = token.sequence.saturating_mul(streams);
    let number = number.saturating_add(u64::from(token.stream));
    if number >= EVENTS_MAX {
        return;
    }
    let number = number as usize;
    if number >= all.len() {
        all.resize(number + 1, 0);
    }
    let took_us = u32::try_from(took_ns / 1_000).unwrap_or(u32::MAX);
    all[number] = all[number].max(took_us.max(1));
}

fn upgrade_request(address: &Address, key: &str) -> String {
    let host = address.authority();
    let url = address.socket_url(key);
    let (_, behind_scheme) = url.split_once("://").unwrap_or_default();
    let target = behind_scheme
        .find('/')
        .map_or("/", |at| &behind_scheme[at..]);
    let scheme = address.scheme();
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {scheme}://{host}\r\n\r\n"
    )
}

/// Bytes of the answer to the handshake, once all of it is there.
fn upgraded(bytes: &[u8]) -> Result<Option<usize>, Over> {
    /// Far more than any server sends.
    const HEAD_BYTES_MAX: usize = 16_384;
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return match bytes.len() > HEAD_BYTES_MAX {
            true => Err("the answer to the handshake has no end".to_owned()),
            false => Ok(None),
        };
    };
    if bytes.starts_with(b"HTTP/1.1 101") {
        return Ok(Some(end + 4));
    }
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let body = String::from_utf8_lossy(&bytes[end + 4..]);
    Err(format!(
        "the handshake is answered with {line}: {}",
        body.trim()
    ))
}

/// Not connected yet counts, too.
fn is_not_yet(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, NotConnected, WouldBlock};
    matches!(error.kind(), Interrupted | NotConnected | WouldBlock)
}
