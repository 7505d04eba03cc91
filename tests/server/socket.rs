//! The WebSocket side, one file per part of the protocol. Tests are named after the rule they hold.
mod bad_input;
mod cache;
mod client_events;
mod closing;
mod connect;
mod crowding;
mod delivery;
mod keepalive;
mod messages;
mod presence;
pub mod raw;
mod slow;
mod subscribe;
