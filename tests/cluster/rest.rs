//! Requests of the HTTP API.
#[allow(dead_code)]
#[path = "../server/rest/request.rs"]
pub mod request;
