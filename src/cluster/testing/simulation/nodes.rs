//! What a node does: its core decides, here it is obeyed, and what happened is told to webhooks.

use super::*;

impl Node {
    fn news(&self, channel: &ChannelKey, number: u64, happening: Happening) -> News {
        News {
            number_of_channel: number_of(channel),
            name: self.name.clone().expect("a name while up"),
            number,
            happening,
        }
    }
}

impl World {
    pub(super) fn input(&mut self, at: usize, input: Input) {
        let mut out = Vec::new();
        if let Input::Ask(key, ask) = &input
            && *ask != Ask::Settle
        {
            let name = key.name.as_str().to_owned();
            self.nodes[at].known.insert(name);
        }
        self.nodes[at].core.take(input, &mut out);
        for output in out {
            self.obey(at, output);
        }
        // Who was let in after it had gone leaves, once everything before has been done.
        while let Some((at, ticket)) = self.late.pop_front() {
            self.leave(at, ticket);
        }
    }

    fn obey(&mut self, at: usize, output: Output) {
        let node = &mut self.nodes[at];
        match output {
            Output::Subscribe(key) => node.to_redis.push_back(Request::Subscribe(key)),
            Output::Unsubscribe(key) => node.to_redis.push_back(Request::Unsubscribe(key)),
            Output::Call(key, calls) => {
                assert!(node.known.contains(key.name.as_str()), "{calls:?}");
                node.to_redis.push_back(Request::Call(key, calls));
            }
            Output::Forgotten(key) => {
                node.known.remove(key.name.as_str());
            }
            Output::Tell {
                channel,
                workers,
                position,
                what,
            } => {
                if let What::MemberRemoved(user_id) = &what {
                    let who = (channel.clone(), user_id.clone());
                    assert!(
                        !self.staying.contains(&who),
                        "seed {}, {user_id} is there",
                        self.seed
                    );
                }
                for socket in node.sockets.values_mut() {
                    if socket.channel == channel
                        && !socket.is_gone
                        && workers.contains(&socket.worker)
                    {
                        socket.hear(position, &what, self.faults == Faults::All);
                    }
                }
            }
            Output::Joined { ticket, .. } => self.let_in(at, ticket),
            Output::Full(_) => panic!("there is no limit"),
            Output::Published(_)
            | Output::Opened(_)
            | Output::Closed(_)
            | Output::CountLater(_)
            | Output::Onlined(_) => {}
            Output::Missed(events) => node.missed += events,
            Output::SettleLater(key, _) => self.unsettled.push((at, key)),
            Output::ForgetNews(channel, happening, number) => {
                let news = node.news(&channel, number, happening);
                node.told.push(news.clone());
                node.to_redis.push_back(Request::Forget(news));
            }
            Output::Happened {
                channel,
                happening,
                number,
                wait,
            } => {
                let news = node.news(&channel, number, happening);
                self.happened(at, news, wait.is_some());
            }
        }
    }

    fn let_in(&mut self, at: usize, ticket: Ticket) {
        let node = &mut self.nodes[at];
        let socket = node.sockets.get_mut(&ticket.0);
        let socket = socket.expect("a socket that asked");
        let view = node.core.view(&socket.channel).expect("a subscriber");
        let members: BTreeSet<Arc<str>> = view.members.keys().cloned().collect();
        let list = self.lists.entry(view.edition);
        assert_eq!(*list.or_insert_with(|| members.clone()), members);
        if let Some(user) = &socket.user {
            assert!(members.contains(user), "{user} sees itself");
        }
        socket.seen = Some(Seen {
            since: view.sequence,
            members,
            joined_alone: !node.core.is_up(),
            events: HashMap::new(),
        });
        if socket.is_gone {
            self.late.push_back((at, ticket.0));
        }
    }

    fn happened(&mut self, at: usize, news: News, waits: bool) {
        let node = &mut self.nodes[at];
        if news.number > 0 && !node.open.insert(news.clone()) {
            return;
        }
        match waits {
            true => node.waiting.push(news),
            false => self.tell(at, news),
        }
    }

    pub(super) fn tell(&mut self, at: usize, news: News) {
        let (who, change) = match &news.happening {
            Happening::Occupied => (None, 1),
            Happening::Vacated => (None, -1),
            Happening::MemberAdded(user_id) => (Some(user_id.clone()), 1),
            Happening::MemberRemoved(user_id) => (Some(user_id.clone()), -1),
            Happening::Count(_) | Happening::Restored => return,
        };
        let is_new = self.all_told.insert(news.clone());
        // Whoever dies between telling and forgetting has it told again.
        let may_repeat = matches!(self.faults, Faults::Deaths | Faults::All);
        assert!(is_new || may_repeat, "{} was told twice", news.field());
        if is_new {
            let name = key(news.number_of_channel).name.as_str().to_owned();
            *self.told.entry((name, who)).or_default() += change;
        }
        let node = &mut self.nodes[at];
        node.told.push(news.clone());
        node.to_redis.push_back(Request::Forget(news));
    }

    /// Asks whether something that has waited is to be told.
    pub(super) fn claim(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.core.is_up() && !node.waiting.is_empty() {
            let which = self.random.random_range(0..node.waiting.len());
            let news = node.waiting.remove(which);
            node.claiming.push(news.clone());
            node.to_redis.push_back(Request::Claim(news));
        }
    }

    pub(super) fn up(&mut self, at: usize) {
        let was_emptied = self.emptied.remove(&at);
        self.input(at, Input::Up { was_emptied });
    }

    pub(super) fn connect(&mut self, at: usize) {
        // Sometimes it was taken for dead in the meantime and goes on by another name.
        let may_be_dead = matches!(self.faults, Faults::Deaths | Faults::All);
        let may_be_dead = may_be_dead && self.staying.is_empty();
        let was_declared_dead = may_be_dead && self.random.random_bool(0.3);
        let node = &mut self.nodes[at];
        if node.name.is_none() || was_declared_dead {
            self.names += 1;
            self.dead.extend(node.name.take());
            node.name = Some(format!("node{}", self.names).into());
            node.core.forget_lives();
        }
        let told = node.told.iter().cloned();
        node.to_redis.extend(told.map(Request::Forget));
        self.up(at);
    }

    /// The survivors take away what dead nodes had.
    pub(super) fn sweep(&mut self) {
        let up: Vec<usize> = (0..self.nodes.len())
            .filter(|at| self.nodes[*at].is_alive && self.nodes[*at].core.is_up())
            .collect();
        if up.is_empty() {
            return;
        }
        let by = up[self.random.random_range(0..up.len())];
        let teller = self.nodes[by].name.clone().expect("a name while up");
        for name in std::mem::take(&mut self.dead) {
            let mut has_news = false;
            for number_of_channel in 0..CHANNELS {
                let key = key(number_of_channel);
                let mut told = Told::new();
                self.names += 1;
                let number = (1 << 63) + self.names;
                let answer = self.redis.register(
                    &key,
                    &name,
                    &Holding::default(),
                    (number, self.rules, &teller),
                    &mut told,
                );
                self.spread(&key, &name, told);
                let Answer::Registered(registered) = answer else {
                    continue;
                };
                has_news |= !registered.news.is_empty();
                for open in registered.news {
                    let news = News {
                        number_of_channel,
                        name: name.clone(),
                        number: open.number,
                        happening: open.happening,
                    };
                    self.happened(by, news, open.is_held);
                }
            }
            if has_news {
                self.dead.push(name);
            }
        }
    }
}
