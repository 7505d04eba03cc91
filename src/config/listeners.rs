//! The rest of the `[server]` section: what is listened on besides the main address, and how the server stops.
use super::{error::ConfigError, section::Section};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// Connections need not be closed more slowly than this for the sake of those who have to take them back.
const SPREAD_PER_CONNECTION: Duration = Duration::from_millis(10);

/// Ways in besides `server.host` and `server.port`, and what is expected there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// trusted proxies begin each connection with a PROXY protocol header
    pub proxy_protocol: bool,
    /// never TLS, never a PROXY protocol header: for PHP on this machine
    pub plain: Option<SocketAddr>,
    pub unix_socket: Option<PathBuf>,
    /// permission bits of its file
    pub unix_socket_mode: u32,
}

/// How open connections are closed at a stop; `server.drain_s` is the time they are spread over otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// between failing readiness and the first closed connection
    pub delay: Duration,
    /// connections closed in a second
    pub rate_per_s: Option<u32>,
    /// after the first closed connection; then what is left is cut
    pub deadline: Duration,
}

impl Stopping {
    /// How long closing this many connections takes. `spread`: `server.drain_s`, of which few connections don't need
    /// all.
    pub fn time_for(&self, connections: usize, spread: Duration) -> Duration {
        let connections = u32::try_from(connections).unwrap_or(u32::MAX);
        match self.rate_per_s {
            None => spread.min(SPREAD_PER_CONNECTION.saturating_mul(connections)),
            Some(rate) => Duration::from_secs_f64(f64::from(connections) / f64::from(rate)),
        }
    }
}

/// `is_published`: an app has the development secret, which must not be reachable from elsewhere.
pub(super) fn listeners(
    section: &Section<'_>,
    is_published: bool,
) -> Result<Listeners, ConfigError> {
    let unix_socket = section.text("unix_socket")?;
    Ok(Listeners {
        proxy_protocol: section.switch("proxy_protocol")?,
        plain: plain(section, is_published)?,
        unix_socket: (!unix_socket.is_empty()).then(|| unix_socket.into()),
        unix_socket_mode: mode(section)?,
    })
}

fn plain(section: &Section<'_>, is_published: bool) -> Result<Option<SocketAddr>, ConfigError> {
    let port = section.integer("plain_port", 0..=u16::MAX.into())?;
    let text = section.text("plain_host")?;
    let host: IpAddr = match text.trim_start_matches('[').trim_end_matches(']') {
        name if name.eq_ignore_ascii_case("localhost") => [127, 0, 0, 1].into(),
        address => match address.parse() {
            Ok(address) => address,
            Err(_) => return Err(section.invalid("plain_host", "an IP address or localhost")?),
        },
    };
    if is_published && !host.to_canonical().is_loopback() {
        let allowed =
            "127.0.0.1 or ::1 as long as an app has the development key, which everybody knows";
        return Err(section.invalid("plain_host", allowed)?);
    }
    let port = u16::try_from(port).unwrap_or_default();
    Ok((port > 0).then(|| SocketAddr::new(host, port)))
}

fn mode(section: &Section<'_>) -> Result<u32, ConfigError> {
    let text = section.text("unix_socket_mode")?;
    let mode = u32::from_str_radix(text.trim_start_matches("0o"), 8);
    match mode {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err(section.invalid(
            "unix_socket_mode",
            "octal digits in quotes such as \"0660\"",
        )?),
    }
}

pub(super) fn stopping(
    section: &Section<'_>,
    drain: Duration,
    warnings: &mut Vec<String>,
) -> Result<Stopping, ConfigError> {
    let stopping = Stopping {
        delay: section.seconds("drain_delay_s", 0..=3_600)?,
        rate_per_s: section.limit("drain_rate_per_s")?,
        deadline: section.seconds("drain_deadline_s", 1..=7_200)?,
    };
    if stopping.rate_per_s.is_none() && stopping.deadline < drain {
        warnings.push(format!(
            "server.drain_deadline_s is {}, less than server.drain_s, which is {}: at a stop connections whose turn comes later are cut without a word",
            stopping.deadline.as_secs(),
            drain.as_secs()
        ));
    }
    Ok(stopping)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ServerSettings, from_toml};

    fn server(lines: &str) -> Result<ServerSettings, String> {
        let settings = from_toml(&format!("[server]\n{lines}"));
        settings
            .map(|settings| settings.server)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_else_is_listened_on_by_default() {
        let expected = Listeners {
            proxy_protocol: false,
            plain: None,
            unix_socket: None,
            unix_socket_mode: 0o660,
        };
        assert_eq!(server("").expect("defaults").listeners, expected);
    }

    #[test]
    fn further_listeners() {
        let server = server(
            "plain_port = 8081\nunix_socket = '/run/resound/socket'\nunix_socket_mode = '0o600'\nproxy_protocol = true",
        );
        let expected = Listeners {
            proxy_protocol: true,
            plain: Some(([127, 0, 0, 1], 8081).into()),
            unix_socket: Some("/run/resound/socket".into()),
            unix_socket_mode: 0o600,
        };
        assert_eq!(server.expect("settings").listeners, expected);
    }

    #[test]
    fn wrong_listeners_are_refused() {
        let check = |lines: &str, named: &str| {
            let error = server(lines).expect_err(lines);
            assert!(error.contains(named), "{lines}: {error}");
        };
        check("plain_host = 'example.com'", "server.plain_host");
        check("plain_host = '0.0.0.0'", "development key");
        check("plain_port = 65536", "server.plain_port");
        for mode in ["", "rw", "888", "01777", "-1"] {
            check(
                &format!("unix_socket_mode = '{mode}'"),
                "server.unix_socket_mode",
            );
        }
        check("drain_deadline_s = 0", "server.drain_deadline_s");
    }

    #[test]
    fn a_rate_decides_how_long_a_drain_takes() {
        let stopping = server("drain_rate_per_s = 100").expect("settings").stopping;
        let spread = Duration::from_secs(5);
        assert_eq!(stopping.time_for(50, spread), Duration::from_millis(500));
        assert_eq!(stopping.time_for(0, spread), Duration::ZERO);
        let stopping = server("").expect("settings").stopping;
        assert_eq!(stopping.time_for(5_000, spread), spread);
        assert_eq!(stopping.time_for(50, spread), Duration::from_millis(500));
        assert_eq!(stopping.time_for(usize::MAX, spread), spread);
    }

    #[test]
    fn a_deadline_before_the_last_close_is_warned_about() {
        let settings = from_toml("[server]\ndrain_s = 60").expect("settings");
        let [warning] = &settings.warnings[..] else {
            panic!("{:?}", settings.warnings);
        };
        assert!(
            warning.contains("server.drain_deadline_s is 30"),
            "{warning}"
        );
    }
}
