//! Several nodes on one Redis: what must be true across them lives there, and every event takes its way through it.
//!
//! Of each channel Redis keeps how many subscriptions every node has, who is present, and a sequence that every message of the
//! channel takes its number from. A change and the message that tells of it are one Lua script (`scripts/`), so they happen
//! together and in one order for everybody. A node subscribes to the topic of a channel while it has subscribers of it.

mod channel;
pub mod connection;
pub mod core;
pub mod driver;
mod keys;
#[cfg(test)]
mod model;
mod nodes;
pub mod probe;
#[cfg(test)]
mod real;
mod scripts;
mod settings;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod testing;
mod wire;

pub use channel::{What, member_text, parse_member};
pub use keys::{ChannelKeys, Keys};
pub use scripts::{Holding, Joined, Left, Member, Published, Registered, Scripts};
pub use wire::{Kind, Message, Unreadable, event_head};
