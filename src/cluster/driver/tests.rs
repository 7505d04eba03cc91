//! What the driver keeps in order whatever comes together, without a Redis: its answers are put in by hand.

use super::*;
use crate::{
    cluster::{
        rules::Rules,
        terms::{Answer, Happening, Joined, Telling, What},
        testing::{RedisServer, until},
        wire,
    },
    hub::inbox::WorkerId,
    protocol::channel::ChannelName,
};

const CHANNELS_MAX: usize = 1_000;

/// Serves nobody.
#[derive(Default)]
struct Nobody {
    is_congested: bool,
    /// channels that have somebody
    open: usize,
    /// who was told that there is no room
    refused: usize,
}

impl Node for Nobody {
    type Waiter = ();

    fn tell(&mut self, _: &ChannelKey, _: &[WorkerId], _: u64, _: &What) {}
    fn joined(&mut self, (): (), _: &Core, _: u64) {}
    fn full(&mut self, (): ()) {}
    fn has_no_room_for(&self, _: &ChannelKey, opening: usize) -> bool {
        self.open + opening >= CHANNELS_MAX
    }
    fn has_no_room(&mut self, (): ()) {
        self.refused += 1;
    }
    fn looked(&mut self, (): (), _: &Core) {}
    fn published(&mut self, (): ()) {}
    fn opened(&mut self, _: &ChannelKey, is_open: bool) {
        match is_open {
            true => self.open += 1,
            false => self.open -= 1,
        }
    }
    fn happened(&mut self, _: &ChannelKey, _: &Happening) {}
    fn missed_cache(&mut self) -> Vec<(ChannelKey, Duration)> {
        Vec::new()
    }
    fn tell_cache_miss(&mut self, _: &ChannelKey) {}
    fn missed(&mut self, _: u64) {}
    fn skipped(&mut self, _: &str, _: wire::Unreadable) {}
    fn link(&mut self, _: bool) {}
    fn named(&mut self, _: &str, _: bool) {}
    fn alive(&mut self, _: usize) {}
    fn backlog(&mut self, _: usize, _: usize, _: u64) {}
    fn took(&mut self, _: Duration) {}
    fn is_congested(&self) -> bool {
        self.is_congested
    }
    fn catch_up(&mut self) -> impl Future<Output = ()> + Send + 'static {
        std::future::ready(())
    }
    fn load(&self) -> String {
        String::new()
    }
    fn connections(&self) -> Vec<(Arc<str>, usize)> {
        Vec::new()
    }
    fn apps_with_quota(&self) -> Vec<Arc<str>> {
        Vec::new()
    }
    fn connections_elsewhere(&mut self, _: HashMap<String, usize>) {}
    fn app(&self, _: &str) -> Option<u32> {
        Some(0)
    }
    fn rulebook(&self) -> Arc<Rulebook> {
        Arc::new(|_: &str, _: &ChannelName| Rules::default())
    }
}

fn driver(servers: Servers) -> Driver<Nobody> {
    let settings = ClusterSettings {
        servers,
        prefix: "test".to_owned(),
        patience: Patience {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(5),
        },
        heartbeat: Duration::from_secs(5),
        backlog_bytes_max: 1 << 20,
        backlog_age_max: Duration::from_secs(60),
        history: History::NONE,
        inbound_bytes_max: 1_000,
        held_max: 1_000,
        publishes_max: 1_000,
        retry: Duration::from_millis(20),
    };
    Driver::new(settings, Nobody::default())
}

fn key(number: usize) -> ChannelKey {
    ChannelKey {
        app: 0,
        name: ChannelName::parse(&format!("room-{number}"), 200).expect("a name"),
    }
}

fn join() -> Ask {
    Ask::Join {
        worker: WorkerId(0),
        ticket: Ticket(0),
        member: None,
        members_max: 0,
        rules: Rules::default(),
    }
}

fn leave() -> Ask {
    Ask::Leave {
        worker: WorkerId(0),
        user_id: None,
        rules: Rules::default(),
    }
}

/// A driver with a subscriber on each of so many channels, of which Redis has told everything until sequence 100.
fn subscribed(channels: usize) -> Driver<Nobody> {
    let server = "redis://127.0.0.1:1";
    let server = super::super::connection::Server::parse(server).expect("a URL");
    let mut driver = driver(Servers::One(server));
    driver.is_up = true;
    driver.input(Input::Up { was_emptied: false });
    for number in 0..channels {
        driver.ask(key(number), "7".into(), join(), Some(()));
        driver.input(Input::Subscribed(key(number)));
        let joined = Answer::Joined(Joined::Yes {
            sequence: 100,
            subscriptions: 1,
            is_new_member: false,
            told: Telling::No,
            is_return: false,
            is_members_return: false,
            kept: None,
            members: Vec::new(),
            events: 0,
            life: 1,
            doubt: None,
        });
        driver.input(Input::Answers(key(number), vec![joined]));
        driver.obey();
        assert!(driver.core.view(&key(number)).is_some());
    }
    driver
}

/// One is missing before it, so that the channel must be registered.
fn hear_of_a_gap(driver: &mut Driver<Nobody>, number: usize) {
    let topic = driver.names[&key(number)].keys.topic.clone();
    driver.take_message(&topic, "1!102 2 there 2 - 0\n{}");
}

#[test]
fn what_was_to_be_registered_as_the_connection_was_lost_takes_no_turn_on_the_next_one() {
    const CHANNELS: usize = 200;
    let mut driver = subscribed(CHANNELS);
    for number in 0..CHANNELS {
        hear_of_a_gap(&mut driver, number);
    }
    driver.lost("the end");
    driver.obey();
    assert_eq!(driver.registering, 0);
    assert_eq!(driver.registrations.len(), 0);
}

#[test]
fn what_was_about_to_be_asked_of_a_redis_that_was_emptied_is_not_asked() {
    let mut driver = subscribed(1);
    driver.life = "before".into();
    hear_of_a_gap(&mut driver, 0);
    driver.take_beat(nodes::Beat {
        was_forgotten: false,
        life: "after".to_owned(),
        alive: 1,
        dead: Vec::new(),
    });
    let is_call = |output: &Output| matches!(output, Output::Call(..));
    assert!(!driver.outputs.iter().any(is_call), "{:?}", driver.outputs);
}

/// A node that hung is told by its next sign of life what became of it.
#[test]
fn who_may_be_taken_for_dead_asks_for_nothing_before_it_knows() {
    let mut driver = subscribed(2);
    let beat = |was_forgotten: bool| nodes::Beat {
        was_forgotten,
        life: String::new(),
        alive: 1,
        dead: Vec::new(),
    };
    let hang = |driver: &mut Driver<Nobody>, number: usize| {
        driver.last_beat = Instant::now().checked_sub(driver.settings.heartbeat * 2);
        hear_of_a_gap(driver, number);
        driver.obey();
        assert_eq!(driver.suspended.len(), 1);
    };
    hang(&mut driver, 0);
    // one that was given before it hung, and one since
    driver.take_beat(beat(false));
    assert_eq!((driver.suspended.len(), driver.registering), (1, 0));
    driver.beaten = Instant::now();
    driver.take_beat(beat(false));
    assert_eq!((driver.suspended.len(), driver.registering), (0, 1));
    hang(&mut driver, 1);
    driver.take_beat(beat(true));
    driver.obey();
    assert_eq!((driver.suspended.len(), driver.registering), (0, 0));
    assert!(!driver.is_up);
}

/// The workers of a node that hung read of who has left when the node may know already that it goes on by another name.
#[tokio::test]
async fn who_left_while_the_node_hung_is_not_registered_by_its_new_name() {
    let mut driver = subscribed(2);
    let (asked, mut requests) = mpsc::unbounded_channel();
    let beat = |was_forgotten: bool| nodes::Beat {
        was_forgotten,
        life: String::new(),
        alive: 1,
        dead: Vec::new(),
    };
    driver.take_beat(beat(true));
    driver.take_beat(beat(false));
    driver.obey();
    assert!(!driver.is_up, "before the workers have caught up");
    let request = Request::Ask {
        channel: key(0),
        app_id: "7".into(),
        ask: leave(),
        waiter: None,
    };
    asked.send(request).expect("somebody who takes it");
    driver.take_done(Done::CaughtUp);
    driver.go_up_if_caught_up(&mut requests);
    assert!(driver.is_up);
    let subscribes = driver.outputs.iter().filter_map(|output| match output {
        Output::Subscribe(channel) => Some(channel),
        _ => None,
    });
    assert_eq!(subscribes.collect::<Vec<_>>(), [&key(1)]);
}

#[tokio::test]
async fn messages_that_were_left_out_are_made_up_for_when_the_workers_can_take_them() {
    let server = RedisServer::start();
    let mut driver = driver(server.servers());
    let (sender, pushes) = driver.inbound.queue();
    let (servers, patience) = (driver.settings.servers.clone(), driver.settings.patience);
    let opened = Connection::open(&servers, patience, sender, &driver.scripts).await;
    let mut connection = opened.expect("a connection");
    connection.subscribe("a").await.expect("subscribed");
    (driver.connection, driver.pushes) = (Some(connection), Some(pushes));
    for _ in 0..10 {
        server.order(&["PUBLISH", "a", &"x".repeat(500)]);
    }
    until("some are left out", async || driver.inbound.left_out() > 0).await;
    driver.node.is_congested = true;
    driver.make_up_for_what_was_left_out();
    assert!(driver.connection.is_some());
    driver.node.is_congested = false;
    driver.make_up_for_what_was_left_out();
    assert!(driver.connection.is_none());
}

#[test]
fn channels_count_towards_their_limit_before_anybody_is_let_in() {
    for is_up in [true, false] {
        let mut driver = subscribed(0);
        if !is_up {
            driver.lost("the end");
        }
        for _ in 0..2 {
            for number in 0..CHANNELS_MAX + 10 {
                driver.ask(key(number), "7".into(), join(), Some(()));
            }
        }
        assert_eq!(driver.node.refused, 20);
        driver.obey();
        driver.ask(key(CHANNELS_MAX), "7".into(), join(), Some(()));
        assert_eq!(driver.node.refused, 21);
        if is_up {
            continue;
        }
        assert_eq!(driver.node.open, CHANNELS_MAX);
        for _ in 0..2 {
            driver.ask(key(0), "7".into(), leave(), None);
        }
        driver.obey();
        driver.ask(key(CHANNELS_MAX), "7".into(), join(), Some(()));
        assert_eq!(driver.node.refused, 21);
    }
}
