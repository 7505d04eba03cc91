//! What the scripts do, in Rust: the simulation runs on it, and real scripts are compared with it.

mod news;
mod register;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use self::news::News;
use crate::{
    cluster::{
        rules::Rules,
        terms::{
            Answer, Call, Event, Happening, Joined, Left, Lost, Message, Present, Published,
            Telling, Wanted, What, member_text,
        },
    },
    hub::inbox::ChannelKey,
    protocol::presence::Member,
};

/// What a node registers.
#[derive(Clone, Copy, Default)]
pub struct Holding<'a> {
    pub subscriptions: u32,
    pub seen: u64,
    pub heard: (u64, u64),
    pub life: u64,
    pub members: &'a [Present],
    pub lost: Option<&'a Lost>,
}

/// See the module's documentation.
#[derive(Default)]
pub struct Redis {
    pub channels: HashMap<ChannelKey, State>,
    history: HashMap<ChannelKey, Vec<Message>>,
    /// events of a channel that it remembers; `None`: without end
    pub remembered_max: Option<usize>,
    /// news that nobody has told, as they are written down
    pub news: HashMap<ChannelKey, BTreeMap<String, String>>,
    /// as TIME: what a channel begins to count at
    clock: u64,
    /// times at which it is no longer in doubt who is there pass when this is counted up
    patience: u64,
}

/// How long that is in doubt: so long that it is over when the model says so.
const DOUBT: Duration = Duration::from_secs(3_600);

#[derive(Default, Clone)]
pub struct State {
    sequence: u64,
    events: u64,
    pub total: u32,
    of: BTreeMap<String, u32>,
    connections: BTreeMap<(String, String), u32>,
    pub members: BTreeMap<String, String>,
    life: u64,
    /// since Redis lost the channel, when patience was so; `None` before and `Some(0)` after
    doubt: Option<u64>,
    doubtful: BTreeSet<String>,
}

impl State {
    fn nodes_of(&self, user: &str) -> usize {
        let nodes = self.connections.keys();
        nodes.filter(|(_, known)| known == user).count()
    }

    fn doubt(&self) -> Option<Duration> {
        self.doubt.is_some_and(|doubt| doubt > 0).then_some(DOUBT)
    }

    fn next(&mut self, what: What, told: &mut Told) {
        self.sequence += 1;
        told.push((self.sequence, what, 0, 0));
    }

    /// Who is nowhere leaves.
    fn goes(&mut self, user: String, told: &mut Told, happened: &mut Vec<Happening>) {
        self.members.remove(&user);
        self.next(What::MemberRemoved(user.as_str().into()), told);
        happened.push(Happening::MemberRemoved(user.into()));
    }
}

/// What is published, in order: sequence, what, the number of an event among its process's and among its channel's.
pub type Told = Vec<(u64, What, u64, u64)>;

impl Redis {
    /// It comes back empty.
    pub fn forget(&mut self) {
        self.channels.clear();
        self.history.clear();
        self.news.clear();
    }

    /// Events until the last one that it remembers.
    fn remembered(&self, key: &ChannelKey) -> u64 {
        let last = self.history.get(key).and_then(|history| history.last());
        last.map_or(0, |message| message.events)
    }

    fn news_of(&mut self, key: &ChannelKey, node: &str, number: u64, rules: Rules) -> News<'_> {
        News {
            written: self.news.entry(key.clone()).or_default(),
            node: node.to_owned(),
            name: format!("{node}.{number}"),
            rules,
        }
    }

    /// Whether news that have waited are to be told: 1, 0 or 2.
    pub fn claim(&mut self, key: &ChannelKey, word: &str, name: &str, teller: &str) -> i64 {
        let written = self.news.entry(key.clone()).or_default();
        let field = format!("+{name}/{word}");
        let known = written.get(word).cloned();
        if known.as_deref() == Some(name) {
            written.remove(word);
            written.insert(field, teller.to_owned());
            return 1;
        }
        if let Some(other) = written.get(&field) {
            return i64::from(other == teller);
        }
        let state = self.channels.get(key);
        let is_there = state.is_some_and(|state| match word {
            "." => true,
            _ => state.members.contains_key(&word[1..]),
        });
        match known.is_some() || is_there {
            true => 0,
            false => 2,
        }
    }

    /// News that were told.
    pub fn forget_news(&mut self, key: &ChannelKey, field: &str) {
        if let Some(written) = self.news.get_mut(key) {
            written.remove(field);
        }
    }

    /// It is no longer in doubt who is there.
    pub fn lose_patience(&mut self) {
        self.patience += 1;
    }

    pub fn call(
        &mut self,
        key: &ChannelKey,
        node: &str,
        origin: &Arc<str>,
        call: &Call,
    ) -> (Answer, Told) {
        self.clock += 1_000;
        let mut told = Told::new();
        let answer = match call {
            Call::Join {
                member,
                wanted,
                rules,
                number,
                ..
            } => {
                let list = *wanted == Wanted::All;
                let mut answer = self.join(key, node, member.as_deref(), list, &mut told);
                let mut news = self.news_of(key, node, *number, *rules);
                news.joined(member.as_deref(), &mut answer);
                answer
            }
            Call::Leave {
                user_id,
                rules,
                number,
            } => {
                let answer = self.leave(key, node, user_id.as_deref(), &mut told);
                let mut news = self.news_of(key, node, *number, *rules);
                news.left(user_id.as_deref(), &answer);
                answer
            }
            Call::Publish {
                number,
                event,
                is_late,
            } => self.publish(key, origin, *number, event, *is_late, &mut told),
            Call::Register {
                subscriptions,
                seen,
                heard,
                life,
                members,
                lost,
                rules,
                number,
            } => {
                let holding = Holding {
                    subscriptions: *subscriptions,
                    seen: *seen,
                    heard: *heard,
                    life: *life,
                    members,
                    lost: lost.as_ref(),
                };
                self.register(key, node, &holding, (*number, *rules, node), &mut told)
            }
            Call::Online(_) | Call::Count => {
                unreachable!("the model knows nothing of watchers and large channels")
            }
        };
        (answer, told)
    }

    fn publish(
        &mut self,
        key: &ChannelKey,
        origin: &Arc<str>,
        number: u64,
        event: &Arc<Event>,
        is_late: bool,
        told: &mut Told,
    ) -> Answer {
        let clock = self.clock;
        let state = self.channels.get_mut(key);
        let published = Published {
            sequence: state.as_ref().map(|state| state.sequence + 1),
            subscriptions: state.as_ref().map_or(0, |state| state.total),
        };
        let what = What::Event(event.clone());
        let (sequence, events) = match state {
            Some(state) => {
                state.sequence += 1;
                state.events += 1;
                told.push((state.sequence, what.clone(), number, state.events));
                (state.sequence, state.events)
            }
            None if is_late => (clock, self.remembered(key) + 1),
            None => return Answer::Published(published),
        };
        let history = self.history.entry(key.clone()).or_default();
        history.push(Message {
            sequence,
            what,
            origin: origin.clone(),
            number,
            events,
        });
        if self.remembered_max.is_some_and(|max| history.len() > max) {
            history.remove(0);
        }
        Answer::Published(published)
    }

    fn join(
        &mut self,
        key: &ChannelKey,
        node: &str,
        member: Option<&Member>,
        list: bool,
        told: &mut Told,
    ) -> Answer {
        let clock = self.clock;
        let events = self.remembered(key);
        let state = self.channels.entry(key.clone()).or_insert_with(|| State {
            sequence: clock,
            life: clock,
            events,
            ..State::default()
        });
        state.total += 1;
        *state.of.entry(node.to_owned()).or_default() += 1;
        let mut is_new_member = false;
        if let Some(member) = member {
            let user = member.user_id.to_string();
            is_new_member = state.nodes_of(&user) == 0;
            let own = (node.to_owned(), user.clone());
            *state.connections.entry(own).or_default() += 1;
            let text = member_text(member);
            let is_other = state.members.insert(user, text.clone()) != Some(text);
            if is_new_member {
                is_new_member = !state.doubtful.contains(&*member.user_id);
                state.next(What::MemberAdded(Arc::new(member.clone())), told);
            } else if is_other {
                state.next(What::MemberChanged(Arc::new(member.clone())), told);
            }
        }
        Answer::Joined(Joined::Yes {
            sequence: state.sequence,
            subscriptions: state.total,
            is_new_member,
            told: Telling::No,
            is_return: false,
            is_members_return: false,
            kept: None,
            members: match list {
                true => state.members.values().cloned().collect(),
                false => Vec::new(),
            },
            events: state.events,
            life: state.life,
            doubt: state.doubt(),
        })
    }

    fn leave(
        &mut self,
        key: &ChannelKey,
        node: &str,
        user: Option<&str>,
        told: &mut Told,
    ) -> Answer {
        let nothing = Answer::Left(Left {
            sequence: None,
            subscriptions: 0,
            has_member_left: false,
            told: Telling::No,
        });
        let Some(state) = self.channels.get_mut(key) else {
            return nothing;
        };
        let Some(count) = state.of.get_mut(node) else {
            return nothing;
        };
        *count -= 1;
        if *count == 0 {
            state.of.remove(node);
        }
        state.total -= 1;
        let mut has_member_left = false;
        if let Some(user) = user {
            let own = (node.to_owned(), user.to_owned());
            if let Some(count) = state.connections.get_mut(&own) {
                *count -= 1;
                if *count == 0 {
                    state.connections.remove(&own);
                    has_member_left = state.nodes_of(user) == 0 && !state.doubtful.contains(user);
                }
            }
            if has_member_left {
                state.members.remove(user);
                state.sequence += 1;
                told.push((state.sequence, What::MemberRemoved(user.into()), 0, 0));
            }
        }
        let left = Left {
            sequence: Some(state.sequence),
            subscriptions: state.total,
            has_member_left,
            told: Telling::No,
        };
        if state.total == 0 {
            self.channels.remove(key);
            self.history.remove(key);
        }
        Answer::Left(left)
    }
}
