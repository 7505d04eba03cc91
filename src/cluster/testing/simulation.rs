//! Nodes on a simulated Redis, in random order: joins, leaves, events, lost connections, a Redis that comes back empty, nodes that die.
//! Whatever happens, a subscriber sees each member come and go in turns and no event twice; and when all is quiet, everybody sees
//! the same members: those that are there.

mod checks;
mod clients;
mod faults;
mod histories;
mod network;
mod nodes;
mod redis;
mod runs;

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
    /// events of which it says that nobody here will hear them
    missed: u64,
    /// channels that it was asked about and that it hasn't forgotten: of others nobody knows what they are called in Redis
    known: BTreeSet<String>,
    /// news that it has heard of and that aren't forgotten
    open: BTreeSet<News>,
    waiting: Vec<News>,
    /// Redis is asked about them
    claiming: Vec<News>,
    told: Vec<News>,
}

impl Node {
    /// Nothing is on its way, or it is dead.
    fn is_quiet(&self) -> bool {
        let nothing_on_way =
            self.to_redis.is_empty() && self.answers.is_empty() && self.messages.is_empty();
        !self.is_alive || (nothing_on_way && self.waiting.is_empty() && self.core.is_quiet())
    }
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
    /// some messages can't be read by who gets them
    skips: bool,
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
            missed: 0,
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
            skips: false,
        }
    }
}
