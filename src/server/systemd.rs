//! What passes between the server and systemd (or whoever speaks the same): listening sockets it hands over, and what it is
//! told of our state. Without systemd nothing of this does anything.

use std::{net::TcpListener, time::Duration};

#[cfg(unix)]
use std::os::unix::net::UnixListener;

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

/// Gives the sign of life that `WatchdogSec=` asks for, twice as often as it must come. Ends at once if it asks for none.
pub async fn keep_watchdog_calm() {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return;
    };
    let mut interval = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        tell(&[Watchdog]);
    }
}
