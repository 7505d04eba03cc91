//! A server that has fewer files than clients want.
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    helpers::PATIENCE,
    peer::{Socket, answer, event, ok, publish, send, tcp},
    process::{Process, Start, metrics},
};

/// Of these 128 are for sockets, 64 for other connections.
const FILES: u32 = 256;

/// Clients that come at once when there is no room: more than the server has files.
const CROWD: usize = 400;

const SETTINGS: &str = "[server]\nworkers = 2\nhandshake_timeout_s = 600\nkeep_alive_s = 600\n\
                        [socket]\nclose_timeout_s = 1\n[limits]\nhandshakes_per_s_per_address = 0\n";

/// A connection over which a byte was sent, if the server keeps it.
async fn kept(address: SocketAddr) -> Option<TcpStream> {
    // It may be over before it is known to have begun.
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"G").await.ok()?;
    let mut byte = [0];
    match tokio::time::timeout(Duration::from_millis(200), stream.read(&mut byte)).await {
        Err(_) => Some(stream),
        Ok(read) => {
            assert!(!matches!(read, Ok(1..)), "an answer to half a request");
            None
        }
    }
}

/// Waits until the server ends a connection over which nothing is said.
async fn sent_away(address: SocketAddr) {
    if let Ok(mut stream) = TcpStream::connect(address).await {
        let end = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
        let end = end.expect("turned away");
        end.expect_err("nothing was asked");
    }
}

/// How many were turned away since there was no file for them.
async fn turned_away(admin: SocketAddr) -> u64 {
    let refusals = metrics(admin, &["refusals_total"]).await;
    let line = r#"refusals_total{what="transport",reason="no_room"} "#;
    let count = refusals.iter().find_map(|sample| sample.strip_prefix(line));
    count.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn at_the_limit_newcomers_are_refused_and_those_inside_are_served() {
    let (process, address, admin) = Process::listening_with_admin(Start {
        settings: SETTINGS,
        files: Some(FILES),
        ..Start::default()
    });
    let mut backend = tcp(address).await;
    let get = "GET /live HTTP/1.1\r\nHost: test\r\n\r\n";
    send(&mut backend, get).await;
    ok(&mut backend).await;
    let mut sockets = Vec::new();
    for _ in 0..128 {
        sockets.push(Socket::on_room(tcp(address).await).await);
    }
    // those who would be one too many are told so
    for _ in 0..10 {
        let mut socket = Socket::open(tcp(address).await).await;
        let error: Value = socket.next().await;
        assert_eq!(error["data"]["code"], 4100, "{error}");
        assert_eq!(socket.closed().await, Some(4100));
    }
    // connections over which nothing is said take the rest; then there is room for no more
    let mut silent = Vec::new();
    while let Some(stream) = kept(address).await {
        assert!(silent.len() < 200, "there is always room");
        silent.push(stream);
    }
    let line = process.wait_for("turned connections away");
    assert!(
        line.contains("LimitNOFILE=") && line.contains("ulimit -n"),
        "{line}"
    );
    for _ in 0..100 {
        assert!(kept(address).await.is_none());
    }
    // an operator gets in, and sees what goes on
    assert!(turned_away(admin).await >= 100);
    // hundreds at once take even the own files of the server for a moment, which then takes none for half a second
    join_all((0..CROWD).map(|_| sent_away(address))).await;
    // events still come, over the connection that the backend has kept
    for n in 0..20 {
        let data = n.to_string();
        send(&mut backend, publish(&event(&data), "")).await;
        assert_eq!(ok(&mut backend).await, "{}");
        for socket in &mut sockets {
            assert_eq!(socket.next_data().await, data);
        }
    }
    // a listener that can't accept must not go round and round: a pause costs nothing
    let busy = process.processor_time();
    tokio::time::sleep(Duration::from_secs(1)).await;
    if let (Some(busy), Some(after)) = (busy, process.processor_time()) {
        assert!(after - busy < 0.5, "{busy} {after}");
    }
    // with room again everybody gets in
    drop(silent);
    for socket in sockets.drain(100..) {
        socket.leave().await;
    }
    let deadline = Instant::now() + PATIENCE;
    while kept(address).await.is_none() {
        assert!(Instant::now() < deadline, "no room for ever");
    }
    let mut late = Socket::on_room(tcp(address).await).await;
    send(&mut backend, publish(&event("late"), "")).await;
    let (head, _) = answer(&mut backend).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(late.next_data().await, "late");
}
