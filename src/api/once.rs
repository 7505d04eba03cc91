//! Publishes a request once, however often it is sent: opt-in by an idempotency key, in a header or in the body.
use super::{error::ApiError, events::string, json, signed::Signed};
use crate::{idempotency::Known, node::Node};
use actix_web::HttpResponse;
use serde_json::value::RawValue;
use std::{borrow::Cow, future::Future, time::Instant};

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

/// Answers with what `publish` comes to, or with what it came to the first time this key was sent.
pub async fn once(
    node: &Node,
    signed: &Signed,
    key: Option<Cow<'_, str>>,
    publish: impl Future<Output = Result<Cow<'static, str>, ApiError>>,
) -> Result<HttpResponse, ApiError> {
    let Some(key) = key.filter(|_| node.answers_repeats()) else {
        return Ok(json(publish.await?));
    };
    match node.answers().begin(signed.app.index, &key, Instant::now()) {
        Known::Answered(answer) => Ok(json(answer.to_string())),
        Known::UnderWay => Err(ApiError::RepeatedTooSoon),
        Known::New(attempt) => {
            let answer = publish.await?;
            attempt.answered(&answer);
            Ok(json(answer))
        }
    }
}
