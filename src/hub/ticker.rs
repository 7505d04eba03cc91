//! The one timer per worker: pings, missing pongs, sockets that don't finish closing, writes that are stuck. What is due
//! is decided by a pure function of the times, so that tests need no clock.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use super::Hub;

/// How often a worker looks at its sockets. Every timeout is late by at most this.
pub const TICK: Duration = Duration::from_secs(1);

/// A tick that comes later than this says that the worker stood still: a process that was stopped, a virtual machine that
/// was paused, a machine that had no time for it.
const STANDSTILL: Duration = Duration::from_secs(5);

/// How often the ping of a peer that says nothing may be forgotten because of standstills. A worker that stands still again and
/// again still reads in between: whoever lives has been heard by then, and whoever is dead must go some time.
const PINGS_FORGOTTEN_MAX: u8 = 3;

/// The hub's clock: it goes while the worker is at work. Time in which nothing could be read or written must not
/// count against the peers, or all of them would be cut when the worker goes on.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    last: Instant,
    at_work: Duration,
}

impl Clock {
    pub fn new(now: Instant) -> Clock {
        Clock {
            last: now,
            at_work: Duration::ZERO,
        }
    }

    /// Seconds at work, up to the last tick.
    pub fn now_s(&self) -> u32 {
        u32::try_from(self.at_work.as_secs()).unwrap_or(u32::MAX)
    }

    /// `true` if the worker has stood still since the last tick, which then counts as [`TICK`].
    pub fn tick(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.last);
        self.last = now;
        let has_stood_still = passed > STANDSTILL;
        let counted = if has_stood_still { TICK } else { passed };
        self.at_work = self.at_work.saturating_add(counted);
        has_stood_still
    }
}

/// How a socket is kept alive, from its app's settings (C-20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// silence after which the peer is asked for a sign of life
    pub ping_interval_s: u32,
    /// how long the answer may take
    pub pong_timeout_s: u32,
}

/// Limits that hold for every socket of the process.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// how long frames may wait for a peer that takes nothing
    pub write_timeout_s: u32,
    /// how long a closing socket waits for the peer's close frame (C-30)
    pub close_timeout_s: u32,
    /// how long a peer may take for one message
    pub message_timeout_s: u32,
}

/// How long a peer that was closed for reading too slowly may take nothing: in this time it has shown that it doesn't read
/// at all, and the close frame would wait for it in vain.
const SLOW_PATIENCE_S: u32 = 2;

/// The times a socket is judged by, in seconds of the hub's clock.
#[derive(Clone, Copy, Debug)]
pub struct Vitals {
    /// the last look at the clock
    pub now_s: u32,
    /// when something last arrived
    pub received_s: u32,
    /// when a ping went out that nothing has answered yet
    pub pinged_s: Option<u32>,
    /// pings that were forgotten since something last arrived
    pub pings_forgotten: u8,
    /// since when frames wait without one byte being taken
    pub stuck_since_s: Option<u32>,
    pub closing_since_s: Option<u32>,
    /// it is closing because it didn't read what it was sent
    pub is_slow: bool,
    /// since when a message of the peer isn't whole
    pub message_since_s: Option<u32>,
    /// by when the connection must have shown who it is (C-36)
    pub authorize_by_s: Option<u32>,
}

/// What a tick must do with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// send a WebSocket ping (C-18)
    Ping,
    /// close with 4201 (C-20)
    PongTimeout,
    /// close with 4009 (C-36)
    AuthorizationTimeout,
    /// close with 4100: a message that never becomes whole
    MessageTimeout,
    /// take the transport away: the peer reads nothing or doesn't finish closing
    Cut,
}

#[cfg(test)]
impl Limits {
    /// What most tests have.
    pub(crate) const USUAL: Limits = Limits {
        write_timeout_s: 10,
        close_timeout_s: 5,
        message_timeout_s: 60,
    };
}

impl Vitals {
    pub fn new(now_s: u32) -> Vitals {
        Vitals {
            now_s,
            received_s: now_s,
            pinged_s: None,
            pings_forgotten: 0,
            stuck_since_s: None,
            closing_since_s: None,
            is_slow: false,
            message_since_s: None,
            authorize_by_s: None,
        }
    }

    /// Something arrived: the only thing that proves that the peer is alive (C-20).
    pub fn note_received(&mut self, now_s: u32) {
        self.received_s = now_s;
        self.pinged_s = None;
        self.pings_forgotten = 0;
    }

    /// The answer to the last ping is waited for anew, and the peer asked again: but not for ever.
    pub fn forget_ping(&mut self) {
        if self.pinged_s.is_some() && self.pings_forgotten < PINGS_FORGOTTEN_MAX {
            self.pinged_s = None;
            self.pings_forgotten += 1;
        }
    }

    /// A write took place: did it get anywhere, and is anything left?
    pub fn note_write(&mut self, progressed: bool, is_done: bool) {
        self.stuck_since_s = match self.stuck_since_s {
            _ if is_done => None,
            // From here on nothing may come of it any more, and nobody may have anything else to write.
            Some(since) if !progressed => Some(since),
            _ => Some(self.now_s),
        };
    }

    /// What is due at `now_s`. A second is added where a time was noted between two ticks, so that nobody is cut early.
    pub fn due(&self, has_frames_waiting: bool, keep_alive: KeepAlive, limits: &Limits) -> Due {
        let since = |then: u32| self.now_s.saturating_sub(then);
        let is_stuck_for = |limit_s: u32| {
            let since = self.stuck_since_s.map(since);
            has_frames_waiting && since.is_some_and(|seconds| seconds > limit_s)
        };
        if let Some(closing) = self.closing_since_s {
            let is_in_vain = self.is_slow && is_stuck_for(SLOW_PATIENCE_S);
            return if is_in_vain || since(closing) > limits.close_timeout_s {
                Due::Cut
            } else {
                Due::Nothing
            };
        }
        if is_stuck_for(limits.write_timeout_s) {
            return Due::Cut;
        }
        if self.authorize_by_s.is_some_and(|by| self.now_s > by) {
            return Due::AuthorizationTimeout;
        }
        let message = self.message_since_s.map(since);
        if message.is_some_and(|seconds| seconds > limits.message_timeout_s) {
            return Due::MessageTimeout;
        }
        match self.pinged_s {
            Some(pinged) if since(pinged) >= keep_alive.pong_timeout_s => Due::PongTimeout,
            None if since(self.received_s) >= keep_alive.ping_interval_s => Due::Ping,
            _ => Due::Nothing,
        }
    }
}

/// Sweeps the hub's sockets until the worker ends.
pub async fn run(hub: Rc<Hub>) {
    let mut interval = tokio::time::interval(TICK);
    // A worker that was busy for seconds must not make up for it with a burst of sweeps.
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        hub.sweep(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: KeepAlive = KeepAlive {
        ping_interval_s: 30,
        pong_timeout_s: 20,
    };

    fn check(now_s: u32, change: impl Fn(&mut Vitals), waiting: bool, expected: Due) {
        let mut vitals = Vitals::new(100);
        vitals.now_s = now_s;
        change(&mut vitals);
        assert_eq!(
            vitals.due(waiting, KEEP_ALIVE, &Limits::USUAL),
            expected,
            "at {now_s}"
        );
    }

    #[test]
    fn c20_silence_is_answered_with_a_ping_and_a_missing_pong_with_4201() {
        check(129, |_| (), false, Due::Nothing);
        check(130, |_| (), false, Due::Ping);
        check(149, |v| v.pinged_s = Some(130), false, Due::Nothing);
        check(150, |v| v.pinged_s = Some(130), false, Due::PongTimeout);
    }

    #[test]
    fn c20_the_clock_is_driven_by_what_is_received() {
        check(140, |v| v.received_s = 111, false, Due::Nothing);
        check(
            140,
            |v| {
                v.note_write(true, true);
                v.received_s = 110;
            },
            false,
            Due::Ping,
        );
    }

    #[test]
    fn c30_a_closing_socket_is_cut_when_the_peer_does_not_answer() {
        check(105, |v| v.closing_since_s = Some(100), true, Due::Nothing);
        check(106, |v| v.closing_since_s = Some(100), true, Due::Cut);
        // no pings while closing
        check(135, |v| v.closing_since_s = Some(133), false, Due::Nothing);
    }

    #[test]
    fn c35_who_is_closed_for_reading_too_slowly_is_cut_once_he_reads_nothing() {
        let slow = |stuck_since_s: Option<u32>| {
            move |v: &mut Vitals| {
                v.closing_since_s = Some(100);
                v.stuck_since_s = stuck_since_s;
                v.is_slow = true;
            }
        };
        // he has taken nothing for a while before that, or not yet
        check(100, slow(Some(97)), true, Due::Cut);
        check(100, slow(Some(98)), true, Due::Nothing);
        check(103, slow(Some(100)), true, Due::Cut);
        check(105, slow(Some(103)), true, Due::Nothing);
        check(106, slow(Some(106)), true, Due::Cut);
        // all is out: he may be reading it
        check(105, slow(None), false, Due::Nothing);
        // who is closed for another reason has the whole time
        let other = |v: &mut Vitals| {
            v.closing_since_s = Some(100);
            v.stuck_since_s = Some(90);
        };
        check(105, other, true, Due::Nothing);
    }

    #[test]
    fn a_message_must_become_whole_in_time() {
        check(
            160,
            |v| {
                v.message_since_s = Some(100);
                v.received_s = 160;
            },
            false,
            Due::Nothing,
        );
        check(
            161,
            |v| {
                v.message_since_s = Some(100);
                v.received_s = 161;
            },
            false,
            Due::MessageTimeout,
        );
    }

    #[test]
    fn a_write_that_gets_nowhere_is_cut() {
        let stuck = |v: &mut Vitals| {
            v.now_s = 100;
            v.note_write(true, false);
            v.note_write(false, false);
        };
        let at = |now_s: u32| {
            move |v: &mut Vitals| {
                stuck(v);
                v.now_s = now_s;
            }
        };
        check(110, at(110), true, Due::Nothing);
        check(111, at(111), true, Due::Cut);
        check(111, at(111), false, Due::Nothing);
        check(
            111,
            |v| {
                stuck(v);
                v.note_write(true, true);
                v.now_s = 111;
            },
            true,
            Due::Nothing,
        );
        let partly = |at_s: u32| {
            move |v: &mut Vitals| {
                stuck(v);
                v.now_s = 105;
                v.note_write(true, false);
                v.now_s = at_s;
            }
        };
        check(115, partly(115), true, Due::Nothing);
        check(116, partly(116), true, Due::Cut);
    }

    #[test]
    fn c36_a_connection_must_show_who_it_is_in_time() {
        check(110, |v| v.authorize_by_s = Some(110), false, Due::Nothing);
        check(
            111,
            |v| v.authorize_by_s = Some(110),
            false,
            Due::AuthorizationTimeout,
        );
    }

    #[test]
    fn the_clock_counts_the_time_at_work() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        let mut check = |at_ms: u64, has_stood_still: bool, now_s: u32| {
            let stood = clock.tick(start + Duration::from_millis(at_ms));
            assert_eq!((stood, clock.now_s()), (has_stood_still, now_s), "{at_ms}");
        };
        check(600, false, 0);
        check(1_200, false, 1);
        check(6_200, false, 6);
        // stopped for a moment more than it may be late, for hours, for years
        check(11_201, true, 7);
        check(12_001, false, 8);
        check(36_000_000, true, 9);
        check(320_000_000_000, true, 10);
        // back: as if no time had passed
        check(320_000_000_000 - 5_000, false, 10);
        check(320_000_000_000 - 4_000, false, 11);
    }

    #[test]
    fn a_clock_that_steps_back_does_no_harm() {
        check(50, |v| v.pinged_s = Some(90), true, Due::Nothing);
    }
}
