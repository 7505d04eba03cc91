//! What the cluster is tested with, and its tests that need more than one file: the scripts in Rust ([`model`]), random histories on
//! them ([`simulation`]), the same scripts and nodes on a real Redis ([`real`], [`redis`]); and a cluster that a test plays
//! ([`fake`]). Nothing of it ships.

pub(crate) mod fake;
mod model;
mod real;
mod redis;
mod simulation;

pub(crate) use self::redis::*;
