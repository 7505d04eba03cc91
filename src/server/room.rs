//! Room for connections: each takes a file, the limit on files holds for the whole process, and some must be left for what the
//! server opens itself. Whoever comes when there is no room is turned away at once: a listener that runs out of files can't
//! accept at all, nor could webhooks and the connection to Redis be opened.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Between two lines in the log.
const SILENCE: Duration = Duration::from_secs(10);

/// Connections of this process that are open, whatever they are used for. Files are counted for the process, too.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// The file of one connection, counted while this lives.
pub struct Taken(());

impl Taken {
    pub fn one() -> Taken {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Taken(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many connections there may be, and what was said about those that were too many.
pub struct Room {
    connections_max: usize,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    last: Option<Instant>,
    /// turned away since then
    untold: u64,
}

impl Room {
    pub fn for_connections(connections_max: usize) -> Room {
        Room {
            connections_max,
            told: Mutex::default(),
        }
    }

    /// Whether there are more connections than there may be, those counted in that are [`Taken`] already.
    pub fn is_exceeded(&self) -> bool {
        OPEN.load(Ordering::Relaxed) > self.connections_max
    }

    /// Says that a connection was turned away, unless it was said a moment ago.
    pub fn note_turned_away(&self) {
        let Some(count) = self.to_tell(Instant::now()) else {
            return;
        };
        tracing::warn!(
            "turned connections away ({count}): {} are open, and the limit on open files has room for no more. Raise it: LimitNOFILE= in systemd, minfds in supervisord, --ulimit nofile= in Docker, `ulimit -n`",
            self.connections_max
        );
    }

    fn to_tell(&self, now: Instant) -> Option<u64> {
        // Numbers are right whoever panicked.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.untold += 1;
        if told
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < SILENCE)
        {
            return None;
        }
        told.last = Some(now);
        Some(std::mem::take(&mut told.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_turned_away_is_told_once_in_a_while_with_how_many() {
        let room = Room::for_connections(1);
        let begin = Instant::now();
        let at = |ms: u64| room.to_tell(begin + Duration::from_millis(ms));
        assert_eq!(at(0), Some(1));
        assert_eq!(at(1), None);
        assert_eq!(at(9_999), None);
        assert_eq!(at(10_000), Some(3));
        assert_eq!(at(10_001), None);
    }

    #[test]
    fn a_connection_takes_room_while_it_lives() {
        // Other tests may have some open, too.
        let none = Room::for_connections(0);
        let taken = Taken::one();
        assert!(none.is_exceeded());
        drop(taken);
        assert!(!Room::for_connections(usize::MAX).is_exceeded());
    }
}
