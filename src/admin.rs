//! The admin listener: metrics, health checks and the live stream, for operators and monitoring. A server of its own with
//! one worker, so that it answers while the main one drains.

mod export;
mod routes;
mod soketi;
mod stream;
pub mod tail;

use std::{io, net::SocketAddr, sync::Arc};

use actix_web::{dev::ServerHandle, web};

use self::routes::Context;
use crate::{
    node::Node,
    server::{BindError, listen, serve_apart},
};

/// Connections at one time. A monitoring system needs one, health checks a few.
const CONNECTIONS_MAX: usize = 1024;

/// A listener that serves.
pub struct Admin {
    pub address: SocketAddr,
    handle: ServerHandle,
}

/// Why there is no admin listener although there should be one.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(
        "the admin listener can't have port {port} of {host}: it is in use; choose another with admin.port or RESOUND_ADMIN_PORT, or do without (admin.enabled = false)"
    )]
    InUse { host: std::net::IpAddr, port: u16 },
    #[error("the admin listener (admin.host, admin.port) failed: {0}")]
    Bind(BindError),
    #[error("the admin listener could not be started: {0}")]
    Io(#[from] io::Error),
}

/// Starts the listener that the settings ask for. `main`: where the server itself listens.
///
/// Somebody else on the default port is most likely another Resound on this machine: then there is a warning and no
/// listener.
pub fn start(node: &Arc<Node>, main: SocketAddr) -> Result<Option<Admin>, AdminError> {
    let settings = &node.settings().admin;
    if !settings.enabled {
        return Ok(None);
    }
    let listener = match listen(settings.host, settings.port) {
        Ok(listener) => listener,
        Err(error @ BindError::InUse { host, port }) if settings.is_port_chosen => {
            tracing::debug!("{error}");
            return Err(AdminError::InUse { host, port });
        }
        Err(BindError::InUse { host, port }) => {
            tracing::warn!(
                "port {port} of {host} is in use: going on without the admin listener (metrics, live stream); choose another port with admin.port or RESOUND_ADMIN_PORT"
            );
            return Ok(None);
        }
        Err(error) => return Err(AdminError::Bind(error)),
    };
    let address = listener.local_addr()?;
    let data = web::Data::from(node.clone());
    let context = web::Data::new(Context::new(node, main));
    let handle = serve_apart(listener, node, CONNECTIONS_MAX, move |config| {
        config.app_data(data).app_data(context);
        routes::routes(config);
    })?;
    tracing::info!("metrics, health checks and live stream on http://{address}");
    Ok(Some(Admin { address, handle }))
}

impl Admin {
    /// Ends it at once, open streams included.
    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}
