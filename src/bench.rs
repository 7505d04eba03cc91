//! `resound bench`.
pub mod account;
pub mod answer;
pub mod errors;
pub mod scanner;
pub mod times;
pub mod token;
pub mod usage;
