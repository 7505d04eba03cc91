//! The connection to Redis: made, lost, made again.

use std::{mem, time::Duration};

use futures_util::stream::FuturesUnordered;

use super::{Change, Done, Driver, Node};
use crate::cluster::{
    connection::{Connection, Push},
    core::Input,
    terms::Output,
};

impl<N: Node> Driver<N> {
    /// Nothing is known of what was on its way: goes on alone, and tries to connect again.
    pub(super) fn lost(&mut self, why: &str) {
        tracing::warn!("Redis is away, this node goes on alone: {why}");
        self.take_last_pushes();
        self.forget_work();
        if let Some(connection) = self.connection.take() {
            // Questions that it hasn't answered are answered without it.
            connection.cut();
        }
        self.pushes = None;
        self.is_up = false;
        self.node.link(false);
        self.input(Input::Down);
        self.backoff.stood(self.connected.elapsed());
        self.connect_later();
    }

    pub(super) fn connect_later(&mut self) {
        let wait = self.backoff.wait(rand::random());
        self.connect(wait);
    }

    /// What came before the end: answers to our own events may have been taken already, of which this is all that is told here.
    pub(super) fn take_last_pushes(&mut self) {
        let Some(mut pushes) = self.pushes.take() else {
            return;
        };
        while let Ok(Push::Message { topic, text }) = pushes.try_recv() {
            self.take_message(&topic, &text);
        }
    }

    /// Whatever is on its way is no longer of interest.
    pub(super) fn forget_work(&mut self) {
        self.generation += 1;
        self.work = FuturesUnordered::new();
        // Nor is what was about to be put to Redis: the core, which learns that it is away, asks anew. Begun by now, it would be answered in
        // the place of what is asked then, or take the turn of a registration for ever.
        let is_of_interest =
            |output: &Output| !matches!(output, Output::Call(..) | Output::Subscribe(_));
        self.outputs.retain(is_of_interest);
        // What is listened to is another thing on the next connection; what is written down of it stays.
        let changing = mem::take(&mut self.changing).into_iter();
        let topics = changing.chain(mem::take(&mut self.topics));
        self.topics = topics.filter(|t| t.change != Change::Listen).collect();
        self.forgetting = 0;
        self.registering = 0;
        self.registrations.clear();
        self.is_beating = false;
        self.is_noting = false;
        self.noted.clear();
        self.sweeping.clear();
    }

    pub(super) fn connect(&mut self, delay: Duration) {
        let (sender, pushes) = self.inbound.queue();
        let (settings, scripts) = (self.settings.clone(), self.scripts.clone());
        self.begin(async move {
            tokio::time::sleep(delay).await;
            let connection =
                Connection::open(&settings.servers, settings.patience, sender, &scripts).await;
            Done::Connected(connection, pushes)
        });
    }
}
