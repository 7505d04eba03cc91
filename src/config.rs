//! Settings: read, check, hand out typed values; `default.toml` beside it, embedded.
use crate::apps::App;
use std::{net::IpAddr, time::Duration};

/// Every setting, checked.
#[derive(Debug)]
pub struct Settings {
    pub server: ServerSettings,
    pub socket: SocketSettings,
    pub hub: HubSettings,
    pub log: LogSettings,
    pub apps: Vec<App>,
    /// only the built-in development app is configured
    pub is_development: bool,
}
#[derive(Debug, Clone)]
pub struct ServerSettings {
    pub host: IpAddr,
    pub port: u16,
    /// normalised: "" or "/prefix" without trailing slash
    pub path: String,
    pub workers: usize,
    /// sockets this node takes; `None` = as many as the file limit allows
    pub connections_max: Option<usize>,
    pub request_bytes_max: usize,
    pub handshake_timeout: Duration,
    pub keep_alive: Duration,
    pub drain: Duration,
    /// peers whose X-Forwarded-* headers are believed
    pub trusted_proxies: Vec<ipnet::IpNet>,
}
#[derive(Debug, Clone, Copy)]
pub struct SocketSettings {
    pub outbox_bytes_max: usize,
    /// frames wait this long for a peer that takes nothing, then the socket is cut
    pub write_timeout: Duration,
    /// how long a closing connection waits for the peer's close frame (C-30)
    pub close_timeout: Duration,
}
#[derive(Debug, Clone, Copy)]
pub struct HubSettings {
    /// commands waiting for one worker; over it publishers wait
    pub inbox_depth_max: usize,
    /// how long a REST publish waits for room, then 503
    pub publish_wait: Duration,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}
#[derive(Debug, Clone)]
pub struct LogSettings {
    pub level: String,
    pub format: LogFormat,
}
