//! One channel as a node knows it: its own subscribers, and what they have been told.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    rules::Rules,
    terms::{
        Answer, Ask, Call, Happening, Joined, Kept, Left, Lost, Message, Open, Output, Present,
        Published, Registered, Telling, Verdict, View, Wanted, What, parse_member,
    },
};
use crate::{
    hub::inbox::{ChannelKey, WorkerId},
    protocol::presence::Member,
};

/// Messages of a channel that wait for a registration. Of a busy one more come than Redis remembers by default.
const HELD_MAX: usize = 4_096;

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
    /// the last event of each other process, by number: one that comes again is known by it
    numbers: HashMap<Arc<str>, u64>,
    /// the last of our own events that the subscribers here got
    own_seen: u64,
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
    pub(super) fn next_calls(
        &mut self,
        max: usize,
        has_cached: bool,
        number: &mut u64,
    ) -> Vec<Call> {
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

    /// What Redis should have of this node: who is here, and who is arriving.
    pub(super) fn registration(&self, number: u64) -> Call {
        let mut members = self.own.clone();
        for (id, (member, _)) in &mut members {
            // what it said of itself last may have been said to another node
            if let Some(latest) = self.present.get(id) {
                *member = latest.clone();
            }
        }
        for (_, pending) in &self.arriving {
            if let Ask::Join {
                member: Some(member),
                ..
            } = &pending.ask
            {
                let id = member.user_id.clone();
                let known = members.entry(id).or_insert_with(|| (member.clone(), 0));
                known.0 = member.clone();
                known.1 += 1;
            }
        }
        let arriving = u32::try_from(self.arriving.len()).unwrap_or(u32::MAX);
        let members = members.into_values().map(|(member, connections)| Present {
            is_latest: self.alone.contains_key(&member.user_id),
            member,
            connections,
        });
        Call::Register {
            subscriptions: self.subscriptions().saturating_add(arriving),
            seen: self.sequence,
            heard: (self.heard, self.heard_events),
            life: self.life,
            members: members.collect(),
            lost: self.is_lost.then(|| self.lost()),
            rules: self.rules,
            number,
        }
    }

    /// What Redis had of the channel: what webhooks and other nodes were told, and needn't be told again.
    fn lost(&self) -> Lost {
        let here = self.present.values();
        let here = here.filter(|member| !self.alone.contains_key(&member.user_id));
        let changed = self.alone.values().filter_map(|alone| match alone {
            Alone::Came => None,
            Alone::Changed(member) | Alone::Left(member) => Some(member),
        });
        Lost {
            members: here.chain(changed).cloned().collect(),
            count: self.count.map(|(_, count)| count),
            cached: self.cached.clone(),
        }
    }

    /// It isn't known any more what Redis had of the channel before: it was taken from this node, which the others took for dead.
    pub(super) fn forget_life(&mut self) {
        self.life = 0;
        self.is_lost = false;
        self.may_have_ended = false;
    }

    /// Redis is there again. A channel that it doesn't know has been lost, if this node has always had somebody there: while it had, the
    /// channel could not end. If not, it may have ended as channels do, with the last one who left, and what was told of its end is
    /// no mistake: what comes is a new life, of which everything is told. Only if Redis is known to have come back empty nothing of
    /// that is left, and the channel is lost in any case.
    pub(super) fn is_back(&mut self, was_emptied: bool) {
        if std::mem::take(&mut self.may_have_ended) && !was_emptied {
            self.forget_life();
        }
    }

    /// Whether this node may have had nobody there as far as Redis knows, whatever it has taken of what is on its way.
    fn may_end(&self) -> bool {
        let leaves = self.on_way.iter();
        let leaves = leaves.filter(|pending| matches!(pending.ask, Ask::Leave { .. }));
        self.subscriptions() as usize + self.arriving.len() <= leaves.count()
    }

    /// It is time to know who is there: the channel is listed anew, if that is still in doubt.
    pub(super) fn settle(&mut self) {
        if std::mem::take(&mut self.is_settling) {
            self.lose_touch();
        }
    }

    fn settle_later(&mut self, key: &ChannelKey, doubt: Option<Duration>, out: &mut Vec<Output>) {
        // of other channels nothing is in doubt
        let is_concerned =
            key.name.kind().is_presence() || key.name.is_watchers() || self.rules.tell_count;
        if let Some(doubt) = doubt
            && is_concerned
            && !std::mem::replace(&mut self.is_settling, true)
        {
            out.push(Output::SettleLater(key.clone(), doubt));
        }
    }

    /// What is to be told of a message: nothing, if it is an event that the subscribers here have got already.
    fn news(&mut self, message: Message) -> What {
        self.heard = self.heard.max(message.sequence);
        self.heard_events = self.heard_events.max(message.events);
        if !matches!(message.what, What::Event(_)) {
            return message.what;
        }
        let last = if message.origin == self.origin {
            &mut self.own_seen
        } else {
            self.numbers.entry(message.origin).or_default()
        };
        if message.number <= *last {
            return What::Nothing;
        }
        *last = message.number;
        message.what
    }

    /// The same of one of our own events, out of its turn.
    fn own_news(&mut self, message: Message) -> What {
        if message.number <= self.own_seen {
            return What::Nothing;
        }
        self.own_seen = message.number;
        message.what
    }

    /// A message has come. If others are missing before it, what the node has must be registered anew.
    pub(super) fn hear(&mut self, key: &ChannelKey, message: Message, out: &mut Vec<Output>) {
        let sequence = message.sequence;
        if let What::Doubt(doubt) = message.what {
            self.settle_later(key, Some(doubt), out);
        }
        if !self.is_synced {
            self.hold(message);
        } else if sequence == self.sequence + 1 {
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

    /// Redis is away: nothing more will come of what was on its way. Returns what must be done without it.
    pub(super) fn part(&mut self, key: &ChannelKey, out: &mut Vec<Output>) -> Vec<Pending> {
        // Our own events go before those that come after them now; others wait for what is missing before them.
        let is_own = |message: &Message| message.origin == self.origin;
        let (own, others): (VecDeque<Message>, VecDeque<Message>) =
            std::mem::take(&mut self.held).into_iter().partition(is_own);
        self.held = others;
        for message in own {
            let what = self.own_news(message);
            self.tell_next(key, what, out);
        }
        self.phase = Phase::Apart;
        self.may_have_ended |= self.may_end();
        self.is_registering = false;
        self.is_lost = false;
        // Whatever Redis has of us there: who knows.
        self.lose_touch();
        let arriving = std::mem::take(&mut self.arriving);
        let mut on_way = std::mem::take(&mut self.on_way);
        for pending in &mut on_way {
            pending.may_be_known = true;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let arriving = arriving.into_iter().map(|(_, pending)| pending);
        arriving.chain(on_way).chain(waiting).collect()
    }

    /// Returns what is to be asked once more.
    pub(super) fn answered(
        &mut self,
        key: &ChannelKey,
        pending: Pending,
        answer: Answer,
        out: &mut Vec<Output>,
    ) -> Option<Pending> {
        let mut number = pending.number;
        if let Ask::Join { rules, .. } | Ask::Leave { rules, .. } = &pending.ask {
            self.answered = number;
            if !rules.is_told {
                number = 0;
            }
        }
        match (&pending.ask, answer) {
            (Ask::Join { .. }, Answer::Joined(joined)) => {
                self.joined(key, pending, joined, number, out);
            }
            (
                Ask::Leave {
                    worker,
                    user_id,
                    rules,
                    ..
                },
                Answer::Left(left),
            ) => {
                self.rules = *rules;
                self.subtract(key, *worker, user_id.as_deref(), out);
                self.left(key, user_id.clone(), &left, number, out);
            }
            // Redis says that nobody has subscribed, but somebody here has: it has lost the channel, and nobody has got the event.
            (Ask::Publish { .. }, Answer::Published(Published { sequence: None, .. }))
                if self.has_anybody() && !pending.is_late =>
            {
                self.lose_touch();
                return Some(Pending {
                    is_late: true,
                    ..pending
                });
            }
            (
                &Ask::Publish {
                    ticket: Some(ticket),
                    ..
                },
                Answer::Published(_),
            ) => out.push(Output::Published(ticket)),
            (Ask::Count, Answer::Published(published)) => {
                self.is_count_due = false;
                let told = match published.sequence {
                    Some(_) => Telling::Done,
                    None if published.subscriptions > 0 => Telling::Later,
                    None => Telling::No,
                };
                self.counted(key, told, published.subscriptions, out);
            }
            (&Ask::Online(_, ticket), Answer::Published(_)) => out.push(Output::Onlined(ticket)),
            // what Redis answers has the form of the question: see the scripts
            _ => {}
        }
        None
    }

    /// `number`: of the news that come of it.
    fn joined(
        &mut self,
        key: &ChannelKey,
        pending: Pending,
        joined: Joined,
        number: u64,
        out: &mut Vec<Output>,
    ) {
        let Ask::Join {
            ticket,
            member,
            rules,
            ..
        } = &pending.ask
        else {
            return;
        };
        self.tell_joined(key, &joined, member.as_deref(), number, out);
        let Joined::Yes {
            sequence,
            subscriptions,
            told,
            kept,
            members,
            events,
            life,
            doubt,
            ..
        } = joined
        else {
            return out.push(Output::Full(*ticket));
        };
        self.rules = *rules;
        self.counted(key, told, subscriptions, out);
        // Nobody else is there, or was: everything begins with this one. Otherwise Redis has lost what was here.
        let is_first = subscriptions == 1 && !self.has_anybody();
        let has_lost = self.knows_another_life(life) || (subscriptions == 1 && !is_first);
        if !is_first && (has_lost || (!self.is_synced && !self.asked_for_all)) {
            self.lose_touch();
        }
        let members = match member {
            Some(member) if is_first => vec![member.clone()],
            _ => members
                .iter()
                .filter_map(|text| parse_member(text))
                .collect(),
        };
        self.arriving.push_back((sequence, pending));
        if is_first || (!self.is_synced && !self.is_to_register) {
            self.list(members);
            self.is_online = kept.is_some();
            self.cached = kept;
            self.heard_events = events;
            self.life = life;
            self.alone.clear();
            self.settle_later(key, doubt, out);
            self.sync(key, sequence, out);
        } else {
            self.let_in(key, out);
        }
    }

    /// Somebody is here, but Redis, for which the channel has this life, knows nothing of it.
    fn knows_another_life(&self, life: u64) -> bool {
        self.life != 0 && life != self.life && self.has_anybody()
    }

    /// Tells the webhooks of a join. What Redis has written down because it had lost the channel is no news.
    fn tell_joined(
        &self,
        key: &ChannelKey,
        joined: &Joined,
        member: Option<&Member>,
        number: u64,
        out: &mut Vec<Output>,
    ) {
        let &Joined::Yes {
            subscriptions,
            is_new_member,
            is_return,
            is_members_return,
            life,
            ..
        } = joined
        else {
            return;
        };
        let is_lost = self.knows_another_life(life);
        let mut tell = |happening, was_told| {
            out.push(match was_told {
                true => Output::ForgetNews(key.clone(), happening, number),
                false => happened(key, happening, number, None),
            });
        };
        if subscriptions == 1 && !is_return {
            tell(Happening::Occupied, is_lost);
        }
        if let (true, false, Some(member)) = (is_new_member, is_members_return, member) {
            let was_told = is_lost && self.present.contains_key(&member.user_id);
            tell(Happening::MemberAdded(member.user_id.clone()), was_told);
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

    fn left(
        &mut self,
        key: &ChannelKey,
        user_id: Option<Arc<str>>,
        left: &Left,
        number: u64,
        out: &mut Vec<Output>,
    ) {
        if !self.has_anybody() {
            self.forget_place();
        }
        if left.sequence.is_none() {
            if self.has_anybody() {
                self.lose_touch();
            }
            return;
        }
        if let (true, Some(user_id)) = (left.has_member_left, user_id) {
            let removed = Happening::MemberRemoved(user_id);
            out.push(happened(key, removed, number, self.rules.hold));
        }
        if left.subscriptions == 0 {
            out.push(happened(key, Happening::Vacated, number, self.rules.hold));
        }
        self.counted(key, left.told, left.subscriptions, out);
    }

    /// How many events came in the meantime, up to this sequence, of those that Redis doesn't remember any more.
    fn waited(&self, sequence: u64, history: &[Message]) -> u64 {
        let remembered: HashSet<u64> = history.iter().map(|message| message.sequence).collect();
        let waited = self.held.iter().filter(|message| {
            let is_unheard = (self.heard + 1..=sequence).contains(&message.sequence);
            message.events > 0 && is_unheard && !remembered.contains(&message.sequence)
        });
        waited.count() as u64
    }

    /// What came in the meantime or is remembered by Redis, up to this sequence, each once and in order.
    fn unheard(&mut self, sequence: u64, history: Vec<Message>) -> Vec<Message> {
        let (before, after): (VecDeque<Message>, VecDeque<Message>) =
            std::mem::take(&mut self.held)
                .into_iter()
                .partition(|message| message.sequence <= sequence);
        self.held = after;
        let mut unheard: BTreeMap<u64, Message> = BTreeMap::new();
        for message in history.into_iter().chain(before) {
            unheard.insert(message.sequence, message);
        }
        unheard.into_values().collect()
    }

    /// What this node has is known to Redis again: tells the subscribers here what they have missed of the members.
    pub(super) fn registered(
        &mut self,
        key: &ChannelKey,
        mut registered: Registered,
        number: u64,
        out: &mut Vec<Output>,
    ) {
        self.is_registering = false;
        self.is_to_register = false;
        let was_lost = std::mem::take(&mut self.is_lost);
        self.alone.clear();
        self.life = registered.life;
        self.settle_later(key, registered.doubt, out);
        let sequence = registered.sequence.unwrap_or(self.sequence);
        let waited = self.waited(sequence, &registered.history);
        for message in self.unheard(sequence, std::mem::take(&mut registered.history)) {
            let what = self.news(message);
            // the members are in the list
            if let What::Event(_) = what {
                self.tell(key, Told { sequence, what }, out);
            }
        }
        self.heard_events = registered.events;
        for what in self.changes(&registered) {
            self.tell(key, Told { sequence, what }, out);
        }
        if registered.missed > waited {
            out.push(Output::Missed(registered.missed - waited));
        }
        self.tell_news(key, std::mem::take(&mut registered.news), number, out);
        if was_lost && registered.subscriptions > 0 {
            out.push(happened(key, Happening::Restored, 0, None));
        }
        self.counted(key, registered.told, registered.subscriptions, out);
        if key.name.is_watchers() {
            let is_online = registered.kept.is_some();
            // The nodes that have connections of the user may not have said so yet.
            if is_online || registered.doubt.is_none() {
                let what = What::Online(is_online);
                self.tell(key, Told { sequence, what }, out);
            }
        } else if registered.kept.is_some() || self.cached.is_none() {
            self.cached = registered.kept;
        }
        if self.has_anybody() {
            self.sync(key, sequence, out);
        } else {
            // The next to join is told who is there.
            self.held.clear();
        }
    }

    /// What the members that Redis has are more, less or other than those that the subscribers here know.
    fn changes(&self, registered: &Registered) -> Vec<What> {
        let members = registered.members.iter();
        let members: HashMap<Arc<str>, Arc<Member>> = members
            .filter_map(|text| parse_member(text))
            .map(|member| (member.user_id.clone(), member))
            .collect();
        // Whoever is in doubt isn't told to be there: if he is, that will be told.
        let doubtful: HashSet<&str> = registered.doubtful.iter().map(String::as_str).collect();
        let gone = self.present.keys().filter(|id| !members.contains_key(*id));
        let mut changes: Vec<What> = gone.cloned().map(What::MemberRemoved).collect();
        for member in members.values() {
            match self.present.get(&member.user_id) {
                Some(known) if known != member => {
                    changes.push(What::MemberChanged(member.clone()));
                }
                None if !doubtful.contains(&*member.user_id) => {
                    changes.push(What::MemberAdded(member.clone()));
                }
                _ => {}
            }
        }
        changes
    }

    /// What the registration of this number has changed, and what calls have changed whose answers were lost.
    fn tell_news(&mut self, key: &ChannelKey, news: Vec<Open>, number: u64, out: &mut Vec<Output>) {
        let answered = std::mem::replace(&mut self.answered, number);
        for news in news.into_iter().filter(|news| news.number > answered) {
            // what is written down as waiting is asked for, also if nothing waits any more by now
            let wait = news.is_held.then(|| self.rules.hold.unwrap_or_default());
            out.push(happened(key, news.happening, news.number, wait));
        }
    }

    /// Redis has taken some events of those on their way and refused others, which are returned to be sent again. Of all else nothing is
    /// known.
    pub(super) fn refused(
        &mut self,
        key: &ChannelKey,
        verdicts: &[Verdict],
        out: &mut Vec<Output>,
    ) -> Vec<Pending> {
        let (mut unknown, mut refused) = (Vec::new(), Vec::new());
        let on_way = std::mem::take(&mut self.on_way);
        for (pending, verdict) in on_way.into_iter().zip(verdicts) {
            match (&pending.ask, verdict) {
                (Ask::Publish { .. }, Verdict::Taken) => self.alone(key, pending, out),
                (Ask::Publish { .. }, Verdict::Refused) if !pending.may_be_known => {
                    refused.push(pending);
                }
                _ => unknown.push(pending),
            }
        }
        self.on_way = unknown;
        refused
    }

    /// Gives a number that others haven't heard yet to an event. If it was told here by the old one, it isn't told again.
    pub(super) fn renumber(&mut self, pending: &mut Pending, number: u64) {
        if pending.is_told {
            self.own_seen = self.own_seen.max(number);
        }
        pending.number = number;
    }

    /// Redis has lost the channel: it is to be told who was there.
    pub(super) fn lost_by_redis(&mut self) {
        self.is_registering = false;
        self.is_lost = true;
    }

    /// Notes what a member does of which Redis doesn't know. `before`: what is known of him here.
    fn does_alone(&mut self, before: Option<Arc<Member>>, is_here: bool, user_id: &Arc<str>) {
        use Alone::{Came, Changed, Left};
        let known = match self.alone.remove(user_id) {
            Some(Came) => None,
            Some(Changed(member) | Left(member)) => Some(member),
            None => before,
        };
        let alone = match (known, is_here) {
            (None, true) => Came,
            (Some(known), true) => Changed(known),
            (Some(known), false) => Left(known),
            (None, false) => return,
        };
        self.alone.insert(user_id.clone(), alone);
    }

    /// What Redis would do, done with what is known here.
    pub(super) fn alone(&mut self, key: &ChannelKey, pending: Pending, out: &mut Vec<Output>) {
        match pending.ask {
            Ask::Join {
                worker,
                ticket,
                member,
                members_max,
                rules,
            } => {
                let is_new = member
                    .as_ref()
                    .filter(|member| !self.present.contains_key(&member.user_id));
                if is_new.is_some() && members_max > 0 && self.present.len() >= members_max as usize
                {
                    out.push(Output::Full(ticket));
                    return;
                }
                if let Some(member) = &member {
                    let before = self.present.get(&member.user_id).cloned();
                    self.does_alone(before, true, &member.user_id);
                }
                let is_new = is_new.cloned();
                if let Some(member) = is_new {
                    self.tell_next(key, What::MemberAdded(member), out);
                } else if let Some(member) = &member {
                    self.present.insert(member.user_id.clone(), member.clone());
                    self.revised();
                }
                let join = Ask::Join {
                    worker,
                    ticket,
                    member,
                    members_max,
                    rules,
                };
                self.admit(
                    key,
                    Pending {
                        ask: join,
                        number: 0,
                        is_late: false,
                        may_be_known: false,
                        is_told: false,
                    },
                    self.sequence,
                    out,
                );
            }
            Ask::Leave {
                worker, user_id, ..
            } => {
                self.subtract(key, worker, user_id.as_deref(), out);
                if let Some(user_id) = user_id
                    && !self.own.contains_key(&user_id)
                {
                    let before = self.present.get(&user_id).cloned();
                    self.does_alone(before, false, &user_id);
                    self.tell_next(key, What::MemberRemoved(user_id), out);
                }
            }
            Ask::Publish { ticket, event } => {
                if pending.number > self.own_seen {
                    self.own_seen = pending.number;
                    self.tell_next(key, What::Event(event), out);
                }
                if let Some(ticket) = ticket {
                    out.push(Output::Published(ticket));
                }
            }
            Ask::Online(is_online, _) => self.tell_next(key, What::Online(is_online), out),
            Ask::Count => self.is_count_due = false,
            Ask::Settle => {}
        }
    }

    fn tell_next(&mut self, key: &ChannelKey, what: What, out: &mut Vec<Output>) {
        let sequence = self.sequence + 1;
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
