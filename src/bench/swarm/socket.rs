//! One socket: from the first packet to its subscriptions, and what it then gets. No clock and no poll of its own.
mod counting;
mod way;

use self::{
    counting::of_stream,
    way::{connect, upgrade_request, upgraded},
};
use super::{Plan, Taken};
use crate::{
    bench::{
        account::{Counts, Track},
        is_not_yet,
        scanner::{Item, MESSAGE_BYTES_MAX, Scanner},
        stage::Stage,
    },
    client::socket::Event,
    frame::write_masked,
    protocol::channel::ChannelKind,
};
use mio::{Interest, Registry, net::TcpStream};
use serde_json::json;
use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

/// What is read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// What a thread's sockets read into: a message that isn't complete yet, and the next chunk.
pub const BUFFER_BYTES: usize = 2 * MESSAGE_BYTES_MAX + CHUNK_BYTES;

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
        let mut stream = connect(&self.plan, stage).map_err(failed)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = registry.register(&mut stream, mio::Token(token), interest);
        registered.map_err(failed)?;
        self.stream = Some(stream);
        let address = &stage.servers[self.plan.server].address;
        self.out = upgrade_request(address, &stage.app.key).into_bytes();
        Ok(())
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

    fn send(&mut self, first_byte: u8, payload: &[u8]) {
        self.spoke = Instant::now();
        write_masked(&mut self.out, first_byte, payload, [0; 4]);
    }
}
