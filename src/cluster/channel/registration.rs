//! A channel whose place in Redis isn't known, or isn't there any more: what this node has is registered, and what was missed is told.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{Alone, Channel, Told, happened};
use crate::{
    cluster::terms::{
        Ask, Call, Happening, Lost, Message, Open, Output, Present, Registered, What, parse_member,
    },
    hub::inbox::ChannelKey,
    protocol::presence::Member,
};

impl Channel {
    /// What Redis should have of this node: who is here, and who is arriving.
    pub(in crate::cluster) fn registration(&self, number: u64) -> Call {
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
        // Whoever is arriving is let in by the answer: Redis must not count from less, as it might with a clock that was set back.
        let joined = self.arriving.iter().map(|(sequence, _)| *sequence);
        let seen = joined.fold(self.sequence, u64::max);
        let arriving = u32::try_from(self.arriving.len()).unwrap_or(u32::MAX);
        let members = members.into_values().map(|(member, connections)| Present {
            is_latest: self.alone.contains_key(&member.user_id),
            member,
            connections,
        });
        Call::Register {
            subscriptions: self.subscriptions().saturating_add(arriving),
            seen,
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
    pub(in crate::cluster) fn forget_life(&mut self) {
        self.life = 0;
        self.is_lost = false;
        self.may_have_ended = false;
    }

    /// Redis is there again. A channel that it doesn't know has been lost, if this node has always had somebody there: while it had, the
    /// channel could not end. If not, it may have ended as channels do, with the last one who left, and what was told of its end is
    /// no mistake: what comes is a new life, of which everything is told. Only if Redis is known to have come back empty nothing of
    /// that is left, and the channel is lost in any case.
    pub(in crate::cluster) fn is_back(&mut self, was_emptied: bool) {
        if std::mem::take(&mut self.may_have_ended) && !was_emptied {
            self.forget_life();
        }
    }

    /// Whether this node may have had nobody there as far as Redis knows, whatever it has taken of what is on its way.
    pub(super) fn may_end(&self) -> bool {
        let leaves = self.on_way.iter();
        let leaves = leaves.filter(|pending| matches!(pending.ask, Ask::Leave { .. }));
        self.subscriptions() as usize + self.arriving.len() <= leaves.count()
    }

    /// It is time to know who is there: the channel is listed anew, if that is still in doubt.
    pub(in crate::cluster) fn settle(&mut self) {
        if std::mem::take(&mut self.is_settling) {
            self.lose_touch();
        }
    }

    pub(super) fn settle_later(
        &mut self,
        key: &ChannelKey,
        doubt: Option<Duration>,
        out: &mut Vec<Output>,
    ) {
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

    /// How many events came in the meantime, up to this sequence, of those that Redis doesn't remember any more.
    fn waited(&self, sequence: u64, history: &[Message]) -> u64 {
        let remembered: HashSet<u64> = history.iter().map(|message| message.sequence).collect();
        let waited = self.held.iter().filter(|message| {
            let is_unheard = message.sequence > self.heard && message.sequence <= sequence;
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
    pub(in crate::cluster) fn registered(
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
            // The next to join is told who is there, and hears what comes then.
            self.forget_place();
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

    /// Redis has lost the channel: it is to be told who was there.
    pub(in crate::cluster) fn lost_by_redis(&mut self) {
        self.is_registering = false;
        self.is_lost = true;
    }
}
