//! Opens the listening socket, and says in a sentence why it can't.

#[cfg(unix)]
use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};
use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
};

#[cfg(unix)]
use socket2::SockAddr;
use socket2::{Domain, Socket, Type};

/// Connections the kernel keeps for us between two accepts: room for a wave of reconnects.
const BACKLOG: i32 = 4096;

/// Where an address can be chosen, as sentences say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub host: &'static str,
    pub port: &'static str,
}

/// The main address.
pub const MAIN: Chosen = Chosen {
    host: "--host or RESOUND_SERVER_HOST",
    port: "--port or RESOUND_SERVER_PORT",
};

/// The additional port without TLS.
pub const PLAIN: Chosen = Chosen {
    host: "server.plain_host or RESOUND_SERVER_PLAIN_HOST",
    port: "server.plain_port or RESOUND_SERVER_PLAIN_PORT",
};

/// The admin listener.
pub const ADMIN: Chosen = Chosen {
    host: "admin.host or RESOUND_ADMIN_HOST",
    port: "admin.port or RESOUND_ADMIN_PORT",
};

/// Why an address can't be listened on. `Display` says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "port {port} of {host} is in use: stop what listens there (another Resound, `php artisan reverb:start`, soketi; `ss -ltnp 'sport = :{port}'` names it) or choose another with {}",
        chosen.port
    )]
    InUse {
        host: IpAddr,
        port: u16,
        chosen: Chosen,
    },
    #[error(
        "two of this server's own listeners can't have port {port} of {host}: choose another for one of them with {}",
        chosen.port
    )]
    Twice {
        host: IpAddr,
        port: u16,
        chosen: Chosen,
    },
    #[error(
        "no permission to listen on port {port}: ports below 1024 need root or the capability CAP_NET_BIND_SERVICE; choose another with {} and let a proxy listen there",
        chosen.port
    )]
    NoPermission { port: u16, chosen: Chosen },
    #[error(
        "{host} is no address of this machine: choose one of its addresses with {} (0.0.0.0 = all of them)",
        chosen.host
    )]
    NotOurs { host: IpAddr, chosen: Chosen },
    #[error("can't listen on {address}: {source}")]
    Other {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(
        "somebody listens on the Unix socket {path} already (another Resound?): stop it or choose another path with server.unix_socket"
    )]
    UnixInUse { path: String },
    #[error(
        "the path of the Unix socket {path} is too long: systems take some 100 characters; choose another with server.unix_socket"
    )]
    UnixTooLong { path: String },
    #[error(
        "{path} is there already and is no socket: choose another path with server.unix_socket"
    )]
    NotASocket { path: String },
    #[error(
        "can't listen on the Unix socket {path}: {source}; its folder must exist and be writable for this user"
    )]
    Unix { path: String, source: io::Error },
}

impl BindError {
    /// Whether another attempt with the same settings must fail as well.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            BindError::Twice { .. } | BindError::UnixTooLong { .. }
        )
    }
}

/// Listens on `host` and `port`; port 0 takes a free one. `chosen`: where they were chosen, for errors. `own`: where this server
/// listens already.
pub fn listen(
    host: IpAddr,
    port: u16,
    chosen: Chosen,
    own: &[SocketAddr],
) -> Result<TcpListener, BindError> {
    let address = SocketAddr::new(host, port);
    let is_own = || own.iter().any(|other| meet(address, *other));
    open(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse if is_own() => BindError::Twice { host, port, chosen },
        io::ErrorKind::AddrInUse => BindError::InUse { host, port, chosen },
        io::ErrorKind::PermissionDenied => BindError::NoPermission { port, chosen },
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs { host, chosen },
        _ => BindError::Other { address, source },
    })
}

/// Whether a connection could be for either.
fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (is_any || one.ip() == other.ip())
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

/// The file of a Unix socket that is listened on. Dropped, it is removed, unless another one has taken its place.
#[cfg(unix)]
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

#[cfg(unix)]
impl SocketFile {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if found.is_ok_and(|identity| identity == self.identity) {
            // Left behind, it is found to be stale by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on a Unix socket whose file has these permissions. A file that a process left behind is replaced.
#[cfg(unix)]
pub fn listen_unix(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), BindError> {
    let shown = || path.display().to_string();
    let failed = |source| BindError::Unix {
        path: shown(),
        source,
    };
    if let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(BindError::NotASocket { path: shown() });
        }
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
            Ok(_) => return Err(BindError::UnixInUse { path: shown() }),
        }
    }
    let open = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let identity = fs::symlink_metadata(path)?;
        let file = SocketFile {
            path: path.to_owned(),
            identity: (identity.dev(), identity.ino()),
        };
        // Before anybody can connect.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        socket.listen(BACKLOG)?;
        Ok((socket.into(), file))
    };
    open().map_err(|source: io::Error| match source.kind() {
        io::ErrorKind::InvalidInput => BindError::UnixTooLong { path: shown() },
        _ => failed(source),
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_port_in_use_is_named_with_what_to_do() {
        let taken = listen(HERE, 0, MAIN, &[]).expect("a free port");
        let port = taken.local_addr().expect("address").port();
        let check = |chosen: Chosen, setting: &str| {
            let error = listen(HERE, port, chosen, &[]).expect_err("in use");
            let text = error.to_string();
            assert!(matches!(error, BindError::InUse { .. }), "{text}");
            assert!(!error.is_configuration());
            assert!(
                text.contains(&port.to_string()) && text.contains(setting),
                "{text}"
            );
        };
        check(MAIN, "--port");
        check(PLAIN, "server.plain_port");
        check(ADMIN, "admin.port");
    }

    #[test]
    fn two_listeners_of_one_server_on_a_port_are_told_from_strangers() {
        let taken = listen(HERE, 0, MAIN, &[]).expect("a free port");
        let address = taken.local_addr().expect("address");
        let check = |own: SocketAddr, is_twice: bool| {
            let error = listen(HERE, address.port(), PLAIN, &[own]).expect_err("in use");
            assert_eq!(matches!(error, BindError::Twice { .. }), is_twice);
            assert_eq!(error.is_configuration(), is_twice);
            assert!(error.to_string().contains("server.plain_port"), "{error}");
        };
        check(address, true);
        check((Ipv4Addr::UNSPECIFIED, address.port()).into(), true);
        check((Ipv4Addr::new(10, 0, 0, 5), address.port()).into(), false);
        check((HERE, address.port() ^ 1).into(), false);
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        // TEST-NET-1 belongs to nobody
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let error = listen(elsewhere, 0, ADMIN, &[]).expect_err("not ours");
        assert!(matches!(error, BindError::NotOurs { .. }), "{error}");
        assert!(error.to_string().contains("admin.host"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_unix_socket_is_taken_over_only_from_the_dead() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("resound.sock");
        let (listener, file) = listen_unix(&path, 0o600).expect("free");
        let mode = fs::metadata(&path).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = listen_unix(&path, 0o600).expect_err("in use");
        assert!(matches!(error, BindError::UnixInUse { .. }), "{error}");
        // as a killed process leaves it
        std::mem::forget(file);
        drop(listener);
        assert!(path.exists());
        let (_listener, file) = listen_unix(&path, 0o660).expect("a stale file");
        // a successor's file isn't ours to remove
        fs::remove_file(&path).expect("removed");
        let (_other, others_file) = listen_unix(&path, 0o660).expect("free again");
        drop(file);
        assert!(path.exists());
        drop(others_file);
        assert!(!path.exists());
        fs::write(&path, "").expect("written");
        let error = listen_unix(&path, 0o660).expect_err("a file");
        assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
        let nowhere = folder.path().join("no/folder");
        let error = listen_unix(&nowhere, 0o660).expect_err("no folder");
        assert!(
            error.to_string().contains("its folder must exist"),
            "{error}"
        );
        let endless = folder.path().join("s".repeat(200));
        let error = listen_unix(&endless, 0o660).expect_err("too long");
        assert!(error.to_string().contains("too long"), "{error}");
        assert!(error.is_configuration());
    }
}
