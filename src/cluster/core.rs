//! What a node does with what it is asked, what Redis answers and what other nodes tell: pure, so that every order of events can be
//! tried. [`Core::take`] is given one [`Input`] at a time and says in [`Output`]s what is to be done.
//!
//! Of each channel one batch of calls is on its way to Redis at a time, so what happens to a channel happens in the order in which it
//! was asked for. While Redis is away everything is done at once with what the node knows, and made up for when it is back.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use super::{
    channel::{Channel, Pending, Phase},
    terms::{Answer, Ask, Event, Message, Output, Verdict, View},
};
use crate::hub::inbox::ChannelKey;

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
    /// instead of answers: Redis has refused some calls, and is taken for away next
    Refused(ChannelKey, Vec<Verdict>),
    /// a message of the channel's topic
    Message(ChannelKey, Message),
    /// one that can't be read, of another version most likely: it has a place in the channel's order, and nobody knows which
    Skipped(ChannelKey),
    /// Redis is there: from now on, or again, perhaps for a node that was taken for dead and has another name now. What was
    /// on its way is lost. `was_emptied`: Redis is known to have lost everything since it was there last.
    Up { was_emptied: bool },
    /// Redis is away; whether calls on their way were carried out isn't known
    Down,
}

/// An event that waits for Redis to be back.
#[derive(Debug)]
struct Late {
    channel: ChannelKey,
    number: u64,
    event: Arc<Event>,
    may_be_known: bool,
}

/// See the module's documentation.
pub struct Core {
    /// names this process as the origin of events, whatever the node is called
    origin: Arc<str>,
    is_up: bool,
    /// Redis was emptied not long ago: other nodes may have subscribers of whom it doesn't know
    others_may_be_away: bool,
    channels: HashMap<ChannelKey, Channel>,
    /// events for other nodes, in order, while Redis is away
    backlog: VecDeque<Late>,
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
            others_may_be_away: false,
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

    #[cfg(test)]
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// Events that wait for Redis, their bytes, and the number of those that were dropped since the start.
    pub fn backlog(&self) -> (usize, usize, u64) {
        (self.backlog.len(), self.backlog_bytes, self.dropped)
    }

    /// Lets go of events that have waited since before this.
    pub fn expire_backlog(&mut self, before: Instant, out: &mut Vec<Output>) {
        while let Some(oldest) = self.backlog.front()
            && oldest.event.published < before
        {
            self.drop_oldest(out);
        }
    }

    fn drop_oldest(&mut self, out: &mut Vec<Output>) {
        if let Some(oldest) = self.backlog.pop_front() {
            self.backlog_bytes -= oldest.event.bytes();
            self.dropped += 1;
            if let Some(channel) = self.channels.get_mut(&oldest.channel) {
                channel.late -= 1;
            }
            self.drop_if_idle(&oldest.channel, out);
        }
    }

    /// Whether anything is known of the channel.
    pub fn knows(&self, channel: &ChannelKey) -> bool {
        self.channels.contains_key(channel)
    }

    /// The channel as the subscribers here know it; `None` without any.
    pub fn view(&self, channel: &ChannelKey) -> Option<View<'_>> {
        let channel = self.channels.get(channel)?;
        (!channel.workers.is_empty()).then(|| channel.view())
    }

    /// The channels that have subscribers here.
    pub fn channels(&self) -> impl Iterator<Item = (&ChannelKey, View<'_>)> {
        let channels = self.channels.iter();
        let occupied = channels.filter(|(_, channel)| !channel.workers.is_empty());
        occupied.map(|(key, channel)| (key, channel.view()))
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
            Input::Refused(key, verdicts) => {
                if let Some(channel) = self.channels.get_mut(&key) {
                    let again = channel.refused(&key, &verdicts, out);
                    self.ask_again(&key, again);
                }
            }
            Input::Message(key, message) => self.message(&key, message, out),
            Input::Skipped(key) => {
                if let Some(channel) = self.channels.get_mut(&key)
                    && channel.phase == Phase::Live
                {
                    channel.skip();
                    self.pump(&key, out);
                }
            }
            Input::Up { was_emptied } => self.up(was_emptied, out),
            Input::Down => self.down(out),
        }
    }

    /// Since Redis was emptied all other nodes have had time to say what they have.
    pub fn everybody_is_back(&mut self) {
        self.others_may_be_away = false;
    }

    /// What Redis has of this node's channels was taken away by others, who took it for dead: it isn't lost.
    pub fn forget_lives(&mut self) {
        self.channels.values_mut().for_each(Channel::forget_life);
    }

    fn ask(&mut self, key: ChannelKey, ask: Ask, out: &mut Vec<Output>) {
        if ask == Ask::Settle {
            if let Some(channel) = self.channels.get_mut(&key) {
                channel.settle();
                self.pump(&key, out);
            }
            return;
        }
        let told = self.number;
        let pending = self.number(ask);
        let origin = &self.origin;
        let channel = self
            .channels
            .entry(key.clone())
            .or_insert_with(|| Channel::new(origin.clone(), told));
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
            Ask::Publish { .. } => self.next_number(),
            // when they go out
            _ => 0,
        };
        Pending {
            ask,
            number,
            is_late: false,
            may_be_known: false,
            is_told: false,
        }
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Puts to Redis what waits, if it is its turn.
    fn pump(&mut self, key: &ChannelKey, out: &mut Vec<Output>) {
        let number = self.number + 1;
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
                channel.is_noted = true;
                out.push(Output::Subscribe(key.clone()));
                return;
            }
            Phase::Apart | Phase::Live => {}
        }
        if channel.is_to_register {
            channel.is_registering = true;
            channel.is_synced = false;
            out.push(Output::Call(
                key.clone(),
                vec![channel.registration(number)],
            ));
            channel.registration_number = number;
            self.number = number;
            return;
        }
        let (has_cached, others) = (has_cached(key), self.others_may_be_away);
        let calls = channel.next_calls(CALLS_MAX, has_cached, others, &mut self.number);
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
            // Also if the connection is another one by now: what was written down of the topic is still there.
            if channel.is_noted {
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
            match answers.next() {
                Some(Answer::Registered(registered)) => {
                    let number = channel.registration_number;
                    channel.registered(key, registered, number, out);
                }
                Some(Answer::Lost) => channel.lost_by_redis(),
                _ => {}
            }
        } else {
            let mut again = Vec::new();
            for pending in std::mem::take(&mut channel.on_way) {
                if let Some(answer) = answers.next() {
                    again.extend(channel.answered(key, pending, answer, out));
                }
            }
            self.ask_again(key, again);
        }
        self.pump(key, out);
    }

    /// Puts events that nobody has got before those that wait. Others of the batch may have been heard in the meantime, so that
    /// they are known by new numbers, and what follows them, too.
    fn ask_again(&mut self, key: &ChannelKey, again: Vec<Pending>) {
        let Some(channel) = self.channels.get_mut(key).filter(|_| !again.is_empty()) else {
            return;
        };
        let waiting = std::mem::take(&mut channel.waiting);
        let (known, unknown): (VecDeque<Pending>, VecDeque<Pending>) = waiting
            .into_iter()
            .partition(|pending| pending.may_be_known);
        channel.waiting = known;
        for mut pending in again.into_iter().chain(unknown) {
            if let Ask::Publish { .. } = pending.ask {
                self.number += 1;
                channel.renumber(&mut pending, self.number);
            }
            channel.waiting.push_back(pending);
        }
    }

    fn message(&mut self, key: &ChannelKey, message: Message, out: &mut Vec<Output>) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        if channel.phase != Phase::Live {
            return;
        }
        channel.hear(key, message, out);
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
            self.drop_if_idle(&key, out);
        }
    }

    /// What Redis would do, done with what is known here.
    fn alone(&mut self, key: &ChannelKey, pending: Pending, out: &mut Vec<Output>) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        if let Ask::Publish { event, .. } = &pending.ask {
            let late = Late {
                channel: key.clone(),
                number: pending.number,
                event: event.clone(),
                may_be_known: pending.may_be_known,
            };
            channel.alone(key, pending, out);
            channel.late += 1;
            self.keep(late, out);
        } else {
            channel.alone(key, pending, out);
            // Of a channel that it was never asked about Redis has nothing, and nothing of it stays here when everybody has gone.
            channel.is_to_register = channel.is_noted || channel.has_anybody();
        }
    }

    fn keep(&mut self, late: Late, out: &mut Vec<Output>) {
        self.backlog_bytes += late.event.bytes();
        self.backlog.push_back(late);
        while self.backlog_bytes > self.backlog_bytes_max && !self.backlog.is_empty() {
            self.drop_oldest(out);
        }
    }

    /// Redis is there: registers what this node has, then lets out what waited.
    fn up(&mut self, was_emptied: bool, out: &mut Vec<Output>) {
        if self.is_up {
            self.down(out);
        }
        self.is_up = true;
        self.others_may_be_away |= was_emptied;
        for channel in self.channels.values_mut() {
            channel.is_back(was_emptied);
        }
        self.backlog_bytes = 0;
        for late in std::mem::take(&mut self.backlog) {
            let (origin, told) = (&self.origin, self.number);
            let channel = self
                .channels
                .entry(late.channel)
                .or_insert_with(|| Channel::new(origin.clone(), told));
            channel.late = 0;
            channel.waiting.push_back(Pending {
                ask: Ask::Publish {
                    ticket: None,
                    event: late.event,
                },
                number: late.number,
                is_late: true,
                may_be_known: late.may_be_known,
                is_told: true,
            });
        }
        let mut keys: Vec<ChannelKey> = self.channels.keys().cloned().collect();
        keys.sort_unstable_by(|a, b| (a.app, &a.name).cmp(&(b.app, &b.name)));
        for key in keys {
            self.pump(&key, out);
        }
    }
}

/// Whether something is kept for whoever joins the channel.
fn has_cached(key: &ChannelKey) -> bool {
    key.name.kind().is_cache() || key.name.is_watchers()
}

#[cfg(test)]
mod tests;
