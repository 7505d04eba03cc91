//! A Redis of one's own, and what it says of itself.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A `redis-server` that keeps nothing on disk, killed in the end.
pub struct Redis {
    child: Child,
    pub port: u16,
}

impl Redis {
    pub fn start() -> Redis {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server, which must be installed");
        let redis = Redis { child, port };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server doesn't start");
            thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    pub fn connect(&self) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("Redis");
        stream.set_nodelay(true).expect("nodelay");
        Connection(BufReader::new(stream))
    }

    fn field(&self, section: &str, field: &str) -> f64 {
        let info = self.connect().ask("INFO", &[section]);
        let value = info.lines().find_map(|line| line.strip_prefix(field));
        value.expect("a field").trim().parse().expect("a number")
    }

    /// Bytes without what waits for its clients or comes from them.
    pub fn memory(&self) -> f64 {
        self.field("memory", "used_memory:") - self.field("memory", "mem_clients_normal:")
    }

    /// Seconds of processor time so far.
    pub fn cpu(&self) -> f64 {
        self.field("cpu", "used_cpu_user:") + self.field("cpu", "used_cpu_sys:")
    }

    /// How often each command ran so far, also within scripts; and the microseconds of all scripts.
    pub fn commands(&self) -> (BTreeMap<String, f64>, f64) {
        let info = self.connect().ask("INFO", &["commandstats"]);
        let mut script_us = 0.0;
        let counts = info.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let mut numbers = rest.split(',');
            let calls = numbers.next()?.parse().ok()?;
            if name == "evalsha" {
                script_us = numbers.next()?.strip_prefix("usec=")?.parse().ok()?;
            }
            Some((name.to_owned(), calls))
        });
        (counts.collect(), script_us)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Connection(pub BufReader<TcpStream>);

impl Connection {
    /// Answers of one line or one text.
    pub fn ask(&mut self, command: &str, arguments: &[&str]) -> String {
        let bytes = packed(command, arguments);
        self.0.get_mut().write_all(&bytes).expect("sent");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        let Some(length) = line.strip_prefix('$') else {
            return line;
        };
        let length: usize = length.trim().parse().expect("a length");
        let mut text = vec![0; length + 2];
        self.0.read_exact(&mut text).expect("an answer");
        String::from_utf8_lossy(&text).into_owned()
    }
}

pub fn packed(command: &str, arguments: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len() + 1).into_bytes();
    for part in [command].iter().chain(arguments) {
        bytes.extend(format!("${}\r\n{part}\r\n", part.len()).into_bytes());
    }
    bytes
}
