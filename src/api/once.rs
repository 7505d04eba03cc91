//! Publishes a request once, however often it is sent: opt-in by an idempotency key, in a header or in the body.
use super::{error::ApiError, json, signed::Signed};
use crate::{
    idempotency::Known,
    node::{Congested, Node},
    protocol::json::string,
};
use actix_web::HttpResponse;
use serde_json::value::RawValue;
use std::{borrow::Cow, time::Instant};

/// Longer keys are refused: they are ids, not content.
const KEY_BYTES_MAX: usize = 255;

/// Headers that may hold the key.
const HEADERS: [&str; 2] = ["idempotency-key", "x-idempotency-key"];

/// The request's key: the body's member, else the header; `None` if it has neither.
pub fn key<'a>(
    signed: &'a Signed,
    member: Option<&'a RawValue>,
) -> Result<Option<Cow<'a, str>>, ApiError> {
    let key = match member {
        Some(raw) => Some(string(raw).ok_or(ApiError::IdempotencyKey)?),
        None => HEADERS
            .iter()
            .find_map(|name| signed.header(name))
            .map(Cow::Borrowed),
    };
    match key {
        Some(key) if key.is_empty() || key.len() > KEY_BYTES_MAX => Err(ApiError::IdempotencyKey),
        key => Ok(key),
    }
}

/// Publishes a request's events in their order, and answers with what `answer` makes of it; or with the first answer, if
/// this key was sent before.
pub async fn once<E>(
    node: &Node,
    signed: &Signed,
    key: Option<Cow<'_, str>>,
    events: &[E],
    publish: impl AsyncFn(&E) -> Result<(), Congested>,
    answer: impl FnOnce() -> Cow<'static, str>,
) -> Result<HttpResponse, ApiError> {
    let congested = |published| ApiError::Congested {
        published,
        of: events.len(),
    };
    let Some(key) = key.filter(|_| node.answers_repeats()) else {
        for (published, event) in events.iter().enumerate() {
            publish(event).await.map_err(|_| congested(published))?;
        }
        return Ok(json(answer()));
    };
    match node.answers().begin(signed.app.index, &key, Instant::now()) {
        Known::Answered(answer) => Ok(json(answer.to_string())),
        Known::UnderWay => Err(ApiError::RepeatedTooSoon),
        Known::New(attempt) => {
            for event in events.iter().skip(attempt.published()) {
                let published = publish(event).await;
                published.map_err(|_| congested(attempt.published()))?;
                attempt.note_published();
            }
            let answer = answer();
            attempt.answered(&answer);
            Ok(json(answer))
        }
    }
}
