//! What all threads of a run share: where the servers are, which channels and streams there are, what was sent, and the counters
//! by which senders and readers know of each other. Atomics only, touched once for many messages.
use super::token::Token;
use crate::{client, client::Address, protocol::signature::Secret};
use reqwest::Method;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Bytes of event data besides its filling: `{"t":"…","p":""}`.
pub const DATA_FRAME_BYTES: usize = 55;

/// Messages of which it is remembered that nobody knows whether they were sent.
const UNCERTAIN_MAX: usize = 100_000;

/// Sends and leaves of a churning member that are remembered to time what others see of them.
const LEFT_KEPT: usize = 8;

/// Who signs.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub id: String,
    pub key: String,
    pub secret: Secret,
}

/// One server, found.
#[derive(Clone, Debug)]
pub struct Server {
    pub address: Address,
    pub at: SocketAddr,
}

/// A channel and who sends to it.
#[derive(Debug)]
pub struct Channel {
    pub name: String,
    /// their numbers, ascending
    pub streams: Vec<u32>,
    /// who gets a message of it and reads it at once
    pub subscribers: u64,
}

/// A row of messages of one sender to one channel.
#[derive(Debug)]
pub struct Stream {
    pub channel: u32,
    /// Messages that the server took: the next one's number.
    pub sent: AtomicU64,
    /// when a churning member left the last few times
    left_ns: [AtomicU64; LEFT_KEPT],
}

/// What a thread of sockets tells while it works.
#[derive(Debug, Default)]
pub struct Progress {
    pub ready: AtomicUsize,
    /// given up
    pub failed: AtomicUsize,
    pub arrived: AtomicU64,
    /// when the last socket became ready
    pub ready_ns: AtomicU64,
}

#[derive(Debug)]
pub struct Stage {
    pub servers: Vec<Server>,
    pub app: Credentials,
    pub channels: Vec<Channel>,
    pub streams: Vec<Stream>,
    pub threads: Vec<Progress>,
    /// What is read is about members of presence channels.
    pub is_presence: bool,
    /// deliveries that should come of what was sent
    pub due: AtomicU64,
    /// deliveries that aren't waited for any longer
    pub forgiven: AtomicU64,
    /// requests that the API took
    pub answered: AtomicU64,
    /// somebody wants to see the figures now
    pub stop: Arc<AtomicBool>,
    /// sockets opened, for choosing addresses to come from
    pub opened: AtomicUsize,
    uncertain: Mutex<Vec<(u32, u64)>>,
    began: Instant,
}

impl Stage {
    /// `streams`: the channel of each. `threads` will hold sockets.
    pub fn new(
        servers: Vec<Server>,
        app: Credentials,
        channels: Vec<String>,
        streams: &[u32],
        threads: usize,
        stop: Arc<AtomicBool>,
    ) -> Stage {
        let of = |channel: usize| {
            let all = (0..).zip(streams);
            let own = all.filter(move |(_, of)| **of as usize == channel);
            own.map(|(stream, _)| stream).collect()
        };
        let channels = channels.into_iter().enumerate().map(|(n, name)| Channel {
            name,
            streams: of(n),
            subscribers: 0,
        });
        Stage {
            servers,
            app,
            channels: channels.collect(),
            streams: streams
                .iter()
                .map(|&channel| Stream::new(channel))
                .collect(),
            threads: (0..threads).map(|_| Progress::default()).collect(),
            is_presence: false,
            due: AtomicU64::new(0),
            forgiven: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            stop,
            opened: AtomicUsize::new(0),
            uncertain: Mutex::new(Vec::new()),
            began: Instant::now(),
        }
    }

    pub fn now_ns(&self) -> u64 {
        self.ns(Instant::now())
    }

    pub fn ns(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    pub fn instant(&self, ns: u64) -> Instant {
        self.began + Duration::from_nanos(ns)
    }

    pub fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    pub fn channel_of(&self, stream: u32) -> Option<&Channel> {
        let stream = self.streams.get(stream as usize)?;
        self.channels.get(stream.channel as usize)
    }

    /// Sums over the threads.
    pub fn arrived(&self) -> u64 {
        self.threads
            .iter()
            .map(|one| one.arrived.load(Relaxed))
            .sum()
    }

    pub fn ready(&self) -> usize {
        self.threads.iter().map(|one| one.ready.load(Relaxed)).sum()
    }

    /// How many more they are than `before`; none if servers have cut more meanwhile.
    pub fn ready_since(&self, before: usize) -> usize {
        self.ready().saturating_sub(before)
    }

    pub fn failed(&self) -> usize {
        self.threads
            .iter()
            .map(|one| one.failed.load(Relaxed))
            .sum()
    }

    /// When the last socket became ready.
    pub fn ready_ns(&self) -> u64 {
        let times = self.threads.iter().map(|one| one.ready_ns.load(Relaxed));
        times.max().unwrap_or(0)
    }

    /// Deliveries on their way.
    pub fn outstanding(&self) -> u64 {
        let over = self.arrived() + self.forgiven.load(Relaxed);
        self.due.load(Relaxed).saturating_sub(over)
    }

    /// The server took a message.
    pub fn sent(&self, stream: u32) {
        if let Some(stream) = self.streams.get(stream as usize) {
            stream.sent.fetch_add(1, Relaxed);
        }
    }

    /// What was sent of a stream so far.
    pub fn sent_of(&self, stream: u32) -> u64 {
        let stream = self.streams.get(stream as usize);
        stream.map_or(0, |one| one.sent.load(Relaxed))
    }

    /// The same of each stream.
    pub fn all_sent(&self) -> Vec<u64> {
        self.streams
            .iter()
            .map(|one| one.sent.load(Relaxed))
            .collect()
    }

    /// Perhaps the server took it, perhaps not.
    pub fn uncertain(&self, stream: u32, sequence: u64) {
        let mut all = self.lock_uncertain();
        if all.len() < UNCERTAIN_MAX {
            all.push((stream, sequence));
        }
        drop(all);
        self.sent(stream);
    }

    /// Messages of which that is so, by stream.
    pub fn all_uncertain(&self) -> Vec<(u32, u64)> {
        let mut all = self.lock_uncertain().clone();
        all.sort_unstable();
        all
    }

    fn lock_uncertain(&self) -> MutexGuard<'_, Vec<(u32, u64)>> {
        // a list is whole whoever panicked
        self.uncertain
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A member leaves whose joining has this number.
    pub fn leaves(&self, stream: u32, sequence: u64, now_ns: u64) {
        if let Some(left) = self.left(stream, sequence) {
            left.store(now_ns, Relaxed);
        }
    }

    /// When it left.
    pub fn left_ns(&self, stream: u32, sequence: u64) -> Option<u64> {
        Some(self.left(stream, sequence)?.load(Relaxed))
    }

    fn left(&self, stream: u32, sequence: u64) -> Option<&AtomicU64> {
        let stream = self.streams.get(stream as usize)?;
        // joinings have even numbers
        stream.left_ns.get(sequence as usize / 2 % LEFT_KEPT)
    }
}

impl Stream {
    fn new(channel: u32) -> Stream {
        Stream {
            channel,
            sent: AtomicU64::new(0),
            left_ns: Default::default(),
        }
    }
}

/// An event's data, `bytes` long if that is enough for the token.
pub fn data(token: Token, bytes: usize) -> String {
    let filling = "x".repeat(bytes.saturating_sub(DATA_FRAME_BYTES));
    format!(r#"{{"t":"{token}","p":"{filling}"}}"#)
}

/// A signed request that posts an event as Laravel does, its data a string. Without `keep_alive` it asks the server to close the
/// connection.
pub fn event_request(
    server: &Server,
    app: &Credentials,
    channel: &str,
    data: &str,
    now_s: u64,
    keep_alive: bool,
) -> Vec<u8> {
    let data = data.replace('"', "\\\"");
    let body = format!(r#"{{"name":"bench","channel":"{channel}","data":"{data}"}}"#);
    let path = format!("/apps/{}/events", client::encoded(&app.id));
    let target = client::http::signed_target(
        &app.key,
        &app.secret,
        &Method::POST,
        &path,
        body.as_bytes(),
        now_s,
    );
    let prefix = &server.address.prefix;
    let host = server.address.authority();
    let length = body.len();
    let connection = if keep_alive {
        ""
    } else {
        "Connection: close\r\n"
    };
    format!(
        "POST {prefix}{target} HTTP/1.1\r\nHost: {host}\r\n{connection}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn stage(channels: usize, streams: &[u32]) -> Stage {
        let address = Address::parse("http://127.0.0.1:9/ws").expect("an address");
        let at = SocketAddr::from(([127, 0, 0, 1], 9));
        let app = Credentials {
            id: "7".to_owned(),
            key: "k".to_owned(),
            secret: Secret::new("s"),
        };
        let names = (0..channels).map(|n| format!("c{n}")).collect();
        Stage::new(
            vec![Server { address, at }],
            app,
            names,
            streams,
            2,
            Arc::default(),
        )
    }

    #[test]
    fn streams_belong_to_channels() {
        let stage = stage(2, &[0, 1, 0]);
        assert_eq!(stage.channels[0].streams, [0, 2]);
        assert_eq!(stage.channels[1].streams, [1]);
        assert_eq!(stage.channel_of(2).map(|one| one.name.as_str()), Some("c0"));
        assert!(stage.channel_of(3).is_none());
    }

    #[test]
    fn sockets_that_are_cut_while_others_come_are_no_fewer_than_none() {
        let stage = stage(1, &[0]);
        let check = |ready: usize, before: usize, expected: usize| {
            stage.threads[1].ready.store(ready, Relaxed);
            assert_eq!(
                stage.ready_since(before),
                expected,
                "{ready} after {before}"
            );
        };
        check(5, 3, 2);
        check(3, 3, 0);
        check(1, 3, 0);
    }

    #[test]
    fn what_was_sent_and_what_nobody_knows() {
        let stage = stage(1, &[0, 0]);
        stage.sent(0);
        stage.uncertain(1, 0);
        stage.sent(1);
        stage.sent(9);
        assert_eq!(stage.all_sent(), [1, 2]);
        assert_eq!(stage.all_uncertain(), [(1, 0)]);
    }

    #[test]
    fn data_has_its_size_and_requests_their_token() {
        let token = Token {
            stream: 1,
            sequence: 2,
            sent_ns: 3,
        };
        assert_eq!(data(token, 200).len(), 200);
        assert_eq!(data(token, DATA_FRAME_BYTES).len(), DATA_FRAME_BYTES);
        let stage = stage(1, &[0]);
        let request = event_request(
            &stage.servers[0],
            &stage.app,
            "c0",
            &data(token, 99),
            5,
            true,
        );
        assert_eq!(Token::find(&request), Some(token));
        let request = String::from_utf8(request).expect("text");
        assert!(request.starts_with("POST /ws/apps/7/events?auth_key=k&auth_timestamp=5&"));
        let (_, body) = request.split_once("\r\n\r\n").expect("a body");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["data"].as_str().map(str::len), Some(99));
        assert!(request.contains(&format!("Content-Length: {}\r\n", body.to_string().len())));
    }
}
