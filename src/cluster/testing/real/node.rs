//! A node of a cluster for tests: a driver at work, and its clients, who look at what they see.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::mpsc;

use super::{HISTORY, PATIENCE, RedisServer, event, eventually, key};
use crate::{
    cluster::{
        connection::{Patience, Servers},
        core::Core,
        driver::{ClusterSettings, Driver, Node, Request, Rulebook},
        rules::Rules,
        terms::{Ask, Happening, Ticket, What},
        wire::Unreadable,
    },
    hub::inbox::{ChannelKey, WorkerId},
    protocol::{channel::ChannelName, presence::Member},
};

/// A client of a node, and what it sees.
pub(super) struct Client {
    pub(super) user: Arc<str>,
    since: u64,
    pub(super) members: BTreeSet<Arc<str>>,
    /// texts of events
    pub(super) events: Vec<String>,
    pub(super) wrongs: Vec<String>,
}

#[derive(Default)]
pub(super) struct Clients {
    waiting: BTreeMap<u64, Arc<str>>,
    pub(super) here: BTreeMap<u64, Client>,
    pub(super) happened: Vec<Happening>,
    missed: u64,
    pub(super) ups: usize,
    pub(super) downs: usize,
    /// how long the news of who left wait
    pub(super) hold: Option<Duration>,
}

/// The clients of a node, all on one worker.
#[derive(Clone, Default)]
pub(super) struct TestNode(Arc<Mutex<Clients>>);

impl TestNode {
    pub(super) fn look<T>(&self, see: impl FnOnce(&mut Clients) -> T) -> T {
        see(&mut self.0.lock().expect("no test has panicked"))
    }
}

impl Node for TestNode {
    type Waiter = u64;

    fn tell(&mut self, _: &ChannelKey, _: &[WorkerId], position: u64, what: &What) {
        self.look(|clients| {
            let those = clients.here.values_mut().filter(|c| c.since < position);
            for client in those {
                match what {
                    What::Event(event) => {
                        let text = std::str::from_utf8(event.payload()).expect("a text");
                        client.events.push(text.to_owned());
                    }
                    What::MemberAdded(member) => {
                        if !client.members.insert(member.user_id.clone()) {
                            client
                                .wrongs
                                .push(format!("{} added twice", member.user_id));
                        }
                    }
                    What::MemberRemoved(id) => {
                        if !client.members.remove(id) {
                            client.wrongs.push(format!("{id} removed, but not there"));
                        }
                    }
                    What::MemberChanged(_)
                    | What::Count(_)
                    | What::Online(_)
                    | What::Doubt(_)
                    | What::Nothing => {}
                }
            }
        });
    }

    fn joined(&mut self, ticket: u64, core: &Core, _: u64) {
        let view = core.view(&key()).expect("a subscriber");
        self.look(|clients| {
            let user = clients.waiting.remove(&ticket).expect("somebody who waits");
            let client = Client {
                user,
                since: view.sequence,
                members: view.members.keys().cloned().collect(),
                events: Vec::new(),
                wrongs: Vec::new(),
            };
            clients.here.insert(ticket, client);
        });
    }

    fn full(&mut self, _: u64) {}

    fn has_no_room_for(&self, _: &ChannelKey, _: usize) -> bool {
        false
    }

    fn has_no_room(&mut self, _: u64) {}

    fn looked(&mut self, _: u64, _: &Core) {}

    fn published(&mut self, _: u64) {}

    fn opened(&mut self, _: &ChannelKey, _: bool) {}

    fn happened(&mut self, _: &ChannelKey, happening: &Happening) {
        self.look(|clients| clients.happened.push(happening.clone()));
    }

    fn missed_cache(&mut self) -> Vec<(ChannelKey, Duration)> {
        Vec::new()
    }

    fn tell_cache_miss(&mut self, _: &ChannelKey) {}

    fn missed(&mut self, events: u64) {
        self.look(|clients| clients.missed += events);
    }

    fn skipped(&mut self, topic: &str, why: Unreadable) {
        panic!("{topic}: {why}");
    }

    fn link(&mut self, is_up: bool) {
        self.look(|clients| match is_up {
            true => clients.ups += 1,
            false => clients.downs += 1,
        });
    }

    fn named(&mut self, _: &str, _: bool) {}

    fn alive(&mut self, _: usize) {}

    fn backlog(&mut self, _: usize, _: usize, _: u64) {}

    fn took(&mut self, _: Duration) {}

    fn is_congested(&self) -> bool {
        false
    }

    fn catch_up(&mut self) -> impl Future<Output = ()> + Send + 'static {
        std::future::ready(())
    }

    fn load(&self) -> String {
        "{}".to_owned()
    }

    fn connections(&self) -> Vec<(Arc<str>, usize)> {
        vec![("7".into(), self.look(|clients| clients.here.len()))]
    }

    fn apps_with_quota(&self) -> Vec<Arc<str>> {
        vec!["7".into()]
    }

    fn connections_elsewhere(&mut self, _: HashMap<String, usize>) {}

    fn app(&self, app_id: &str) -> Option<u32> {
        (app_id == "7").then_some(0)
    }

    fn rulebook(&self) -> Arc<Rulebook> {
        let hold = self.look(|clients| clients.hold);
        Arc::new(move |_: &str, _: &ChannelName| Rules {
            tell_count: false,
            is_told: true,
            hold,
            is_watched: false,
        })
    }
}

/// A driver at work, with its clients.
pub(super) struct Running {
    pub(super) node: TestNode,
    requests: mpsc::UnboundedSender<Request<u64>>,
    pub(super) task: tokio::task::JoinHandle<()>,
    tickets: u64,
}

impl Running {
    pub(super) fn start(server: &RedisServer) -> Running {
        Running::start_at(server.servers())
    }

    pub(super) fn start_at(servers: Servers) -> Running {
        let node = TestNode::default();
        let settings = ClusterSettings {
            servers,
            prefix: "test".to_owned(),
            patience: Patience {
                connect: Duration::from_secs(5),
                answer: Duration::from_secs(5),
            },
            heartbeat: Duration::from_millis(100),
            backlog_bytes_max: 1 << 20,
            backlog_age_max: PATIENCE,
            history: HISTORY,
            inbound_bytes_max: 1 << 20,
            held_max: 1_000,
            publishes_max: 1_000,
            retry: Duration::from_millis(20),
        };
        let (requests, receiver) = mpsc::unbounded_channel();
        let driver = Driver::new(settings, node.clone());
        Running {
            node,
            requests,
            task: tokio::spawn(driver.run(receiver)),
            tickets: 0,
        }
    }

    pub(super) fn ask(&self, ask: Ask, waiter: Option<u64>) {
        let request = Request::Ask {
            channel: key(),
            app_id: "7".into(),
            ask,
            waiter,
        };
        self.requests.send(request).expect("a driver");
    }

    pub(super) fn rules(&self) -> Rules {
        (self.node.rulebook())("7", &key().name)
    }

    pub(super) fn join(&mut self, user: &str) {
        self.tickets += 1;
        let ticket = self.tickets;
        let member = Arc::new(Member {
            user_id: user.into(),
            user_info: "{}".into(),
        });
        let user = member.user_id.clone();
        self.node
            .look(|clients| clients.waiting.insert(ticket, user));
        let join = Ask::Join {
            worker: WorkerId(0),
            ticket: Ticket(0),
            member: Some(member),
            members_max: 0,
            rules: self.rules(),
        };
        self.ask(join, Some(ticket));
    }

    /// One who is here leaves; `false` if nobody is.
    pub(super) fn leave_one(&self) -> bool {
        let gone = self.node.look(|clients| clients.here.pop_first());
        let Some((_, client)) = gone else {
            return false;
        };
        assert_eq!(client.wrongs, Vec::<String>::new());
        let leave = Ask::Leave {
            worker: WorkerId(0),
            user_id: Some(client.user),
            rules: self.rules(),
        };
        self.ask(leave, None);
        true
    }

    pub(super) fn publish(&self, text: &str) {
        let event = event(text);
        let ticket = None;
        self.ask(Ask::Publish { ticket, event }, None);
    }
}

/// Everybody sees the same members: those that are there.
pub(super) async fn all_agree(nodes: &[&Running]) {
    eventually("everybody is let in and sees the same", || {
        let mut truth: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut is_settled = true;
        for node in nodes {
            node.node.look(|clients| {
                is_settled &= clients.waiting.is_empty();
                truth.extend(clients.here.values().map(|client| client.user.clone()));
            });
        }
        is_settled
            && nodes.iter().all(|node| {
                node.node.look(|clients| {
                    let mut all = clients.here.values();
                    all.all(|client| client.members == truth && client.wrongs.is_empty())
                })
            })
    })
    .await;
}
