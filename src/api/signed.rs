//! [`Signed`]: a request whose app exists, whose signature is right and whose body is complete and within the limit. What the
//! body means is the endpoint's business.
use super::{
    allowance::{self, Allowance},
    error::{ApiError, client},
};
use crate::{
    apps::App,
    gate::retry_after_s,
    node::Node,
    protocol::{
        channel::ChannelName,
        json::is_well_formed,
        request::{Query, RequestAuthError, SignedRequest, check_request},
    },
};
use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::header::{CONTENT_LENGTH, HeaderName},
    web,
};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use percent_encoding::percent_decode_str;
use std::{
    borrow::Cow,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// A request that has passed the checks of H-14 up to row 9.
pub struct Signed {
    pub app: Arc<App>,
    pub query: Query,
    request: HttpRequest,
    body: Bytes,
}

impl Signed {
    /// The body as JSON text; `None` when there is no body, since every parameter may come in the query string (H-20).
    /// Its `Content-Type` doesn't matter (H-17).
    ///
    /// # Errors
    /// `NotUtf8`, or `InvalidJson` for anything but one well-formed JSON value.
    pub fn json(&self) -> Result<Option<&str>, ApiError> {
        if self.body.is_empty() {
            return Ok(None);
        }
        let text = self.text()?;
        check_json(text)?;
        Ok(Some(text))
    }

    /// The body as text of any kind (H-34).
    pub fn text(&self) -> Result<&str, ApiError> {
        std::str::from_utf8(&self.body).map_err(|error| ApiError::NotUtf8(error.valid_up_to()))
    }

    /// A header's text; `None` if it is absent or no text.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }

    /// Counts what the request publishes: events, each once for each of its channels.
    ///
    /// # Errors
    /// `TooManyEvents` over the app's `backend_events_per_s`; then nothing was counted.
    pub fn take_events(&self, node: &Node, count: usize) -> Result<(), ApiError> {
        let left = allowance::take_events(node.gate(), &self.app, count)
            .map_err(|allowance| ApiError::TooManyEvents { count, allowance })?;
        show(&self.request, left);
        Ok(())
    }

    /// A `{name}` of the route, decoded.
    pub fn path_part(&self, name: &str) -> Cow<'_, str> {
        path_part(&self.request, name)
    }

    /// The channel that the path names.
    pub fn channel(&self) -> Result<ChannelName, ApiError> {
        let name = path_part(&self.request, "channel");
        ChannelName::parse(&name, self.app.limits.channel_name_chars_max)
            .map_err(|_| ApiError::InvalidChannelName(name.into_owned()))
    }
}

impl FromRequest for Signed {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Signed, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(check(request, payload))
    }
}

/// H-14, unless too many signatures from there were wrong; and the app's limit on reading.
async fn check(request: HttpRequest, payload: Payload) -> Result<Signed, ApiError> {
    let node = request
        .app_data::<web::Data<Node>>()
        .expect("the server registers its node with the routes")
        .clone();
    let client = client(&node, &request);
    let limits = node.settings().limits;
    node.gate()
        .check_signer(client, &limits)
        .map_err(|wait| ApiError::SignatureFailures {
            retry_after_s: retry_after_s(wait),
        })?;
    let checked = verify(&node, request, payload).await;
    if let Err(ApiError::Auth(_)) = &checked {
        node.gate().signature_failed(client, &limits);
    }
    let signed = checked?;
    if signed.request.method().is_safe() {
        let left =
            allowance::take_read(node.gate(), &signed.app).map_err(ApiError::TooManyReads)?;
        show(&signed.request, left);
    }
    Ok(signed)
}

/// Leaves the allowance where the answer's headers are made.
fn show(request: &HttpRequest, allowance: Option<Allowance>) {
    if let Some(allowance) = allowance {
        request.extensions_mut().insert(allowance);
    }
}

/// The rows of H-14 in their order.
async fn verify(node: &Node, request: HttpRequest, payload: Payload) -> Result<Signed, ApiError> {
    let app = find_app(node, &request)?;
    let settings = node.settings();
    let settings = &settings.server;
    let body = read_body(
        payload,
        declared_length(&request),
        settings.request_bytes_max,
    );
    let body = within(settings.handshake_timeout, body).await?;
    let query = Query::parse(request.query_string());
    let paths = SignedPaths::new(request.uri().path(), &settings.path);
    check_request(
        &SignedRequest {
            method: request.method().as_str(),
            paths: &paths.all(),
            query: &query,
            body: &body,
        },
        &app.key,
        &app.secret,
        now_s(),
        app.limits.timestamp_window_s,
    )?;
    if !app.enabled {
        return Err(ApiError::AppDisabled);
    }
    Ok(Signed {
        app,
        query,
        request,
        body,
    })
}

/// The app that the path names, or the one whose key signs where the path names none (H-7).
fn find_app(node: &Node, request: &HttpRequest) -> Result<Arc<App>, ApiError> {
    if request.match_info().get("app_id").is_none() {
        let query = Query::parse(request.query_string());
        let key = query.get("auth_key").ok_or(RequestAuthError::MissingKey)?;
        let app = node.apps().by_key(key).cloned();
        return Ok(app.ok_or(RequestAuthError::UnknownKey)?);
    }
    let id = path_part(request, "app_id");
    match node.apps().by_id(&id) {
        Some(app) => Ok(app.clone()),
        None => Err(ApiError::UnknownApp(id.into_owned())),
    }
}

/// A `{name}` of the route, percent-decoded (the router leaves `%2F`, `%25` and `%2B` as they are).
pub fn path_part<'a>(request: &'a HttpRequest, name: &str) -> Cow<'a, str> {
    let part = request.match_info().get(name).unwrap_or_default();
    percent_decode_str(part).decode_utf8_lossy()
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The texts that a client may have signed as its path (H-15): as sent, without the configured prefix, from the last `/apps/`
/// on (a prefix that a proxy added), and each of them percent-decoded.
struct SignedPaths<'a> {
    sent: Vec<&'a str>,
    decoded: Vec<Cow<'a, str>>,
}

impl<'a> SignedPaths<'a> {
    fn new(path: &'a str, prefix: &str) -> SignedPaths<'a> {
        let mut sent = vec![path];
        let bare = path.strip_prefix(prefix).filter(|rest| {
            rest.starts_with('/') // "/reverb" is no prefix of "/reverbs"
        });
        // Cut before decoding: an encoded "/apps/" inside a channel name must not turn into another path.
        let from_apps = path.rfind("/apps/").map(|start| &path[start..]);
        for shorter in [bare, from_apps].into_iter().flatten() {
            if !sent.contains(&shorter) {
                sent.push(shorter);
            }
        }
        let decoded = match path.contains('%') {
            true => sent.iter().filter_map(|form| decode(form)).collect(),
            false => Vec::new(),
        };
        SignedPaths { sent, decoded }
    }

    /// As sent first: it is what nearly everybody signs.
    fn all(&self) -> Vec<&str> {
        let decoded = self.decoded.iter().map(Cow::as_ref);
        self.sent.iter().copied().chain(decoded).collect()
    }
}

fn decode(path: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(path).decode_utf8().ok()
}

fn declared_length(request: &HttpRequest) -> Option<u64> {
    let value = request.headers().get(CONTENT_LENGTH)?;
    value.to_str().ok()?.trim().parse().ok()
}

/// The whole body, refused as soon as it is known to be longer than `bytes_max`: before reading if the header says so, else at
/// the first byte too many. A body that came in one piece is not copied.
async fn read_body<S>(
    payload: S,
    declared: Option<u64>,
    bytes_max: usize,
) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<Bytes, PayloadError>>,
{
    let within_limit = |bytes: u64| {
        if bytes > bytes_max as u64 {
            Err(ApiError::PayloadTooLarge {
                bytes,
                limit: bytes_max,
            })
        } else {
            Ok(())
        }
    };
    within_limit(declared.unwrap_or(0))?;

    let mut payload = pin!(payload);
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(piece) = poll_fn(|cx| payload.as_mut().poll_next(cx)).await {
        let piece = piece.map_err(|error| ApiError::UnreadableBody(error.to_string()))?;
        let so_far = first.len().max(joined.len());
        within_limit((so_far + piece.len()) as u64)?;
        if so_far == 0 {
            first = piece;
            continue;
        }
        if joined.is_empty() {
            joined.extend_from_slice(&first);
        }
        joined.extend_from_slice(&piece);
    }
    Ok(if joined.is_empty() {
        first
    } else {
        joined.freeze()
    })
}

/// Gives a client no more than this time to send its body: actix itself limits only the time for the head.
async fn within(
    limit: Duration,
    body: impl Future<Output = Result<Bytes, ApiError>>,
) -> Result<Bytes, ApiError> {
    tokio::time::timeout(limit, body)
        .await
        .map_err(|_| ApiError::BodyTimeout(limit.as_secs()))?
}

/// Refuses what isn't JSON and says where it goes wrong.
pub(super) fn check_json(text: &str) -> Result<(), ApiError> {
    if is_well_formed(text) {
        return Ok(());
    }
    let reason = match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Err(error) => error.to_string(),
        Ok(_) => "nested deeper than 128 levels, or half of a surrogate pair (\\ud800 to \\udfff) in a string".to_owned(),
    };
    Err(ApiError::InvalidJson(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::VecDeque,
        task::{Context, Poll},
    };

    fn paths(path: &str, prefix: &str, expected: &[&str]) {
        assert_eq!(SignedPaths::new(path, prefix).all(), expected, "{path}");
    }

    #[test]
    fn h15_path_is_tried_as_sent_and_decoded() {
        paths("/apps/3/events", "", &["/apps/3/events"]);
        paths(
            "/apps/3/channels/a%2Cb",
            "",
            &["/apps/3/channels/a%2Cb", "/apps/3/channels/a,b"],
        );
        paths("/apps/3/channels/%ff", "", &["/apps/3/channels/%ff"]);
    }

    #[test]
    fn h15_path_is_tried_with_and_without_prefix() {
        paths(
            "/reverb/apps/3/events",
            "/reverb",
            &["/reverb/apps/3/events", "/apps/3/events"],
        );
        paths(
            "/a/b/apps/3/events",
            "/a",
            &["/a/b/apps/3/events", "/b/apps/3/events", "/apps/3/events"],
        );
        paths(
            "/reverbs/apps/3/events",
            "/reverb",
            &["/reverbs/apps/3/events", "/apps/3/events"],
        );
        paths(
            "/p/apps/3/channels/%61",
            "/p",
            &[
                "/p/apps/3/channels/%61",
                "/apps/3/channels/%61",
                "/p/apps/3/channels/a",
                "/apps/3/channels/a",
            ],
        );
    }

    #[test]
    fn h15_an_encoded_slash_makes_no_other_path() {
        let path = "/apps/3/channels/x%2Fapps%2F3%2Fchannels";
        paths(path, "", &[path, "/apps/3/channels/x/apps/3/channels"]);
    }

    /// A body that arrives in the given pieces.
    struct Pieces(VecDeque<Result<Bytes, PayloadError>>);

    impl Stream for Pieces {
        type Item = Result<Bytes, PayloadError>;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    async fn read(pieces: &[&'static str], declared: Option<u64>) -> Result<Bytes, ApiError> {
        let pieces = pieces.iter().map(|piece| Ok(Bytes::from(*piece))).collect();
        read_body(Pieces(pieces), declared, 10).await
    }

    fn too_large(bytes: u64) -> Result<Bytes, ApiError> {
        Err(ApiError::PayloadTooLarge { bytes, limit: 10 })
    }

    #[tokio::test]
    async fn h17_body_is_read_whole() {
        assert_eq!(read(&[], None).await, Ok(Bytes::new()));
        assert_eq!(read(&["{}"], Some(2)).await, Ok(Bytes::from("{}")));
        assert_eq!(read(&["ab", "", "cd", "e"], None).await, Ok("abcde".into()));
        assert_eq!(read(&["", "ab", "c"], None).await, Ok("abc".into()));
        assert_eq!(read(&["0123456789"], None).await, Ok("0123456789".into()));
        let broken = VecDeque::from([Ok("a".into()), Err(PayloadError::Incomplete(None))]);
        let error = read_body(Pieces(broken), Some(5), 10).await.unwrap_err();
        assert!(matches!(error, ApiError::UnreadableBody(_)), "{error}");
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let stalled = within(Duration::ZERO, std::future::pending());
        assert_eq!(stalled.await, Err(ApiError::BodyTimeout(0)));
        let whole = within(Duration::ZERO, read(&["{}"], Some(2)));
        assert_eq!(whole.await, Ok(Bytes::from("{}")));
    }

    #[tokio::test]
    async fn l6_body_over_the_limit_is_refused_early() {
        // the header alone is enough: nothing is polled (a broken stream would answer otherwise)
        let broken = VecDeque::from([Err(PayloadError::Incomplete(None))]);
        assert_eq!(read_body(Pieces(broken), Some(11), 10).await, too_large(11));
        assert_eq!(read(&["01234567890"], None).await, too_large(11));
        assert_eq!(read(&["01234", "56789", "0"], None).await, too_large(11));
        assert_eq!(
            read(&["01234", "56789", "0", "1"], Some(3)).await,
            too_large(11)
        );
    }

    fn refused_json(text: &str, reason: &str) {
        match check_json(text) {
            Err(ApiError::InvalidJson(found)) => assert!(found.contains(reason), "{found}"),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn h21_invalid_json_says_what_is_wrong() {
        assert_eq!(check_json(r#"{"name":"foo"}"#), Ok(()));
        refused_json("{", "line 1 column 1");
        refused_json(r#"{"a":1,}"#, "line 1 column 8");
        refused_json("{\n  'a': 1}", "line 2 column 3");
        refused_json("{} x", "trailing characters");
        refused_json(r#"{"a":"\ud800"}"#, "surrogate");
        refused_json(&"[".repeat(50_000), "line 1 column");
        let deep = "[".repeat(50_000) + &"]".repeat(50_000);
        refused_json(&deep, "128");
    }
}
