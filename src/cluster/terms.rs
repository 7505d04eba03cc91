//! The words in which a node, Redis and the other nodes speak of channels: what is asked, called, answered and told. Pure data.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::rules::Rules;
use crate::{
    frame::Frame,
    hub::inbox::{ChannelKey, WorkerId},
    protocol::{presence::Member, socket_id::SocketId},
};

/// Names who waits for an answer; given by whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Join {
        worker: WorkerId,
        ticket: Ticket,
        member: Option<Arc<Member>>,
        /// 0 = no limit
        members_max: u32,
        rules: Rules,
    },
    Leave {
        worker: WorkerId,
        user_id: Option<Arc<str>>,
        rules: Rules,
    },
    Publish {
        ticket: Option<Ticket>,
        event: Arc<Event>,
    },
    /// on the channel of those who watch a user: whether he is there
    Online(bool, Ticket),
    /// tell how many subscriptions there are, which was put off
    Count,
    /// it was in doubt who is there, since Redis had lost the channel: now it should be known
    Settle,
}

/// An event on its way.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    pub body: Body,
    /// the connection that must not get it
    pub except: Option<SocketId>,
    /// how long a cache channel keeps it
    pub cached_for: Option<Duration>,
    /// when it came to this node
    pub published: Instant,
}

/// What an event does.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// is given to the subscribers
    Frame(Frame),
    /// closes the subscribers
    Close,
}

/// What a cache channel has, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub frame: Frame,
    pub until: Instant,
}

/// What the answer to a join must name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Nothing,
    /// the cached event
    Cached,
    /// the cached event and all members
    All,
}

/// What is asked of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Join {
        member: Option<Arc<Member>>,
        members_max: u32,
        rules: Rules,
        wanted: Wanted,
        /// of the news: grows with every call of this process for the channel
        number: u64,
    },
    Leave {
        user_id: Option<Arc<str>>,
        rules: Rules,
        /// of the news
        number: u64,
    },
    Publish {
        /// counts this process's events
        number: u64,
        event: Arc<Event>,
        /// it has waited while Redis was away
        is_late: bool,
    },
    Register {
        subscriptions: u32,
        /// the highest sequence that subscribers here have been given
        seen: u64,
        /// everything up to this sequence was heard, and so many events; 0 = nothing
        heard: (u64, u64),
        /// the life of the channel that is known here; 0 = none
        life: u64,
        members: Vec<Present>,
        /// if Redis is known to have lost the channel
        lost: Option<Lost>,
        rules: Rules,
        /// of the news
        number: u64,
    },
    Online(bool),
    Count,
}

/// A member with connections to this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    pub member: Arc<Member>,
    pub connections: u32,
    /// said something else of itself while Redis was away
    pub is_latest: bool,
}

/// What Redis had of a channel, as far as it is known here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    pub members: Vec<Arc<Member>>,
    /// of subscriptions, as told last
    pub count: Option<u32>,
    pub cached: Option<Kept>,
}

/// What Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Joined(Joined),
    Left(Left),
    Published(Published),
    Registered(Registered),
    /// to a registration: Redis has lost the channel, and must be told who was there
    Lost,
}

/// What became of a call of a batch that Redis hasn't taken as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Taken,
    /// it did nothing
    Refused,
    Unknown,
}

/// Whether the new number of subscriptions was told to everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Telling {
    /// nobody asked for it
    #[default]
    No,
    Done,
    /// large channels are told now and then: it is to be done some seconds later
    Later,
}

/// The answer to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// the channel has as many members as it may
    Full,
    Yes {
        sequence: u64,
        /// in the whole cluster
        subscriptions: u32,
        is_new_member: bool,
        told: Telling,
        /// the news that the channel was vacated are cancelled
        is_return: bool,
        /// the news that the member left are cancelled
        is_members_return: bool,
        /// the cached event, if that was asked for
        kept: Option<Kept>,
        /// everybody, the joiner included, if that was asked for
        members: Vec<String>,
        /// on the channel so far
        events: u64,
        /// of the channel, by its name; another one after Redis has lost it
        life: u64,
        /// for so long members may be listed who are gone
        doubt: Option<Duration>,
    },
}

/// The answer to a leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// `None`: the node had nothing to take away
    pub sequence: Option<u64>,
    pub subscriptions: u32,
    pub has_member_left: bool,
    pub told: Telling,
}

/// The answer to a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// `None`: nobody has subscribed
    pub sequence: Option<u64>,
    pub subscriptions: u32,
}

/// The answer to a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// `None`: the channel is empty
    pub sequence: Option<u64>,
    pub subscriptions: u32,
    /// events that the node can't hear any more
    pub missed: u64,
    /// on the channel so far
    pub events: u64,
    /// messages that the node hasn't heard, the latest first
    pub history: Vec<Message>,
    /// the node's that nobody has told and forgotten, in the order in which they happened
    pub news: Vec<Open>,
    pub members: Vec<String>,
    /// the cached event
    pub kept: Option<Kept>,
    /// of the channel, by its name; another one after Redis has lost it
    pub life: u64,
    /// for so long members may be listed who are gone
    pub doubt: Option<Duration>,
    /// ids of these members
    pub doubtful: Vec<String>,
    pub told: Telling,
}

/// News that are written down in Redis until they are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// of the call that made them
    pub number: u64,
    pub happening: Happening,
    /// they wait for a return
    pub is_held: bool,
}

/// A message of a channel's topic, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub sequence: u64,
    pub what: What,
    /// of an event: which process it comes from, and its number among that process's events
    pub origin: Arc<str>,
    pub number: u64,
    /// of an event: its number among the channel's
    pub events: u64,
}

/// What the local subscribers are to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Event(Arc<Event>),
    MemberAdded(Arc<Member>),
    /// said something else of itself (P-9): only who joins later is told
    MemberChanged(Arc<Member>),
    MemberRemoved(Arc<str>),
    Count(u32),
    /// to those who watch a user
    Online(bool),
    /// for so long it is in doubt who is there: to nobody
    Doubt(Duration),
    /// to nobody
    Nothing,
}

impl What {
    pub fn is_of_members(&self) -> bool {
        matches!(
            self,
            What::MemberAdded(_) | What::MemberChanged(_) | What::MemberRemoved(_)
        )
    }
}

/// What webhooks tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Happening {
    MemberRemoved(Arc<str>),
    Vacated,
    Occupied,
    MemberAdded(Arc<str>),
    /// of subscriptions in the whole cluster
    Count(u32),
    /// Redis had lost the channel, which was and is occupied
    Restored,
}

impl Happening {
    /// How it is written down in Redis.
    pub fn word(&self) -> String {
        match self {
            Happening::Occupied => "*".to_owned(),
            Happening::Vacated => ".".to_owned(),
            Happening::MemberAdded(user_id) => format!("+{user_id}"),
            Happening::MemberRemoved(user_id) => format!("-{user_id}"),
            Happening::Count(count) => format!("#{count}"),
            Happening::Restored => "!".to_owned(),
        }
    }

    /// The reverse of [`Happening::word`].
    pub fn parse(word: &str) -> Option<Happening> {
        let (kind, user_id) = word.split_at_checked(1)?;
        Some(match kind {
            "*" => Happening::Occupied,
            "." => Happening::Vacated,
            "+" => Happening::MemberAdded(user_id.into()),
            "-" => Happening::MemberRemoved(user_id.into()),
            _ => return None,
        })
    }
}

impl Event {
    /// One that closes the subscribers.
    pub fn close() -> Event {
        Event {
            body: Body::Close,
            except: None,
            cached_for: None,
            published: Instant::now(),
        }
    }

    /// The payload of the frame, as other nodes get it.
    pub fn payload(&self) -> &[u8] {
        match &self.body {
            Body::Frame(frame) => frame.payload(),
            Body::Close => &[],
        }
    }

    /// What a cache channel has by this event.
    pub fn kept(&self) -> Option<Kept> {
        let Body::Frame(frame) = &self.body else {
            return None;
        };
        Some(Kept {
            frame: frame.clone(),
            until: self.published + self.cached_for?,
        })
    }

    pub fn bytes(&self) -> usize {
        // what is kept beside the frame
        const FIXED: usize = 256;
        FIXED + self.payload().len()
    }
}

/// A member as Redis keeps it: the length of the user id, the id, the user info.
pub fn member_text(member: &Member) -> String {
    let (id, info) = (&member.user_id, &member.user_info);
    format!("{} {id}{info}", id.len())
}

/// The reverse of [`member_text`].
pub fn parse_member(text: &str) -> Option<Arc<Member>> {
    let (length, rest) = text.split_once(' ')?;
    let (id, info) = rest.split_at_checked(length.parse().ok()?)?;
    Some(Arc::new(Member {
        user_id: id.into(),
        user_info: info.into(),
    }))
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
    /// a join was answered: what is told after [`View::sequence`] is for the joiner
    Joined {
        ticket: Ticket,
        /// the sequence at which it joined; the view may be further
        joined: u64,
    },
    /// a join was refused: the channel has as many members as it may
    Full(Ticket),
    /// an event was taken
    Published(Ticket),
    /// the first subscriber on this node has come
    Opened(ChannelKey),
    /// the last one has gone
    Closed(ChannelKey),
    /// the channel is large: its number is to be told some seconds later ([`Ask::Count`])
    CountLater(ChannelKey),
    /// after this time it is to be known who is there ([`Ask::Settle`])
    SettleLater(ChannelKey, Duration),
    /// something happened in the cluster that this node alone tells the webhooks
    Happened {
        channel: ChannelKey,
        happening: Happening,
        /// of the news as they are written down in Redis; 0 = they aren't
        number: u64,
        /// the news wait for a return
        wait: Option<Duration>,
    },
    /// what was written down in Redis by the call of this number is no news
    ForgetNews(ChannelKey, Happening, u64),
    /// whether a user is there is known to those who watch him
    Onlined(Ticket),
    /// events of other nodes were missed
    Missed(u64),
    /// nothing is known of the channel any more
    Forgotten(ChannelKey),
}

/// A channel as the subscribers here know it.
pub struct View<'a> {
    pub members: &'a HashMap<Arc<str>, Arc<Member>>,
    /// of the list of members: while it is the same, so is the list; 0 = nobody has ever been on it
    pub edition: u64,
    /// the event of a cache channel; look at its time
    pub cached: Option<&'a Kept>,
    /// of a watched user
    pub is_online: bool,
    /// how many subscriptions the cluster has, as told last and at which sequence
    pub count: Option<(u64, u32)>,
    /// everything up to here has been told
    pub sequence: u64,
    /// on this node
    pub subscriptions: u32,
}
