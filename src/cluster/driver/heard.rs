//! What Redis says: messages of its topics, and what came of the work it was given.

use std::time::Instant;

use tokio::sync::mpsc;

use super::{Done, Driver, Node, TURN_MAX, link::Told, topics::is_registration};
use crate::cluster::{calls, connection::Push, core::Input, messages, nodes};

impl<N: Node> Driver<N> {
    pub(super) fn take_pushes(&mut self, first: Option<Push>) {
        let mut next = first;
        for _ in 0..TURN_MAX {
            match next {
                None => break,
                Some(Push::Lost) => return self.lost("it ended the connection"),
                Some(Push::Message { topic, text }) => self.take_message(&topic, &text),
            }
            next = self
                .pushes
                .as_mut()
                .and_then(|pushes| pushes.try_recv().ok());
        }
    }

    pub(super) fn take_message(&mut self, topic: &str, text: &str) {
        let Some(channel) = self.by_topic.get(topic) else {
            return;
        };
        let channel = channel.clone();
        match messages::understand(text) {
            Ok(message) => self.input(Input::Message(channel, message)),
            Err(error) => {
                self.node.skipped(topic, error);
                self.input(Input::Skipped(channel));
            }
        }
    }

    pub(super) fn take_done(&mut self, done: Done) {
        match done {
            Done::Connected(Ok(connection), pushes) => {
                tracing::info!("connected to Redis: this node is {}", self.name);
                self.connection = Some(connection);
                self.told = Told::default();
                self.connected = Instant::now();
                let heartbeat = self.settings.heartbeat;
                if self
                    .last_beat
                    .is_none_or(|last| last.elapsed() > heartbeat * 2)
                {
                    self.sweeps_from = self.connected + heartbeat * nodes::BEATS;
                }
                self.pushes = Some(pushes);
                // Nothing is asked before it is known whether the others took this node for dead.
                self.beat();
            }
            Done::Connected(Err(error), _) => {
                self.tell_failure(&error.to_string());
                self.node.link(false);
                self.connect_later();
            }
            Done::Topics(Ok(listening)) => {
                self.changing.clear();
                for channel in listening {
                    self.input(Input::Subscribed(channel));
                }
            }
            Done::Called(channel, calls, Ok(values), begun) => {
                self.node.took(begun.elapsed());
                if is_registration(&calls) {
                    self.registered();
                }
                let verdicts = calls::verdicts(&values);
                match calls::answers(&calls, values) {
                    Ok(answers) => self.input(Input::Answers(channel, answers)),
                    Err(error) => {
                        // of what was taken, all that came
                        self.take_last_pushes();
                        self.input(Input::Refused(channel, verdicts));
                        self.lost(&error.to_string());
                    }
                }
            }
            Done::Beat(Ok(beat)) => self.take_beat(beat),
            Done::CaughtUp => self.has_caught_up = true,
            Done::Noted(Ok(())) => self.is_noting = false,
            Done::Elsewhere(Ok(counts)) => self.node.connections_elsewhere(counts),
            Done::Swept(Ok(swept)) => self.take_swept(swept),
            Done::Ended(node, Ok(())) => {
                self.sweeping.remove(&node);
                self.former.remove(&node);
            }
            Done::ForgottenNews(Ok(())) => self.news_forgotten(),
            Done::Watched(ticket, Ok(is_true)) => self.watchers_know(ticket, is_true),
            Done::CacheMiss(channel, Ok(is_first)) => {
                if is_first {
                    self.node.tell_cache_miss(&channel);
                }
            }
            Done::Topics(Err(error))
            | Done::Called(_, _, Err(error), _)
            | Done::Beat(Err(error))
            | Done::Noted(Err(error))
            | Done::Elsewhere(Err(error))
            | Done::CacheMiss(_, Err(error))
            | Done::Ended(_, Err(error))
            | Done::ForgottenNews(Err(error))
            | Done::Watched(_, Err(error))
            | Done::Swept(Err(error)) => self.lost(&error.to_string()),
        }
    }
}

pub(super) async fn next(pushes: &mut Option<mpsc::Receiver<Push>>) -> Option<Push> {
    match pushes {
        Some(pushes) => match pushes.recv().await {
            // The connection's task has ended.
            None => Some(Push::Lost),
            push => push,
        },
        None => std::future::pending().await,
    }
}
