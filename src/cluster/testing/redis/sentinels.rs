//! A Redis with a replica, behind Sentinels.

use super::{RedisServer, free_port, wait};
use crate::cluster::connection::{Access, Sentinels};

/// A master, a replica of it, and three Sentinels that watch them. The servers have one password, the Sentinels another.
pub struct SentinelSet {
    pub servers: Vec<RedisServer>,
    pub sentinels: Vec<RedisServer>,
}

/// What the Sentinels call the master.
pub const MASTER_NAME: &str = "main";

impl SentinelSet {
    pub fn start() -> SentinelSet {
        let replicating = [
            "--repl-diskless-sync-delay",
            "0",
            "--repl-ping-replica-period",
            "1",
        ];
        let master = RedisServer::start_with(&replicating);
        let port = master.address.port().to_string();
        let replica = RedisServer::start_with(&replicating);
        replica.order(&["REPLICAOF", "127.0.0.1", &port]);
        wait("the replica has all", || {
            replica
                .text(&["INFO", "replication"])
                .contains("master_link_status:up")
        });
        let sentinels = (0..3).map(|_| start_sentinel(&port)).collect();
        let set = SentinelSet {
            servers: vec![master, replica],
            sentinels,
        };
        for sentinel in &set.sentinels {
            wait("every Sentinel knows everybody", || {
                let info = sentinel.text(&["INFO", "sentinel"]);
                info.contains("slaves=1,sentinels=3") && info.contains("status=ok")
            });
        }
        set
    }

    pub fn settings(&self) -> Sentinels {
        Sentinels {
            sentinels: self.sentinels.iter().map(RedisServer::server).collect(),
            name: MASTER_NAME.to_owned(),
            access: Access::default(),
        }
    }

    pub fn where_is_the_master(&self) -> u16 {
        let question = ["SENTINEL", "get-master-addr-by-name", MASTER_NAME];
        let found = self.sentinels[0].order(&question);
        let (_, port): (String, u16) = redis::from_redis_value(found).expect("an address");
        port
    }
}

fn start_sentinel(master_port: &str) -> RedisServer {
    let started = (0..10).find_map(|_| {
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let path = directory.path().display();
        let config = format!(
            "port {port}\nbind 127.0.0.1\ndir {path}\n\
             sentinel monitor {MASTER_NAME} 127.0.0.1 {master_port} 2\n\
             sentinel down-after-milliseconds {MASTER_NAME} 1000\n\
             sentinel failover-timeout {MASTER_NAME} 6000\n"
        );
        std::fs::write(directory.path().join("sentinel.conf"), config).expect("written");
        RedisServer::try_start(port, &["DIR/sentinel.conf", "--sentinel"], directory)
    });
    started.expect("a Sentinel, of Debian's package redis-server")
}
