//! What Redis answers to joins, leaves and events of a channel, and what follows for those who are subscribed here.

use std::sync::Arc;

use super::{Channel, Pending, happened};
use crate::{
    cluster::terms::{
        Answer, Ask, Happening, Joined, Left, Output, Published, Telling, Verdict, parse_member,
    },
    hub::inbox::ChannelKey,
    protocol::presence::Member,
};

impl Channel {
    /// Returns what is to be asked once more.
    pub(in crate::cluster) fn answered(
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
        if let (Ask::Publish { event, .. }, Answer::Published(published)) = (&pending.ask, &answer)
            && published.sequence.is_some()
            && pending.number > self.own_seen
            && self.has_anybody()
        {
            self.await_message(pending.number, event.clone());
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

    /// Redis has taken some events of those on their way and refused others, which are returned to be sent again. Of all else nothing is
    /// known.
    pub(in crate::cluster) fn refused(
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
    pub(in crate::cluster) fn renumber(&mut self, pending: &mut Pending, number: u64) {
        if pending.is_told {
            self.own_seen = self.own_seen.max(number);
        }
        pending.number = number;
    }
}
