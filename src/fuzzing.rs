//! What is fuzzed: a function for each parser of what strangers send or people write, with what must hold for any bytes. The
//! targets in `fuzz/` call them, and so do the tests here, with the seeds in `fuzz/corpus/` and with changes of these.
//! Not compiled into the server. Parsers that only their module sees are fuzzed beside them: `config/fuzzing.rs`,
//! `cluster/fuzzing.rs`.

mod frames;
mod messages;
mod names;
mod requests;
#[cfg(test)]
mod tests;

pub use self::{frames::frames, messages::client_message, names::channel_name, requests::request};
pub use crate::{
    cluster::fuzzing::cluster_message,
    config::fuzzing::{env_file, php_file},
};

/// A target: panics if the bytes make it do what it must not.
pub type Target = fn(&[u8]);

/// Every target by its name in `fuzz/`.
pub const TARGETS: [(&str, Target); 7] = [
    ("frames", frames),
    ("client_message", client_message),
    ("channel_name", channel_name),
    ("request", request),
    ("env_file", env_file),
    ("php_file", php_file),
    ("cluster_message", cluster_message),
];
