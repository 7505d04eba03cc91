//! Requests that were sent twice: a publisher that repeats an idempotency key within the window gets the first answer
//! again, and nothing is published a second time.

use std::{
    cell::Cell,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use lru::LruCache;

/// The answers of late, by app and key. The lock is held for a look-up only, never together with another.
pub struct Answers {
    entries: Mutex<LruCache<Key, Entry>>,
    entries_max: usize,
    window: Duration,
    /// attempts that were begun
    attempts: AtomicU64,
}

type Key = (u32, Arc<str>);

struct Entry {
    begun: Instant,
    /// whose outcome it is: one that took longer than the window has nothing to say any more
    attempt: u64,
    state: State,
}

enum State {
    /// the first request is still at it
    UnderWay,
    /// the first request failed after it had published so many of its events
    Stopped {
        published: usize,
    },
    Answered(Arc<str>),
}

/// What is known of a key.
pub enum Known<'a> {
    /// nothing: go ahead, and say what came of it
    New(Attempt<'a>),
    /// the first request with this key isn't answered yet
    UnderWay,
    /// the first request with this key was answered so
    Answered(Arc<str>),
}

/// A request that nothing has answered before. Dropped without an answer it failed, and the next one with its key goes
/// on where it stopped.
pub struct Attempt<'a> {
    answers: &'a Answers,
    key: Option<Key>,
    number: u64,
    published: Cell<usize>,
}

impl Answers {
    /// Over `entries_max` the key that came longest ago is forgotten.
    pub fn new(window: Duration, entries_max: usize) -> Answers {
        Answers {
            entries: Mutex::new(LruCache::unbounded()),
            entries_max,
            window,
            attempts: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys that are remembered.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Looks a key of an app up, and notes it if it is new.
    pub fn begin(&self, app: u32, key: &str, now: Instant) -> Known<'_> {
        let key: Key = (app, key.into());
        let mut entries = self.lock();
        let known = entries
            .peek(&key)
            .filter(|entry| now.saturating_duration_since(entry.begun) < self.window);
        let published = match known.map(|entry| &entry.state) {
            Some(State::Answered(answer)) => return Known::Answered(answer.clone()),
            Some(State::UnderWay) => return Known::UnderWay,
            Some(State::Stopped { published }) => *published,
            None => 0,
        };
        let number = self.attempts.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            begun: now,
            attempt: number,
            state: State::UnderWay,
        };
        entries.put(key.clone(), entry);
        while entries.len() > self.entries_max {
            entries.pop_lru();
        }
        Known::New(Attempt {
            answers: self,
            key: Some(key),
            number,
            published: Cell::new(published),
        })
    }
}

impl Attempt<'_> {
    /// How many of the request's events are published already, the first ones.
    pub fn published(&self) -> usize {
        self.published.get()
    }

    /// The next of the request's events is published.
    pub fn note_published(&self) {
        self.published.set(self.published.get() + 1);
    }

    /// The request was answered so.
    pub fn answered(mut self, answer: &str) {
        self.end(|_| Some(State::Answered(answer.into())));
    }

    /// Notes what came of it, once: `None` = nothing to remember.
    fn end(&mut self, state: impl FnOnce(usize) -> Option<State>) {
        let Some(key) = self.key.take() else {
            return;
        };
        let mut entries = self.answers.lock();
        let Some(entry) = entries.peek_mut(&key) else {
            return;
        };
        if entry.attempt != self.number {
            return;
        }
        match state(self.published.get()) {
            Some(state) => entry.state = state,
            None => {
                entries.pop(&key);
            }
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.end(|published| (published > 0).then_some(State::Stopped { published }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first<'a>(answers: &'a Answers, key: &str, now: Instant) -> Attempt<'a> {
        match answers.begin(0, key, now) {
            Known::New(attempt) => attempt,
            _ => panic!("{key} is known"),
        }
    }

    fn known(answers: &Answers, app: u32, key: &str, now: Instant) -> String {
        match answers.begin(app, key, now) {
            Known::New(_) => "new".to_owned(),
            Known::UnderWay => "under way".to_owned(),
            Known::Answered(answer) => answer.to_string(),
        }
    }

    #[test]
    fn a_repeated_key_gets_the_first_answer_within_the_window() {
        let answers = Answers::new(Duration::from_secs(60), 100);
        let start = Instant::now();
        let attempt = first(&answers, "a", start);
        assert_eq!(known(&answers, 0, "a", start), "under way");
        attempt.answered("{}");
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(known(&answers, 0, "a", at(59)), "{}");
        assert_eq!(known(&answers, 1, "a", at(59)), "new", "another app");
        assert_eq!(known(&answers, 0, "b", at(59)), "new");
        assert_eq!(known(&answers, 0, "a", at(60)), "new");
    }

    #[test]
    fn a_request_that_failed_may_be_tried_again() {
        let answers = Answers::new(Duration::from_secs(60), 100);
        let now = Instant::now();
        drop(first(&answers, "a", now));
        first(&answers, "a", now).answered("{}");
        assert_eq!(known(&answers, 0, "a", now), "{}");
    }

    #[test]
    fn a_request_that_failed_half_way_goes_on_where_it_stopped() {
        let answers = Answers::new(Duration::from_secs(60), 100);
        let now = Instant::now();
        let attempt = first(&answers, "a", now);
        attempt.note_published();
        attempt.note_published();
        drop(attempt);
        let second = first(&answers, "a", now);
        assert_eq!(second.published(), 2);
        second.note_published();
        second.answered("{}");
        assert_eq!(known(&answers, 0, "a", now), "{}");
    }

    #[test]
    fn an_attempt_that_took_longer_than_the_window_leaves_the_next_one_alone() {
        let answers = Answers::new(Duration::from_secs(1), 100);
        let start = Instant::now();
        let late = start + Duration::from_secs(1);
        let slow = first(&answers, "a", start);
        let second = first(&answers, "a", late);
        drop(slow);
        assert_eq!(known(&answers, 0, "a", late), "under way");
        second.answered("{}");
        assert_eq!(known(&answers, 0, "a", late), "{}");

        let slow = first(&answers, "b", start);
        slow.note_published();
        let second = first(&answers, "b", late);
        slow.answered("of long ago");
        assert_eq!(known(&answers, 0, "b", late), "under way");
        drop(second);
        assert_eq!(known(&answers, 0, "b", late), "new");
    }

    #[test]
    fn the_number_of_keys_is_limited() {
        let answers = Answers::new(Duration::from_secs(60), 2);
        let now = Instant::now();
        for key in ["a", "b", "c"] {
            first(&answers, key, now).answered(key);
        }
        assert_eq!(known(&answers, 0, "c", now), "c");
        assert_eq!(known(&answers, 0, "b", now), "b");
        assert_eq!(known(&answers, 0, "a", now), "new");
    }
}
