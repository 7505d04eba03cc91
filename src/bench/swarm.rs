//! Many sockets on a few threads, each with a poll of its own: opened, counted, dropped and opened again as a scenario says. What
//! one socket does is `socket`'s matter, what a thread does is `worker`'s, what sockets send by themselves is `sender`'s and `churn`'s.
mod attention;
mod churn;
mod sender;
mod socket;
mod worker;

use super::{account::Counts, errors::Errors, publisher::Pace, stage::Stage, times::Times};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    thread,
    time::{Duration, Instant},
};
use worker::Worker;

/// How long a thread may take to answer a question: it has a turn to finish first.
const PATIENCE: Duration = Duration::from_secs(10);

/// One socket that is to be.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// whom to ask, of the stage's servers
    pub server: usize,
    /// what it subscribes to
    pub channels: Vec<u32>,
    /// Whose counts and times it belongs to, from 0.
    pub group: usize,
    /// its id on presence channels
    pub user: Option<String>,
    /// what it sends by itself
    pub stream: Option<u32>,
    /// Reads nothing once it is subscribed, and takes few bytes meanwhile.
    pub is_stalled: bool,
}

/// How sockets are opened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Opening {
    /// handshakes and subscriptions at a time, of all threads together
    pub in_flight: usize,
    /// sockets a second, of all threads together
    pub rate: Option<f64>,
    /// Tries again what failed, a second later, as clients do.
    pub is_persistent: bool,
    /// for each socket
    pub patience: Duration,
}

/// What a socket sends by itself.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    Nothing,
    /// client events, at a pace of all sockets with a stream together
    ClientEvents {
        pace: Pace,
        data_bytes: usize,
        begin: Instant,
        end: Instant,
    },
    /// Joins and leaves the channel of its stream, so many times a second all together.
    Churn {
        joins_per_s: f64,
        begin: Instant,
        end: Instant,
    },
}

/// What a thread has gathered since it was asked last.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// of each group; with presence those who joined and those who left
    pub times: Vec<Times>,
    /// from the first packet to the last subscription
    pub connect_times: Times,
    /// what servers called an error
    pub errors: Errors,
    /// attempts that failed
    pub failed: Errors,
    /// sockets that were ready and are gone, although nobody here dropped them
    pub ended: Errors,
    /// the longest time of each event by its number, in microseconds; 0 = none
    pub longest_us: Vec<u32>,
    /// things to send that weren't when they were due
    pub late: u64,
    pub thread_cpu: Duration,
}

/// What all has come to.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    pub groups: Vec<Counts>,
    /// Of each group: sockets that are gone although nobody here dropped them.
    pub gone: Vec<usize>,
}

enum Command {
    Open(Vec<Plan>, Opening),
    /// Cuts every socket; they can be opened again.
    Drop,
    Reopen(Opening),
    Work(Work),
    Resume,
    StalledPorts(mpsc::Sender<Vec<u16>>),
    Take(mpsc::Sender<Taken>),
    Settle(Arc<Sent>, mpsc::Sender<Settled>),
    End,
}

/// What should have come.
pub struct Sent {
    /// messages of each stream
    pub sent: Vec<u64>,
    /// stream and number, in order
    pub uncertain: Vec<(u32, u64)>,
    /// Groups whose sockets may be cut: what they didn't get since isn't lost.
    pub may_be_cut: Vec<usize>,
}

struct Thread {
    commands: mpsc::Sender<Command>,
    waker: mio::Waker,
    handle: Option<thread::JoinHandle<()>>,
}

/// The threads. Dropped, they end with all their sockets.
pub struct Swarm {
    stage: Arc<Stage>,
    threads: Vec<Thread>,
}

impl Swarm {
    /// As many threads as the stage has places for. `groups`: how many there are.
    pub fn start(stage: &Arc<Stage>, groups: usize, keeps_longest: bool) -> io::Result<Swarm> {
        let mut threads = Vec::new();
        for number in 0..stage.threads.len() {
            let (commands, receiver) = mpsc::channel();
            let worker = Worker::new(stage.clone(), number, groups, keeps_longest, receiver)?;
            let waker = worker.waker()?;
            let named = thread::Builder::new().name(format!("bench-sockets-{number}"));
            threads.push(Thread {
                commands,
                waker,
                handle: Some(named.spawn(move || worker.run())?),
            });
        }
        Ok(Swarm {
            stage: stage.clone(),
            threads,
        })
    }

    /// Begins to open sockets, spread over the threads in turn.
    pub fn open(&self, plans: Vec<Plan>, opening: Opening) {
        let mut shares: Vec<Vec<Plan>> = self.threads.iter().map(|_| Vec::new()).collect();
        let threads = shares.len().max(1);
        for (n, plan) in plans.into_iter().enumerate() {
            shares[n % threads].push(plan);
        }
        for (thread, share) in self.threads.iter().zip(shares) {
            thread.tell(Command::Open(share, self.share(opening)));
        }
    }

    pub fn reopen(&self, opening: Opening) {
        self.tell(|| Command::Reopen(self.share(opening)));
    }

    /// What one thread does of it.
    fn share(&self, opening: Opening) -> Opening {
        let threads = self.threads.len().max(1);
        Opening {
            in_flight: opening.in_flight.div_ceil(threads),
            rate: opening.rate.map(|rate| rate / threads as f64),
            ..opening
        }
    }

    pub fn drop_all(&self) {
        self.tell(|| Command::Drop);
    }

    pub fn work(&self, work: Work) {
        self.tell(|| Command::Work(work));
    }

    /// Lets stalled sockets read.
    pub fn resume(&self) {
        self.tell(|| Command::Resume);
    }

    /// Local ports of the stalled sockets.
    pub fn stalled_ports(&self) -> Vec<u16> {
        let answers = self.ask(Command::StalledPorts);
        answers.into_iter().flatten().collect()
    }

    /// What was gathered since the last time, of all threads.
    pub fn take(&self) -> Taken {
        let mut sum = Taken::default();
        for taken in self.ask(Command::Take) {
            sum.add(taken);
        }
        sum
    }

    /// Compares what came with what was sent.
    pub fn settle(&self, may_be_cut: Vec<usize>) -> Settled {
        let sent = Arc::new(Sent {
            sent: self.stage.all_sent(),
            uncertain: self.stage.all_uncertain(),
            may_be_cut,
        });
        let mut sum = Settled::default();
        for settled in self.ask(|reply| Command::Settle(sent.clone(), reply)) {
            sum.add(&settled);
        }
        sum
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for thread in &self.threads {
            thread.tell(command());
        }
    }

    fn ask<T>(&self, command: impl Fn(mpsc::Sender<T>) -> Command) -> Vec<T> {
        let (reply, answers) = mpsc::channel();
        self.tell(|| command(reply.clone()));
        let deadline = Instant::now() + PATIENCE;
        let next = |_| {
            let left = deadline.saturating_duration_since(Instant::now());
            answers.recv_timeout(left).ok()
        };
        (0..self.threads.len()).map_while(next).collect()
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.tell(|| Command::End);
        for thread in &mut self.threads {
            if let Some(handle) = thread.handle.take() {
                // it has printed why it panicked
                let _ = handle.join();
            }
        }
    }
}

impl Thread {
    fn tell(&self, command: Command) {
        // a thread that has gone shows in the counts
        let _ = self.commands.send(command);
        let _ = self.waker.wake();
    }
}

impl Taken {
    /// Of another thread, or of later.
    pub fn add(&mut self, other: Taken) {
        let lanes = self.times.len().max(other.times.len());
        self.times.resize_with(lanes, Times::default);
        for (sum, one) in self.times.iter_mut().zip(&other.times) {
            sum.add(one);
        }
        self.connect_times.add(&other.connect_times);
        self.errors.merge(&other.errors);
        self.failed.merge(&other.failed);
        self.ended.merge(&other.ended);
        let events = self.longest_us.len().max(other.longest_us.len());
        self.longest_us.resize(events, 0);
        for (longest, one) in self.longest_us.iter_mut().zip(other.longest_us) {
            *longest = one.max(*longest);
        }
        self.late += other.late;
        self.thread_cpu = self.thread_cpu.max(other.thread_cpu);
    }
}

impl Settled {
    fn add(&mut self, other: &Settled) {
        let groups = self.groups.len().max(other.groups.len());
        self.groups.resize(groups, Counts::default());
        for (sum, one) in self.groups.iter_mut().zip(&other.groups) {
            *sum += *one;
        }
        self.gone.resize(groups, 0);
        for (sum, one) in self.gone.iter_mut().zip(&other.gone) {
            *sum += one;
        }
    }
}

/// Where the next socket comes from; `None` leaves it to the system. One loopback address has some 28,000 ports for connections
/// to one server, and to find a free one among those that are in use, or were by an earlier run, takes the system longer than all
/// the rest of a connection. Linux takes every address in 127.0.0.0/8 for this machine: there each socket comes from the next port
/// of the next address. Elsewhere the first ones come from where the system likes.
fn source(stage: &Stage, to: SocketAddr) -> Option<SocketAddr> {
    const PER_ADDRESS: usize = 20_000;
    const FIRST_PORT: usize = 32_768;
    /// of the third and the fourth part of an address each
    const ADDRESSES: usize = 250;
    /// what one run may use before it meets another's
    const RUN_ADDRESSES: usize = 16;
    const LEFT_TO_SYSTEM: usize = if cfg!(target_os = "linux") { 0 } else { 1 };
    let SocketAddr::V4(to) = to else {
        return None;
    };
    let number = stage.opened.fetch_add(1, Relaxed);
    let address = (number / PER_ADDRESS).checked_sub(LEFT_TO_SYSTEM)?;
    // several runs on one machine shouldn't begin with the same
    let address = address + std::process::id() as usize * RUN_ADDRESSES;
    let third = address / ADDRESSES % ADDRESSES + 1;
    let fourth = address % ADDRESSES + 2;
    let port = FIRST_PORT + number % PER_ADDRESS;
    let (Ok(third), Ok(fourth), Ok(port)) = (
        u8::try_from(third),
        u8::try_from(fourth),
        u16::try_from(port),
    ) else {
        return None;
    };
    let is_loopback = to.ip().is_loopback();
    is_loopback.then(|| SocketAddr::from(([127, 0, third, fourth], port)))
}
