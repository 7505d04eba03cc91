//! Several nodes on one Redis: what must be true across them lives there, and every event takes its way through it.
//!
//! Of each channel Redis keeps how many subscriptions every node has, who is present, and a sequence that every message of the
//! channel takes its number from. A change and the message that tells of it are one Lua script (`scripts/`), so they happen
//! together and in one order for everybody. A node subscribes to the topic of a channel while it has subscribers of it.

mod calls;
mod channel;
pub mod connection;
mod core;
mod driver;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handle;
mod held;
mod keys;
pub mod listing;
mod messages;
mod nodes;
pub mod probe;
mod queries;
mod rules;
mod scripts;
mod serving;
mod settings;
mod status;
mod terms;
#[cfg(test)]
pub(crate) mod testing;
mod wire;

pub use self::{
    driver::ClusterSettings,
    handle::{Asker, Cluster, Congested, Place, Reply, Taken, Welcome},
    serving::{Parts, start},
    status::Status,
};
