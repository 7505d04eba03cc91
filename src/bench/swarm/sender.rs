//! Sockets that send client events, at a pace.
use super::{attention::Attention, socket::Socket};
use crate::bench::{
    publisher::Pace,
    stage::{Stage, data},
    token::Token,
};
use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

/// Sends in one turn, so that reading isn't put off for long.
const TURN_MAX: usize = 256;

/// When nothing has come for so long, what is on its way isn't waited for any longer.
const QUIET: Duration = Duration::from_millis(500);

/// The senders of a thread and what they have done.
#[derive(Debug)]
pub struct Senders {
    sockets: Vec<usize>,
    /// of this thread's senders together
    pace: Pace,
    data_bytes: usize,
    begin: Instant,
    end: Instant,
    begun: u64,
    /// due, but the server wasn't reading
    pub late: u64,
    /// deliveries at the last look, and when they last were others
    arrived: (u64, Instant),
}

impl Senders {
    /// `total`: senders of all threads.
    pub fn new(
        sockets: &[Socket],
        total: usize,
        pace: Pace,
        data_bytes: usize,
        begin: Instant,
        end: Instant,
    ) -> Senders {
        let own = (0..sockets.len()).filter(|n| sockets[*n].plan.stream.is_some());
        let own: Vec<usize> = own.collect();
        let share = own.len() as f64 / total.max(1) as f64;
        Senders {
            pace: match pace {
                Pace::PerSecond(rate) => Pace::PerSecond(rate * share),
                max => max,
            },
            sockets: own,
            data_bytes,
            begin,
            end,
            begun: 0,
            late: 0,
            arrived: (0, begin),
        }
    }

    /// Writes what is due; says who has something to send and when to call again.
    pub fn turn(&mut self, sockets: &mut [Socket], stage: &Stage, now: Instant) -> Attention {
        let mut attention = Attention::default();
        if self.sockets.is_empty() || stage.is_stopped() || now >= self.end {
            return attention;
        }
        // The poll steps in milliseconds: what is due within one goes out together.
        let soon = now + Duration::from_millis(1);
        for _ in 0..TURN_MAX {
            let due = match self.pace {
                Pace::PerSecond(rate) => {
                    self.begin + Duration::from_secs_f64(self.begun as f64 / rate)
                }
                Pace::Max { window } => match self.has_room(window, stage, now) {
                    true => now,
                    false => soon,
                },
            };
            if due > now || now < self.begin {
                attention.at = Some(due.max(self.begin).max(soon));
                return attention;
            }
            let n = self.sockets[self.begun as usize % self.sockets.len()];
            self.begun += 1;
            match sockets.get_mut(n) {
                Some(socket) if socket.is_ready() && !socket.is_blocked() => {
                    self.send(socket, stage, due, now);
                    attention.sockets.push(n);
                }
                _ => self.late += u64::from(matches!(self.pace, Pace::PerSecond(_))),
            }
        }
        // at once, unless the server reads from none of them
        attention.at = Some(if attention.sockets.is_empty() {
            soon
        } else {
            now
        });
        attention
    }

    fn has_room(&mut self, window: Option<u64>, stage: &Stage, now: Instant) -> bool {
        let Some(window) = window else {
            return true;
        };
        let outstanding = stage.outstanding();
        if outstanding < window {
            self.arrived.1 = now;
            return true;
        }
        let arrived = stage.arrived();
        if arrived != self.arrived.0 {
            self.arrived = (arrived, now);
        } else if now.duration_since(self.arrived.1) > QUIET {
            stage.forgiven.fetch_add(outstanding, Relaxed);
        }
        false
    }

    fn send(&self, socket: &mut Socket, stage: &Stage, due: Instant, now: Instant) {
        let Some(stream) = socket.plan.stream else {
            return;
        };
        let Some(channel) = stage.channel_of(stream) else {
            return;
        };
        // Polls step in milliseconds; more than that is lateness.
        let is_late = now.duration_since(due) > Duration::from_millis(2);
        let sent_at = if is_late { due } else { Instant::now() };
        let token = Token {
            stream,
            sequence: stage.sent_of(stream),
            sent_ns: stage.ns(sent_at),
        };
        let data = data(token, self.data_bytes);
        let name = &channel.name;
        socket.say(&format!(
            r#"{{"event":"client-bench","channel":"{name}","data":{data}}}"#
        ));
        stage.sent(stream);
        stage.due.fetch_add(channel.subscribers, Relaxed);
    }
}
