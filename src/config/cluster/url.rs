//! A Redis server's URL, as `redis-cli`, Laravel (`tcp://`, `tls://`) and Valkey write them, and how it is shown without its
//! password.
use super::{Login, Password, RedisAddress};
use crate::config::layers::shown;
use config::{Value, ValueKind};
use percent_encoding::percent_decode_str;
use std::{net::Ipv6Addr, path::PathBuf};

pub(super) const PORT: u16 = 6379;
pub(super) const SENTINEL_PORT: u16 = 26379;

pub(super) const ALLOWED: &str = "a URL such as redis://USER:PASSWORD@HOST:6379/0, rediss://… with TLS or redis+unix:///path/of/socket; in USER and PASSWORD, what isn't a letter or digit is written %XX";

pub(super) const ALLOWED_HOST: &str = "a host name, an IP address or the path of a Unix socket, with tls:// in front if Redis is to be asked with TLS";

/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RedisUrl {
    pub(super) address: RedisAddress,
    pub(super) login: Login,
    pub(super) database: Option<u32>,
}

impl RedisUrl {
    /// `HOST:PORT` will do as well: then `is_tls` decides.
    pub(super) fn parse(text: &str, is_tls: bool, port: u16) -> Option<RedisUrl> {
        // A fragment: whoever has a # in a password means more than what is before it.
        if text.contains('#') {
            return None;
        }
        let (scheme, rest) = text.trim().split_once("://").unwrap_or(("", text.trim()));
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "redis" | "valkey" | "tcp" => false,
            "rediss" | "valkeys" | "tls" => true,
            "" => is_tls,
            "redis+unix" | "valkey+unix" | "unix" => return RedisUrl::of_socket(rest),
            _ => return None,
        };
        let (authority, tail) = match rest.find(['/', '?']) {
            Some(end) => rest.split_at(end),
            None => (rest, ""),
        };
        let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        let database = match path.trim_matches('/') {
            "" => Query(query).database()?,
            number => Some(number.parse().ok()?),
        };
        let (host, port) = host_and_port(place, port)?;
        Some(RedisUrl {
            address: RedisAddress::Tcp { host, port, is_tls },
            login: login(user)?,
            database,
        })
    }

    /// What stands where a host is expected: Laravel's users write schemes and paths of sockets there.
    pub(super) fn of_host(text: &str, port: u16) -> Option<RedisUrl> {
        let text = text.trim();
        if text.starts_with('/') {
            return RedisUrl::of_socket(text);
        }
        if text.contains("://") {
            return RedisUrl::parse(text, false, port);
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return RedisUrl::parse(&format!("[{text}]"), false, port);
        }
        let is_host = is_host(text) || text.starts_with('[');
        RedisUrl::parse(text, false, port).filter(|_| is_host)
    }

    /// `/path?db=1&user=…&pass=…`
    fn of_socket(text: &str) -> Option<RedisUrl> {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let query = Query(query);
        let is_path = path.starts_with('/') && path.len() > 1 && !path.contains('\0');
        is_path.then_some(RedisUrl {
            address: RedisAddress::Unix(PathBuf::from(path)),
            login: Login {
                username: query.get("user").filter(|user| !user.is_empty()),
                password: query.get("pass").and_then(|text| Password::new(&text)),
            },
            database: query.database()?,
        })
    }

    /// With TLS if that is wanted for all of them.
    pub(super) fn with_tls(mut self, is_wanted: bool) -> RedisUrl {
        if let RedisAddress::Tcp { is_tls, .. } = &mut self.address {
            *is_tls |= is_wanted;
        }
        self
    }
}

struct Query<'a>(&'a str);

impl Query<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.0.as_bytes());
        let found = pairs.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    }

    /// `Some(None)`: none is named. `None`: what is named is none.
    fn database(&self) -> Option<Option<u32>> {
        match self.get("db").or_else(|| self.get("database")) {
            Some(number) => number.parse().ok().map(Some),
            None => Some(None),
        }
    }
}

fn login(text: &str) -> Option<Login> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let decode = |text| percent_decode_str(text).decode_utf8().ok();
    let user = decode(user)?;
    Some(Login {
        username: (!user.is_empty()).then(|| user.into_owned()),
        password: Password::new(&decode(password)?),
    })
}

fn host_and_port(text: &str, otherwise: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, port)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (host, port) = text.split_at(end);
            is_host(host).then_some((host, port))?
        }
    };
    let port = match port {
        "" | ":" => otherwise,
        port => port.strip_prefix(':')?.parse().ok()?,
    };
    (port > 0).then(|| (host.to_owned(), port))
}

/// Names of containers have underscores.
fn is_host(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.len() <= 253 && text.bytes().all(is_plain)
}

/// How `resound config` shows a setting that may have a password in it; `None` of one that can't.
pub(in crate::config) fn masked(path: &str, value: &Value) -> Option<String> {
    match path {
        "cluster.password" | "cluster.sentinel_password" => {
            let is_empty = matches!(&value.kind, ValueKind::String(text) if text.is_empty());
            Some(if is_empty { "\"\"" } else { "****" }.to_owned())
        }
        "cluster.url" | "cluster.host" | "cluster.sentinels" | "cluster.nodes" => {
            Some(without_passwords(value))
        }
        _ => None,
    }
}

/// As [`shown`], but for passwords in URLs.
pub(super) fn without_passwords(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => format!("{:?}", without_password(text)),
        ValueKind::Array(list) => {
            let list: Vec<String> = list.iter().map(without_passwords).collect();
            format!("[{}]", list.join(", "))
        }
        _ => shown(value),
    }
}

fn without_password(text: &str) -> String {
    let end = text.rfind('@');
    let scheme = text.find("://").map(|at| at + 3);
    let start = scheme
        .filter(|start| end.is_none_or(|end| *start <= end))
        .unwrap_or(0);
    if let Some(end) = end {
        let user = text[start..end].split(':').next().unwrap_or_default();
        return format!("{}{user}:****{}", &text[..start], &text[end..]);
    }
    if let Some(at) = text.find("pass").filter(|_| text.contains('?')) {
        return format!("{}pass=****", &text[..at]);
    }
    // `redis://u:hush`, its host forgotten: what stands in a port's place is no port
    let rest = &text[start..];
    let port = rest.rfind(':').filter(|_| !rest.contains(['[', '/']));
    match port.map(|at| rest.split_at(at + 1)) {
        Some((name, port)) if !port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{}{name}****", &text[..start])
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    #[test]
    fn urls_in_all_their_spellings() {
        let check = |text: &str, expected: &str| {
            let url = RedisUrl::parse(text, false, PORT).unwrap_or_else(|| panic!("{text}"));
            let user = url.login.username.as_deref().unwrap_or("-");
            let password = url.login.password.as_ref().map_or("-", Password::reveal);
            let database = url
                .database
                .map_or("-".to_owned(), |number| number.to_string());
            let tls = if url.address.is_tls() { " tls" } else { "" };
            let found = format!("{} {user} {password} {database}{tls}", url.address);
            assert_eq!(found, expected, "{text}");
        };
        check("redis://127.0.0.1", "127.0.0.1:6379 - - -");
        check("redis://redis_1:7/", "redis_1:7 - - -");
        check("REDISS://a.example:7/3", "a.example:7 - - 3 tls");
        check("valkeys://a", "a:6379 - - - tls");
        check("tcp://a:1?database=2", "a:1 - - 2");
        check("tls://a:1?read_timeout=60", "a:1 - - - tls");
        check("redis://user:p%40s%2Fs@a", "a:6379 user p@s/s -");
        check("redis://:p:w@[::1]:8/0", "[::1]:8 - p:w 0");
        check("a", "a:6379 - - -");
        check("10.0.0.1:26379", "10.0.0.1:26379 - - -");
        check(
            "redis+unix:///run/redis.sock?db=2&user=u&pass=p%26",
            "/run/redis.sock u p& 2",
        );
        check("unix:///run/redis.sock", "/run/redis.sock - - -");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "redis://",
            "http://a",
            "redis://a:0",
            "redis://a:65536",
            "redis://a:x",
            "redis://a/x",
            "redis://a/-1",
            "redis://a?db=x",
            "redis://a b",
            "redis://a#b",
            "redis://u:p#w@a/",
            "redis://u:p/w@a",
            "redis://u:%ff@a",
            "redis://[::1",
            "redis://[a]",
            "redis://::1",
            "redis+unix://run/redis.sock",
            "redis+unix:///",
            "a b",
        ] {
            let found = RedisUrl::parse(text, false, PORT);
            assert_eq!(found, None, "{text}");
        }
    }

    #[test]
    fn no_text_is_too_odd() {
        let mut random = SmallRng::seed_from_u64(6379);
        let parts = [
            "redis", "://", "unix", "@", ":", "/", "?", "db=", "pass=", "[", "]", "::1", "%", "%4",
            "#", "é", "\0", "9", "65536", " ", "a",
        ];
        for _ in 0..20_000 {
            let count = random.random_range(0..9);
            let text: String = (0..count)
                .map(|_| parts[random.random_range(0..parts.len())])
                .collect();
            let _ = RedisUrl::parse(&text, false, PORT);
            let _ = RedisUrl::of_host(&text, PORT);
            let _ = without_password(&text);
        }
    }

    #[test]
    fn hosts_as_laravel_users_write_them() {
        let check = |text: &str, expected: Option<&str>| {
            let found = RedisUrl::of_host(text, 7).map(|url| {
                let tls = if url.address.is_tls() { " tls" } else { "" };
                format!("{}{tls}", url.address)
            });
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("redis", Some("redis:7"));
        check("::1", Some("[::1]:7"));
        check("[::1]", Some("[::1]:7"));
        check("tls://redis.example", Some("redis.example:7 tls"));
        check("tls://redis.example:8", Some("redis.example:8 tls"));
        check("tcp://redis.example", Some("redis.example:7"));
        check("/run/redis.sock", Some("/run/redis.sock"));
        check("unix:///run/redis.sock", Some("/run/redis.sock"));
        check("", None);
        check("redis:8", None);
        check("a,b", None);
    }

    #[test]
    fn no_password_is_shown() {
        let check = |text: &str, expected: &str| assert_eq!(without_password(text), expected);
        check("redis://a:1/0", "redis://a:1/0");
        check("redis://u:hush@a", "redis://u:****@a");
        check("redis://:hush@a", "redis://:****@a");
        check("u:hu@sh@a", "u:****@a");
        check("redis://u:hu/sh@a", "redis://u:****@a");
        check("u:hush@redis://a", "u:****@redis://a");
        check("redis://u:hush", "redis://u:****");
        check("u:hush", "u:****");
        check("a:26379", "a:26379");
        check("redis://[::1]:7/0", "redis://[::1]:7/0");
        check(
            "redis+unix:///a?db=1&pass=hush&user=u",
            "redis+unix:///a?db=1&pass=****",
        );
    }
}
