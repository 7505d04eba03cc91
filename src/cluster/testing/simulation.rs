//! Nodes on a simulated Redis, in random order: joins, leaves, events, lost connections, a Redis that comes back empty, nodes that die.
//! Whatever happens, a subscriber sees each member come and go in turns and no event twice; and when all is quiet, everybody sees
//! the same members: those that are there.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::model::{Holding, Redis, Told};
use crate::{
    cluster::{
        core::{Core, Input},
        rules::Rules,
        terms::{
            Answer, Ask, Body, Call, Event, Happening, Message, Output, Ticket, Verdict, What,
            parse_member,
        },
    },
    frame::Frame,
    hub::inbox::{ChannelKey, WorkerId},
    protocol::{channel::ChannelName, presence::Member},
};

const CHANNELS: usize = 2;
const USERS: u32 = 4;
const WORKERS: u16 = 2;

/// What may go wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Faults {
    None,
    /// connections to Redis break
    Cuts,
    /// and nodes die, or are taken for dead
    Deaths,
    /// and Redis comes back empty
    All,
}

/// A connection of a client.
struct Socket {
    channel: ChannelKey,
    worker: WorkerId,
    user: Option<Arc<str>>,
    /// once it has been let in: what it sees
    seen: Option<Seen>,
    is_gone: bool,
}

struct Seen {
    since: u64,
    members: BTreeSet<Arc<str>>,
    /// let in while Redis was away: what others publish meanwhile is none of its own
    joined_alone: bool,
    /// the events of each publisher
    events: HashMap<usize, Vec<u64>>,
}

/// On its way to Redis.
enum Request {
    Subscribe(ChannelKey),
    Unsubscribe(ChannelKey),
    Call(ChannelKey, Vec<Call>),
    /// these have waited
    Claim(News),
    /// these were told
    Forget(News),
}

/// Something that happened and that one of the nodes tells.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct News {
    number_of_channel: usize,
    /// of the node that wrote it down
    name: Arc<str>,
    number: u64,
    happening: Happening,
}

impl News {
    fn named(&self) -> String {
        format!("{}.{}", self.name, self.number)
    }

    fn field(&self) -> String {
        format!("+{}/{}", self.named(), self.happening.word())
    }
}

/// On its way back.
enum Reply {
    Input(Input),
    Claimed(News, i64),
}

struct Node {
    core: Core,
    /// the name it goes by now
    name: Option<Arc<str>>,
    is_alive: bool,
    sockets: BTreeMap<u64, Socket>,
    to_redis: VecDeque<Request>,
    /// with their places in the order in which Redis sent them
    answers: VecDeque<(u64, Reply)>,
    messages: VecDeque<(u64, Input)>,
    /// the last answer that was taken
    answered: u64,
    /// channels that it was asked about and that it hasn't forgotten: of others nobody knows what they are called in Redis
    known: BTreeSet<String>,
    /// news that it has heard of and that aren't forgotten
    open: BTreeSet<News>,
    waiting: Vec<News>,
    /// Redis is asked about them
    claiming: Vec<News>,
    told: Vec<News>,
}

struct World {
    seed: u64,
    random: SmallRng,
    redis: Redis,
    /// who listens to a channel, by the node's place
    topics: HashMap<ChannelKey, BTreeSet<usize>>,
    nodes: Vec<Node>,
    tickets: u64,
    names: u64,
    /// names whose entries nobody will take away by itself
    dead: Vec<Arc<str>>,
    faults: Faults,
    /// orders what Redis sends
    stamp: u64,
    /// the last event of each node on each channel
    published: HashMap<(usize, ChannelKey), u64>,
    /// sockets that have gone before they were let in, with their nodes
    late: VecDeque<(usize, u64)>,
    /// the rules of all channels
    rules: Rules,
    /// what was told, each once
    all_told: BTreeSet<News>,
    /// what webhooks are told: how much more often somebody came than went, or anybody of a channel (`None`)
    told: BTreeMap<(String, Option<Arc<str>>), i32>,
    /// the members of every edition of a list
    lists: HashMap<u64, BTreeSet<Arc<str>>>,
    /// nodes that will find out who is there, of whom that is in doubt
    unsettled: Vec<(usize, ChannelKey)>,
    /// at any time
    was_emptied: bool,
    /// Redis was emptied since these nodes registered what they have
    emptied: BTreeSet<usize>,
    /// and its connections have stayed, so that these nodes haven't noticed
    unaware: BTreeSet<usize>,
    /// so many events are refused from now on
    refused: usize,
    /// who doesn't leave, by channel: nobody is ever told that he does
    staying: HashSet<(ChannelKey, Arc<str>)>,
}

/// Every other channel has members.
fn has_members(number: usize) -> bool {
    number.is_multiple_of(2)
}

fn number_of(key: &ChannelKey) -> usize {
    (0..CHANNELS)
        .find(|number| self::key(*number) == *key)
        .expect("one of the channels")
}

fn key(number: usize) -> ChannelKey {
    let name = match has_members(number) {
        true => format!("presence-{number}"),
        false => format!("room-{number}"),
    };
    ChannelKey {
        app: 0,
        name: ChannelName::parse(&name, 200).expect("a name"),
    }
}

/// Who published an event and its number, in the text of its frame.
fn event(node: usize, number: u64) -> Arc<Event> {
    Arc::new(Event {
        body: Body::Frame(Frame::text(&format!("{node} {number}"))),
        except: None,
        cached_for: None,
        published: Instant::now(),
    })
}

fn parse_event(event: &Event) -> (usize, u64) {
    let text = std::str::from_utf8(event.payload()).expect("a text");
    let (node, number) = text.split_once(' ').expect("two numbers");
    (
        node.parse().expect("a node"),
        number.parse().expect("a number"),
    )
}

impl World {
    fn new(seed: u64, nodes: usize, faults: Faults) -> World {
        let node = |at: usize| Node {
            core: Core::new(format!("origin{at}").as_str().into(), 1 << 20),
            name: None,
            is_alive: true,
            sockets: BTreeMap::new(),
            to_redis: VecDeque::new(),
            answers: VecDeque::new(),
            messages: VecDeque::new(),
            answered: 0,
            known: BTreeSet::new(),
            open: BTreeSet::new(),
            waiting: Vec::new(),
            claiming: Vec::new(),
            told: Vec::new(),
        };
        World {
            seed,
            random: SmallRng::seed_from_u64(seed),
            redis: Redis::default(),
            topics: HashMap::new(),
            nodes: (0..nodes).map(node).collect(),
            tickets: 0,
            names: 0,
            dead: Vec::new(),
            faults,
            stamp: 0,
            published: HashMap::new(),
            late: VecDeque::new(),
            rules: Rules {
                is_told: true,
                hold: (seed % 2 == 1).then_some(Duration::from_secs(1)),
                ..Rules::default()
            },
            all_told: BTreeSet::new(),
            told: BTreeMap::new(),
            lists: HashMap::new(),
            unsettled: Vec::new(),
            was_emptied: false,
            emptied: BTreeSet::new(),
            unaware: BTreeSet::new(),
            refused: 0,
            staying: HashSet::new(),
        }
    }

    /// The next place in the order of what Redis sends.
    fn sent(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    fn take_answer(&mut self, at: usize) {
        let Some((stamp, reply)) = self.nodes[at].answers.pop_front() else {
            return;
        };
        self.nodes[at].answered = stamp;
        match reply {
            Reply::Input(input) => {
                let is_refusal = matches!(input, Input::Refused(..));
                if is_refusal {
                    self.hear_the_last(at);
                }
                self.input(at, input);
                if is_refusal {
                    self.cut(at);
                }
            }
            Reply::Claimed(news, claim) => {
                self.nodes[at].claiming.retain(|other| *other != news);
                match claim {
                    1 => self.tell(at, news),
                    _ => {
                        self.nodes[at].open.remove(&news);
                    }
                }
            }
        }
    }

    fn take_message(&mut self, at: usize) {
        if let Some((_, input)) = self.nodes[at].messages.pop_front() {
            self.input(at, input);
        }
    }

    fn input(&mut self, at: usize, input: Input) {
        let mut out = Vec::new();
        if let Input::Ask(key, ask) = &input
            && *ask != Ask::Settle
        {
            let name = key.name.as_str().to_owned();
            self.nodes[at].known.insert(name);
        }
        self.nodes[at].core.take(input, &mut out);
        for output in out {
            self.obey(at, output);
        }
        // Who was let in after it had gone leaves, once everything before has been done.
        while let Some((at, ticket)) = self.late.pop_front() {
            self.leave(at, ticket);
        }
    }

    fn obey(&mut self, at: usize, output: Output) {
        let node = &mut self.nodes[at];
        match output {
            Output::Subscribe(key) => node.to_redis.push_back(Request::Subscribe(key)),
            Output::Unsubscribe(key) => node.to_redis.push_back(Request::Unsubscribe(key)),
            Output::Call(key, calls) => {
                assert!(node.known.contains(key.name.as_str()), "{calls:?}");
                node.to_redis.push_back(Request::Call(key, calls));
            }
            Output::Forgotten(key) => {
                node.known.remove(key.name.as_str());
            }
            Output::Tell {
                channel,
                workers,
                position,
                what,
            } => {
                if let What::MemberRemoved(user_id) = &what {
                    let who = (channel.clone(), user_id.clone());
                    assert!(
                        !self.staying.contains(&who),
                        "seed {}, {user_id} is there",
                        self.seed
                    );
                }
                for socket in node.sockets.values_mut() {
                    if socket.channel == channel
                        && !socket.is_gone
                        && workers.contains(&socket.worker)
                    {
                        tell(socket, position, &what, self.faults == Faults::All);
                    }
                }
            }
            Output::Joined { ticket, .. } => {
                let socket = node.sockets.get_mut(&ticket.0);
                let socket = socket.expect("a socket that asked");
                let view = node.core.view(&socket.channel).expect("a subscriber");
                let since = view.sequence;
                let members: BTreeSet<Arc<str>> = view.members.keys().cloned().collect();
                let list = self.lists.entry(view.edition);
                assert_eq!(*list.or_insert_with(|| members.clone()), members);
                socket.seen = Some(Seen {
                    since,
                    members,
                    joined_alone: !node.core.is_up(),
                    events: HashMap::new(),
                });
                if let Some(user) = &socket.user {
                    let seen = socket.seen.as_ref().expect("just set");
                    assert!(seen.members.contains(user), "{user} sees itself");
                }
                if socket.is_gone {
                    self.late.push_back((at, ticket.0));
                }
            }
            Output::Full(_) => panic!("there is no limit"),
            Output::Published(_)
            | Output::Opened(_)
            | Output::Closed(_)
            | Output::CountLater(_)
            | Output::Onlined(_)
            | Output::Missed(_) => {}
            Output::SettleLater(key, _) => self.unsettled.push((at, key)),
            Output::ForgetNews(channel, happening, number) => {
                let news = News {
                    number_of_channel: number_of(&channel),
                    name: node.name.clone().expect("a name while up"),
                    number,
                    happening,
                };
                node.told.push(news.clone());
                node.to_redis.push_back(Request::Forget(news));
            }
            Output::Happened {
                channel,
                happening,
                number,
                wait,
            } => {
                let news = News {
                    number_of_channel: number_of(&channel),
                    name: node.name.clone().expect("a name while up"),
                    number,
                    happening,
                };
                self.happened(at, news, wait.is_some());
            }
        }
    }

    fn happened(&mut self, at: usize, news: News, waits: bool) {
        let node = &mut self.nodes[at];
        if news.number > 0 && !node.open.insert(news.clone()) {
            return;
        }
        match waits {
            true => node.waiting.push(news),
            false => self.tell(at, news),
        }
    }

    fn tell(&mut self, at: usize, news: News) {
        let (who, change) = match &news.happening {
            Happening::Occupied => (None, 1),
            Happening::Vacated => (None, -1),
            Happening::MemberAdded(user_id) => (Some(user_id.clone()), 1),
            Happening::MemberRemoved(user_id) => (Some(user_id.clone()), -1),
            Happening::Count(_) | Happening::Restored => return,
        };
        let is_new = self.all_told.insert(news.clone());
        // Whoever dies between telling and forgetting has it told again.
        let may_repeat = matches!(self.faults, Faults::Deaths | Faults::All);
        assert!(is_new || may_repeat, "{} was told twice", news.field());
        if is_new {
            let name = key(news.number_of_channel).name.as_str().to_owned();
            *self.told.entry((name, who)).or_default() += change;
        }
        let node = &mut self.nodes[at];
        node.told.push(news.clone());
        node.to_redis.push_back(Request::Forget(news));
    }

    /// Asks whether something that has waited is to be told.
    fn claim(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.core.is_up() && !node.waiting.is_empty() {
            let which = self.random.random_range(0..node.waiting.len());
            let news = node.waiting.remove(which);
            node.claiming.push(news.clone());
            node.to_redis.push_back(Request::Claim(news));
        }
    }

    /// Whoever came and went was told of as often, and whoever is there once more.
    fn check_webhooks(
        &self,
        seed: u64,
        key: &ChannelKey,
        truth: &BTreeSet<Arc<str>>,
        is_occupied: bool,
    ) {
        let told = self
            .told
            .iter()
            .filter(|((name, _), _)| name == key.name.as_str());
        for ((_, who), difference) in told {
            let is_there = match who {
                None => is_occupied,
                Some(user_id) => truth.contains(user_id),
            };
            assert_eq!(*difference, i32::from(is_there), "seed {seed}, {who:?}");
        }
    }

    fn check_all_webhooks(&self, seed: u64) {
        for number in 0..CHANNELS {
            let key = key(number);
            let alive = self.nodes.iter().filter(|node| node.is_alive);
            let sockets = alive.flat_map(|node| node.sockets.values());
            let sockets: Vec<&Socket> = sockets.filter(|socket| socket.channel == key).collect();
            let truth = sockets.iter().filter_map(|s| s.user.clone()).collect();
            self.check_webhooks(seed, &key, &truth, !sockets.is_empty());
        }
    }

    fn leave(&mut self, at: usize, ticket: u64) {
        let socket = self.nodes[at].sockets.remove(&ticket).expect("a socket");
        let ask = Ask::Leave {
            worker: socket.worker,
            user_id: socket.user,
            rules: self.rules,
        };
        self.input(at, Input::Ask(socket.channel, ask));
    }

    /// One request is carried out; its answer and what it tells are on their way.
    fn redis_works(&mut self, at: usize) {
        let Some(request) = self.nodes[at].to_redis.pop_front() else {
            return;
        };
        match request {
            Request::Subscribe(key) => {
                self.topics.entry(key.clone()).or_default().insert(at);
                let stamp = self.sent();
                let subscribed = Input::Subscribed(key);
                let reply = Reply::Input(subscribed);
                self.nodes[at].answers.push_back((stamp, reply));
            }
            Request::Unsubscribe(key) => {
                if let Some(listeners) = self.topics.get_mut(&key) {
                    listeners.remove(&at);
                }
            }
            Request::Call(key, calls) => {
                let name = self.nodes[at].name.clone().expect("a name while up");
                let mut answers = Vec::new();
                let mut verdicts = Vec::new();
                let refuses = self.faults == Faults::All && self.random.random_bool(0.05);
                for call in &calls {
                    let is_refused = matches!(call, Call::Publish { .. })
                        && (self.refused > 0 || (refuses && self.random.random_bool(0.5)));
                    if is_refused {
                        self.refused = self.refused.saturating_sub(1);
                        verdicts.push(Verdict::Refused);
                        continue;
                    }
                    verdicts.push(Verdict::Taken);
                    let origin = self.nodes[at].core.origin().into();
                    let (answer, told) = self.redis.call(&key, &name, &origin, call);
                    let may_be_lost = self.was_emptied || !matches!(answer, Answer::Lost);
                    assert!(may_be_lost, "Redis has lost nothing");
                    answers.push(answer);
                    let from = match call {
                        Call::Publish { .. } => origin,
                        _ => name.clone(),
                    };
                    self.spread(&key, &from, told);
                }
                let stamp = self.sent();
                let answers = Reply::Input(match verdicts.contains(&Verdict::Refused) {
                    true => Input::Refused(key, verdicts),
                    false => Input::Answers(key, answers),
                });
                self.nodes[at].answers.push_back((stamp, answers));
            }
            Request::Claim(news) => {
                let key = key(news.number_of_channel);
                let teller = self.nodes[at].name.clone().expect("a name while up");
                let word = news.happening.word();
                let claim = self.redis.claim(&key, &word, &news.named(), &teller);
                let stamp = self.sent();
                let reply = Reply::Claimed(news, claim);
                self.nodes[at].answers.push_back((stamp, reply));
            }
            Request::Forget(news) => {
                let key = key(news.number_of_channel);
                self.redis.forget_news(&key, &news.field());
                let node = &mut self.nodes[at];
                node.told.retain(|other| *other != news);
                node.open.remove(&news);
            }
        }
    }

    fn spread(&mut self, key: &ChannelKey, node: &Arc<str>, told: Told) {
        let listeners = self.topics.get(key).cloned().unwrap_or_default();
        for (sequence, what, number, events) in told {
            for listener in &listeners {
                let message = Message {
                    sequence,
                    origin: node.clone(),
                    what: what.clone(),
                    number,
                    events,
                };
                let input = Input::Message(key.clone(), message);
                let stamp = self.sent();
                self.nodes[*listener].messages.push_back((stamp, input));
            }
        }
    }

    /// The connection is gone: some of what was on its way was carried out, nobody knows what.
    fn cut(&mut self, at: usize) {
        self.hear_the_last(at);
        self.forget_connection(at);
        self.unaware.remove(&at);
        self.input(at, Input::Down);
    }

    fn hear_the_last(&mut self, at: usize) {
        let carried_out = self.random.random_range(0..=self.nodes[at].to_redis.len());
        for _ in 0..carried_out {
            self.redis_works(at);
        }
        // What Redis sent before the last answer that was taken has come.
        while let Some((stamp, _)) = self.nodes[at].messages.front()
            && *stamp < self.nodes[at].answered
        {
            self.take_message(at);
        }
    }

    /// A sign of life finds out that Redis was emptied.
    fn notice(&mut self, at: usize) {
        if self.unaware.remove(&at) {
            self.hear_the_last(at);
            // the news that it is about to claim or forget are no part of what it forgets
            let node = &mut self.nodes[at];
            let is_of_news =
                |request: &Request| matches!(request, Request::Claim(_) | Request::Forget(_));
            node.to_redis.retain(is_of_news);
            node.answers
                .retain(|(_, reply)| matches!(reply, Reply::Claimed(..)));
            self.input(at, Input::Down);
            self.up(at);
        }
    }

    fn up(&mut self, at: usize) {
        let was_emptied = self.emptied.remove(&at);
        self.input(at, Input::Up { was_emptied });
    }

    /// Redis loses everything, and perhaps its connections.
    fn empty(&mut self, cuts: bool) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].is_alive && self.nodes[at].core.is_up() {
                match cuts {
                    true => self.cut(at),
                    false => drop(self.unaware.insert(at)),
                }
            }
        }
        self.forget();
        if cuts {
            self.topics.clear();
        }
    }

    fn forget(&mut self) {
        self.redis.forget();
        self.was_emptied = true;
        self.emptied.extend(0..self.nodes.len());
    }

    /// Everybody has been waited for.
    fn lose_patience(&mut self) {
        self.redis.lose_patience();
        for (at, key) in std::mem::take(&mut self.unsettled) {
            if self.nodes[at].is_alive {
                self.input(at, Input::Ask(key, Ask::Settle));
            }
        }
    }

    fn forget_connection(&mut self, at: usize) {
        for listeners in self.topics.values_mut() {
            listeners.remove(&at);
        }
        let node = &mut self.nodes[at];
        node.to_redis.clear();
        node.answers.clear();
        node.messages.clear();
        node.waiting.append(&mut node.claiming);
    }

    fn connect(&mut self, at: usize) {
        // Sometimes it was taken for dead in the meantime and goes on by another name.
        let may_be_dead = matches!(self.faults, Faults::Deaths | Faults::All);
        let may_be_dead = may_be_dead && self.staying.is_empty();
        let was_declared_dead = may_be_dead && self.random.random_bool(0.3);
        let node = &mut self.nodes[at];
        if node.name.is_none() || was_declared_dead {
            self.names += 1;
            self.dead.extend(node.name.take());
            node.name = Some(format!("node{}", self.names).into());
            node.core.forget_lives();
        }
        let told = node.told.iter().cloned();
        node.to_redis.extend(told.map(Request::Forget));
        self.up(at);
    }

    /// The survivors take away what dead nodes had.
    fn sweep(&mut self) {
        let up: Vec<usize> = (0..self.nodes.len())
            .filter(|at| self.nodes[*at].is_alive && self.nodes[*at].core.is_up())
            .collect();
        if up.is_empty() {
            return;
        }
        let by = up[self.random.random_range(0..up.len())];
        let teller = self.nodes[by].name.clone().expect("a name while up");
        for name in std::mem::take(&mut self.dead) {
            let mut has_news = false;
            for number_of_channel in 0..CHANNELS {
                let key = key(number_of_channel);
                let mut told = Told::new();
                self.names += 1;
                let number = (1 << 63) + self.names;
                let answer = self.redis.register(
                    &key,
                    &name,
                    &Holding::NOTHING,
                    (number, self.rules, &teller),
                    &mut told,
                );
                self.spread(&key, &name, told);
                let Answer::Registered(registered) = answer else {
                    continue;
                };
                has_news |= !registered.news.is_empty();
                for open in registered.news {
                    let news = News {
                        number_of_channel,
                        name: name.clone(),
                        number: open.number,
                        happening: open.happening,
                    };
                    self.happened(by, news, open.is_held);
                }
            }
            if has_news {
                self.dead.push(name);
            }
        }
    }

    fn step(&mut self) {
        let at = self.random.random_range(0..self.nodes.len());
        if !self.nodes[at].is_alive {
            return;
        }
        let is_up = self.nodes[at].core.is_up();
        match self.random.random_range(0..100) {
            0..12 => self.join(at),
            12..20 => self.part(at),
            20..30 => self.publish(at),
            30..55 => self.redis_works(at),
            55..75 => {
                self.take_answer(at);
            }
            75..95 => {
                self.take_message(at);
            }
            95 if self.faults != Faults::None && is_up => self.cut(at),
            96 | 97 if !is_up => self.connect(at),
            97 if is_up => self.notice(at),
            98 if self.faults == Faults::All && self.random.random_bool(0.2) => {
                self.lose_patience();
            }
            98 if matches!(self.faults, Faults::Deaths | Faults::All) => self.sweep(),
            99 if matches!(self.faults, Faults::Deaths | Faults::All)
                && self.random.random_bool(0.1) =>
            {
                self.disaster(at);
            }
            _ => self.claim(at),
        }
    }

    fn disaster(&mut self, at: usize) {
        if self.faults == Faults::All && self.random.random_bool(0.5) {
            let cuts = self.random.random_bool(0.7);
            self.empty(cuts);
        } else if self.nodes.iter().filter(|node| node.is_alive).count() > 1 {
            self.die(at);
        }
    }

    fn die(&mut self, at: usize) {
        self.forget_connection(at);
        self.unaware.remove(&at);
        let node = &mut self.nodes[at];
        node.is_alive = false;
        node.sockets.clear();
        (node.told, node.waiting) = (Vec::new(), Vec::new());
        self.dead.extend(node.name.take());
    }

    /// What is on its way to and from these nodes arrives.
    fn work_off(&mut self, nodes: &[usize]) {
        for _ in 0..20 {
            for at in nodes {
                self.redis_works(*at);
                self.take_message(*at);
                self.take_answer(*at);
            }
        }
    }

    fn join(&mut self, at: usize) {
        if self.nodes[at].sockets.len() <= 8 {
            let number = self.random.random_range(0..CHANNELS);
            self.join_channel(at, number);
        }
    }

    fn join_channel(&mut self, at: usize, number: usize) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        let channel = key(number);
        let user: Arc<str> = self.random.random_range(0..USERS).to_string().into();
        let user = has_members(number).then_some(user);
        let worker = WorkerId(self.random.random_range(0..WORKERS));
        let member = user.clone().map(|user_id| {
            Arc::new(Member {
                user_id,
                user_info: "{}".into(),
            })
        });
        let socket = Socket {
            channel: channel.clone(),
            worker,
            user,
            seen: None,
            is_gone: false,
        };
        self.nodes[at].sockets.insert(ticket, socket);
        let ask = Ask::Join {
            worker,
            ticket: Ticket(ticket),
            member,
            members_max: 0,
            rules: self.rules,
        };
        self.input(at, Input::Ask(channel, ask));
        ticket
    }

    fn part(&mut self, at: usize) {
        let count = self.nodes[at].sockets.len();
        if count == 0 {
            return;
        }
        let which = self.random.random_range(0..count);
        let ticket = *self.nodes[at].sockets.keys().nth(which).expect("counted");
        let socket = self.nodes[at].sockets.get_mut(&ticket).expect("there");
        if let Some(user) = &socket.user
            && self
                .staying
                .contains(&(socket.channel.clone(), user.clone()))
        {
            return;
        }
        if socket.seen.is_some() {
            self.leave(at, ticket);
        } else {
            socket.is_gone = true;
        }
    }

    fn publish(&mut self, at: usize) {
        let number = self.random.random_range(0..CHANNELS);
        self.publish_to(at, number);
    }

    fn publish_to(&mut self, at: usize, number: usize) {
        let channel = key(number);
        let number = self.published.entry((at, channel.clone())).or_default();
        *number += 1;
        let event = event(at, *number);
        let ask = Ask::Publish {
            ticket: None,
            event,
        };
        self.input(at, Input::Ask(channel, ask));
    }

    /// Everything that is on its way arrives, everybody is connected, the dead are swept away, nobody is in doubt.
    fn settle(&mut self) {
        self.calm_down();
        self.lose_patience();
        self.calm_down();
    }

    /// The same, but who was lost may still be in doubt.
    fn calm_down(&mut self) {
        for at in 0..self.nodes.len() {
            self.notice(at);
            if self.nodes[at].is_alive && !self.nodes[at].core.is_up() {
                self.connect(at);
            }
        }
        for _ in 0..100_000 {
            self.sweep();
            let mut is_quiet = self.dead.is_empty();
            for at in 0..self.nodes.len() {
                if self.nodes[at].is_alive && !self.nodes[at].core.is_up() {
                    self.connect(at);
                }
                if self.nodes[at].is_alive {
                    self.claim(at);
                }
                self.redis_works(at);
                self.take_message(at);
                self.take_answer(at);
                let node = &self.nodes[at];
                let nothing_on_way =
                    node.to_redis.is_empty() && node.answers.is_empty() && node.messages.is_empty();
                let nothing_on_way = nothing_on_way && node.waiting.is_empty();
                is_quiet &= !node.is_alive || (nothing_on_way && node.core.is_quiet());
            }
            if is_quiet {
                return;
            }
        }
        panic!("never quiet");
    }

    /// Whoever has seen any event of a node has seen all that followed.
    fn check_events(&self, seed: u64, key: &ChannelKey, seen: &Seen) {
        for (node, events) in &seen.events {
            let last = self.published[&(*node, key.clone())];
            let expected: Vec<u64> = (events[0]..=last).collect();
            assert_eq!(*events, expected, "seed {seed}, events of node {node}");
        }
    }

    fn check(&self, seed: u64) {
        for number in 0..CHANNELS {
            let key = key(number);
            let sockets = || {
                let alive = self.nodes.iter().filter(|node| node.is_alive);
                let sockets = alive.flat_map(|node| node.sockets.values());
                sockets.filter(|socket| socket.channel == key)
            };
            let truth: BTreeSet<Arc<str>> = sockets().filter_map(|s| s.user.clone()).collect();
            for socket in sockets() {
                let seen = socket.seen.as_ref().expect("everybody was answered");
                assert_eq!(seen.members, truth, "seed {seed}");
                if matches!(self.faults, Faults::None | Faults::Cuts) && !seen.joined_alone {
                    self.check_events(seed, &key, seen);
                }
            }
            if self.faults != Faults::All {
                self.check_webhooks(seed, &key, &truth, sockets().count() > 0);
            }
            let left = self.redis.news.get(&key).filter(|left| !left.is_empty());
            assert_eq!(left, None, "seed {seed}");
            assert!(self.unsettled.is_empty(), "seed {seed}");
            match self.redis.channels.get(&key) {
                None => assert_eq!(sockets().count(), 0, "seed {seed}"),
                Some(state) => {
                    assert_eq!(state.total as usize, sockets().count(), "seed {seed}");
                    let members: BTreeSet<Arc<str>> = state
                        .members
                        .values()
                        .map(|text| parse_member(text).expect("a member").user_id.clone())
                        .collect();
                    assert_eq!(members, truth, "seed {seed}");
                }
            }
        }
    }
}

fn tell(socket: &mut Socket, position: u64, what: &What, may_lag: bool) {
    let Some(seen) = &mut socket.seen else {
        return;
    };
    if seen.since >= position {
        return;
    }
    match what {
        What::Event(event) => {
            let (node, number) = parse_event(event);
            let events = seen.events.entry(node).or_default();
            let last = events.last().copied().unwrap_or(0);
            // An event that a Redis without memory gave to nobody comes after those that went out together with it.
            let is_in_turn = number > last || (may_lag && !events.contains(&number));
            assert!(is_in_turn, "{number} after {last} of node {node}");
            events.push(number);
        }
        What::MemberAdded(member) => {
            assert!(
                seen.members.insert(member.user_id.clone()),
                "{} was added twice",
                member.user_id
            );
        }
        What::MemberRemoved(user_id) => {
            assert!(seen.members.remove(user_id), "{user_id} was not there");
        }
        What::MemberChanged(_)
        | What::Count(_)
        | What::Online(_)
        | What::Doubt(_)
        | What::Nothing => {}
    }
}

fn run(seed: u64, nodes: usize, steps: usize, faults: Faults) {
    let mut world = World::new(seed, nodes, faults);
    for at in 0..nodes {
        world.connect(at);
    }
    for _ in 0..steps {
        world.step();
    }
    world.settle();
    world.check(seed);
}

/// So many, unless the environment says otherwise: `RESOUND_SIMULATION_SEEDS=0..20000`.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let Ok(wanted) = std::env::var("RESOUND_SIMULATION_SEEDS") else {
        return 0..count;
    };
    let (from, to) = wanted.split_once("..").expect("two numbers");
    from.parse().expect("a number")..to.parse().expect("a number")
}

/// Between the last one who leaves a node and the next who joins there the channel may end and begin anew: another node is there.
#[test]
fn whoever_joins_a_channel_in_its_second_life_is_let_in() {
    for number in 0..CHANNELS {
        let mut world = World::new(0, 2, Faults::None);
        world.connect(0);
        world.connect(1);
        let first = world.join_channel(0, number);
        world.settle();
        world.leave(0, first);
        world.join_channel(0, number);
        world.redis_works(0);
        world.join_channel(1, number);
        for _ in 0..3 {
            world.redis_works(1);
            world.take_answer(1);
        }
        world.settle();
        world.check(0);
    }
}

/// Alone a node may count further than Redis has. Whoever joins there afterwards hears all the same who comes next.
#[test]
fn what_was_told_alone_to_those_who_left_hides_nothing_from_those_who_join() {
    for seed in 0..20 {
        let mut world = World::new(seed, 2, Faults::Cuts);
        world.connect(0);
        world.connect(1);
        world.join_channel(0, 0);
        let last = world.join_channel(1, 0);
        world.settle();
        // Redis hears of it, and its answer is lost
        world.leave(1, last);
        world.redis_works(1);
        world.cut(1);
        for _ in 0..10 {
            let ticket = world.join_channel(1, 0);
            world.leave(1, ticket);
        }
        world.connect(1);
        world.join_channel(1, 0);
        world.settle();
        for _ in 0..3 {
            world.join_channel(0, 0);
        }
        world.settle();
        world.check(seed);
    }
}

/// Whoever was lost is waited for also if the node that has named him has nobody there any more.
#[test]
fn who_does_not_come_back_leaves_though_nobody_is_left_who_named_him() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3, Faults::All);
        world.connect(0);
        world.connect(1);
        let first = world.join_channel(0, 0);
        world.join_channel(1, 0);
        world.settle();
        world.empty(true);
        world.die(1);
        for at in [2, 0] {
            world.connect(at);
            if at == 2 {
                world.join_channel(2, 0);
            }
            world.work_off(&[0, 2]);
        }
        world.leave(0, first);
        world.work_off(&[0, 2]);
        world.settle();
        world.check(seed);
    }
}

/// The last one on a node has gone, and another comes while it is alone.
#[test]
fn who_joins_alone_where_nobody_was_is_not_told_that_those_elsewhere_leave() {
    for seed in 0..20 {
        let mut world = World::new(seed, 2, Faults::All);
        world.connect(0);
        world.connect(1);
        let stays = world.join_channel(0, 0);
        let last = world.join_channel(1, 0);
        world.settle();
        let user = world.nodes[0].sockets[&stays].user.clone();
        world
            .staying
            .insert((key(0), user.expect("a member's channel")));
        world.empty(false);
        world.leave(1, last);
        world.join_channel(1, 0);
        world.redis_works(1);
        world.take_answer(1);
        world.cut(1);
        world.connect(1);
        world.work_off(&[1]);
        world.settle();
        world.check(seed);
    }
}

/// Redis loses everything while nodes have subscribers: whoever stays isn't told to leave, and webhooks aren't told anything twice.
fn lose_everything(seed: u64) {
    let mut world = World::new(seed, 3, Faults::Cuts);
    for at in 0..3 {
        world.connect(at);
    }
    for _ in 0..60 {
        let at = world.random.random_range(0..3);
        world.join(at);
    }
    world.settle();
    world.check(seed);
    world.check_all_webhooks(seed);
    // one user in two stays on each channel
    for number in 0..CHANNELS {
        for user in 0..USERS / 2 {
            let user: Arc<str> = user.to_string().into();
            world.staying.insert((key(number), user));
        }
    }
    let cuts = world.random.random_bool(0.7);
    world.empty(cuts);
    for _ in 0..world.random.random_range(0..40) {
        let at = world.random.random_range(0..3);
        match world.random.random_range(0..10) {
            0..3 => world.join(at),
            3..6 => world.part(at),
            6 => world.publish(at),
            7 => world.notice(at),
            8 if cuts && !world.nodes[at].core.is_up() => world.connect(at),
            _ => {
                world.redis_works(at);
                world.take_message(at);
                world.take_answer(at);
            }
        }
    }
    world.calm_down();
    for _ in 0..100 {
        world.step();
    }
    world.settle();
    // events that Redis remembered are lost with it
    world.faults = Faults::All;
    world.check(seed);
}

#[test]
fn who_stays_is_not_told_to_leave_when_redis_loses_everything() {
    for seed in seeds(1_500) {
        lose_everything(seed);
    }
}

/// Others of its batch are known by higher numbers when it is sent again.
#[test]
fn an_event_that_redis_refused_is_heard_once_by_everybody() {
    for is_empty in [false, true] {
        let mut world = World::new(0, 2, Faults::All);
        for at in [0, 1] {
            world.connect(at);
            world.join_channel(at, 0);
        }
        world.calm_down();
        let publish = |world: &mut World, count: u64| {
            for _ in 0..count {
                world.publish_to(0, 0);
            }
        };
        // the first goes out alone, the others together
        publish(&mut world, 4);
        world.redis_works(0);
        if is_empty {
            world.forget();
        } else {
            world.refused = 1;
        }
        world.take_answer(0);
        publish(&mut world, 1);
        for _ in 0..3 {
            world.redis_works(0);
            world.take_answer(0);
        }
        world.refused = 0;
        world.settle();
        for node in &world.nodes {
            for socket in node.sockets.values() {
                let seen = socket.seen.as_ref().expect("answered");
                let mut heard = seen.events[&0].clone();
                heard.sort_unstable();
                assert_eq!(heard, [1, 2, 3, 4, 5]);
            }
        }
    }
}

/// Redis may be emptied while its connections stay.
#[test]
fn a_join_finds_out_that_redis_has_forgotten_the_others() {
    for number in 0..CHANNELS {
        let mut world = World::new(0, 1, Faults::All);
        world.connect(0);
        world.join_channel(0, number);
        world.settle();
        world.forget();
        world.join_channel(0, number);
        world.settle();
        world.check(0);
    }
}

#[test]
fn members_are_right_everywhere_in_any_order() {
    for seed in seeds(300) {
        run(seed, 3, 400, Faults::None);
    }
}

#[test]
fn no_event_is_lost_however_often_connections_break() {
    for seed in seeds(1_500) {
        run(seed, 4, 600, Faults::Cuts);
    }
}

#[test]
fn everything_that_happens_is_told_whichever_nodes_die() {
    for seed in seeds(1_500) {
        run(seed, 4, 600, Faults::Deaths);
    }
}

#[test]
fn members_are_right_everywhere_after_any_faults() {
    for seed in seeds(1_500) {
        run(seed, 4, 600, Faults::All);
    }
}
