//! The ways into the server and the way out: TLS, further listeners, PROXY protocol, requests that look like handshakes,
//! systemd, stops. What is said once inside is the business of `tests/server`.
#![cfg(unix)]

mod breaks;
mod doors;
mod files;
mod helpers;
mod http;
mod peer;
mod process;
mod proxy_protocol;
mod stop;
mod stopped;
mod systemd;
mod tls;
