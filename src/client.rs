//! The client side of the protocol, for the tools that ask a server: where it is, how it is reached, what can go wrong on
//! the way. The server itself uses only how a connection is made, to Redis.
pub mod http;
pub mod socket;
pub mod tls;

use crate::{
    apps::App,
    config::{ServerSettings, Settings},
    protocol::codes::shown,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    error::Error,
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

/// Where a server is, as a URL says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub is_tls: bool,
    /// name or IP address, IPv6 without brackets
    pub host: String,
    pub port: u16,
    /// in front of `/app` and `/apps`: "" or "/prefix"
    pub prefix: String,
    /// This machine's own server, by its settings: any certificate of its will do.
    pub is_own: bool,
}

/// What `--url` must be. `Display` is a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not where a server can be: a URL has a scheme (http or https), a host and perhaps a port and a path, such as http://127.0.0.1:8080", shown(.0, 200)
)]
pub struct NotAnAddress(pub String);

/// Why the settings name no place at which the tools can ask the server. `Display` is a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    #[error(
        "server.port is 0, so the settings don't tell the port: say with --url where the server is (its first line of output has it)"
    )]
    AnyPort,
    #[error(
        "server.proxy_protocol is on, so only a proxy can talk to the server's port: set server.plain_port (PHP on this machine needs it as well), or say with --url how to ask through the proxy"
    )]
    ProxiesOnly,
}

/// The address at which a program of the same machine reaches who listens on `host`.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        host if !host.is_unspecified() => host,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

impl Address {
    /// Takes `http`, `https`, `ws` and `wss`; ports default to 80 and 443.
    pub fn parse(text: &str) -> Result<Address, NotAnAddress> {
        let refused = || NotAnAddress(text.to_owned());
        let url = Url::parse(text).map_err(|_| refused())?;
        let is_tls = match url.scheme() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(refused()),
        };
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err(refused());
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(refused)?;
        Ok(Address {
            is_tls,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default().ok_or_else(refused)?,
            prefix: url.path().trim_end_matches('/').to_owned(),
            is_own: false,
        })
    }

    /// Where the server that these settings describe can be reached from this machine: the listener without TLS, if there
    /// is one, else the main one.
    pub fn of_server(settings: &Settings) -> Result<Address, NoAddress> {
        let ServerSettings {
            host,
            port,
            listeners,
            trusted_proxies,
            ..
        } = &settings.server;
        if let Some(plain) = listeners.plain {
            return Ok(Address::of_listener(plain.ip(), plain.port(), false));
        }
        let host = reachable(*host);
        // who connects to one of its own addresses comes from that address
        let is_proxy = |network: &ipnet::IpNet| network.contains(&host.to_canonical());
        if listeners.proxy_protocol && trusted_proxies.iter().any(is_proxy) {
            return Err(NoAddress::ProxiesOnly);
        }
        if *port == 0 {
            return Err(NoAddress::AnyPort);
        }
        Ok(Address::of_listener(
            host,
            *port,
            settings.tls.source.is_some(),
        ))
    }

    /// Where a listener of this machine's can be reached.
    pub fn of_listener(host: IpAddr, port: u16, is_tls: bool) -> Address {
        Address {
            is_tls,
            host: reachable(host).to_string(),
            port,
            prefix: String::new(),
            is_own: true,
        }
    }

    /// `https://host:443/prefix/up` for `/up`. `path` begins with a slash and is encoded already.
    pub fn http_url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme(), self.rest())
    }

    /// Where a browser opens its WebSocket; the query is pusher-js'.
    pub fn socket_url(&self, key: &str) -> String {
        let scheme = if self.is_tls { "wss" } else { "ws" };
        let key = encoded(key);
        format!(
            "{scheme}://{}/app/{key}?protocol=7&client=js&version=8.4.0&flash=false",
            self.rest()
        )
    }

    pub fn scheme(&self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }

    /// `host:port`, IPv6 in brackets
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Whether the host can't be another machine than this one.
    pub fn is_loopback(&self) -> bool {
        let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse().is_ok_and(is_loopback)
    }

    /// Whether both lead to the same place in the same way; the path isn't looked at.
    pub fn is_same_place(&self, other: &Address) -> bool {
        self.is_tls == other.is_tls
            && self.host.eq_ignore_ascii_case(&other.host)
            && self.port == other.port
    }

    fn rest(&self) -> String {
        format!("{}{}", self.authority(), self.prefix)
    }
}

/// `https://host:443/prefix`
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.http_url(""))
    }
}

/// RFC 3986's unreserved characters stay.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// `text` as a path segment or as a value in a query.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The app with this id, or the one that is meant when none is named: the Laravel app's, else the first.
pub fn find_app<'a>(settings: &'a Settings, id: Option<&str>) -> Result<&'a App, UnknownApp> {
    let laravel = settings.laravel.as_ref();
    let wanted = id.or_else(|| laravel.and_then(|laravel| laravel.app_id.as_deref()));
    let found = match wanted {
        Some(wanted) => settings.apps.iter().find(|app| app.id == wanted),
        None => settings.apps.first(),
    };
    found.ok_or_else(|| UnknownApp {
        id: wanted.unwrap_or_default().to_owned(),
        known: app_ids(settings),
    })
}

/// The ids of the apps, for sentences; at most ten.
pub fn app_ids(settings: &Settings) -> String {
    let ids: Vec<&str> = settings.apps.iter().map(|app| app.id.as_str()).collect();
    match ids.get(10..) {
        Some(more) if !more.is_empty() => {
            format!("{} and {} more", ids[..10].join(", "), more.len())
        }
        _ => ids.join(", "),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("there is no app {id} in the settings; they have {known}")]
pub struct UnknownApp {
    id: String,
    known: String,
}

/// Unix time in seconds.
pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Anything that bytes go through, plain or TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why there is no connection. `Display` is a sentence that names the place.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the name {host} leads to no address ({reason})")]
    Unresolved { host: String, reason: String },
    #[error("nothing listens at {0}: the connection was refused")]
    Refused(String),
    #[error("no connection to {at} within {} s", .patience.as_secs())]
    Timeout { at: String, patience: Duration },
    #[error("no connection to {at}: {reason}")]
    Failed { at: String, reason: String },
    #[error("no TLS with {at}: {reason}")]
    Tls {
        at: String,
        reason: String,
        /// what the TLS library said, if the handshake failed for a reason of its own
        error: Option<rustls::Error>,
    },
}

/// All addresses of a name; never empty.
pub async fn resolve(
    address: &Address,
    patience: Duration,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let unresolved = |reason: String| ConnectError::Unresolved {
        host: address.host.clone(),
        reason,
    };
    let looked_up = tokio::net::lookup_host((address.host.as_str(), address.port));
    match timeout(patience, looked_up).await {
        Err(_) => Err(unresolved(format!(
            "no answer within {} s",
            patience.as_secs()
        ))),
        Ok(Err(error)) => Err(unresolved(error.to_string())),
        Ok(Ok(found)) => {
            let found: Vec<SocketAddr> = found.collect();
            match found.is_empty() {
                true => Err(unresolved("the answer is empty".to_owned())),
                false => Ok(found),
            }
        }
    }
}

/// The first of the addresses that takes a connection.
pub async fn connect_tcp(
    address: &Address,
    found: &[SocketAddr],
    patience: Duration,
) -> Result<TcpStream, ConnectError> {
    let at = address.authority();
    match timeout(patience, TcpStream::connect(found)).await {
        Ok(Ok(stream)) => {
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(ConnectError::Refused(at))
        }
        Ok(Err(error)) => Err(ConnectError::Failed {
            at,
            reason: error.to_string(),
        }),
        Err(_) => Err(ConnectError::Timeout { at, patience }),
    }
}

/// The TLS handshake over a connection that stands.
pub async fn start_tls(
    address: &Address,
    stream: TcpStream,
    tls: &Arc<ClientConfig>,
    patience: Duration,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ConnectError> {
    let at = address.authority();
    let failed = |reason: String, error| ConnectError::Tls {
        at: at.clone(),
        reason,
        error,
    };
    let name = ServerName::try_from(address.host.clone());
    let name = name.map_err(|error| failed(error.to_string(), None))?;
    let connector = tokio_rustls::TlsConnector::from(tls.clone());
    match timeout(patience, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(failed(error.to_string(), tls::error_in(&error).cloned())),
        Err(_) => Err(failed(
            format!("no answer to the handshake within {} s", patience.as_secs()),
            None,
        )),
    }
}

/// Name, connection and, if the address asks for it, TLS. `patience` is for each of the steps.
pub async fn connect(
    address: &Address,
    tls: &Arc<ClientConfig>,
    patience: Duration,
) -> Result<Box<dyn Stream>, ConnectError> {
    let found = resolve(address, patience).await?;
    let stream = connect_tcp(address, &found, patience).await?;
    match address.is_tls {
        true => Ok(Box::new(start_tls(address, stream, tls, patience).await?)),
        false => Ok(Box::new(stream)),
    }
}

/// An error and its causes, the innermost last. What an `io::Error` was made of counts, which its `source` leaves out.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let made_of = error.downcast_ref().and_then(io::Error::get_ref);
        let made_of = made_of.map(|inner| inner as &(dyn Error + 'static));
        made_of.or_else(|| error.source())
    })
}

/// A runtime for a tool, which ends with `work` whatever still waits for a name to be looked up.
pub fn block_on<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(result)
}

/// Text of a server in a line for people: control characters are shown as escapes, so that nobody's terminal obeys them.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() || c == '\u{2028}' || c == '\u{2029}' {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_addresses() {
        let check = |text: &str, expected: Option<&str>| {
            let parsed = Address::parse(text).ok();
            let shown = parsed.map(|address| address.to_string());
            assert_eq!(shown.as_deref(), expected, "{text}");
        };
        check("http://127.0.0.1:8080", Some("http://127.0.0.1:8080"));
        check("http://127.0.0.1:8080/", Some("http://127.0.0.1:8080"));
        check("HTTPS://WS.example.com", Some("https://ws.example.com:443"));
        check(
            "wss://a.example/reverb/",
            Some("https://a.example:443/reverb"),
        );
        check("ws://a.example", Some("http://a.example:80"));
        check("http://[::1]:9", Some("http://[::1]:9"));
        for wrong in [
            "",
            "localhost",
            "localhost:8080",
            "127.0.0.1:8080",
            "ftp://a.example",
            "http://",
            "http://a.example:99999",
            "http://user:password@a.example",
            "http://a.example/?x=1",
            "http://a.example/#x",
            "http://a b",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_socket_has_the_url_of_pusher_js() {
        let address = Address::parse("https://[::1]:9/ws").expect("an address");
        assert_eq!(
            address.socket_url("a b"),
            "wss://[::1]:9/ws/app/a%20b?protocol=7&client=js&version=8.4.0&flash=false"
        );
    }

    #[test]
    fn the_servers_own_address() {
        let check = |toml: &str, expected: &str| {
            let settings = crate::config::from_toml(toml).expect("settings");
            let found = Address::of_server(&settings).map(|address| address.to_string());
            let found = found.unwrap_or_else(|error| error.to_string());
            assert!(found.starts_with(expected), "{toml}: {found}");
        };
        check("", "http://127.0.0.1:8080");
        check("[server]\nhost = \"::1\"\nport = 9", "http://[::1]:9");
        let app = "[[apps]]\nid = \"7\"\nkey = \"k\"\nsecret = \"s\"\n";
        check(app, "http://127.0.0.1:8080");
        check(
            &format!("{app}[server]\nhost = \"::\""),
            "http://[::1]:8080",
        );
        let tls = "[tls]\ncertificate = 'a.pem'\n";
        check(tls, "https://127.0.0.1:8080");
        check(&format!("{tls}[server]\nport = 0"), "server.port is 0");
        check(
            &format!("{tls}[server]\nport = 0\nplain_port = 9"),
            "http://127.0.0.1:9",
        );
        let proxied = "[server]\nproxy_protocol = true\n";
        check(proxied, "server.proxy_protocol is on");
        check(&format!("{proxied}plain_port = 9"), "http://127.0.0.1:9");
        // not from one of the proxies, so no header is expected
        check(
            &format!("{app}{proxied}host = '10.0.0.1'\ntrusted_proxies = ['127.0.0.0/8']"),
            "http://10.0.0.1:8080",
        );
    }

    #[test]
    fn the_app_that_is_meant() {
        let app = |id: u32| format!("[[apps]]\nid = {id}\nkey = 'k{id}'\nsecret = 's'\n");
        let text: String = (1..=12).map(app).collect();
        let mut settings = crate::config::from_toml(&text).expect("settings");
        let found = |settings: &Settings, id: Option<&str>| {
            find_app(settings, id).map(|app| app.id.clone()).ok()
        };
        assert_eq!(found(&settings, None).as_deref(), Some("1"));
        assert_eq!(found(&settings, Some("2")).as_deref(), Some("2"));
        settings.laravel = Some(crate::config::LaravelApp {
            app_id: Some("3".to_owned()),
            ..Default::default()
        });
        assert_eq!(found(&settings, None).as_deref(), Some("3"));
        assert_eq!(found(&settings, Some("2")).as_deref(), Some("2"));
        let error = find_app(&settings, Some("99")).map(|app| &app.id);
        assert_eq!(
            error.expect_err("no such app").to_string(),
            "there is no app 99 in the settings; they have 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more"
        );
    }

    #[test]
    fn what_a_server_says_stays_in_its_line() {
        assert_eq!(
            one_line("a\nb\u{1b}[31m\u{2028}é"),
            "a\\nb\\u{1b}[31m\\u{2028}é"
        );
    }
}
