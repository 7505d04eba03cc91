//! The connection to Redis: made, lost, made again.

use std::{
    mem,
    time::{Duration, Instant},
};

use futures_util::stream::FuturesUnordered;

use super::{Change, Done, Driver, Node};
use crate::cluster::{
    connection::{Connection, Push},
    core::Input,
    terms::Output,
};

/// How long one and the same failure to connect isn't logged again: Redis may be away for hours, and is looked for each second.
const FAILURE_LOG_PAUSE: Duration = Duration::from_secs(60);

/// What was logged last of why there is no connection.
#[derive(Default)]
pub(super) struct Told(Option<(Instant, String)>);

impl Told {
    /// Whether this is to be logged (again). Then it counts as logged.
    fn is_due(&mut self, why: &str, now: Instant) -> bool {
        let told = self.0.as_ref();
        if told.is_some_and(|(when, text)| text == why && now < *when + FAILURE_LOG_PAUSE) {
            return false;
        }
        self.0 = Some((now, why.to_owned()));
        true
    }
}

impl<N: Node> Driver<N> {
    /// Says why there is no connection.
    pub(super) fn tell_failure(&mut self, why: &str) {
        match self.told.is_due(why, Instant::now()) {
            true => tracing::warn!(
                "this node goes on alone and tries again: {why}. Redis is where [cluster] says; `resound config` shows it"
            ),
            false => tracing::debug!("still no Redis: {why}"),
        }
    }

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
        self.suspended.clear();
        self.is_beating = false;
        self.is_catching_up = false;
        self.has_caught_up = false;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_the_same_failure_is_a_line_a_minute() {
        let mut told = Told::default();
        let begin = Instant::now();
        let mut check = |seconds: u64, why: &str, expected: bool| {
            let now = begin + Duration::from_secs(seconds);
            assert_eq!(told.is_due(why, now), expected, "{seconds} {why}");
        };
        check(0, "refused", true);
        check(1, "refused", false);
        check(59, "refused", false);
        check(60, "refused", true);
        check(61, "refused", false);
        check(62, "no such name", true);
        check(63, "refused", true);
    }
}
