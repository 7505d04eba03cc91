//! What the admin listener answers: health as the main listener does, memory as soketi does, metrics in two formats.

use std::{net::SocketAddr, sync::Arc};

use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder,
    http::header::{ACCEPT, CONTENT_TYPE},
    web,
};
use prometheus_client::{encoding::text, registry::Registry};

use super::{export::Export, soketi::Soketi, stream};
use crate::{api::health, node::Node};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What all requests share.
pub struct Context {
    registry: Registry,
}

impl Context {
    pub fn new(node: &Arc<Node>, main: SocketAddr) -> Context {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Export(node.clone())));
        let prefix = &node.settings().admin.soketi_prefix;
        if !prefix.is_empty() {
            let soketi = Soketi::new(node.clone(), prefix, main.port());
            registry.register_collector(Box::new(soketi));
        }
        Context { registry }
    }
}

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(readable("/metrics", metrics))
        .service(readable("/", health::live))
        .service(readable("/live", health::live))
        .service(readable("/up", health::up))
        .service(readable("/ready", health::ready))
        .service(readable("/accept-traffic", health::accept_traffic))
        .service(readable("/usage", health::usage))
        .route("/stream", web::get().to(stream::stream))
        .default_service(web::to(not_found));
}

/// HEAD, which some probes send, gets the same answer without its body.
fn readable<F, Args>(path: &str, endpoint: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::get().to(endpoint.clone()))
        .route(web::head().to(endpoint))
        .default_service(web::to(not_found))
}

async fn not_found() -> HttpResponse {
    HttpResponse::NotFound()
        .insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"))
        .body("Not found: there are /metrics, /live, /up, /ready, /accept-traffic, /usage and the WebSocket /stream\n")
}

async fn metrics(context: web::Data<Context>, request: HttpRequest) -> HttpResponse {
    let mut text = String::new();
    if text::encode(&mut text, &context.registry).is_err() {
        // Writing to a String doesn't fail, and our encoders don't either.
        return HttpResponse::InternalServerError().finish();
    }
    let accept = request.headers().get(ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
        return HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, OPEN_METRICS))
            .body(text);
    }
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, PLAIN))
        .body(plain(&text))
}

/// OpenMetrics as the older text format, which all who collect metrics understand: counters are declared under their whole
/// name, and there are neither units nor an end.
fn plain(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let of_counter = |line: &str| line.starts_with("# TYPE ") && line.ends_with(" counter");
        let is_declared = of_counter(line)
            || (line.starts_with("# HELP ") && lines.peek().is_some_and(|next| of_counter(next)));
        let mut parts = line.splitn(4, ' ');
        match (
            is_declared,
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) {
            (true, Some(sign), Some(word), Some(name), Some(rest)) => {
                text.extend([sign, " ", word, " ", name, "_total ", rest]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn the_older_format_has_whole_names_and_no_units() {
        let open_metrics = "# HELP a_bytes How many.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{x=\"# TYPE b counter\"} 1\n# HELP b Now.\n# TYPE b gauge\nb 2\n# EOF\n";
        assert_eq!(
            plain(open_metrics),
            "# HELP a_bytes_total How many.\n# TYPE a_bytes_total counter\na_bytes_total{x=\"# TYPE b counter\"} 1\n# HELP b Now.\n# TYPE b gauge\nb 2\n"
        );
    }
}
