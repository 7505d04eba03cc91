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
    PATIENCE, RedisCluster, RedisServer, documented_rules,
    model::{Redis as Model, Told},
    user,
};
use crate::{
    cluster::{
        calls::{Caller, add, answer},
        connection::{Connection, Patience, Push, Servers},
        core::Core,
        driver::{ClusterSettings, Driver, Node, Request, Rulebook},
        keys::{ChannelKeys, Keys},
        messages::understand,
        nodes,
        rules::Rules,
        scripts::{History, News, Scripts},
        terms::{
            Answer, Ask, Body, Call, Event, Happening, Joined, Left, Lost, Present, Published,
            Registered, Telling, Ticket, Wanted, What,
        },
        wire::Unreadable,
    },
    frame::Frame,
    hub::inbox::{ChannelKey, WorkerId},
    protocol::{channel::ChannelName, presence::Member},
};

const HISTORY: History = History {
    events_max: 1_000,
    age_max: PATIENCE,
};

/// Longer than any test.
const DOUBT: Duration = PATIENCE.saturating_mul(100);

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
        let scripts = Scripts::new(false, HISTORY).with_doubt(DOUBT);
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
        let caller = Caller {
            node,
            origin: node,
            heartbeat: Duration::from_secs(5),
        };
        add(&self.scripts, &mut pipe, &names, caller, call);
        let mut answers = self.connection.call(&mut pipe).await.expect("answers");
        let value = answers
            .remove(0)
            .unwrap_or_else(|error| panic!("{call:?}: {error}"));
        answer(call, &value).expect("an answer")
    }

    async fn one<T: redis::FromRedisValue>(&mut self, pipe: &mut Pipeline) -> T {
        let answer = nodes::one(&mut self.connection, pipe).await;
        answer.expect("an answer")
    }

    async fn claim(&mut self, key: &ChannelKey, word: &str, name: &str, teller: &str) -> i64 {
        let mut pipe = Pipeline::new();
        let news = News {
            name,
            remembered_ms: 60_000,
            is_held: true,
        };
        let names = self.names(key);
        self.scripts.claim(&mut pipe, &names, word, news, teller);
        self.one(&mut pipe).await
    }

    async fn forget_news(&mut self, key: &ChannelKey, field: &str) {
        let told = nodes::Told {
            keys: Arc::new(self.names(key)),
            field: field.to_owned(),
        };
        let forgotten = nodes::forget_news(&mut self.connection, &[told]).await;
        forgotten.expect("forgotten");
    }

    /// All that is written down.
    async fn news(&mut self, key: &ChannelKey) -> BTreeMap<String, String> {
        let mut pipe = Pipeline::new();
        pipe.cmd("HGETALL").arg(self.names(key).held);
        self.one(&mut pipe).await
    }

    /// The next message of the topic.
    async fn told(&mut self) -> (u64, What, u64) {
        let push = tokio::time::timeout(PATIENCE, self.pushes.recv()).await;
        match push.expect("a message").expect("a connection") {
            Push::Message { text, .. } => {
                let message = understand(&text).unwrap_or_else(|e| panic!("{}: {e}", &*text));
                (message.sequence, message.what, message.number)
            }
            Push::Lost => panic!("the connection is lost"),
        }
    }
}

/// Sequences begin with the time: those of the model are moved to where the real ones are.
fn moved(answer: Answer, by: i128) -> Answer {
    let shift = |sequence: u64| u64::try_from(i128::from(sequence) + by).expect("a sequence");
    match answer {
        Answer::Joined(Joined::Yes {
            sequence,
            subscriptions,
            is_new_member,
            is_return,
            is_members_return,
            mut members,
            doubt,
            ..
        }) => {
            members.sort();
            Answer::Joined(Joined::Yes {
                sequence: shift(sequence),
                subscriptions,
                is_new_member,
                told: Telling::No,
                is_return,
                is_members_return,
                kept: None,
                members,
                events: 0,
                life: 0,
                doubt: doubt.map(|_| PATIENCE),
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
            registered.doubtful.sort();
            // when they were published is nobody's business
            registered.history.clear();
            Answer::Registered(Registered {
                sequence: registered.sequence.map(shift),
                life: 0,
                doubt: registered.doubt.map(|_| PATIENCE),
                ..registered
            })
        }
        Answer::Lost => Answer::Lost,
    }
}

fn sequence(answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Joined(Joined::Yes { sequence, .. }) => Some(*sequence),
        Answer::Joined(Joined::Full) => None,
        Answer::Left(left) => left.sequence,
        Answer::Published(published) => published.sequence,
        Answer::Registered(registered) => registered.sequence,
        Answer::Lost => None,
    }
}

/// The life of the channel that an answer names.
fn life(answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Joined(Joined::Yes { life, .. }) => Some(*life),
        Answer::Registered(registered) => Some(registered.life),
        _ => None,
    }
}

/// The call of a node that knows this life of the channel.
fn knowing(call: &Call, of: u64) -> Call {
    let mut call = call.clone();
    if let Call::Register { life, .. } = &mut call {
        *life = of;
    }
    call
}

fn key() -> ChannelKey {
    ChannelKey {
        app: 0,
        name: ChannelName::parse("presence-room", 200).expect("a name"),
    }
}

fn event(text: &str) -> Arc<Event> {
    Arc::new(Event {
        body: Body::Frame(Frame::text(text)),
        except: None,
        cached_for: None,
        published: Instant::now(),
    })
}

fn text(what: &What) -> String {
    match what {
        What::Event(event) => format!("{:?}", event.body),
        // for how long is nobody's business
        What::Doubt(_) => "Doubt".to_owned(),
        what => format!("{what:?}"),
    }
}

fn random_call(
    random: &mut SmallRng,
    held: &mut HashMap<(usize, u32), u32>,
    node: usize,
    number: u64,
) -> Call {
    let rules = Rules {
        is_told: random.random_bool(0.9),
        hold: random.random_bool(0.7).then_some(PATIENCE),
        ..Rules::default()
    };
    let user: u32 = random.random_range(0..3);
    let info = match random.random_bool(0.1) {
        true => "1",
        false => r#"{"a":"b\nc"}"#,
    };
    let member = |user: u32| {
        Arc::new(Member {
            user_id: format!("user {user}").as_str().into(),
            user_info: info.into(),
        })
    };
    let count = held.entry((node, user)).or_default();
    match random.random_range(0..10) {
        0..4 => {
            *count += 1;
            Call::Join {
                member: Some(member(user)),
                members_max: 0,
                rules,
                wanted: match random.random_bool(0.5) {
                    true => Wanted::All,
                    false => Wanted::Nothing,
                },
                number,
            }
        }
        4..7 if *count > 0 => {
            *count -= 1;
            Call::Leave {
                user_id: Some(member(user).user_id.clone()),
                rules,
                number,
            }
        }
        7 => {
            let mut members = Vec::new();
            let mut subscriptions = 0;
            for user in 0..3 {
                let count = random.random_range(0..3);
                held.insert((node, user), count);
                if count > 0 {
                    members.push(Present {
                        member: member(user),
                        connections: count,
                        is_latest: random.random_bool(0.5),
                    });
                    subscriptions += count;
                }
            }
            let were_there = (0..4).filter(|_| random.random_bool(0.5)).map(member);
            let lost = Lost {
                members: were_there.collect(),
                ..Lost::default()
            };
            Call::Register {
                subscriptions,
                seen: 0,
                heard: (0, 0),
                life: 0,
                members,
                lost: random.random_bool(0.5).then_some(lost),
                rules,
                number,
            }
        }
        _ => Call::Publish {
            number: 1,
            is_late: false,
            event: event("{}"),
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
    let mut lives: HashMap<usize, (u64, u64)> = HashMap::new();
    // where the real sequence of the channel as it is now is, seen from the model's
    let mut by = 0;
    for step in 0..3_000 {
        let at: usize = random.random_range(0..3);
        let node = format!("node{at}");
        let call = random_call(&mut random, &mut held, at, step);
        let was_empty = !model.channels.contains_key(&key);
        let origin = Arc::from(node.as_str());
        if random.random_bool(0.03) {
            // they come back empty; what nodes think that they have there is wrong from now on
            server.order_line("FLUSHALL");
            model.forget();
            held.clear();
        }
        let was_empty = was_empty || !model.channels.contains_key(&key);
        let (in_real, in_model) = lives.get(&at).copied().unwrap_or_default();
        let of_model = knowing(&call, in_model);
        let (expected, told): (Answer, Told) = model.call(&key, &node, &origin, &of_model);
        let found = real.call(&key, &node, &knowing(&call, in_real)).await;
        if let (Some(in_real), Some(in_model)) = (life(&found), life(&expected)) {
            lives.insert(at, (in_real, in_model));
        }
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
        for (sequence, what, number, _) in told {
            let (real_sequence, real_what, real_number) = real.told().await;
            assert_eq!(i128::from(real_sequence), i128::from(sequence) + by);
            expected.push((text(&what), number));
            found.push((text(&real_what), real_number));
        }
        // members that go together go in no order
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "step {step}: {call:?}");
        // somebody asks for some of the news, and tells some
        let written = model.news.get(&key).cloned().unwrap_or_default();
        if let Some((field, value)) = written.iter().nth(random.random_range(0..4)) {
            match field
                .strip_prefix('+')
                .and_then(|told| told.split_once('/'))
            {
                Some((name, word)) if random.random_bool(0.3) => {
                    let expected = model.claim(&key, word, name, "node0");
                    assert_eq!(real.claim(&key, word, name, "node0").await, expected);
                }
                Some(_) => {
                    model.forget_news(&key, field);
                    real.forget_news(&key, field).await;
                }
                None => {
                    // perhaps somebody else's
                    let name = if random.random_bool(0.5) {
                        value
                    } else {
                        "node1.0"
                    };
                    let expected = model.claim(&key, field, name, "node1");
                    assert_eq!(real.claim(&key, field, name, "node1").await, expected);
                }
            }
        }
        let written = model.news.get(&key).cloned().unwrap_or_default();
        assert_eq!(real.news(&key).await, written, "step {step}: {call:?}");
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
    /// how long the news of who left wait
    hold: Option<Duration>,
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

    fn has_no_room_for(&self, _: &ChannelKey) -> bool {
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
struct Running {
    node: TestNode,
    requests: mpsc::UnboundedSender<Request<u64>>,
    task: tokio::task::JoinHandle<()>,
    tickets: u64,
}

impl Running {
    fn start(server: &RedisServer) -> Running {
        Running::start_at(server.servers())
    }

    fn start_at(servers: Servers) -> Running {
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

    fn ask(&self, ask: Ask, waiter: Option<u64>) {
        let request = Request::Ask {
            channel: key(),
            app_id: "7".into(),
            ask,
            waiter,
        };
        self.requests.send(request).expect("a driver");
    }

    fn rules(&self) -> Rules {
        (self.node.rulebook())("7", &key().name)
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
            rules: self.rules(),
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
            rules: self.rules(),
        };
        self.ask(leave, None);
        true
    }

    fn publish(&self, text: &str) {
        let event = event(text);
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

fn added(user: &str) -> Happening {
    Happening::MemberAdded(user.into())
}

fn removed(user: &str) -> Happening {
    Happening::MemberRemoved(user.into())
}

#[tokio::test]
async fn two_nodes_share_members_and_events() {
    let server = RedisServer::start();
    share(&server.servers()).await;
}

#[tokio::test]
async fn two_nodes_share_members_and_events_on_a_redis_cluster_that_lets_them_do_no_more_than_needed()
 {
    let cluster = RedisCluster::start();
    let mut seeds = cluster.seeds();
    for node in &cluster.nodes {
        node.order_line("ACL SETUSER narrow on >secret");
        node.order_line(&format!(
            "ACL SETUSER narrow {}",
            documented_rules("test", true)
        ));
    }
    seeds.access = user("narrow", "secret");
    share(&Servers::Cluster(seeds)).await;
}

async fn share(servers: &Servers) {
    let mut a = Running::start_at(servers.clone());
    let mut b = Running::start_at(servers.clone());
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
    assert_eq!(count(&added("ann")), 1);
    assert_eq!(count(&removed("ann")), 0);
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
        keys.sort();
        if keys == ["test:{nodes}", "test:{nodes}:life", "test:{nodes}:loads"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("left over: {keys:?}");
}

#[tokio::test]
async fn news_of_who_left_wait_for_a_return_to_any_node() {
    let server = RedisServer::start();
    let (mut a, mut b) = (Running::start(&server), Running::start(&server));
    for node in [&a, &b] {
        // nobody is told who comes and goes before
        eventually("Redis is there", || node.node.look(|c| c.ups == 1)).await;
        // longer than she takes on a busy machine
        let hold = Some(Duration::from_millis(1_500));
        node.node.look(|clients| clients.hold = hold);
    }
    let happened = |a: &Running, b: &Running| -> Vec<Happening> {
        let both = [a, b].map(|node| node.node.look(|c| c.happened.clone()));
        both.concat()
    };
    a.join("ann");
    all_agree(&[&a, &b]).await;
    // she leaves one node and comes to the other: nobody is told
    a.leave_one();
    b.join("ann");
    all_agree(&[&a, &b]).await;
    b.publish("x");
    eventually("what came before has been told", || {
        b.node
            .look(|clients| clients.here.values().all(|c| c.events == ["x"]))
    })
    .await;
    b.leave_one();
    let everything = [
        Happening::Occupied,
        added("ann"),
        removed("ann"),
        Happening::Vacated,
    ];
    eventually("that she left is told in the end", || {
        happened(&a, &b).len() == everything.len()
    })
    .await;
    assert_eq!(happened(&a, &b), everything);
    eventually("what was told is forgotten", || {
        texts(&server, &["KEYS", "*:held"]).is_empty()
    })
    .await;
}

#[tokio::test]
async fn news_are_told_though_redis_went_away_when_they_were_due() {
    let server = RedisServer::start();
    let mut a = Running::start(&server);
    let hold = Some(Duration::from_millis(1_000));
    a.node.look(|clients| clients.hold = hold);
    eventually("Redis is there", || a.node.look(|clients| clients.ups == 1)).await;
    a.join("ann");
    all_agree(&[&a]).await;
    a.leave_one();
    let held = Keys::new("test").channel("7", &key().name).held;
    eventually("the news are known to Redis", || {
        let count: i64 = redis::from_redis_value(server.order(&["HLEN", &held])).expect("a number");
        count == 2
    })
    .await;
    server.pause();
    eventually("the node goes on alone", || {
        a.node.look(|clients| clients.downs == 1)
    })
    .await;
    server.go_on();
    let last = [removed("ann"), Happening::Vacated];
    eventually("the news are told", || {
        a.node.look(|clients| clients.happened.ends_with(&last))
    })
    .await;
    a.node
        .look(|clients| assert_eq!(clients.happened.len(), 4, "{:?}", clients.happened));
}

/// The texts that Redis answers.
fn texts(server: &RedisServer, words: &[&str]) -> Vec<String> {
    redis::from_redis_value(server.order(words)).expect("texts")
}

/// A subscription that counts are told of.
fn counted_join(number: u64) -> Call {
    Call::Join {
        member: None,
        members_max: 0,
        rules: Rules {
            tell_count: true,
            ..Rules::default()
        },
        wanted: Wanted::Nothing,
        number,
    }
}

/// Of channels without members nobody finds out who is there. They are counted again all the same when the time is over.
#[tokio::test]
async fn what_was_in_doubt_for_long_enough_is_in_doubt_no_more() {
    let server = RedisServer::start();
    let mut real = Real::connect(&server).await;
    let key = key();
    let state = real.names(&key).state;
    let now_ms = i64::try_from(
        std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("a clock")
            .as_millis(),
    )
    .expect("a time");
    let after = |milliseconds: i64| (now_ms + milliseconds).to_string();
    real.call(&key, "a", &counted_join(1)).await;
    for (doubt, expected) in [
        (after(60_000), Telling::Later),
        (after(-2_000), Telling::Done),
        ("0".to_owned(), Telling::Done),
    ] {
        server.order(&["HSET", &state, "doubt", &doubt]);
        match real.call(&key, "a", &counted_join(2)).await {
            Answer::Joined(Joined::Yes { told, .. }) => assert_eq!(told, expected, "{doubt}"),
            other => panic!("{other:?}"),
        }
        let leave = Call::Leave {
            user_id: None,
            rules: Rules {
                tell_count: true,
                ..Rules::default()
            },
            number: 3,
        };
        match real.call(&key, "a", &leave).await {
            Answer::Left(left) => assert_eq!(left.told, expected, "{doubt}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Whoever was lost doesn't stay for a year because the clock of Redis is set back by one.
#[tokio::test]
async fn nobody_is_in_doubt_for_longer_than_was_meant() {
    let server = RedisServer::start();
    let mut real = Real::connect(&server).await;
    let key = key();
    let state = real.names(&key).state;
    let member = |id: &str| {
        Arc::new(Member {
            user_id: id.into(),
            user_info: "{}".into(),
        })
    };
    let register = |life: u64, lost: Option<Lost>| Call::Register {
        subscriptions: 1,
        seen: 0,
        heard: (0, 0),
        life,
        members: vec![Present {
            member: member("ann"),
            connections: 1,
            is_latest: false,
        }],
        lost,
        rules: Rules::default(),
        number: 1,
    };
    let lost = Lost {
        members: vec![member("ann"), member("bob")],
        ..Lost::default()
    };
    let doubtful = |answer: Answer| match answer {
        Answer::Registered(registered) => (registered.life, registered.doubtful),
        other => panic!("{other:?}"),
    };
    let answer = real.call(&key, "a", &register(1, Some(lost))).await;
    let (life, in_doubt) = doubtful(answer);
    assert_eq!(in_doubt, ["bob"]);
    let (_, in_doubt) = doubtful(real.call(&key, "a", &register(life, None)).await);
    assert_eq!(in_doubt, ["bob"]);
    server.order(&["HINCRBY", &state, "doubt", "31536000000"]);
    let (_, in_doubt) = doubtful(real.call(&key, "a", &register(life, None)).await);
    assert_eq!(in_doubt, [""; 0]);
    let members = real.names(&key).members;
    assert_eq!(texts(&server, &["HKEYS", &members]), ["ann"]);
}

/// The clock of Redis leaps, as seen from signs of life that are older by it than they should be.
#[tokio::test]
async fn a_clock_that_leaps_is_nobodys_death() {
    let server = RedisServer::start();
    let mut real = Real::connect(&server).await;
    let heartbeat = Duration::from_secs(5);
    let keys = real.keys.clone();
    let nodes = keys.nodes();
    let living = |name: &'static str, is_first: bool| nodes::Living {
        name,
        load: "{}",
        is_first,
        sweeps: true,
        life: "",
    };
    for (name, is_first) in [("a", true), ("b", true), ("dies", true), ("a", false)] {
        let beat = nodes::beat(
            &mut real.connection,
            &keys,
            heartbeat,
            living(name, is_first),
        );
        assert_eq!(beat.await.expect("a beat").dead, [""; 0]);
    }
    for name in ["a", "b", "dies"] {
        server.order(&["ZINCRBY", &nodes, "-3600000", name]);
    }
    for (name, expected) in [("a", &[][..]), ("b", &[]), ("a", &["dies"]), ("b", &[])] {
        let beat = nodes::beat(&mut real.connection, &keys, heartbeat, living(name, false));
        assert_eq!(beat.await.expect("a beat").dead, expected, "{name}");
    }
}

/// It is interrupted while it takes away what it did by its old name.
#[tokio::test]
async fn nothing_stays_of_a_node_that_was_taken_for_dead() {
    let server = RedisServer::start();
    let mut a = Running::start(&server);
    eventually("Redis is there", || a.node.look(|clients| clients.ups == 1)).await;
    a.join("ann");
    all_agree(&[&a]).await;
    let keys = Keys::new("test");
    let name = texts(&server, &["ZRANGE", &keys.nodes(), "0", "-1"]).remove(0);
    let channels = keys.channels_on(&name);
    // What cannot be read ends the connection.
    server.order(&["DEL", &channels]);
    server.order(&["SET", &channels, "x"]);
    server.order(&["ZREM", &keys.nodes(), &name]);
    eventually("it is interrupted", || a.node.look(|c| c.downs > 2)).await;
    server.order(&["DEL", &channels]);
    let state = keys.channel("7", &key().name).state;
    eventually("only what it has by its new name is left", || {
        let mut fields = texts(&server, &["HKEYS", &state]);
        fields.retain(|field| field.starts_with("of|"));
        fields.len() == 1 && !fields[0].ends_with(&name)
    })
    .await;
    all_agree(&[&a]).await;
}

#[tokio::test]
async fn connections_that_end_while_redis_is_away_do_not_count_when_it_is_back() {
    let server = RedisServer::start();
    let mut a = Running::start(&server);
    eventually("Redis is there", || a.node.look(|clients| clients.ups == 1)).await;
    a.join("ann");
    all_agree(&[&a]).await;
    let connections = Keys::new("test").connections_of("7");
    let counted = || texts(&server, &["HVALS", &connections]);
    eventually("the connection counts", || counted() == ["1"]).await;
    server.pause();
    eventually("the node goes on alone", || {
        a.node.look(|clients| clients.downs == 1)
    })
    .await;
    a.leave_one();
    server.go_on();
    eventually("nothing counts", || counted().is_empty()).await;
}
