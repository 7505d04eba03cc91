//! What every scenario does: find the servers, put sockets on them, put load on those, wait until all has come, count.
mod find;
mod tell;

pub use self::find::find_servers;
use self::tell::Failures;
use super::{
    BenchError,
    account::Counts,
    arguments::{Rate, Task},
    console::Console,
    publisher::{self, Load, Pace, Published},
    report::Report,
    stage::{Server, Stage},
    swarm::{Opening, Plan, Settled, Swarm, Taken, Work},
    times::{Percentiles, Times},
    usage::Usage,
};
use crate::client::now_s;
use std::{
    cell::RefCell,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// For a name, a connection, an answer, and for each socket on its way.
const PATIENCE: Duration = Duration::from_secs(10);

/// When nothing has come for so long, nothing more will.
const QUIET: Duration = Duration::from_secs(2);

/// What is waited for at most once nothing more is sent.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// After the last message that is due: one too many would come now.
const AFTERWARDS: Duration = Duration::from_millis(200);

/// Servers with sockets on them.
pub struct Field<'a> {
    pub task: &'a Task,
    pub console: &'a Console,
    pub stage: Arc<Stage>,
    pub swarm: Swarm,
    /// what went wrong while nothing was measured, and wasn't told yet
    besides: RefCell<Failures>,
}

/// What a scenario wants of its sockets.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// what the channels are called, before their number
    pub prefix: &'static str,
    pub channels: usize,
    /// the channel of each stream
    pub streams: Vec<u32>,
    /// who gets a message of each channel, at once
    pub subscribers: Vec<u64>,
    pub groups: usize,
    /// Times how long each event takes until everybody has it.
    pub keeps_longest: bool,
    pub is_presence: bool,
}

/// One load, measured while it lasted.
#[derive(Debug, Default)]
pub struct Measured {
    pub wall: Duration,
    /// deliveries meanwhile
    pub arrived: u64,
    /// messages that servers took meanwhile
    pub sent: u64,
    pub server: Option<Usage>,
    pub own: Option<Usage>,
    pub published: Published,
    pub taken: Taken,
    /// of the busiest thread
    pub thread_cpu: Duration,
}

impl<'a> Field<'a> {
    pub fn new(
        task: &'a Task,
        console: &'a Console,
        servers: &[Server],
        setup: Setup,
    ) -> Result<Field<'a>, BenchError> {
        // another run on the same server must not get in between
        let run = std::process::id() as u64 ^ now_s() << 16;
        let prefix = setup.prefix;
        let name = |n: usize| format!("{prefix}bench-{:08x}-{n}", run as u32);
        let mut stage = Stage::new(
            servers.to_vec(),
            task.app.clone(),
            (0..setup.channels).map(name).collect(),
            &setup.streams,
            task.threads,
            console.stop.clone(),
        );
        stage.is_presence = setup.is_presence;
        for (channel, subscribers) in stage.channels.iter_mut().zip(&setup.subscribers) {
            channel.subscribers = *subscribers;
        }
        let stage = Arc::new(stage);
        let swarm = Swarm::start(&stage, setup.groups, setup.keeps_longest);
        let swarm = swarm.map_err(|error| BenchError(format!("no threads: {error}")))?;
        Ok(Field {
            task,
            console,
            stage,
            swarm,
            besides: RefCell::default(),
        })
    }

    pub fn opening(&self, is_persistent: bool) -> Opening {
        let by_connecting = matches!(
            self.task.scenario,
            super::Scenario::Connections | super::Scenario::Storm
        );
        let rate = match self.task.rate {
            Rate::PerSecond(rate) if by_connecting => Some(f64::from(rate)),
            _ => None,
        };
        Opening {
            in_flight: self.task.in_flight,
            rate,
            is_persistent,
            patience: PATIENCE,
        }
    }

    /// Opens sockets and waits until each is ready or given up. An error if none came about.
    pub fn open(&self, plans: Vec<Plan>, report: &mut Report) -> Result<(), BenchError> {
        let count = plans.len();
        let failed_before = self.stage.failed();
        let before = self.stage.ready() + failed_before;
        self.swarm.open(plans, self.opening(false));
        self.wait_for_sockets(before + count, count);
        let failed = self.stage.failed() - failed_before;
        if self.stage.ready() == 0 && !self.console.is_stopped() {
            let taken = self.swarm.take();
            let all = [&taken.failed, &taken.ended];
            let reasons = all.into_iter().flat_map(|errors| errors.most_frequent());
            let reason = reasons.map(|(text, _)| text.to_owned()).next();
            let reason = reason.unwrap_or_else(|| "there was no time".to_owned());
            return Err(BenchError(format!("no socket came about: {reason}")));
        }
        if failed > 0 {
            let text = format!("{failed} of {count} sockets didn't come about");
            report.problem(text);
        }
        Ok(())
    }

    /// Waits until so many sockets are ready or given up. There is more time for more of them, 200 in a second.
    pub fn wait_for_sockets(&self, wanted: usize, count: usize) {
        let seconds = 30.0 + count as f64 / 200.0 + self.by_rate(count);
        let deadline = Instant::now() + Duration::from_secs_f64(seconds);
        let stage = &self.stage;
        self.console.wait(
            deadline,
            || format!("{} of {wanted} sockets are ready", stage.ready()),
            || stage.ready() + stage.failed() >= wanted,
        );
    }

    /// Seconds it takes to open sockets at the rate that is asked for.
    fn by_rate(&self, count: usize) -> f64 {
        let rate = self.opening(false).rate;
        rate.map_or(0.0, |rate| count as f64 / rate)
    }

    /// A load for the time that was asked for, at the pace that was asked for.
    pub fn load(&self, connections: Vec<Vec<u32>>) -> Load {
        let begin = Instant::now();
        Load {
            server: 0,
            connections,
            pace: self.pace(),
            data_bytes: self.task.data_bytes,
            keep_alive: self.task.keep_alive,
            rounds: None,
            begin,
            end: begin + Duration::from_secs(self.task.seconds),
        }
    }

    /// The pace that was asked for. As many as go through: with 64 events of the largest channel on their way, or 8192
    /// deliveries, so that nobody's queue at the server grows without end.
    pub fn pace(&self) -> Pace {
        let largest = self.stage.channels.iter().map(|one| one.subscribers).max();
        let window = (64 * largest.unwrap_or(0)).max(8192);
        match self.task.rate {
            Rate::PerSecond(rate) => Pace::PerSecond(f64::from(rate)),
            Rate::Max => Pace::Max {
                window: Some(window),
            },
        }
    }

    /// The same load for a moment, so that what servers do the first time isn't measured. Its messages count.
    pub fn warm_up(&self, load: &Load) -> Result<(), BenchError> {
        let now = Instant::now();
        let time = Duration::from_secs(self.task.seconds) / 5;
        let load = Load {
            begin: now,
            end: now + time.min(Duration::from_secs(1)),
            ..load.clone()
        };
        let end = load.end;
        let publisher = self.start(load)?;
        self.console.wait(end, || "warming up".to_owned(), || false);
        let published = join(publisher)?;
        self.drain();
        self.besides.borrow_mut().add_published(&published);
        self.forget_times();
        Ok(())
    }

    /// Puts a load on, and measures while it lasts.
    pub fn publish(&self, load: Load) -> Result<Measured, BenchError> {
        let now = Instant::now();
        let time = load.end.saturating_duration_since(load.begin);
        let load = Load {
            begin: now,
            end: now + time,
            ..load
        };
        let end = load.end;
        // Before the first event: its deliveries are timed, all of them or none.
        let busy_before = self.forget_times();
        let publisher = self.start(load)?;
        let mut measured = self.measure(end, busy_before);
        measured.published = join(publisher)?;
        self.finish(&mut measured);
        Ok(measured)
    }

    /// The same for what sockets do by themselves; `work` gets its beginning and its end.
    pub fn let_work(&self, work: impl Fn(Instant, Instant) -> Work) -> Measured {
        let begin = Instant::now();
        let end = begin + Duration::from_secs(self.task.seconds);
        let busy_before = self.forget_times();
        self.swarm.work(work(begin, end));
        let mut measured = self.measure(end, busy_before);
        self.finish(&mut measured);
        measured
    }

    pub fn start(&self, load: Load) -> Result<Publishing, BenchError> {
        let started = publisher::start(&self.stage, load);
        started.map_err(|error| BenchError(format!("no thread: {error}")))
    }

    /// What the sockets gathered so far isn't measured; what went wrong is told later. Returns the processor time of the
    /// busiest thread so far.
    pub fn forget_times(&self) -> Duration {
        let taken = self.swarm.take();
        self.besides.borrow_mut().add_taken(&taken);
        taken.thread_cpu
    }

    fn total_sent(&self) -> u64 {
        self.stage.all_sent().iter().sum()
    }

    /// What happens until `end`. `busy_before`: what [`forget_times`](Field::forget_times) said before anything was sent.
    pub fn measure(&self, end: Instant, busy_before: Duration) -> Measured {
        let stage = &self.stage;
        let began = Instant::now();
        let (server, own) = (Usage::of(&self.task.pids), Usage::own());
        let (arrived, sent) = (stage.arrived(), self.total_sent());
        self.console.wait(
            end,
            || {
                let arrived = stage.arrived() - arrived;
                let left = end.saturating_duration_since(Instant::now()).as_secs();
                format!("{arrived} messages have come; {left} s to go")
            },
            || false,
        );
        let mut measured = Measured {
            wall: began.elapsed(),
            arrived: stage.arrived() - arrived,
            sent: self.total_sent() - sent,
            server: Usage::between(server, Usage::of(&self.task.pids)),
            own: Usage::between(own, Usage::own()),
            ..Measured::default()
        };
        measured.taken = self.swarm.take();
        measured.thread_cpu = measured.taken.thread_cpu.saturating_sub(busy_before);
        measured
    }

    /// Waits for what is on its way, and gathers it.
    pub fn finish(&self, measured: &mut Measured) {
        self.drain();
        let rest = self.swarm.take();
        measured.taken.add(rest);
        let publisher = measured.published.thread_cpu;
        measured.thread_cpu = measured.thread_cpu.max(publisher);
    }

    /// Waits until everything that was sent has come, or nothing comes any more.
    pub fn drain(&self) {
        let stage = &self.stage;
        let longest = match self.console.is_stopped() {
            true => Duration::from_secs(1),
            false => DRAIN_MAX,
        };
        let deadline = Instant::now() + longest;
        let mut last = (stage.arrived(), Instant::now());
        let mut is_over = || {
            let arrived = stage.arrived();
            if arrived != last.0 {
                last = (arrived, Instant::now());
            }
            stage.outstanding() == 0 || last.1.elapsed() > QUIET
        };
        while Instant::now() < deadline && !is_over() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(AFTERWARDS);
    }

    /// One event to each stream, and waits until it has come: whoever doesn't get it isn't there.
    pub fn probe(&self, connections: Vec<Vec<u32>>) -> Result<Published, BenchError> {
        let mut load = self.load(connections);
        load.pace = Pace::Max { window: None };
        load.rounds = Some(1);
        load.end = Instant::now() + Duration::from_secs(60);
        let publishing = self.start(load)?;
        let probe = || "an event for each channel".to_owned();
        let deadline = Instant::now() + Duration::from_secs(70);
        self.console
            .wait(deadline, probe, || publishing.is_finished());
        let published = join(publishing)?;
        self.drain();
        Ok(published)
    }

    /// Counts, and says what is wrong. Sockets of the groups in `may_be_cut` may be gone.
    pub fn settle(&self, may_be_cut: Vec<usize>, report: &mut Report) -> Settled {
        let settled = self.swarm.settle(may_be_cut.clone());
        let mut sum = Counts::default();
        for counts in &settled.groups {
            sum += *counts;
        }
        report.counts(sum);
        report.must_be_clean(sum);
        let groups = settled.gone.iter().enumerate();
        let must_stay = groups.filter(|(group, _)| !may_be_cut.contains(group));
        let gone: usize = must_stay.map(|(_, gone)| gone).sum();
        if gone > 0 {
            report.problem(format!("the server cut {gone} sockets"));
        }
        settled
    }
}

impl Measured {
    /// Times of a group, or of a lane.
    pub fn times(&self, group: usize) -> Percentiles {
        let times = self.taken.times.get(group);
        times.map(Times::percentiles).unwrap_or_default()
    }
}

/// A publisher at work.
pub type Publishing = JoinHandle<std::io::Result<Published>>;

/// Waits for a publisher, which ends by itself soon after its load.
pub fn join(publishing: Publishing) -> Result<Published, BenchError> {
    match publishing.join() {
        Ok(published) => {
            published.map_err(|error| BenchError(format!("posting events failed: {error}")))
        }
        Err(_) => Err(BenchError("posting events failed".to_owned())),
    }
}

/// Which streams there are (the channel of each) and which connection posts them: each stream belongs to one connection, so
/// that its events have an order; each connection has at least one.
pub fn streams(channels: usize, publishers: usize) -> (Vec<u32>, Vec<Vec<u32>>) {
    let count = channels.max(publishers);
    // --channels and --publishers are far below u32's end
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let streams = (0..count).map(|n| number(n % channels)).collect();
    let of = |connection: usize| {
        (connection..count)
            .step_by(publishers)
            .map(number)
            .collect()
    };
    (streams, (0..publishers).map(of).collect())
}

/// How long each event took until the last one had it.
pub fn until_all(longest_us: &[u32]) -> Times {
    let mut times = Times::default();
    for us in longest_us.iter().filter(|us| **us > 0) {
        times.record(Duration::from_micros(u64::from(*us)));
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_spread() {
        let check = |channels, publishers, of: &[u32], connections: &[&[u32]]| {
            let (found, by_connection) = streams(channels, publishers);
            assert_eq!(found, of);
            assert_eq!(by_connection, connections);
        };
        check(1, 1, &[0], &[&[0]]);
        check(1, 3, &[0, 0, 0], &[&[0], &[1], &[2]]);
        check(2, 3, &[0, 1, 0], &[&[0], &[1], &[2]]);
        check(5, 2, &[0, 1, 2, 3, 4], &[&[0, 2, 4], &[1, 3]]);
    }

    #[test]
    fn events_that_nobody_got_have_no_time() {
        assert_eq!(until_all(&[0, 5, 0, 7]).count(), 2);
    }
}
