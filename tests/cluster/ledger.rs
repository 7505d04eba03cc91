//! What a watcher has seen, and whether that is what was sent: each event once, in order, and members who come and go as they did.
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Range,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    clients::Watcher,
    nodes::{Node, PREFIX},
    redis::Redis,
    rest::request::get,
    until,
};

/// An event by its publisher and number.
pub type Event = (u32, usize);

/// What one watcher has seen.
#[derive(Debug, Default)]
pub struct Ledger {
    /// when it was subscribed to what, from the confirmation on; the last of them may go on
    subscriptions: HashMap<String, Vec<Subscription>>,
    events: HashMap<String, Vec<Event>>,
    members: HashMap<String, BTreeSet<String>>,
    changes: HashMap<String, Vec<(char, String)>>,
    /// what should never have been said
    pub wrongs: Vec<String>,
    pub connections: usize,
}

#[derive(Clone, Copy, Debug)]
struct Subscription {
    since: Instant,
    until: Option<Instant>,
}

impl Subscription {
    /// Whether an event must have been heard: it came in this time, and was over long before its end.
    fn covers(&self, sent: &Sent) -> bool {
        let over = sent.begun + sent.took + LATE;
        self.since <= sent.begun && self.until.is_none_or(|until| over < until)
    }
}

/// What is on its way to a connection that ends may be lost with it.
const LATE: Duration = Duration::from_secs(1);

impl Ledger {
    pub fn is_subscribed(&self, channel: &str) -> bool {
        let last = self.subscriptions.get(channel).and_then(|all| all.last());
        last.is_some_and(|last| last.until.is_none())
    }

    pub fn events(&self, channel: &str) -> &[Event] {
        self.events.get(channel).map_or(&[], Vec::as_slice)
    }

    /// Who is there, as this watcher was told.
    pub fn members(&self, channel: &str) -> BTreeSet<String> {
        self.members.get(channel).cloned().unwrap_or_default()
    }

    /// `+` and `-` of one user since the last subscription.
    pub fn changes(&self, channel: &str, user: &str) -> String {
        let changes = self.changes.get(channel).into_iter().flatten();
        changes
            .filter(|(_, who)| who == user)
            .map(|(what, _)| what)
            .collect()
    }

    pub fn wrong(&mut self, what: String) {
        self.wrongs.push(what);
    }

    pub fn connected(&mut self) {
        self.connections += 1;
    }

    pub fn disconnected(&mut self) {
        let channels: Vec<String> = self.subscriptions.keys().cloned().collect();
        for channel in channels {
            self.unsubscribed(&channel);
        }
        self.members.clear();
        self.changes.clear();
    }

    pub fn unsubscribed(&mut self, channel: &str) {
        let last = self.subscriptions.get_mut(channel);
        if let Some(last) = last.and_then(|all| all.last_mut()) {
            last.until.get_or_insert_with(Instant::now);
        }
    }

    /// One thing that the server says.
    pub fn hear(&mut self, frame: &Value) {
        let text = |key: &str| frame[key].as_str().unwrap_or_default().to_owned();
        let (event, channel, data) = (text("event"), text("channel"), text("data"));
        let json: Value = serde_json::from_str(&data).unwrap_or_default();
        let user = json["user_id"].as_str().unwrap_or_default().to_owned();
        let members = self.members.entry(channel.clone()).or_default();
        match event.as_str() {
            "pusher_internal:subscription_succeeded" => {
                let ids = json["presence"]["ids"].as_array().into_iter().flatten();
                *members = ids.filter_map(Value::as_str).map(str::to_owned).collect();
                self.changes.remove(&channel);
                if self.is_subscribed(&channel) {
                    self.wrong(format!("subscribed twice to {channel}"));
                }
                self.subscriptions
                    .entry(channel)
                    .or_default()
                    .push(Subscription {
                        since: Instant::now(),
                        until: None,
                    });
            }
            "pusher_internal:member_added" => {
                if !members.insert(user.clone()) {
                    self.wrong(format!("{user} was added to {channel}, but was there"));
                }
                self.changes.entry(channel).or_default().push(('+', user));
            }
            "pusher_internal:member_removed" => {
                if !members.remove(&user) {
                    self.wrong(format!(
                        "{user} was removed from {channel}, but wasn't there"
                    ));
                }
                self.changes.entry(channel).or_default().push(('-', user));
            }
            "n" => {
                // what follows only makes it large
                let mut words = data.split(' ');
                let mut number = || words.next()?.parse::<usize>().ok();
                let id = number().and_then(|id| u32::try_from(id).ok());
                match id.zip(number()) {
                    Some(event) => self.events.entry(channel).or_default().push(event),
                    None => self.wrong(format!("an event that nobody sent: {frame}")),
                }
            }
            "pusher_internal:subscription_count" | "pusher:cache_miss" => {}
            // goodbye: who stays is told so by the end of the connection
            "pusher:error" if frame["data"]["code"] == 4200 => {}
            _ => self.wrong(format!("unexpected: {frame}")),
        }
    }
}

/// What a publisher has sent: numbers from 0 on.
#[derive(Clone, Debug)]
pub struct Published {
    pub id: u32,
    pub channel: String,
    pub sent: Vec<Sent>,
}

#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub begun: Instant,
    pub took: Duration,
    /// with 200. Otherwise it may have been published or not.
    pub is_answered: bool,
}

/// What of that somebody may have lost who was subscribed when it was sent.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// as many as the metrics of his node say
    pub counted: u64,
    /// whatever was on its way in these times, when what carried it was killed
    pub in_flight: Vec<Range<Instant>>,
}

impl Bound {
    /// What a node says that it lost, and nothing besides.
    pub async fn of(node: &Node) -> Bound {
        Bound {
            counted: node.lost().await,
            in_flight: Vec::new(),
        }
    }

    pub fn and_in_flight(mut self, times: &[Range<Instant>]) -> Bound {
        self.in_flight.extend_from_slice(times);
        self
    }

    fn allows(&self, sent: &Sent) -> bool {
        let end = sent.begun + sent.took;
        self.in_flight
            .iter()
            .any(|times| sent.begun <= times.end && times.start <= end)
    }
}

/// Waits until a watcher has the last event of each of these.
pub async fn all_heard(watcher: &Watcher, published: &[Published]) {
    for published in published {
        let last = (published.id, published.sent.len() - 1);
        until("the last event is heard", async || {
            watcher.ledger().events(&published.channel).contains(&last)
        })
        .await;
    }
}

/// Compares what one has seen with what was sent while he was subscribed. Returns how many events he lost.
#[track_caller]
pub fn account(who: &str, watcher: &Watcher, published: &[Published], bound: &Bound) -> usize {
    let result = watcher.ledger().account(published, bound);
    result.unwrap_or_else(|wrong| panic!("{who}: {wrong}"))
}

impl Ledger {
    fn account(&self, published: &[Published], bound: &Bound) -> Result<usize, String> {
        if let Some(wrong) = self.wrongs.first() {
            return Err(wrong.clone());
        }
        let mut lost = Vec::new();
        for published in published {
            let numbers = self.numbers(published);
            if let Some(pair) = numbers.windows(2).find(|pair| pair[0] >= pair[1]) {
                return Err(format!("heard {} and then {}", pair[0], pair[1]));
            }
            let seen: HashSet<usize> = numbers.into_iter().collect();
            for (number, sent) in published.sent.iter().enumerate() {
                let subscription = self.subscription(&published.channel, sent);
                if let Some(subscription) = subscription
                    && sent.is_answered
                    && !seen.contains(&number)
                    && !bound.allows(sent)
                {
                    let after = sent.begun - subscription.since;
                    let before = subscription.until.map(|until| until - sent.begun);
                    let when = format!("{after:?} after, {before:?} before the subscription's end");
                    lost.push((published.id, number, when));
                }
            }
        }
        match lost.len() as u64 > bound.counted {
            true => Err(format!(
                "lost {}, but {} are counted; publisher, number, when: {:?}",
                lost.len(),
                bound.counted,
                &lost[..lost.len().min(20)]
            )),
            false => Ok(lost.len()),
        }
    }

    /// What he was subscribed by when this was sent.
    fn subscription(&self, channel: &str, sent: &Sent) -> Option<&Subscription> {
        let mut subscriptions = self.subscriptions.get(channel).into_iter().flatten();
        subscriptions.find(|subscription| subscription.covers(sent))
    }

    fn numbers(&self, published: &Published) -> Vec<usize> {
        let events = self.events(&published.channel).iter();
        let own = events.filter(|(id, _)| *id == published.id);
        own.map(|(_, number)| *number).collect()
    }
}

/// Everybody heard what he heard in one order.
#[track_caller]
pub fn one_order(channel: &str, watchers: &[&Watcher]) {
    let heard: Vec<Vec<Event>> = watchers
        .iter()
        .map(|watcher| watcher.ledger().events(channel).to_vec())
        .collect();
    for pair in heard.windows(2) {
        let common = |of: &[Event], with: &[Event]| {
            let with: HashSet<&Event> = with.iter().collect();
            of.iter()
                .filter(|event| with.contains(event))
                .copied()
                .collect::<Vec<_>>()
        };
        let (first, second) = (common(&pair[0], &pair[1]), common(&pair[1], &pair[0]));
        let differs = first.iter().zip(&second).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{first:?}\n{second:?}");
    }
}

/// Waits until everybody sees exactly these members, and every node answers that they are.
pub async fn members_are(channel: &str, users: &[&str], watchers: &[&Watcher], nodes: &[&Node]) {
    let truth: BTreeSet<String> = users.iter().map(ToString::to_string).collect();
    let mut seen = String::new();
    let deadline = Instant::now() + crate::PATIENCE;
    loop {
        let mut views = Vec::new();
        for watcher in watchers {
            let ledger = watcher.ledger();
            assert_eq!(ledger.wrongs, Vec::<String>::new());
            views.push(ledger.members(channel));
        }
        for node in nodes {
            views.push(users_of(node, channel).await);
        }
        if views.iter().all(|view| *view == truth) {
            return;
        }
        let now = format!("{views:?}");
        if now != seen {
            seen = now;
        }
        assert!(
            Instant::now() < deadline,
            "{truth:?} should be there; seen: {seen}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn users_of(node: &Node, channel: &str) -> BTreeSet<String> {
    let answer = get(node, &format!("/channels/{channel}/users"), &[]).await;
    let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let users = json["users"].as_array().into_iter().flatten();
    users
        .filter_map(|user| user["id"].as_str())
        .map(str::to_owned)
        .collect()
}

/// Waits until Redis holds nothing but what nodes say of themselves.
pub async fn no_leftovers(redis: &Redis) {
    let deadline = Instant::now() + crate::PATIENCE;
    loop {
        let keys = redis.keys().await;
        if keys.iter().all(|key| is_of_a_node(key)) {
            return;
        }
        assert!(Instant::now() < deadline, "left in Redis: {keys:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a node says of itself.
pub fn is_of_a_node(key: &str) -> bool {
    let own = ["{nodes}", "connections:"].map(|name| [PREFIX, ":", name].concat());
    own.iter().any(|own| key.starts_with(own))
}

#[test]
fn an_account_finds_what_is_wrong() {
    let check = |heard: &[usize], counted: u64, expected: Result<usize, &str>| {
        let mut ledger = Ledger::default();
        ledger.hear(&json!({"event": "pusher_internal:subscription_succeeded", "channel": "a"}));
        let begun = Instant::now();
        for number in heard {
            ledger.hear(&json!({"event": "n", "channel": "a", "data": format!("7 {number}")}));
        }
        // 1 was answered with an error
        let sent = |number| Sent {
            begun,
            took: Duration::ZERO,
            is_answered: number != 1,
        };
        let published = Published {
            id: 7,
            channel: "a".to_owned(),
            sent: (0..4).map(sent).collect(),
        };
        let bound = Bound {
            counted,
            in_flight: Vec::new(),
        };
        let found = ledger.account(std::slice::from_ref(&published), &bound);
        match (&found, expected) {
            (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{found}"),
            _ => assert_eq!(found, expected.map_err(str::to_owned), "{heard:?}"),
        }
        let in_flight = Bound::default().and_in_flight(&[begun..begun + LATE]);
        assert_eq!(
            ledger.account(&[published], &in_flight).is_ok(),
            heard.is_sorted()
        );
    };
    check(&[0, 1, 2, 3], 0, Ok(0));
    check(&[0, 2, 3], 0, Ok(0));
    check(&[0, 2], 1, Ok(1));
    check(&[0, 2], 0, Err("lost"));
    check(&[0, 3, 2], 9, Err("heard 3 and then 2"));
}

#[test]
fn who_was_not_subscribed_has_lost_nothing() {
    let mut ledger = Ledger::default();
    let sent = |begun| Published {
        id: 7,
        channel: "a".to_owned(),
        sent: vec![Sent {
            begun,
            took: Duration::ZERO,
            is_answered: true,
        }],
    };
    let before = Instant::now();
    ledger.hear(&json!({"event": "pusher_internal:subscription_succeeded", "channel": "a"}));
    let while_there = Instant::now();
    assert_eq!(ledger.account(&[sent(before)], &Bound::default()), Ok(0));
    assert!(
        ledger
            .account(&[sent(while_there)], &Bound::default())
            .is_err()
    );
    // on its way when the connection ended
    ledger.disconnected();
    assert_eq!(
        ledger.account(&[sent(while_there)], &Bound::default()),
        Ok(0)
    );
}

#[test]
fn members_who_come_twice_are_wrong() {
    let mut ledger = Ledger::default();
    let mut hear = |event: &str| {
        let data = r#"{"user_id":"ann"}"#;
        ledger.hear(&json!({"event": event, "channel": "presence-a", "data": data}));
        ledger.wrongs.len()
    };
    let (added, removed) = (
        "pusher_internal:member_added",
        "pusher_internal:member_removed",
    );
    assert_eq!([added, removed, added].map(&mut hear), [0, 0, 0]);
    assert_eq!([added, removed, removed].map(hear), [1, 1, 2]);
}
