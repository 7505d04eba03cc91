//! A server of one's own for each test, in this process, and certificates for it.
use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rcgen::generate_simple_self_signed;
use resound::{
    config,
    metrics::Refused,
    node::Node,
    server::{self, Certificates, Inherited},
};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::sync::oneshot;

pub const APP: &str = "[[apps]]\nid = \"7\"\nkey = \"key7\"\nsecret = \"secret7\"\n";

/// Far more than anything takes; a condition that isn't met by then fails the test.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A running server. Dropped, it stops.
pub struct Server {
    pub address: SocketAddr,
    pub plain: Option<SocketAddr>,
    pub certificates: Option<Arc<Certificates>>,
    pub node: Arc<Node>,
    stop: Option<oneshot::Sender<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `settings`: TOML tables besides the app.
    pub fn start(settings: &str) -> Server {
        Server::with(settings, Inherited::default())
    }

    pub fn with(settings: &str, inherited: Inherited) -> Server {
        let mut settings = config::from_toml(&format!("{settings}\n{APP}")).expect("settings");
        settings.server.host = [127, 0, 0, 1].into();
        settings.server.port = 0;
        settings.server.workers = 2;
        let (started, running) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let running = server::start_with(settings, 20_000, inherited).expect("a server");
                let handles = (
                    running.address,
                    running.plain_address,
                    running.certificates.clone(),
                    running.node.clone(),
                );
                started.send(handles).expect("the test waits");
                if let Ok(true) = stopped.await {
                    running.drained().await;
                }
                running.stop().await.expect("a clean stop");
            });
        });
        let (address, plain, certificates, node) = running.recv().expect("a running server");
        Server {
            address,
            plain,
            certificates,
            node,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Begins to stop as a signal would.
    pub fn drain(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(true);
        }
    }

    /// How often connections were refused for this reason before they had a request.
    pub fn refused(&self, reason: &str) -> u64 {
        let refusals = self.node.observe().metrics.refusals();
        let of_reason = refusals
            .iter()
            .find(|((what, name), _)| *what == Refused::Transport && *name == reason);
        of_reason.map_or(0, |(_, count)| *count)
    }

    /// Whether the thread of the server has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(false);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn free_listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

/// A certificate for `localhost` with its key, as text.
pub struct Made {
    pub certificate: String,
    pub key: String,
    pub der: CertificateDer<'static>,
}

impl Made {
    pub fn new() -> Made {
        Made::of("localhost")
    }

    pub fn of(name: &str) -> Made {
        let made = generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        Made {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            der: made.cert.der().clone(),
        }
    }
}

/// The two files that a server is told of.
pub struct Files {
    folder: TempDir,
}

impl Files {
    pub fn with(made: &Made) -> Files {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files { folder };
        files.put(made);
        files
    }

    pub fn put(&self, made: &Made) {
        std::fs::write(self.key(), &made.key).expect("written");
        std::fs::write(self.certificate(), &made.certificate).expect("written");
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// The section of the settings that names them.
    pub fn section(&self, more: &str) -> String {
        format!(
            "[tls]\ncertificate = '{}'\nkey = '{}'\n{more}\n",
            self.certificate().display(),
            self.key().display()
        )
    }
}
