//! The listener itself: what it answers, while draining, and when it can't have its port.
use std::net::TcpListener;

use tokio::io::AsyncWriteExt;

use crate::{
    ADMIN, admin_get,
    client::Client,
    helpers::{Server, eventually},
    page::Page,
    rest::request::Connection,
};

#[tokio::test]
async fn health_and_memory() {
    let server = Server::with(ADMIN).await;
    for (path, status, body) in [
        ("/", 200, "OK"),
        ("/live", 200, "OK"),
        ("/ready", 200, "OK"),
        ("/up", 200, r#"{"health":"OK"}"#),
        ("/accept-traffic", 200, r#"{"memory":{"usedSize":"#),
        ("/usage", 200, r#"{"memory":{"free":"#),
        ("/apps/3/channels", 404, "Not found: there are /metrics"),
    ] {
        let answer = admin_get(&server, path, "").await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.body.starts_with(body), "{path} {}", answer.body);
    }
    let usage = admin_get(&server, "/usage", "").await.body;
    let usage: serde_json::Value = serde_json::from_str(&usage).unwrap();
    for key in ["free", "used", "total", "percent"] {
        assert!(usage["memory"][key].is_number(), "{usage}");
    }
}

#[tokio::test]
async fn it_answers_while_the_server_drains() {
    let settings = format!("{ADMIN}[server]\ndrain_s = 30\n[socket]\nclose_timeout_s = 60\n");
    let mut server = Server::with(&settings).await;
    // Of the two at least one is open until the drain is over.
    let mut clients = [
        Client::connect(&server).await,
        Client::connect(&server).await,
    ];
    server.drain();
    eventually("draining", || server.node.is_draining()).await;
    let answer = admin_get(&server, "/ready", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "DRAINING"));
    assert_eq!(admin_get(&server, "/live", "").await.status, 200);
    let page = Page::of(&server).await;
    assert_eq!(page.get("resound_draining"), 1.0);
    for client in &mut clients {
        client.close().await;
    }
}

#[tokio::test]
async fn a_port_that_was_asked_for_and_is_taken_is_a_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let start = |is_chosen: bool| {
        let mut settings = resound::config::from_toml("").expect("settings");
        settings.server.port = 0;
        settings.server.workers = 1;
        settings.admin.port = port;
        settings.admin.is_port_chosen = is_chosen;
        actix_rt::System::new().block_on(async {
            let running = resound::server::start(settings, 1000).map_err(|e| e.to_string())?;
            let has_admin = running.admin.is_some();
            running.stop().await.expect("a clean stop");
            Ok::<bool, String>(has_admin)
        })
    };
    let (chosen, by_default) = std::thread::scope(|scope| {
        let chosen = scope.spawn(|| start(true));
        let by_default = scope.spawn(|| start(false));
        (chosen.join().unwrap(), by_default.join().unwrap())
    });
    let sentence = chosen.expect_err("in use");
    assert!(sentence.contains(&port.to_string()), "{sentence}");
    assert!(sentence.contains("admin.port"), "{sentence}");
    assert_eq!(by_default, Ok(false));
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let server = Server::with("[admin]\nenabled = false\nport = 0\n").await;
    assert_eq!(server.admin, None);
}

/// As on the main listener: whoever is slow, or reads nothing, doesn't stay.
#[tokio::test]
async fn slow_and_deaf_clients_are_cut() {
    let settings =
        format!("{ADMIN}[server]\nhandshake_timeout_s = 1\n[socket]\nwrite_timeout_s = 1\n");
    let server = Server::with(&settings).await;
    let address = server.admin.expect("an admin listener");

    let mut slow = Connection::open(address).await;
    slow.send("GET /live HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(slow.response().await.body, "OK");
    slow.send("GET /li").await;
    assert_eq!(slow.response().await.status, 408);

    let mut deaf = tokio::net::TcpStream::connect(address).await.unwrap();
    let requests = "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n".repeat(1000);
    let sent = async { while deaf.write_all(requests.as_bytes()).await.is_ok() {} };
    let patience = std::time::Duration::from_secs(30);
    tokio::time::timeout(patience, sent)
        .await
        .expect("the connection is cut");
}
