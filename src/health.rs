//! `resound health`: asks a running server whether it is up, for `HEALTHCHECK` in images that hold nothing but the binary.

use std::{net::IpAddr, time::Duration};

use crate::config::Settings;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a server counts as unhealthy.
#[derive(Debug, thiserror::Error)]
#[error("{url} doesn't answer as a healthy server would: {reason}")]
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
        .build()
        .new_agent();
    match agent.get(&url).call() {
        Ok(answer) if answer.status() == 200 => Ok(()),
        Ok(answer) => Err(Unhealthy {
            reason: format!("status {}", answer.status()),
            url,
        }),
        Err(error) => Err(Unhealthy {
            reason: error.to_string(),
            url,
        }),
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
