//! The admin listener: metrics, health checks and the live stream, for operators and monitoring. What it listens on and what
//! it answers; the server runs it, apart from its own workers, so that it answers while those drain.

mod cluster;
mod export;
mod page;
mod routes;
mod soketi;
mod stream;

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    sync::Arc,
};

use actix_web::web;

use self::routes::Context;
use crate::{
    bind::{self, BindError},
    config::AdminSettings,
    node::Node,
};

/// Connections at one time. A monitoring system needs one, health checks a few.
pub const CONNECTIONS_MAX: usize = 1024;

/// Why there is no admin listener although there should be one.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(
        "the admin listener can't have port {port} of {host}: it is in use; choose another with admin.port or RESOUND_ADMIN_PORT, or do without (admin.enabled = false)"
    )]
    InUse { host: IpAddr, port: u16 },
    #[error("no admin listener: {0}")]
    Bind(BindError),
}

/// Opens the listener that the settings ask for. `own`: where this server listens already.
///
/// Somebody else on the default port is most likely another Resound on this machine: then there is a warning and no
/// listener.
pub fn listen(
    settings: &AdminSettings,
    own: &[SocketAddr],
) -> Result<Option<TcpListener>, AdminError> {
    if !settings.enabled {
        return Ok(None);
    }
    match bind::listen(settings.host, settings.port, bind::ADMIN, own) {
        Ok(listener) => Ok(Some(listener)),
        Err(BindError::InUse { host, port, .. } | BindError::Twice { host, port, .. })
            if !settings.is_port_chosen =>
        {
            tracing::warn!(
                "port {port} of {host} is in use: going on without the admin listener (metrics, live stream); choose another port with admin.port or RESOUND_ADMIN_PORT"
            );
            Ok(None)
        }
        Err(BindError::InUse { host, port, .. }) => Err(AdminError::InUse { host, port }),
        Err(error) => Err(AdminError::Bind(error)),
    }
}

/// All that is answered there. `main`: where the server itself listens.
pub fn routes(
    node: &Arc<Node>,
    main: SocketAddr,
) -> impl FnOnce(&mut web::ServiceConfig) + Clone + Send + 'static {
    let data = web::Data::from(node.clone());
    let context = web::Data::new(Context::new(node, main));
    move |config| {
        config.app_data(data).app_data(context);
        routes::routes(config);
    }
}
