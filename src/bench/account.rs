//! Counts what one subscriber gets of one stream, exactly: what is lost, what comes twice, what comes out of order. Pure.
use std::{collections::VecDeque, ops::AddAssign};

/// Gaps that one subscriber's stream may have at a time. Over it the oldest is given up: what it lacks stays lost, and should it
/// come after all it counts as a duplicate.
const GAPS_MAX: usize = 4096;

/// What has come of a stream, whose messages are numbered from 0.
#[derive(Debug, Default)]
pub struct Track {
    first: u64,
    next: u64,
    /// made with the first gap
    gaps: Option<Box<Gaps>>,
}

#[derive(Debug, Default)]
struct Gaps {
    /// first and behind the last of what is missing, in order
    ranges: VecDeque<(u64, u64)>,
    given_up: u64,
}

/// What has come to one subscriber of one stream in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub expected: u64,
    pub lost: u64,
    /// came although they were never sent
    pub unsent: u64,
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// the first time, and nothing behind it has come yet
    Forward,
    /// the first time, after one that was sent later
    Late,
    Duplicate,
}

/// Sums over subscribers and streams. In messages to one subscriber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub expected: u64,
    /// whatever came, duplicates and all
    pub received: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    /// for others: of a channel that the socket isn't on, or never sent
    pub misdirected: u64,
}

impl Counts {
    /// Whether everything came once and in its order.
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.reordered + self.misdirected == 0
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.expected += other.expected;
        self.received += other.received;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.misdirected += other.misdirected;
    }
}

impl Track {
    /// For a subscriber that joins a stream which has come to `next`.
    pub fn from(next: u64) -> Track {
        Track {
            first: next,
            next,
            gaps: None,
        }
    }

    pub fn arrived(&mut self, sequence: u64) -> Arrival {
        if sequence < self.next {
            let gaps = self.gaps.as_mut();
            return match gaps.is_some_and(|gaps| gaps.fill(sequence)) {
                true => Arrival::Late,
                false => Arrival::Duplicate,
            };
        }
        if sequence > self.next {
            let gaps = self.gaps.get_or_insert_default();
            gaps.open(self.next, sequence);
        }
        self.next = sequence.saturating_add(1);
        Arrival::Forward
    }

    /// What came of a stream of which `sent` messages were sent, all but `uncertain`: of those nobody knows whether the
    /// server got them. `has_tail`: whether what was sent after the last one that came counts.
    pub fn outcome(&self, sent: u64, uncertain: &[u64], has_tail: bool) -> Outcome {
        let end = if has_tail { sent } else { self.next.min(sent) };
        let gaps = self.gaps.as_deref();
        let ranges = gaps
            .into_iter()
            .flat_map(|gaps| gaps.ranges.iter().copied());
        let mut lost = gaps.map_or(0, |gaps| gaps.given_up);
        let mut excused = 0;
        for (from, to) in ranges.chain([(self.next, end)]) {
            let known = uncertain.iter().filter(|one| (from..to).contains(*one));
            let unknown = known.count() as u64;
            lost += to.saturating_sub(from).saturating_sub(unknown);
            excused += unknown;
        }
        Outcome {
            expected: end.saturating_sub(self.first).saturating_sub(excused),
            lost,
            unsent: self.next.saturating_sub(sent.max(self.first)),
        }
    }
}

impl Gaps {
    fn open(&mut self, from: u64, to: u64) {
        self.ranges.push_back((from, to));
        if self.ranges.len() > GAPS_MAX
            && let Some((from, to)) = self.ranges.pop_front()
        {
            self.given_up += to - from;
        }
    }

    /// Whether it was missing.
    fn fill(&mut self, sequence: u64) -> bool {
        let after = self.ranges.partition_point(|&(_, to)| to <= sequence);
        let Some(&(from, to)) = self.ranges.get(after) else {
            return false;
        };
        if sequence < from {
            return false;
        }
        self.ranges.remove(after);
        if sequence + 1 < to {
            self.ranges.insert(after, (sequence + 1, to));
        }
        if from < sequence {
            self.ranges.insert(after, (from, sequence));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a stream of which `sent` were sent: lost, duplicated, reordered, never sent.
    fn count(arrivals: &[u64], sent: u64) -> [u64; 4] {
        let mut track = Track::default();
        let (mut duplicated, mut reordered) = (0, 0);
        for &sequence in arrivals {
            match track.arrived(sequence) {
                Arrival::Forward => {}
                Arrival::Late => reordered += 1,
                Arrival::Duplicate => duplicated += 1,
            }
        }
        let Outcome {
            expected,
            lost,
            unsent,
        } = track.outcome(sent, &[], true);
        assert_eq!(expected, sent);
        // nothing is counted twice, nothing is left out
        let kept = arrivals.len() as u64 - duplicated;
        let of_gap = arrivals.iter().max().map_or(0, |last| last + 1).max(sent);
        assert_eq!(kept + lost, of_gap, "{arrivals:?}");
        [lost, duplicated, reordered, unsent]
    }

    #[test]
    fn every_fault_shows() {
        let check = |arrivals: &[u64], sent: u64, expected: [u64; 4]| {
            assert_eq!(count(arrivals, sent), expected, "{arrivals:?} of {sent}");
        };
        check(&[], 0, [0, 0, 0, 0]);
        check(&[0, 1, 2, 3], 4, [0, 0, 0, 0]);
        // lost: at the end, at the beginning, in the middle, all
        check(&[0, 1, 2], 4, [1, 0, 0, 0]);
        check(&[1, 2, 3], 4, [1, 0, 0, 0]);
        check(&[0, 3], 4, [2, 0, 0, 0]);
        check(&[], 4, [4, 0, 0, 0]);
        check(&[1, 3, 5], 7, [4, 0, 0, 0]);
        // twice
        check(&[0, 0, 1], 2, [0, 1, 0, 0]);
        check(&[0, 1, 0, 1], 2, [0, 2, 0, 0]);
        check(&[0, 1, 2, 2, 2], 3, [0, 2, 0, 0]);
        // out of order
        check(&[1, 0], 2, [0, 0, 1, 0]);
        check(&[0, 3, 1, 2], 4, [0, 0, 2, 0]);
        check(&[0, 3, 2, 1], 4, [0, 0, 2, 0]);
        // all at once: 1 is lost, 2 comes late, and then again
        check(&[0, 3, 2, 2, 4], 5, [1, 1, 1, 0]);
        // never sent
        check(&[0, 1], 1, [0, 0, 0, 1]);
        check(&[5], 1, [5, 0, 0, 5]);
    }

    #[test]
    fn a_single_fault_anywhere_in_a_long_stream_shows() {
        const SENT: u64 = 50;
        let all: Vec<u64> = (0..SENT).collect();
        assert_eq!(count(&all, SENT), [0, 0, 0, 0]);
        for at in 0..SENT as usize {
            let mut without = all.clone();
            without.remove(at);
            assert_eq!(count(&without, SENT), [1, 0, 0, 0], "without {at}");
            let mut twice = all.clone();
            twice.insert(at, at as u64);
            assert_eq!(count(&twice, SENT), [0, 1, 0, 0], "{at} twice");
            if at > 0 {
                let mut swapped = all.clone();
                swapped.swap(at - 1, at);
                assert_eq!(count(&swapped, SENT), [0, 0, 1, 0], "{at} too early");
            }
        }
    }

    #[test]
    fn what_nobody_knows_is_not_lost() {
        let mut track = Track::default();
        for sequence in [0, 4] {
            track.arrived(sequence);
        }
        let outcome = |uncertain: &[u64], has_tail: bool| {
            let found = track.outcome(8, uncertain, has_tail);
            (found.expected, found.lost)
        };
        assert_eq!(outcome(&[], true), (8, 6));
        assert_eq!(outcome(&[2, 6, 4], true), (6, 4));
        // cut off after 4: what came after that was for nobody
        assert_eq!(outcome(&[2], false), (4, 2));
        assert_eq!(outcome(&[2, 6], false), (4, 2));
    }

    #[test]
    fn who_joins_later_misses_nothing() {
        let mut track = Track::from(10);
        assert_eq!(track.arrived(10), Arrival::Forward);
        assert_eq!(track.arrived(9), Arrival::Duplicate);
        assert_eq!(track.outcome(11, &[], true).lost, 0);
        let outcome = track.outcome(12, &[], true);
        assert_eq!((outcome.expected, outcome.lost), (2, 1));
    }

    #[test]
    fn gaps_are_bounded_and_what_is_given_up_stays_lost() {
        let mut track = Track::default();
        let odd = GAPS_MAX as u64 + 10;
        for n in 0..odd {
            track.arrived(2 * n + 1);
        }
        assert_eq!(
            track.gaps.as_ref().map(|gaps| gaps.ranges.len()),
            Some(GAPS_MAX)
        );
        assert_eq!(track.outcome(2 * odd, &[], true).lost, odd);
        assert_eq!(track.arrived(0), Arrival::Duplicate);
        assert_eq!(track.arrived(2 * odd - 2), Arrival::Late);
        assert_eq!(track.outcome(2 * odd, &[], true).lost, odd - 1);
    }
}
