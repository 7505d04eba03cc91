//! Publishes a request once, however often it is sent: opt-in by an idempotency key, in a header or in the body.
use super::{error::ApiError, json, signed::Signed};
use crate::{
    cluster::Taken,
    idempotency::Known,
    node::{Congested, Node},
    protocol::json::string,
};
use actix_web::{HttpResponse, http::header::HeaderName};
use serde_json::value::RawValue;
use std::{borrow::Cow, time::Instant};

/// Longer keys are refused: they are ids, not content.
const KEY_BYTES_MAX: usize = 255;

/// Headers that may hold the key.
const HEADERS: [HeaderName; 2] = [
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("x-idempotency-key"),
];

/// The request's key: the body's member, else the header; `None` if it has neither.
pub fn key<'a>(
    signed: &'a Signed,
    member: Option<&'a RawValue>,
) -> Result<Option<Cow<'a, str>>, ApiError> {
    let key = match member {
        Some(raw) => Some(string(raw).ok_or(ApiError::IdempotencyKey)?),
        None => HEADERS
            .into_iter()
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
    publish: impl AsyncFn(&E) -> Result<Option<Taken>, Congested>,
    answer: impl AsyncFnOnce() -> Cow<'static, str>,
) -> Result<HttpResponse, ApiError> {
    let Some(key) = key.filter(|_| node.answers_repeats()) else {
        publish_all(events, 0, publish, || {}).await?;
        return Ok(json(answer().await));
    };
    match node.answers().begin(signed.app.index, &key, Instant::now()) {
        Known::Answered(answer) => Ok(json(answer.to_string())),
        Known::UnderWay => Err(ApiError::RepeatedTooSoon),
        Known::New(attempt) => {
            let first = attempt.published();
            publish_all(events, first, publish, || attempt.note_published()).await?;
            let answer = answer().await;
            attempt.answered(&answer);
            Ok(json(answer))
        }
    }
}

/// Publishes the events from the one with this index on. Each is on its way before the next begins, but only then all are waited
/// for: to publish many takes one round trip to Redis, not many.
async fn publish_all<E>(
    events: &[E],
    first: usize,
    publish: impl AsyncFn(&E) -> Result<Option<Taken>, Congested>,
    note_published: impl Fn(),
) -> Result<(), ApiError> {
    let of = events.len();
    let mut on_their_way = Vec::new();
    let mut outcome = Ok(());
    for (published, event) in events.iter().enumerate().skip(first) {
        match publish(event).await {
            Ok(taken) => on_their_way.extend(taken.map(|taken| (published, taken))),
            Err(Congested) => {
                outcome = Err(ApiError::Congested { published, of });
                break;
            }
        }
        note_published();
    }
    for (published, taken) in on_their_way {
        let taken = taken.await;
        taken.map_err(|_| ApiError::Congested { published, of })?;
    }
    outcome
}
