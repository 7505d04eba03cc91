//! The Laravel project the server was started in: its files as settings, and what the app says of how PHP and browsers are to
//! reach the server (where PHP posts and where browsers connect are two pairs of variables).
mod app_side;
mod project;
mod reverb_config;
#[cfg(test)]
mod tests;

use super::ServerSettings;
use crate::apps::App;
use ipnet::IpNet;
pub(super) use project::Project;
use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

/// The app's side of the settings, as far as it was found. The server itself needs none of it; the warnings at start,
/// the welcome text and `resound doctor` do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaravelApp {
    /// the project's folder
    pub folder: PathBuf,
    /// where the values come from: `.env`, `.env.production`, `bootstrap/cache/config.php`, `the environment`
    pub source: String,
    /// the `.env` that was read, with the name it was found by
    pub env_file: Option<String>,
    /// the app's configuration is cached: it reads no `.env`
    pub is_cached: bool,
    /// `BROADCAST_CONNECTION` (or the older `BROADCAST_DRIVER`): `reverb`, `pusher`, `log`, `null`, …
    pub broadcaster: Option<String>,
    /// where PHP posts events: `REVERB_HOST` or `PUSHER_HOST`, by the broadcaster
    pub host: Option<String>,
    /// 443 where the app says none
    pub port: Option<u16>,
    /// `http` or `https`; `https` where the app says none
    pub scheme: Option<String>,
    /// path prefix that PHP puts in front of `/apps`
    pub path: Option<String>,
    /// the app that PHP signs for
    pub app_id: Option<String>,
    pub app_key: Option<String>,
    /// whether PHP has a secret to sign with
    pub has_secret: bool,
    pub app_url: Option<String>,
    /// the host name whose certificate Reverb would look for: `REVERB_HOST`
    pub hostname: Option<String>,
    /// what is compiled into the JavaScript: `VITE_REVERB_…` or `VITE_PUSHER_…`
    pub browser: Browser,
    /// `QUEUE_CONNECTION`: who sends what is to be broadcast
    pub queue: Option<String>,
}

/// Where browsers connect, from the `VITE_` variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Browser {
    pub key: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub scheme: Option<String>,
}

impl LaravelApp {
    /// Whether the app itself is here, and not just some of its variables, as in a container of the server's own.
    pub fn is_project(&self) -> bool {
        let marks = ["artisan", ".env", "bootstrap/cache/config.php"];
        marks.iter().any(|mark| self.folder.join(mark).exists())
    }

    /// The address PHP posts to, without `/apps`; `None` if the app names no host.
    pub fn posts_to(&self) -> Option<String> {
        let scheme = self.scheme.as_deref().unwrap_or("https");
        let path = match self.path.as_deref().map(|path| path.trim_matches('/')) {
            None | Some("") => String::new(),
            Some(path) => format!("/{path}"),
        };
        let address = address(scheme, self.host.as_deref()?, self.port);
        Some(format!("{address}{path}"))
    }

    /// The address browsers connect to; `None` if nothing names their host.
    pub fn browsers_use(&self) -> Option<String> {
        let scheme = match self.browser.scheme.as_deref() {
            Some("http") => "ws",
            _ => "wss",
        };
        Some(address(
            scheme,
            self.browser.host.as_deref()?,
            self.browser.port,
        ))
    }

    /// Why the app can't reach a server with these settings, each a sentence; empty if nothing speaks against it.
    pub fn mismatches(
        &self,
        server: &ServerSettings,
        has_certificate: bool,
        apps: &[App],
    ) -> Vec<String> {
        let address = self.address_mismatch(server, has_certificate);
        let others = [self.scheme_mismatch(), self.app_mismatch(apps)];
        address
            .into_iter()
            .chain(others.into_iter().flatten())
            .collect()
    }

    fn address_mismatch(&self, server: &ServerSettings, has_certificate: bool) -> Option<String> {
        let host = self.host.as_deref().filter(|host| is_this_machine(host))?;
        let url = self.posts_to()?;
        let is_https = self.scheme.as_deref() == Some("https");
        let plain = server.listeners.plain.map(|address| address.port());
        if !is_https && plain.is_some() && plain == self.port {
            return None;
        }
        let is_loopback = |network: &IpNet| network.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST));
        if server.listeners.proxy_protocol
            && self.port == Some(server.port)
            && server.trusted_proxies.iter().any(is_loopback)
        {
            return Some(format!(
                "the app posts to {url}, but only proxies are heard there (server.proxy_protocol): let the server listen for the app elsewhere (server.plain_port), or let the app use the proxy"
            ));
        }
        if is_https && !has_certificate {
            return Some(format!(
                "the app posts to {url}, but this server has no certificate: make the scheme http (REVERB_SCHEME or PUSHER_SCHEME), or give it a certificate (tls.certificate)"
            ));
        }
        if !is_https && has_certificate {
            return Some(format!(
                "the app posts to {url}, but this server speaks TLS: make the scheme https (REVERB_SCHEME or PUSHER_SCHEME), or let it listen without TLS for the app (server.plain_port)"
            ));
        }
        let port = self
            .port
            .filter(|port| server.port != 0 && *port != server.port)?;
        Some(format!(
            "the app posts to port {port} of {host}, but this server listens on port {}: unless something forwards it, make REVERB_PORT (PUSHER_PORT) {} or REVERB_SERVER_PORT {port}",
            server.port, server.port
        ))
    }

    fn scheme_mismatch(&self) -> Option<String> {
        let url = self.app_url.as_deref()?;
        let is_secure_page = url.to_ascii_lowercase().starts_with("https://");
        let scheme = self.browser.scheme.as_ref().or(self.scheme.as_ref())?;
        (is_secure_page && scheme == "http").then(|| {
            "browsers are told to use http, but APP_URL is https: from an https page they connect with TLS only, so make the scheme https with a certificate here or at a proxy"
                .to_owned()
        })
    }

    fn app_mismatch(&self, apps: &[App]) -> Option<String> {
        let uses = |key: &str| apps.iter().any(|app| app.key == key);
        if let Some(key) = self.app_key.as_deref().filter(|key| !uses(key)) {
            return Some(format!(
                "the app signs with key {key}, which is the key of no app configured here"
            ));
        }
        let key = self.browser.key.as_deref().filter(|key| !uses(key))?;
        Some(format!(
            "browsers are built with key {key}, which is the key of no app configured here: correct VITE_REVERB_APP_KEY (VITE_PUSHER_APP_KEY) and run npm run build"
        ))
    }
}

fn address(scheme: &str, host: &str, port: Option<u16>) -> String {
    // an IPv6 address needs brackets
    let host = match host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    };
    match port {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

/// Whether a host name leads to the machine it is used on.
fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback() || address.is_unspecified(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}
