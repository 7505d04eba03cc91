//! `/stream`: the live stream over a WebSocket, one JSON object a message. Who may listen is decided here: whoever has the
//! token, or, while there is none, programs on this machine; never a web page without it.

use std::{net::SocketAddr, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN, WWW_AUTHENTICATE},
    },
    web,
};
use actix_ws::{Message, MessageStream, Session};

use crate::{
    config::AdminSettings,
    live::{Filter, Heard, Listening},
    node::Node,
};

/// How often a listener is pinged, and how many pings it may leave unanswered. Not how long: after a pause of the whole process
/// nobody has had the time to answer.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const UNANSWERED_MAX: u32 = 3;

/// How long it may take nothing.
const STUCK_MAX: Duration = Duration::from_secs(45);

/// Why somebody may not listen: status and sentence.
type Refusal = (StatusCode, String);

pub async fn stream(
    request: HttpRequest,
    body: web::Payload,
    node: web::Data<Node>,
) -> HttpResponse {
    match open(&request, body, &node) {
        Ok(response) => response,
        Err((status, sentence)) => {
            tracing::info!(
                status = status.as_u16(),
                peer = request.peer_addr().map(tracing::field::display),
                "refused a listener to the live stream: {sentence}"
            );
            let mut response = HttpResponse::build(status);
            response.insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"));
            if status == StatusCode::UNAUTHORIZED {
                response.insert_header((WWW_AUTHENTICATE, "Bearer"));
            }
            response.body(sentence + "\n")
        }
    }
}

fn open(request: &HttpRequest, body: web::Payload, node: &Node) -> Result<HttpResponse, Refusal> {
    let query = request.query_string().as_bytes();
    let header = |name| request.headers().get(name);
    let bearer = header(AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?));
    let in_query = form_urlencoded::parse(query).find(|(key, _)| key == "token");
    let token = bearer.or(in_query.as_ref().map(|(_, token)| &**token));
    check_access(
        &node.settings().admin,
        token,
        request.peer_addr(),
        header(ORIGIN).is_some(),
    )?;
    let filter = Filter::parse(form_urlencoded::parse(query))
        .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let (response, session, messages) = actix_ws::handle(request, body).map_err(|_| {
        let sentence =
            "The live stream is a WebSocket: connect with ws://, or `resound tail --admin`";
        (StatusCode::UPGRADE_REQUIRED, sentence.to_owned())
    })?;
    let live = &node.observe().live;
    let listening = live
        .listen(filter)
        .map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    actix_web::rt::spawn(serve(listening, session, messages));
    Ok(response)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

fn check_access(
    settings: &AdminSettings,
    token: Option<&str>,
    peer: Option<SocketAddr>,
    is_web_page: bool,
) -> Result<(), Refusal> {
    match (&settings.token, token) {
        (Some(wanted), Some(given)) if wanted.is(given) => Ok(()),
        (Some(_), given) => {
            let what = if given.is_some() { "another" } else { "the" };
            Err((
                StatusCode::UNAUTHORIZED,
                format!(
                    "The live stream needs {what} token (admin.token): send it as `Authorization: Bearer TOKEN` or as ?token=TOKEN"
                ),
            ))
        }
        (None, _) if settings.is_public() => Err((
            StatusCode::FORBIDDEN,
            "The live stream needs a token on a listener that others can reach: set admin.token (RESOUND_ADMIN_TOKEN)".to_owned(),
        )),
        (None, _) if !peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) => Err((
            StatusCode::FORBIDDEN,
            "Without a token the live stream is for this machine only: set admin.token (RESOUND_ADMIN_TOKEN)".to_owned(),
        )),
        (None, _) if is_web_page => Err((
            StatusCode::FORBIDDEN,
            "Without a token the live stream isn't for web pages: set admin.token (RESOUND_ADMIN_TOKEN)".to_owned(),
        )),
        (None, _) => Ok(()),
    }
}

/// Passes on what is heard until the peer has gone.
async fn serve(mut listening: Listening, mut session: Session, mut messages: MessageStream) {
    let mut pings = tokio::time::interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut unanswered = 0;
    loop {
        let sent = tokio::select! {
            heard = listening.next() => {
                let line = line(&heard, listening.with_data());
                // A peer that takes nothing must not stay for ever.
                tokio::time::timeout(STUCK_MAX, session.text(line)).await
            }
            message = messages.recv() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(Message::Ping(bytes))) => {
                    unanswered = 0;
                    Ok(session.pong(&bytes).await)
                }
                Some(Ok(_)) => {
                    unanswered = 0;
                    continue;
                }
            },
            _ = pings.tick() => {
                if unanswered > UNANSWERED_MAX {
                    break;
                }
                unanswered += 1;
                tokio::time::timeout(STUCK_MAX, session.ping(b"")).await
            }
        };
        if !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
    // Whether it still hears this doesn't matter.
    let _ = tokio::time::timeout(Duration::from_secs(1), session.close(None)).await;
}

fn line(heard: &Heard, with_data: bool) -> String {
    match heard {
        Heard::Event(event) => event.to_json(with_data),
        Heard::Dropped(count) => format!(r#"{{"kind":"dropped","count":{count}}}"#),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_listen() {
        let check = |toml: &str, token: Option<&str>, peer: &str, is_page: bool, status: u16| {
            let settings = crate::config::from_toml(&format!("[admin]\n{toml}"));
            let settings = settings.expect("settings").admin;
            let peer = peer.parse().ok();
            let result = check_access(&settings, token, peer, is_page);
            let found = result.err().map_or(200, |(status, _)| status.as_u16());
            assert_eq!(found, status, "{toml} {token:?} {peer:?} {is_page}");
        };
        let here = "127.0.0.1:5000";
        let there = "192.0.2.1:5000";
        check("", None, here, false, 200);
        check("", None, "[::1]:5000", false, 200);
        check("", None, "[::ffff:127.0.0.1]:5000", false, 200);
        check("", None, here, true, 403);
        check("", Some("x"), here, true, 403);
        check("", None, there, false, 403);
        check("", None, "", false, 403);
        check("host = \"0.0.0.0\"", None, here, false, 403);
        let secret = "host = \"0.0.0.0\"\ntoken = \"t0ken\"";
        check(secret, Some("t0ken"), there, true, 200);
        check(secret, Some("t0ken"), here, false, 200);
        check(secret, Some("T0ken"), here, false, 401);
        check(secret, Some(""), here, false, 401);
        check(secret, None, here, false, 401);
    }

    #[test]
    fn the_token_in_a_header() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }
}
