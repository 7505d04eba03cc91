//! The binary and its signals: SIGHUP reads the settings anew, a bad file changes nothing.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running binary with its settings file. Dropped, it is killed.
struct Process {
    child: Child,
    address: SocketAddr,
    lines: mpsc::Receiver<String>,
    settings: PathBuf,
    _folder: tempfile::TempDir,
}

impl Process {
    fn start(settings: &str) -> Process {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("resound.toml");
        fs::write(&file, settings).expect("the settings");
        let address = free_address();
        let mut child = Command::new(env!("CARGO_BIN_EXE_resound"))
            .args(["--config".as_ref(), file.as_os_str()])
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .env_clear()
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let process = Process {
            child,
            address,
            lines,
            settings: file,
            _folder: folder,
        };
        process.wait_for("listening on");
        process
    }

    /// Reads the log until a line has this text; returns the line.
    fn wait_for(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("never logged: {text}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("kill").success());
    }

    /// The status of an unsigned request: 401 for an app that exists, 404 for one that doesn't.
    fn status_of(&self, app: &str) -> u16 {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        let request = format!(
            "GET /apps/{app}/channels HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        status.unwrap_or_else(|| panic!("no status in {answer}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

fn app(id: &str) -> String {
    format!("[[apps]]\nid = \"{id}\"\nkey = \"key{id}\"\nsecret = \"secret{id}\"\n")
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("the settings");
}

#[test]
fn sighup_puts_the_changed_file_into_force() {
    let process = Process::start(&app("7"));
    assert_eq!((process.status_of("7"), process.status_of("8")), (401, 404));

    write(
        &process.settings,
        &format!("{}[log]\nlevel = \"debug\"", app("8")),
    );
    process.signal("HUP");
    process.wait_for("reloaded: log.level is \"debug\", it was \"info\"");
    process.wait_for("reloaded: app 8 is new");
    process.wait_for("reloaded: app 7 is gone");
    assert_eq!((process.status_of("7"), process.status_of("8")), (404, 401));

    write(
        &process.settings,
        &format!("{}[server]\nworkers = 1", app("8")),
    );
    process.signal("HUP");
    process.wait_for("takes effect with the next start only: server.workers is 1");
}

#[test]
fn sighup_with_a_bad_file_changes_nothing() {
    let process = Process::start(&app("7"));
    write(&process.settings, &format!("{}prot = 1", app("8")));
    process.signal("HUP");
    let line = process.wait_for("reload refused");
    assert!(line.contains("prot of [[apps]]"), "{line}");
    assert!(!line.contains("secret8"), "{line}");
    fs::remove_file(&process.settings).expect("removed");
    process.signal("HUP");
    process.wait_for("can't be read");
    assert_eq!((process.status_of("7"), process.status_of("8")), (401, 404));
}
