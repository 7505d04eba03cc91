//! A TCP proxy between a node and Redis that is slow, or cuts what goes through it.
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Dropped, it is gone with all its connections.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

struct Shared {
    to: SocketAddr,
    /// each way
    delay_ms: AtomicU64,
    refuses: AtomicBool,
    /// counts the cuts
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// To this port of this machine.
    pub async fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            to: ([127, 0, 0, 1], port).into(),
            delay_ms: AtomicU64::new(0),
            refuses: AtomicBool::new(false),
            cuts: watch::Sender::new(0),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, shared.clone()));
        Proxy {
            address,
            shared,
            _accepting: accepting,
        }
    }

    pub fn settings(&self) -> String {
        format!("url = \"redis://{}/0\"", self.address)
    }

    /// From now on every byte takes this much longer, each way.
    pub fn delay(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).expect("a delay");
        self.shared.delay_ms.store(delay_ms, Relaxed);
    }

    /// Cuts all connections; new ones are welcome.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Cuts all connections, and new ones as soon as they come.
    pub fn close(&self) {
        self.shared.refuses.store(true, Relaxed);
        self.cut();
    }

    pub fn open(&self) {
        self.shared.refuses.store(false, Relaxed);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        if !shared.refuses.load(Relaxed) {
            connections.spawn(pass(stream, shared.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(client: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let Ok(server) = TcpStream::connect(shared.to).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = cuts.changed() => {}
        () = copy(from_client, to_server, &shared) => {}
        () = copy(from_server, to_client, &shared) => {}
    }
}

/// Late, but as much at a time as comes.
async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    shared: &Shared,
) {
    let (sender, mut late) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async {
        loop {
            let mut bytes = Vec::with_capacity(65_536);
            match from.read_buf(&mut bytes).await {
                Ok(1..) => {}
                _ => return,
            }
            let due = Instant::now() + Duration::from_millis(shared.delay_ms.load(Relaxed));
            if sender.send((due, bytes)).is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((due, bytes)) = late.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}
