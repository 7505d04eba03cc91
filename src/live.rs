//! The live stream: what happens on this node, told to operators who listen at that moment. While nobody does, telling costs
//! one look at a number. A listener that reads too slowly loses events and is told how many; it holds nobody up.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::sync::mpsc;

/// Bytes shown of an event's data.
const DATA_SHOWN_BYTES: usize = 1000;

/// What can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Connected,
    Disconnected,
    Subscribed,
    Unsubscribed,
    /// a transport, handshake, connection, subscription, message or request
    Refused,
    /// over the HTTP API
    Published,
    ClientEvent,
    /// a connection that the server gave up, because its client takes nothing or says nothing
    Evicted,
}

impl Kind {
    pub const ALL: [(&str, Kind); 8] = [
        ("connected", Kind::Connected),
        ("disconnected", Kind::Disconnected),
        ("subscribed", Kind::Subscribed),
        ("unsubscribed", Kind::Unsubscribed),
        ("refused", Kind::Refused),
        ("published", Kind::Published),
        ("client_event", Kind::ClientEvent),
        ("evicted", Kind::Evicted),
    ];
}

/// Something that happened. As JSON it is one line; members that say nothing are left out.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Unix time
    pub time_ms: u64,
    pub kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// the name of a published or client event
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// of the event's data
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// what was refused
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<&'static str>,
    /// the name of the reason, as metrics have it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// the reason as a sentence
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Cow<'static, str>>,
    /// close code, error code or HTTP status
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// how long the connection stood
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// the client's address
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// of a refused handshake or request, without its query
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// only for listeners who ask for it
    #[serde(skip)]
    pub data: Option<String>,
}

impl Event {
    /// An event of now about which nothing more is known.
    pub fn new(kind: Kind) -> Event {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Event {
            time_ms: since.map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }),
            kind,
            app: None,
            socket_id: None,
            channel: None,
            event: None,
            bytes: None,
            user_id: None,
            what: None,
            reason: None,
            message: None,
            code: None,
            duration_ms: None,
            peer: None,
            origin: None,
            path: None,
            request_id: None,
            data: None,
        }
    }

    /// One line of JSON.
    pub fn to_json(&self, with_data: bool) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(flatten)]
            event: &'a Event,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a str>,
        }
        let line = Line {
            event: self,
            data: self.data.as_deref().filter(|_| with_data),
        };
        // Only maps with keys that are no texts and failing writers make this fail.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// The data of an event as the stream shows it: text, cut to 1000 bytes. `json`: a JSON string, as frames carry it.
pub fn shown_data(json: &str) -> String {
    let mut text = serde_json::from_str(json).unwrap_or_else(|_| json.to_owned());
    if text.len() > DATA_SHOWN_BYTES {
        let is_boundary = |at: &usize| text.is_char_boundary(*at);
        let cut = (0..=DATA_SHOWN_BYTES).rev().find(is_boundary);
        text.truncate(cut.unwrap_or(0));
        text.push('…');
    }
    text
}

/// Which events a listener wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    app: Option<String>,
    /// a name, or its beginning and `*`
    channel: Option<String>,
    socket_id: Option<String>,
    /// empty = all
    kinds: Vec<Kind>,
    /// the share of events that is told, in 0..=1
    sample: f64,
    pub with_data: bool,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            app: None,
            channel: None,
            socket_id: None,
            kinds: Vec::new(),
            sample: 1.0,
            with_data: false,
        }
    }
}

/// What was wrong with a filter, as a sentence.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidFilter(String);

impl Filter {
    /// A filter from the pairs of a query. `token` is for others to check; empty values don't filter.
    pub fn parse<'a>(
        pairs: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Result<Filter, InvalidFilter> {
        let mut filter = Filter::default();
        for (key, value) in pairs {
            let text = || Some(value.to_string()).filter(|text| !text.is_empty());
            match &*key {
                "app" => filter.app = text(),
                "channel" => filter.channel = text(),
                "socket" | "socket_id" => filter.socket_id = text(),
                "kind" => filter.kinds = kinds(&value)?,
                "sample" => filter.sample = share(&value)?,
                "data" => filter.with_data = !["", "0", "false"].contains(&&*value),
                "token" => {}
                other => {
                    let shown: String = other.chars().take(40).collect();
                    return Err(InvalidFilter(format!(
                        "Unknown filter {shown:?}: there are app, channel, socket, kind, sample and data"
                    )));
                }
            }
        }
        Ok(filter)
    }

    fn takes(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, given: &Option<String>| {
            wanted.is_none() || wanted.as_deref() == given.as_deref()
        };
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && is(&self.app, &event.app)
            && is(&self.socket_id, &event.socket_id)
            && self.takes_channel(event.channel.as_deref())
    }

    fn takes_channel(&self, channel: Option<&str>) -> bool {
        let Some(wanted) = &self.channel else {
            return true;
        };
        match (wanted.strip_suffix('*'), channel) {
            (Some(start), Some(channel)) => channel.starts_with(start),
            (None, Some(channel)) => channel == wanted,
            (_, None) => false,
        }
    }
}

fn kinds(text: &str) -> Result<Vec<Kind>, InvalidFilter> {
    let names = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let kind = |name: &str| {
        let known = Kind::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, kind)| *kind).ok_or_else(|| {
            let all: Vec<&str> = Kind::ALL.iter().map(|(name, _)| *name).collect();
            let shown: String = name.chars().take(40).collect();
            InvalidFilter(format!(
                "Unknown kind {shown:?}: there are {}",
                all.join(", ")
            ))
        })
    };
    names.map(kind).collect()
}

fn share(text: &str) -> Result<f64, InvalidFilter> {
    let share = text.parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| InvalidFilter("sample must be a share from 0 to 1, such as 0.1".to_owned()))
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Live {
    listening: AtomicUsize,
    wanting_data: AtomicUsize,
    listeners: ArcSwap<Vec<Arc<Listener>>>,
    listeners_max: usize,
    queue_events_max: usize,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Listener {
    filter: Filter,
    queue: mpsc::Sender<Arc<Event>>,
    /// events that found the queue full and that the listener hasn't been told of yet
    dropped: AtomicU64,
}

/// There are as many listeners as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The live stream has {max} listeners, as many as admin.live_listeners_max allows")]
pub struct TooManyListeners {
    max: usize,
}

/// A listener's end of the stream; dropped, it listens no longer.
#[derive(Debug)]
pub struct Listening {
    live: Arc<Live>,
    listener: Arc<Listener>,
    events: mpsc::Receiver<Arc<Event>>,
}

/// What a listener hears.
#[derive(Clone, Debug)]
pub enum Heard {
    Event(Arc<Event>),
    /// so many events were lost here
    Dropped(u64),
}

impl Live {
    /// `queue_events_max`: events that may wait for each listener.
    pub fn new(listeners_max: usize, queue_events_max: usize) -> Live {
        Live {
            listening: AtomicUsize::new(0),
            wanting_data: AtomicUsize::new(0),
            listeners: ArcSwap::default(),
            listeners_max,
            queue_events_max,
            dropped: AtomicU64::new(0),
        }
    }

    /// Tells an event to those who listen and want it. `event` is made only if somebody listens.
    pub fn tell(&self, event: impl FnOnce() -> Event) {
        if self.listening.load(Ordering::Acquire) > 0 {
            self.hand_out(Arc::new(event()));
        }
    }

    /// Whether any listener wants to see data.
    pub fn wants_data(&self) -> bool {
        self.wanting_data.load(Ordering::Relaxed) > 0
    }

    pub fn listeners(&self) -> usize {
        self.listening.load(Ordering::Acquire)
    }

    pub fn listeners_max(&self) -> usize {
        self.listeners_max
    }

    /// Events that were lost because a listener read too slowly, counted for each.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn hand_out(&self, event: Arc<Event>) {
        for listener in &**self.listeners.load() {
            let filter = &listener.filter;
            if !filter.takes(&event)
                || (filter.sample < 1.0 && rand::random::<f64>() >= filter.sample)
            {
                continue;
            }
            if listener.queue.try_send(event.clone()).is_err() {
                listener.dropped.fetch_add(1, Ordering::Relaxed);
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Begins to listen. Who finds the listener counted finds it listed, too, so that it hears whatever happens from then on.
    pub fn listen(self: &Arc<Live>, filter: Filter) -> Result<Listening, TooManyListeners> {
        let (queue, events) = mpsc::channel(self.queue_events_max.max(1));
        let listener = Arc::new(Listener {
            filter,
            queue,
            dropped: AtomicU64::new(0),
        });
        self.list(&listener)?;
        if listener.filter.with_data {
            self.wanting_data.fetch_add(1, Ordering::Relaxed);
        }
        self.listening.fetch_add(1, Ordering::Release);
        Ok(Listening {
            live: self.clone(),
            listener,
            events,
        })
    }

    fn list(&self, listener: &Arc<Listener>) -> Result<(), TooManyListeners> {
        let max = self.listeners_max;
        let before = self.listeners.rcu(|all| {
            let newcomer = (all.len() < max).then_some(listener);
            all.iter().chain(newcomer).cloned().collect::<Vec<_>>()
        });
        match before.len() < max {
            true => Ok(()),
            false => Err(TooManyListeners { max }),
        }
    }
}

impl Listening {
    /// Waits for the next event. What was lost is told before what comes after it.
    pub async fn next(&mut self) -> Heard {
        let dropped = self.listener.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            return Heard::Dropped(dropped);
        }
        match self.events.recv().await {
            Some(event) => Heard::Event(event),
            // This end holds a sender, too: it can't be.
            None => std::future::pending().await,
        }
    }

    pub fn with_data(&self) -> bool {
        self.listener.filter.with_data
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let is_other = |other: &&Arc<Listener>| !Arc::ptr_eq(other, &self.listener);
        self.live
            .listeners
            .rcu(|all| all.iter().filter(is_other).cloned().collect::<Vec<_>>());
        if self.with_data() {
            self.live.wanting_data.fetch_sub(1, Ordering::Relaxed);
        }
        self.live.listening.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(query: &str) -> Result<Filter, InvalidFilter> {
        Filter::parse(form_urlencoded::parse(query.as_bytes()))
    }

    fn event(kind: Kind, app: &str, channel: &str) -> Event {
        Event {
            app: Some(app.to_owned()),
            channel: Some(channel.to_owned()).filter(|channel| !channel.is_empty()),
            socket_id: Some("1.1".to_owned()),
            ..Event::new(kind)
        }
    }

    #[test]
    fn filters_take_what_they_name() {
        let check = |query: &str, event: &Event, taken: bool| {
            let filter = filter(query).expect(query);
            assert_eq!(filter.takes(event), taken, "{query} {event:?}");
        };
        let published = event(Kind::Published, "3", "private-orders.7");
        for query in [
            "",
            "app=3",
            "app=",
            "channel=private-orders.7",
            "channel=private-*",
            "channel=*",
            "socket=1.1",
            "socket_id=1.1",
            "kind=published",
            "kind=refused,%20published",
            "app=3&channel=p*&kind=published&token=x&sample=0",
        ] {
            check(query, &published, true);
        }
        for query in [
            "app=33",
            "channel=private-orders",
            "channel=public-*",
            "channel=private-orders.7**",
            "socket=1.2",
            "kind=refused",
        ] {
            check(query, &published, false);
        }
        let refused = event(Kind::Refused, "3", "");
        check("channel=*", &refused, false);
        check("kind=refused", &refused, true);
    }

    #[test]
    fn filters_that_make_no_sense_are_named() {
        for (query, part) in [
            ("kind=publish", "there are connected, "),
            ("sample=2", "from 0 to 1"),
            ("sample=NaN", "from 0 to 1"),
            ("sample=", "from 0 to 1"),
            ("chanel=a", "there are app, channel"),
        ] {
            let sentence = filter(query).expect_err(query).to_string();
            assert!(sentence.contains(part), "{sentence}");
        }
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_what_it_lost() {
        let live = Arc::new(Live::new(2, 2));
        let mut slow = live.listen(Filter::default()).expect("room");
        for app in ["1", "2", "3", "4"] {
            live.tell(|| event(Kind::Connected, app, ""));
        }
        assert!(matches!(slow.next().await, Heard::Dropped(2)));
        for expected in ["1", "2"] {
            let Heard::Event(event) = slow.next().await else {
                panic!("nothing more was lost");
            };
            assert_eq!(event.app.as_deref(), Some(expected));
        }
        assert_eq!(live.dropped(), 2);
    }

    #[test]
    fn the_number_of_listeners_is_limited() {
        let live = Arc::new(Live::new(1, 2));
        let first = live
            .listen(filter("data=1").expect("filter"))
            .expect("room");
        assert!(live.wants_data());
        assert!(live.listen(Filter::default()).is_err());
        drop(first);
        assert!(!live.wants_data());
        assert_eq!(live.listeners(), 0);
        live.tell(|| panic!("nobody listens"));
        live.listen(Filter::default()).expect("room again");
    }

    #[test]
    fn a_listener_that_is_counted_hears_what_happens_then() {
        let live = Arc::new(Live::new(1, 1));
        for round in 0..1_000 {
            let newcomer = std::thread::spawn({
                let live = live.clone();
                move || live.listen(Filter::default()).expect("room")
            });
            while live.listeners() == 0 {
                std::hint::spin_loop();
            }
            live.tell(|| event(Kind::Connected, "1", ""));
            let mut listening = newcomer.join().expect("no panic");
            assert!(listening.events.try_recv().is_ok(), "round {round}");
        }
    }

    #[test]
    fn a_line_has_only_what_is_known_and_data_only_when_asked_for() {
        let event = Event {
            time_ms: 7,
            data: Some("secret".to_owned()),
            ..event(Kind::ClientEvent, "3", "a")
        };
        assert_eq!(
            event.to_json(false),
            r#"{"time_ms":7,"kind":"client_event","app":"3","socket_id":"1.1","channel":"a"}"#
        );
        assert!(event.to_json(true).ends_with(r#","data":"secret"}"#));
    }

    #[test]
    fn data_is_shown_as_text_and_cut() {
        assert_eq!(shown_data(r#""{\"a\":1}""#), r#"{"a":1}"#);
        assert_eq!(shown_data("null"), "null");
        let long = format!("\"{}\"", "é".repeat(1000));
        assert_eq!(shown_data(&long), format!("{}…", "é".repeat(500)));
    }
}
