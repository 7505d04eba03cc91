//! SIGHUP: reads the settings anew.

use std::{io, sync::Arc};

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

/// Reloads at each signal, one after the other, for as long as the process lives. `load` reads all settings.
pub async fn reload_on(
    mut signal: ReloadSignal,
    node: Arc<Node>,
    load: impl Fn() -> Result<Settings, ConfigError>,
) {
    loop {
        signal.next().await;
        tell(&reload(&node, &load).await);
    }
}

fn tell(outcome: &Result<Changes, ConfigError>) {
    let changes = match outcome {
        Ok(changes) => changes,
        Err(error) => {
            tracing::error!("reload refused, everything stays as it was: {error}");
            return;
        }
    };
    if *changes == Changes::default() {
        tracing::info!("reloaded: no setting has changed");
    }
    for change in &changes.now {
        tracing::info!("reloaded: {change}");
    }
    for change in &changes.at_next_start {
        tracing::warn!("reloaded, but this takes effect with the next start only: {change}");
    }
}
