//! What goes wrong with more than one connection: Redis comes back empty, nodes die.

use super::*;

impl World {
    /// Redis loses everything, and perhaps its connections.
    pub(super) fn empty(&mut self, cuts: bool) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].is_alive && self.nodes[at].core.is_up() {
                match cuts {
                    true => self.cut(at),
                    false => drop(self.unaware.insert(at)),
                }
            }
        }
        self.forget();
        if cuts {
            self.topics.clear();
        }
    }

    /// A sign of life finds out that Redis was emptied.
    pub(super) fn notice(&mut self, at: usize) {
        if self.unaware.remove(&at) {
            self.hear_the_last(at);
            // the news that it is about to claim or forget are no part of what it forgets
            let node = &mut self.nodes[at];
            let is_of_news =
                |request: &Request| matches!(request, Request::Claim(_) | Request::Forget(_));
            node.to_redis.retain(is_of_news);
            node.answers
                .retain(|(_, reply)| matches!(reply, Reply::Claimed(..)));
            self.input(at, Input::Down);
            self.up(at);
        }
    }

    pub(super) fn die(&mut self, at: usize) {
        self.forget_connection(at);
        self.unaware.remove(&at);
        let node = &mut self.nodes[at];
        node.is_alive = false;
        node.sockets.clear();
        (node.told, node.waiting) = (Vec::new(), Vec::new());
        self.dead.extend(node.name.take());
    }

    pub(super) fn disaster(&mut self, at: usize) {
        if self.faults == Faults::All && self.random.random_bool(0.5) {
            let cuts = self.random.random_bool(0.7);
            self.empty(cuts);
        } else if self.nodes.iter().filter(|node| node.is_alive).count() > 1 {
            self.die(at);
        }
    }
}
