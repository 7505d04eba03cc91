//! `resound health`: asks a running server whether it is up, for `HEALTHCHECK` in images that hold nothing but the binary.

use std::time::Duration;

use reqwest::Url;
use rustls::ClientConfig;

use crate::{
    client::{
        self, Address, NoAddress,
        http::{Answer, Http, RequestError, config_for},
    },
    config::Settings,
};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a server counts as unhealthy. `Display` is a sentence.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    #[error("no healthy server at {url}: {reason}")]
    At { url: String, reason: String },
    #[error(transparent)]
    Nowhere(#[from] NoAddress),
}

/// A server that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Healthy {
    Whole,
    /// one of a cluster, without Redis
    Degraded,
}

/// What is left to say. A healthy server is nothing to talk about.
pub fn remark(healthy: Healthy) -> Option<&'static str> {
    match healthy {
        Healthy::Whole => None,
        Healthy::Degraded => Some(
            "degraded: it serves, but Redis is away, so that its clients hear nothing of the cluster's other servers",
        ),
    }
}

/// Succeeds if `url` answers with 200; by default `/up` of the server that these settings describe. On loopback any
/// certificate will do.
pub fn check(settings: &Settings, url: Option<&str>) -> Result<Healthy, Unhealthy> {
    let (tls, url) = match url {
        Some(url) => (origin(url).as_ref().map(config_for), url.to_owned()),
        None => {
            let address = own(settings)?;
            (Some(config_for(&address)), address.http_url("/up"))
        }
    };
    let outcome = match tls {
        Some(tls) => client::block_on(ask(tls, &url))
            .unwrap_or_else(|error| Err(format!("it can't be asked ({error})"))),
        None => Err("--url must be a whole URL, such as http://127.0.0.1:8080/up".to_owned()),
    };
    outcome.map_err(|reason| Unhealthy::At { url, reason })
}

/// The server itself, or else its admin listener, which always speaks plain HTTP.
fn own(settings: &Settings) -> Result<Address, NoAddress> {
    let admin = &settings.admin;
    Address::of_server(settings).or_else(|error| match admin.enabled && admin.port != 0 {
        true => Ok(Address::of_listener(admin.host, admin.port, false)),
        false => Err(error),
    })
}

async fn ask(tls: ClientConfig, url: &str) -> Result<Healthy, String> {
    let http = Http::new(tls, TIMEOUT);
    match http.get(url).await {
        Ok(answer) if answer.status == 200 => Ok(health(&answer)),
        Ok(answer) => Err(refused(&answer)),
        Err(error) => Err(failed(&error)),
    }
}

/// Scheme, host and port of any URL.
fn origin(url: &str) -> Option<Address> {
    let mut url = Url::parse(url).ok()?;
    url.set_path("");
    url.set_query(None);
    url.set_fragment(None);
    Address::parse(url.as_str()).ok()
}

fn health(answer: &Answer) -> Healthy {
    match answer.body.contains("DEGRADED") {
        true => Healthy::Degraded,
        false => Healthy::Whole,
    }
}

fn refused(answer: &Answer) -> String {
    match answer.status {
        503 if answer.body.contains("STARTING") => {
            "it starts, and hasn't reached for Redis yet (status 503)".to_owned()
        }
        503 if answer.body.contains("DRAINING") => {
            "it is draining: it stops, and takes no new connections (status 503)".to_owned()
        }
        status => format!("it answered with status {status}"),
    }
}

fn failed(error: &RequestError) -> String {
    match error {
        RequestError::NotListening => {
            "nothing listens there; start it with `resound`, or say with --url (or --host and --port) where it is"
                .to_owned()
        }
        RequestError::Timeout(patience) => format!("no answer within {} s", patience.as_secs()),
        RequestError::NotHttp(reason) => format!(
            "it speaks no HTTP ({reason}); if it speaks TLS, ask with --url https://…"
        ),
        RequestError::Tls(error) => {
            format!("{error}; if it speaks no TLS, ask with --url http://…")
        }
        RequestError::Broken(reason) => reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_that_a_url_names() {
        let check = |url: &str, expected: Option<&str>| {
            let found = origin(url).map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{url}");
        };
        check("http://127.0.0.1:8080/up", Some("http://127.0.0.1:8080"));
        check(
            "https://a.example/x/up?y=1#z",
            Some("https://a.example:443"),
        );
        check("127.0.0.1:8080", None);
        check("/up", None);
        check("", None);
    }

    #[test]
    fn the_admin_listener_is_asked_where_only_proxies_are_heard() {
        let check = |toml: &str, expected: Option<&str>| {
            let settings = crate::config::from_toml(toml).expect("settings");
            let found = own(&settings).map(|address| address.to_string()).ok();
            assert_eq!(found.as_deref(), expected, "{toml}");
        };
        check("", Some("http://127.0.0.1:8080"));
        let proxied = "[server]\nproxy_protocol = true\n";
        check(proxied, Some("http://127.0.0.1:9601"));
        check(
            &format!("{proxied}plain_port = 9"),
            Some("http://127.0.0.1:9"),
        );
        check(&format!("{proxied}[admin]\nenabled = false"), None);
        check("[server]\nport = 0\n[admin]\nport = 0", None);
    }

    #[test]
    fn draining_is_told_from_other_refusals() {
        let check = |status: u16, body: &str, part: &str| {
            let answer = Answer {
                status,
                body: body.to_owned(),
                ..Answer::default()
            };
            let reason = refused(&answer);
            assert!(reason.contains(part), "{reason}");
        };
        check(503, r#"{"health":"DRAINING"}"#, "it is draining");
        check(503, r#"{"health":"STARTING"}"#, "it starts");
        check(503, "<html>", "answered with status 503");
        check(404, "", "answered with status 404");
    }
}
