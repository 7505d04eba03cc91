//! What is fuzzed: a function for each parser of what strangers send or people write, with what must hold for any bytes. The
//! targets in `fuzz/` call them, and so do the tests here, with the seeds in `fuzz/corpus/` and with changes of these.
//! Not compiled into the server. Parsers that only their module sees are fuzzed beside them: `config/fuzzing.rs`,
//! `cluster/fuzzing.rs`, `api/fuzzing.rs`, `server/proxy_protocol/fuzzing.rs`.

mod frames;
mod messages;
mod names;
mod requests;
#[cfg(test)]
mod tests;

pub use self::{frames::frames, messages::client_message, names::channel_name, requests::request};
pub use crate::{
    api::fuzzing::event_body,
    cluster::fuzzing::cluster_message,
    config::fuzzing::{env_file, php_file},
    server::proxy_protocol::fuzzing::proxy_header,
};

/// A target: panics if the bytes make it do what it must not.
pub type Target = fn(&[u8]);

/// Every target by its name in `fuzz/`.
pub const TARGETS: [(&str, Target); 9] = [
    ("frames", frames),
    ("client_message", client_message),
    ("channel_name", channel_name),
    ("request", request),
    ("event_body", event_body),
    ("proxy_header", proxy_header),
    ("env_file", env_file),
    ("php_file", php_file),
    ("cluster_message", cluster_message),
];
