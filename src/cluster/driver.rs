//! Does what the [`Core`] says: talks to Redis, and gives to the [`Node`] what is for somebody. One task, on a thread of its own, owns
//! all of it.

mod asked;
mod heard;
mod link;
mod liveness;
mod news;
mod node;
mod outputs;
mod sweeps;
#[cfg(test)]
mod tests;
mod topics;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::{RedisResult, Value};
use tokio::{
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};

use super::{
    connection::{Backoff, Connection, Inbound, Patience, Push, Servers},
    core::{Core, Input},
    held::{News, Open, Waiting},
    keys::{ChannelKeys, Keys},
    nodes::{self, Swept},
    queries::{Found, Query},
    scripts::{History, Scripts},
    terms::{Ask, Call, Output, Ticket},
};
use crate::hub::inbox::ChannelKey;

use heard::next;
pub use node::{Node, Rulebook};

/// Asks and messages that are taken before anything else gets its turn.
const TURN_MAX: usize = 256;

/// How often is looked for what is due, and for connections that came or went.
const TICK: Duration = Duration::from_millis(50);

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
    /// everything has been asked that follows from what clients had done
    CaughtUp,
    Noted(RedisResult<()>),
    Elsewhere(RedisResult<HashMap<String, usize>>),
    /// what is to be told of each of these nodes
    Swept(RedisResult<Vec<(Arc<str>, Vec<Swept>)>>),
    /// nothing is left of a dead node
    Ended(Arc<str>, RedisResult<()>),
    /// the first news that were to be forgotten are
    ForgottenNews(RedisResult<()>),
    /// whether what those who watch a user were told is true
    Watched(Ticket, RedisResult<bool>),
    CacheMiss(ChannelKey, RedisResult<bool>),
}

type Work = Pin<Box<dyn Future<Output = (u64, Done)> + Send>>;

type Claimed = (u64, News, RedisResult<i64>);

type Answered = (Query, oneshot::Sender<Found>, RedisResult<Found>);

/// A change of what is listened to.
#[derive(Clone)]
struct Topic {
    channel: ChannelKey,
    names: Names,
    change: Change,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Listen,
    Stop,
    /// whoever takes away what this node has finds the channel, because of the news that it hasn't told
    StopWithNews,
    /// those news have been told
    NewsTold,
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
    /// those that Redis is at
    changing: Vec<Topic>,
    /// registrations on their way, and those that wait
    registering: usize,
    registrations: VecDeque<(ChannelKey, Vec<Call>)>,
    backoff: Backoff,
    told: link::Told,
    /// when the connection came to stand
    connected: Instant,
    /// when the last sign of life was given that was taken
    last_beat: Option<Instant>,
    /// when the last one was given
    beaten: Instant,
    /// calls that wait until it is known that the others don't take this node for dead, and since when
    suspended: Vec<(ChannelKey, Vec<Call>)>,
    suspended_since: Instant,
    /// Before that the others may not be back from a time without Redis: nobody is taken for dead, and events for them are remembered.
    sweeps_from: Instant,
    /// messages that did not find room, as far as something was done about it
    left_out: u64,
    names: HashMap<ChannelKey, Names>,
    by_topic: HashMap<String, ChannelKey>,
    outputs: Vec<Output>,
    /// Redis is there, and knows this node by its name
    is_up: bool,
    is_beating: bool,
    /// what clients did before is being found out, or has been
    is_catching_up: bool,
    has_caught_up: bool,
    /// the present name has given a sign of life
    has_beaten: bool,
    /// nodes that gave signs of life at the last one of this one, which is among them
    alive: usize,
    /// nodes that are taken away by this one; whether all that is to be told of them is known
    sweeping: HashMap<Arc<str>, bool>,
    /// names that this node had until it was taken for dead, as long as anything may be left by them, and what it listened to
    former: HashMap<Arc<str>, Vec<String>>,
    waiters: HashMap<Ticket, N::Waiter>,
    tickets: u64,
    /// of each app, the channels that somebody wants to be let in to, as the first one here
    opening: HashMap<u32, HashSet<ChannelKey>>,
    held: Waiting,
    /// news that are written down in Redis: those that wait, and those that were told and aren't forgotten
    open: Open,
    /// channels that are written down only because of their news
    lingering: HashMap<ChannelKey, Names>,
    /// news that were told
    forgets: VecDeque<News>,
    /// so many of them are being forgotten
    forgetting: usize,
    /// those who watch a user are being told whether he is there, because of these news
    onlines: BTreeMap<Ticket, (bool, News)>,
    /// channels that are to be told their number
    counts: VecDeque<(Instant, ChannelKey, Arc<str>)>,
    /// channels of which it is in doubt who is there
    unsettled: VecDeque<(Instant, ChannelKey)>,
    /// names what Redis remembers: see [`nodes::Beat`]
    life: Arc<str>,
    /// that has changed since Redis was there last
    was_emptied: bool,
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
        let is_cluster = settings.servers.is_cluster();
        Driver {
            keys: Keys::new(&settings.prefix),
            scripts: Arc::new(
                Scripts::new(is_cluster, settings.history)
                    .with_doubt(settings.heartbeat * nodes::BEATS),
            ),
            core: Core::new(nodes::new_name().into(), settings.backlog_bytes_max),
            name: nodes::new_name().into(),
            inbound: Inbound::new(settings.inbound_bytes_max),
            backoff: Backoff::new(settings.retry),
            told: link::Told::default(),
            connected: Instant::now(),
            last_beat: None,
            beaten: Instant::now(),
            suspended: Vec::new(),
            suspended_since: Instant::now(),
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
            changing: Vec::new(),
            registering: 0,
            registrations: VecDeque::new(),
            names: HashMap::new(),
            by_topic: HashMap::new(),
            outputs: Vec::new(),
            is_up: false,
            is_beating: false,
            is_catching_up: false,
            has_caught_up: false,
            has_beaten: false,
            alive: 1,
            sweeping: HashMap::new(),
            former: HashMap::new(),
            waiters: HashMap::new(),
            tickets: 0,
            opening: HashMap::new(),
            held: Waiting::default(),
            open: Open::default(),
            lingering: HashMap::new(),
            forgets: VecDeque::new(),
            forgetting: 0,
            onlines: BTreeMap::new(),
            counts: VecDeque::new(),
            unsettled: VecDeque::new(),
            life: Arc::default(),
            was_emptied: false,
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
            self.go_up_if_caught_up(&mut requests);
            self.obey();
            if self.stopping.is_some() && self.is_done() {
                return self.leave().await;
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.core.take(input, &mut self.outputs);
    }

    fn begin(&mut self, work: impl Future<Output = Done> + Send + 'static) {
        let generation = self.generation;
        self.work
            .push(Box::pin(async move { (generation, work.await) }));
    }

    fn do_what_is_due(&mut self) {
        let now = Instant::now();
        while self.is_up
            && self.claims.len() < news::CLAIMS_MAX
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
        // all wait about as long
        while let Some((due, _)) = self.unsettled.front()
            && *due <= now
            && let Some((_, channel)) = self.unsettled.pop_front()
        {
            self.input(Input::Ask(channel, Ask::Settle));
        }
        self.make_up_for_what_was_left_out();
        if now >= self.sweeps_from {
            self.core.everybody_is_back();
        }
        if !self.is_up {
            self.expire_backlog();
        }
        self.note_connections();
    }

    /// What was left out of a channel is found out with its next message, which may never come. While a worker can't keep up that has time:
    /// its inbox would be given all that waits here, and what Redis remembers, and as much again a moment later.
    fn make_up_for_what_was_left_out(&mut self) {
        if self.node.is_congested() {
            return;
        }
        let left_out = self.inbound.left_out();
        if mem::replace(&mut self.left_out, left_out) != left_out && self.connection.is_some() {
            self.lost("its messages came faster than this node could take them (cluster.inbound_bytes_max)");
        }
    }

    /// Whether no other node is there that could go on with anything.
    fn is_last(&self) -> bool {
        self.alive <= 1
    }

    /// Whether everything that was asked for is done, as far as it can be.
    fn is_done(&self) -> bool {
        self.connection.is_none()
            || (self.core.is_quiet()
                && (self.held.len() == 0 || !self.is_last())
                && self.claims.is_empty()
                && self.onlines.is_empty()
                && self.forgets.is_empty()
                && self.work.is_empty())
    }

    /// Nobody is left to serve: says goodbye, so that nobody waits for this node's death.
    async fn leave(mut self) {
        if let Some(connection) = self.connection.take() {
            let end = self.end(connection);
            // if it isn't done in time, the others do it
            let _ = tokio::time::timeout(self.settings.patience.answer, end).await;
        }
        if let Some(stopped) = self.stopping {
            let _ = stopped.send(());
        }
    }
}
