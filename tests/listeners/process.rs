//! The binary itself, with its environment, its log and its signals; and what it makes of files that can't be used.
use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::Instant,
};

use crate::{
    helpers::{APP, Files, Made, PATIENCE, free_listener},
    peer::{Socket, any_version, rest, send, tcp, tls},
};

/// A running binary. Dropped, it is killed.
pub struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    _folder: tempfile::TempDir,
}

/// How to start one.
#[derive(Default)]
pub struct Start<'a> {
    pub settings: &'a str,
    pub arguments: &'a [&'a str],
    pub variables: &'a [(&'a str, &'a str)],
    /// handed over as the first socket
    pub listener: Option<&'a TcpListener>,
    /// how many files it may have open; not together with `listener`
    pub files: Option<u32>,
}

impl Start<'_> {
    pub fn run(self) -> Process {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("resound.toml");
        fs::write(&file, format!("{}\n{APP}", self.settings)).expect("the settings");
        let binary = env!("CARGO_BIN_EXE_resound");
        let mut command = match self.listener {
            None => match self.files {
                None => Command::new(binary),
                Some(files) => {
                    let mut shell = Command::new("/bin/sh");
                    let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
                    shell.args(["-c", &script, binary]);
                    shell
                }
            },
            // As systemd does it: the socket has the number 3, and is meant for this process alone.
            Some(_) => {
                let mut shell = Command::new("/bin/sh");
                let script = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 0</dev/null";
                shell.args(["-c", script, binary]);
                shell
            }
        };
        let stdin = match self.listener {
            None => Stdio::null(),
            Some(listener) => OwnedFd::from(listener.try_clone().expect("a socket")).into(),
        };
        let mut child = command
            .args(["--config".as_ref(), file.as_os_str()])
            .args(self.arguments)
            .env_clear()
            .envs(self.variables.iter().copied())
            .current_dir(folder.path())
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Process {
            child,
            lines,
            _folder: folder,
        }
    }
}

impl Process {
    /// Starts one that listens on a free port, and waits until it does.
    pub fn listening(start: Start<'_>) -> (Process, SocketAddr) {
        let (process, address) = Process::told_to_listen(start);
        process.wait_for("listening on");
        (process, address)
    }

    /// The same; also returns the line with this text, which is logged before.
    pub fn listening_after(start: Start<'_>, text: &str) -> (Process, SocketAddr, String) {
        let (process, address) = Process::told_to_listen(start);
        let line = process.wait_for(text);
        process.wait_for("listening on");
        (process, address, line)
    }

    /// The same with an admin listener; returns its address as well.
    pub fn listening_with_admin(start: Start<'_>) -> (Process, SocketAddr, SocketAddr) {
        let settings = format!("[admin]\nport = 0\n{}", start.settings);
        let start = Start {
            settings: &settings,
            ..start
        };
        let (process, address, line) = Process::listening_after(start, "live stream on http://");
        let (_, admin) = line.split_once("http://").expect("an address");
        let admin = admin.split_whitespace().next().unwrap_or_default();
        (process, address, admin.parse().expect("an address"))
    }

    fn told_to_listen(start: Start<'_>) -> (Process, SocketAddr) {
        let address = free_listener().local_addr().expect("an address");
        let port = address.port().to_string();
        let main = ["--host", "127.0.0.1", "--port", &port];
        let arguments = [&main, start.arguments].concat();
        let process = Start {
            arguments: &arguments,
            ..start
        }
        .run();
        (process, address)
    }

    /// What was logged since the last look.
    pub fn logged(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Reads the log until a line has this text; returns the line.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("never logged: {text}; but {seen:#?}");
            };
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("kill").success());
    }

    /// Seconds of processor time that it has used; `None` where the system doesn't say.
    pub fn processor_time(&self) -> Option<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // What comes after the name, which may hold anything. A tick is a hundredth of a second on every Linux.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some((ticks(11)? + ticks(12)?) / 100.0)
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for the end.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it never ends");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an admin listener says of these metrics: a line for each sample, without `resound_`.
pub async fn metrics(admin: SocketAddr, names: &[&str]) -> Vec<String> {
    let mut stream = tcp(admin).await;
    let get = "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    send(&mut stream, get).await;
    let page = rest(&mut stream).await;
    let samples = page
        .lines()
        .filter_map(|line| line.strip_prefix("resound_"));
    let is_asked = |line: &&str| {
        line.split(['{', ' '])
            .next()
            .is_some_and(|name| names.contains(&name))
    };
    samples.filter(is_asked).map(str::to_owned).collect()
}

/// Ends at the start; the code and what it says.
fn refused(start: Start<'_>) -> (Option<i32>, String) {
    let mut process = start.run();
    let code = process.ended().code();
    let lines: Vec<String> = process.lines.iter().collect();
    (code, lines.join("\n"))
}

#[test]
fn unusable_certificates_end_the_start() {
    let (made, other) = (Made::new(), Made::new());
    let files = Files::with(&made);
    let settings = files.section("");
    let check = |settings: &str, words: &[&str]| {
        let (code, said) = refused(Start {
            settings,
            arguments: &["--port", "0"],
            ..Start::default()
        });
        assert_eq!(code, Some(78), "{said}");
        let sentence = said.lines().last().expect("a sentence");
        for word in words {
            assert!(sentence.contains(word), "{word}: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    };
    fs::write(files.key(), &other.key).expect("written");
    check(&settings, &["key.pem", "belong", "cert.pem"]);
    fs::write(files.key(), "nonsense").expect("written");
    check(&settings, &["key.pem", "no private key"]);
    fs::remove_file(files.certificate()).expect("removed");
    check(&settings, &["cert.pem", "can't be read"]);
    check("[tls]\nkey = 'x'", &["tls.key"]);
    check("[server]\nunix_socket_mode = 'rw'", &["unix_socket_mode"]);
}

#[tokio::test]
async fn strangers_are_named_in_the_log() {
    let made = Made::new();
    let files = Files::with(&made);
    let (plain, address) = Process::listening(Start::default());
    let mut stream = tcp(address).await;
    send(&mut stream, b"\x16\x03\x01\x02\x00\x01").await;
    rest(&mut stream).await;
    plain.wait_for("a client speaks TLS to the plain port");
    let settings = files.section("");
    let (tls, address) = Process::listening(Start {
        settings: &settings,
        ..Start::default()
    });
    let mut stream = tcp(address).await;
    send(&mut stream, "GET / HTTP/1.1\r\n\r\n").await;
    rest(&mut stream).await;
    let line = tls.wait_for("a client speaks plain HTTP to the TLS port");
    assert!(line.contains("127.0.0.1:"), "{line}");
}

/// Reverb's look-up: by the host name of the app, in the folders of Herd and Valet.
#[tokio::test]
async fn a_certificate_of_valets_is_found_by_its_host_name() {
    let made = Made::new();
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join(".config/valet/Certificates");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("localhost.crt"), &made.certificate).expect("written");
    fs::write(folder.join("localhost.key"), &made.key).expect("written");
    let home = home.path().to_str().expect("a path");
    let connector = any_version(&[&made]);
    let by_variable = ("REVERB_HOST", "localhost");
    for (variables, arguments) in [
        (&[("HOME", home), by_variable][..], &[][..]),
        (&[("HOME", home)], &["--hostname", "localhost"]),
        (
            &[("HOME", home), ("REVERB_HOST", "x")],
            &["--hostname=localhost"],
        ),
    ] {
        let (process, address) = Process::listening(Start {
            variables,
            arguments,
            ..Start::default()
        });
        Socket::on_room(tls(address, &connector).await).await;
        drop(process);
    }
    for (variables, arguments) in [
        (&[("HOME", home), by_variable][..], &["--no-tls"][..]),
        (
            &[("HOME", home), by_variable, ("RESOUND_TLS_AUTO", "false")],
            &[],
        ),
        (&[("HOME", home)], &[]),
        (&[by_variable], &[]),
    ] {
        let (process, address) = Process::listening(Start {
            variables,
            arguments,
            ..Start::default()
        });
        Socket::on_room(tcp(address).await).await;
        drop(process);
    }
}

#[test]
fn what_was_found_is_said() {
    let made = Made::new();
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join(".config/valet/Certificates");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("app.test.crt"), &made.certificate).expect("written");
    fs::write(folder.join("app.test.key"), &made.key).expect("written");
    let variables = [("HOME", home.path().to_str().expect("a path"))];
    let process = Start {
        variables: &variables,
        arguments: &["--port", "0", "--hostname", "app.test"],
        ..Start::default()
    }
    .run();
    let line = process.wait_for("TLS with the certificate");
    assert!(
        line.contains("app.test.crt") && line.contains("--no-tls"),
        "{line}"
    );
}
