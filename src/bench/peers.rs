//! Which connections a server on this machine still holds, as the system says it. A reader that is stalled hears nothing of being
//! cut: what the server sent before stands in its way.
use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// `ESTABLISHED` of Linux.
const ESTABLISHED: &str = "01";

/// A way to see it.
#[derive(Debug)]
pub enum Watch {
    /// By the sockets among the processes' open files, and which those were at first: costs little.
    Files {
        pids: Vec<u32>,
        before: HashSet<PathBuf>,
    },
    /// By the system's table of all connections, which is long after a storm.
    Table { server: SocketAddr, ports: Vec<u16> },
}

impl Watch {
    /// Watches what there is now. `ports`: those of the clients.
    pub fn new(pids: &[u32], server: SocketAddr, ports: Vec<u16>) -> Watch {
        match sockets(pids) {
            Some(before) => Watch::Files {
                pids: pids.to_vec(),
                before,
            },
            None => Watch::Table { server, ports },
        }
    }

    /// How many connections are gone. `None` if only another machine or system could tell.
    pub fn gone(&self) -> Option<usize> {
        match self {
            Watch::Files { pids, before } => Some(before.difference(&sockets(pids)?).count()),
            Watch::Table { server, ports } => {
                Some(ports.len().saturating_sub(connected(*server, ports)?))
            }
        }
    }
}

/// Names of the sockets that processes have open; each name is used once.
fn sockets(pids: &[u32]) -> Option<HashSet<PathBuf>> {
    let mut all = HashSet::new();
    for pid in pids {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        // what is closed meanwhile can't be read
        let files = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        let is_socket = |file: &PathBuf| {
            file.to_str()
                .is_some_and(|name| name.starts_with("socket:"))
        };
        all.extend(files.filter(is_socket));
    }
    (!pids.is_empty()).then_some(all)
}

/// How many of these client ports the server at `server` is still connected to.
fn connected(server: SocketAddr, ports: &[u16]) -> Option<usize> {
    if !server.ip().to_canonical().is_loopback() {
        return None;
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let read = |table: &&str| fs::read_to_string(Path::new(table)).ok();
    let tables: Vec<String> = tables.iter().filter_map(read).collect();
    let count = |table: &String| count(table, server.port(), ports);
    (!tables.is_empty()).then(|| tables.iter().map(count).sum())
}

fn count(table: &str, server_port: u16, ports: &[u16]) -> usize {
    let is_held = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        let (Some(local), Some(remote), Some(state)) = (words.next(), words.next(), words.next())
        else {
            return false;
        };
        state == ESTABLISHED
            && port(local) == Some(server_port)
            && port(remote).is_some_and(|port| ports.contains(&port))
    };
    table.lines().filter(is_held).count()
}

/// `0100007F:1F90`
fn port(address: &str) -> Option<u16> {
    u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_from_the_servers_side() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
            1: 0100007F:1F90 0100007F:C001 01 00000000:00000000\n\
            2: 0100007F:1F90 0100007F:C002 04 00000000:00000000\n\
            3: 0100007F:C001 0100007F:1F90 01 00000000:00000000\n\
            4: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:C003 01\n\
            5: nonsense\n";
        let check = |ports: &[u16], expected| assert_eq!(count(table, 8080, ports), expected);
        check(&[0xc001, 0xc002, 0xc003], 2);
        check(&[0xc002], 0);
        check(&[], 0);
        assert_eq!(count("", 8080, &[1]), 0);
    }

    #[test]
    fn other_machines_are_not_looked_into() {
        let server = SocketAddr::from(([192, 0, 2, 1], 80));
        assert_eq!(Watch::new(&[], server, vec![1]).gone(), None);
    }

    /// Both ways, on this process' own connections.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_connection_that_is_dropped_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = listener.local_addr().expect("its address");
        let client = std::net::TcpStream::connect(server).expect("a connection");
        let port = client.local_addr().expect("its address").port();
        let (held, _) = listener.accept().expect("a connection");
        let table = Watch::new(&[], server, vec![port]);
        assert_eq!(table.gone(), Some(0));
        let Watch::Files { before, .. } = Watch::new(&[std::process::id()], server, vec![]) else {
            panic!("this process can be looked into");
        };
        assert!(before.len() >= 3);
        drop(held);
        assert_eq!(table.gone(), Some(1));
        // other tests of the same process close sockets as well
        let now = sockets(&[std::process::id()]).expect("its files");
        assert!(before.difference(&now).count() >= 1);
    }
}
