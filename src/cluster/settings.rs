//! From the settings, which know nothing of Redis's library or of TLS, to what a connection and the driver need. Files with
//! certificates are read here.

use std::{fs, path::Path};

use super::{
    connection::{
        Access, Password, Patience, Place, Seeds, Sentinels, Server, Servers, Tls as Certificates,
    },
    driver::ClusterSettings,
    scripts::History,
};
use crate::config::cluster::{Cluster, Login, Redis, RedisAddress, RedisServers, RedisTls};

impl ClusterSettings {
    /// Fails with a sentence if a file of `cluster.tls_ca`, `tls_certificate` or `tls_key` can't be used.
    ///
    /// `held_max`: news of who left that may wait for a return.
    pub fn new(cluster: &Cluster, held_max: usize) -> Result<ClusterSettings, String> {
        Ok(ClusterSettings {
            servers: Servers::new(&cluster.redis)?,
            prefix: cluster.prefix.clone(),
            patience: Patience {
                connect: cluster.connect_timeout,
                answer: cluster.answer_timeout,
            },
            heartbeat: cluster.heartbeat,
            backlog_bytes_max: cluster.backlog_bytes_max,
            backlog_age_max: cluster.backlog_age_max,
            history: History {
                events_max: cluster.history_events_max,
                age_max: cluster.history_age_max,
            },
            inbound_bytes_max: cluster.inbound_bytes_max,
            held_max,
            publishes_max: cluster.publishes_max,
            retry: cluster.retry,
        })
    }
}

impl Servers {
    /// Fails as [`ClusterSettings::new`] does.
    pub fn new(redis: &Redis) -> Result<Servers, String> {
        let tls = certificates(&redis.tls, &redis.servers)?;
        let access = |login: &Login, database: u32, is_tls: bool| Access {
            username: login.username.clone(),
            password: login
                .password
                .as_ref()
                .map(|password| Password::new(password.reveal())),
            database,
            tls: tls.clone().filter(|_| is_tls),
        };
        Ok(match &redis.servers {
            RedisServers::One(address) => Servers::One(Server {
                place: place(address),
                access: access(&redis.login, redis.database, address.is_tls()),
            }),
            RedisServers::Sentinels {
                addresses,
                master,
                is_tls,
                login,
            } => {
                let sentinel = |address: &RedisAddress| Server {
                    place: place(address),
                    access: access(login, 0, address.is_tls()),
                };
                Servers::Sentinels(Box::new(Sentinels {
                    sentinels: addresses.iter().map(sentinel).collect(),
                    name: master.clone(),
                    access: access(&redis.login, redis.database, *is_tls),
                }))
            }
            RedisServers::Cluster(addresses) => Servers::Cluster(Seeds {
                places: addresses.iter().map(place).collect(),
                access: access(&redis.login, 0, addresses.iter().any(RedisAddress::is_tls)),
            }),
        })
    }
}

fn place(address: &RedisAddress) -> Place {
    match address {
        RedisAddress::Tcp { host, port, .. } => Place::Tcp {
            host: host.clone(),
            port: *port,
        },
        RedisAddress::Unix(path) => Place::Unix(path.clone()),
    }
}

/// `None` where nobody is asked with TLS.
fn certificates(tls: &RedisTls, servers: &RedisServers) -> Result<Option<Certificates>, String> {
    if !servers.use_tls() {
        return Ok(None);
    }
    let read = |key: &str, path: &Path| {
        fs::read(path).map_err(|error| {
            format!(
                "the file {} of {key} can't be read: {error}",
                path.display()
            )
        })
    };
    let ca = tls.ca.as_deref().map(|path| read("cluster.tls_ca", path));
    let ca = ca.transpose()?;
    let client = tls.client.as_ref().map(|client| {
        let certificate = read("cluster.tls_certificate", &client.certificate)?;
        let key = read("cluster.tls_key", &client.key)?;
        Ok::<_, String>((certificate, key))
    });
    let client = client.transpose()?;
    let client = client.as_ref().map(|(chain, key)| (&chain[..], &key[..]));
    Certificates::new(ca.as_deref(), client).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_toml;

    fn servers(lines: &str) -> Result<Servers, String> {
        let settings = from_toml(&format!("[cluster]\nenabled = true\n{lines}"));
        let cluster = settings.expect(lines).cluster.expect("a cluster");
        ClusterSettings::new(&cluster, 1_000).map(|settings| settings.servers)
    }

    #[test]
    fn each_server_gets_its_own_login() {
        let check = |lines: &str, expected: &str| {
            let shown = match servers(lines).expect(lines) {
                Servers::One(Server { place, access }) => format!("{place} {}", login(&access)),
                Servers::Cluster(Seeds { places, access }) => {
                    format!("{} {}", places.len(), login(&access))
                }
                Servers::Sentinels(of) => {
                    let server = &of.sentinels[0];
                    let Server { place, access } = server;
                    let master = login(&of.access);
                    format!("{} {master}, {place} {}", of.name, login(access))
                }
            };
            assert_eq!(shown, expected, "{lines}");
        };
        fn login(access: &Access) -> String {
            let is_it = access.password == Some(Password::new("hush"));
            let tls = access.tls.is_some();
            format!("{:?} {is_it} {} {tls}", access.username, access.database)
        }
        check(
            "url = 'redis://u:hush@a:7/2'",
            "a:7 Some(\"u\") true 2 false",
        );
        check("host = '/r.sock'", "/r.sock None false 0 false");
        check(
            "nodes = ['rediss://:hush@a', 'rediss://b']",
            "2 None true 0 true",
        );
        check(
            "sentinels = ['rediss://s']\npassword = 'hush'\ndatabase = 3",
            "mymaster None true 3 false, s:26379 None false 0 true",
        );
        check(
            "sentinels = ['redis://s']\nsentinel_password = 'hush'\ntls = true",
            "mymaster None false 0 true, s:26379 None true 0 false",
        );
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let sentence = servers("url = 'rediss://a'\ntls_ca = '/no/such.pem'").expect_err("refused");
        assert!(sentence.starts_with("the file /no/such.pem of cluster.tls_ca can't be read"));
    }
}
