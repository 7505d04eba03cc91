//! Processes that stand still and go on later, like a laptop that sleeps or a machine that is paused. A client that does is given up,
//! which is counted and logged, and comes back; a server that does gives nobody up for it.
use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{
    helpers::PATIENCE,
    peer::{Socket, Stream, event, ok, publish, send, tcp},
    process::{Process, Start, metrics},
};

const STOPPED: usize = 3;

/// Who gets everything meanwhile.
const OTHERS: usize = 4;

/// Clients of `room`, each in a process of its own.
fn clients(address: SocketAddr) -> Vec<Process> {
    let url = format!("http://{address}");
    let start = |_| {
        Start {
            arguments: &["tail", "room", "--url", &url],
            ..Start::default()
        }
        .run()
    };
    let clients: Vec<Process> = (0..STOPPED).map(start).collect();
    for client in &clients {
        client.wait_for("subscribed to room");
    }
    clients
}

async fn others(address: SocketAddr) -> Vec<Socket> {
    join_all((0..OTHERS).map(async |_| Socket::on_room(tcp(address).await).await)).await
}

/// Publishes an event, which each of these gets.
async fn tell(backend: &mut Stream, sockets: &mut [Socket], data: &str) {
    send(backend, publish(&event(data), "")).await;
    assert_eq!(ok(backend).await, "{}");
    for socket in sockets {
        assert_eq!(socket.next_data().await, data);
    }
}

/// `bytes`: of each event that is published until the clients are gone.
async fn check(settings: &str, bytes: usize, reason: &str, logged: Option<&str>) {
    let settings = format!("{settings}\nevent_data_bytes_max = 200000\n");
    let (process, address, admin) = Process::listening_with_admin(Start {
        settings: &settings,
        ..Start::default()
    });
    let clients = clients(address);
    let mut backend = tcp(address).await;
    let mut others = others(address).await;
    clients.iter().for_each(|client| client.signal("STOP"));
    let deadline = Instant::now() + PATIENCE;
    let left = format!("connections{{app=\"7\"}} {OTHERS}");
    let padding = "x".repeat(bytes);
    for number in 0.. {
        let data = format!("{number} {padding}");
        tell(&mut backend, &mut others, &data).await;
        if metrics(admin, &["connections"]).await == [&*left] {
            break;
        }
        assert!(Instant::now() < deadline, "{reason}: they are kept");
    }
    let evictions = metrics(admin, &["evictions_total"]).await;
    let counted = format!("evictions_total{{app=\"7\",reason=\"{reason}\"}} {STOPPED}");
    assert!(evictions.contains(&counted), "{evictions:?}");
    if let Some(logged) = logged {
        let line = process.wait_for(logged);
        assert!(
            line.contains("INFO") && line.contains("peer=127.0.0.1"),
            "{line}"
        );
    }
    for client in &clients {
        client.signal("CONT");
        client.wait_for("subscribed to room");
    }
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_given_up_and_comes_back() {
    let settings = "[app_defaults]\nping_interval_s = 2\npong_timeout_s = 2\n";
    check(settings, 10, "pong_timeout", None).await;
}

/// It is gone long before the times that it would have.
#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up_when_too_much_waits_and_comes_back() {
    let settings = "[socket]\noutbox_bytes_max = 200000\nwrite_timeout_s = 600\nclose_timeout_s = 600\n[app_defaults]";
    check(
        settings,
        100_000,
        "outbox_full",
        Some("(socket.outbox_bytes_max)"),
    )
    .await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up_after_a_while_and_comes_back() {
    let settings = "[socket]\noutbox_bytes_max = 1000000000\nwrite_timeout_s = 1\n[app_defaults]";
    check(
        settings,
        100_000,
        "write_timeout",
        Some("(socket.write_timeout_s)"),
    )
    .await;
}

/// What somebody said who is gone is in the system still, but not from where: it must not be believed as if it came by a Unix socket.
#[tokio::test]
async fn who_is_gone_when_he_is_accepted_is_not_believed() {
    let (process, address, admin) = Process::listening_with_admin(Start {
        settings: "[server]\ntrusted_proxies = ['192.0.2.1/32']\n",
        ..Start::default()
    });
    process.signal("STOP");
    for number in 0..20 {
        let mut stream = TcpStream::connect(address)
            .await
            .expect("the system's queue");
        let spoofed = format!("X-Forwarded-For: 203.0.113.{number}\r\n");
        let wrong = publish(&event("x"), &spoofed).replace("auth_signature=", "auth_signature=0");
        stream.write_all(wrong.as_bytes()).await.expect("sent");
        let reset = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        reset.expect("a socket's option");
    }
    process.signal("CONT");
    for _ in 0..4 {
        tell(&mut tcp(address).await, &mut [], "behind them in the queue").await;
    }
    let known = metrics(admin, &["limited_addresses"]).await;
    assert_eq!(known, ["limited_addresses 0"]);
}

/// Clients have answered, or would have, had anybody asked them.
#[tokio::test]
async fn a_server_that_stood_still_gives_nobody_up() {
    let (process, address, admin) = Process::listening_with_admin(Start {
        settings: "[app_defaults]\nping_interval_s = 2\npong_timeout_s = 2\n",
        ..Start::default()
    });
    let mut sockets = others(address).await;
    let mut backend = tcp(address).await;
    process.signal("STOP");
    // longer than anybody may be silent
    sleep(Duration::from_secs(7)).await;
    process.signal("CONT");
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        tell(&mut backend, &mut sockets, "still here").await;
    }
    let evictions = metrics(admin, &["evictions_total"]).await;
    assert!(!evictions.is_empty());
    assert!(
        evictions.iter().all(|line| line.ends_with(" 0")),
        "{evictions:?}"
    );
}
