//! The servers under measurement: those that are started here, anew for each run, and those that the reader has started.
use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::arguments::Peer;

/// Longer than any server takes to start or to give memory back.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is needed to start servers.
#[derive(Clone, Debug)]
pub struct Programs {
    pub resound: PathBuf,
    pub floor: PathBuf,
    /// for settings and the load generator's answers
    pub folder: PathBuf,
}

#[derive(Clone, Debug)]
pub enum Subject {
    /// `None`: as many workers as the machine has cores
    Resound {
        workers: Option<usize>,
    },
    Floor,
    Peer(Peer),
}

/// A server that can be measured. Dropped, it is killed if it was started here.
pub struct Running {
    child: Option<Child>,
    pub url: String,
    pub pids: Vec<String>,
    /// id, key, secret
    pub app: [String; 3],
}

impl Programs {
    /// Beside this program, where `cargo build --release` puts them; `RESOUND_BIN` names another binary.
    pub fn find(folder: &Path) -> Result<Programs, Box<dyn Error>> {
        let own = std::env::current_exe()?;
        let examples = own.parent().ok_or("this program is in no folder")?;
        let beside = examples.with_file_name("resound");
        let programs = Programs {
            resound: std::env::var_os("RESOUND_BIN").map_or(beside, PathBuf::from),
            floor: examples.join("floor"),
            folder: folder.to_owned(),
        };
        for program in [&programs.resound, &programs.floor] {
            if !program.is_file() {
                let program = program.display();
                return Err(format!("{program} is missing: `make bench` builds it").into());
            }
        }
        Ok(programs)
    }

    /// A server as it is when nobody has set anything, with the development app and without the admin listener, whose port may
    /// be taken. `settings` are added behind the app.
    pub fn resound(&self, workers: Option<usize>, port: u16, settings: &str) -> Command {
        let file = self.folder.join("resound.toml");
        let text = format!(
            "[[apps]]\nid = \"1001\"\nkey = \"app-key\"\nsecret = \"app-secret\"\n{settings}\n[admin]\nenabled = false\n"
        );
        // Should it fail, the server says that the file is missing.
        let _ = fs::write(&file, text);
        let mut command = Command::new(&self.resound);
        command
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .arg("--config")
            .arg(file)
            .current_dir(&self.folder)
            .env_clear()
            .env("RESOUND_LOG_LEVEL", "error")
            .stdout(Stdio::piped());
        if let Some(workers) = workers {
            command.env("RESOUND_SERVER_WORKERS", workers.to_string());
        }
        command
    }

    pub fn start(&self, subject: &Subject) -> Result<Running, Box<dyn Error>> {
        match subject {
            Subject::Resound { workers } => Running::spawn(self.resound(*workers, 0, "")),
            Subject::Floor => {
                let mut command = Command::new(&self.floor);
                command.stdout(Stdio::piped());
                Running::spawn(command)
            }
            Subject::Peer(peer) => Ok(Running {
                child: None,
                url: peer.url.clone(),
                pids: peer.pids.clone(),
                app: [peer.app.clone(), peer.key.clone(), peer.secret.clone()],
            }),
        }
    }
}

impl Subject {
    pub fn name(&self) -> String {
        match self {
            Subject::Resound { workers: Some(1) } => "Resound, 1 worker".to_owned(),
            Subject::Resound { .. } => "Resound".to_owned(),
            Subject::Floor => "floor".to_owned(),
            Subject::Peer(peer) => peer.name.clone(),
        }
    }

    pub fn is_peer(&self) -> bool {
        matches!(self, Subject::Peer(_))
    }
}

impl Running {
    /// Starts a server and waits until it has printed its address.
    pub fn spawn(mut command: Command) -> Result<Running, Box<dyn Error>> {
        let name = command.get_program().to_owned();
        let mut child = command
            .spawn()
            .map_err(|error| format!("can't start {}: {error}", name.display()))?;
        let stdout = child.stdout.take();
        let pids = vec![child.id().to_string()];
        let mut running = Running {
            child: Some(child),
            url: String::new(),
            pids,
            app: ["1001", "app-key", "app-secret"].map(str::to_owned),
        };
        let lines = stdout
            .map(BufReader::new)
            .into_iter()
            .flat_map(BufRead::lines);
        let mut addresses = lines.map_while(Result::ok).filter_map(|line| {
            let at = line.find("http://").or_else(|| line.find("https://"))?;
            let url = line[at..].split_whitespace().next()?;
            Some(url.to_owned())
        });
        running.url = addresses
            .next()
            .ok_or_else(|| format!("{} ended before it listened", name.display()))?;
        Ok(running)
    }

    pub fn address(&self) -> Result<SocketAddr, Box<dyn Error>> {
        let (_, address) = self.url.split_once("://").ok_or("a URL has a scheme")?;
        Ok(address.trim_end_matches('/').parse()?)
    }

    /// Resident memory of its first process.
    pub fn rss_bytes(&self) -> Result<u64, Box<dyn Error>> {
        let pid = self.pids.first().ok_or("its process isn't known")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        let kib: u64 = kib.ok_or("/proc doesn't tell its memory")?.parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// From the start of a process until it takes its first connection: the median of `times`.
pub fn starting_time(programs: &Programs, times: usize) -> Result<Duration, Box<dyn Error>> {
    let mut all = Vec::with_capacity(times);
    for _ in 0..times {
        all.push(start_once(programs)?);
    }
    all.sort_unstable();
    Ok(all[all.len() / 2])
}

fn start_once(programs: &Programs) -> Result<Duration, Box<dyn Error>> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = programs.resound(None, port.port(), "");
    command.stdout(Stdio::null());
    let began = Instant::now();
    let child = command.spawn()?;
    let _running = Running {
        child: Some(child),
        url: String::new(),
        pids: Vec::new(),
        app: Default::default(),
    };
    while TcpStream::connect(port).is_err() {
        if began.elapsed() > PATIENCE {
            return Err("the server doesn't accept connections".into());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(began.elapsed())
}
