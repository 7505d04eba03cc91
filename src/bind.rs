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
    #[error(
        "somebody listens on the Unix socket {path} already (another Resound?): stop it or choose another path with server.unix_socket"
    )]
    UnixInUse { path: String },
    #[error(
        "{path} is there already and is no socket: choose another path with server.unix_socket"
    )]
    NotASocket { path: String },
    #[error(
        "can't listen on the Unix socket {path}: {source}; its folder must exist and be writable for this user"
    )]
    Unix { path: String, source: io::Error },
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
    open().map_err(failed)
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
    }
}
