//! What is on its way between nodes and Redis arrives, or is lost with its connection.

use super::*;

impl World {
    pub(super) fn take_answer(&mut self, at: usize) {
        let Some((stamp, reply)) = self.nodes[at].answers.pop_front() else {
            return;
        };
        self.nodes[at].answered = stamp;
        match reply {
            Reply::Input(input) => {
                let is_refusal = matches!(input, Input::Refused(..));
                if is_refusal {
                    self.hear_the_last(at);
                }
                self.input(at, input);
                if is_refusal {
                    self.cut(at);
                }
            }
            Reply::Claimed(news, claim) => {
                self.nodes[at].claiming.retain(|other| *other != news);
                match claim {
                    1 => self.tell(at, news),
                    _ => {
                        self.nodes[at].open.remove(&news);
                    }
                }
            }
        }
    }

    pub(super) fn take_message(&mut self, at: usize) {
        if let Some((_, input)) = self.nodes[at].messages.pop_front() {
            let input = match input {
                Input::Message(key, _) if self.skips && self.random.random_bool(0.1) => {
                    Input::Skipped(key)
                }
                input => input,
            };
            self.input(at, input);
        }
    }

    pub(super) fn hear_the_last(&mut self, at: usize) {
        let carried_out = self.random.random_range(0..=self.nodes[at].to_redis.len());
        for _ in 0..carried_out {
            self.redis_works(at);
        }
        // What Redis sent before the last answer that was taken has come.
        while let Some((stamp, _)) = self.nodes[at].messages.front()
            && *stamp < self.nodes[at].answered
        {
            self.take_message(at);
        }
    }

    /// The connection is gone: some of what was on its way was carried out, nobody knows what.
    pub(super) fn cut(&mut self, at: usize) {
        self.hear_the_last(at);
        self.forget_connection(at);
        self.unaware.remove(&at);
        self.input(at, Input::Down);
    }

    pub(super) fn forget_connection(&mut self, at: usize) {
        for listeners in self.topics.values_mut() {
            listeners.remove(&at);
        }
        let node = &mut self.nodes[at];
        node.to_redis.clear();
        node.answers.clear();
        node.messages.clear();
        node.waiting.append(&mut node.claiming);
    }

    /// What is on its way to and from these nodes arrives.
    pub(super) fn work_off(&mut self, nodes: &[usize]) {
        for _ in 0..20 {
            for at in nodes {
                self.redis_works(*at);
                self.take_message(*at);
                self.take_answer(*at);
            }
        }
    }

    /// Everything that is on its way arrives, everybody is connected, the dead are swept away, nobody is in doubt.
    pub(super) fn settle(&mut self) {
        self.calm_down();
        self.lose_patience();
        self.calm_down();
    }

    /// The same, but who was lost may still be in doubt.
    pub(super) fn calm_down(&mut self) {
        for at in 0..self.nodes.len() {
            self.notice(at);
            if self.nodes[at].is_alive && !self.nodes[at].core.is_up() {
                self.connect(at);
            }
        }
        for _ in 0..100_000 {
            self.sweep();
            for at in 0..self.nodes.len() {
                if self.nodes[at].is_alive && !self.nodes[at].core.is_up() {
                    self.connect(at);
                }
                if self.nodes[at].is_alive {
                    self.claim(at);
                }
                self.redis_works(at);
                self.take_message(at);
                self.take_answer(at);
            }
            if self.dead.is_empty() && self.nodes.iter().all(Node::is_quiet) {
                return;
            }
        }
        panic!("never quiet");
    }
}
