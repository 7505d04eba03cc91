//! A Redis Cluster.

use super::{RedisServer, free_port, wait};
use crate::cluster::connection::{Access, Seeds, Servers};

/// Three masters, each with a third of the slots; servers after those have none, until they are made replicas or given some.
pub struct RedisCluster {
    pub nodes: Vec<RedisServer>,
}

/// The first slots of the masters, and the end.
const THIRDS: [u16; 4] = [0, 5_461, 10_923, 16_384];

impl RedisCluster {
    pub fn start() -> RedisCluster {
        RedisCluster::start_with(3)
    }

    pub fn start_with(count: usize) -> RedisCluster {
        let nodes: Vec<RedisServer> = (0..count).map(|_| start_node()).collect();
        for (node, thirds) in nodes.iter().zip(THIRDS.windows(2)) {
            let (first, last) = (thirds[0].to_string(), (thirds[1] - 1).to_string());
            node.order(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
        for (number, node) in nodes.iter().enumerate() {
            let epoch = (number + 1).to_string();
            node.order(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
            if number > 0 {
                node.order(&meeting(&nodes[0]).each_ref().map(String::as_str));
            }
        }
        let cluster = RedisCluster { nodes };
        cluster.wait_until_complete();
        cluster
    }

    pub fn wait_until_complete(&self) {
        for node in &self.nodes {
            wait("every node knows all the others, and all slots", || {
                let info = node.text(&["CLUSTER", "INFO"]);
                let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
                info.contains("cluster_state:ok")
                    && info.contains("cluster_slots_ok:16384")
                    && info.contains(&known)
            });
        }
    }

    pub fn id(&self, node: usize) -> String {
        self.nodes[node].text(&["CLUSTER", "MYID"])
    }

    /// Makes the one a replica of the other, and waits until it has all.
    pub fn make_replica(&self, node: usize, master: usize) {
        let id = self.id(master);
        self.nodes[node].order(&["CLUSTER", "REPLICATE", &id]);
        wait("the replica has all", || {
            let info = self.nodes[node].text(&["INFO", "replication"]);
            info.contains("role:slave") && info.contains("master_link_status:up")
        });
    }

    /// As every resharding ends, for a slot without keys.
    pub fn move_slot(&self, slot: u16, to: usize) {
        let (slot, id) = (slot.to_string(), self.id(to));
        self.nodes[to].order(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        for node in &self.nodes {
            node.order(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        }
    }

    pub fn seeds(&self) -> Seeds {
        Seeds {
            places: self.nodes.iter().map(RedisServer::place).collect(),
            access: Access::default(),
        }
    }

    pub fn servers(&self) -> Servers {
        Servers::Cluster(self.seeds())
    }
}

fn start_node() -> RedisServer {
    let bus_port = free_port().to_string();
    RedisServer::start_with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus_port,
        "--cluster-node-timeout",
        "2000",
        "--repl-diskless-sync-delay",
        "0",
    ])
}

/// The words by which a node makes itself known to another.
fn meeting(other: &RedisServer) -> [String; 5] {
    let port = other.address.port().to_string();
    let bus_port = other.options[3].clone();
    let ip = other.address.ip().to_string();
    ["CLUSTER".to_owned(), "MEET".to_owned(), ip, port, bus_port]
}
