//! Health checks for load balancers and orchestrators, without signature (6.7): Reverb's `/up`, soketi's `/`, `/ready` and
//! `/accept-traffic`, sockudo's `/up/{app_id}` and `/live`.
use super::{JSON, error::ApiError, signed::path_part};
use crate::node::Node;
use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header::{CONTENT_TYPE, HeaderName},
    web,
};
use std::fs;

const X_HEALTH_CHECK: HeaderName = HeaderName::from_static("x-health-check");

/// The process runs: also while it drains, or an orchestrator would kill it in the middle of that.
pub async fn live() -> HttpResponse {
    text(HttpResponse::Ok(), "OK")
}

/// New connections are welcome.
pub async fn ready(node: web::Data<Node>) -> HttpResponse {
    match node.is_draining() {
        false => text(HttpResponse::Ok(), "OK"),
        true => text(HttpResponse::ServiceUnavailable(), "DRAINING"),
    }
}

pub async fn up(node: web::Data<Node>) -> HttpResponse {
    match node.is_draining() {
        false => health(HttpResponse::Ok(), "OK"),
        true => health(HttpResponse::ServiceUnavailable(), "DRAINING"),
    }
}

pub async fn up_app(node: web::Data<Node>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let id = path_part(&request, "app_id");
    if node.apps().by_id(&id).is_none() {
        return Err(ApiError::UnknownApp(id.into_owned()));
    }
    Ok(up(node).await)
}

/// soketi's check: 503 while draining and when this process uses more than its share of the machine's memory.
pub async fn accept_traffic(node: web::Data<Node>) -> HttpResponse {
    let memory = Memory::of_this_process();
    let has_room = memory.is_none_or(|memory| memory.percent() < MEMORY_PERCENT_MAX);
    let mut answer = match has_room && !node.is_draining() {
        true => HttpResponse::Ok(),
        false => HttpResponse::ServiceUnavailable(),
    };
    answer
        .insert_header((CONTENT_TYPE, JSON))
        .body(memory.map_or("{}".to_owned(), |memory| memory.to_json()))
}

/// soketi's default threshold
const MEMORY_PERCENT_MAX: f64 = 85.0;

/// Resident bytes of this process, bytes of the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Memory {
    used_bytes: u64,
    total_bytes: u64,
}

impl Memory {
    /// `None` where there is no `/proc`.
    fn of_this_process() -> Option<Memory> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let machine = fs::read_to_string("/proc/meminfo").ok()?;
        Memory::parse(&status, &machine)
    }

    fn parse(status: &str, machine: &str) -> Option<Memory> {
        Some(Memory {
            used_bytes: bytes_of("VmRSS:", status)?,
            total_bytes: bytes_of("MemTotal:", machine).filter(|total| *total > 0)?,
        })
    }

    fn percent(self) -> f64 {
        self.used_bytes as f64 * 100.0 / self.total_bytes as f64
    }

    fn to_json(self) -> String {
        format!(
            r#"{{"memory":{{"usedSize":{},"totalSize":{},"percentUsage":{:.2}}}}}"#,
            self.used_bytes,
            self.total_bytes,
            self.percent()
        )
    }
}

/// The value of a `/proc` line like `VmRSS:    5120 kB`.
fn bytes_of(label: &str, lines: &str) -> Option<u64> {
    let line = lines.lines().find(|line| line.starts_with(label))?;
    let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

fn text(mut answer: HttpResponseBuilder, word: &'static str) -> HttpResponse {
    answer.content_type("text/plain; charset=utf-8").body(word)
}

fn health(mut answer: HttpResponseBuilder, word: &'static str) -> HttpResponse {
    answer
        .insert_header((CONTENT_TYPE, JSON))
        .insert_header((X_HEALTH_CHECK, word))
        .body(format!(r#"{{"health":"{word}"}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_traffic_memory() {
        let status = "Name:\tresound\nVmRSS:\t    5120 kB\n";
        let machine = "MemTotal:       10240 kB\nMemFree: 1 kB\n";
        let memory = Memory::parse(status, machine).unwrap();
        assert_eq!(
            memory.to_json(),
            r#"{"memory":{"usedSize":5242880,"totalSize":10485760,"percentUsage":50.00}}"#
        );
        for (status, machine) in [
            ("", machine),
            (status, ""),
            ("VmRSS:", machine),
            ("VmRSS: x kB", machine),
            ("VmRSS: 18446744073709551615 kB", machine),
            (status, "MemTotal: 0 kB"),
        ] {
            assert_eq!(Memory::parse(status, machine), None);
        }
    }
}
