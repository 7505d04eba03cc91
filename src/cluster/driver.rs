//! Does what the [`Core`] says: talks to Redis, and gives to the [`Node`] what is for somebody. One task, on a thread of its own, owns
//! all of it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::{Pipeline, RedisResult, Value};
use tokio::{
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};

use super::{
    calls::{self, Caller, news_name},
    channel::{What, happenings},
    connection::{Backoff, Connection, Inbound, Patience, Push, Servers},
    core::{Ask, Call, Core, Happening, Held, Input, Output, Ticket},
    held::{News, Waiting},
    keys::{ChannelKeys, Keys},
    messages,
    nodes::{self, Swept},
    queries::{self, Found, Query},
    rules::Rules,
    scripts::{History, Scripts},
    wire,
};
use crate::{
    directory::COUNT_PAUSE,
    hub::inbox::{ChannelKey, WorkerId},
    protocol::channel::ChannelName,
};

/// Asks and messages that are taken before anything else gets its turn.
const TURN_MAX: usize = 256;

/// How often is looked for what is due, and for connections that came or went.
const TICK: Duration = Duration::from_millis(50);

/// Channels that are registered at the same time after Redis was away. With what it remembers of each (256 KiB at most, see
/// `register.lua`) that is half of what it lets wait for a connection by default before it cuts it.
const REGISTRATIONS_MAX: usize = 64;

/// Topics that are subscribed to in one batch.
const TOPICS_MAX: usize = 1_000;

/// While a worker can't keep up, its messages wait this long before they are tried again.
const CONGESTION_PAUSE: Duration = Duration::from_millis(2);

/// How a node takes part in a cluster.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    pub servers: Servers,
    pub prefix: String,
    pub patience: Patience,
    /// a node that gives no sign of life for three of these is dead to the others
    pub heartbeat: Duration,
    /// of events that wait while Redis is away
    pub backlog_bytes_max: usize,
    pub backlog_age_max: Duration,
    /// of messages of Redis that wait for this node
    pub inbound_bytes_max: usize,
    /// what Redis remembers of each channel, for nodes whose connection was away
    pub history: History,
    /// news that wait for a return
    pub held_max: usize,
    /// events on their way to Redis at a time
    pub publishes_max: usize,
    /// between two attempts to connect
    pub retry: Duration,
}

/// Whom a node serves: what the [`Core`] says is for somebody is given to it.
pub trait Node: Send + 'static {
    /// Who waits for the answer to an ask.
    type Waiter: Send;

    /// To the subscribers on these workers that joined before `position`.
    fn tell(&mut self, channel: &ChannelKey, workers: &[WorkerId], position: u64, what: &What);
    /// What is told from the sequence of the channel's view on is for the joiner, who joined at the sequence `joined` or later.
    fn joined(&mut self, waiter: Self::Waiter, core: &Core, joined: u64);
    /// the channel has as many members as it may
    fn full(&mut self, waiter: Self::Waiter);
    /// whether one more channel is more than this node may have
    fn has_no_room_for(&self, channel: &ChannelKey) -> bool;
    fn has_no_room(&mut self, waiter: Self::Waiter);
    fn looked(&mut self, waiter: Self::Waiter, core: &Core);
    fn published(&mut self, waiter: Self::Waiter);
    /// the channel has its first subscriber on this node, or its last one has gone
    fn opened(&mut self, channel: &ChannelKey, is_open: bool);
    /// something that this node alone tells
    fn happened(&mut self, channel: &ChannelKey, happening: &Happening);
    /// channels in whose cache nothing was for somebody, and how often that may be told
    fn missed_cache(&mut self) -> Vec<(ChannelKey, Duration)>;
    fn tell_cache_miss(&mut self, channel: &ChannelKey);
    /// events of other nodes that did not come
    fn missed(&mut self, events: u64);
    fn skipped(&mut self, topic: &str, why: wire::Unreadable);
    /// Redis is there, or away: also at every attempt that fails
    fn link(&mut self, is_up: bool);
    fn named(&mut self, name: &str, is_renamed: bool);
    fn alive(&mut self, nodes: usize);
    fn backlog(&mut self, events: usize, bytes: usize, dropped: u64);
    /// how long Redis took for a batch
    fn took(&mut self, time: Duration);
    /// whether a worker has more to do than it can
    fn is_congested(&self) -> bool;
    /// what the node says of itself, as JSON
    fn load(&self) -> String;
    /// open connections, by app
    fn connections(&self) -> Vec<(Arc<str>, usize)>;
    /// connections on other nodes of the apps whose quota counts them
    fn apps_with_quota(&self) -> Vec<Arc<str>>;
    fn connections_elsewhere(&mut self, counts: HashMap<String, usize>);
    /// the app's place in this process, if it has it
    fn app(&self, app_id: &str) -> Option<u32>;
    /// what else is to be done when somebody comes to a channel of the app or goes
    fn rulebook(&self) -> Arc<Rulebook>;
}

/// By app id and channel.
pub type Rulebook = dyn Fn(&str, &ChannelName) -> Rules + Send + Sync;

/// What is asked of the driver. The ask's ticket is the driver's to give.
#[derive(Debug)]
pub enum Request<W> {
    Ask {
        channel: ChannelKey,
        app_id: Arc<str>,
        ask: Ask,
        waiter: Option<W>,
    },
    /// what a subscriber would be told if it joined now
    Look(W),
    Query {
        query: Query,
        reply: oneshot::Sender<Found>,
    },
    /// the end: what this node has in Redis is taken away
    Stop(oneshot::Sender<()>),
}

/// A part of the work that Redis is at.
enum Done {
    Connected(RedisResult<Connection>, mpsc::Receiver<Push>),
    Topics(RedisResult<Vec<ChannelKey>>),
    Called(
        ChannelKey,
        Vec<Call>,
        RedisResult<Vec<RedisResult<Value>>>,
        Instant,
    ),
    Beat(RedisResult<nodes::Beat>),
    Noted(RedisResult<()>),
    Elsewhere(RedisResult<HashMap<String, usize>>),
    Swept(RedisResult<Vec<Swept>>),
    CacheMiss(ChannelKey, RedisResult<bool>),
}

type Work = Pin<Box<dyn Future<Output = (u64, Done)> + Send>>;

type Claimed = (u64, News, RedisResult<i64>);

type Answered = (Query, oneshot::Sender<Found>, RedisResult<Found>);

/// A change of what is listened to.
struct Topic {
    channel: ChannelKey,
    names: Names,
    listens: bool,
}

/// See the module's documentation.
pub struct Driver<N: Node> {
    settings: ClusterSettings,
    keys: Keys,
    scripts: Arc<Scripts>,
    node: N,
    core: Core,
    /// the name of this node, another one whenever it was taken for dead
    name: Arc<str>,
    connection: Option<Connection>,
    /// messages of Redis that may wait for this node; the next ones are missed, which is found out and made up for
    inbound: Inbound,
    pushes: Option<mpsc::Receiver<Push>>,
    /// counts the connections: what belongs to an earlier one is no longer of interest
    generation: u64,
    work: FuturesUnordered<Work>,
    /// questions are answered whatever becomes of the connection
    queries: FuturesUnordered<Pin<Box<dyn Future<Output = Answered> + Send>>>,
    /// news are told or wait again, whatever becomes of the connection
    claims: FuturesUnordered<Pin<Box<dyn Future<Output = Claimed> + Send>>>,
    topics: VecDeque<Topic>,
    is_changing_topics: bool,
    /// registrations on their way, and those that wait
    registering: usize,
    registrations: VecDeque<(ChannelKey, Vec<Call>)>,
    backoff: Backoff,
    /// when the connection came to stand
    connected: Instant,
    /// when the last sign of life was taken
    last_beat: Option<Instant>,
    /// Before that nobody is taken for dead: after a time without Redis the others need some to come back, too.
    sweeps_from: Instant,
    /// messages that did not find room, as far as something was done about it
    left_out: u64,
    names: HashMap<ChannelKey, Names>,
    by_topic: HashMap<String, ChannelKey>,
    outputs: Vec<Output>,
    /// Redis is there, and knows this node by its name
    is_up: bool,
    is_beating: bool,
    /// the present name has given a sign of life
    has_beaten: bool,
    sweeping: HashSet<String>,
    waiters: HashMap<Ticket, N::Waiter>,
    tickets: u64,
    held: Waiting,
    /// channels that are to be told their number
    counts: VecDeque<(Instant, ChannelKey, Arc<str>)>,
    /// as Redis knows them
    noted: HashMap<Arc<str>, usize>,
    is_noting: bool,
    stopping: Option<oneshot::Sender<()>>,
}

#[derive(Clone)]
struct Names {
    app_id: Arc<str>,
    keys: Arc<ChannelKeys>,
}

impl<N: Node> Driver<N> {
    pub fn new(settings: ClusterSettings, node: N) -> Driver<N> {
        let is_cluster = matches!(settings.servers, Servers::Cluster(_));
        Driver {
            keys: Keys::new(&settings.prefix),
            scripts: Arc::new(Scripts::new(is_cluster, settings.history)),
            core: Core::new(nodes::new_name().into(), settings.backlog_bytes_max),
            name: nodes::new_name().into(),
            inbound: Inbound::new(settings.inbound_bytes_max),
            backoff: Backoff::new(settings.retry),
            connected: Instant::now(),
            last_beat: None,
            sweeps_from: Instant::now(),
            left_out: 0,
            settings,
            node,
            connection: None,
            pushes: None,
            generation: 0,
            work: FuturesUnordered::new(),
            queries: FuturesUnordered::new(),
            claims: FuturesUnordered::new(),
            topics: VecDeque::new(),
            is_changing_topics: false,
            registering: 0,
            registrations: VecDeque::new(),
            names: HashMap::new(),
            by_topic: HashMap::new(),
            outputs: Vec::new(),
            is_up: false,
            is_beating: false,
            has_beaten: false,
            sweeping: HashSet::new(),
            waiters: HashMap::new(),
            tickets: 0,
            held: Waiting::default(),
            counts: VecDeque::new(),
            noted: HashMap::new(),
            is_noting: false,
            stopping: None,
        }
    }

    /// Serves until it is stopped or nobody can ask any more.
    pub async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request<N::Waiter>>) {
        let mut heartbeat = tokio::time::interval(self.settings.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.node.named(&self.name, false);
        self.connect(Duration::ZERO);
        let mut batch = Vec::new();
        loop {
            let is_congested = self.node.is_congested();
            tokio::select! {
                push = next(&mut self.pushes), if !is_congested => self.take_pushes(push),
                () = tokio::time::sleep(CONGESTION_PAUSE), if is_congested => {}
                Some((generation, done)) = self.work.next(), if !self.work.is_empty() => {
                    if generation == self.generation {
                        self.take_done(done);
                    }
                }
                Some(answered) = self.queries.next(), if !self.queries.is_empty() => {
                    self.take_answered(answered);
                }
                Some(claimed) = self.claims.next(), if !self.claims.is_empty() => {
                    self.take_claimed(claimed);
                }
                count = requests.recv_many(&mut batch, TURN_MAX) => {
                    if count == 0 {
                        return self.leave().await;
                    }
                    for request in batch.drain(..) {
                        self.take_request(request);
                    }
                }
                _ = heartbeat.tick() => self.beat(),
                _ = tick.tick() => self.do_what_is_due(),
            }
            self.obey();
            if self.stopping.is_some() && self.is_done() {
                return self.leave().await;
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.core.take(input, &mut self.outputs);
    }

    fn take_request(&mut self, request: Request<N::Waiter>) {
        match request {
            Request::Ask {
                channel,
                app_id,
                ask,
                waiter,
            } => self.ask(channel, app_id, ask, waiter),
            Request::Look(waiter) => {
                self.obey();
                self.node.looked(waiter, &self.core);
            }
            Request::Query { query, reply } => self.query(query, reply),
            Request::Stop(stopped) => {
                self.stopping = Some(stopped);
                self.held.hurry();
            }
        }
    }

    fn ask(
        &mut self,
        channel: ChannelKey,
        app_id: Arc<str>,
        mut ask: Ask,
        waiter: Option<N::Waiter>,
    ) {
        self.tickets += 1;
        let number = Ticket(self.tickets);
        match &mut ask {
            Ask::Join { ticket, .. } => {
                if let Some(waiter) = waiter {
                    let is_new = self.core.view(&channel).is_none();
                    if is_new && self.node.has_no_room_for(&channel) {
                        return self.node.has_no_room(waiter);
                    }
                    self.waiters.insert(number, waiter);
                }
                *ticket = number;
            }
            Ask::Publish { ticket, .. } => {
                *ticket = waiter.is_some().then_some(number);
                if let Some(waiter) = waiter {
                    self.waiters.insert(number, waiter);
                }
            }
            Ask::Leave { .. } | Ask::Online(_) | Ask::Count => {}
        }
        if !self.names.contains_key(&channel) {
            let keys = Arc::new(self.keys.channel(&app_id, &channel.name));
            self.by_topic.insert(keys.topic.clone(), channel.clone());
            self.names.insert(channel.clone(), Names { app_id, keys });
        }
        self.input(Input::Ask(channel, ask));
    }

    fn query(&mut self, query: Query, reply: oneshot::Sender<Found>) {
        let Some(mut connection) = self.connection.clone().filter(|_| self.is_up) else {
            return self.reply_alone(&query, reply);
        };
        let (keys, name) = (self.keys.clone(), self.name.clone());
        self.queries.push(Box::pin(async move {
            let found = queries::ask(&query, &mut connection, &keys, &name).await;
            (query, reply, found)
        }));
    }

    fn take_answered(&mut self, (query, reply, found): Answered) {
        match found {
            Ok(found) => {
                // whoever asked may have gone
                let _ = reply.send(found);
            }
            Err(error) => {
                tracing::info!("answering for this node alone: {error}");
                self.reply_alone(&query, reply);
            }
        }
    }

    fn reply_alone(&self, query: &Query, reply: oneshot::Sender<Found>) {
        let _ = reply.send(queries::ask_alone(query, &self.core));
    }

    fn take_pushes(&mut self, first: Option<Push>) {
        let mut next = first;
        for _ in 0..TURN_MAX {
            match next {
                None => break,
                Some(Push::Lost) => return self.lost("it ended the connection"),
                Some(Push::Message { topic, text }) => self.take_message(&topic, &text),
            }
            next = self
                .pushes
                .as_mut()
                .and_then(|pushes| pushes.try_recv().ok());
        }
    }

    fn take_message(&mut self, topic: &str, text: &str) {
        let Some(channel) = self.by_topic.get(topic) else {
            return;
        };
        match messages::understand(text) {
            Ok(message) => {
                let channel = channel.clone();
                self.input(Input::Message(channel, message));
            }
            Err(error) => self.node.skipped(topic, error),
        }
    }

    fn take_done(&mut self, done: Done) {
        match done {
            Done::Connected(Ok(connection), pushes) => {
                tracing::info!("connected to Redis: this node is {}", self.name);
                self.connection = Some(connection);
                self.connected = Instant::now();
                let heartbeat = self.settings.heartbeat;
                if self
                    .last_beat
                    .is_none_or(|last| last.elapsed() > heartbeat * 2)
                {
                    self.sweeps_from = self.connected + heartbeat * nodes::BEATS;
                }
                self.pushes = Some(pushes);
                // Nothing is asked before it is known whether the others took this node for dead.
                self.beat();
            }
            Done::Connected(Err(error), _) => {
                tracing::warn!("Redis can't be reached, trying again: {error}");
                self.node.link(false);
                self.connect_later();
            }
            Done::Topics(Ok(listening)) => {
                self.is_changing_topics = false;
                for channel in listening {
                    self.input(Input::Subscribed(channel));
                }
            }
            Done::Called(channel, calls, Ok(values), begun) => {
                self.node.took(begun.elapsed());
                if is_registration(&calls) {
                    self.registered();
                }
                match calls::answers(&calls, values) {
                    Ok(answers) => self.input(Input::Answers(channel, answers)),
                    Err(error) => self.lost(&error.to_string()),
                }
            }
            Done::Beat(Ok(beat)) => self.take_beat(beat),
            Done::Noted(Ok(())) => self.is_noting = false,
            Done::Elsewhere(Ok(counts)) => self.node.connections_elsewhere(counts),
            Done::Swept(Ok(swept)) => {
                self.sweeping.clear();
                for swept in swept {
                    self.take_swept(&swept);
                }
            }
            Done::CacheMiss(channel, Ok(is_first)) => {
                if is_first {
                    self.node.tell_cache_miss(&channel);
                }
            }
            Done::Topics(Err(error))
            | Done::Called(_, _, Err(error), _)
            | Done::Beat(Err(error))
            | Done::Noted(Err(error))
            | Done::Elsewhere(Err(error))
            | Done::CacheMiss(_, Err(error))
            | Done::Swept(Err(error)) => self.lost(&error.to_string()),
        }
    }

    /// Nothing is known of what was on its way: goes on alone, and tries to connect again.
    fn lost(&mut self, why: &str) {
        tracing::warn!("Redis is away, this node goes on alone: {why}");
        self.take_last_pushes();
        self.forget_work();
        self.connection = None;
        self.pushes = None;
        self.is_up = false;
        self.node.link(false);
        self.input(Input::Down);
        self.backoff.stood(self.connected.elapsed());
        self.connect_later();
    }

    fn connect_later(&mut self) {
        let wait = self.backoff.wait(rand::random());
        self.connect(wait);
    }

    /// What came before the end: answers to our own events may have been taken already, of which this is all that is told here.
    fn take_last_pushes(&mut self) {
        let Some(mut pushes) = self.pushes.take() else {
            return;
        };
        while let Ok(Push::Message { topic, text }) = pushes.try_recv() {
            self.take_message(&topic, &text);
        }
    }

    /// Whatever is on its way is no longer of interest.
    fn forget_work(&mut self) {
        self.generation += 1;
        self.work = FuturesUnordered::new();
        self.topics.clear();
        self.is_changing_topics = false;
        self.registering = 0;
        self.registrations.clear();
        self.is_beating = false;
        self.is_noting = false;
        self.noted.clear();
        self.sweeping.clear();
    }

    fn connect(&mut self, delay: Duration) {
        let (sender, pushes) = self.inbound.queue();
        let (settings, scripts) = (self.settings.clone(), self.scripts.clone());
        self.begin(async move {
            tokio::time::sleep(delay).await;
            let connection =
                Connection::open(&settings.servers, settings.patience, sender, &scripts).await;
            Done::Connected(connection, pushes)
        });
    }

    fn begin(&mut self, work: impl Future<Output = Done> + Send + 'static) {
        let generation = self.generation;
        self.work
            .push(Box::pin(async move { (generation, work.await) }));
    }

    fn obey(&mut self) {
        // what happens may lead to something more to be done
        while !self.outputs.is_empty() {
            for output in mem::take(&mut self.outputs) {
                self.obey_one(output);
            }
        }
        for (channel, interval) in self.node.missed_cache() {
            self.ask_for_cache_miss(channel, interval);
        }
        self.change_topics();
        let (events, bytes, dropped) = self.core.backlog();
        self.node.backlog(events, bytes, dropped);
    }

    fn obey_one(&mut self, output: Output) {
        match output {
            Output::Subscribe(channel) => self.change_topic(channel, true),
            Output::Unsubscribe(channel) => self.change_topic(channel, false),
            Output::Call(channel, calls) => self.call(channel, calls),
            Output::Tell {
                channel,
                workers,
                position,
                what,
            } => self.node.tell(&channel, &workers, position, &what),
            Output::Joined { ticket, joined } => {
                if let Some(waiter) = self.waiters.remove(&ticket) {
                    self.node.joined(waiter, &self.core, joined);
                }
            }
            Output::Full(ticket) => {
                if let Some(waiter) = self.waiters.remove(&ticket) {
                    self.node.full(waiter);
                }
            }
            Output::Published(ticket) => {
                if let Some(waiter) = self.waiters.remove(&ticket) {
                    self.node.published(waiter);
                }
            }
            Output::Opened(channel) => self.node.opened(&channel, true),
            Output::Closed(channel) => self.node.opened(&channel, false),
            Output::CountLater(channel) => {
                if let Some(names) = self.names.get(&channel) {
                    let due = Instant::now() + COUNT_PAUSE;
                    let app_id = names.app_id.clone();
                    self.counts.push_back((due, channel, app_id));
                }
            }
            // it may have been asked for again since then
            Output::Forgotten(channel) if self.core.knows(&channel) => {}
            Output::Forgotten(channel) => {
                if let Some(names) = self.names.remove(&channel) {
                    self.by_topic.remove(&names.keys.topic);
                }
            }
            Output::Happened(channel, happening) => {
                if let Some(names) = self.names.get(&channel) {
                    let app_id = names.app_id.clone();
                    self.happened(channel, &app_id, happening);
                }
            }
            Output::Missed(events) => self.node.missed(events),
        }
    }

    /// Tells what happened, at once or when it has waited for its contrary.
    fn happened(&mut self, channel: ChannelKey, app_id: &Arc<str>, happening: Happening) {
        let (user_id, held) = match &happening {
            Happening::Vacated(held) => (None, *held),
            Happening::MemberRemoved { user_id, held } => (Some(user_id.clone()), *held),
            Happening::Occupied { is_return: true }
            | Happening::MemberAdded {
                is_return: true, ..
            } => return,
            Happening::Occupied { .. } | Happening::MemberAdded { .. } | Happening::Count(_) => {
                (None, None)
            }
        };
        match held {
            Some(held) => {
                let news = News {
                    channel,
                    app_id: app_id.clone(),
                    user_id,
                    held,
                    generation: self.generation,
                };
                let max = match self.stopping {
                    Some(_) => 0,
                    None => self.settings.held_max,
                };
                self.held.add(news, Instant::now(), max);
            }
            None => self.tell(&channel, app_id, &happening),
        }
    }

    fn tell(&mut self, channel: &ChannelKey, app_id: &Arc<str>, happening: &Happening) {
        let is_online = match happening {
            Happening::Occupied { .. } => Some(true),
            Happening::Vacated(_) => Some(false),
            _ => None,
        };
        if let (Some(is_online), Some(user_id)) = (is_online, channel.name.user_id())
            && (self.node.rulebook())(app_id, &channel.name).is_watched
        {
            let watchers = ChannelKey {
                app: channel.app,
                name: ChannelName::watchers_of(user_id),
            };
            self.ask(watchers, app_id.clone(), Ask::Online(is_online), None);
        }
        self.node.happened(channel, happening);
    }

    fn do_what_is_due(&mut self) {
        let now = Instant::now();
        while self.is_up
            && let Some(news) = self.held.take(now)
        {
            self.claim(news);
        }
        while let Some((due, ..)) = self.counts.front()
            && *due <= now
            && let Some((_, channel, app_id)) = self.counts.pop_front()
        {
            self.ask(channel, app_id, Ask::Count, None);
        }
        self.make_up_for_what_was_left_out();
        if !self.is_up {
            self.expire_backlog();
        }
        self.note_connections();
    }

    /// What was left out of a channel is found out with its next message, which may never come.
    fn make_up_for_what_was_left_out(&mut self) {
        let left_out = self.inbound.left_out();
        if mem::replace(&mut self.left_out, left_out) != left_out && self.connection.is_some() {
            self.lost("its messages came faster than this node could take them (cluster.inbound_bytes_max)");
        }
    }

    /// Asks whether whoever left has come back in the meantime, perhaps to another node.
    fn claim(&mut self, news: News) {
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        let names = self.keys.channel(&news.app_id, &news.channel.name);
        let name = news_name(self.core.origin(), news.held.number);
        let scripts = self.scripts.clone();
        let generation = self.generation;
        self.claims.push(Box::pin(async move {
            let mut pipe = Pipeline::new();
            scripts.claim(&mut pipe, &names, &news.field(), &name);
            let claim = nodes::one::<i64>(&mut connection, &mut pipe).await;
            (generation, news, claim)
        }));
    }

    fn take_claimed(&mut self, (generation, news, claim): Claimed) {
        let is_to_be_told = match claim {
            Ok(1) => true,
            Ok(0) => false,
            // Redis has lost what it knew of it
            Ok(_) => news.generation != self.generation,
            Err(error) => {
                self.held.again(news);
                if generation == self.generation {
                    self.lost(&error.to_string());
                }
                return;
            }
        };
        if !is_to_be_told {
            return;
        }
        let happening = match news.user_id {
            None => Happening::Vacated(None),
            Some(user_id) => Happening::MemberRemoved {
                user_id,
                held: None,
            },
        };
        self.tell(&news.channel, &news.app_id, &happening);
    }

    /// Has one node of the cluster tell a cache miss, now and then.
    fn ask_for_cache_miss(&mut self, channel: ChannelKey, interval: Duration) {
        let (Some(mut connection), Some(names)) =
            (self.connection.clone(), self.names.get(&channel))
        else {
            return self.node.tell_cache_miss(&channel);
        };
        if interval.is_zero() {
            return self.node.tell_cache_miss(&channel);
        }
        let key = names.keys.missed.clone();
        self.begin(async move {
            let mut pipe = Pipeline::new();
            let milliseconds = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
            pipe.cmd("SET")
                .arg(key)
                .arg(1)
                .arg("NX")
                .arg("PX")
                .arg(milliseconds);
            let set = nodes::one::<Option<String>>(&mut connection, &mut pipe).await;
            Done::CacheMiss(channel, set.map(|set| set.is_some()))
        });
    }

    fn change_topic(&mut self, channel: ChannelKey, listens: bool) {
        if let Some(names) = self.names.get(&channel).cloned() {
            self.topics.push_back(Topic {
                channel,
                names,
                listens,
            });
        }
    }

    /// Registrations wait for their turn.
    fn call(&mut self, channel: ChannelKey, calls: Vec<Call>) {
        if is_registration(&calls) {
            if self.registering >= REGISTRATIONS_MAX {
                return self.registrations.push_back((channel, calls));
            }
            self.registering += 1;
        }
        self.call_now(channel, calls);
    }

    fn registered(&mut self) {
        self.registering = self.registering.saturating_sub(1);
        if let Some((channel, calls)) = self.registrations.pop_front() {
            self.call(channel, calls);
        }
    }

    fn call_now(&mut self, channel: ChannelKey, calls: Vec<Call>) {
        let (Some(mut connection), Some(names)) =
            (self.connection.clone(), self.names.get(&channel))
        else {
            return;
        };
        let mut pipe = Pipeline::new();
        let caller = Caller {
            node: &self.name,
            origin: self.core.origin(),
        };
        for call in &calls {
            calls::add(&self.scripts, &mut pipe, &names.keys, caller, call);
        }
        self.begin(async move {
            let begun = Instant::now();
            let answers = connection.call(&mut pipe).await;
            Done::Called(channel, calls, answers, begun)
        });
    }

    /// One batch of changes after the other: who begins to listen again must not be taken for one who stops.
    fn change_topics(&mut self) {
        if self.is_changing_topics || self.topics.is_empty() {
            return;
        }
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        let Some(listens) = self.topics.front().map(|topic| topic.listens) else {
            return;
        };
        let alike = self.topics.iter().take_while(|t| t.listens == listens);
        let count = alike.take(TOPICS_MAX).count();
        let changes: Vec<Topic> = self.topics.drain(..count).collect();
        self.is_changing_topics = true;
        let (keys, name) = (self.keys.clone(), self.name.clone());
        self.begin(async move {
            let topics: Vec<nodes::Topic<'_>> = changes
                .iter()
                .map(|change| nodes::Topic {
                    app_id: &change.names.app_id,
                    channel: &change.channel.name,
                    topic: &change.names.keys.topic,
                })
                .collect();
            let changed = match listens {
                true => nodes::listen(&mut connection, &keys, &name, &topics).await,
                false => nodes::stop_listening(&mut connection, &keys, &name, &topics).await,
            };
            let listening = changes.into_iter().filter(|change| change.listens);
            let listening = listening.map(|change| change.channel).collect();
            Done::Topics(changed.map(|()| listening))
        });
    }

    fn beat(&mut self) {
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        if mem::replace(&mut self.is_beating, true) {
            return;
        }
        let (keys, name) = (self.keys.clone(), self.name.clone());
        let (heartbeat, is_first) = (self.settings.heartbeat, !self.has_beaten);
        let load = self.node.load();
        let sweeps = Instant::now() >= self.sweeps_from;
        self.begin(async move {
            let beat = nodes::beat(
                &mut connection,
                &keys,
                &name,
                heartbeat,
                is_first,
                &load,
                sweeps,
            );
            Done::Beat(beat.await)
        });
        self.ask_for_connections_elsewhere();
    }

    fn take_beat(&mut self, beat: nodes::Beat) {
        self.is_beating = false;
        self.has_beaten = true;
        self.last_beat = Some(Instant::now());
        if beat.was_forgotten {
            return self.rename();
        }
        self.node.alive(beat.alive);
        if !self.is_up {
            self.go_up();
        }
        let dead: Vec<String> = beat
            .dead
            .into_iter()
            .filter(|name| self.sweeping.insert(name.clone()))
            .collect();
        if !dead.is_empty() {
            tracing::warn!(
                "other nodes have given no sign of life for three heartbeats, their subscribers are taken out: {}",
                dead.join(", ")
            );
            self.sweep(dead, Vec::new());
        }
    }

    fn go_up(&mut self) {
        self.is_up = true;
        self.node.link(true);
        self.expire_backlog();
        self.input(Input::Up);
    }

    fn expire_backlog(&mut self) {
        if let Some(oldest) = Instant::now().checked_sub(self.settings.backlog_age_max) {
            self.core.expire_backlog(oldest, &mut self.outputs);
        }
    }

    /// The others took this node for dead, or Redis has forgotten it: what it has is registered under another name.
    fn rename(&mut self) {
        let before = mem::replace(&mut self.name, nodes::new_name().into());
        tracing::warn!(
            "this node, {before}, was taken for dead: it goes on as {}",
            self.name
        );
        self.node.named(&self.name, true);
        self.forget_work();
        self.has_beaten = false;
        if mem::replace(&mut self.is_up, false) {
            self.input(Input::Down);
        }
        // The others have taken out what this node had, but not what it did by its old name since then.
        let topics = self.names.values().map(|n| n.keys.topic.clone()).collect();
        self.sweep(vec![before.to_string()], topics);
        self.beat();
    }

    /// Takes away what dead nodes had: what is written down of them, and what they may have on these topics.
    fn sweep(&mut self, dead: Vec<String>, topics: Vec<String>) {
        let Some(connection) = self.connection.clone() else {
            return;
        };
        let sweep = self.sweep_of(dead, topics, connection);
        self.begin(async move { Done::Swept(sweep.await) });
    }

    fn sweep_of(
        &self,
        names: Vec<String>,
        topics: Vec<String>,
        mut connection: Connection,
    ) -> impl Future<Output = RedisResult<Vec<Swept>>> + Send + use<N> {
        let (keys, scripts) = (self.keys.clone(), self.scripts.clone());
        let origin: Arc<str> = self.core.origin().into();
        let apps = self.node.connections();
        let rules = self.node.rulebook();
        async move {
            let apps: Vec<Arc<str>> = apps.into_iter().map(|(app_id, _)| app_id).collect();
            let sweep = nodes::Sweep {
                keys: &keys,
                scripts: &scripts,
                origin: &origin,
                apps: &apps,
                rules: &*rules,
            };
            let mut swept = Vec::new();
            for name in names {
                swept.extend(nodes::sweep(&mut connection, &sweep, &name, &topics).await?);
            }
            Ok(swept)
        }
    }

    fn take_swept(&mut self, swept: &Swept) {
        let Some(app) = self.node.app(&swept.app_id) else {
            return;
        };
        let channel = ChannelKey {
            app,
            name: swept.channel.clone(),
        };
        let rules = (self.node.rulebook())(&swept.app_id, &swept.channel);
        let app_id: Arc<str> = swept.app_id.as_str().into();
        let held = rules.hold.map(|wait| Held {
            number: swept.number,
            wait,
        });
        for happening in happenings(&swept.registered, held) {
            self.happened(channel.clone(), &app_id, happening);
        }
    }

    /// Writes down how many connections there are, if the number has changed.
    fn note_connections(&mut self) {
        if self.is_noting || !self.has_beaten {
            return;
        }
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        let counts = self.node.connections();
        let changed: Vec<(Arc<str>, usize)> = counts
            .into_iter()
            .filter(|(app_id, count)| self.noted.get(app_id).copied().unwrap_or(0) != *count)
            .collect();
        if changed.is_empty() {
            return;
        }
        self.is_noting = true;
        self.noted.extend(changed.iter().cloned());
        let (keys, name) = (self.keys.clone(), self.name.clone());
        self.begin(async move {
            let noted = nodes::note_connections(&mut connection, &keys, &name, &changed);
            Done::Noted(noted.await)
        });
    }

    fn ask_for_connections_elsewhere(&mut self) {
        let apps = self.node.apps_with_quota();
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        if apps.is_empty() {
            return;
        }
        let (keys, name) = (self.keys.clone(), self.name.clone());
        self.begin(async move {
            let mut counts = HashMap::new();
            for app_id in apps {
                match queries::connections(&mut connection, &keys, &app_id, &name).await {
                    Ok(count) => counts.insert(app_id.to_string(), count),
                    Err(error) => return Done::Elsewhere(Err(error)),
                };
            }
            Done::Elsewhere(Ok(counts))
        });
    }

    /// Whether everything that was asked for is done, as far as it can be.
    fn is_done(&self) -> bool {
        self.connection.is_none()
            || (self.core.is_quiet()
                && self.held.len() == 0
                && self.claims.is_empty()
                && self.work.is_empty())
    }

    /// Nobody is left to serve: says goodbye, so that nobody waits for this node's death.
    async fn leave(mut self) {
        if let Some(connection) = self.connection.take() {
            let sweep = self.sweep_of(vec![self.name.to_string()], Vec::new(), connection);
            let _ = tokio::time::timeout(self.settings.patience.answer, sweep).await;
        }
        if let Some(stopped) = self.stopping {
            let _ = stopped.send(());
        }
    }
}

fn is_registration(calls: &[Call]) -> bool {
    matches!(calls, [Call::Register { .. }])
}

async fn next(pushes: &mut Option<mpsc::Receiver<Push>>) -> Option<Push> {
    match pushes {
        Some(pushes) => match pushes.recv().await {
            // The connection's task has ended.
            None => Some(Push::Lost),
            push => push,
        },
        None => std::future::pending().await,
    }
}

/// The channel of a name that another node wrote down.
pub(super) fn channel_name(text: &str) -> Option<ChannelName> {
    ChannelName::parse(text, usize::MAX).ok()
}
