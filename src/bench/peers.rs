//! Which connections a server on this machine still holds, as the system says it. A reader that is stalled hears nothing of being
//! cut: what the server sent before stands in its way.
use std::{fs, net::SocketAddr};

/// `ESTABLISHED` of Linux.
const ESTABLISHED: &str = "01";

/// How many of these client ports the server at `server` is still connected to. `None` if this system or another machine has
/// the answer.
pub fn connected(server: SocketAddr, ports: &[u16]) -> Option<usize> {
    if !server.ip().to_canonical().is_loopback() {
        return None;
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .collect();
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
        assert_eq!(
            connected(SocketAddr::from(([192, 0, 2, 1], 80)), &[1]),
            None
        );
    }
}
