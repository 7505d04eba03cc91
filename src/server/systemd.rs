//! What passes between the server and systemd (or whoever speaks the same): listening sockets it hands over, and what it is
//! told of our state. Without systemd nothing of this does anything.

use std::{net::TcpListener, sync::Arc, time::Duration};

#[cfg(unix)]
use std::os::unix::net::UnixListener;

use crate::node::Node;

/// Sockets that were handed over at the start (`LISTEN_FDS`), by what they are for.
#[derive(Debug, Default)]
pub struct Inherited {
    /// takes the place of `server.host` and `server.port`
    pub main: Option<TcpListener>,
    /// of `server.plain_host` and `server.plain_port`
    pub plain: Option<TcpListener>,
    /// of `server.unix_socket`
    #[cfg(unix)]
    pub unix: Option<UnixListener>,
}

/// A socket that can't be used. `Display` says which and why.
#[derive(Debug, thiserror::Error)]
#[error(
    "the socket number {number} that was handed over (LISTEN_FDS, name {name:?}) can't be used: {reason}"
)]
pub struct InheritedError {
    number: usize,
    name: String,
    reason: String,
}

impl Inherited {
    /// Whether somebody else keeps the main socket open while we restart.
    pub fn has_main(&self) -> bool {
        self.main.is_some()
    }

    /// Takes over what the environment names. By name (`FileDescriptorName=` in a socket unit): `plain`, `unix`; any
    /// other is the main one. Without names the first TCP socket is the main one, the second the plain one. Call it
    /// once, before there are threads.
    #[cfg(unix)]
    pub fn from_environment() -> Result<Inherited, InheritedError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let mut handed = listenfd::ListenFd::from_env();
        let mut inherited = Inherited::default();
        for index in 0..handed.len() {
            let name = names.get(index).copied().unwrap_or_default();
            let error = |reason: String| InheritedError {
                number: index + 1,
                name: name.to_owned(),
                reason,
            };
            if let Ok(Some(listener)) = handed.take_unix_listener(index) {
                inherited.take_unix(listener).map_err(error)?;
                continue;
            }
            match handed.take_tcp_listener(index) {
                Ok(Some(listener)) => inherited.take_tcp(name, listener).map_err(error)?,
                Ok(None) => {}
                Err(reason) => return Err(error(reason.to_string())),
            }
        }
        Ok(inherited)
    }

    #[cfg(not(unix))]
    pub fn from_environment() -> Result<Inherited, InheritedError> {
        Ok(Inherited::default())
    }

    #[cfg(unix)]
    fn take_unix(&mut self, listener: UnixListener) -> Result<(), String> {
        match self.unix.replace(listener) {
            None => Ok(()),
            Some(_) => Err("one Unix socket can be served, not two".to_owned()),
        }
    }

    fn take_tcp(&mut self, name: &str, listener: TcpListener) -> Result<(), String> {
        // Its own name is what systemd gives a socket that has none.
        let place = match name {
            "plain" => &mut self.plain,
            _ if self.main.is_none() => &mut self.main,
            _ => &mut self.plain,
        };
        match place.replace(listener) {
            None => Ok(()),
            Some(_) => {
                Err("two TCP sockets can be served, the main one and one named plain".to_owned())
            }
        }
    }
}

/// Tells the service manager, if there is one.
fn tell(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("the service manager can't be told of our state: {error}");
    }
}

use sd_notify::NotifyState::{MonotonicUsec, Ready, Reloading, Status, Stopping, Watchdog};

/// Every listener takes connections; also the end of a reload.
pub fn ready(status: &str) {
    tell(&[Ready, Status(status)]);
}

/// A reload begins; [`ready`] must follow, whatever comes of it.
pub fn reloading() {
    // systemd wants to know that this is no older reload's.
    match sd_notify::NotifyState::monotonic_usec_now() {
        Ok(MonotonicUsec(now)) => tell(&[Reloading, MonotonicUsec(now), Status("reloading")]),
        _ => tell(&[Status("reloading")]),
    }
}

/// The end has begun.
pub fn stopping(status: &str) {
    tell(&[Stopping, Status(status)]);
}

/// A line for `systemctl status`.
pub fn status(status: &str) {
    tell(&[Status(status)]);
}

/// How long a worker may stand still for the service manager to be told that all is well.
const STANDSTILL: Duration = Duration::from_secs(5);

/// Gives the sign of life that `WatchdogSec=` asks for, twice as often as it must come, while every worker is at work. Ends at
/// once if it asks for none.
pub async fn keep_watchdog_calm(node: Arc<Node>) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return;
    };
    let every = (limit / 2).max(Duration::from_millis(1));
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut workers = Workers::looked_at(every);
    let mut was_well = true;
    loop {
        interval.tick().await;
        let ticks = node.observe().metrics.workers().iter();
        let standing = workers.standing_still(ticks.map(|worker| worker.ticks.get()));
        // In a stop the workers end before the process does.
        let standing = standing.filter(|_| !node.is_draining());
        match standing {
            None => tell(&[Watchdog]),
            Some(worker) if was_well => tracing::error!(
                "worker {worker} has stood still for more than {} s: the service manager gets no more signs of life and starts Resound anew",
                STANDSTILL.as_secs()
            ),
            Some(_) => {}
        }
        was_well = standing.is_none();
    }
}

/// The workers as the watchdog saw them last.
struct Workers {
    /// ticks, and looks since there was a new one
    seen: Vec<(u64, u32)>,
    /// looks after which a worker stands still: two at least, since after a pause of the whole process the first may come too
    /// soon
    looks_max: u32,
}

impl Workers {
    fn looked_at(every: Duration) -> Workers {
        let looks = STANDSTILL.as_nanos().div_ceil(every.as_nanos().max(1));
        Workers {
            seen: Vec::new(),
            looks_max: u32::try_from(looks).unwrap_or(u32::MAX).max(2),
        }
    }

    /// The first worker that stands still, by its ticks so far.
    fn standing_still(&mut self, ticks: impl Iterator<Item = u64>) -> Option<usize> {
        let mut standing = None;
        for (worker, ticks) in ticks.enumerate() {
            if worker == self.seen.len() {
                self.seen.push((ticks, 0));
                continue;
            }
            let (before, looks) = &mut self.seen[worker];
            *looks = match *before == ticks {
                true => looks.saturating_add(1),
                false => 0,
            };
            *before = ticks;
            if *looks >= self.looks_max {
                standing = standing.or(Some(worker));
            }
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_stands_still_is_noticed_and_a_pause_of_all_forgiven() {
        let mut workers = Workers::looked_at(Duration::from_secs(15));
        let mut check = |ticks: [u64; 2], expected: Option<usize>| {
            let standing = workers.standing_still(ticks.into_iter());
            assert_eq!(standing, expected, "{ticks:?}");
        };
        check([1, 1], None);
        check([16, 16], None);
        // a pause of the process: this look comes before the workers' first ticks
        check([16, 16], None);
        check([30, 30], None);
        check([45, 30], None);
        check([60, 30], Some(1));
        check([75, 30], Some(1));
        check([90, 31], None);

        // looked at more often than they tick
        let mut workers = Workers::looked_at(Duration::from_millis(50));
        for look in 0..=100 {
            let standing = workers.standing_still([7].into_iter());
            assert_eq!(standing, (look == 100).then_some(0), "{look}");
        }
    }
}
