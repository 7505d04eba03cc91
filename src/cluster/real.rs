//! The scripts on a real Redis, compared with the model that the simulation runs on. Needs `redis-server`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use redis::Pipeline;
use tokio::sync::mpsc;

use super::{
    channel::{What, parse_member},
    connection::{Connection, Patience, Push},
    core::{Answer, Ask, Call, Event, Happening, Ticket},
    driver::{ClusterSettings, Driver, Node, Request, add, answer},
    keys::{ChannelKeys, Keys},
    model::{Redis as Model, Told},
    scripts::{Joined, Left, Published, Registered, Scripts},
    testing::{PATIENCE, RedisServer},
    wire::{Kind, Message},
};
use crate::{
    frame::Frame,
    hub::inbox::{ChannelKey, WorkerId},
    protocol::{channel::ChannelName, presence::Member},
};

/// What the scripts answer to the same calls, and what they tell whoever listens.
struct Real {
    connection: Connection,
    pushes: mpsc::Receiver<Push>,
    scripts: Scripts,
    keys: Keys,
}

impl Real {
    async fn connect(server: &RedisServer) -> Real {
        let (sender, pushes) = mpsc::channel(1024);
        let scripts = Scripts::new(false);
        let servers = server.servers();
        let patience = Patience {
            connect: PATIENCE,
            answer: PATIENCE,
        };
        let connection = Connection::open(&servers, patience, sender, &scripts).await;
        Real {
            connection: connection.expect("a connection"),
            pushes,
            scripts,
            keys: Keys::new("test"),
        }
    }

    fn names(&self, key: &ChannelKey) -> ChannelKeys {
        self.keys.channel("7", &key.name)
    }

    async fn call(&mut self, key: &ChannelKey, node: &str, call: &Call) -> Answer {
        let names = self.names(key);
        let mut pipe = Pipeline::new();
        add(&self.scripts, &mut pipe, &names, node, node, call);
        let mut answers = self.connection.call(&mut pipe).await.expect("answers");
        let value = answers
            .remove(0)
            .unwrap_or_else(|error| panic!("{call:?}: {error}"));
        answer(call, &value).expect("an answer")
    }

    /// The next message of the topic.
    async fn told(&mut self) -> (u64, What, u64) {
        let push = tokio::time::timeout(PATIENCE, self.pushes.recv()).await;
        match push.expect("a message").expect("a connection") {
            Push::Message { text, .. } => {
                let message = Message::parse(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
                understood(&message)
            }
            Push::Lost => panic!("the connection is lost"),
        }
    }
}

fn understood(message: &Message<'_>) -> (u64, What, u64) {
    let (what, number) = match &message.kind {
        Kind::Event {
            number,
            except,
            frame,
        } => {
            let event = Event {
                frame: Frame::text(frame),
                except: *except,
                kept: None,
            };
            (What::Event(Arc::new(event)), *number)
        }
        Kind::MemberAdded(text) => (What::MemberAdded(parse_member(text).expect("a member")), 0),
        Kind::MemberRemoved(id) => (What::MemberRemoved((*id).into()), 0),
        Kind::Count(count) => (What::Count(*count), 0),
        Kind::Nothing => (What::Nothing, 0),
    };
    (message.sequence, what, number)
}

/// Sequences begin with the time: those of the model are moved to where the real ones are.
fn moved(answer: Answer, by: i128) -> Answer {
    let shift = |sequence: u64| u64::try_from(i128::from(sequence) + by).expect("a sequence");
    match answer {
        Answer::Joined(Joined::Yes {
            sequence,
            subscriptions,
            is_new_member,
            mut members,
        }) => {
            members.sort();
            Answer::Joined(Joined::Yes {
                sequence: shift(sequence),
                subscriptions,
                is_new_member,
                members,
            })
        }
        Answer::Joined(Joined::Full) => Answer::Joined(Joined::Full),
        Answer::Left(left) => Answer::Left(Left {
            sequence: left.sequence.map(shift),
            ..left
        }),
        Answer::Published(published) => Answer::Published(Published {
            sequence: published.sequence.map(shift),
            ..published
        }),
        Answer::Registered(mut registered) => {
            registered.members.sort();
            registered.came.sort();
            registered.went.sort();
            // the model doesn't count what it never sends
            registered.missed = 0;
            Answer::Registered(Registered {
                sequence: registered.sequence.map(shift),
                ..registered
            })
        }
    }
}

fn sequence(answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Joined(Joined::Yes { sequence, .. }) => Some(*sequence),
        Answer::Joined(Joined::Full) => None,
        Answer::Left(left) => left.sequence,
        Answer::Published(published) => published.sequence,
        Answer::Registered(registered) => registered.sequence,
    }
}

fn key() -> ChannelKey {
    ChannelKey {
        app: 0,
        name: ChannelName::parse("presence-room", 200).expect("a name"),
    }
}

fn random_call(random: &mut SmallRng, held: &mut HashMap<(usize, u32), u32>, node: usize) -> Call {
    let user: u32 = random.random_range(0..3);
    let member = |user: u32| {
        Arc::new(Member {
            user_id: format!("user {user}").as_str().into(),
            user_info: r#"{"a":"b\nc"}"#.into(),
        })
    };
    let count = held.entry((node, user)).or_default();
    match random.random_range(0..10) {
        0..4 => {
            *count += 1;
            Call::Join {
                member: Some(member(user)),
                members_max: 0,
                tell_count: false,
                list: random.random_bool(0.5),
            }
        }
        4..7 if *count > 0 => {
            *count -= 1;
            Call::Leave {
                user_id: Some(member(user).user_id.clone()),
                tell_count: false,
            }
        }
        7 => {
            let mut members = Vec::new();
            let mut subscriptions = 0;
            for user in 0..3 {
                let count = random.random_range(0..3);
                held.insert((node, user), count);
                if count > 0 {
                    members.push((member(user), count));
                    subscriptions += count;
                }
            }
            Call::Register {
                subscriptions,
                seen: 0,
                members,
                tell_count: false,
            }
        }
        _ => Call::Publish {
            number: 1,
            event: Arc::new(Event {
                frame: Frame::text("{}"),
                except: None,
                kept: None,
            }),
        },
    }
}

#[tokio::test]
async fn the_scripts_on_a_real_redis_do_what_the_model_does() {
    let server = RedisServer::start();
    let mut real = Real::connect(&server).await;
    let mut model = Model::default();
    let mut random = SmallRng::seed_from_u64(5);
    let key = key();
    let topic = real.names(&key).topic;
    real.connection.subscribe(&topic).await.expect("subscribed");
    let mut held = HashMap::new();
    // where the real sequence of the channel as it is now is, seen from the model's
    let mut by = 0;
    for step in 0..3_000 {
        let at: usize = random.random_range(0..3);
        let node = format!("node{at}");
        let call = random_call(&mut random, &mut held, at);
        let was_empty = !model.channels.contains_key(&key);
        let (expected, told): (Answer, Told) = model.call(&key, &node, &call);
        let found = real.call(&key, &node, &call).await;
        if let (true, Some(real), Some(model)) = (was_empty, sequence(&found), sequence(&expected))
        {
            by = i128::from(real) - i128::from(model);
        }
        assert_eq!(
            moved(found, 0),
            moved(expected, by),
            "step {step}: {call:?}"
        );
        let mut expected = Vec::new();
        let mut found = Vec::new();
        for (sequence, what, number) in told {
            let (real_sequence, real_what, real_number) = real.told().await;
            assert_eq!(i128::from(real_sequence), i128::from(sequence) + by);
            expected.push((format!("{what:?}"), number));
            found.push((format!("{real_what:?}"), real_number));
        }
        // members that go together go in no order
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "step {step}: {call:?}");
    }
}

/// A client of a node, and what it sees.
struct Client {
    user: Arc<str>,
    since: u64,
    members: BTreeSet<Arc<str>>,
    /// texts of events
    events: Vec<String>,
    wrongs: Vec<String>,
}

#[derive(Default)]
struct Clients {
    waiting: BTreeMap<u64, Arc<str>>,
    here: BTreeMap<u64, Client>,
    happened: Vec<Happening>,
    missed: u64,
    ups: usize,
    downs: usize,
}

/// The clients of a node, all on one worker.
#[derive(Clone, Default)]
struct TestNode(Arc<Mutex<Clients>>);

impl TestNode {
    fn look<T>(&self, see: impl FnOnce(&mut Clients) -> T) -> T {
        see(&mut self.0.lock().expect("no test has panicked"))
    }
}

impl Node for TestNode {
    type Waiter = u64;

    fn tell(
        &mut self,
        _: &ChannelKey,
        _: &[WorkerId],
        position: u64,
        what: &What,
        _: Option<Instant>,
    ) {
        self.look(|clients| {
            let those = clients.here.values_mut().filter(|c| c.since < position);
            for client in those {
                match what {
                    What::Event(event) => client.events.push(event.text()),
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
                    What::Count(_) | What::Nothing => {}
                }
            }
        });
    }

    fn joined(&mut self, ticket: u64, _: &ChannelKey, since: u64, members: Vec<Arc<Member>>) {
        self.look(|clients| {
            let user = clients.waiting.remove(&ticket).expect("somebody who waits");
            let client = Client {
                user,
                since,
                members: members
                    .iter()
                    .map(|member| member.user_id.clone())
                    .collect(),
                events: Vec::new(),
                wrongs: Vec::new(),
            };
            clients.here.insert(ticket, client);
        });
    }

    fn full(&mut self, _: u64) {}

    fn published(&mut self, _: u64, _: u32) {}

    fn happened(&mut self, _: &ChannelKey, happening: Happening) {
        self.look(|clients| clients.happened.push(happening));
    }

    fn missed(&mut self, events: u64) {
        self.look(|clients| clients.missed += events);
    }

    fn link(&mut self, is_up: bool) {
        self.look(|clients| match is_up {
            true => clients.ups += 1,
            false => clients.downs += 1,
        });
    }
}

/// A driver at work, with its clients.
struct Running {
    node: TestNode,
    requests: mpsc::UnboundedSender<Request<u64>>,
    task: tokio::task::JoinHandle<()>,
    tickets: u64,
}

impl Running {
    fn start(server: &RedisServer) -> Running {
        let node = TestNode::default();
        let settings = ClusterSettings {
            servers: server.servers(),
            prefix: "test".to_owned(),
            patience: Patience {
                connect: Duration::from_secs(5),
                answer: Duration::from_secs(5),
            },
            heartbeat: Duration::from_millis(100),
            backlog_bytes_max: 1 << 20,
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

    fn ask(&self, ask: Ask, waiter: Option<u64>) {
        let request = Request {
            channel: key(),
            app_id: "7".into(),
            ask,
            waiter,
        };
        self.requests.send(request).expect("a driver");
    }

    fn join(&mut self, user: &str) {
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
            tell_count: false,
        };
        self.ask(join, Some(ticket));
    }

    /// One who is here leaves; `false` if nobody is.
    fn leave_one(&self) -> bool {
        let gone = self.node.look(|clients| clients.here.pop_first());
        let Some((_, client)) = gone else {
            return false;
        };
        assert_eq!(client.wrongs, Vec::<String>::new());
        let leave = Ask::Leave {
            worker: WorkerId(0),
            user_id: Some(client.user),
            tell_count: false,
        };
        self.ask(leave, None);
        true
    }

    fn publish(&self, text: &str) {
        let event = Arc::new(Event {
            frame: Frame::text(text),
            except: None,
            kept: None,
        });
        let ticket = None;
        self.ask(Ask::Publish { ticket, event }, None);
    }
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Everybody sees the same members: those that are there.
async fn all_agree(nodes: &[&Running]) {
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

#[tokio::test]
async fn two_nodes_share_members_and_events() {
    let server = RedisServer::start();
    let (mut a, mut b) = (Running::start(&server), Running::start(&server));
    a.join("ann");
    b.join("bob");
    b.join("ann");
    all_agree(&[&a, &b]).await;
    for number in 0..100 {
        a.publish(&number.to_string());
    }
    let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for node in [&a, &b] {
        eventually("all events, in order", || {
            node.node
                .look(|clients| clients.here.values().all(|c| c.events == expected))
        })
        .await;
    }
    // ann stays by her other connection
    a.leave_one();
    all_agree(&[&a, &b]).await;
    let happened = [&a, &b].map(|node| node.node.look(|c| c.happened.clone()));
    let count = |wanted: &Happening| happened.iter().flatten().filter(|h| *h == wanted).count();
    assert_eq!(count(&Happening::Occupied), 1);
    assert_eq!(count(&Happening::MemberAdded("ann".into())), 1);
    assert_eq!(count(&Happening::MemberRemoved("ann".into())), 0);
}

#[tokio::test]
async fn cut_connections_and_dead_nodes_leave_no_trace() {
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut admin = client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection");
    let mut nodes: Vec<Running> = (0..3).map(|_| Running::start(&server)).collect();
    let mut random = SmallRng::seed_from_u64(9);
    for round in 0..400 {
        let at = random.random_range(0..nodes.len());
        let node = &mut nodes[at];
        match random.random_range(0..10) {
            0..4 => node.join(&format!("user {}", random.random_range(0..5))),
            4..7 => {
                node.leave_one();
            }
            _ => node.publish(&format!("{at} {round}")),
        }
        if round % 80 == 40 {
            let killed: redis::RedisResult<i64> = redis::cmd("CLIENT")
                .arg(&["KILL", "SKIPME", "yes"])
                .query_async(&mut admin)
                .await;
            killed.expect("killed");
        }
        if round % 7 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    all_agree(&nodes.iter().collect::<Vec<_>>()).await;
    // one dies without a word: the others clean up after it
    let dead = nodes.remove(0);
    dead.task.abort();
    all_agree(&nodes.iter().collect::<Vec<_>>()).await;
    for node in &nodes {
        while node.leave_one() {}
    }
    let mut keys: Vec<String> = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        keys = redis::cmd("KEYS")
            .arg("*")
            .query_async(&mut admin)
            .await
            .expect("keys");
        if keys == ["test:nodes"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("left over: {keys:?}");
}
