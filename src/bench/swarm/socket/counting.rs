//! What a socket counts of what it gets. Once for each delivery: no allocation, no system call.
use super::{Context, Socket};
use crate::bench::{
    account::Arrival,
    stage::Stage,
    swarm::{Sent, Settled},
    token::Token,
};

/// A message that counts. `lane`: whose times it belongs to, if not its group's.
pub(super) struct Found {
    token: Token,
    lane: Option<usize>,
}

pub(super) fn of_stream(text: &[u8], stage: &Stage) -> Option<Found> {
    if !stage.is_presence {
        let token = Token::find(text)?;
        return Some(Found { token, lane: None });
    }
    // Members' ids are tokens, and stand in lists of members as well.
    let has = |part: &str| memchr::memmem::find(text, part.as_bytes()).is_some();
    if has("pusher_internal:member_added") {
        let token = Token::find(text)?;
        return Some(Found {
            token,
            lane: Some(0),
        });
    }
    if has("pusher_internal:member_removed") {
        let mut token = Token::find(text)?;
        token.sent_ns = stage.left_ns(token.stream, token.sequence)?;
        token.sequence += 1;
        return Some(Found {
            token,
            lane: Some(1),
        });
    }
    None
}

impl Socket {
    /// Counts a message.
    pub(super) fn delivered(&mut self, found: Found, now_ns: u64, context: &mut Context<'_>) {
        let Found { token, lane } = found;
        // who comes and goes gets what happens meanwhile; nobody knows what that must be
        if self.plan.channels.is_empty() {
            return;
        }
        context.arrived += 1;
        let Some(counts) = context.counts.get_mut(self.plan.group) else {
            return;
        };
        counts.received += 1;
        let track = self
            .tracks
            .binary_search_by_key(&token.stream, |track| track.0);
        let Ok(track) = track else {
            counts.misdirected += 1;
            return;
        };
        match self.tracks[track].1.arrived(token.sequence) {
            Arrival::Forward => {}
            Arrival::Late => counts.reordered += 1,
            Arrival::Duplicate => counts.duplicated += 1,
        }
        let took_ns = now_ns.saturating_sub(token.sent_ns);
        if let Some(times) = context.taken.times.get_mut(lane.unwrap_or(self.plan.group)) {
            times.record_ns(took_ns);
        }
        if context.keeps_longest {
            longest(&mut context.taken.longest_us, context.stage, token, took_ns);
        }
    }

    /// Adds what it should have got and didn't. One that never came about is told as such, and should have got nothing.
    pub fn settle(&self, sent: &Sent, settled: &mut Settled) {
        let group = self.plan.group;
        if self.is_gone {
            settled.gone[group] += 1;
        }
        if !self.was_ready {
            return;
        }
        let counts = &mut settled.groups[group];
        let has_tail = !(self.is_gone && sent.may_be_cut.contains(&group));
        for (stream, track) in &self.tracks {
            let total = sent.sent.get(*stream as usize).copied().unwrap_or(0);
            let from = sent.uncertain.partition_point(|one| one.0 < *stream);
            let own = sent.uncertain[from..]
                .iter()
                .take_while(|one| one.0 == *stream);
            let uncertain: Vec<u64> = own.map(|one| one.1).collect();
            let outcome = track.outcome(total, &uncertain, has_tail);
            counts.expected += outcome.expected;
            counts.lost += outcome.lost;
            counts.misdirected += outcome.unsent;
        }
    }
}

/// Events of a run are numbered across its streams.
fn longest(all: &mut Vec<u32>, stage: &Stage, token: Token, took_ns: u64) {
    /// More are left out: 40 MB.
    const EVENTS_MAX: u64 = 10_000_000;
    let streams = stage.streams.len() as u64;
    let number = token.sequence.saturating_mul(streams);
    let number = number.saturating_add(u64::from(token.stream));
    if number >= EVENTS_MAX {
        return;
    }
    let number = number as usize;
    if number >= all.len() {
        all.resize(number + 1, 0);
    }
    let took_us = u32::try_from(took_ns / 1_000).unwrap_or(u32::MAX);
    all[number] = all[number].max(took_us.max(1));
}
