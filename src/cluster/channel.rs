//! One channel as a node knows it: its own subscribers, and what they have been told.

mod alone;
mod answers;
mod registration;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    rules::Rules,
    terms::{Ask, Call, Event, Happening, Kept, Message, Output, Telling, View, Wanted, What},
};
use crate::{
    hub::inbox::{ChannelKey, WorkerId},
    protocol::presence::Member,
};

/// Messages of a channel that wait for a registration. Of a busy one more come than Redis remembers by default.
const HELD_MAX: usize = 4_096;

/// Other processes whose last event on a channel is remembered: more than there are at a time. Each that is started anew is another one.
const PUBLISHERS_MAX: usize = 1_024;

/// The last edition of any channel's list of members.
static EDITIONS: AtomicU64 = AtomicU64::new(0);

/// How far the channel is connected with the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// not at all: nobody here is subscribed, or Redis is away
    #[default]
    Apart,
    /// Redis was asked for the channel's messages
    Subscribing,
    /// what happens to the channel is heard
    Live,
}

/// A message on its way to the subscribers here.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) sequence: u64,
    pub(super) what: What,
}

/// An ask that Redis is working on, or that waits for its turn.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) ask: Ask,
    /// of an event: its number among this process's; of a join or leave that is on its way: that of its news
    pub(super) number: u64,
    /// it has waited while Redis was away
    pub(super) is_late: bool,
    /// Redis may have taken it before: only by the same number would others know
    pub(super) may_be_known: bool,
    /// the subscribers here have got it
    pub(super) is_told: bool,
}

/// What became of a member while Redis was away.
#[derive(Debug)]
enum Alone {
    /// Redis didn't know him
    Came,
    /// this is what Redis knew
    Changed(Arc<Member>),
    Left(Arc<Member>),
}

#[derive(Debug, Default)]
pub(super) struct Channel {
    /// this process, as the origin of events
    origin: Arc<str>,
    pub(super) phase: Phase,
    /// Redis was asked for the channel's messages at some time, which it has written down
    pub(super) is_noted: bool,
    /// subscribers of each worker that has some
    pub(super) workers: Vec<(WorkerId, u32)>,
    /// members with connections here
    own: HashMap<Arc<str>, (Arc<Member>, u32)>,
    /// everybody on a presence channel, as all subscribers here have been told
    pub(super) present: HashMap<Arc<str>, Arc<Member>>,
    /// of this list; no other list of this process ever has it
    edition: u64,
    /// of the last message that the subscribers here were given
    pub(super) sequence: u64,
    /// of the last message of Redis that the subscribers here were given: all before it were given too, or are counted as missed
    heard: u64,
    /// events until then
    heard_events: u64,
    /// every message until `sequence` has come, and the next one follows it
    pub(super) is_synced: bool,
    pub(super) waiting: VecDeque<Pending>,
    pub(super) on_way: Vec<Pending>,
    /// events that wait for Redis to be back
    pub(super) late: usize,
    /// the joins on their way ask for all that there is to know of the channel
    asked_for_all: bool,
    /// joins that Redis has taken at this sequence, of which the messages until then haven't come yet
    arriving: VecDeque<(u64, Pending)>,
    /// a registration is on its way, alone
    pub(super) is_registering: bool,
    /// of the registration on its way, for news that come of it
    pub(super) registration_number: u64,
    /// must register before anything else is asked of Redis
    pub(super) is_to_register: bool,
    /// of the channel in Redis, while this node has somebody there; 0 = none is known
    life: u64,
    /// Redis may have ended that life because of what this node has asked, though its answer never came
    may_have_ended: bool,
    /// Redis has lost this life of the channel, and is to be told who was there
    is_lost: bool,
    /// members who came or went since Redis knew
    alone: HashMap<Arc<str>, Alone>,
    /// it is planned to find out who is there
    is_settling: bool,
    /// messages that came before it is known where they belong
    held: VecDeque<Message>,
    /// and one that can't be read was among them
    has_skipped: bool,
    /// the last event of each other process, by number, and when it came, by sequence: one that comes again is known by it
    numbers: HashMap<Arc<str>, (u64, u64)>,
    /// the last of our own events that the subscribers here got
    own_seen: u64,
    /// our own events that Redis has taken and that haven't come back yet, by number: a Redis Cluster's answer may come though another of
    /// its connections ends before the message is read
    taken: VecDeque<(u64, Arc<Event>)>,
    /// the event of a cache channel, as all subscribers here know it
    cached: Option<Kept>,
    /// whether a watched user is there, likewise
    is_online: bool,
    /// how many subscriptions there are, as told last and at which sequence
    count: Option<(u64, u32)>,
    /// a telling of the number of subscriptions is planned
    is_count_due: bool,
    /// of whoever came or left last
    rules: Rules,
    /// the news of calls of this process up to this number were told, or wait
    answered: u64,
}

impl Channel {
    /// `answered`: the last number that a call for the channel may have had.
    pub(super) fn new(origin: Arc<str>, answered: u64) -> Channel {
        Channel {
            origin,
            answered,
            ..Channel::default()
        }
    }

    /// Nothing is on its way, waits or must be made up for.
    pub(super) fn is_quiet(&self) -> bool {
        self.waiting.is_empty()
            && self.on_way.is_empty()
            && self.arriving.is_empty()
            && !self.is_registering
            && !self.is_to_register
            && self.late == 0
    }

    /// Whether anybody here is or will be a subscriber.
    pub(super) fn has_anybody(&self) -> bool {
        !self.workers.is_empty() || !self.arriving.is_empty()
    }

    /// Takes what waits, up to so many, as far as it may go out now. `number`: the last one given to anything of this process.
    /// `others_may_be_away`: Redis may not know yet who has subscribed elsewhere, so that it is to remember what it can give to nobody.
    pub(super) fn next_calls(
        &mut self,
        max: usize,
        has_cached: bool,
        others_may_be_away: bool,
        number: &mut u64,
    ) -> Vec<Call> {
        let is_late = others_may_be_away && !self.has_anybody();
        if !self.has_anybody() {
            self.forget_place();
        }
        let wanted = match (self.is_synced, has_cached) {
            (false, _) => Wanted::All,
            (true, true) => Wanted::Cached,
            (true, false) => Wanted::Nothing,
        };
        self.asked_for_all = wanted == Wanted::All;
        let mut calls = Vec::new();
        while calls.len() < max
            && let Some(pending) = self.waiting.front_mut()
        {
            let is_join = matches!(pending.ask, Ask::Join { .. });
            if is_join && self.phase != Phase::Live {
                break;
            }
            if let Ask::Join { .. } | Ask::Leave { .. } = pending.ask {
                *number += 1;
                pending.number = *number;
            }
            pending.is_late |= is_late;
            calls.push(pending.call(wanted));
            self.on_way.extend(self.waiting.pop_front());
        }
        calls
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            members: &self.present,
            edition: self.edition,
            cached: self.cached.as_ref(),
            is_online: self.is_online,
            count: self.count,
            sequence: self.sequence,
            subscriptions: self.subscriptions(),
        }
    }

    /// On this node.
    fn subscriptions(&self) -> u32 {
        self.workers.iter().map(|(_, count)| count).sum()
    }

    /// What is to be told of a message: nothing, if it is an event that the subscribers here have got already.
    fn news(&mut self, message: Message) -> What {
        if message.sequence > self.heard {
            self.heard = message.sequence;
            if message.events > 0 {
                self.heard_events = message.events;
            }
        }
        if !matches!(message.what, What::Event(_)) {
            return message.what;
        }
        if message.origin == self.origin {
            return self.own_news(message);
        }
        let is_known = self.numbers.contains_key(&message.origin);
        if !is_known && self.numbers.len() >= PUBLISHERS_MAX {
            self.forget_publisher();
        }
        let last = self.numbers.entry(message.origin).or_default();
        if message.number <= last.0 {
            return What::Nothing;
        }
        *last = (message.number, message.sequence);
        message.what
    }

    /// The process that has said nothing for longest has most likely ended.
    fn forget_publisher(&mut self) {
        let oldest = self.numbers.iter().min_by_key(|(_, (_, at))| *at);
        if let Some(oldest) = oldest.map(|(origin, _)| origin.clone()) {
            self.numbers.remove(&oldest);
        }
    }

    /// The same of one of our own events, in or out of its turn.
    fn own_news(&mut self, message: Message) -> What {
        if message.number <= self.own_seen {
            return What::Nothing;
        }
        self.own_seen = message.number;
        self.forget_taken();
        message.what
    }

    /// Of too many the first ones are let go: the registration finds them in what Redis remembers.
    fn await_message(&mut self, number: u64, event: Arc<Event>) {
        if self.taken.len() >= HELD_MAX {
            self.taken.pop_front();
        }
        self.taken.push_back((number, event));
    }

    fn forget_taken(&mut self) {
        while let Some((number, _)) = self.taken.front()
            && *number <= self.own_seen
        {
            self.taken.pop_front();
        }
    }

    /// A message has come. If others are missing before it, what the node has must be registered anew.
    pub(super) fn hear(&mut self, key: &ChannelKey, message: Message, out: &mut Vec<Output>) {
        let sequence = message.sequence;
        if let What::Doubt(doubt) = message.what {
            self.settle_later(key, Some(doubt), out);
        }
        if !self.is_synced {
            self.hold(message);
        } else if Some(sequence) == self.sequence.checked_add(1) {
            let what = self.news(message);
            self.tell(key, Told { sequence, what }, out);
            self.let_in(key, out);
        } else if sequence > self.sequence {
            self.lose_touch();
            self.hold(message);
        } else {
            // The answer to a registration has overtaken it.
            let sequence = self.sequence;
            let what = self.news(message);
            if let What::Event(_) = what {
                self.tell(key, Told { sequence, what }, out);
            }
        }
    }

    /// Keeps a message until it is known where it belongs. Of too many the first ones are let go: the registration finds them in what Redis
    /// remembers, or counts them as missed.
    fn hold(&mut self, message: Message) {
        if self.held.len() >= HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back(message);
    }

    /// One that can't be read has come: those after it don't follow what is known here.
    pub(super) fn skip(&mut self) {
        match self.is_synced {
            true => self.lose_touch(),
            // whether before or after what is being asked
            false => self.has_skipped = true,
        }
    }

    /// From now on it isn't known what was missed, until the channel is registered again.
    pub(super) fn lose_touch(&mut self) {
        self.is_synced = false;
        self.is_to_register = true;
    }

    /// Nobody is here. In Redis the channel may end and begin anew at another sequence at any time; and what was told here while Redis was
    /// away, perhaps at sequences that it gives to others now, nobody remembers.
    fn forget_place(&mut self) {
        self.is_synced = false;
        self.sequence = 0;
        self.heard = 0;
        self.heard_events = 0;
        self.life = 0;
        self.held.clear();
        self.taken.clear();
        self.count = None;
        if !self.present.is_empty() {
            self.present.clear();
            self.revised();
        }
    }

    /// From this sequence on every message is known to come. What came before its turn is told now.
    fn sync(&mut self, key: &ChannelKey, sequence: u64, out: &mut Vec<Output>) {
        self.is_synced = true;
        self.sequence = self.sequence.max(sequence);
        self.heard = self.heard.max(sequence);
        self.let_in(key, out);
        for message in std::mem::take(&mut self.held) {
            self.hear(key, message, out);
        }
        if std::mem::take(&mut self.has_skipped) {
            self.lose_touch();
        }
    }

    /// Tells the subscribers here. Members come and go only once, whoever says so.
    fn tell(&mut self, key: &ChannelKey, told: Told, out: &mut Vec<Output>) {
        if told.what.is_of_members() {
            self.revised();
        }
        let is_news = match &told.what {
            What::MemberAdded(member) => {
                let before = self.present.insert(member.user_id.clone(), member.clone());
                before.is_none()
            }
            What::MemberChanged(member) => {
                let known = self.present.get_mut(&member.user_id);
                if let Some(known) = known {
                    *known = member.clone();
                }
                false
            }
            What::MemberRemoved(user_id) => self.present.remove(user_id).is_some(),
            What::Event(event) => {
                if let Some(kept) = event.kept() {
                    self.cached = Some(kept);
                }
                true
            }
            What::Online(is_online) => {
                std::mem::replace(&mut self.is_online, *is_online) != *is_online
            }
            What::Count(count) => {
                self.count = Some((told.sequence, *count));
                true
            }
            What::Doubt(_) | What::Nothing => false,
        };
        self.sequence = self.sequence.max(told.sequence);
        if is_news && !self.workers.is_empty() {
            out.push(Output::Tell {
                channel: key.clone(),
                workers: self.workers.iter().map(|(worker, _)| *worker).collect(),
                position: told.sequence,
                what: told.what,
            });
        }
    }

    /// How many there are was told, or is to be told later.
    fn counted(
        &mut self,
        key: &ChannelKey,
        told: Telling,
        subscriptions: u32,
        out: &mut Vec<Output>,
    ) {
        match told {
            Telling::No => {}
            Telling::Done => {
                out.push(happened(key, Happening::Count(subscriptions), 0, None));
            }
            Telling::Later => {
                if !std::mem::replace(&mut self.is_count_due, true) {
                    out.push(Output::CountLater(key.clone()));
                }
            }
        }
    }

    /// The list of members is another one.
    fn revised(&mut self) {
        self.edition = EDITIONS.fetch_add(1, Ordering::Relaxed) + 1;
    }

    fn list(&mut self, members: Vec<Arc<Member>>) {
        let by_id = members.into_iter().map(|m| (m.user_id.clone(), m));
        self.present = by_id.collect();
        self.revised();
    }

    /// Lets those in of whom everybody here has been told.
    fn let_in(&mut self, key: &ChannelKey, out: &mut Vec<Output>) {
        while self.is_synced
            && let Some((sequence, _)) = self.arriving.front()
            && *sequence <= self.sequence
            && let Some((joined, pending)) = self.arriving.pop_front()
        {
            self.admit(key, pending, joined, out);
        }
    }

    /// `joined`: the sequence at which it joined.
    fn admit(&mut self, key: &ChannelKey, pending: Pending, joined: u64, out: &mut Vec<Output>) {
        let Ask::Join {
            worker,
            ticket,
            member,
            rules,
            ..
        } = pending.ask
        else {
            return;
        };
        self.rules = rules;
        if self.workers.is_empty() {
            out.push(Output::Opened(key.clone()));
        }
        self.add(worker, member.as_ref());
        out.push(Output::Joined { ticket, joined });
    }

    fn tell_next(&mut self, key: &ChannelKey, what: What, out: &mut Vec<Output>) {
        let sequence = self.sequence.saturating_add(1);
        self.tell(key, Told { sequence, what }, out);
    }

    fn add(&mut self, worker: WorkerId, member: Option<&Arc<Member>>) {
        match self.workers.iter_mut().find(|(known, _)| *known == worker) {
            Some((_, count)) => *count += 1,
            None => self.workers.push((worker, 1)),
        }
        if let Some(member) = member {
            let own = self.own.entry(member.user_id.clone());
            let (known, connections) = own.or_insert_with(|| (member.clone(), 0));
            *known = member.clone();
            *connections += 1;
        }
    }

    fn subtract(
        &mut self,
        key: &ChannelKey,
        worker: WorkerId,
        user_id: Option<&str>,
        out: &mut Vec<Output>,
    ) {
        let was_open = !self.workers.is_empty();
        if let Some(at) = self.workers.iter().position(|(known, _)| *known == worker) {
            self.workers[at].1 -= 1;
            if self.workers[at].1 == 0 {
                self.workers.swap_remove(at);
            }
        }
        if was_open && self.workers.is_empty() {
            out.push(Output::Closed(key.clone()));
        }
        if let Some(user_id) = user_id
            && let Some((_, connections)) = self.own.get_mut(user_id)
        {
            *connections -= 1;
            if *connections == 0 {
                self.own.remove(user_id);
            }
        }
    }
}

impl Pending {
    /// `wanted`: in the answer to a join.
    fn call(&self, wanted: Wanted) -> Call {
        match &self.ask {
            Ask::Join {
                member,
                members_max,
                rules,
                ..
            } => Call::Join {
                member: member.clone(),
                members_max: *members_max,
                rules: *rules,
                wanted,
                number: self.number,
            },
            Ask::Leave { user_id, rules, .. } => Call::Leave {
                user_id: user_id.clone(),
                rules: *rules,
                number: self.number,
            },
            Ask::Publish { event, .. } => Call::Publish {
                number: self.number,
                event: event.clone(),
                is_late: self.is_late,
            },
            Ask::Online(is_online, _) => Call::Online(*is_online),
            // settled otherwise: see the core
            Ask::Count | Ask::Settle => Call::Count,
        }
    }
}

fn happened(key: &ChannelKey, happening: Happening, number: u64, wait: Option<Duration>) -> Output {
    Output::Happened {
        channel: key.clone(),
        happening,
        number,
        wait,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{cluster::terms::Body, frame::Frame};

    #[test]
    fn of_processes_that_have_ended_nothing_is_remembered_for_ever() {
        let mut channel = Channel::new("here".into(), 0);
        let mut is_news = |origin: u64, number: u64, sequence: u64| {
            let event = Event {
                body: Body::Frame(Frame::text("{}")),
                except: None,
                cached_for: None,
                published: Instant::now(),
            };
            let what = channel.news(Message {
                sequence,
                what: What::Event(Arc::new(event)),
                origin: origin.to_string().as_str().into(),
                number,
                events: sequence,
            });
            (what != What::Nothing, channel.numbers.len())
        };
        let most = PUBLISHERS_MAX as u64;
        for at in 1..=2 * most {
            assert!(is_news(0, at, 2 * at).0);
            let (is_first, remembered) = is_news(at, 1, 2 * at + 1);
            assert!(is_first && remembered <= PUBLISHERS_MAX);
        }
        assert!(!is_news(0, 2 * most, 5 * most).0);
        assert!(!is_news(2 * most, 1, 5 * most).0);
        assert!(!is_news(most + 10, 1, 5 * most).0);
    }
}
