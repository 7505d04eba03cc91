//! How much an app may still do in this second: events and reads, counted as soketi does and told in its headers.
use crate::{
    apps::App,
    gate::{Gate, Refusal, retry_after_s},
    rate::{Over, Window},
};
use actix_web::http::header::{HeaderName, HeaderValue};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// What a request that is counted has left, or met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub limit: u32,
    pub remaining: u32,
    /// for a refusal
    pub retry_after_s: u64,
}

impl Allowance {
    pub fn headers(self) -> [(HeaderName, HeaderValue); 2] {
        [
            (LIMIT, HeaderValue::from(self.limit)),
            (REMAINING, HeaderValue::from(self.remaining)),
        ]
    }
}

/// Counts events, each once for each of its channels. `Ok(None)`: the app has no such limit. `Err`: over it.
pub fn take_events(gate: &Gate, app: &App, count: usize) -> Result<Option<Allowance>, Allowance> {
    let Some(limit) = app.limits.backend_events_per_s else {
        return Ok(None);
    };
    let taken = take(&app.usage.backend_events, count, limit);
    taken
        .map(Some)
        .inspect_err(|_| gate.count(Refusal::BackendEvents))
}

/// Counts a request that changes nothing.
pub fn take_read(gate: &Gate, app: &App) -> Result<Option<Allowance>, Allowance> {
    let Some(limit) = app.limits.read_requests_per_s else {
        return Ok(None);
    };
    let taken = take(&app.usage.read_requests, 1, limit);
    taken
        .map(Some)
        .inspect_err(|_| gate.count(Refusal::ReadRequests))
}

fn take(window: &Mutex<Window>, count: usize, limit: u32) -> Result<Allowance, Allowance> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
    let allowance = |remaining, wait| Allowance {
        limit,
        remaining,
        retry_after_s: retry_after_s(wait),
    };
    match window.take(count, limit, Duration::from_secs(1), Instant::now()) {
        Ok(left) => Ok(allowance(left, Duration::ZERO)),
        Err(Over { wait, left }) => Err(allowance(left, wait)),
    }
}
