//! A backend: posts events over a few connections that are kept alive, as servers let it, from one thread. Each connection waits
//! for an answer before its next request, so that the events of a stream have an order.
mod connection;

use self::connection::{Connection, Progressed, Request};
use super::{
    errors::Errors,
    stage::{Stage, data, event_request},
    times::Times,
    token::Token,
    usage,
};
use crate::client::now_s;
use mio::{Events, Interest, Poll, net::TcpStream};
use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, Release},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// After a refused request, before the next one on the same connection.
const PAUSE: Duration = Duration::from_millis(50);

/// After this many of a connection's requests failed one after the other, that connection gives up.
const FAILURES_MAX: u32 = 100;

/// When nothing has come for so long, what is on its way isn't waited for any longer.
const QUIET: Duration = Duration::from_millis(500);

/// How fast events are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    PerSecond(f64),
    /// As fast as they go; with at most so many deliveries on their way, if there is a window.
    Max {
        window: Option<u64>,
    },
}

/// What is to be posted.
#[derive(Clone, Debug)]
pub struct Load {
    /// whom to ask, of the stage's servers
    pub server: usize,
    /// The streams of each connection, taken in turn. None: events go to a channel that nobody is on, without being counted.
    pub connections: Vec<Vec<u32>>,
    /// of all connections together
    pub pace: Pace,
    pub data_bytes: usize,
    /// Connections are used again, as far as the server lets them.
    pub keep_alive: bool,
    /// Each stream gets so many events and no more.
    pub rounds: Option<u64>,
    pub begin: Instant,
    pub end: Instant,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Published {
    pub answered: u64,
    pub refused: Errors,
    /// no answer, so nobody knows
    pub uncertain: u64,
    /// due by the end, but not sent: the server's answers came too slowly
    pub late: u64,
    /// connections made
    pub connects: u64,
    /// from request to answer
    pub answer_times: Times,
    /// times that the window was opened although its deliveries hadn't come
    pub stalls: u64,
    pub thread_cpu: Duration,
}

impl Published {
    pub fn add(&mut self, other: &Published) {
        self.answered += other.answered;
        self.refused.merge(&other.refused);
        self.uncertain += other.uncertain;
        self.late += other.late;
        self.connects += other.connects;
        self.answer_times.add(&other.answer_times);
        self.stalls += other.stalls;
        self.thread_cpu = self.thread_cpu.max(other.thread_cpu);
    }
}

/// Starts a thread, which ends by itself a while after the load's end.
pub fn start(stage: &Arc<Stage>, load: Load) -> io::Result<JoinHandle<io::Result<Published>>> {
    let stage = stage.clone();
    let named = thread::Builder::new().name("bench-publisher".to_owned());
    named.spawn(move || Publisher::new(&stage, load)?.run())
}

struct Publisher<'a> {
    stage: &'a Stage,
    load: Load,
    poll: Poll,
    connections: Vec<Connection>,
    published: Published,
    /// deliveries at the last look, and when they last were others
    arrived: (u64, Instant),
}

impl<'a> Publisher<'a> {
    fn new(stage: &'a Stage, load: Load) -> io::Result<Publisher<'a>> {
        let connections = load.connections.iter();
        let connections = connections.map(|streams| Connection::new(streams.clone(), load.begin));
        Ok(Publisher {
            stage,
            connections: connections.collect(),
            load,
            poll: Poll::new()?,
            published: Published::default(),
            arrived: (0, Instant::now()),
        })
    }

    fn run(mut self) -> io::Result<Published> {
        let mut events = Events::with_capacity(256);
        loop {
            let now = Instant::now();
            let is_over =
                now >= self.load.end || self.stage.is_stopped() || self.has_had_its_rounds();
            if is_over && self.connections.iter().all(|one| one.request.is_none()) {
                break;
            }
            if !is_over {
                self.begin_what_is_due(now);
            }
            self.wait(&mut events, is_over)?;
            for event in &events {
                self.turn(event.token().0);
            }
            self.give_up_waiting();
        }
        if !self.stage.is_stopped() {
            self.published.late = self.late();
        }
        self.published.thread_cpu = usage::own_thread_cpu();
        Ok(self.published)
    }

    /// What has given up has had what it will get.
    fn has_had_its_rounds(&self) -> bool {
        self.load.rounds.is_some_and(|rounds| {
            let mut all = self.connections.iter();
            all.all(|one| one.has_had(rounds) || one.failures >= FAILURES_MAX)
        })
    }

    /// Sleeps until something comes or is due. The poll knows milliseconds only, the rest is slept.
    fn wait(&mut self, events: &mut Events, is_over: bool) -> io::Result<()> {
        let now = Instant::now();
        let next = match is_over {
            true => now + Duration::from_millis(10),
            false => self.next_due(now),
        };
        let left = next.saturating_duration_since(now);
        let whole = Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(10).min(10));
        match self.poll.poll(events, Some(whole)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        if whole.is_zero() && events.is_empty() {
            thread::sleep(left.min(Duration::from_millis(1)));
        }
        Ok(())
    }

    /// When the next request may begin.
    fn next_due(&self, now: Instant) -> Instant {
        let far = now + Duration::from_millis(10);
        let idle = (0..).zip(&self.connections);
        let idle = idle.filter(|(_, one)| one.request.is_none());
        let due = idle.map(|(n, one)| match self.load.pace {
            Pace::PerSecond(rate) => self.due(rate, n, one.begun).max(one.rests_until),
            // its window is full, or it rests
            Pace::Max { .. } => one.rests_until.max(now + Duration::from_micros(200)),
        });
        due.min().unwrap_or(far).min(far)
    }

    /// When a connection's request of this number is due.
    fn due(&self, rate: f64, connection: u64, number: u64) -> Instant {
        let before = number * self.connections.len() as u64 + connection;
        self.load.begin + Duration::from_secs_f64(before as f64 / rate)
    }

    /// Requests that were due by the end and never began.
    fn late(&self) -> u64 {
        let Pace::PerSecond(rate) = self.load.pace else {
            return 0;
        };
        let seconds = self.load.end.saturating_duration_since(self.load.begin);
        let due = (seconds.as_secs_f64() * rate).floor() as u64;
        let begun: u64 = self.connections.iter().map(|one| one.begun).sum();
        due.saturating_sub(begun)
    }

    fn begin_what_is_due(&mut self, now: Instant) {
        for n in 0..self.connections.len() {
            let one = &self.connections[n];
            if one.request.is_some() || now < one.rests_until || one.failures >= FAILURES_MAX {
                continue;
            }
            if self.load.rounds.is_some_and(|rounds| one.has_had(rounds)) {
                continue;
            }
            let sent_at = match self.load.pace {
                Pace::PerSecond(rate) => {
                    let due = self.due(rate, n as u64, one.begun);
                    if due > now || due >= self.load.end {
                        continue;
                    }
                    // Who waits for an answer makes the event late, which counts; the clock's own steps don't.
                    let is_late = now.duration_since(due) > Duration::from_millis(1);
                    if is_late { due } else { Instant::now() }
                }
                Pace::Max { window } => {
                    if !self.has_room(window, n, now) {
                        continue;
                    }
                    Instant::now()
                }
            };
            self.begin(n, sent_at);
        }
    }

    /// Whether the window takes the connection's next event.
    fn has_room(&mut self, window: Option<u64>, n: usize, now: Instant) -> bool {
        let Some(window) = window else {
            return true;
        };
        let arrived = self.stage.arrived();
        if arrived != self.arrived.0 {
            self.arrived = (arrived, now);
        }
        let outstanding = self.stage.outstanding();
        if outstanding == 0 || outstanding + self.deliveries(n) <= window {
            self.arrived.1 = now;
            return true;
        }
        if now.duration_since(self.arrived.1) < QUIET {
            return false;
        }
        self.stage.forgiven.fetch_add(outstanding, Relaxed);
        self.published.stalls += 1;
        true
    }

    fn next_stream(&self, n: usize) -> Option<u32> {
        let one = &self.connections[n];
        let turn = one.begun.checked_rem(one.streams.len() as u64)?;
        one.streams.get(turn as usize).copied()
    }

    /// Deliveries that come of the connection's next event.
    fn deliveries(&self, n: usize) -> u64 {
        let stream = self.next_stream(n);
        let channel = stream.and_then(|stream| self.stage.channel_of(stream));
        channel.map_or(0, |channel| channel.subscribers)
    }

    fn begin(&mut self, n: usize, sent_at: Instant) {
        let stream = self.next_stream(n);
        let deliveries = self.deliveries(n);
        let counted = stream.map(|stream| {
            let sent = &self.stage.streams[stream as usize].sent;
            (stream, sent.load(Relaxed))
        });
        self.write_request(n, counted, sent_at);
        self.stage.due.fetch_add(deliveries, Relaxed);
        let one = &mut self.connections[n];
        one.begun += 1;
        one.answer.clear();
        one.request = Some(Request {
            counted,
            deliveries,
            began: Instant::now(),
            written: 0,
        });
        if self.connections[n].stream.is_none()
            && let Err(error) = self.connect(n)
        {
            self.fail(n, &format!("no connection: {error}"), true);
            return;
        }
        self.turn(n);
    }

    fn write_request(&mut self, n: usize, counted: Option<(u32, u64)>, sent_at: Instant) {
        let stage = self.stage;
        let one = &mut self.connections[n];
        let now_s = now_s();
        let server = &stage.servers[self.load.server];
        let (channel, token) = match counted {
            Some((stream, sequence)) => {
                let channel = stage
                    .channel_of(stream)
                    .map(|channel| channel.name.as_str());
                let token = Token {
                    stream,
                    sequence,
                    sent_ns: stage.ns(sent_at),
                };
                (channel.unwrap_or_default(), token)
            }
            // Signing is the backend's work, not the server's: once a second is enough for requests that are all alike.
            None if one.signed_s == now_s => return,
            None => {
                let token = Token {
                    stream: u32::MAX,
                    sequence: 0,
                    sent_ns: 0,
                };
                ("bench-nobody", token)
            }
        };
        one.signed_s = now_s;
        let data = data(token, self.load.data_bytes);
        let keep_alive = self.load.keep_alive;
        one.bytes = event_request(server, &stage.app, channel, &data, now_s, keep_alive);
    }

    fn connect(&mut self, n: usize) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.stage.servers[self.load.server].at)?;
        let _ = stream.set_nodelay(true);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, mio::Token(n), interest)?;
        self.connections[n].stream = Some(stream);
        self.published.connects += 1;
        Ok(())
    }

    /// Writes and reads what goes.
    fn turn(&mut self, n: usize) {
        let Some(one) = self.connections.get_mut(n) else {
            return;
        };
        match one.progress() {
            Ok(Progressed::Waits) => {}
            Ok(Progressed::Answered { status, body }) => {
                if !self.load.keep_alive {
                    one.stream = None;
                }
                match status {
                    200 => self.succeed(n),
                    _ => self.fail(n, &format!("status {status}: {}", body.trim()), true),
                }
            }
            Ok(Progressed::Closed) => self.connections[n].stream = None,
            Err(reason) => {
                self.connections[n].stream = None;
                let was_written = self.connections[n].is_written();
                self.fail(n, &reason, !was_written);
            }
        }
    }

    fn succeed(&mut self, n: usize) {
        let Some(request) = self.connections[n].request.take() else {
            return;
        };
        self.connections[n].failures = 0;
        if let Some((stream, _)) = request.counted {
            self.stage.sent(stream);
        }
        self.published.answered += 1;
        self.published.answer_times.record(request.began.elapsed());
        self.stage.answered.fetch_add(1, Release);
    }

    /// `is_refused`: the server surely doesn't deliver it, so that the next request may take its number.
    fn fail(&mut self, n: usize, reason: &str, is_refused: bool) {
        self.published.refused.add(reason);
        let one = &mut self.connections[n];
        one.failures += 1;
        one.rests_until = Instant::now() + PAUSE;
        let Some(request) = one.request.take() else {
            return;
        };
        if is_refused {
            one.begun -= 1;
            self.stage.due.fetch_sub(request.deliveries, Relaxed);
            return;
        }
        self.published.uncertain += 1;
        if let Some((stream, sequence)) = request.counted {
            self.stage.uncertain(stream, sequence);
        }
    }

    fn give_up_waiting(&mut self) {
        let now = Instant::now();
        // with somebody waiting for figures, a moment is enough
        let patience = match self.stage.is_stopped() {
            true => Duration::from_millis(500),
            false => PATIENCE,
        };
        for n in 0..self.connections.len() {
            let request = self.connections[n].request.as_ref();
            if request.is_some_and(|request| now.duration_since(request.began) > patience) {
                self.connections[n].stream = None;
                self.fail(n, &format!("no answer within {patience:?}"), false);
            }
        }
    }
}
