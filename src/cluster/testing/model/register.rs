//! What `register.lua` does, section by section.

use super::{DOUBT, Holding, Redis, State, Told};
use crate::{
    cluster::{
        rules::Rules,
        terms::{
            Answer, Happening, Lost, Message, Present, Registered, Telling, What, member_text,
        },
    },
    hub::inbox::ChannelKey,
};

impl Redis {
    pub fn register(
        &mut self,
        key: &ChannelKey,
        node: &str,
        holding: &Holding<'_>,
        (number, rules, teller): (u64, Rules, &str),
        told: &mut Told,
    ) -> Answer {
        let Holding {
            subscriptions,
            seen,
            heard,
            life,
            members,
            lost,
        } = *holding;
        let (clock, patience) = (self.clock, self.patience + 1);
        let before = self.channels.get(key).cloned().unwrap_or_default();
        let had = before.of.get(node).copied().unwrap_or(0);
        let mut registered = Registered {
            sequence: (before.sequence > 0).then_some(before.sequence),
            subscriptions: before.total,
            missed: 0,
            news: Vec::new(),
            members: Vec::new(),
            kept: None,
            events: 0,
            history: Vec::new(),
            life: 0,
            doubt: None,
            doubtful: Vec::new(),
            told: Telling::No,
        };
        let mut happened = Vec::new();
        if subscriptions == 0 && had == 0 {
            registered.news = self.news_of(key, node, number, rules).open(teller);
            return Answer::Registered(registered);
        }
        let is_open = before.doubt.is_none_or(|doubt| doubt >= patience);
        let is_lost = life != 0 && before.life != life && is_open;
        if is_lost && lost.is_none() {
            return Answer::Lost;
        }
        let events = self.remembered(key);
        let state = self.channels.entry(key.clone()).or_insert_with(|| State {
            sequence: clock,
            life: clock,
            events,
            ..State::default()
        });
        state.sequence = state.sequence.max(seen);
        if let Some(lost) = lost.filter(|_| is_lost) {
            state.restore(lost, patience);
        }
        let what = match state.doubt.is_some_and(|doubt| doubt >= patience) {
            true => What::Doubt(DOUBT),
            false => What::Nothing,
        };
        state.next(what, told);
        state.drop_absent(node, members, told, &mut happened);
        state.take_present(node, members, told, &mut happened);
        registered.doubtful = state.settle_doubt(patience, told, &mut happened);
        state.total = state.total - had + subscriptions;
        if subscriptions == 0 {
            state.of.remove(node);
        } else {
            state.of.insert(node.to_owned(), subscriptions);
        }
        let events = state.events;
        registered.events = events;
        if heard.0 > 0 && subscriptions > 0 {
            let knows = life == state.life || (life == 0 && heard.0 >= state.life);
            let before = if knows { heard.1 } else { 0 };
            let since = events
                .checked_sub(before)
                .expect("no more was heard than there was");
            (registered.history, registered.missed) = self.unheard(key, heard.0, since);
        }
        let state = self.channels.get_mut(key).expect("just made");
        registered.sequence = Some(state.sequence);
        registered.subscriptions = state.total;
        registered.life = state.life;
        registered.doubt = state.doubt();
        if subscriptions > 0 {
            registered.members = state.members.values().cloned().collect();
        }
        match (before.total > 0, state.total > 0) {
            (false, true) => match lost {
                None => happened.push(Happening::Occupied),
                Some(_) if rules.is_told && rules.hold.is_some() => {
                    if let Some(written) = self.news.get_mut(key) {
                        written.remove(".");
                    }
                }
                Some(_) => {}
            },
            (true, false) => happened.push(Happening::Vacated),
            _ => {}
        }
        if state.total == 0 {
            self.channels.remove(key);
            self.history.remove(key);
        }
        let mut news = self.news_of(key, node, number, rules);
        for happening in &happened {
            news.write(happening);
        }
        registered.news = news.open(teller);
        Answer::Registered(registered)
    }

    /// Messages that the node hasn't heard, and how many of so many events it will never hear.
    fn unheard(&self, key: &ChannelKey, heard: u64, events: u64) -> (Vec<Message>, u64) {
        let remembered = self.history.get(key).into_iter().flatten();
        let unheard = remembered.filter(|message| message.sequence > heard);
        let history: Vec<Message> = unheard.cloned().collect();
        let counted = history.iter().filter(|m| m.events > 0).count() as u64;
        (history, events.saturating_sub(counted))
    }
}

impl State {
    /// Who was there before Redis lost everything is in doubt.
    fn restore(&mut self, lost: &Lost, patience: u64) {
        self.doubt.get_or_insert(patience);
        for member in &lost.members {
            let user = member.user_id.to_string();
            let text = member_text(member);
            self.members.entry(user.clone()).or_insert(text);
            self.doubtful.insert(user);
        }
    }

    /// Who is no more on this node.
    fn drop_absent(
        &mut self,
        node: &str,
        members: &[Present],
        told: &mut Told,
        happened: &mut Vec<Happening>,
    ) {
        let known = self.connections.keys();
        let mine: Vec<String> = known
            .filter(|(of, _)| of == node)
            .map(|(_, user)| user.clone())
            .collect();
        for user in mine {
            let is_here = |present: &Present| *present.member.user_id == *user;
            if members.iter().any(is_here) {
                continue;
            }
            self.connections.remove(&(node.to_owned(), user.clone()));
            if self.nodes_of(&user) == 0 && !self.doubtful.contains(&user) {
                self.goes(user, told, happened);
            }
        }
    }

    /// Who is on this node.
    fn take_present(
        &mut self,
        node: &str,
        members: &[Present],
        told: &mut Told,
        happened: &mut Vec<Happening>,
    ) {
        for present in members {
            let user = present.member.user_id.to_string();
            let text = member_text(&present.member);
            let is_new = self.nodes_of(&user) == 0;
            let own = (node.to_owned(), user.clone());
            self.connections.insert(own, present.connections);
            if is_new {
                self.members.insert(user.clone(), text);
                self.next(What::MemberAdded(present.member.clone()), told);
                if !self.doubtful.contains(&user) {
                    happened.push(Happening::MemberAdded(user.as_str().into()));
                }
            } else if present.is_latest && self.members[&user] != text {
                self.members.insert(user, text);
                self.next(What::MemberChanged(present.member.clone()), told);
            }
        }
    }

    /// Who is nowhere leaves when everybody has been waited for; until then he is in doubt, and answered.
    fn settle_doubt(
        &mut self,
        patience: u64,
        told: &mut Told,
        happened: &mut Vec<Happening>,
    ) -> Vec<String> {
        let nowhere = self.doubtful.iter().filter(|user| self.nodes_of(user) == 0);
        let nowhere: Vec<String> = nowhere.cloned().collect();
        let is_over = |doubt| doubt > 0 && doubt < patience;
        if !self.doubt.is_some_and(is_over) {
            return nowhere;
        }
        self.doubt = Some(0);
        self.doubtful.clear();
        for user in nowhere {
            self.goes(user, told, happened);
        }
        Vec::new()
    }
}
