//! The tools that ask a server, against the real one and against servers and proxies that are set up wrongly.
mod bench;
#[allow(dead_code)]
#[path = "../binary/mod.rs"]
mod binary;
mod commands;
mod doctor;
mod fakes;
mod faulty;
// what the server's own tests need besides isn't used here
#[allow(dead_code)]
#[path = "../server/helpers.rs"]
mod helpers;
mod own;
