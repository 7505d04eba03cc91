//! The HTTP API: a table of its routes (protocol part 6). Each endpoint is a file below; what all of them share is the
//! check of a request (`signed`) and the shape of a refusal (`error`). Nothing here knows sockets or hubs: endpoints ask
//! the [`Node`](crate::node::Node), which the app carries as `web::Data<Node>`.
mod allowance;
mod batch_events;
mod channels;
mod connections;
mod error;
mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub(crate) mod health;
mod info;
mod legacy;
mod once;
mod signed;
mod users;

use crate::metrics::http::Route;
use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder,
    http::header::{CONTENT_TYPE, HeaderValue},
    middleware::from_fn,
    web,
};
use error::ApiError;
use std::borrow::Cow;

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
        post(
            at("/apps/{app_id}/users/{user_id}/terminate_connections"),
            users::terminate_connections,
        ),
        // The Python SDK forgets the app (H-7).
        post(
            at("/users/{user_id}/terminate_connections"),
            users::terminate_connections,
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
    let route = Route::of_pattern(&path);
    web::resource(path)
        .app_data(route)
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
    let route = Route::of_pattern(&path);
    web::resource(path)
        .app_data(route)
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
fn json(body: impl Into<Cow<'static, str>>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, JSON))
        .body(body.into())
}

/// The answer to most publishes.
const EMPTY: &str = "{}";

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::{App, test};

    /// Sends unsigned requests to an app with the given prefix and compares the statuses.
    async fn check(prefix: &str, expected: &[(&str, &str, u16)]) {
        let app = test::init_service(App::new().configure(|config| routes(config, prefix))).await;
        for (method, path, status) in expected {
            let request = test::TestRequest::with_uri(path)
                .method(method.parse().unwrap())
                .to_request();
            let answer = test::call_service(&app, request).await;
            assert_eq!(answer.status().as_u16(), *status, "{method} {path}");
            assert_eq!(
                answer.headers().contains_key("x-request-id"),
                *status != 200
            );
        }
    }

    #[tokio::test]
    async fn h36_routes_at_the_root_and_below_the_prefix() {
        let expected = [
            ("GET", "/", 200),
            ("GET", "/live", 200),
            ("GET", "/reverb", 200),
            ("GET", "/reverb/", 200),
            ("GET", "/reverb/live", 200),
            ("HEAD", "/reverb/live", 200),
            ("POST", "/live", 405),
            ("GET", "/app/key", 426),
            ("GET", "/reverb/app/key", 426),
            ("GET", "/apps/3/events", 405),
            ("GET", "/reverb/apps/3/events", 405),
            ("POST", "/reverb/apps/3/channels", 405),
            ("DELETE", "/apps/3/channels/a/users", 405),
            ("GET", "/apps/3/channels/a/events", 405),
            ("GET", "/apps/3", 404),
            ("GET", "/reverb/reverb/live", 404),
            ("GET", "/reverbs/live", 404),
            ("GET", "/other/live", 404),
        ];
        check("/reverb", &expected).await;
    }

    #[tokio::test]
    async fn without_a_prefix_only_the_root() {
        let expected = [
            ("GET", "/", 200),
            ("GET", "/apps/3/batch_events", 405),
            ("GET", "/reverb/live", 404),
            ("GET", "/apps/3/users/1/terminate_connections", 405),
        ];
        check("", &expected).await;
    }
}
