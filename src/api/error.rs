//! Every refusal of the HTTP API: its status, its sentence, its line in the log. The sentence is often all that a developer
//! sees (Laravel shows it as `Pusher error: SENTENCE.` and adds the full stop itself), so it says what to change.
use super::allowance::Allowance;
use crate::{
    gate::log_refusal,
    metrics::http::Route,
    node::Node,
    observe::RefusedRequest,
    peer::{Client, Peer},
    protocol::request::RequestAuthError,
};
use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::{BodySize, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{ALLOW, CONTENT_LENGTH, HeaderName, HeaderValue, RETRY_AFTER, UPGRADE},
    },
    middleware::Next,
    web,
};
use std::fmt;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    #[error("No matching application for ID [{}]", Quoted(.0))]
    UnknownApp(String),
    /// rows 2 to 8 of H-14
    #[error(transparent)]
    Auth(#[from] RequestAuthError),
    #[error("Application disabled")]
    AppDisabled,

    #[error(
        "Not found: nothing is at {}. Events are posted to /apps/ID/events, WebSockets connect to /app/KEY",
        Quoted(.0)
    )]
    NotFound(String),
    #[error("{}", method_hint(.method, .allow))]
    MethodNotAllowed { method: String, allow: &'static str },
    #[error("This is the WebSocket endpoint: connect with ws:// or wss:// (Upgrade: websocket)")]
    UpgradeRequired,

    #[error(
        "Payload too large: {bytes} bytes, limit {limit} (server.request_bytes_max, REVERB_MAX_REQUEST_SIZE)"
    )]
    PayloadTooLarge { bytes: u64, limit: usize },
    /// the connection broke, or the framing of the body is wrong
    #[error("The request body could not be read: {0}")]
    UnreadableBody(String),
    /// what was announced or begun never came to its end
    #[error("The request body did not arrive within {0} seconds (server.handshake_timeout_s)")]
    BodyTimeout(u64),
    #[error("The request body is not valid UTF-8 (byte {0})")]
    NotUtf8(usize),
    #[error("Invalid JSON: {0}")]
    InvalidJson(String),

    #[error("Expected name parameter to be a string")]
    NameNotString,
    #[error("Expected name parameter to be a string of at least one character")]
    NameEmpty,
    #[error("Event name is too long. Maximum allowed size is {0}")]
    NameTooLong(usize),
    #[error("The 'pusher' namespace is reserved for internal usage")]
    NameReserved,
    #[error("An idempotency key is a text of 1 to 255 bytes")]
    IdempotencyKey,
    #[error(
        "The first request with this idempotency key isn't answered yet: ask again in a moment"
    )]
    RepeatedTooSoon,
    #[error("Missing parameter: {0}")]
    Missing(&'static str),
    #[error(
        "The data content of this event exceeds the allowed maximum ({0} bytes). See https://pusher.com/docs/channels/server_api/http-api#publishing-events for more info"
    )]
    DataTooLarge(usize),
    #[error("Cannot broadcast to more than {0} channels at once")]
    TooManyChannels(usize),
    #[error("Invalid channel name: {}", Quoted(.0))]
    InvalidChannelName(String),
    #[error("Invalid socket id: {}", Quoted(.0))]
    InvalidSocketId(String),
    #[error("Expected info parameter to be a string")]
    InfoNotString,
    #[error("Expected batch parameter to be an array of objects")]
    BatchNotArray,
    #[error("Cannot batch-send more than {0} messages at once")]
    BatchTooLong(usize),
    /// `item` counts from 1
    #[error("{error} (message {item} of the batch)")]
    BatchItem { item: usize, error: Box<ApiError> },

    #[error(
        "user_count may only be requested for presence channels - please supply filter_by_prefix beginning with presence-"
    )]
    UserCountNeedsPrefix,
    #[error("Cannot retrieve the user count unless the channel is a presence channel")]
    UserCountNotPresence,
    #[error("Cannot retrieve the cache unless the channel is a cache channel")]
    CacheNotCached,
    #[error("Users can only be retrieved for presence channels")]
    UsersNotPresence,

    /// after too many wrong signatures, before this one was looked at
    #[error(
        "Too many requests with a wrong signature came from this address, so this one was not checked: correct the key and the secret, then try again in a moment (limits.signature_failures_per_min_per_address)"
    )]
    SignatureFailures { retry_after_s: u64 },
    /// `count`: what the request counts as
    #[error("{}", events_hint(*.count, .allowance))]
    TooManyEvents { count: usize, allowance: Allowance },
    #[error(
        "Too many requests: the app may ask {} times a second (read_requests_per_s)", .0.limit
    )]
    TooManyReads(Allowance),

    /// `published` of `of` events went out before the node took no more
    #[error("{}", congestion_hint(*.published, *.of))]
    Congested { published: usize, of: usize },
}

impl ApiError {
    fn status(&self) -> StatusCode {
        use ApiError::*;
        match self {
            Auth(_) => StatusCode::UNAUTHORIZED,
            AppDisabled => StatusCode::FORBIDDEN,
            UnknownApp(_) | NotFound(_) => StatusCode::NOT_FOUND,
            MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            BodyTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            PayloadTooLarge { .. } | DataTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Congested { .. } => StatusCode::SERVICE_UNAVAILABLE,
            SignatureFailures { .. } | TooManyEvents { .. } | TooManyReads(_) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            RepeatedTooSoon => StatusCode::CONFLICT,
            BatchItem { error, .. } => error.status(),
            UnreadableBody(_)
            | NotUtf8(_)
            | InvalidJson(_)
            | NameNotString
            | NameEmpty
            | NameTooLong(_)
            | NameReserved
            | IdempotencyKey
            | Missing(_)
            | TooManyChannels(_)
            | InvalidChannelName(_)
            | InvalidSocketId(_)
            | InfoNotString
            | BatchNotArray
            | BatchTooLong(_)
            | UserCountNeedsPrefix
            | UserCountNotPresence
            | CacheNotCached
            | UsersNotPresence => StatusCode::BAD_REQUEST,
        }
    }

    /// What metrics and the live stream call it.
    fn name(&self) -> &'static str {
        use ApiError::*;
        match self {
            UnknownApp(_) => "unknown_app",
            Auth(error) => error.name(),
            AppDisabled => "app_disabled",
            NotFound(_) => "not_found",
            MethodNotAllowed { .. } => "method_not_allowed",
            UpgradeRequired => "upgrade_required",
            PayloadTooLarge { .. } => "payload_too_large",
            UnreadableBody(_) => "unreadable_body",
            BodyTimeout(_) => "body_timeout",
            NotUtf8(_) => "not_utf8",
            InvalidJson(_) => "invalid_json",
            NameNotString => "name_not_string",
            NameEmpty => "name_empty",
            NameTooLong(_) => "name_too_long",
            NameReserved => "name_reserved",
            IdempotencyKey => "idempotency_key",
            RepeatedTooSoon => "repeated_too_soon",
            Missing(_) => "missing_parameter",
            DataTooLarge(_) => "data_too_large",
            TooManyChannels(_) => "too_many_channels",
            InvalidChannelName(_) => "invalid_channel_name",
            InvalidSocketId(_) => "invalid_socket_id",
            InfoNotString => "info_not_string",
            BatchNotArray => "batch_not_array",
            BatchTooLong(_) => "batch_too_long",
            BatchItem { error, .. } => error.name(),
            UserCountNeedsPrefix => "user_count_needs_prefix",
            UserCountNotPresence => "user_count_not_presence",
            CacheNotCached => "cache_not_cached",
            UsersNotPresence => "users_not_presence",
            Congested { .. } => "congested",
            SignatureFailures { .. } => "signature_failures",
            TooManyEvents { .. } => "too_many_events",
            TooManyReads(_) => "too_many_reads",
        }
    }

    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            ApiError::MethodNotAllowed { allow, .. } => {
                Some((ALLOW, HeaderValue::from_static(allow)))
            }
            ApiError::UpgradeRequired => Some((UPGRADE, HeaderValue::from_static("websocket"))),
            ApiError::Congested { .. } | ApiError::RepeatedTooSoon => {
                Some((RETRY_AFTER, HeaderValue::from_static("1")))
            }
            ApiError::SignatureFailures { retry_after_s } => {
                Some((RETRY_AFTER, HeaderValue::from(*retry_after_s)))
            }
            _ => {
                let seconds = HeaderValue::from(self.allowance()?.retry_after_s);
                Some((RETRY_AFTER, seconds))
            }
        }
    }

    fn allowance(&self) -> Option<Allowance> {
        match self {
            ApiError::TooManyEvents { allowance, .. } | ApiError::TooManyReads(allowance) => {
                Some(*allowance)
            }
            _ => None,
        }
    }

    /// The sentence without what must not be logged: a wrong signature's sentence shows the signature and what it covers.
    fn log_reason(&self) -> String {
        let reason = self.to_string();
        match self {
            ApiError::Auth(_) if reason.starts_with("Invalid signature") => {
                "Invalid signature: the secret, the path or the parameters differ".to_owned()
            }
            _ => reason,
        }
    }
}

/// One line of plain text, whatever the reason (H-19).
impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status()
    }
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status());
        response.content_type("text/plain; charset=utf-8");
        if let Some(header) = self.header() {
            response.insert_header(header);
        }
        if let Some(allowance) = self.allowance() {
            for header in allowance.headers() {
                response.insert_header(header);
            }
        }
        if let ApiError::BodyTimeout(_) = self {
            // The rest of the body would be read as the next request.
            response.force_close();
        }
        response.body(one_line(self.to_string()) + "\n")
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// By this `resound doctor` knows our refusals from those of a proxy, of the app, or of another server.
const RESOUND: HeaderName = HeaderName::from_static("x-resound");

/// Wraps all routes: a refusal gets a request id, in the answer and in the log line that explains it.
pub async fn report(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    count(&response);
    let allowance = response.request().extensions().get::<Allowance>().copied();
    if let Some(allowance) = allowance {
        for (name, value) in allowance.headers() {
            response.headers_mut().insert(name, value);
        }
    }
    if let Some(error) = response.response().error() {
        let id = format!("{:016x}", rand::random::<u64>());
        match error.as_error::<ApiError>() {
            Some(error) => refused(
                response.request(),
                error.status(),
                error.name(),
                error.log_reason(),
                &id,
            ),
            None => refused(
                response.request(),
                response.status(),
                "other",
                error.to_string(),
                &id,
            ),
        }
        let headers = response.headers_mut();
        headers.insert(RESOUND, HeaderValue::from_static("1"));
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(REQUEST_ID, id);
        }
    }
    Ok(response)
}

/// Counts a request by its route, and for its app if there is such an app.
fn count(response: &ServiceResponse<impl MessageBody>) {
    let request = response.request();
    let Some(node) = request.app_data::<web::Data<Node>>() else {
        return;
    };
    let metrics = &node.observe().metrics;
    let route = request.app_data::<Route>().copied();
    let route = route.unwrap_or(Route::OTHER);
    metrics.http.count(route, response.status().as_u16());
    if let Some(app) = request.match_info().get("app_id") {
        let declared = request.headers().get(CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
        let answered = match response.response().body().size() {
            BodySize::Sized(bytes) => bytes,
            BodySize::None | BodySize::Stream => 0,
        };
        metrics.count_request(app, declared.unwrap_or(0), answered);
    }
}

pub fn client(node: &Node, request: &HttpRequest) -> Client {
    let peer = Peer::of(request.conn_data(), request.peer_addr());
    let proxies = &node.settings().server.trusted_proxies;
    node.gate().client(peer, request.headers(), proxies)
}

/// The path only, never the query: it holds the signature.
fn refused(
    request: &HttpRequest,
    status: StatusCode,
    reason: &'static str,
    message: String,
    request_id: &str,
) {
    let app = request.match_info().get("app_id");
    let message = one_line(message);
    let node = request.app_data::<web::Data<Node>>();
    let (peer, at_info) = match node {
        Some(node) => {
            let client = client(node, request);
            (client, node.gate().may_log(client, &node.settings().limits))
        }
        None => (Client::Behind(None), true),
    };
    log_refusal!(
        at_info,
        app = app.map(|id| Quoted(id).to_string()),
        %peer,
        method = %Quoted(request.method().as_str()),
        path = %Quoted(request.path()),
        status = status.as_u16(),
        request_id,
        "Refused a request: {message}",
    );
    if let Some(node) = node {
        node.observe().refused_request(&RefusedRequest {
            app,
            path: request.path(),
            peer,
            status: status.as_u16(),
            reason,
            message: &message,
            request_id,
        });
    }
}

/// Text of a client inside a sentence or a log line: no control characters, cut after 200 characters (a request may name a
/// channel with a megabyte).
struct Quoted<'a>(&'a str);

const QUOTED_CHARS_MAX: usize = 200;

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(QUOTED_CHARS_MAX) {
            if c.is_control() || c == '\u{2028}' || c == '\u{2029}' {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        if chars.next().is_some() {
            write!(f, "… ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

/// The promise of H-19, kept for texts that were written elsewhere too.
fn one_line(text: String) -> String {
    if text.contains(['\n', '\r']) {
        text.replace('\n', "\\n").replace('\r', "\\r")
    } else {
        text
    }
}

fn method_hint(method: &str, allow: &str) -> String {
    let method = Quoted(method);
    if allow == "POST" {
        format!(
            "Method {method} is not allowed here, use POST (a redirect, for example from http to https, turns a POST into a GET: use the final URL)"
        )
    } else {
        format!("Method {method} is not allowed here, use {allow}")
    }
}

fn events_hint(count: usize, allowance: &Allowance) -> String {
    let limit = allowance.limit;
    if count > limit as usize {
        format!(
            "Too many events: this request counts as {count}, one for each channel, and the app may publish {limit} a second (backend_events_per_s): divide it"
        )
    } else {
        format!("Too many events: the app may publish {limit} a second (backend_events_per_s)")
    }
}

fn congestion_hint(published: usize, of: usize) -> String {
    if published == 0 {
        "The server is overloaded or stopping and took nothing: send it again in a moment"
            .to_owned()
    } else {
        format!(
            "The server is overloaded or stopping and took only the first {published} of {of}: send the rest again in a moment"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: ApiError, status: u16, text: &str) {
        assert_eq!(error.status().as_u16(), status, "{error}");
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn h14_h19_statuses_and_sentences() {
        check(
            ApiError::UnknownApp("7".into()),
            404,
            "No matching application for ID [7]",
        );
        check(ApiError::AppDisabled, 403, "Application disabled");
        check(
            ApiError::Auth(RequestAuthError::MissingKey),
            401,
            "Missing parameter: auth_key",
        );
        check(
            ApiError::PayloadTooLarge {
                bytes: 2_000_000,
                limit: 1_048_576,
            },
            413,
            "Payload too large: 2000000 bytes, limit 1048576 (server.request_bytes_max, REVERB_MAX_REQUEST_SIZE)",
        );
    }

    #[test]
    fn h21_sentences_of_the_hosted_service() {
        check(
            ApiError::NameNotString,
            400,
            "Expected name parameter to be a string",
        );
        check(
            ApiError::NameTooLong(200),
            400,
            "Event name is too long. Maximum allowed size is 200",
        );
        check(
            ApiError::NameReserved,
            400,
            "The 'pusher' namespace is reserved for internal usage",
        );
        check(
            ApiError::DataTooLarge(10_240),
            413,
            "The data content of this event exceeds the allowed maximum (10240 bytes). See https://pusher.com/docs/channels/server_api/http-api#publishing-events for more info",
        );
        check(
            ApiError::TooManyChannels(100),
            400,
            "Cannot broadcast to more than 100 channels at once",
        );
        check(
            ApiError::InvalidChannelName("a b".into()),
            400,
            "Invalid channel name: a b",
        );
        check(
            ApiError::BatchTooLong(10),
            400,
            "Cannot batch-send more than 10 messages at once",
        );
    }

    #[test]
    fn limits_of_an_app_are_named() {
        let allowance = Allowance {
            limit: 10,
            remaining: 3,
            retry_after_s: 1,
        };
        check(
            ApiError::TooManyEvents {
                count: 4,
                allowance,
            },
            429,
            "Too many events: the app may publish 10 a second (backend_events_per_s)",
        );
        check(
            ApiError::TooManyEvents {
                count: 11,
                allowance,
            },
            429,
            "Too many events: this request counts as 11, one for each channel, and the app may publish 10 a second (backend_events_per_s): divide it",
        );
        check(
            ApiError::TooManyReads(allowance),
            429,
            "Too many requests: the app may ask 10 times a second (read_requests_per_s)",
        );
    }

    #[test]
    fn h27_a_batch_fails_with_the_status_of_its_item() {
        check(
            ApiError::BatchItem {
                item: 3,
                error: Box::new(ApiError::DataTooLarge(10)),
            },
            413,
            "The data content of this event exceeds the allowed maximum (10 bytes). See https://pusher.com/docs/channels/server_api/http-api#publishing-events for more info (message 3 of the batch)",
        );
    }

    #[test]
    fn h19_sentences_are_one_short_line() {
        let megabyte = "x".repeat(1_000_000);
        for text in ["a\r\nb\u{0}c", "\u{2028}\u{7f}", megabyte.as_str()] {
            for error in [
                ApiError::InvalidChannelName(text.to_owned()),
                ApiError::InvalidSocketId(text.to_owned()),
                ApiError::UnknownApp(text.to_owned()),
                ApiError::NotFound(text.to_owned()),
            ] {
                let sentence = error.to_string();
                assert!(sentence.len() < 700, "{}", sentence.len());
                assert!(!sentence.chars().any(char::is_control));
            }
        }
        assert_eq!(one_line("a\nb".to_owned()), "a\\nb");
    }

    #[test]
    fn refusals_carry_the_header_that_helps() {
        let header = |error: ApiError, name: &str| {
            let response = error.error_response();
            assert_eq!(
                response.headers().get("content-type").unwrap(),
                "text/plain; charset=utf-8"
            );
            response
                .headers()
                .get(name)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        let wrong_method = ApiError::MethodNotAllowed {
            method: "GET".into(),
            allow: "POST",
        };
        assert_eq!(header(wrong_method, "allow"), "POST");
        assert_eq!(header(ApiError::UpgradeRequired, "upgrade"), "websocket");
        let congested = ApiError::Congested {
            published: 0,
            of: 1,
        };
        assert_eq!(header(congested, "retry-after"), "1");
        let signatures = ApiError::SignatureFailures { retry_after_s: 60 };
        assert_eq!(header(signatures, "retry-after"), "60");
    }
}
