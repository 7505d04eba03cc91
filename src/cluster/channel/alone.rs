//! A channel while Redis is away: everything is done at once, with what is known here.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{Alone, Channel, Pending, Phase};
use crate::{
    cluster::terms::{Ask, Message, Output, What},
    hub::inbox::ChannelKey,
    protocol::presence::Member,
};

impl Channel {
    /// Redis is away: nothing more will come of what was on its way. Returns what must be done without it.
    pub(in crate::cluster) fn part(
        &mut self,
        key: &ChannelKey,
        out: &mut Vec<Output>,
    ) -> Vec<Pending> {
        // Our own events go before those that come after them now; others wait for what is missing before them.
        let is_own = |message: &Message| message.origin == self.origin;
        let (own, others): (VecDeque<Message>, VecDeque<Message>) =
            std::mem::take(&mut self.held).into_iter().partition(is_own);
        self.held = others;
        let taken = std::mem::take(&mut self.taken).into_iter();
        let taken = taken.map(|(number, event)| (number, What::Event(event)));
        let own = own
            .into_iter()
            .map(|message| (message.number, message.what));
        for (number, what) in taken.chain(own).collect::<BTreeMap<u64, What>>() {
            if number > self.own_seen {
                self.own_seen = number;
                self.tell_next(key, what, out);
            }
        }
        self.has_skipped = false;
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
    pub(in crate::cluster) fn alone(
        &mut self,
        key: &ChannelKey,
        pending: Pending,
        out: &mut Vec<Output>,
    ) {
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
}
