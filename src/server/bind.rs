//! Opens the listening socket, and says in a sentence why it can't.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
};

use socket2::{Domain, Socket, Type};

/// Connections the kernel keeps for us between two accepts: room for a wave of reconnects.
const BACKLOG: i32 = 4096;

/// Why an address can't be listened on. `Display` says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "port {port} of {host} is in use: stop what listens there (another Resound, `php artisan reverb:start`, soketi; `ss -ltnp 'sport = :{port}'` names it) or choose another with --port or RESOUND_SERVER_PORT"
    )]
    InUse { host: IpAddr, port: u16 },
    #[error(
        "no permission to listen on port {port}: ports below 1024 need root or the capability CAP_NET_BIND_SERVICE; choose another with --port or RESOUND_SERVER_PORT and let a proxy listen there"
    )]
    NoPermission { port: u16 },
    #[error(
        "{host} is no address of this machine: choose one of its addresses with --host or RESOUND_SERVER_HOST (0.0.0.0 = all of them)"
    )]
    NotOurs { host: IpAddr },
    #[error("can't listen on {address}: {source}")]
    Other {
        address: SocketAddr,
        source: io::Error,
    },
}

/// Listens on `host` and `port`; port 0 takes a free one.
pub fn listen(host: IpAddr, port: u16) -> Result<TcpListener, BindError> {
    let address = SocketAddr::new(host, port);
    open(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { host, port },
        io::ErrorKind::PermissionDenied => BindError::NoPermission { port },
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs { host },
        _ => BindError::Other { address, source },
    })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Connections of a predecessor that are still winding down must not keep the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_port_in_use_is_named_with_what_to_do() {
        let taken = listen(HERE, 0).expect("a free port");
        let port = taken.local_addr().expect("address").port();
        let error = listen(HERE, port).expect_err("in use");
        let text = error.to_string();
        assert!(matches!(error, BindError::InUse { .. }), "{text}");
        assert!(
            text.contains(&port.to_string()) && text.contains("--port"),
            "{text}"
        );
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        // TEST-NET-1 belongs to nobody
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let error = listen(elsewhere, 0).expect_err("not ours");
        assert!(matches!(error, BindError::NotOurs { .. }), "{error}");
    }
}
