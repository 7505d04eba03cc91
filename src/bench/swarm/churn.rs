//! Members that join and leave a presence channel again and again, each time as another user whose id is a token: so what others
//! are told of each joining and each leaving can be counted and timed.
use super::{attention::Attention, socket::Socket};
use crate::bench::{stage::Stage, token::Token};
use serde_json::json;
use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

/// How long a joining may take to be confirmed once nothing more is to be done.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Churn {
    members: Vec<Member>,
    /// between two steps of a member: to join, to leave
    step: Duration,
    end: Instant,
    /// steps that were due while the server hadn't confirmed the one before
    pub late: u64,
}

#[derive(Debug)]
struct Member {
    socket: usize,
    phase: Phase,
    next: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Away,
    /// confirmed when the socket has had more confirmations than this
    Joining(u64),
    Here,
}

impl Churn {
    /// `total`: members of all threads.
    pub fn new(
        sockets: &[Socket],
        total: usize,
        joins_per_s: f64,
        begin: Instant,
        end: Instant,
    ) -> Churn {
        let own = (0..sockets.len()).filter(|n| sockets[*n].plan.stream.is_some());
        // one joins every so often, and stays for half of that
        let cycle = Duration::from_secs_f64(total.max(1) as f64 / joins_per_s);
        let members = own.map(|socket| {
            let stream = sockets[socket].plan.stream.unwrap_or(0);
            let share = f64::from(stream) / total.max(1) as f64;
            Member {
                socket,
                phase: Phase::Away,
                // spread evenly
                next: begin + cycle.mul_f64(share.fract()),
            }
        });
        Churn {
            members: members.collect(),
            step: cycle / 2,
            end,
            late: 0,
        }
    }

    /// Takes the steps that are due; says who has something to send and when to call again.
    pub fn turn(&mut self, sockets: &mut [Socket], stage: &Stage, now: Instant) -> Attention {
        let mut attention = Attention::default();
        let is_over = now >= self.end || stage.is_stopped();
        for member in &mut self.members {
            let Some(socket) = sockets.get_mut(member.socket) else {
                continue;
            };
            if let Phase::Joining(confirmed) = member.phase
                && socket.confirmed > confirmed
            {
                member.phase = Phase::Here;
                told(socket, stage);
            }
            let is_due = now >= member.next || (is_over && member.phase == Phase::Here);
            if !is_due || !socket.is_ready() {
                let at = attention.at.get_or_insert(member.next);
                *at = member.next.min(*at);
                continue;
            }
            match member.phase {
                Phase::Away if is_over => {
                    member.next = now + PATIENCE;
                    continue;
                }
                Phase::Away => {
                    join(socket, stage);
                    member.phase = Phase::Joining(socket.confirmed);
                }
                Phase::Joining(_) => self.late += u64::from(!is_over),
                Phase::Here => {
                    leave(socket, stage);
                    member.phase = Phase::Away;
                }
            }
            attention.sockets.push(member.socket);
            member.next = (member.next + self.step).max(now);
        }
        if !self.members.is_empty() {
            // confirmations wake the thread by themselves
            let soon = now + Duration::from_millis(1);
            attention.at = attention.at.map(|at| at.max(soon)).or(Some(soon));
        }
        attention
    }
}

/// Another step of its stream is what others must be told.
fn told(socket: &Socket, stage: &Stage) {
    let Some(stream) = socket.plan.stream else {
        return;
    };
    stage.sent(stream);
    let channel = stage.channel_of(stream);
    let subscribers = channel.map_or(0, |channel| channel.subscribers);
    stage.due.fetch_add(subscribers, Relaxed);
}

fn join(socket: &mut Socket, stage: &Stage) {
    let Some(stream) = socket.plan.stream else {
        return;
    };
    let token = Token {
        stream,
        sequence: stage.sent_of(stream),
        sent_ns: stage.now_ns(),
    };
    let channel = stage
        .streams
        .get(stream as usize)
        .map_or(0, |one| one.channel);
    socket.subscribe(stage, channel, Some(&token.to_string()));
}

fn leave(socket: &mut Socket, stage: &Stage) {
    let Some(stream) = socket.plan.stream else {
        return;
    };
    let Some(channel) = stage.channel_of(stream) else {
        return;
    };
    // the number of its joining
    let joined = stage.sent_of(stream).saturating_sub(1);
    stage.leaves(stream, joined, stage.now_ns());
    let message = json!({ "event": "pusher:unsubscribe", "data": { "channel": channel.name } });
    socket.say(&message.to_string());
    told(socket, stage);
}
