//! The HTTP API: a table of its routes (protocol part 6). Each endpoint is a file below; what all of them share is the
//! check of a request ([`signed`]) and the shape of a refusal ([`error`]). Nothing here knows sockets or hubs: endpoints ask
//! the [`Node`](crate::node::Node), which the app carries as `web::Data<Node>`.
mod batch_events;
mod channels;
mod connections;
mod error;
mod events;
mod health;
mod info;
mod legacy;
mod signed;
mod users;

use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder,
    http::header::{CONTENT_TYPE, HeaderValue},
    middleware::from_fn,
    web,
};
use error::ApiError;

/// Registers every route at the root and, when `prefix` ("/reverb") isn't empty, below it too: SDKs disagree about whether a
/// configured path is part of the URL (H-15), and health checks must work in both places (H-36).
pub fn routes(config: &mut web::ServiceConfig, prefix: &str) {
    let mut scope = web::scope("");
    for base in bases(prefix) {
        for resource in table(base) {
            scope = scope.service(resource);
        }
    }
    config.service(
        scope
            .default_service(web::to(not_found))
            .wrap(from_fn(error::report)),
    );
}

fn bases(prefix: &str) -> impl Iterator<Item = &str> {
    [""].into_iter()
        .chain(Some(prefix).filter(|prefix| !prefix.is_empty()))
}

/// All routes below `base`. The busiest come first: the router tries them in this order.
fn table(base: &str) -> Vec<Resource> {
    let at = |path: &str| format!("{base}{path}");
    let mut table = vec![
        post(at("/apps/{app_id}/events"), events::trigger),
        post(
            at("/apps/{app_id}/batch_events"),
            batch_events::trigger_batch,
        ),
        get(at("/apps/{app_id}/channels"), channels::list),
        get(at("/apps/{app_id}/channels/{channel}"), channels::show),
        get(at("/apps/{app_id}/channels/{channel}/users"), users::list),
        post(
            at("/apps/{app_id}/channels/{channel}/events"),
            legacy::trigger,
        ),
        get(at("/apps/{app_id}/connections"), connections::count),
        get(at("/app/{key}"), upgrade_required),
        get(at("/up"), health::up),
        get(at("/up/{app_id}"), health::up_app),
        get(at("/ready"), health::ready),
        get(at("/live"), health::live),
        get(at("/accept-traffic"), health::accept_traffic),
        get(at("/"), health::live),
    ];
    if !base.is_empty() {
        table.push(get(base.to_owned(), health::live));
    }
    table
}

/// A resource read with GET; HEAD gets the same answer without its body.
fn get<F, Args>(path: String, endpoint: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::get().to(endpoint.clone()))
        .route(web::head().to(endpoint))
        .default_service(web::to(|request: HttpRequest| {
            method_not_allowed(request, "GET")
        }))
}

fn post<F, Args>(path: String, endpoint: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::post().to(endpoint))
        .default_service(web::to(|request: HttpRequest| {
            method_not_allowed(request, "POST")
        }))
}

async fn method_not_allowed(
    request: HttpRequest,
    allow: &'static str,
) -> Result<HttpResponse, ApiError> {
    Err(ApiError::MethodNotAllowed {
        method: request.method().to_string(),
        allow,
    })
}

async fn not_found(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotFound(request.path().to_owned()))
}

/// `/app/{key}` for somebody who doesn't speak WebSocket; real upgrades never come this far (C-5).
async fn upgrade_required() -> Result<HttpResponse, ApiError> {
    Err(ApiError::UpgradeRequired)
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The answer to everything that worked: exactly 200, a JSON object (H-18).
fn json(body: String) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, JSON))
        .body(body)
}

/// `{}`, the answer to most publishes, without building anything.
fn empty_json() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, JSON))
        .body("{}")
}
