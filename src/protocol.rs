//! Pusher protocol 7, pure: no sockets, no clock, no randomness.
pub mod channel;
pub mod client;
pub mod codes;
pub mod event;
pub mod json;
pub mod presence;
pub mod server;
pub mod signature;
pub mod socket_id;
