//! What a node does with what it is asked, what Redis answers and what other nodes tell: pure, so that every order of events can be
//! tried. [`Core::take`] is given one [`Input`] at a time and says in [`Output`]s what is to be done.
//!
//! Of each channel one batch of calls is on its way to Redis at a time, so what happens to a channel happens in the order in which it
//! was asked for. While Redis is away everything is done at once with what the node knows, and made up for when it is back.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{
    channel::{Channel, Pending, Phase, Told, What},
    scripts::{Joined, Left, Published, Registered},
};
use crate::{
    frame::Frame,
    hub::inbox::{ChannelKey, WorkerId},
    protocol::{presence::Member, socket_id::SocketId},
};

/// Names who waits for an answer; given by whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Calls of one channel that go out together.
const CALLS_MAX: usize = 256;

/// What happens to a node.
#[derive(Debug)]
pub enum Input {
    /// somebody on this node wants something
    Ask(ChannelKey, Ask),
    /// Redis has confirmed the subscription of the channel's topic
    Subscribed(ChannelKey),
    /// the answers to the last [`Output::Call`] for the channel, in order
    Answers(ChannelKey, Vec<Answer>),
    /// a message of the channel's topic
    Message(ChannelKey, Message),
    /// Redis is there: from now on, or again, perhaps for a node that was taken for dead and has another name now. What was
    /// on its way is lost.
    Up,
    /// Redis is away; whether calls on their way were carried out isn't known
    Down,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Join {
        worker: WorkerId,
        ticket: Ticket,
        member: Option<Arc<Member>>,
        /// 0 = no limit
        members_max: u32,
        tell_count: bool,
    },
    Leave {
        worker: WorkerId,
        user_id: Option<Arc<str>>,
        tell_count: bool,
    },
    Publish {
        ticket: Option<Ticket>,
        event: Arc<Event>,
    },
}

/// An event on its way.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    pub frame: Frame,
    pub except: Option<SocketId>,
    /// what a cache channel keeps, and for how many milliseconds
    pub kept: Option<(String, u64)>,
}

/// What is asked of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Join {
        member: Option<Arc<Member>>,
        members_max: u32,
        tell_count: bool,
        /// whether the answer must name all members
        list: bool,
    },
    Leave {
        user_id: Option<Arc<str>>,
        tell_count: bool,
    },
    Publish {
        /// counts this node's events on the channel
        number: u64,
        event: Arc<Event>,
    },
    Register {
        subscriptions: u32,
        seen: u64,
        members: Vec<(Arc<Member>, u32)>,
        tell_count: bool,
    },
}

/// What Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Joined(Joined),
    Left(Left),
    Published(Published),
    Registered(Registered),
}

/// A message of a channel's topic, understood.
#[derive(Clone, Debug)]
pub struct Message {
    pub sequence: u64,
    pub what: What,
    /// of an event: which process it comes from, and its number among that process's events
    pub origin: Arc<str>,
    pub number: u64,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// ask Redis for the channel's messages, then say [`Input::Subscribed`]
    Subscribe(ChannelKey),
    Unsubscribe(ChannelKey),
    /// put these to Redis as one batch, then say [`Input::Answers`]
    Call(ChannelKey, Vec<Call>),
    /// give this to the subscribers of these workers that joined before this position
    Tell {
        channel: ChannelKey,
        workers: Vec<WorkerId>,
        position: u64,
        what: What,
    },
    /// a join was answered: what is told from this position on is for the joiner
    Joined {
        channel: ChannelKey,
        worker: WorkerId,
        ticket: Ticket,
        since: u64,
        members: Vec<Arc<Member>>,
    },
    /// a join was refused: the channel has as many members as it may
    Full {
        worker: WorkerId,
        ticket: Ticket,
    },
    /// an event was taken
    Published {
        ticket: Ticket,
        subscriptions: u32,
    },
    /// something happened in the cluster that this node alone tells the webhooks
    Happened(ChannelKey, Happening),
    /// events of other nodes were missed
    Missed(u64),
    /// nothing is known of the channel any more
    Forgotten(ChannelKey),
}

/// What webhooks tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    Occupied,
    Vacated,
    MemberAdded(Arc<str>),
    MemberRemoved(Arc<str>),
}

/// An event that waits for Redis to be back.
#[derive(Debug)]
struct Kept {
    channel: ChannelKey,
    number: u64,
    event: Arc<Event>,
}

/// See the module's documentation.
pub struct Core {
    /// names this process as the origin of events, whatever the node is called
    origin: Arc<str>,
    is_up: bool,
    channels: HashMap<ChannelKey, Channel>,
    /// events for other nodes, in order, while Redis is away
    backlog: VecDeque<Kept>,
    backlog_bytes: usize,
    backlog_bytes_max: usize,
    /// events that did not fit
    dropped: u64,
    /// the last number given to an event of this node
    number: u64,
}

impl Core {
    /// `origin`: no other process ever has it. `backlog_bytes_max`: of events that wait while Redis is away.
    pub fn new(origin: Arc<str>, backlog_bytes_max: usize) -> Core {
        Core {
            origin,
            is_up: false,
            channels: HashMap::new(),
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            backlog_bytes_max,
            dropped: 0,
            number: 0,
        }
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether anything is known of the channel.
    pub fn knows(&self, channel: &ChannelKey) -> bool {
        self.channels.contains_key(channel)
    }

    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// Events that wait for Redis, and those that were dropped since the start because too many did.
    pub fn backlog(&self) -> (usize, u64) {
        (self.backlog.len(), self.dropped)
    }

    /// The channel as the subscribers here know it; `None` without any.
    pub fn present(&self, channel: &ChannelKey) -> Option<Vec<Arc<str>>> {
        let channel = self.channels.get(channel)?;
        (!channel.workers.is_empty()).then(|| channel.present.keys().cloned().collect())
    }

    /// Nothing is on its way or waits.
    pub fn is_quiet(&self) -> bool {
        self.channels.values().all(Channel::is_quiet) && self.backlog.is_empty()
    }

    pub fn take(&mut self, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Ask(key, ask) => self.ask(key, ask, out),
            Input::Subscribed(key) => {
                if let Some(channel) = self.channels.get_mut(&key)
                    && channel.phase == Phase::Subscribing
                {
                    channel.phase = Phase::Live;
                    self.pump(&key, out);
                }
            }
            Input::Answers(key, answers) => self.answers(&key, answers, out),
            Input::Message(key, message) => self.message(&key, message, out),
            Input::Up => self.up(out),
            Input::Down => self.down(out),
        }
    }

    fn ask(&mut self, key: ChannelKey, ask: Ask, out: &mut Vec<Output>) {
        let pending = self.number(ask);
        let channel = self.channels.entry(key.clone()).or_default();
        if self.is_up {
            channel.waiting.push_back(pending);
            self.pump(&key, out);
        } else {
            self.alone(&key, pending, out);
            self.drop_if_idle(&key, out);
        }
    }

    fn number(&mut self, ask: Ask) -> Pending {
        let number = match ask {
            Ask::Publish { .. } => {
                self.number += 1;
                self.number
            }
            _ => 0,
        };
        Pending { ask, number }
    }

    /// Puts to Redis what waits, if it is its turn.
    fn pump(&mut self, key: &ChannelKey, out: &mut Vec<Output>) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        if !self.is_up || channel.is_registering || !channel.on_way.is_empty() {
            return;
        }
        let wants_messages = match channel.is_to_register {
            true => channel.has_anybody(),
            false => matches!(
                channel.waiting.front(),
                Some(Pending {
                    ask: Ask::Join { .. },
                    ..
                })
            ),
        };
        match channel.phase {
            Phase::Subscribing => return,
            Phase::Apart if wants_messages => {
                channel.phase = Phase::Subscribing;
                out.push(Output::Subscribe(key.clone()));
                return;
            }
            Phase::Apart | Phase::Live => {}
        }
        if channel.is_to_register {
            channel.is_registering = true;
            channel.is_synced = false;
            out.push(Output::Call(key.clone(), vec![channel.registration()]));
            return;
        }
        let calls = channel.next_calls(CALLS_MAX);
        if calls.is_empty() {
            self.drop_if_idle(key, out);
        } else {
            out.push(Output::Call(key.clone(), calls));
        }
    }

    fn drop_if_idle(&mut self, key: &ChannelKey, out: &mut Vec<Output>) {
        if let Some(channel) = self.channels.get(key)
            && channel.is_quiet()
            && channel.workers.is_empty()
        {
            if channel.phase != Phase::Apart {
                out.push(Output::Unsubscribe(key.clone()));
            }
            self.channels.remove(key);
            out.push(Output::Forgotten(key.clone()));
        }
    }

    fn answers(&mut self, key: &ChannelKey, answers: Vec<Answer>, out: &mut Vec<Output>) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        let mut answers = answers.into_iter();
        if channel.is_registering {
            if let Some(Answer::Registered(registered)) = answers.next() {
                channel.registered(key, registered, out);
            }
        } else {
            for pending in std::mem::take(&mut channel.on_way) {
                if let Some(answer) = answers.next() {
                    channel.answered(key, pending, answer, out);
                }
            }
        }
        self.pump(key, out);
    }

    fn message(&mut self, key: &ChannelKey, message: Message, out: &mut Vec<Output>) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        if channel.phase != Phase::Live {
            return;
        }
        let is_repeated = channel.has_seen(&message, &self.origin);
        let told = Told {
            sequence: message.sequence,
            what: match is_repeated {
                true => What::Nothing,
                false => message.what,
            },
        };
        channel.hear(key, told, out);
        self.pump(key, out);
    }

    /// Redis is away: what is on its way and what waits is done at once, with what is known here.
    fn down(&mut self, out: &mut Vec<Output>) {
        if !self.is_up {
            return;
        }
        self.is_up = false;
        let mut keys: Vec<ChannelKey> = self.channels.keys().cloned().collect();
        keys.sort_unstable_by(|a, b| (a.app, &a.name).cmp(&(b.app, &b.name)));
        for key in keys {
            let Some(channel) = self.channels.get_mut(&key) else {
                continue;
            };
            let pending = channel.part(&key, out);
            for pending in pending {
                self.alone(&key, pending, out);
            }
        }
    }

    /// What Redis would do, done with what is known here.
    fn alone(&mut self, key: &ChannelKey, pending: Pending, out: &mut Vec<Output>) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        if let Ask::Publish { event, .. } = &pending.ask {
            let kept = Kept {
                channel: key.clone(),
                number: pending.number,
                event: event.clone(),
            };
            channel.alone(key, pending, out);
            self.keep(kept);
        } else {
            channel.is_to_register = true;
            channel.alone(key, pending, out);
        }
    }

    fn keep(&mut self, kept: Kept) {
        self.backlog_bytes += kept.event.bytes();
        self.backlog.push_back(kept);
        while self.backlog_bytes > self.backlog_bytes_max
            && let Some(oldest) = self.backlog.pop_front()
        {
            self.backlog_bytes -= oldest.event.bytes();
            self.dropped += 1;
        }
    }

    /// Redis is there: registers what this node has, then lets out what waited.
    fn up(&mut self, out: &mut Vec<Output>) {
        if self.is_up {
            self.down(out);
        }
        self.is_up = true;
        self.backlog_bytes = 0;
        for kept in std::mem::take(&mut self.backlog) {
            let channel = self.channels.entry(kept.channel).or_default();
            channel.waiting.push_back(Pending {
                ask: Ask::Publish {
                    ticket: None,
                    event: kept.event,
                },
                number: kept.number,
            });
        }
        let mut keys: Vec<ChannelKey> = self.channels.keys().cloned().collect();
        keys.sort_unstable_by(|a, b| (a.app, &a.name).cmp(&(b.app, &b.name)));
        for key in keys {
            self.pump(&key, out);
        }
    }
}

impl Event {
    /// The text of the frame, as other nodes get it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.frame.payload()).into_owned()
    }

    fn bytes(&self) -> usize {
        let kept = self.kept.as_ref().map_or(0, |(text, _)| text.len());
        self.frame.as_bytes().len() + kept
    }
}
