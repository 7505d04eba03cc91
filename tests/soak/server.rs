//! The server in a process of its own, its log, and what remains in it.
use crate::{PATIENCE, field::Field, publisher};
use resound::{
    apps::App,
    client::{Address, http::Http},
    config,
};
use std::{
    collections::BTreeMap,
    env, fmt, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::time::sleep;

/// Times are short, so that each wave sees the server cut whom it cuts. Whoever stalls has more waiting than he may before
/// `write_timeout_s` is over.
const SETTINGS: &str = r#"
[server]
host = "127.0.0.1"
port = 0
handshake_timeout_s = 2
keep_alive_s = 5
drain_s = 1
[socket]
write_timeout_s = 8
close_timeout_s = 1
[admin]
port = 0
[publish]
idempotency_keys_max = 256
[app_defaults]
subscription_count = true
activity_timeout_s = 4
ping_interval_s = 4
pong_timeout_s = 4
channels_max = 100000
"#;
const APP: &str = "[[apps]]\nid = \"7\"\nkey = \"key7\"\nsecret = \"secret7\"\n";
const SECOND_APP: &str = "[[apps]]\nid = \"8\"\nkey = \"key8\"\nsecret = \"secret8\"\n";

/// A reader is stalled for longer than the server bears.
pub const STALLED_PATIENCE: Duration = Duration::from_secs(10);

/// Why the server gives a connection up, as its metrics say it and as we do.
const EVICTIONS: [(&str, &str); 3] = [
    ("outbox_full", "evictions for a full outbox"),
    ("write_timeout", "evictions for taking nothing"),
    ("pong_timeout", "evictions for a missing pong"),
];

/// A running server. Dropped, it is killed.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub app: App,
    _folder: TempDir,
    lines: mpsc::Receiver<String>,
    reloads: usize,
    /// by their reasons, up to the last wave
    evictions: BTreeMap<&'static str, u64>,
}

/// What remains when all have left.
#[derive(Clone, Copy, Debug)]
pub struct Remains {
    pub resident_bytes: u64,
    pub descriptors: u64,
    pub threads: u64,
}

impl fmt::Display for Remains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.resident_bytes / 1024;
        let Remains {
            descriptors,
            threads,
            ..
        } = self;
        write!(
            f,
            "remain: {kib} KiB resident, {descriptors} descriptors, {threads} threads"
        )
    }
}

impl Running {
    /// The binary that `RESOUND_BIN` names, else the one of this build.
    pub fn start() -> Running {
        let binary = env::var_os("RESOUND_BIN").map(PathBuf::from);
        let binary = binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_resound").into());
        let binary = fs::canonicalize(&binary).unwrap_or_else(|_| panic!("no {binary:?}"));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("resound.toml");
        fs::write(&file, format!("{SETTINGS}{APP}")).expect("written");
        let mut child = Command::new(binary)
            .args(["--config", "resound.toml"])
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
            // reads on to the end, so that the server never waits for us
            for line in log.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let admin = address_in(&lines, "live stream on http://");
        let address = address_in(&lines, "listening on ");
        let settings = config::from_toml(APP).expect("settings");
        Running {
            child,
            address,
            admin,
            app: settings.apps[0].clone(),
            _folder: folder,
            lines,
            reloads: 0,
            evictions: BTreeMap::new(),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Changes a limit and what apps there are, and says so.
    pub fn reload(field: &Field) -> Result<(), String> {
        let folder = fs::read_link(format!("/proc/{}/cwd", field.pid));
        let file = folder
            .map_err(|error| error.to_string())?
            .join("resound.toml");
        let now = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let next = match now.contains(SECOND_APP) {
            true => format!("{SETTINGS}{APP}"),
            false => format!(
                "{}{APP}{SECOND_APP}",
                SETTINGS.replace("channels_max = 100000", "channels_max = 90000")
            ),
        };
        fs::write(&file, next).map_err(|error| error.to_string())?;
        signal(field.pid, "HUP")
    }

    /// Waits until the server knows of nobody any more, and tells what it still has.
    pub async fn settled(&mut self, field: &Field) -> Remains {
        let http = Http::to(&field.at, PATIENCE);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let open = self.gauges(&http).await;
            if open.iter().all(|(_, value)| *value == 0.0) {
                break;
            }
            assert!(Instant::now() < deadline, "all have left, but: {open:?}");
            sleep(Duration::from_millis(50)).await;
        }
        self.note_evictions(&http, field).await;
        let channels = publisher::get(field, &http, "/channels").await;
        let channels = channels.expect("an answer");
        assert_eq!(channels["channels"].to_string(), "{}");
        drop(http);
        self.rested().await
    }

    /// Whom the server gave up in this wave, and why.
    async fn note_evictions(&mut self, http: &Http, field: &Field) {
        let all = self.metrics(http, &["resound_evictions_total{"]).await;
        for (reason, what) in EVICTIONS {
            let of_reason = all.iter().filter(|(name, _)| name.contains(reason));
            let total = of_reason.map(|(_, times)| *times as u64).sum::<u64>();
            let before = self.evictions.insert(what, total).unwrap_or(0);
            if total > before {
                field.did_times(what, total - before);
            }
        }
    }

    /// Connections, subscriptions and channels of all kinds.
    async fn gauges(&self, http: &Http) -> Vec<(String, f64)> {
        let names = [
            "resound_connections{",
            "resound_subscriptions{",
            "resound_channels{",
        ];
        self.metrics(http, &names).await
    }

    async fn metrics(&self, http: &Http, names: &[&str]) -> Vec<(String, f64)> {
        let admin = Address::of_listener(self.admin.ip(), self.admin.port(), false);
        let answer = http.get(&admin.http_url("/metrics")).await;
        let page = answer.expect("metrics").body;
        let lines = page.lines();
        let lines = lines.filter(|line| names.iter().any(|name| line.starts_with(name)));
        let values = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        let values: Vec<_> = values.collect();
        assert!(!values.is_empty(), "no {names:?}: {page}");
        values
    }

    /// The least of some seconds: connections that are closing have gone, and so have those that were kept for a next request.
    async fn rested(&self) -> Remains {
        let mut least = self.remains();
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            sleep(Duration::from_millis(100)).await;
            let now = self.remains();
            least.descriptors = least.descriptors.min(now.descriptors);
            least.threads = least.threads.min(now.threads);
            least.resident_bytes = least.resident_bytes.min(now.resident_bytes);
        }
        least
    }

    fn remains(&self) -> Remains {
        let process = PathBuf::from(format!("/proc/{}", self.id()));
        let descriptors = fs::read_dir(process.join("fd")).expect("a running server");
        let status = fs::read_to_string(process.join("status")).expect("a running server");
        let number = |name: &str| -> u64 {
            let text = status.lines().find_map(|line| line.strip_prefix(name));
            let text = text.map(|text| text.trim().trim_end_matches(" kB"));
            text.and_then(|text| text.parse().ok()).expect("a number")
        };
        Remains {
            resident_bytes: number("VmRSS:") * 1024,
            threads: number("Threads:"),
            descriptors: descriptors.count() as u64,
        }
    }

    /// No panic and no error has been logged.
    pub fn assert_quiet_log(&mut self) {
        for line in self.lines.try_iter() {
            let is_bad = line.contains(" ERROR ") || line.contains("panicked");
            assert!(!is_bad, "logged: {line}");
            self.reloads += usize::from(line.contains("reload"));
        }
    }

    pub fn assert_reloaded(&self) {
        assert!(self.reloads > 0, "no reload was logged");
    }

    /// Asked to, it ends, as told, with code 0.
    pub async fn assert_stops(&mut self) {
        signal(self.id(), "TERM").expect("sent");
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(Instant::now() < deadline, "doesn't stop");
            sleep(Duration::from_millis(20)).await;
        };
        self.assert_quiet_log();
        assert!(status.success(), "{status}");
    }
}

fn signal(pid: u32, name: &str) -> Result<(), String> {
    let sent = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status();
    match sent {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("no {name} for the server")),
    }
}

/// The address behind these words in the log.
fn address_in(lines: &mpsc::Receiver<String>, words: &str) -> SocketAddr {
    let mut log = String::new();
    loop {
        let Ok(line) = lines.recv_timeout(PATIENCE) else {
            panic!("never logged: {words}; but {log}");
        };
        if let Some((_, after)) = line.split_once(words) {
            let address = after.split_whitespace().next().unwrap_or_default();
            return address.parse().expect("an address");
        }
        log.push_str(&line);
        log.push('\n');
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
