//! What Redis does with what it is asked, and what it sends to whoever listens.

use super::*;

impl World {
    /// One request is carried out; its answer and what it tells are on their way.
    pub(super) fn redis_works(&mut self, at: usize) {
        let Some(request) = self.nodes[at].to_redis.pop_front() else {
            return;
        };
        match request {
            Request::Subscribe(key) => {
                self.topics.entry(key.clone()).or_default().insert(at);
                let stamp = self.sent();
                let subscribed = Input::Subscribed(key);
                let reply = Reply::Input(subscribed);
                self.nodes[at].answers.push_back((stamp, reply));
            }
            Request::Unsubscribe(key) => {
                if let Some(listeners) = self.topics.get_mut(&key) {
                    listeners.remove(&at);
                }
            }
            Request::Call(key, calls) => self.carry_out(at, key, &calls),
            Request::Claim(news) => {
                let key = key(news.number_of_channel);
                let teller = self.nodes[at].name.clone().expect("a name while up");
                let word = news.happening.word();
                let claim = self.redis.claim(&key, &word, &news.named(), &teller);
                let stamp = self.sent();
                let reply = Reply::Claimed(news, claim);
                self.nodes[at].answers.push_back((stamp, reply));
            }
            Request::Forget(news) => {
                let key = key(news.number_of_channel);
                self.redis.forget_news(&key, &news.field());
                let node = &mut self.nodes[at];
                node.told.retain(|other| *other != news);
                node.open.remove(&news);
            }
        }
    }

    /// The calls of one channel. Some events may be refused.
    fn carry_out(&mut self, at: usize, key: ChannelKey, calls: &[Call]) {
        let name = self.nodes[at].name.clone().expect("a name while up");
        let mut answers = Vec::new();
        let mut verdicts = Vec::new();
        let refuses = self.faults == Faults::All && self.random.random_bool(0.05);
        for call in calls {
            let is_refused = matches!(call, Call::Publish { .. })
                && (self.refused > 0 || (refuses && self.random.random_bool(0.5)));
            if is_refused {
                self.refused = self.refused.saturating_sub(1);
                verdicts.push(Verdict::Refused);
                continue;
            }
            verdicts.push(Verdict::Taken);
            let origin = self.nodes[at].core.origin().into();
            let (answer, told) = self.redis.call(&key, &name, &origin, call);
            let may_be_lost = self.was_emptied || !matches!(answer, Answer::Lost);
            assert!(may_be_lost, "Redis has lost nothing");
            answers.push(answer);
            let from = match call {
                Call::Publish { .. } => origin,
                _ => name.clone(),
            };
            self.spread(&key, &from, told);
        }
        let stamp = self.sent();
        let answers = Reply::Input(match verdicts.contains(&Verdict::Refused) {
            true => Input::Refused(key, verdicts),
            false => Input::Answers(key, answers),
        });
        self.nodes[at].answers.push_back((stamp, answers));
    }

    pub(super) fn spread(&mut self, key: &ChannelKey, node: &Arc<str>, told: Told) {
        let listeners = self.topics.get(key).cloned().unwrap_or_default();
        for (sequence, what, number, events) in told {
            for listener in &listeners {
                let message = Message {
                    sequence,
                    origin: node.clone(),
                    what: what.clone(),
                    number,
                    events,
                };
                let input = Input::Message(key.clone(), message);
                let stamp = self.sent();
                self.nodes[*listener].messages.push_back((stamp, input));
            }
        }
    }

    /// The next place in the order of what Redis sends.
    fn sent(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    pub(super) fn forget(&mut self) {
        self.redis.forget();
        self.was_emptied = true;
        self.emptied.extend(0..self.nodes.len());
    }

    /// Everybody has been waited for.
    pub(super) fn lose_patience(&mut self) {
        self.redis.lose_patience();
        for (at, key) in std::mem::take(&mut self.unsettled) {
            if self.nodes[at].is_alive {
                self.input(at, Input::Ask(key, Ask::Settle));
            }
        }
    }
}
