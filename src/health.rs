//! `resound health`: asks a running server whether it is up, for `HEALTHCHECK` in images that hold nothing but the binary.

use std::{io::ErrorKind, net::IpAddr, time::Duration};

use crate::config::Settings;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a server counts as unhealthy.
#[derive(Debug, thiserror::Error)]
#[error("no healthy server at {url}: {reason}")]
pub struct Unhealthy {
    url: String,
    reason: String,
}

/// Succeeds if `url` answers with 200; by default `/up` of the server that these settings describe.
pub fn check(settings: &Settings, url: Option<&str>) -> Result<(), Unhealthy> {
    let url = url.map_or_else(|| own_url(settings), str::to_owned);
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .http_status_as_error(false)
        // The server is on this machine: a proxy named by HTTP_PROXY would look for it elsewhere.
        .proxy(None)
        .build()
        .new_agent();
    let reason = match agent.get(&url).call() {
        Ok(answer) if answer.status() == 200 => return Ok(()),
        Ok(answer) => format!("it answered with status {}", answer.status().as_u16()),
        Err(error) => reason(&error),
    };
    Err(Unhealthy { url, reason })
}

fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            "nothing listens there; start it with `resound`, or say with --url (or --host and --port) where it is"
                .to_owned()
        }
        ureq::Error::Timeout(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            "--url must be a whole URL, such as http://127.0.0.1:8080/up".to_owned()
        }
        ureq::Error::TlsRequired => {
            "this check speaks no TLS: ask the server itself, not the proxy in front of it"
                .to_owned()
        }
        other => other.to_string(),
    }
}

fn own_url(settings: &Settings) -> String {
    let host = match settings.server.host {
        host if !host.is_unspecified() => host,
        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    };
    let address = std::net::SocketAddr::new(host, settings.server.port);
    format!("http://{address}/up")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_where_the_settings_listen() {
        let check = |toml: &str, expected: &str| {
            let settings = crate::config::from_toml(toml).expect("settings");
            assert_eq!(own_url(&settings), expected);
        };
        check("", "http://127.0.0.1:8080/up");
        check("[server]\nhost = \"::1\"\nport = 9", "http://[::1]:9/up");
        let app = "[[apps]]\nid = \"7\"\nkey = \"k\"\nsecret = \"s\"\n";
        check(app, "http://127.0.0.1:8080/up");
        check(
            &format!("{app}[server]\nhost = \"::\""),
            "http://[::1]:8080/up",
        );
    }
}
