//! What systemd is told, and the sockets it hands over.
use std::{os::unix::net::UnixDatagram, path::Path};

use crate::{
    helpers::{Files, Made, PATIENCE, free_listener},
    peer::{Socket, tcp},
    process::{Process, Start},
};

struct Manager {
    socket: UnixDatagram,
    _folder: tempfile::TempDir,
    path: String,
}

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify").display().to_string();
        let socket = UnixDatagram::bind(Path::new(&path)).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Manager {
            socket,
            _folder: folder,
            path,
        }
    }

    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// The next message but signs of life.
    fn next_state(&self) -> String {
        loop {
            let message = self.next();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }
}

#[test]
fn the_manager_is_told_when_it_is_ready_and_when_it_stops() {
    let manager = Manager::new();
    let variables = [("NOTIFY_SOCKET", manager.path.as_str())];
    let (mut process, address) = Process::listening(Start {
        variables: &variables,
        ..Start::default()
    });
    let told = manager.next();
    assert_eq!(told, format!("READY=1\nSTATUS=serving on {address}\n"));
    process.signal("TERM");
    let told = manager.next_state();
    assert_eq!(told, "STOPPING=1\nSTATUS=closing 0 connections\n");
    assert!(process.ended().success());
}

/// `Type=notify-reload` takes a reload for failed without the time, and for unfinished without the end.
#[test]
fn the_manager_is_told_of_reloads() {
    let manager = Manager::new();
    let made = Made::new();
    let files = Files::with(&made);
    let settings = files.section("watch_s = 0");
    let variables = [("NOTIFY_SOCKET", manager.path.as_str())];
    let (process, _) = Process::listening(Start {
        settings: &settings,
        variables: &variables,
        ..Start::default()
    });
    assert!(manager.next().starts_with("READY=1\n"));
    let check = |logged: &str| {
        process.signal("HUP");
        process.wait_for(logged);
        let told = manager.next();
        let time = told
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .and_then(|rest| rest.strip_suffix("\nSTATUS=reloading\n"));
        assert!(
            time.is_some_and(|time| time.parse::<u64>().is_ok()),
            "{told}"
        );
        assert!(manager.next().starts_with("READY=1\n"));
    };
    check("reloaded: nothing has changed");
    files.put(&Made::new());
    check("new connections get the certificate");
    std::fs::write(files.key(), &made.key).expect("written");
    check("reload refused, everything stays as it was");
}

#[test]
fn a_reload_during_the_stop_is_left_out_and_the_manager_told_nothing_of_it() {
    let manager = Manager::new();
    let variables = [("NOTIFY_SOCKET", manager.path.as_str())];
    let (mut process, _) = Process::listening(Start {
        settings: "[server]\ndrain_delay_s = 3600",
        variables: &variables,
        ..Start::default()
    });
    assert!(manager.next().starts_with("READY=1\n"));
    process.signal("TERM");
    assert!(manager.next_state().starts_with("STOPPING=1\n"));
    process.signal("HUP");
    process.wait_for("not reloaded: the server is stopping");
    process.signal("TERM");
    assert!(process.ended().success());
    manager.socket.set_nonblocking(true).expect("set");
    assert!(manager.socket.recv(&mut [0; 4096]).is_err());
}

#[test]
fn the_watchdog_gets_signs_of_life() {
    let manager = Manager::new();
    let variables = [
        ("NOTIFY_SOCKET", manager.path.as_str()),
        ("WATCHDOG_USEC", "100000"),
    ];
    let (_process, _) = Process::listening(Start {
        variables: &variables,
        ..Start::default()
    });
    assert!(manager.next_state().starts_with("READY=1\n"));
    for _ in 0..5 {
        assert_eq!(manager.next(), "WATCHDOG=1\n");
    }
}

#[tokio::test]
async fn a_socket_that_is_handed_over_takes_the_place_of_ours() {
    let listener = free_listener();
    let address = listener.local_addr().expect("an address");
    // a port that can't be opened: nobody tries
    let process = Start {
        settings: "[server]\nhost = '192.0.2.1'\nport = 1",
        listener: Some(&listener),
        ..Start::default()
    }
    .run();
    let line = process.wait_for("listening on");
    assert!(line.contains(&address.to_string()), "{line}");
    Socket::on_room(tcp(address).await).await;
}
