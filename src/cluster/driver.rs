//! Does what the [`Core`] says: talks to Redis, wakes who waits, hands what is told to the workers' inboxes. One task, on a thread of
//! its own, owns all of it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::{Pipeline, RedisResult, Value};
use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::{
    channel::{member_text, parse_member},
    connection::{Connection, Patience, Push, Servers},
    core::{Answer, Ask, Call, Core, Event, Happening, Input, Message, Output, Ticket},
    keys::{ChannelKeys, Keys},
    nodes,
    scripts::{Holding, Joined, Left, Member as ScriptMember, Published, Registered, Scripts},
    wire,
};
use crate::{cluster::What, frame::Frame, hub::inbox::ChannelKey, protocol::channel::ChannelName};

/// Asks and messages that are taken before anything else gets its turn.
const TURN_MAX: usize = 256;

/// Messages of Redis that may wait for this node; the next ones are missed, which is found out and made up for.
const PUSHES_MAX: usize = 65_536;

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
    /// between two attempts to connect
    pub retry: Duration,
}

/// Whom a node serves: what the [`Core`] says is for somebody is given to it.
pub trait Node: Send + 'static {
    /// Who waits for the answer to an ask.
    type Waiter: Send;

    /// To the subscribers on these workers that joined before `position`.
    fn tell(
        &mut self,
        channel: &ChannelKey,
        workers: &[crate::hub::inbox::WorkerId],
        position: u64,
        what: &What,
        asked: Option<Instant>,
    );
    fn joined(
        &mut self,
        waiter: Self::Waiter,
        channel: &ChannelKey,
        since: u64,
        members: Vec<Arc<crate::protocol::presence::Member>>,
    );
    fn full(&mut self, waiter: Self::Waiter);
    fn published(&mut self, waiter: Self::Waiter, subscriptions: u32);
    fn happened(&mut self, channel: &ChannelKey, happening: Happening);
    fn missed(&mut self, events: u64);
    /// Redis is there, or away
    fn link(&mut self, is_up: bool);
}

/// What is asked of the driver. The ask's ticket is the driver's to give.
#[derive(Debug)]
pub struct Request<W> {
    pub channel: ChannelKey,
    pub app_id: Arc<str>,
    pub ask: Ask,
    pub waiter: Option<W>,
}

/// A part of the work that Redis is at.
enum Done {
    Connected(RedisResult<Connection>, mpsc::Receiver<Push>),
    Topics(RedisResult<Vec<ChannelKey>>),
    Called(ChannelKey, Vec<Call>, RedisResult<Vec<RedisResult<Value>>>),
    Beat(RedisResult<nodes::Beat>),
    Swept(RedisResult<()>),
}

type Work = Pin<Box<dyn Future<Output = (u64, Done)> + Send>>;

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
    pushes: Option<mpsc::Receiver<Push>>,
    /// counts the connections: what belongs to an earlier one is no longer of interest
    generation: u64,
    work: FuturesUnordered<Work>,
    topics: VecDeque<Topic>,
    is_changing_topics: bool,
    names: HashMap<ChannelKey, Names>,
    by_topic: HashMap<String, ChannelKey>,
    outputs: Vec<Output>,
    is_beating: bool,
    /// the present name has given a sign of life
    has_beaten: bool,
    sweeping: HashSet<String>,
    waiters: HashMap<Ticket, N::Waiter>,
    tickets: u64,
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
            scripts: Arc::new(Scripts::new(is_cluster)),
            core: Core::new(nodes::new_name().into(), settings.backlog_bytes_max),
            name: nodes::new_name().into(),
            settings,
            node,
            connection: None,
            pushes: None,
            generation: 0,
            work: FuturesUnordered::new(),
            topics: VecDeque::new(),
            is_changing_topics: false,
            names: HashMap::new(),
            by_topic: HashMap::new(),
            outputs: Vec::new(),
            is_beating: false,
            has_beaten: false,
            sweeping: HashSet::new(),
            waiters: HashMap::new(),
            tickets: 0,
        }
    }

    /// Serves until nobody can ask any more.
    pub async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request<N::Waiter>>) {
        let mut heartbeat = tokio::time::interval(self.settings.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.connect(Duration::ZERO);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                push = next(&mut self.pushes) => self.take_pushes(push),
                Some((generation, done)) = self.work.next(), if !self.work.is_empty() => {
                    if generation == self.generation {
                        self.take_done(done);
                    }
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
            }
            self.obey();
        }
    }

    fn input(&mut self, input: Input) {
        self.core.take(input, &mut self.outputs);
    }

    fn take_request(&mut self, request: Request<N::Waiter>) {
        let Request {
            channel,
            app_id,
            mut ask,
            waiter,
        } = request;
        self.tickets += 1;
        let number = Ticket(self.tickets);
        match &mut ask {
            Ask::Join { ticket, .. } => *ticket = number,
            Ask::Publish { ticket, .. } => *ticket = waiter.is_some().then_some(number),
            Ask::Leave { .. } => {}
        }
        if let Some(waiter) = waiter {
            self.waiters.insert(number, waiter);
        }
        if !self.names.contains_key(&channel) {
            let keys = Arc::new(self.keys.channel(&app_id, &channel.name));
            self.by_topic.insert(keys.topic.clone(), channel.clone());
            self.names.insert(channel.clone(), Names { app_id, keys });
        }
        self.input(Input::Ask(channel, ask));
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
        match understand(text) {
            Ok(message) => {
                let channel = channel.clone();
                self.input(Input::Message(channel, message));
            }
            Err(error) => {
                tracing::info!(topic, "skipped a message of another node: {error}");
            }
        }
    }

    fn take_done(&mut self, done: Done) {
        match done {
            Done::Connected(Ok(connection), pushes) => {
                tracing::info!("connected to Redis: this node is {}", self.name);
                self.connection = Some(connection);
                self.pushes = Some(pushes);
                self.node.link(true);
                self.input(Input::Up);
                self.beat();
            }
            Done::Connected(Err(error), _) => {
                tracing::warn!("Redis can't be reached, trying again: {error}");
                self.connect(self.settings.retry);
            }
            Done::Topics(Ok(listening)) => {
                self.is_changing_topics = false;
                for channel in listening {
                    self.input(Input::Subscribed(channel));
                }
            }
            Done::Called(channel, calls, Ok(values)) => match answers(&calls, values) {
                Ok(answers) => self.input(Input::Answers(channel, answers)),
                Err(error) => self.lost(&error.to_string()),
            },
            Done::Beat(Ok(beat)) => self.take_beat(beat),
            Done::Swept(Ok(())) => self.sweeping.clear(),
            Done::Topics(Err(error))
            | Done::Called(_, _, Err(error))
            | Done::Beat(Err(error))
            | Done::Swept(Err(error)) => self.lost(&error.to_string()),
        }
    }

    /// Nothing is known of what was on its way: goes on alone, and tries to connect again.
    fn lost(&mut self, why: &str) {
        tracing::warn!("Redis is away, this node goes on alone: {why}");
        self.generation += 1;
        self.connection = None;
        self.pushes = None;
        self.work = FuturesUnordered::new();
        self.topics.clear();
        self.is_changing_topics = false;
        self.is_beating = false;
        self.sweeping.clear();
        self.node.link(false);
        self.input(Input::Down);
        self.connect(self.settings.retry);
    }

    fn connect(&mut self, delay: Duration) {
        let (sender, pushes) = mpsc::channel(PUSHES_MAX);
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
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Subscribe(channel) => self.change_topic(channel, true),
                Output::Unsubscribe(channel) => self.change_topic(channel, false),
                Output::Call(channel, calls) => self.call(channel, calls),
                Output::Tell {
                    channel,
                    workers,
                    position,
                    what,
                } => self.node.tell(&channel, &workers, position, &what, None),
                Output::Joined {
                    channel,
                    ticket,
                    since,
                    members,
                    ..
                } => {
                    if let Some(waiter) = self.waiters.remove(&ticket) {
                        self.node.joined(waiter, &channel, since, members);
                    }
                }
                Output::Full { ticket, .. } => {
                    if let Some(waiter) = self.waiters.remove(&ticket) {
                        self.node.full(waiter);
                    }
                }
                Output::Published {
                    ticket,
                    subscriptions,
                } => {
                    if let Some(waiter) = self.waiters.remove(&ticket) {
                        self.node.published(waiter, subscriptions);
                    }
                }
                Output::Forgotten(channel) => {
                    if let Some(names) = self.names.remove(&channel) {
                        self.by_topic.remove(&names.keys.topic);
                    }
                }
                Output::Happened(channel, happening) => self.node.happened(&channel, happening),
                Output::Missed(events) => self.node.missed(events),
            }
        }
        self.change_topics();
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

    fn call(&mut self, channel: ChannelKey, calls: Vec<Call>) {
        let (Some(mut connection), Some(names)) =
            (self.connection.clone(), self.names.get(&channel))
        else {
            return;
        };
        let mut pipe = Pipeline::new();
        for call in &calls {
            add(
                &self.scripts,
                &mut pipe,
                &names.keys,
                &self.name,
                self.core.origin(),
                call,
            );
        }
        self.begin(async move {
            let answers = connection.call(&mut pipe).await;
            Done::Called(channel, calls, answers)
        });
    }

    /// One change after the other: who begins to listen again must not be taken for one who stops.
    fn change_topics(&mut self) {
        if self.is_changing_topics || self.topics.is_empty() {
            return;
        }
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        let changes: Vec<Topic> = self.topics.drain(..).collect();
        self.is_changing_topics = true;
        let (keys, name) = (self.keys.clone(), self.name.clone());
        self.begin(async move {
            let mut listening = Vec::new();
            for Topic {
                channel,
                names,
                listens,
            } in changes
            {
                let changed = nodes::note_channel(
                    &mut connection,
                    &keys,
                    &name,
                    &names.app_id,
                    &channel.name,
                    &names.keys.topic,
                    listens,
                );
                if let Err(error) = changed.await {
                    return Done::Topics(Err(error));
                }
                if listens {
                    listening.push(channel);
                }
            }
            Done::Topics(Ok(listening))
        });
    }

    fn beat(&mut self) {
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        if std::mem::replace(&mut self.is_beating, true) {
            return;
        }
        let (keys, name) = (self.keys.clone(), self.name.clone());
        let (heartbeat, is_first) = (self.settings.heartbeat, !self.has_beaten);
        self.begin(async move {
            Done::Beat(nodes::beat(&mut connection, &keys, &name, heartbeat, is_first).await)
        });
    }

    fn take_beat(&mut self, beat: nodes::Beat) {
        self.is_beating = false;
        self.has_beaten = true;
        if beat.was_forgotten {
            return self.rename();
        }
        let dead: Vec<String> = beat
            .dead
            .into_iter()
            .filter(|name| self.sweeping.insert(name.clone()))
            .collect();
        if !dead.is_empty() {
            self.sweep(dead);
        }
    }

    /// The others took this node for dead, or Redis has forgotten it: what it has is registered under another name.
    fn rename(&mut self) {
        let before = std::mem::replace(&mut self.name, nodes::new_name().into());
        tracing::warn!(
            "this node, {before}, was taken for dead: it goes on as {}",
            self.name
        );
        self.generation += 1;
        self.work = FuturesUnordered::new();
        self.topics.clear();
        self.is_changing_topics = false;
        self.is_beating = false;
        self.has_beaten = false;
        self.sweeping.clear();
        self.input(Input::Up);
        self.sweep(vec![before.to_string()]);
        self.beat();
    }

    /// Takes away what dead nodes had.
    fn sweep(&mut self, dead: Vec<String>) {
        let Some(mut connection) = self.connection.clone() else {
            return;
        };
        let (keys, scripts) = (self.keys.clone(), self.scripts.clone());
        self.begin(async move {
            for name in dead {
                if let Err(error) = nodes::sweep(&mut connection, &keys, &scripts, &name).await {
                    return Done::Swept(Err(error));
                }
            }
            Done::Swept(Ok(()))
        });
    }

    /// Nobody is left to serve: says goodbye, so that nobody waits for this node's death.
    async fn leave(mut self) {
        if let Some(mut connection) = self.connection.take() {
            let left = nodes::sweep(&mut connection, &self.keys, &self.scripts, &self.name);
            let _ = tokio::time::timeout(self.settings.patience.answer, left).await;
        }
    }
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

fn understand(text: &str) -> Result<Message, wire::Unreadable> {
    let message = wire::Message::parse(text)?;
    let nothing = || Arc::from("");
    let (what, origin, number) = match message.kind {
        wire::Kind::Event {
            number,
            except,
            frame,
        } => {
            let event = Event {
                frame: Frame::text(frame),
                except,
                kept: None,
            };
            let origin = Arc::from(message.node);
            (What::Event(Arc::new(event)), origin, number)
        }
        wire::Kind::MemberAdded(text) => {
            let member = parse_member(text).ok_or(wire::Unreadable::Malformed)?;
            (What::MemberAdded(member), nothing(), 0)
        }
        wire::Kind::MemberRemoved(id) => (What::MemberRemoved(id.into()), nothing(), 0),
        wire::Kind::Count(count) => (What::Count(count), nothing(), 0),
        wire::Kind::Nothing => (What::Nothing, nothing(), 0),
    };
    Ok(Message {
        sequence: message.sequence,
        what,
        origin,
        number,
    })
}

/// Puts a call at the end of a batch.
pub(super) fn add(
    scripts: &Scripts,
    pipe: &mut Pipeline,
    names: &ChannelKeys,
    node: &str,
    origin: &str,
    call: &Call,
) {
    match call {
        Call::Join {
            member,
            members_max,
            tell_count,
            list,
        } => {
            let text = member.as_deref().map(member_text);
            let member = member.as_deref().zip(text.as_deref());
            let member = member.map(|(member, text)| ScriptMember {
                user_id: &member.user_id,
                text,
            });
            scripts.join(pipe, names, node, member, *members_max, *tell_count, *list);
        }
        Call::Leave {
            user_id,
            tell_count,
        } => scripts.leave(pipe, names, node, user_id.as_deref(), *tell_count),
        Call::Publish { number, event } => {
            let head = wire::event_head(origin, *number, event.except);
            let kept = event.kept.as_ref().map(|(text, ttl_ms)| (&**text, *ttl_ms));
            scripts.publish(pipe, names, &head, &event.text(), kept);
        }
        Call::Register {
            subscriptions,
            seen,
            members,
            tell_count,
        } => {
            let texts: Vec<String> = members.iter().map(|(m, _)| member_text(m)).collect();
            let members: Vec<(ScriptMember<'_>, u32)> = members
                .iter()
                .zip(&texts)
                .map(|((member, count), text)| {
                    let member = ScriptMember {
                        user_id: &member.user_id,
                        text,
                    };
                    (member, *count)
                })
                .collect();
            let holding = Holding {
                subscriptions: *subscriptions,
                seen: *seen,
                members: &members,
            };
            scripts.register(pipe, names, node, holding, *tell_count);
        }
    }
}

fn answers(calls: &[Call], values: Vec<RedisResult<Value>>) -> RedisResult<Vec<Answer>> {
    let pairs = calls.iter().zip(values);
    pairs.map(|(call, value)| answer(call, &value?)).collect()
}

pub(super) fn answer(call: &Call, value: &Value) -> RedisResult<Answer> {
    Ok(match call {
        Call::Join { .. } => Answer::Joined(Joined::from_value(value)?),
        Call::Leave { .. } => Answer::Left(Left::from_value(value)?),
        Call::Publish { .. } => Answer::Published(Published::from_value(value)?),
        Call::Register { .. } => Answer::Registered(Registered::from_value(value)?),
    })
}

/// The channel of a name that another node wrote down.
pub(super) fn channel_name(text: &str) -> Option<ChannelName> {
    ChannelName::parse(text, usize::MAX).ok()
}
