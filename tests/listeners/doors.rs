//! Listeners besides the main one.
use crate::{
    helpers::{Server, eventually},
    peer::{Socket, event, ok, publish, send, unix},
};

#[tokio::test]
async fn sockets_and_the_api_over_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("resound.sock");
    let server = Server::start(&format!("[server]\nunix_socket = '{}'", path.display()));
    let mut socket = Socket::on_room(unix(&path).await).await;
    let mut php = unix(&path).await;
    for data in ["1", "2"] {
        send(&mut php, publish(&event(data), "")).await;
        assert_eq!(ok(&mut php).await, "{}");
        assert_eq!(socket.next_data().await, data);
    }
    socket.leave().await;
    eventually("it is gone", || server.node.connections() == 0).await;
    drop(php);
    drop(server);
    assert!(!path.exists());
}

/// Who connects over it is a proxy, whose word counts.
#[tokio::test]
async fn a_proxy_on_the_unix_socket_is_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("resound.sock");
    let settings = format!(
        "[server]\nunix_socket = '{}'\ntrusted_proxies = []\n[app_defaults]\nrequire_tls = true",
        path.display()
    );
    let _server = Server::start(&settings);
    let mut refused = Socket::open(unix(&path).await).await;
    assert_eq!(refused.next().await["data"]["code"], 4000);
    let mut stream = unix(&path).await;
    send(
        &mut stream,
        "GET /app/key7 HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-Proto: https\r\n\r\n",
    )
    .await;
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains("connection_established") {
        let read = tokio::io::AsyncReadExt::read_buf(&mut stream, &mut bytes).await;
        assert!(
            read.expect("an answer") > 0,
            "{:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}
