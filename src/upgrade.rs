//! The handshake: path, app key, origin, quota. Takes the socket from actix and gives it to a [`Connection`] of its own;
//! the only file that knows how actix hands a connection over.
//!
//! Every upgrade request arrives here, whatever its path. Bytes that were read along with it and bytes of earlier
//! responses that aren't written yet come along, and both are used. From then on actix neither counts nor stops the
//! socket.

mod attendance;
#[cfg(test)]
mod faults;

use std::{io, rc::Rc, sync::Arc};

use actix_codec::{AsyncRead, AsyncWrite, Encoder, Framed};
use actix_http::{
    ConnectionType, HttpMessage, Method, Request, RequestHead, Response, StatusCode,
    body::BodySize,
    h1::{Codec, Message},
    header::{self, HeaderMap, HeaderValue},
    ws::{self, HandshakeError},
};
use bytes::{Bytes, BytesMut};
use percent_encoding::percent_decode_str;
use tokio::io::AsyncWriteExt;

use self::attendance::Attendance;
use crate::{
    apps::App,
    frame::FrameReader,
    gate::{Place, log_refusal, retry_after_s},
    hub::{
        Hub,
        link::{Link, Transport},
        ticker::KeepAlive,
    },
    node::{ConnectionPermit, Node},
    observe::Caller,
    peer::{Client, Peer},
    protocol::{codes::CloseReason, request::decoded_pairs, socket_id::SocketId},
    session::Session,
    socket::{Held, connection::Connection},
};

/// The sub-protocol that the Swift SDK asks for (C-4).
const SUB_PROTOCOL: &str = "pusher-channels-protocol-7";

/// Timeouts and limits for a peer that is refused before its app is known.
const STRANGER: KeepAlive = KeepAlive {
    ping_interval_s: 30,
    pong_timeout_s: 30,
};
const STRANGER_MESSAGE_BYTES_MAX: usize = 4096;

/// Whether a request that says `Upgrade: websocket` means it: some proxies are set up to say so on every request. It does
/// on the path of sockets, where whatever is wrong with it is answered as a failed handshake, and elsewhere if it
/// has a handshake's key. `CONNECT` arrives here as well, and is nothing else we know.
pub fn is_handshake(request: &Request, prefix: &str) -> bool {
    let head = request.head();
    let path = head.uri.path();
    let is_app = |path: &str| path == "/app" || path.starts_with("/app/");
    is_app(path)
        || path.strip_prefix(prefix).is_some_and(is_app)
        || head.method == Method::CONNECT
        || head.method == Method::GET && head.headers().contains_key(header::SEC_WEBSOCKET_KEY)
}

/// Answers an upgrade request. Afterwards the connection lives on in a task of its own, or is closed.
pub async fn upgrade<T>(
    node: Arc<Node>,
    hub: Rc<Hub>,
    request: Request,
    framed: Framed<T, Codec>,
) -> io::Result<()>
where
    T: Transport + 'static,
{
    let client = client(&node, &request);
    if let Err(refusal) = check_handshake(&node, client, &request) {
        report(&node, client, &request, &refusal);
        return refuse(framed, refusal).await;
    }
    let mut parts = framed.into_parts();
    let response = accept(request.head());
    parts.codec.encode(
        Message::Item((response, BodySize::None)),
        &mut parts.write_buf,
    )?;
    let admission = admit(&node, client, &request);
    open(
        node,
        hub,
        admission,
        &caller(client, &request),
        parts.io,
        parts.read_buf,
        parts.write_buf.freeze(),
    );
    Ok(())
}

/// An HTTP answer instead of the upgrade (C-5).
struct Refusal {
    /// what metrics and the live stream call it
    reason: &'static str,
    response: Response<()>,
    body: &'static str,
}

/// What the listener knows of the connection.
fn peer(request: &Request) -> Peer {
    Peer::of(request.conn_data(), request.peer_addr())
}

fn client(node: &Node, request: &Request) -> Client {
    let proxies = &node.settings().server.trusted_proxies;
    node.gate()
        .client(peer(request), request.headers(), proxies)
}

fn check_handshake(node: &Node, client: Client, request: &Request) -> Result<(), Refusal> {
    if node.is_closing() && !node.hands_over() {
        return Err(Refusal {
            reason: "server_closing",
            response: Response::new(StatusCode::SERVICE_UNAVAILABLE).drop_body(),
            body: "The server is shutting down: connect again in a moment\n",
        });
    }
    if let Err(wait) = node.gate().handshake(client, &node.settings().limits) {
        let mut response = Response::new(StatusCode::TOO_MANY_REQUESTS).drop_body();
        let seconds = HeaderValue::from(retry_after_s(wait));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
        return Err(Refusal {
            reason: "address_handshakes",
            response,
            body: "Too many handshakes from this address: connect again in a moment (limits.handshakes_per_s_per_address)\n",
        });
    }
    ws::verify_handshake(request.head()).map_err(|error| Refusal {
        reason: match error {
            HandshakeError::GetMethodRequired => "method",
            HandshakeError::UnsupportedVersion | HandshakeError::NoVersionHeader => "version",
            HandshakeError::BadWebsocketKey => "key",
            HandshakeError::NoWebsocketUpgrade | HandshakeError::NoConnectionUpgrade => "headers",
        },
        response: refusal_status(error),
        body: match error {
            HandshakeError::GetMethodRequired => "A WebSocket handshake is a GET request\n",
            HandshakeError::UnsupportedVersion | HandshakeError::NoVersionHeader => {
                "Only version 13 of the WebSocket protocol is spoken: send Sec-WebSocket-Version: 13\n"
            }
            HandshakeError::BadWebsocketKey => {
                "Sec-WebSocket-Key is missing or isn't 16 bytes in Base64\n"
            }
            HandshakeError::NoWebsocketUpgrade | HandshakeError::NoConnectionUpgrade => {
                "A WebSocket handshake has the headers Connection: Upgrade and Upgrade: websocket\n"
            }
        },
    })
}

fn refusal_status(error: HandshakeError) -> Response<()> {
    let error = match error {
        // RFC 6455 §4.4 has one answer for no version and for a wrong one.
        HandshakeError::NoVersionHeader => HandshakeError::UnsupportedVersion,
        other => other,
    };
    let mut response = Response::from(error).drop_body();
    response.head_mut().reason = None;
    response
}

fn caller(client: Client, request: &Request) -> Caller<'_> {
    Caller {
        client,
        path: request.path(),
        origin: origin(request),
    }
}

fn report(node: &Node, client: Client, request: &Request, refusal: &Refusal) {
    let status = refusal.response.status().as_u16();
    let message = refusal.body.trim_end();
    log_refusal!(
        node.gate().may_log(client, &node.settings().limits),
        status,
        path = request.path(),
        peer = %client,
        "refused a WebSocket handshake: {message}",
    );
    let caller = caller(client, request);
    node.observe()
        .refused_handshake(&caller, status, refusal.reason, message);
}

async fn refuse<T>(framed: Framed<T, Codec>, refusal: Refusal) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Refusal {
        mut response, body, ..
    } = refusal;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    let mut parts = framed.into_parts();
    let size = BodySize::Sized(body.len() as u64);
    let body = Bytes::from_static(body.as_bytes());
    for message in [
        Message::Item((response, size)),
        Message::Chunk(Some(body)),
        Message::Chunk(None),
    ] {
        parts.codec.encode(message, &mut parts.write_buf)?;
    }
    parts.io.write_all(&parts.write_buf).await?;
    parts.io.shutdown().await
}

/// The 101, with the client's sub-protocol if it offers one.
fn accept(head: &RequestHead) -> Response<()> {
    let mut builder = ws::handshake_response(head);
    if let Some(protocol) = sub_protocol(head.headers()) {
        builder.insert_header((header::SEC_WEBSOCKET_PROTOCOL, protocol));
    }
    builder.finish().drop_body()
}

/// The offered sub-protocol to answer with: the one that is known, else the first (C-4). Browsers fail a connection
/// whose offer gets no answer.
fn sub_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offers = || {
        headers
            .get_all(header::SEC_WEBSOCKET_PROTOCOL)
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|offer| !offer.is_empty())
    };
    let chosen = offers()
        .find(|offer| *offer == SUB_PROTOCOL)
        .or_else(|| offers().next())?;
    HeaderValue::from_str(chosen).ok()
}

/// A peer that may talk.
struct Admission {
    app: Arc<App>,
    permit: ConnectionPermit,
    place: Place,
}

/// The checks of C-8 in their order. What fails here is reported over the WebSocket, since browsers can't read the
/// status of a refused handshake.
fn admit(node: &Arc<Node>, client: Client, request: &Request) -> Result<Admission, CloseReason> {
    let uri = request.uri();
    let settings = node.settings();
    let app = app_key(uri.path(), &settings.server.path)
        .ok_or(CloseReason::PathNotFound)
        .and_then(|key| {
            let app = node.apps().by_key(&key).cloned();
            app.ok_or(CloseReason::AppDoesNotExist)
        });
    let app_id = app.as_ref().ok().map(|app| app.id.clone());
    let admission = app.and_then(|app| {
        check_app(node, &app, request)?;
        if node.is_closing() {
            return Err(CloseReason::ServerClosing);
        }
        let permit = node.admit(&app)?;
        let place = node.gate().connect(client, &settings.limits);
        let place = place.ok_or(CloseReason::AddressOverCapacity)?;
        Ok(Admission { app, permit, place })
    });
    if let Err(reason) = &admission {
        log_refusal!(
            node.gate().may_log(client, &settings.limits),
            code = reason.code(),
            app = app_id,
            path = uri.path(),
            origin = origin(request),
            peer = %client,
            "refused a connection: {}",
            reason.message()
        );
        let caller = caller(client, request);
        node.observe()
            .refused_connection(&caller, app_id.as_deref(), *reason);
    }
    admission
}

fn check_app(node: &Node, app: &App, request: &Request) -> Result<(), CloseReason> {
    if !app.enabled {
        return Err(CloseReason::AppDisabled);
    }
    let is_tls = peer(request).is_tls || is_forwarded_tls(node, request);
    if app.require_tls && !is_tls {
        return Err(CloseReason::TlsOnly);
    }
    if !is_protocol_supported(request.uri().query().unwrap_or_default()) {
        return Err(CloseReason::UnsupportedProtocol);
    }
    if !app.allows_origin(origin(request)) {
        return Err(CloseReason::OriginNotAllowed);
    }
    Ok(())
}

/// What the client says it is a page of; nothing readable is not the same as nothing (C-9).
fn origin(request: &Request) -> Option<&str> {
    let origin = request.headers().get(header::ORIGIN)?;
    Some(origin.to_str().unwrap_or_default())
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a proxy that is trusted says that the client speaks TLS to it (C-8). Getting this wrong would send pusher-js
/// into an endless loop of reconnects.
fn is_forwarded_tls(node: &Node, request: &Request) -> bool {
    if !peer(request).is_trusted(&node.settings().server.trusted_proxies) {
        return false;
    }
    header_text(
        request.headers(),
        header::HeaderName::from_static("x-forwarded-proto"),
    )
    .and_then(|schemes| schemes.split(',').next())
    .is_some_and(|scheme| {
        let scheme = scheme.trim();
        scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss")
    })
}

/// The key in `/app/{key}` (C-1), with the configured prefix in front or without it.
fn app_key(path: &str, prefix: &str) -> Option<String> {
    let below = |prefix: &str| path.strip_prefix(prefix)?.strip_prefix("/app/");
    let key = below("").or_else(|| below(prefix))?;
    let key = key.strip_suffix('/').unwrap_or(key);
    if key.is_empty() || key.contains('/') {
        return None;
    }
    Some(percent_decode_str(key).decode_utf8().ok()?.into_owned())
}

/// Versions 4 to 7 are served alike, a missing one is taken for 7 (C-3).
fn is_protocol_supported(query: &str) -> bool {
    let version = decoded_pairs(query)
        .filter(|(name, _)| name == "protocol")
        .last();
    match version {
        None => true,
        Some((_, text)) => text
            .parse()
            .is_ok_and(|version: u32| (4..=7).contains(&version)),
    }
}

/// Ids are never given out twice: 10^18 of them make a repetition less likely than a fault of the machine (C-14).
fn random_socket_id() -> SocketId {
    let number = || rand::random_range(1..=1_000_000_000);
    SocketId::new(number(), number())
}

/// Starts the connection's own task. `greeting`: what must be written before the first frame.
fn open<T: Transport + 'static>(
    node: Arc<Node>,
    hub: Rc<Hub>,
    admission: Result<Admission, CloseReason>,
    caller: &Caller<'_>,
    io: T,
    early: BytesMut,
    greeting: Bytes,
) {
    let app = admission.as_ref().ok().map(|admission| &admission.app);
    let keep_alive = app.map_or(STRANGER, |app| KeepAlive {
        ping_interval_s: app.ping_interval_s,
        pong_timeout_s: app.pong_timeout_s,
    });
    let message_bytes_max = app.map_or(STRANGER_MESSAGE_BYTES_MAX, |app| {
        app.limits.message_bytes_max
    });
    let outbox_bytes_max = node.settings().socket.outbox_bytes_max;
    let metrics = &node.observe().metrics;
    let metrics = match app {
        Some(app) => metrics.app(&app.id).on(hub.worker().0),
        None => metrics.strangers().on(hub.worker().0),
    };
    let socket_id = random_socket_id();
    let link = Link::new(
        io,
        socket_id,
        app.map(|app| app.index),
        keep_alive,
        outbox_bytes_max,
        hub.now_s(),
        metrics,
    );
    link.push_raw(greeting);
    let key = hub.add(link.clone());
    let (session, held) = match admission {
        Ok(Admission { app, permit, place }) => {
            link.metrics().opened.add(1);
            let attendance = Attendance::begin(permit, place, app.clone(), socket_id, caller);
            let held: Box<dyn Held> = Box::new(attendance);
            let client = caller.client;
            let session = Session::open(node, hub.clone(), link.clone(), key, app, client);
            (Some(session), Some(held))
        }
        Err(reason) => {
            link.close(reason);
            (None, None)
        }
    };
    let reader = FrameReader::new(message_bytes_max);
    actix_rt::spawn(Connection::new(
        link, hub, key, reader, session, early, held,
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c1_the_key_is_a_path_segment_below_app() {
        let check = |path: &str, prefix: &str, expected: Option<&str>| {
            assert_eq!(
                app_key(path, prefix).as_deref(),
                expected,
                "{path} {prefix}"
            );
        };
        check("/app/key", "", Some("key"));
        check("/app/key/", "", Some("key"));
        check("/app/a%2Bb%20c", "", Some("a+b c"));
        check("/app/key", "/ws", Some("key"));
        check("/ws/app/key", "/ws", Some("key"));
        check("/ws/app/key", "", None);
        check("/wsapp/key", "/ws", None);
        check("/app/", "", None);
        check("/app", "", None);
        check("/app//", "", None);
        check("/app/a/b", "", None);
        check("/apps/3/events", "", None);
        check("/app/%ff", "", None);
        check("/", "", None);
    }

    #[test]
    fn c3_protocol_versions() {
        let check = |query: &str, supported: bool| {
            assert_eq!(is_protocol_supported(query), supported, "{query}");
        };
        check("", true);
        check("client=js&version=8.6.0&flash=false", true);
        check("protocol=7&client=js&version=8.6.0&flash=false", true);
        check("client=java-client&protocol=5&version=2", true);
        (4..=7).for_each(|version| check(&format!("protocol={version}"), true));
        for wrong in [
            "1",
            "2",
            "3",
            "8",
            "",
            "7.0",
            "-7",
            "seven",
            "99999999999999999999",
        ] {
            check(&format!("protocol={wrong}"), false);
        }
    }

    #[test]
    fn c4_one_offered_sub_protocol_is_echoed() {
        let check = |offers: &[&str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for offer in offers {
                let value = HeaderValue::from_str(offer).expect("header");
                headers.append(header::SEC_WEBSOCKET_PROTOCOL, value);
            }
            let answer = sub_protocol(&headers);
            let answer = answer.as_ref().map(|value| value.to_str().expect("text"));
            assert_eq!(answer, expected, "{offers:?}");
        };
        check(&[], None);
        check(&[""], None);
        check(
            &["pusher-channels-protocol-7"],
            Some("pusher-channels-protocol-7"),
        );
        check(
            &["a, pusher-channels-protocol-7"],
            Some("pusher-channels-protocol-7"),
        );
        check(
            &["a", "pusher-channels-protocol-7"],
            Some("pusher-channels-protocol-7"),
        );
        check(&["chat"], Some("chat"));
        check(&["chat, talk"], Some("chat"));
    }
}
