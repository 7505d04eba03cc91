//! Puts everything together: listener, workers, signals, drain. The only file that knows actix-server.

mod accept;
mod apart;
mod entrance;
mod http;
pub mod limits;
mod misdialed;
mod patience;
pub(crate) mod proxy_protocol;
mod raw;
mod reload;
mod room;
mod signals;
pub mod systemd;
pub mod tls;
mod wire;

#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_rt::net::TcpStream;
#[cfg(unix)]
use actix_rt::net::UnixStream;
use actix_server::{Server, ServerHandle};
use tokio_rustls::TlsAcceptor;

pub use self::{
    apart::Admin,
    reload::{ReloadSignal, reload_on},
    signals::StopSignals,
    systemd::{Inherited, InheritedError},
    tls::{Certificates, TlsError},
};
use self::{entrance::Entrance, room::Room};
use crate::{
    admin::AdminError,
    bind::{self, BindError},
    cluster::ClusterSettings,
    config::{ServerSettings, Settings},
    hub::{
        self, Hub,
        inbox::{Commands, Inbox, WorkerId, inbox},
        ticker::{self, Limits},
    },
    node::Node,
    vital::supervise,
};

/// How often cached events whose time is over are looked for.
const CACHE_SWEEP: Duration = Duration::from_secs(60);

/// How long a stop waits for workers that end to let go of their sockets.
const CUT_PATIENCE: Duration = Duration::from_secs(2);

/// How long a stop waits for webhooks that are still on their way.
const WEBHOOK_PATIENCE: Duration = Duration::from_secs(5);

/// How long a stop waits for Redis to take what this node still has to say.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(5);

/// How often the directory is asked to do what it has put off. As late as this, things happen.
const SETTLE: Duration = Duration::from_millis(100);

/// How long a stop that hands the listener over waits for connections that were accepted before it and have said nothing
/// yet.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(1);

/// What can go wrong before the server runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Inherited(#[from] InheritedError),
    /// a file that `[cluster]` names is of no use
    #[error("there can be no cluster: {0}")]
    Cluster(String),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error("the server could not be started: {0}")]
    Io(#[from] io::Error),
}

impl StartError {
    /// Whether another start with the same settings must end the same way.
    pub fn is_configuration(&self) -> bool {
        match self {
            StartError::Tls(_) | StartError::Cluster(_) => true,
            StartError::Bind(error) | StartError::Admin(AdminError::Bind(error)) => {
                error.is_configuration()
            }
            _ => false,
        }
    }
}

/// A server that listens.
pub struct Running {
    /// the main address
    pub address: SocketAddr,
    /// of the additional port without TLS
    pub plain_address: Option<SocketAddr>,
    /// `None` = the main address speaks no TLS
    pub certificates: Option<Arc<Certificates>>,
    pub node: Arc<Node>,
    /// `None` = there is none
    pub admin: Option<Admin>,
    handle: ServerHandle,
    server: actix_rt::task::JoinHandle<io::Result<()>>,
    /// somebody else holds the main listener and gives it to our successor
    is_activated: bool,
    silent: Arc<AtomicUsize>,
    #[cfg(unix)]
    socket_file: Option<bind::SocketFile>,
}

/// Workers' ends of the inboxes, each claimed once by its worker's thread.
type Unclaimed = Arc<Mutex<Vec<(WorkerId, Commands)>>>;

/// Binds the listeners and starts the workers. Must run inside an actix system.
pub fn start(settings: Settings, files_max: u64) -> Result<Running, StartError> {
    start_with(settings, files_max, Inherited::default())
}

/// As [`start`]; sockets that were handed over take the place of those that the settings name.
pub fn start_with(
    settings: Settings,
    files_max: u64,
    inherited: Inherited,
) -> Result<Running, StartError> {
    let certificates = Certificates::find(&settings)?;
    let tls = certificates.as_ref().map(Certificates::acceptor);
    let tls = tls.transpose()?;
    let is_activated = inherited.main.is_some();
    #[cfg_attr(not(unix), allow(unused_mut))]
    let mut listening = Listening::open(&settings.server, inherited)?;
    let address = listening.main.local_addr()?;
    let plain = listening.plain.as_ref().map(TcpListener::local_addr);
    let plain = plain.transpose()?;
    let workers = settings.server.workers;
    let (inboxes, unclaimed) = make_inboxes(workers, settings.hub.inbox_depth_max);
    let connections_max =
        limits::connections_max(settings.server.connections_max, files_max, workers);
    let watch = settings.tls.watch;
    let takes_headers = settings.server.listeners.proxy_protocol;
    let node = Arc::new(make_node(settings, inboxes, connections_max)?);

    let admin = Admin::start(&node, address, plain)?;
    let files_for_clients = limits::accepted_max(files_max, workers);
    let entrance = Entrance {
        tls: None,
        takes_headers,
        node: node.clone(),
        silent: Arc::default(),
        room: Arc::new(Room::for_connections(files_for_clients)),
    };
    let silent = entrance.silent.clone();
    #[cfg(unix)]
    let socket_file = listening.socket_file.take();
    let unserved_max = limits::unserved_max(files_for_clients, workers);
    let server = serve(listening, tls, entrance, unclaimed, workers, unserved_max)?;
    let handle = server.handle();
    let server = actix_rt::spawn(server);
    let expiry = forget_expired_events(node.clone());
    supervise("task that forgets cached events", actix_rt::spawn(expiry));
    let settling = settle(node.clone());
    supervise("directory's clock", actix_rt::spawn(settling));
    if let (Some(certificates), Some(every)) = (&certificates, watch) {
        actix_rt::spawn(certificates.clone().watch(every));
    }
    Ok(Running {
        address,
        plain_address: plain,
        certificates,
        node,
        admin,
        handle,
        server,
        is_activated,
        silent,
        #[cfg(unix)]
        socket_file,
    })
}

/// Starts the workers on every listener. `entrance`: of a listener without TLS.
fn serve(
    listening: Listening,
    tls: Option<TlsAcceptor>,
    entrance: Entrance,
    unclaimed: Unclaimed,
    workers: usize,
    unserved_max: usize,
) -> io::Result<Server> {
    let main = Entrance {
        tls,
        ..entrance.clone()
    };
    let for_php = Entrance {
        takes_headers: false,
        ..entrance.clone()
    };
    let mut builder = Server::build()
        .workers(workers)
        .max_concurrent_connections(unserved_max)
        .disable_signals()
        .shutdown_timeout(2);
    let stopping = builder.graceful_shutdown_signal();
    let by_tcp = |entrance: Entrance| {
        let (unclaimed, stopping) = (unclaimed.clone(), stopping.clone());
        move || http::service::<TcpStream>(unclaimed.clone(), entrance.clone(), stopping.clone())
    };
    builder = builder.listen("resound", listening.main, by_tcp(main))?;
    if let Some(listener) = listening.plain {
        builder = builder.listen("resound plain", listener, by_tcp(for_php))?;
    }
    #[cfg(unix)]
    if let Some(listener) = listening.unix {
        builder = builder.listen_uds("resound unix", listener, move || {
            http::service::<UnixStream>(unclaimed.clone(), entrance.clone(), stopping.clone())
        })?;
    }
    Ok(builder.run())
}

/// Alone or in a cluster, as the settings say.
fn make_node(
    settings: Settings,
    inboxes: Vec<Inbox>,
    connections_max: usize,
) -> Result<Node, StartError> {
    let held_max = settings.webhook.queue_events_max;
    let cluster = settings.cluster.as_ref();
    let cluster = cluster.map(|cluster| ClusterSettings::new(cluster, held_max));
    let cluster = cluster.transpose().map_err(StartError::Cluster)?;
    let node = Node::new(settings, inboxes, connections_max);
    Ok(match cluster {
        Some(cluster) => node.in_cluster(cluster)?,
        None => node,
    })
}

/// Every socket that connections are taken from.
struct Listening {
    main: TcpListener,
    plain: Option<TcpListener>,
    #[cfg(unix)]
    unix: Option<UnixListener>,
    /// of the Unix socket, if it is ours
    #[cfg(unix)]
    socket_file: Option<bind::SocketFile>,
}

impl Listening {
    fn open(settings: &ServerSettings, inherited: Inherited) -> Result<Listening, BindError> {
        let main = match inherited.main {
            Some(listener) => listener,
            None => bind::listen(settings.host, settings.port, bind::MAIN, &[])?,
        };
        let listeners = &settings.listeners;
        let plain = match (inherited.plain, listeners.plain) {
            (Some(listener), _) => Some(listener),
            (None, Some(address)) => {
                let own = main.local_addr().ok();
                let (host, port) = (address.ip(), address.port());
                Some(bind::listen(host, port, bind::PLAIN, own.as_slice())?)
            }
            (None, None) => None,
        };
        #[cfg(unix)]
        let (unix, socket_file) = match (inherited.unix, &listeners.unix_socket) {
            (Some(listener), _) => (Some(listener), None),
            (None, Some(path)) => {
                let (listener, file) = bind::listen_unix(path, listeners.unix_socket_mode)?;
                (Some(listener), Some(file))
            }
            (None, None) => (None, None),
        };
        Ok(Listening {
            main,
            plain,
            #[cfg(unix)]
            unix,
            #[cfg(unix)]
            socket_file,
        })
    }
}

fn make_inboxes(workers: usize, depth_max: usize) -> (Vec<Inbox>, Unclaimed) {
    let mut inboxes = Vec::with_capacity(workers);
    let mut unclaimed = Vec::with_capacity(workers);
    for worker in (0..u16::MAX).map(WorkerId).take(workers) {
        let (inbox, commands) = inbox(depth_max);
        inboxes.push(inbox);
        unclaimed.push((worker, commands));
    }
    (inboxes, Arc::new(Mutex::new(unclaimed)))
}

/// The hub of this worker, with its two tasks.
fn start_hub(node: &Node, unclaimed: &Unclaimed) -> Option<Rc<Hub>> {
    let (worker, commands) = unclaimed
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pop()?;
    let socket = node.settings().socket;
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let limits = Limits {
        write_timeout_s: seconds(socket.write_timeout),
        close_timeout_s: seconds(socket.close_timeout),
        message_timeout_s: seconds(socket.message_timeout),
    };
    let hub = Hub::new(worker, limits, node.observe().metrics.worker(worker.0));
    // A turn's writes must not be charged to tokio's budget for one task: it would send each write beyond the first 128
    // back to its connection's task.
    let turns = tokio::task::unconstrained(hub::run(hub.clone(), commands));
    supervise("hub of a worker", actix_rt::spawn(turns));
    let ticking = ticker::run(hub.clone());
    supervise("ticker of a worker", actix_rt::spawn(ticking));
    Some(hub)
}

async fn forget_expired_events(node: Arc<Node>) {
    let mut interval = tokio::time::interval(CACHE_SWEEP);
    loop {
        interval.tick().await;
        node.directory().expire_cached(std::time::Instant::now());
    }
}

async fn settle(node: Arc<Node>) {
    let mut interval = tokio::time::interval(SETTLE);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        node.directory().settle(std::time::Instant::now());
    }
}

impl Running {
    /// Path of the Unix socket that was opened.
    #[cfg(unix)]
    pub fn unix_socket(&self) -> Option<&std::path::Path> {
        self.socket_file.as_ref().map(bind::SocketFile::path)
    }

    /// Serves until a signal asks it to stop; then drains and returns.
    pub async fn until_stopped(mut self, mut signals: StopSignals) -> io::Result<()> {
        systemd::ready(&format!("serving on {}", self.address));
        actix_rt::spawn(systemd::keep_watchdog_calm(self.node.clone()));
        let signal = tokio::select! {
            signal = signals.next() => signal,
            ended = &mut self.server => return ended.map_err(io::Error::other)?,
        };
        let connections = self.node.connections();
        tracing::info!("stopping on {signal}: closing {connections} connections");
        systemd::stopping(&format!("closing {connections} connections"));
        tokio::select! {
            () = self.drained() => {}
            again = signals.next() => {
                tracing::warn!("stopping at once on {again}");
            }
        }
        let left = async {
            // First of all requests: an event that comes to a node that has left its cluster reaches nobody else.
            self.handle.stop(true).await;
            self.cut().await;
            self.take_leave().await;
        };
        tokio::select! {
            () = left => {}
            again = signals.next() => {
                tracing::warn!("stopping on {again}, whatever is still on its way");
            }
        }
        self.stop().await
    }

    /// Waits until the workers have let go of the sockets that they cut at their end: what follows from it is still to be told.
    async fn cut(&self) {
        if !self.are_sockets_gone_in(CUT_PATIENCE).await {
            let left = self.node.connections();
            tracing::warn!("{left} connections are left: nobody will be told of their end");
        }
    }

    async fn are_sockets_gone_in(&self, patience: Duration) -> bool {
        let gone = async {
            while self.node.connections() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(patience, gone).await.is_ok()
    }

    /// Of the other nodes, and of the webhooks' endpoints: what was held back for the case of a return is told to the others'
    /// clients and to webhooks.
    async fn take_leave(&self) {
        if let Some(cluster) = self.node.cluster() {
            cluster.stop(CLUSTER_PATIENCE).await;
        }
        self.node.webhooks().flush(WEBHOOK_PATIENCE).await;
    }

    /// Stops listening and ends what is still open.
    pub async fn stop(self) -> io::Result<()> {
        self.handle.stop(true).await;
        if let Some(admin) = self.admin {
            admin.stop().await;
        }
        self.server.await.map_err(io::Error::other)?
    }

    /// Fails readiness, then closes every socket and waits until they are gone, at most until the deadline (C-34).
    ///
    /// Our own listener stays meanwhile: new sockets are refused with 503, readiness probes get an answer, and events still
    /// reach whoever is left. A listener that was handed to us isn't ours alone: nothing more is taken from it, and who
    /// connects waits in its queue for our successor.
    pub async fn drained(&self) {
        let stopping = self.node.settings().server.stopping;
        self.node.fail_readiness();
        if self.is_activated {
            self.leave_listener().await;
        } else {
            tokio::time::sleep(stopping.delay).await;
        }
        self.node.drain();
        if !self.are_sockets_gone_in(stopping.deadline).await {
            tracing::warn!(
                "cutting {} connections that are still open (server.drain_deadline_s)",
                self.node.connections()
            );
        }
    }

    /// Accepts nothing more, and lets those who were accepted say what they want.
    async fn leave_listener(&self) {
        self.node.hand_over();
        self.handle.pause().await;
        let heard = async {
            loop {
                // Once more even if all have spoken: the acceptor may have had one in its hands.
                tokio::time::sleep(Duration::from_millis(50)).await;
                if self.silent.load(Ordering::Relaxed) == 0 {
                    break;
                }
            }
        };
        // Who connects and says nothing can wait no longer than this.
        let _ = tokio::time::timeout(ARRIVAL_PATIENCE, heard).await;
    }
}
