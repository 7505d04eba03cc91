//! The HTTP API, one file per endpoint like the URLs.
mod bad_input;
mod batch_events;
mod channels;
mod connections;
mod events;
mod health;
mod idempotency;
mod legacy;
pub mod request;
mod routes;
mod signature;
mod users;
