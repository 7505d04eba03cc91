//! A thread with sockets: waits for them, opens as many as it may, gives up those that take too long, answers questions.
use super::{
    Command, Opening, Plan, Sent, Settled, Taken, Work,
    churn::Churn,
    sender::Senders,
    socket::{BUFFER_BYTES, Context, Over, Socket},
};
use crate::bench::{account::Counts, stage::Stage, times::Times, usage};
use mio::{Events, Poll};
use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, Release},
        mpsc,
    },
    time::{Duration, Instant},
};

/// The token of other threads' commands.
const WAKE: mio::Token = mio::Token(usize::MAX);

/// A client is silent for no longer: every server's timeout is longer.
const PING_INTERVAL: Duration = Duration::from_secs(25);

/// Between a failed attempt and the next one, as clients have it (C-31).
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Sockets opened in one turn, so that the others aren't put off.
const OPENED_MAX: usize = 64;

enum Doing {
    Nothing,
    Sending(Senders),
    Churning(Churn),
}

pub struct Worker {
    stage: Arc<Stage>,
    number: usize,
    poll: Poll,
    commands: mpsc::Receiver<Command>,
    sockets: Vec<Socket>,
    buffer: Vec<u8>,
    opening: Opening,
    /// sockets that aren't open yet, in turn
    waiting: VecDeque<usize>,
    /// those that failed, and when to try again
    retries: VecDeque<(Instant, usize)>,
    /// beginnings of attempts, in order: socket and number of the attempt
    attempts: VecDeque<(Instant, usize, u32)>,
    in_flight: usize,
    /// when the next may be opened, if they have a rate
    next_open: Instant,
    next_sweep: Instant,
    doing: Doing,
    taken: Taken,
    counts: Vec<Counts>,
    lanes: usize,
    keeps_longest: bool,
}

impl Worker {
    pub fn new(
        stage: Arc<Stage>,
        number: usize,
        groups: usize,
        keeps_longest: bool,
        commands: mpsc::Receiver<Command>,
    ) -> io::Result<Worker> {
        let now = Instant::now();
        let lanes = if stage.is_presence { 2 } else { groups };
        Ok(Worker {
            stage,
            number,
            poll: Poll::new()?,
            commands,
            sockets: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
            opening: Opening {
                in_flight: 1,
                rate: None,
                is_persistent: false,
                patience: Duration::from_secs(10),
            },
            waiting: VecDeque::new(),
            retries: VecDeque::new(),
            attempts: VecDeque::new(),
            in_flight: 0,
            next_open: now,
            next_sweep: now,
            doing: Doing::Nothing,
            taken: empty(lanes),
            counts: vec![Counts::default(); groups],
            lanes,
            keeps_longest,
        })
    }

    pub fn waker(&self) -> io::Result<mio::Waker> {
        mio::Waker::new(self.poll.registry(), WAKE)
    }

    pub fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let now = Instant::now();
            self.open_more(now);
            let next = self.work(now);
            self.sweep(now);
            let wait = self.wait(next, now);
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    self.taken.errors.add(&format!("a poll failed: {error}"));
                    return;
                }
                _ => {}
            }
            for event in &events {
                let is_last = event.is_read_closed() || event.is_error();
                if event.token() != WAKE {
                    self.turn(event.token().0, is_last);
                }
            }
            while let Ok(command) = self.commands.try_recv() {
                if !self.obey(command) {
                    return;
                }
            }
        }
    }

    /// How long the poll may sleep. It knows milliseconds only and rounds up, so that less than one isn't slept at all.
    fn wait(&self, next: Option<Instant>, now: Instant) -> Duration {
        let longest = Duration::from_millis(100);
        let may_open = !self.waiting.is_empty() && self.in_flight < self.opening.in_flight;
        let open = may_open.then_some(self.next_open);
        let retry = self.retries.front().map(|retry| retry.0);
        let next = [next, open, retry].into_iter().flatten().min();
        let left = next.map_or(longest, |next| next.saturating_duration_since(now));
        let whole = u64::try_from(left.as_millis()).unwrap_or(100);
        Duration::from_millis(whole).min(longest)
    }

    /// `false` ends the thread.
    fn obey(&mut self, command: Command) -> bool {
        // who asked may have given up waiting
        match command {
            Command::Open(plans, opening) => self.add(plans, opening),
            Command::Drop => self.drop_all(),
            Command::Reopen(opening) => self.reopen(opening),
            Command::Work(work) => self.begin(work),
            Command::Resume => self.resume(),
            Command::StalledPorts(reply) => {
                let stalled = self.sockets.iter().filter(|one| one.plan.is_stalled);
                let _ = reply.send(stalled.filter_map(Socket::local_port).collect());
            }
            Command::Take(reply) => {
                let _ = reply.send(self.take());
            }
            Command::Settle(sent, reply) => {
                let _ = reply.send(self.settle(&sent));
            }
            Command::End => return false,
        }
        true
    }

    fn add(&mut self, plans: Vec<Plan>, opening: Opening) {
        let first = self.sockets.len();
        let new = plans.into_iter().map(|plan| Socket::new(plan, &self.stage));
        self.sockets.extend(new);
        self.waiting.extend(first..self.sockets.len());
        self.start_opening(opening);
    }

    fn start_opening(&mut self, opening: Opening) {
        self.opening = opening;
        self.next_open = Instant::now();
    }

    fn drop_all(&mut self) {
        for socket in &mut self.sockets {
            socket.cut();
        }
        self.waiting.clear();
        self.retries.clear();
        self.attempts.clear();
        self.in_flight = 0;
        let progress = &self.stage.threads[self.number];
        progress.ready.store(0, Release);
        progress.failed.store(0, Release);
    }

    fn reopen(&mut self, opening: Opening) {
        self.waiting = (0..self.sockets.len()).collect();
        for socket in &mut self.sockets {
            socket.is_gone = false;
        }
        self.start_opening(opening);
    }

    fn begin(&mut self, work: Work) {
        let total = self.stage.streams.len();
        self.doing = match work {
            Work::Nothing => Doing::Nothing,
            Work::ClientEvents {
                pace,
                data_bytes,
                begin,
                end,
            } => Doing::Sending(Senders::new(
                &self.sockets,
                total,
                pace,
                data_bytes,
                begin,
                end,
            )),
            Work::Churn {
                joins_per_s,
                begin,
                end,
            } => Doing::Churning(Churn::new(&self.sockets, total, joins_per_s, begin, end)),
        };
    }

    fn resume(&mut self) {
        for n in 0..self.sockets.len() {
            if std::mem::take(&mut self.sockets[n].plan.is_stalled) {
                self.turn(n, true);
            }
        }
    }

    fn take(&mut self) -> Taken {
        let mut taken = std::mem::replace(&mut self.taken, empty(self.lanes));
        taken.late = match &mut self.doing {
            Doing::Nothing => 0,
            Doing::Sending(senders) => std::mem::take(&mut senders.late),
            Doing::Churning(churn) => std::mem::take(&mut churn.late),
        };
        taken.thread_cpu = usage::own_thread_cpu();
        taken
    }

    fn settle(&self, sent: &Sent) -> Settled {
        let mut settled = Settled {
            groups: self.counts.clone(),
            gone: vec![0; self.counts.len()],
        };
        for socket in &self.sockets {
            socket.settle(sent, &mut settled);
        }
        settled
    }

    fn open_more(&mut self, now: Instant) {
        while self.retries.front().is_some_and(|retry| retry.0 <= now) {
            let retry = self.retries.pop_front();
            self.waiting.extend(retry.map(|(_, n)| n));
        }
        for _ in 0..OPENED_MAX {
            let has_place = self.in_flight < self.opening.in_flight && now >= self.next_open;
            let next = if has_place {
                self.waiting.pop_front()
            } else {
                None
            };
            let Some(n) = next else {
                return;
            };
            if let Some(rate) = self.opening.rate {
                self.next_open += Duration::from_secs_f64(1.0 / rate);
            }
            self.in_flight += 1;
            let socket = &mut self.sockets[n];
            match socket.open(&self.stage, self.poll.registry(), n) {
                Ok(()) => self.attempts.push_back((now, n, socket.attempt)),
                Err(over) => self.over(n, over),
            }
        }
    }

    /// Does what is to be done by now; says when to come back.
    fn work(&mut self, now: Instant) -> Option<Instant> {
        let Worker { sockets, stage, .. } = self;
        let attention = match &mut self.doing {
            Doing::Nothing => return None,
            Doing::Sending(senders) => senders.turn(sockets, stage, now),
            Doing::Churning(churn) => churn.turn(sockets, stage, now),
        };
        for n in attention.sockets {
            self.turn(n, false);
        }
        attention.at
    }

    /// Once a second: gives up who takes too long, and speaks for who was silent.
    fn sweep(&mut self, now: Instant) {
        while let Some(&(began, n, attempt)) = self.attempts.front() {
            let socket = &self.sockets[n];
            let is_this = socket.attempt == attempt && socket.is_on_its_way();
            if is_this && now.duration_since(began) < self.opening.patience {
                break;
            }
            self.attempts.pop_front();
            if is_this {
                let over = socket.timed_out(self.opening.patience);
                self.over(n, over);
            }
        }
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + Duration::from_secs(1);
        for n in 0..self.sockets.len() {
            let socket = &mut self.sockets[n];
            let is_silent = now.saturating_duration_since(socket.spoke) > PING_INTERVAL;
            if socket.is_ready() && is_silent && !socket.is_blocked() {
                socket.say(r#"{"event":"pusher:ping","data":{}}"#);
                self.turn(n, false);
            }
        }
    }

    /// Lets a socket write and read, and sees what became of it.
    fn turn(&mut self, n: usize, to_the_end: bool) {
        let Some(socket) = self.sockets.get_mut(n) else {
            return;
        };
        let was_ready = socket.is_ready();
        let mut context = Context {
            stage: &self.stage,
            buffer: &mut self.buffer,
            taken: &mut self.taken,
            counts: &mut self.counts,
            keeps_longest: self.keeps_longest,
            arrived: 0,
        };
        let result = socket.turn(&mut context, to_the_end);
        let arrived = context.arrived;
        let progress = &self.stage.threads[self.number];
        if arrived > 0 {
            progress.arrived.fetch_add(arrived, Release);
        }
        if !was_ready && socket.is_ready() {
            self.in_flight = self.in_flight.saturating_sub(1);
            self.taken.connect_times.record(socket.began.elapsed());
            progress.ready_ns.store(self.stage.now_ns(), Relaxed);
            progress.ready.fetch_add(1, Release);
        }
        if let Err(over) = result {
            self.over(n, over);
        }
    }

    /// A connection is over: an attempt failed, or the server cut it.
    fn over(&mut self, n: usize, over: Over) {
        let socket = &mut self.sockets[n];
        let progress = &self.stage.threads[self.number];
        let was_ready = socket.is_ready();
        socket.cut();
        if was_ready {
            socket.is_gone = true;
            progress.ready.fetch_sub(1, Release);
            self.taken.ended.add(&over);
            return;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        self.taken.failed.add(&over);
        match self.opening.is_persistent {
            true => self.retries.push_back((Instant::now() + RETRY_DELAY, n)),
            false => {
                progress.failed.fetch_add(1, Release);
            }
        }
    }
}

fn empty(lanes: usize) -> Taken {
    Taken {
        times: vec![Times::default(); lanes],
        ..Taken::default()
    }
}
