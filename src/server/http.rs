//! What a worker does with an accepted connection: HTTP by actix-web, WebSockets by [`upgrade`], and requests that only
//! look like a handshake back to HTTP.

use std::{convert::Infallible, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use actix_codec::Framed;
use actix_http::{
    ConnectionType, Extensions, HttpService, Protocol, Request, StatusCode, Version,
    error::DispatchError, h1::Codec, header,
};
use actix_rt::net::TcpStream;
use actix_server::GracefulShutdownSignal;
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, apply_fn_factory, fn_factory,
    fn_service, map_config,
};
use actix_web::{
    App, HttpResponse,
    dev::{AppConfig, ServiceResponse},
    web,
};
use bytes::{BufMut, BytesMut};
use tokio::io::AsyncWriteExt;

use super::{
    Unclaimed,
    accept::arrive,
    entrance::Entrance,
    raw::Raw,
    room::Room,
    start_hub,
    wire::{Visit, Wire},
};
use crate::{
    api,
    hub::worker_hub,
    node::Node,
    upgrade::{is_handshake, upgrade},
};

type Upgrading = (Request, Framed<Wire, Codec>);

/// Serves the connections of one listener on one worker.
pub(super) fn service<I: Into<Raw> + 'static>(
    unclaimed: Unclaimed,
    entrance: Entrance,
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<I, Config = (), Response = (), Error = (), InitError = ()> {
    let http = http(entrance.node.clone(), unclaimed, stopping);
    behind(entrance, http)
}

/// The same for a listener that serves HTTP alone, as actix-web's own server would, but for what [`Wire`] watches over.
pub fn plain_service(
    node: Arc<Node>,
    routes: impl FnOnce(&mut web::ServiceConfig) + 'static,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = (), InitError = ()> {
    let settings = node.settings().server.clone();
    let http = HttpService::build()
        .keep_alive(settings.keep_alive)
        .client_request_timeout(settings.handshake_timeout)
        .on_connect_ext(introduce)
        .finish(application(routes));
    let entrance = Entrance {
        tls: None,
        takes_headers: false,
        node,
        silent: Arc::default(),
        // actix counts them, and an operator must get in when nobody else does
        room: Arc::new(Room::for_connections(usize::MAX)),
    };
    behind(entrance, http)
}

/// Has connections pass the entrance first.
fn behind<I: Into<Raw> + 'static>(
    entrance: Entrance,
    http: impl ServiceFactory<
        (Wire, Protocol, Option<SocketAddr>),
        Config = (),
        Response = (),
        Error = DispatchError,
        InitError = (),
    > + 'static,
) -> impl ServiceFactory<I, Config = (), Response = (), Error = (), InitError = ()> {
    let entrance = Rc::new(entrance);
    fn_factory(move || {
        let entrance = entrance.clone();
        let http = http.new_service(());
        async move {
            let http = Rc::new(http.await?);
            Ok(fn_service(move |io: I| {
                let (entrance, http) = (entrance.clone(), http.clone());
                async move {
                    let mut next = arrive(&entrance, io.into()).await;
                    while let Some(wire) = next {
                        let visit = wire.visit().cloned();
                        let address = visit.as_ref().and_then(|visit| visit.peer().address);
                        // On the heap: the task is moved several times before it runs, and this is nearly all of it.
                        let served = Box::pin(http.call((wire, Protocol::Http1, address)));
                        if let Err(error) = served.await {
                            tracing::debug!("an HTTP connection ended: {error}");
                        }
                        next = visit.and_then(|visit| visit.take_again());
                    }
                    Ok(())
                }
            }))
        }
    })
}

fn http(
    node: Arc<Node>,
    unclaimed: Unclaimed,
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<
    (Wire, Protocol, Option<SocketAddr>),
    Config = (),
    Response = (),
    Error = DispatchError,
    InitError = (),
> {
    let settings = node.settings().server.clone();
    let data = web::Data::from(node.clone());
    let path = settings.path.clone();
    let app = application(move |routes| {
        routes.app_data(data);
        api::routes(routes, &path);
    });
    let timeout = settings.handshake_timeout;
    let upgrades = fn_factory(move || {
        let node = node.clone();
        let hub = worker_hub(|| start_hub(&node, &unclaimed));
        async move {
            let hub = hub.ok_or("more workers than inboxes")?;
            Ok::<_, &'static str>(fn_service(move |(request, mut framed): Upgrading| {
                let (node, hub) = (node.clone(), hub.clone());
                async move {
                    if !is_handshake(&request, &node.settings().server.path) {
                        back_to_http(request, framed, timeout).await;
                        return Ok::<(), Infallible>(());
                    }
                    framed.io_mut().become_socket();
                    // A handshake that can't be answered has nobody left to tell. Only a refusal takes any time.
                    let upgraded = upgrade(node, hub, request, framed);
                    match tokio::time::timeout(timeout, upgraded).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => log_lost(&error),
                        Err(_) => log_lost(&io::ErrorKind::TimedOut.into()),
                    }
                    Ok(())
                }
            }))
        }
    });
    HttpService::build()
        // Backends keep their connections open: without this a stop would wait for them.
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(settings.keep_alive)
        .client_request_timeout(settings.handshake_timeout)
        .on_connect_ext(introduce)
        .upgrade(upgrades)
        .finish(app)
}

/// Routes as a service that tells a connection's [`Visit`] when a request begins and ends.
fn application(
    routes: impl FnOnce(&mut web::ServiceConfig) + 'static,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = ServiceResponse,
    Error = HttpResponse,
    InitError = (),
    Service: Service<Request, Future: 'static>,
> {
    let app = App::new().configure(routes);
    let app = map_config(
        app.into_factory().map_err(|error| error.error_response()),
        |()| AppConfig::default(),
    );
    apply_fn_factory(app, |request: Request, app| {
        let in_request = visit(&request).map(Visit::begin_request);
        // A proxy that sets `Connection: Upgrade` on everything. actix would echo it in the answer, and close without
        // saying so.
        let is_upgrade_asked = request.head().upgrade();
        let answer = app.call(request);
        async move {
            let mut answer = answer.await?;
            let is_switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
            if is_upgrade_asked && !is_switched {
                answer
                    .response_mut()
                    .head_mut()
                    .set_connection_type(ConnectionType::Close);
            }
            if is_switched && let Some(in_request) = in_request {
                in_request.switched();
            }
            Ok(answer)
        }
    })
}

/// Has each request of a connection carry what is known of it.
fn introduce(wire: &Wire, data: &mut Extensions) {
    if let Some(visit) = wire.visit() {
        data.insert(visit.peer());
        data.insert(visit.clone());
    }
}

fn visit(request: &Request) -> Option<&Rc<Visit>> {
    request.conn_data()
}

/// Has a request served by HTTP although it says `Upgrade: websocket`. actix takes all that follows the head of such a
/// request for the other protocol's: the connection is served anew from that head on, without the header.
async fn back_to_http(request: Request, framed: Framed<Wire, Codec>, timeout: Duration) {
    let mut parts = framed.into_parts();
    let mut bytes = plain_head(&request);
    bytes.extend_from_slice(&parts.read_buf);
    // Answers to earlier requests of the connection go first.
    let earlier = async {
        parts.io.write_all(&parts.write_buf).await?;
        parts.io.flush().await
    };
    match tokio::time::timeout(timeout, earlier).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return log_lost(&error),
        Err(_) => return log_lost(&io::ErrorKind::TimedOut.into()),
    }
    let mut wire = parts.io;
    wire.rewind(bytes.freeze());
    if let Some(visit) = visit(&request) {
        visit.serve_again(wire);
    }
}

fn log_lost(error: &io::Error) {
    tracing::debug!("lost a connection before its request was served: {error}");
}

/// The head of a request as it came, without asking for another protocol.
fn plain_head(request: &Request) -> BytesMut {
    let head = request.head();
    let version: &[u8] = match head.version {
        Version::HTTP_10 => b" HTTP/1.0\r\n",
        _ => b" HTTP/1.1\r\n",
    };
    let mut bytes = BytesMut::with_capacity(1024);
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| bytes.put_slice(part));
    put(&[
        head.method.as_str().as_bytes(),
        b" ",
        head.uri.to_string().as_bytes(),
        version,
    ]);
    for (name, value) in head.headers() {
        if *name != header::UPGRADE && *name != header::CONNECTION {
            put(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
    }
    if head.connection_type() == ConnectionType::Close {
        put(&[b"connection: close\r\n"]);
    }
    put(&[b"\r\n"]);
    bytes
}
