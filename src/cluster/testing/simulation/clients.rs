//! Clients of the nodes: they join, leave and publish, and each remembers what it sees.

use super::*;

/// Who published an event and its number, in the text of its frame.
fn event(node: usize, number: u64) -> Arc<Event> {
    Arc::new(Event {
        body: Body::Frame(Frame::text(&format!("{node} {number}"))),
        except: None,
        cached_for: None,
        published: Instant::now(),
    })
}

fn parse_event(event: &Event) -> (usize, u64) {
    let text = std::str::from_utf8(event.payload()).expect("a text");
    let (node, number) = text.split_once(' ').expect("two numbers");
    (
        node.parse().expect("a node"),
        number.parse().expect("a number"),
    )
}

impl World {
    pub(super) fn join(&mut self, at: usize) {
        if self.nodes[at].sockets.len() <= 8 {
            let number = self.random.random_range(0..CHANNELS);
            self.join_channel(at, number);
        }
    }

    pub(super) fn join_channel(&mut self, at: usize, number: usize) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        let channel = key(number);
        let user: Arc<str> = self.random.random_range(0..USERS).to_string().into();
        let user = has_members(number).then_some(user);
        let worker = WorkerId(self.random.random_range(0..WORKERS));
        let member = user.clone().map(|user_id| {
            Arc::new(Member {
                user_id,
                user_info: "{}".into(),
            })
        });
        let socket = Socket {
            channel: channel.clone(),
            worker,
            user,
            seen: None,
            is_gone: false,
        };
        self.nodes[at].sockets.insert(ticket, socket);
        let ask = Ask::Join {
            worker,
            ticket: Ticket(ticket),
            member,
            members_max: 0,
            rules: self.rules,
        };
        self.input(at, Input::Ask(channel, ask));
        ticket
    }

    pub(super) fn part(&mut self, at: usize) {
        let count = self.nodes[at].sockets.len();
        if count == 0 {
            return;
        }
        let which = self.random.random_range(0..count);
        let ticket = *self.nodes[at].sockets.keys().nth(which).expect("counted");
        let socket = self.nodes[at].sockets.get_mut(&ticket).expect("there");
        if let Some(user) = &socket.user
            && self
                .staying
                .contains(&(socket.channel.clone(), user.clone()))
        {
            return;
        }
        if socket.seen.is_some() {
            self.leave(at, ticket);
        } else {
            socket.is_gone = true;
        }
    }

    pub(super) fn leave(&mut self, at: usize, ticket: u64) {
        let socket = self.nodes[at].sockets.remove(&ticket).expect("a socket");
        let ask = Ask::Leave {
            worker: socket.worker,
            user_id: socket.user,
            rules: self.rules,
        };
        self.input(at, Input::Ask(socket.channel, ask));
    }

    pub(super) fn publish(&mut self, at: usize) {
        let number = self.random.random_range(0..CHANNELS);
        self.publish_to(at, number);
    }

    pub(super) fn publish_to(&mut self, at: usize, number: usize) {
        let channel = key(number);
        let number = self.published.entry((at, channel.clone())).or_default();
        *number += 1;
        let event = event(at, *number);
        let ask = Ask::Publish {
            ticket: None,
            event,
        };
        self.input(at, Input::Ask(channel, ask));
    }
}

impl Socket {
    /// What comes at a position of its channel. `may_lag`: events may come after those that were published later.
    pub(super) fn hear(&mut self, position: u64, what: &What, may_lag: bool) {
        let Some(seen) = &mut self.seen else {
            return;
        };
        if seen.since >= position {
            return;
        }
        match what {
            What::Event(event) => {
                let (node, number) = parse_event(event);
                let events = seen.events.entry(node).or_default();
                let last = events.last().copied().unwrap_or(0);
                // An event that a Redis without memory gave to nobody comes after those that went out together with it.
                let is_in_turn = number > last || (may_lag && !events.contains(&number));
                assert!(is_in_turn, "{number} after {last} of node {node}");
                events.push(number);
            }
            What::MemberAdded(member) => {
                assert!(
                    seen.members.insert(member.user_id.clone()),
                    "{} was added twice",
                    member.user_id
                );
            }
            What::MemberRemoved(user_id) => {
                assert!(seen.members.remove(user_id), "{user_id} was not there");
            }
            What::MemberChanged(_)
            | What::Count(_)
            | What::Online(_)
            | What::Doubt(_)
            | What::Nothing => {}
        }
    }
}
