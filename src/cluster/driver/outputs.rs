//! What the core says is to be done.

use std::{mem, time::Instant};

use super::{Driver, Node};
use crate::{
    cluster::{nodes, terms::Output},
    directory::COUNT_PAUSE,
};

impl<N: Node> Driver<N> {
    pub(super) fn obey(&mut self) {
        // what happens may lead to something more to be done
        while !self.outputs.is_empty() {
            for output in mem::take(&mut self.outputs) {
                self.obey_one(output);
            }
        }
        for (channel, interval) in self.node.missed_cache() {
            self.ask_for_cache_miss(channel, interval);
        }
        self.change_topics();
        self.forget_news();
        let (events, bytes, dropped) = self.core.backlog();
        self.node.backlog(events, bytes, dropped);
    }

    fn obey_one(&mut self, output: Output) {
        match output {
            Output::Subscribe(channel) => self.listen(channel),
            Output::Unsubscribe(channel) => self.stop_listening(channel),
            Output::Call(channel, calls) => self.call(channel, calls),
            Output::Tell {
                channel,
                workers,
                position,
                what,
            } => self.node.tell(&channel, &workers, position, &what),
            Output::Joined { ticket, joined } => {
                if let Some(waiter) = self.waiters.remove(&ticket) {
                    self.node.joined(waiter, &self.core, joined);
                }
            }
            Output::Full(ticket) => {
                if let Some(waiter) = self.waiters.remove(&ticket) {
                    self.node.full(waiter);
                }
            }
            Output::Published(ticket) => {
                if let Some(waiter) = self.waiters.remove(&ticket) {
                    self.node.published(waiter);
                }
            }
            Output::Opened(channel) => {
                self.is_opening_no_more(&channel);
                self.node.opened(&channel, true);
            }
            Output::Closed(channel) => self.node.opened(&channel, false),
            Output::CountLater(channel) => {
                if let Some(names) = self.names.get(&channel) {
                    let due = Instant::now() + COUNT_PAUSE;
                    let app_id = names.app_id.clone();
                    self.counts.push_back((due, channel, app_id));
                }
            }
            Output::SettleLater(channel, doubt) => {
                // longer if the clock of Redis was set back
                let doubt = doubt.min(self.settings.heartbeat * nodes::BEATS);
                self.unsettled.push_back((Instant::now() + doubt, channel));
            }
            // it may have been asked for again since then
            Output::Forgotten(channel) if self.core.knows(&channel) => {}
            Output::Forgotten(channel) => {
                self.is_opening_no_more(&channel);
                if let Some(names) = self.names.remove(&channel) {
                    self.by_topic.remove(&names.keys.topic);
                }
            }
            Output::Happened {
                channel,
                happening,
                number,
                wait,
            } => {
                if let Some(news) = self.news(channel, happening, number) {
                    self.happened(news, wait);
                }
            }
            Output::ForgetNews(channel, happening, number) => {
                if let Some(news) = self.news(channel, happening, number) {
                    self.forget(news);
                }
            }
            Output::Onlined(ticket) => self.watchers_told(ticket),
            Output::Missed(events) => self.node.missed(events),
        }
    }
}
