//! A listener that serves HTTP alone, on a worker of its own: the admin listener.

use std::{io, net::SocketAddr, net::TcpListener, sync::Arc};

use actix_server::{Server, ServerHandle};
use actix_web::web;

use super::{StartError, http};
use crate::{admin, node::Node};

/// The admin listener at work.
pub struct Admin {
    pub address: SocketAddr,
    handle: ServerHandle,
}

impl Admin {
    /// Starts it if the settings ask for it. `main`, `plain`: where the server itself listens.
    pub(super) fn start(
        node: &Arc<Node>,
        main: SocketAddr,
        plain: Option<SocketAddr>,
    ) -> Result<Option<Admin>, StartError> {
        let own: Vec<SocketAddr> = [main].into_iter().chain(plain).collect();
        let Some(listener) = admin::listen(&node.settings().admin, &own)? else {
            return Ok(None);
        };
        let address = listener.local_addr()?;
        let handle = serve(
            listener,
            node,
            admin::CONNECTIONS_MAX,
            admin::routes(node, main),
        )?;
        tracing::info!("metrics, health checks and live stream on http://{address}");
        Ok(Some(Admin { address, handle }))
    }

    /// Ends it at once, open streams included.
    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}

/// Serves these routes. Must run inside an actix system.
fn serve<R>(
    listener: TcpListener,
    node: &Arc<Node>,
    connections_max: usize,
    routes: R,
) -> io::Result<ServerHandle>
where
    R: FnOnce(&mut web::ServiceConfig) + Clone + Send + 'static,
{
    let node = node.clone();
    let server = Server::build()
        .workers(1)
        .max_concurrent_connections(connections_max)
        .disable_signals()
        .shutdown_timeout(1)
        .listen("apart", listener, move || {
            http::plain_service(node.clone(), routes.clone())
        })?
        .run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok(handle)
}
