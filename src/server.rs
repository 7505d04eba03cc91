//! Puts everything together: listener, workers, signals, drain. The only file that knows actix-server.

mod accept;
mod bind;
mod http;
pub mod limits;
pub mod misdialed;
mod proxy_protocol;
mod reload;
mod signals;
mod wire;

use std::{
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix_rt::net::TcpStream;
use actix_server::{Server, ServerHandle};

use self::accept::Entrance;
pub use self::{
    bind::BindError,
    reload::{ReloadSignal, reload_on},
    signals::StopSignals,
};
use crate::{
    config::Settings,
    hub::{
        self, Hub,
        inbox::{Commands, Inbox, WorkerId, inbox},
        ticker::{self, Limits},
    },
    node::Node,
};

/// Open HTTP connections of one worker, sockets not counted, before it accepts no more.
const HTTP_CONNECTIONS_MAX: usize = 25_000;

/// The exit code after a fault of our own (EX_SOFTWARE).
const EXIT_FAULT: i32 = 70;

/// How often cached events whose time is over are looked for.
const CACHE_SWEEP: Duration = Duration::from_secs(60);

/// How long a stop waits for webhooks that are still on their way.
const WEBHOOK_PATIENCE: Duration = Duration::from_secs(5);

/// How often the directory is asked to do what it has put off. As late as this, things happen.
const SETTLE: Duration = Duration::from_millis(100);

/// What can go wrong before the server runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the server could not be started: {0}")]
    Io(#[from] io::Error),
}

/// A server that listens.
pub struct Running {
    pub address: SocketAddr,
    pub node: Arc<Node>,
    handle: ServerHandle,
    server: actix_rt::task::JoinHandle<io::Result<()>>,
}

/// Workers' ends of the inboxes, each claimed once by its worker's thread.
type Unclaimed = Arc<Mutex<Vec<(WorkerId, Commands)>>>;

/// Binds the listener and starts the workers. Must run inside an actix system.
pub fn start(settings: Settings, files_max: u64) -> Result<Running, StartError> {
    let listener = bind::listen(settings.server.host, settings.server.port)?;
    let address = listener.local_addr()?;
    let workers = settings.server.workers;
    let (inboxes, unclaimed) = make_inboxes(workers, settings.hub.inbox_depth_max);
    let connections_max = limits::connections_max(settings.server.connections_max, files_max);
    let node = Arc::new(Node::new(settings, inboxes, connections_max));

    let entrance = Entrance {
        tls: None,
        takes_headers: false,
        node: node.clone(),
    };
    let builder = Server::build();
    let stopping = builder.graceful_shutdown_signal();
    let server = builder
        .workers(workers)
        .max_concurrent_connections(HTTP_CONNECTIONS_MAX)
        .disable_signals()
        .shutdown_timeout(2)
        .listen("resound", listener, move || {
            http::service::<TcpStream>(unclaimed.clone(), entrance.clone(), stopping.clone())
        })?
        .run();
    let handle = server.handle();
    let server = actix_rt::spawn(server);
    actix_rt::spawn(forget_expired_events(node.clone()));
    actix_rt::spawn(settle(node.clone()));
    Ok(Running {
        address,
        node,
        handle,
        server,
    })
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
    };
    let hub = Hub::new(worker, limits);
    // A turn's writes must not be charged to tokio's budget for one task: it would send each write beyond the first 128
    // back to its connection's task.
    let turns = tokio::task::unconstrained(hub::run(hub.clone(), commands));
    supervise("hub", turns);
    supervise("ticker", ticker::run(hub.clone()));
    Some(hub)
}

/// Runs a task that a worker can't be without. Should it panic, its sockets would look healthy and get nothing: the
/// process ends instead, for its manager to start it anew.
fn supervise(name: &'static str, task: impl Future<Output = ()> + 'static) {
    let task = actix_rt::spawn(task);
    actix_rt::spawn(async move {
        if task.await.is_err_and(|error| error.is_panic()) {
            tracing::error!("a worker's {name} task panicked, which is a fault of Resound: ending");
            std::process::exit(EXIT_FAULT);
        }
    });
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
    /// Serves until a signal asks it to stop; then drains and returns.
    pub async fn until_stopped(mut self, mut signals: StopSignals) -> io::Result<()> {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            ended = &mut self.server => return ended.map_err(io::Error::other)?,
        };
        tracing::info!(
            "stopping on {signal}: closing {} connections",
            self.node.connections()
        );
        tokio::select! {
            () = self.drained() => {}
            again = signals.next() => {
                tracing::warn!("stopping at once on {again}");
            }
        }
        self.node.webhooks().flush(WEBHOOK_PATIENCE).await;
        self.stop().await
    }

    /// Stops listening and ends what is still open.
    pub async fn stop(self) -> io::Result<()> {
        self.handle.stop(true).await;
        self.server.await.map_err(io::Error::other)?
    }

    /// Closes every socket and waits until they are gone, at most for the drain time and one close timeout (C-34). The
    /// listener stays: new sockets are refused with 503, readiness probes get an answer, and events still reach whoever
    /// is left.
    pub async fn drained(&self) {
        self.node.drain();
        let settings = self.node.settings();
        let patience = settings.server.drain + settings.socket.close_timeout + ticker::TICK * 2;
        let gone = async {
            while self.node.connections() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(patience, gone).await.is_err() {
            tracing::warn!(
                "{} connections were still open after the drain time",
                self.node.connections()
            );
        }
    }
}
