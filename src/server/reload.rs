//! SIGHUP: reads the settings anew.

use std::{io, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;

use super::{
    systemd,
    tls::{Certificates, Reloaded},
};
use crate::{
    config::{ConfigError, Settings},
    node::Node,
    reload::{Changes, reload},
};

/// SIGHUP, noted from the moment this is made: before, it would end the process.
pub struct ReloadSignal {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl ReloadSignal {
    /// Must run inside an actix system.
    pub fn listen() -> io::Result<ReloadSignal> {
        Ok(ReloadSignal {
            #[cfg(unix)]
            hangup: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        })
    }

    /// Waits for the next one; forever where there are none.
    async fn next(&mut self) {
        #[cfg(unix)]
        if self.hangup.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}

/// Reloads at each signal, one after the other, for as long as the process lives. `load` reads all settings. The
/// certificate is read before anything is changed: if it can't be used, nothing is.
pub async fn reload_on(
    mut signal: ReloadSignal,
    node: Arc<Node>,
    certificates: Option<Arc<Certificates>>,
    load: impl Fn() -> Result<Settings, ConfigError>,
) {
    loop {
        signal.next().await;
        if node.is_draining() {
            // systemd would be told that all is well again
            tracing::warn!("not reloaded: the server is stopping");
            continue;
        }
        systemd::reloading();
        reload_once(&node, certificates.as_ref(), &load).await;
        systemd::ready("serving");
    }
}

/// Whatever comes of it, the next signal must find somebody who listens.
async fn reload_once(
    node: &Node,
    certificates: Option<&Arc<Certificates>>,
    load: &impl Fn() -> Result<Settings, ConfigError>,
) {
    let reloaded = AssertUnwindSafe(reload_all(node, certificates, load)).catch_unwind();
    if reloaded.await.is_err() {
        tracing::error!(
            "the reload panicked, which is a fault of Resound: what it hadn't changed yet stays as it was"
        );
    }
}

async fn reload_all(
    node: &Node,
    certificates: Option<&Arc<Certificates>>,
    load: &impl Fn() -> Result<Settings, ConfigError>,
) {
    let pair = certificates.map(|certificates| certificates.read());
    match pair.transpose() {
        Err(error) => tell_refusal(&error),
        Ok(pair) => match reload(node, load).await {
            Err(error) => tell_refusal(&error),
            Ok(changes) => {
                let certificates = certificates.zip(pair);
                let outcome = certificates.map(|(in_force, pair)| in_force.install(pair));
                tell(&changes, outcome == Some(Reloaded::Changed));
            }
        },
    }
}

fn tell_refusal(error: &dyn std::error::Error) {
    tracing::error!("reload refused, everything stays as it was: {error}");
}

fn tell(changes: &Changes, is_certificate_new: bool) {
    let is_same = changes.now.is_empty() && changes.at_next_start.is_empty();
    if is_same && !is_certificate_new {
        tracing::info!("reloaded: nothing has changed");
    }
    for change in &changes.now {
        tracing::info!("reloaded: {change}");
    }
    for change in &changes.at_next_start {
        tracing::warn!("reloaded, but this takes effect with the next start only: {change}");
    }
    for warning in &changes.warnings {
        tracing::warn!("{warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_toml;

    #[tokio::test]
    async fn a_reload_that_panics_is_not_the_last_one() {
        let settings = |drain_s: u32| from_toml(&format!("[server]\ndrain_s = {drain_s}"));
        let node = Node::new(settings(1).expect("settings"), Vec::new(), 1);
        reload_once(&node, None, &|| panic!("a fault that a test has put here")).await;
        reload_once(&node, None, &|| settings(2)).await;
        let expected = settings(2).expect("settings").server.stopping;
        assert_eq!(node.settings().server.stopping, expected);
    }
}
