//! A steady load on some nodes: publishers on each, watchers who stay, and members who come and go.
use std::{
    ops::Range,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    clients::{Publisher, Watcher, Wish, wish},
    ledger::{Bound, Published, account, all_heard, members_are, one_order},
    nodes::Node,
};

pub const ROOM: &str = "room";
pub const MEMBERS: &str = "presence-room";

/// Between two events of one publisher.
const PACE: Duration = Duration::from_millis(10);

/// Publishers 0, 1, … of the first channel and 100, 101, … of the second, one pair on each node; a watcher on each; a user
/// who comes and goes on each, and one who does so on all of them.
pub struct Load {
    /// one on each node, who stays
    pub watchers: Vec<Watcher>,
    publishers: Vec<Publisher>,
    passers: Vec<Passer>,
}

/// What a watcher is subscribed to.
fn wishes(user: &str) -> [Wish; 2] {
    [wish(ROOM, ""), wish(MEMBERS, user)]
}

impl Load {
    pub async fn start(nodes: &[&Node]) -> Load {
        let mut watchers = Vec::new();
        let mut publishers = Vec::new();
        let mut passers = Vec::new();
        for (number, node) in nodes.iter().enumerate() {
            let id = u32::try_from(number).expect("few nodes");
            watchers.push(Watcher::on(node, &wishes(&format!("watcher-{number}"))).await);
            publishers.push(Publisher::start(id, ROOM, &[node], PACE));
            publishers.push(Publisher::start(100 + id, MEMBERS, &[node], PACE));
            passers.push(Passer::start(node, &format!("passer-{number}")));
            passers.push(Passer::start(node, "passer"));
        }
        let load = Load {
            watchers,
            publishers,
            passers,
        };
        load.more(20).await;
        load
    }

    /// Waits until each publisher has published so many events more.
    pub async fn more(&self, count: usize) {
        for publisher in &self.publishers {
            publisher.more(count).await;
        }
    }

    /// Stops the load; everybody who stayed has heard everything, sees who is there, and the nodes say the same. `others`: members
    /// besides the watchers. Returns what was published.
    pub async fn settle(&mut self, others: &[&str], nodes: &[&Node]) -> Vec<Published> {
        for passer in self.passers.drain(..) {
            passer.finish().await;
        }
        let mut published = Vec::new();
        for publisher in self.publishers.drain(..) {
            published.push(publisher.finish().await);
        }
        for watcher in &self.watchers {
            all_heard(watcher, &published).await;
        }
        let mut users: Vec<String> = (0..self.watchers.len())
            .map(|number| format!("watcher-{number}"))
            .collect();
        users.extend(others.iter().map(ToString::to_string));
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        let watchers: Vec<&Watcher> = self.watchers.iter().collect();
        members_are(MEMBERS, &users, &watchers, nodes).await;
        published
    }

    /// Checks what each watcher heard. `nodes`: those of the watchers, in their order; `in_flight`: see [`Bound`].
    pub async fn account(
        &self,
        nodes: &[&Node],
        published: &[Published],
        in_flight: &[Range<Instant>],
    ) {
        for (number, (watcher, node)) in self.watchers.iter().zip(nodes).enumerate() {
            let bound = Bound::of(node).await.and_in_flight(in_flight);
            let lost = account(&format!("watcher-{number}"), watcher, published, &bound);
            println!("watcher-{number} lost {lost}, counted {}", bound.counted);
        }
    }

    /// What each watcher was told of each.
    pub fn changes_of_watchers(&self) -> Vec<String> {
        let told = |watcher: &Watcher| {
            let users = (0..self.watchers.len()).map(|number| format!("watcher-{number}"));
            let changes = users.map(|user| watcher.ledger().changes(MEMBERS, &user));
            changes.collect::<Vec<_>>().join(" ")
        };
        self.watchers.iter().map(told).collect()
    }

    /// Checks that the watchers heard everything in the same order: so it is as long as Redis was there all the time.
    pub fn one_order(&self) {
        let watchers: Vec<&Watcher> = self.watchers.iter().collect();
        one_order(ROOM, &watchers);
        one_order(MEMBERS, &watchers);
    }
}

/// Comes to the presence channel and goes, again and again.
struct Passer {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Passer {
    fn start(node: &Node, user: &str) -> Passer {
        let (stop, mut stopped) = oneshot::channel();
        let (addr, user) = (node.addr, user.to_owned());
        let task = tokio::spawn(async move {
            let watcher = Watcher::at(addr);
            while stopped.try_recv().is_err() {
                watcher.subscribe(wish(MEMBERS, &user)).await;
                // the pace at which he comes and goes
                tokio::time::sleep(Duration::from_millis(5)).await;
                watcher.unsubscribe(MEMBERS);
            }
            assert_eq!(watcher.ledger().wrongs, Vec::<String>::new(), "{user}");
        });
        Passer { stop, task }
    }

    async fn finish(self) {
        let _ = self.stop.send(());
        self.task.await.expect("who passes sees no wrong");
    }
}

/// A time around this moment, in which what was on its way may be lost.
pub fn around(moment: Instant) -> Range<Instant> {
    let a_moment = Duration::from_millis(100);
    moment - a_moment..moment + a_moment
}
