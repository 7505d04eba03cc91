//! The `[cluster]` section: whether this server shares channels, presence and users with others over Redis, where that Redis is, and
//! how much may wait for it. Where Redis is can also be said in Laravel's and in soketi's words. Connecting is left to
//! [`crate::cluster`].
mod place;
#[cfg(test)]
pub(super) mod tests;
mod url;

pub(super) use place::{CONNECTION, Sources, elsewhere, of_laravel, prefix_of_channel};
pub(super) use url::masked;

use super::{
    error::ConfigError,
    layers::DEFAULT_ORIGIN,
    section::{BYTES_MAX, Section},
};
use config::ValueKind;
use std::{fmt, path::PathBuf, time::Duration};
use url::RedisUrl;

/// How this server takes part in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub redis: Redis,
    /// in front of every name in Redis; no braces, blanks or colons at the end
    pub prefix: String,
    /// a server that gives no sign of life for three of these is dead to the others
    pub heartbeat: Duration,
    pub connect_timeout: Duration,
    pub answer_timeout: Duration,
    /// between two attempts to connect
    pub retry: Duration,
    /// of events that wait while Redis is away
    pub backlog_bytes_max: usize,
    pub backlog_age_max: Duration,
    /// events of each channel that Redis remembers for servers whose connection was away; 0 = none
    pub history_events_max: u32,
    /// how long, from a channel's last event on
    pub history_age_max: Duration,
    /// events on their way to Redis at one time; publishers wait then, and get 503 in the end
    pub publishes_max: usize,
    /// of Redis's messages that wait in the process
    pub inbound_bytes_max: usize,
    /// whether `/ready` says yes while Redis is away
    pub ready_when_degraded: bool,
}

/// Where Redis is, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    pub servers: RedisServers,
    pub login: Login,
    /// 0 in a Redis Cluster
    pub database: u32,
    /// for those addresses that are asked with TLS
    pub tls: RedisTls,
}

/// Which servers are asked first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisServers {
    One(RedisAddress),
    /// they know where the master is
    Sentinels {
        /// at least one
        addresses: Vec<RedisAddress>,
        /// what they call the master
        master: String,
        /// of the master; each Sentinel's address has its own
        is_tls: bool,
        /// at the Sentinels; `Redis::login` is the master's
        login: Login,
    },
    /// some nodes of a Redis Cluster, at least one; all with TLS or none
    Cluster(Vec<RedisAddress>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisAddress {
    Tcp {
        /// name or IP address, IPv6 without brackets
        host: String,
        port: u16,
        is_tls: bool,
    },
    Unix(PathBuf),
}

/// Who logs in; without a password nobody does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    pub username: Option<String>,
    pub password: Option<Password>,
}

/// Prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Files with certificates, PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// believed instead of those the system believes
    pub ca: Option<PathBuf>,
    pub client: Option<ClientCertificate>,
}

/// With which this server shows who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub certificate: PathBuf,
    /// the certificate's own file if that holds both
    pub key: PathBuf,
}

impl Password {
    /// For those who have to send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl RedisServers {
    /// Whether any of them is asked with TLS.
    pub fn use_tls(&self) -> bool {
        match self {
            RedisServers::One(address) => address.is_tls(),
            RedisServers::Cluster(addresses) => addresses.iter().any(RedisAddress::is_tls),
            RedisServers::Sentinels {
                addresses, is_tls, ..
            } => *is_tls || addresses.iter().any(RedisAddress::is_tls),
        }
    }
}

impl Redis {
    /// Redis's, then the Sentinels'.
    pub fn passwords(&self) -> [Option<&Password>; 2] {
        let of_sentinels = match &self.servers {
            RedisServers::Sentinels { login, .. } => login.password.as_ref(),
            RedisServers::One(_) | RedisServers::Cluster(_) => None,
        };
        [self.login.password.as_ref(), of_sentinels]
    }
}

impl RedisAddress {
    pub fn is_tls(&self) -> bool {
        matches!(self, RedisAddress::Tcp { is_tls: true, .. })
    }
}

/// `HOST:PORT` or the path of a socket, for messages.
impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RedisAddress::Tcp { host, port, .. } if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            RedisAddress::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            RedisAddress::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// `None`: this server is alone. What is wrong is refused all the same.
pub(super) fn settings(
    section: &Section<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<Cluster>, ConfigError> {
    let cluster = Cluster {
        redis: redis(section)?,
        prefix: prefix(section)?,
        heartbeat: section.seconds("heartbeat_s", 1..=300)?,
        connect_timeout: section.milliseconds("connect_timeout_ms", 10..=600_000)?,
        answer_timeout: section.milliseconds("answer_timeout_ms", 10..=600_000)?,
        retry: section.milliseconds("retry_ms", 10..=60_000)?,
        backlog_bytes_max: section.usize("backlog_bytes_max", 0..=BYTES_MAX)?,
        backlog_age_max: section.seconds("backlog_age_max_s", 1..=86_400)?,
        history_events_max: section.u32("history_events_max", 0..=100_000)?,
        history_age_max: section.seconds("history_age_max_s", 1..=86_400)?,
        publishes_max: section.usize("publishes_max", 16..=16_777_216)?,
        inbound_bytes_max: section.usize("inbound_bytes_max", 65_536..=BYTES_MAX)?,
        ready_when_degraded: section.switch("ready_when_degraded")?,
    };
    if section.switch("enabled")? {
        return Ok(Some(cluster));
    }
    for key in place::PLACE {
        let value = section.value(key)?;
        let origin = value.origin().unwrap_or(DEFAULT_ORIGIN);
        if origin != DEFAULT_ORIGIN && !is_empty(value) {
            warnings.push(format!(
                "cluster.{key} is set in {origin}, but cluster.enabled is off: this server runs alone"
            ));
            break;
        }
    }
    Ok(None)
}

fn is_empty(value: &config::Value) -> bool {
    match &value.kind {
        ValueKind::String(text) => text.is_empty(),
        ValueKind::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn redis(section: &Section<'_>) -> Result<Redis, ConfigError> {
    one_way_only(section)?;
    let is_tls = section.switch("tls")?;
    let nodes = addresses(section, "nodes", is_tls, url::PORT)?;
    let sentinels = addresses(section, "sentinels", is_tls, url::SENTINEL_PORT)?;
    let at_master = login(section, "username", "password")?;
    let at_sentinels = login(section, "sentinel_username", "sentinel_password")?;
    let master = master(section)?;
    let one = one(section, is_tls)?;
    let of_setting = section.u32("database", 0..=65_535)?;

    let (servers, login, database) = if !nodes.is_empty() {
        let login = login_of(&nodes, at_master);
        let servers = RedisServers::Cluster(cluster(section, nodes, is_tls)?);
        (servers, login, None)
    } else if !sentinels.is_empty() {
        let servers = RedisServers::Sentinels {
            login: login_of(&sentinels, at_sentinels),
            addresses: sentinels.into_iter().map(|url| url.address).collect(),
            master,
            is_tls,
        };
        (servers, at_master, None)
    } else {
        let servers = RedisServers::One(one.address);
        (servers, one.login.over(at_master), one.database)
    };
    if of_setting > 0 && matches!(servers, RedisServers::Cluster(_)) {
        let allowed = "0 with cluster.nodes: a Redis Cluster has no other";
        return Err(section.invalid("database", allowed)?);
    }
    Ok(Redis {
        tls: tls(section, &servers)?,
        servers,
        login,
        database: database.unwrap_or(of_setting),
    })
}

/// The one server, by its URL or by the parts of its address.
fn one(section: &Section<'_>, is_tls: bool) -> Result<RedisUrl, ConfigError> {
    let host = section.text("host")?;
    let Ok(text) = section.text("url") else {
        return Err(refused(section, "url", url::ALLOWED)?);
    };
    let port = section.integer("port", 1..=u16::MAX.into())?;
    let port = u16::try_from(port).unwrap_or(url::PORT);
    let (key, url, allowed) = match text {
        "" => ("host", RedisUrl::of_host(host, port), url::ALLOWED_HOST),
        text => (
            "url",
            RedisUrl::parse(text, is_tls, url::PORT),
            url::ALLOWED,
        ),
    };
    match url {
        Some(url) => Ok(url.with_tls(is_tls)),
        None => Err(refused(section, key, allowed)?),
    }
}

fn cluster(
    section: &Section<'_>,
    nodes: Vec<RedisUrl>,
    is_tls: bool,
) -> Result<Vec<RedisAddress>, ConfigError> {
    let nodes = nodes.into_iter().map(|url| url.with_tls(is_tls).address);
    let nodes: Vec<RedisAddress> = nodes.collect();
    let secure = nodes.iter().filter(|address| address.is_tls()).count();
    match secure == 0 || secure == nodes.len() {
        true => Ok(nodes),
        false => {
            let allowed = "all with TLS (rediss://) or all without";
            Err(refused(section, "nodes", allowed)?)
        }
    }
}

/// Redis is one server, one that Sentinels know, or a Redis Cluster.
fn one_way_only(section: &Section<'_>) -> Result<(), ConfigError> {
    let mut named = Vec::new();
    for key in ["url", "sentinels", "nodes"] {
        if !is_empty(section.value(key)?) {
            named.push(key);
        }
    }
    let [first, second, ..] = named[..] else {
        return Ok(());
    };
    let origin = section.value(first)?.origin().unwrap_or(DEFAULT_ORIGIN);
    let allowed = format!(
        "empty as long as cluster.{first} is set (in {origin}): Redis is one server (url), one that Sentinels know (sentinels) or a Redis Cluster (nodes)"
    );
    Err(refused(section, second, &allowed)?)
}

fn addresses(
    section: &Section<'_>,
    key: &str,
    is_tls: bool,
    port: u16,
) -> Result<Vec<RedisUrl>, ConfigError> {
    let Ok(texts) = section.list(key) else {
        return Err(refused(section, key, "a list of URLs in quotes")?);
    };
    let parse = |text: &str| {
        let url = RedisUrl::parse(text, is_tls, port)?;
        let is_tcp = matches!(url.address, RedisAddress::Tcp { .. });
        (is_tcp && url.database.unwrap_or(0) == 0).then_some(url)
    };
    let texts = texts.into_iter().filter(|text| !text.trim().is_empty());
    match texts.map(parse).collect() {
        Some(urls) => Ok(urls),
        None => Err(refused(
            section,
            key,
            "a list of addresses such as redis://10.0.0.1:6379 or rediss://… with TLS, without a database; in passwords, what isn't a letter or digit is written %XX",
        )?),
    }
}

fn login(section: &Section<'_>, username: &str, password: &str) -> Result<Login, ConfigError> {
    let username = section.text(username)?;
    Ok(Login {
        username: (!username.is_empty()).then(|| username.to_owned()),
        password: secret(section, password)?,
    })
}

/// What a list's addresses say, else `otherwise`.
fn login_of(urls: &[RedisUrl], otherwise: Login) -> Login {
    let said = urls.iter().find(|url| url.login.password.is_some());
    match said {
        Some(url) => url.login.clone().over(otherwise),
        None => otherwise,
    }
}

impl Login {
    /// What is missing here comes from there, each for itself, as in Laravel.
    fn over(self, other: Login) -> Login {
        Login {
            username: self.username.or(other.username),
            password: self.password.or(other.password),
        }
    }
}

/// The password itself must be in no message.
fn secret(section: &Section<'_>, key: &str) -> Result<Option<Password>, ConfigError> {
    let value = section.value(key)?;
    match &value.kind {
        ValueKind::String(text) => Ok(Password::new(text)),
        _ => Err(ConfigError::Invalid {
            setting: section.setting(key),
            value: "not usable".to_owned(),
            origin: value.origin().unwrap_or(DEFAULT_ORIGIN).to_owned(),
            allowed: "a text in quotes".to_owned(),
        }),
    }
}

impl Password {
    /// `None` of an empty one.
    fn new(text: &str) -> Option<Password> {
        (!text.is_empty()).then(|| Password(text.to_owned()))
    }
}

fn master(section: &Section<'_>) -> Result<String, ConfigError> {
    let name = section.text("sentinel_master")?;
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let allowed = "the name by which the Sentinels know the master, such as mymaster";
        return Err(section.invalid("sentinel_master", allowed)?);
    }
    Ok(name.to_owned())
}

fn tls(section: &Section<'_>, servers: &RedisServers) -> Result<RedisTls, ConfigError> {
    let file = |key: &str| {
        let text = section.text(key)?;
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    };
    for key in ["tls_ca", "tls_certificate", "tls_key"] {
        if !servers.use_tls() && file(key)?.is_some() {
            let allowed = "empty as long as Redis is asked without TLS (cluster.tls, or a URL with rediss://)";
            return Err(section.invalid(key, allowed)?);
        }
    }
    let client = match (file("tls_certificate")?, file("tls_key")?) {
        (None, Some(_)) => {
            let allowed = "empty as long as cluster.tls_certificate is: a key alone is of no use";
            return Err(section.invalid("tls_key", allowed)?);
        }
        (certificate, key) => certificate.map(|certificate| ClientCertificate {
            key: key.unwrap_or_else(|| certificate.clone()),
            certificate,
        }),
    };
    Ok(RedisTls {
        ca: file("tls_ca")?,
        client,
    })
}

/// `app:` and `app` are the same prefix: a colon follows anyway.
fn prefix(section: &Section<'_>) -> Result<String, ConfigError> {
    let text = section.text("prefix")?.trim_end_matches(':');
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"{}".contains(&byte);
    // It is in every name, and in memory with each of them.
    if text.is_empty() || text.len() > 100 || !text.bytes().all(is_plain) {
        let allowed = "1 to 100 visible ASCII characters, no blanks and no braces";
        return Err(section.invalid("prefix", allowed)?);
    }
    Ok(text.to_owned())
}

/// The error for a value that may have a password in it.
fn refused(section: &Section<'_>, key: &str, allowed: &str) -> Result<ConfigError, ConfigError> {
    let value = section.value(key)?;
    Ok(ConfigError::Invalid {
        setting: section.setting(key),
        value: url::without_passwords(value),
        origin: value.origin().unwrap_or(DEFAULT_ORIGIN).to_owned(),
        allowed: allowed.to_owned(),
    })
}
