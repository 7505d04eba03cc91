//! Health checks for load balancers and orchestrators, without signature (6.7): Reverb's `/up`, soketi's `/`, `/ready` and
//! `/accept-traffic`, sockudo's `/up/{app_id}` and `/live`.
use super::{JSON, error::ApiError, signed::path_part};
use crate::{
    metrics::process::Memory,
    node::{Node, Readiness},
};
use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header::{CONTENT_TYPE, HeaderName},
    web,
};

const X_HEALTH_CHECK: HeaderName = HeaderName::from_static("x-health-check");

/// The process runs: also while it drains, or an orchestrator would kill it in the middle of that.
pub async fn live() -> HttpResponse {
    text(HttpResponse::Ok(), "OK")
}

/// New connections are welcome. Whether a node that does without its cluster's Redis wants some is for the operator to say.
pub async fn ready(node: web::Data<Node>) -> HttpResponse {
    let readiness = node.readiness();
    text(status(is_ready(&node, readiness)), readiness.word())
}

/// The server serves: also without Redis. Whoever restarts what isn't up would cut connections that are served.
pub async fn up(node: web::Data<Node>) -> HttpResponse {
    let readiness = node.readiness();
    health(status(is_up(readiness)), readiness.word())
}

fn is_up(readiness: Readiness) -> bool {
    matches!(readiness, Readiness::Ready | Readiness::Degraded)
}

fn is_ready(node: &Node, readiness: Readiness) -> bool {
    let settings = node.settings();
    match (&settings.cluster, readiness) {
        (Some(cluster), Readiness::Degraded) => cluster.ready_when_degraded,
        _ => is_up(readiness),
    }
}

fn status(is_good: bool) -> HttpResponseBuilder {
    match is_good {
        true => HttpResponse::Ok(),
        false => HttpResponse::ServiceUnavailable(),
    }
}

pub async fn up_app(node: web::Data<Node>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let id = path_part(&request, "app_id");
    if node.apps().by_id(&id).is_none() {
        return Err(ApiError::UnknownApp(id.into_owned()));
    }
    Ok(up(node).await)
}

/// soketi's check: 503 when not ready and when this process uses more than its share of the machine's memory.
pub async fn accept_traffic(node: web::Data<Node>) -> HttpResponse {
    let memory = Memory::of_this_process();
    let has_room = memory.is_none_or(|memory| memory.percent() < MEMORY_PERCENT_MAX);
    status(has_room && is_ready(&node, node.readiness()))
        .insert_header((CONTENT_TYPE, JSON))
        .body(memory.map_or("{}".to_owned(), traffic_json))
}

/// soketi's default threshold
const MEMORY_PERCENT_MAX: f64 = 85.0;

fn traffic_json(memory: Memory) -> String {
    format!(
        r#"{{"memory":{{"usedSize":{},"totalSize":{},"percentUsage":{:.2}}}}}"#,
        memory.used_bytes,
        memory.total_bytes,
        memory.percent()
    )
}

/// soketi's memory figures, under the names it has for them on its metrics port.
pub async fn usage() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, JSON))
        .body(Memory::of_this_process().map_or("{}".to_owned(), usage_json))
}

fn usage_json(memory: Memory) -> String {
    format!(
        r#"{{"memory":{{"free":{},"used":{},"total":{},"percent":{:.2}}}}}"#,
        memory.total_bytes.saturating_sub(memory.used_bytes),
        memory.used_bytes,
        memory.total_bytes,
        memory.percent()
    )
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
    fn memory_under_soketis_names() {
        let memory = Memory {
            used_bytes: 5_242_880,
            total_bytes: 10_485_760,
        };
        assert_eq!(
            traffic_json(memory),
            r#"{"memory":{"usedSize":5242880,"totalSize":10485760,"percentUsage":50.00}}"#
        );
        assert_eq!(
            usage_json(memory),
            r#"{"memory":{"free":5242880,"used":5242880,"total":10485760,"percent":50.00}}"#
        );
    }
}
