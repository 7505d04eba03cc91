//! Skeleton; the map comes with the code.
pub mod api;
pub mod apps;
pub mod broker;
pub mod cli;
pub mod config;
pub mod directory;
pub mod frame;
pub mod health;
pub mod hub;
pub mod log;
pub mod node;
pub mod protocol;
pub mod server;
pub mod session;
pub mod socket;
pub mod webhook;
pub mod welcome;
