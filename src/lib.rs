//! Skeleton; the map comes with the code.
pub mod api;
pub mod apps;
pub mod cli;
pub mod config;
pub mod frame;
pub mod log;
pub mod node;
pub mod protocol;
