//! Skeleton; the map comes with the code.
pub mod api;
pub mod apps;
pub mod config;
pub mod frame;
pub mod node;
pub mod protocol;
