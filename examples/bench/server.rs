//! The server under measurement: the release binary as a child process.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts `target/release/resound`, or what `RESOUND_BIN` names, with the development app on a free port.
    pub fn start(workers: usize) -> Server {
        Server::start_with_webhook(workers, None)
    }

    /// The same with a webhook endpoint for everything.
    pub fn start_with_webhook(workers: usize, url: Option<&str>) -> Server {
        let settings =
            std::env::temp_dir().join(format!("resound-bench-{}.toml", std::process::id()));
        let endpoint = url.map_or_else(String::new, |url| {
            format!("[[apps.webhooks]]\nurl = \"{url}\"\n")
        });
        let text = format!(
            "[webhook]\nallow_private_targets = true\n[[apps]]\nid = \"1001\"\nkey = \"app-key\"\nsecret = \"app-secret\"\n{endpoint}"
        );
        std::fs::write(&settings, text).expect("a settings file");
        let binary =
            std::env::var("RESOUND_BIN").unwrap_or_else(|_| "target/release/resound".to_owned());
        let mut child = Command::new(&binary)
            .args(["--port", "0", "--config"])
            .arg(&settings)
            .env("RESOUND_SERVER_WORKERS", workers.to_string())
            // no setting of the server
            .env_remove("RESOUND_BIN")
            .env("RESOUND_LOG_LEVEL", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("can't start {binary}: {error}; build it first"));
        let stdout = child.stdout.take().expect("piped");
        let address = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("http://")?.1.trim().parse().ok())
            .expect("the line that says where it listens");
        Server { child, address }
    }

    pub fn rss_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("Linux");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kib.expect("a figure in KiB") * 1024
    }

    /// Processor time so far, user and system.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("Linux");
        let after_name = stat.rsplit_once(')').expect("a name").1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks: u64 = [11, 12]
            .iter()
            .map(|at| fields[*at].parse::<u64>().expect("ticks"))
            .sum();
        // The kernel's USER_HZ is 100 everywhere.
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
