//! Where Redis is and how one gets in: all that the settings say of it, checked, and nothing of it in a log.

use std::{fmt, path::PathBuf, sync::Arc};

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::client::{Address, tls};

/// Where Redis is.
#[derive(Clone, Debug)]
pub enum Servers {
    One(Server),
    /// the master of this name, wherever the Sentinels say that it is
    Sentinels(Box<Sentinels>),
    /// all masters of a Redis Cluster (7.0 or later)
    Cluster(Seeds),
}

/// A Redis, or a Sentinel.
#[derive(Clone, Debug)]
pub struct Server {
    pub place: Place,
    pub access: Access,
}

#[derive(Clone, Debug)]
pub struct Sentinels {
    /// asked one after the other; each with its own access, which is often another one than Redis'
    pub sentinels: Vec<Server>,
    /// the name that the Sentinels know the master by
    pub name: String,
    /// how one gets into the master
    pub access: Access,
}

/// Some nodes of a Redis Cluster: the others are found through them.
#[derive(Clone, Debug)]
pub struct Seeds {
    pub places: Vec<Place>,
    /// how one gets into every node; the database must be 0
    pub access: Access,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Tcp {
        /// name or IP address, IPv6 without brackets
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

/// What one needs to get in. `Debug` shows no secrets.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// of an ACL user; `None` is the user `default`
    pub username: Option<String>,
    pub password: Option<Password>,
    pub database: u32,
    /// `None`: without TLS
    pub tls: Option<Tls>,
}

/// `Debug` shows no part of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Whose certificates are believed, and which one is shown.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

/// Why a URL isn't one of Redis. `Display` is a sentence without the URL, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAServer {
    #[error(
        "this isn't the URL of a Redis: write redis://user:password@host:port/database, rediss:// for TLS, or redis+unix:///path/of/the.sock"
    )]
    Url,
    #[error(
        "the certificate of Redis is always checked: take #insecure off its URL, and name the CA that signed the certificate instead"
    )]
    Insecure,
}

impl Servers {
    /// Whether this is a Redis Cluster, where everything of one command must be in one slot.
    pub fn is_cluster(&self) -> bool {
        matches!(self, Servers::Cluster(_))
    }
}

/// Schemes of URLs: what people write, what the Redis library knows, whether it means TLS.
const SCHEMES: [(&str, &str, bool); 10] = [
    ("redis://", "redis://", false),
    ("rediss://", "redis://", true),
    ("valkey://", "redis://", false),
    ("valkeys://", "redis://", true),
    ("tcp://", "redis://", false),
    ("tls://", "redis://", true),
    ("unix://", "unix://", false),
    ("redis+unix://", "unix://", false),
    ("valkey+unix://", "unix://", false),
    ("redis-socket://", "unix://", false),
];

impl Server {
    /// Port 6379 and database 0 if the URL doesn't say; TLS believes Mozilla's CAs and the machine's own.
    pub fn parse(url: &str) -> Result<Server, NotAServer> {
        let scheme = SCHEMES.iter().find(|(scheme, ..)| url.starts_with(scheme));
        let (scheme, known, is_tls) = scheme.ok_or(NotAServer::Url)?;
        let rest = &url[scheme.len()..];
        if let Some((_, fragment)) = rest.split_once('#') {
            return Err(match fragment {
                "insecure" => NotAServer::Insecure,
                _ => NotAServer::Url,
            });
        }
        let info = format!("{known}{rest}").into_connection_info();
        let info = info.map_err(|_| NotAServer::Url)?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Place::Tcp {
                host: host.clone(),
                port: *port,
            },
            ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
            _ => return Err(NotAServer::Url),
        };
        let redis = info.redis_settings();
        let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let access = Access {
            username: given(redis.username()),
            password: given(redis.password()).map(Password),
            database: u32::try_from(redis.db()).map_err(|_| NotAServer::Url)?,
            tls: is_tls.then(Tls::default),
        };
        Ok(Server { place, access })
    }
}

impl Access {
    /// What the Redis library needs of it.
    pub(super) fn for_redis(&self) -> RedisConnectionInfo {
        let mut info = RedisConnectionInfo::default()
            .set_db(i64::from(self.database))
            .set_skip_set_lib_name();
        if let Some(username) = &self.username {
            info = info.set_username(username);
        }
        if let Some(password) = &self.password {
            info = info.set_password(&password.0);
        }
        info
    }

    /// `text` of a server, without the password that a server of long ago repeats in its errors.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        match &self.password {
            Some(Password(password)) if !password.is_empty() => text.replace(password, "…"),
            _ => text.to_owned(),
        }
    }
}

impl Password {
    pub fn new(text: &str) -> Password {
        Password(text.to_owned())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Tcp { host, port } => write!(f, "{host}:{port}"),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Place {
    /// Where a connection over TCP goes.
    pub(super) fn address(&self, is_tls: bool) -> Option<Address> {
        match self {
            Place::Tcp { host, port } => Some(Address {
                is_tls,
                host: host.clone(),
                port: *port,
                prefix: String::new(),
                is_own: false,
            }),
            Place::Unix(_) => None,
        }
    }
}

impl Tls {
    /// `authorities`: the CAs that are believed, and no others; PEM. `None`: Mozilla's and the machine's own.
    /// `identity`: certificates and key of this client, PEM, for a Redis that asks for one. Fails with a sentence.
    pub fn new(
        authorities: Option<&[u8]>,
        identity: Option<(&[u8], &[u8])>,
    ) -> Result<Tls, String> {
        let roots = match authorities {
            None => tls::roots(&[]),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(pem, "the CA of Redis")? {
                    let added = roots.add(authority);
                    added.map_err(|error| format!("the CA of Redis can't be used: {error}"))?;
                }
                roots
            }
        };
        let config = match identity {
            None => tls::checked(roots),
            Some((chain, key)) => {
                let chain = certificates(chain, "the client certificate for Redis")?;
                let key = PrivateKeyDer::from_pem_slice(key);
                let key = key.map_err(|error| {
                    format!("the key of the client certificate for Redis isn't one: {error}")
                })?;
                tls::checked_with_identity(roots, chain, key)?
            }
        };
        Ok(Tls(Arc::new(config)))
    }

    pub(super) fn config(&self) -> &Arc<ClientConfig> {
        &self.0
    }
}

/// Mozilla's CAs and the machine's own.
impl Default for Tls {
    fn default() -> Tls {
        Tls(Arc::new(tls::checked(tls::roots(&[]))))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("{what} has no certificate (PEM) in it")),
        Err(error) => Err(format!("{what} isn't a certificate (PEM): {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_redis_is_and_how_one_gets_in() {
        let check = |url: &str, expected: &str| {
            let shown = match Server::parse(url) {
                Ok(Server { place, access }) => format!(
                    "{place} {:?} {:?} {} {}",
                    access.username,
                    access.password.map(|password| password.0),
                    access.database,
                    access.tls.is_some()
                ),
                Err(error) => format!("{error:?}"),
            };
            assert_eq!(shown, expected, "{url}");
        };
        check("redis://a.example", "a.example:6379 None None 0 false");
        check("redis://[::1]:7", "[::1]:7 None None 0 false");
        check(
            "redis://:p%40ss@a:7000/3",
            r#"a:7000 None Some("p@ss") 3 false"#,
        );
        check(
            "rediss://ann:x@a:7000",
            r#"a:7000 Some("ann") Some("x") 0 true"#,
        );
        check("tls://a", "a:6379 None None 0 true");
        check("valkeys://a/1", "a:6379 None None 1 true");
        check(
            "redis+unix:///run/r.sock?db=2&pass=x",
            r#"/run/r.sock None Some("x") 2 false"#,
        );
        for wrong in [
            "",
            "a:6379",
            "http://a",
            "redis://",
            "redis://a:x",
            "redis://a/x",
            "redis://a/-1",
            "rediss://a#other",
        ] {
            check(wrong, "Url");
        }
        check("rediss://a#insecure", "Insecure");
    }

    #[test]
    fn nothing_secret_is_shown() {
        let server = Server::parse("rediss://ann:s3cret@a/1").expect("a URL");
        assert!(!format!("{server:?}").contains("s3cret"));
        let said = server
            .access
            .without_secrets("unknown command 'AUTH s3cret'");
        assert_eq!(said, "unknown command 'AUTH …'");
    }

    #[test]
    fn what_isnt_a_certificate_is_said_so() {
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let other = rcgen::generate_simple_self_signed(["b".to_owned()]).expect("another");
        let other_key = other.signing_key.serialize_pem();
        let (certificate, key) = (certificate.as_bytes(), key.as_bytes());
        let check = |authorities: Option<&[u8]>, identity: Option<(&[u8], &[u8])>, wrong: &str| {
            match Tls::new(authorities, identity) {
                Ok(_) => assert_eq!(wrong, ""),
                Err(error) => assert!(error.starts_with(wrong) && !wrong.is_empty(), "{error}"),
            }
        };
        check(None, None, "");
        check(Some(certificate), Some((certificate, key)), "");
        check(Some(b""), None, "the CA of Redis has no certificate");
        check(Some(key), None, "the CA of Redis has no certificate");
        check(
            None,
            Some((b"x", key)),
            "the client certificate for Redis has no",
        );
        check(
            None,
            Some((certificate, b"x")),
            "the key of the client certificate",
        );
        check(
            None,
            Some((certificate, other_key.as_bytes())),
            "the client certificate and its key can't be used",
        );
    }
}
