//! The end: its pace, its deadline, and what a second signal and a successor make of it.
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use resound::server::limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use tokio_rustls::TlsConnector;

use crate::{
    helpers::{Files, Made, PATIENCE, Server, eventually, free_listener},
    peer::{Socket, answer, any_version, ok, rest, send, tcp, tls_over},
    process::{Process, Start},
};

const HANDSHAKE: &[u8] = b"GET /app/key7?protocol=7 HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn has(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

/// Reads until all of `text` has come; `false` if the connection ends first.
async fn read_until(stream: &mut TcpStream, bytes: &mut Vec<u8>, text: &str) -> bool {
    while !has(bytes, text) {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(bytes)).await;
        if !matches!(read.expect("in time"), Ok(1..)) {
            return false;
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c34_five_thousand_sockets_are_closed_at_the_set_rate() {
    const SOCKETS: usize = 5_000;
    const RATE: usize = 2_500;
    limits::raise_file_limit(2);
    let mut server = Server::start(&format!(
        "[server]\ndrain_s = 0\ndrain_rate_per_s = {RATE}\nhandshake_timeout_s = 60\n[app_defaults]\nping_interval_s = 3600"
    ));
    let mut sockets = Vec::with_capacity(SOCKETS);
    while sockets.len() < SOCKETS {
        let some = join_all((0..100).map(async |_| {
            let mut stream = TcpStream::connect(server.address)
                .await
                .expect("a connection");
            stream.write_all(HANDSHAKE).await.expect("sent");
            let mut bytes = Vec::new();
            assert!(read_until(&mut stream, &mut bytes, "connection_established").await);
            stream
        }))
        .await;
        sockets.extend(some);
    }
    assert_eq!(server.node.connections(), SOCKETS);

    let closed = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = sockets
        .into_iter()
        .map(|mut stream| {
            let closed = closed.clone();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                let is_told = read_until(&mut stream, &mut bytes, "\"code\":4200").await;
                closed.fetch_add(1, Ordering::Relaxed);
                is_told
            })
        })
        .collect();
    let began = Instant::now();
    server.drain();
    // Whatever is late only makes fewer of them.
    let slack = 2 * RATE / 50 + RATE / 20;
    while closed.load(Ordering::Relaxed) < SOCKETS {
        let count = closed.load(Ordering::Relaxed);
        let allowed = (began.elapsed().as_secs_f64() * RATE as f64) as usize + slack;
        assert!(count <= allowed, "{count} closed, {allowed} allowed");
        assert!(began.elapsed() < PATIENCE, "only {count} are closed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let told = join_all(tasks).await;
    assert!(told.into_iter().all(|told| told.expect("no panic")));
    eventually("it has stopped", || server.has_ended()).await;
}

/// The load balancer sees it before anybody is closed.
#[tokio::test]
async fn readiness_fails_before_sockets_are_closed() {
    let mut server = Server::start("[server]\ndrain_delay_s = 4\ndrain_s = 0");
    let mut socket = Socket::on_room(tcp(server.address).await).await;
    let mut probe = tcp(server.address).await;
    let request = "GET /ready HTTP/1.1\r\nHost: test\r\n\r\n";
    send(&mut probe, request).await;
    ok(&mut probe).await;
    let began = Instant::now();
    server.drain();
    eventually("it drains", || server.node.is_draining()).await;
    send(&mut probe, request).await;
    let (head, _) = answer(&mut probe).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    // newcomers are welcome meanwhile
    let mut late = Socket::on_room(tcp(server.address).await).await;
    assert!(!server.node.is_closing());
    assert_eq!(socket.closed().await, Some(4200));
    assert_eq!(late.closed().await, Some(4200));
    assert!(began.elapsed() >= Duration::from_secs(4));
}

#[tokio::test]
async fn what_is_open_at_the_deadline_is_cut() {
    let settings = "[server]\ndrain_rate_per_s = 1\ndrain_deadline_s = 1";
    let mut server = Server::start(settings);
    let mut sockets = Vec::new();
    for _ in 0..30 {
        sockets.push(Socket::on_room(tcp(server.address).await).await);
    }
    server.drain();
    let codes = join_all(sockets.iter_mut().map(Socket::closed)).await;
    let told = codes.iter().filter(|code| **code == Some(4200)).count();
    assert!((1..30).contains(&told), "{told} were told");
    eventually("it has stopped", || server.has_ended()).await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for during_delay in [true, false] {
        let settings = match during_delay {
            true => "[server]\ndrain_delay_s = 3600",
            false => "[server]\ndrain_rate_per_s = 1\ndrain_deadline_s = 7200",
        };
        let (mut process, address) = Process::listening(Start {
            settings,
            ..Start::default()
        });
        let mut sockets = Vec::new();
        for _ in 0..50 {
            sockets.push(Socket::on_room(tcp(address).await).await);
        }
        process.signal("TERM");
        process.wait_for("stopping on SIGTERM: closing 50 connections");
        assert!(!process.has_ended());
        process.signal("INT");
        process.wait_for("stopping at once on SIGINT");
        assert!(process.ended().success());
    }
}

/// Settings with an app `8`, all of whose webhooks go here.
fn with_webhooks(endpoint: &TcpListener, settings: &str) -> String {
    format!(
        "{settings}\n[webhook]\nallow_private_targets = true\nbatching = false\n[[apps]]\nid = '8'\nkey = 'key8'\nsecret = 's'\nwebhooks = [{{ url = 'http://{}' }}]",
        endpoint.local_addr().expect("an address")
    )
}

/// A socket of app `8` on this channel.
async fn on_channel(address: SocketAddr, channel: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let handshake = String::from_utf8_lossy(HANDSHAKE).replace("key7", "key8");
    stream.write_all(handshake.as_bytes()).await.expect("sent");
    let subscribe = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#);
    let length = u8::try_from(subscribe.len()).expect("a short text");
    let head = [0x81, 0x80 | length, 0, 0, 0, 0];
    let frame = [&head, subscribe.as_bytes()].concat();
    stream.write_all(&frame).await.expect("sent");
    let mut bytes = Vec::new();
    assert!(read_until(&mut stream, &mut bytes, "subscription_succeeded").await);
    stream
}

/// Nor does it wait for an endpoint of webhooks that never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_signal_ends_the_wait_for_webhooks() {
    let endpoint = free_listener();
    let settings = with_webhooks(&endpoint, "");
    let (mut process, address) = Process::listening(Start {
        settings: &settings,
        ..Start::default()
    });
    let socket = on_channel(address, "room").await;
    let _asked = tokio::task::block_in_place(|| endpoint.accept()).expect("a webhook");
    drop(socket);

    process.signal("TERM");
    process.wait_for("stopping on SIGTERM: closing");
    while !process.has_ended() {
        process.signal("TERM");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(process.ended().success());
    let logged = process.logged();
    let is_logged = |text: &str| logged.iter().any(|line| line.contains(text));
    assert!(is_logged("whatever is still on its way"), "{logged:#?}");
    assert!(
        !is_logged("webhook events were still waiting"),
        "{logged:#?}"
    );
}

/// Takes every request with 200, and adds what it said to `told`.
fn take_webhooks(endpoint: TcpListener, told: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for mut stream in endpoint.incoming().map_while(Result::ok) {
            let mut bytes = [0; 65_536];
            let mut request = String::new();
            while !request.ends_with("}]}") {
                match stream.read(&mut bytes) {
                    Ok(length @ 1..) => request += &String::from_utf8_lossy(&bytes[..length]),
                    _ => break,
                }
            }
            *told.lock().expect("no panic") += &request;
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}

/// Sockets that are cut leave their channels like any others, and webhooks tell of it.
#[tokio::test]
async fn webhooks_tell_of_sockets_that_a_stop_cuts() {
    const SOCKETS: usize = 100;
    let endpoint = free_listener();
    let settings = "[server]\ndrain_rate_per_s = 1\ndrain_deadline_s = 7200";
    let settings = with_webhooks(&endpoint, settings);
    let told = Arc::new(Mutex::new(String::new()));
    take_webhooks(endpoint, told.clone());
    let count = |name: &str| told.lock().expect("no panic").matches(name).count();
    let (mut process, address) = Process::listening(Start {
        settings: &settings,
        ..Start::default()
    });
    let mut sockets = Vec::new();
    for number in 0..SOCKETS {
        sockets.push(on_channel(address, &format!("room-{number}")).await);
    }
    eventually("all are told", || count("channel_occupied") == SOCKETS).await;
    process.signal("TERM");
    process.wait_for("stopping on SIGTERM: closing");
    process.signal("TERM");
    assert!(process.ended().success());
    assert_eq!(count("channel_vacated"), SOCKETS);
}

#[tokio::test]
async fn the_unix_socket_is_removed_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("resound.sock");
    let settings = format!("[server]\nunix_socket = '{}'", path.display());
    let (mut process, _) = Process::listening(Start {
        settings: &settings,
        ..Start::default()
    });
    assert!(path.exists());
    process.signal("TERM");
    assert!(process.ended().success());
    assert!(!path.exists());
}

/// One connection, from connect to an answer: `true` if it is served, which being sent on to the successor is.
async fn visit(address: std::net::SocketAddr) -> Result<(), String> {
    let mut stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("refused: {error}"))?;
    stream
        .write_all(HANDSHAKE)
        .await
        .map_err(|error| format!("dropped: {error}"))?;
    let mut bytes = Vec::new();
    if !read_until(&mut stream, &mut bytes, "\r\n\r\n").await {
        return Err("closed without an answer".to_owned());
    }
    if !bytes.starts_with(b"HTTP/1.1 101 ") {
        return Err(String::from_utf8_lossy(&bytes).into_owned());
    }
    if !read_until(&mut stream, &mut bytes, "\"event\":\"pusher").await {
        return Err("closed after the handshake".to_owned());
    }
    Ok(())
}

/// The socket is held by somebody else: a restart refuses no connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_an_inherited_socket_refuses_nobody() {
    let listener = free_listener();
    let address = listener.local_addr().expect("an address");
    let start = || {
        let process = Start {
            settings: "[server]\ndrain_s = 1",
            listener: Some(&listener),
            ..Start::default()
        }
        .run();
        process.wait_for("listening on");
        process
    };
    let mut current = start();
    let mut staying = Socket::on_room(tcp(address).await).await;

    let is_over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let visitors: Vec<_> = (0..8)
        .map(|_| {
            let (is_over, served) = (is_over.clone(), served.clone());
            tokio::spawn(async move {
                let mut failures = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    match visit(address).await {
                        Ok(()) => {
                            served.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(failure) => failures.push(failure),
                    }
                    // a visitor after the other, not as many as the machine can make
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                failures
            })
        })
        .collect();
    let more = async |count: usize| {
        let goal = served.load(Ordering::Relaxed) + count;
        eventually("more visits", || served.load(Ordering::Relaxed) >= goal).await;
    };
    more(100).await;
    for _ in 0..3 {
        current.signal("TERM");
        assert_eq!(staying.closed().await, Some(4200));
        assert!(tokio::task::block_in_place(|| current.ended()).success());
        current = tokio::task::block_in_place(start);
        staying = Socket::on_room(tcp(address).await).await;
        more(100).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let failures: Vec<String> = join_all(visitors)
        .await
        .into_iter()
        .flat_map(|failures| failures.expect("no panic"))
        .collect();
    assert!(
        failures.is_empty(),
        "{} failed: {:?}",
        failures.len(),
        failures.first()
    );
}

/// Who was accepted is heard, also if the TLS handshake takes its time.
#[tokio::test]
async fn a_stop_for_a_successor_waits_for_tls_handshakes() {
    let made = Made::new();
    let files = Files::with(&made);
    let settings = files.section("");
    let connector = any_version(&[&made]);
    // On a machine that is very busy a client may be slower than the server waits.
    for _ in 0..5 {
        let listener = free_listener();
        let address = listener.local_addr().expect("an address");
        let process = Start {
            settings: &settings,
            listener: Some(&listener),
            ..Start::default()
        }
        .run();
        process.wait_for("listening on");
        let stream = TcpStream::connect(address).await.expect("a connection");
        // accepted, as this one is
        ok_over_tls(
            TcpStream::connect(address).await.expect("one more"),
            &connector,
        )
        .await
        .expect("an answer");
        process.signal("TERM");
        process.wait_for("stopping on SIGTERM");
        tokio::time::sleep(Duration::from_millis(200)).await;
        if ok_over_tls(stream, &connector).await.is_ok() {
            return;
        }
    }
    panic!("nobody was heard");
}

async fn ok_over_tls(stream: TcpStream, connector: &TlsConnector) -> std::io::Result<()> {
    let mut stream = tls_over(stream, connector).await?;
    let request = b"GET /live HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("in time");
    match bytes.starts_with(b"HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Without a successor newcomers are told to go away at once.
#[tokio::test]
async fn c34_our_own_listener_refuses_newcomers() {
    let settings = "[server]\ndrain_rate_per_s = 1\ndrain_deadline_s = 7200";
    let (process, address) = Process::listening(Start {
        settings,
        ..Start::default()
    });
    let mut sockets = Vec::new();
    for _ in 0..50 {
        sockets.push(Socket::on_room(tcp(address).await).await);
    }
    process.signal("TERM");
    process.wait_for("stopping on SIGTERM");
    let mut probe = tcp(address).await;
    loop {
        let mut late = tcp(address).await;
        send(&mut late, HANDSHAKE).await;
        send(&mut probe, "GET /live HTTP/1.1\r\nHost: test\r\n\r\n").await;
        ok(&mut probe).await;
        let mut bytes = [0; 12];
        late.read_exact(&mut bytes).await.expect("an answer");
        if &bytes == b"HTTP/1.1 503" {
            let told = rest(&mut late).await;
            assert!(told.contains("The server is shutting down"), "{told}");
            return;
        }
    }
}
