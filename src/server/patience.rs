//! How long a connection may keep us waiting.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// How long something has lasted, and how long it may. Its timer isn't set back each time: it looks at the time when it
/// runs out.
pub(super) struct Patience {
    pub(super) since: Option<Instant>,
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    is_timer_set: bool,
}

impl Patience {
    pub(super) fn new(timeout: Duration) -> Patience {
        Patience {
            since: None,
            timeout,
            timer: None,
            is_timer_set: false,
        }
    }

    pub(super) fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn end(&mut self) {
        self.since = None;
    }

    /// `Ready` when it has lasted too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(since) = self.since else {
            return Poll::Pending;
        };
        let deadline = since + self.timeout;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if !self.is_timer_set {
            timer.as_mut().reset(deadline);
            self.is_timer_set = true;
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                self.is_timer_set = false;
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}
