//! The main port with TLS: who can connect, and what a change of certificates does.

use futures_util::future::join_all;
use resound::server::tls::Reloaded;
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;

use crate::{
    helpers::{Files, Made, Server, eventually, free_listener},
    peer::{
        Socket, answer, any_version, event, ok, publish, rest, send, shown_certificate, tcp, tls,
        tls_over, trusting,
    },
};
use resound::server::Inherited;

#[tokio::test]
async fn sockets_and_the_api_over_tls() {
    let made = Made::new();
    let files = Files::with(&made);
    let server = Server::start(&files.section(""));
    for version in [&TLS12, &TLS13] {
        let connector = trusting(&[&made], &[version]);
        let mut socket = Socket::on_room(tls(server.address, &connector).await).await;
        let mut api = tls(server.address, &connector).await;
        let large = "x".repeat(9_000);
        for data in ["1", &large, "3"] {
            send(&mut api, publish(&event(data), "")).await;
            assert_eq!(ok(&mut api).await, "{}");
            assert_eq!(socket.next_data().await, data);
        }
        socket.leave().await;
    }
    eventually("all are gone", || server.node.connections() == 0).await;
}

#[tokio::test]
async fn an_app_that_requires_tls_gets_it() {
    let made = Made::new();
    let files = Files::with(&made);
    let settings = format!("{}\n[app_defaults]\nrequire_tls = true", files.section(""));
    let inherited = Inherited {
        plain: Some(free_listener()),
        ..Inherited::default()
    };
    let server = Server::with(&settings, inherited);
    let connector = any_version(&[&made]);
    Socket::on_room(tls(server.address, &connector).await).await;
    let mut refused = Socket::open(tcp(server.plain.expect("a port")).await).await;
    assert_eq!(refused.next().await["data"]["code"], 4000);
}

#[tokio::test]
async fn php_posts_without_tls_beside_it() {
    let made = Made::new();
    let files = Files::with(&made);
    let inherited = Inherited {
        plain: Some(free_listener()),
        ..Inherited::default()
    };
    let server = Server::with(&files.section(""), inherited);
    let plain = server.plain.expect("a port");
    let connector = any_version(&[&made]);
    let mut socket = Socket::on_room(tls(server.address, &connector).await).await;
    let mut php = tcp(plain).await;
    send(&mut php, publish(&event("hello"), "")).await;
    assert_eq!(ok(&mut php).await, "{}");
    assert_eq!(socket.next_data().await, "hello");
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told() {
    let made = Made::new();
    let files = Files::with(&made);
    let server = Server::start(&files.section(""));
    let mut php = tcp(server.address).await;
    send(&mut php, publish(&event("hello"), "Connection: close\r\n")).await;
    let (head, body) = answer(&mut php).await;
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    assert!(
        body.starts_with("This port speaks TLS: use https://"),
        "{body}"
    );
    assert_eq!(server.refused("plain_on_tls"), 1);
    // neither TLS nor HTTP
    let mut other = tcp(server.address).await;
    send(&mut other, "\0\0\0\0\0\0\0\0").await;
    assert_eq!(rest(&mut other).await, "");
}

#[tokio::test]
async fn tls_on_a_plain_port_is_told() {
    let server = Server::start("");
    let stream = TcpStream::connect(server.address)
        .await
        .expect("a connection");
    let error = tls_over(stream, &any_version(&[]))
        .await
        .expect_err("no TLS");
    // what a TLS library says when HTTP comes back
    assert!(error.to_string().contains("InvalidContentType"), "{error}");
    let mut stream = tcp(server.address).await;
    send(&mut stream, b"\x16\x03\x01\x02\x00\x01").await;
    let told = rest(&mut stream).await;
    assert!(told.contains("This port speaks no TLS"), "{told}");
    assert_eq!(server.refused("tls_on_plain"), 2);
}

#[tokio::test]
async fn handshakes_that_never_finish_are_cut() {
    let made = Made::new();
    let files = Files::with(&made);
    let settings = format!("[server]\nhandshake_timeout_s = 3\n{}", files.section(""));
    let server = Server::start(&settings);
    let mut streams = Vec::new();
    for sent in [
        &b""[..],
        b"\x16",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let mut stream = tcp(server.address).await;
        send(&mut stream, sent).await;
        streams.push(stream);
    }
    join_all(streams.iter_mut().map(rest)).await;
    eventually("all are counted", || server.refused("not_ready") == 3).await;
    // a head that doesn't come, after the TLS handshake
    let mut stream = tls(server.address, &any_version(&[&made])).await;
    send(&mut stream, "GET /up HT").await;
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn a_client_that_wants_another_protocol_only_is_refused() {
    let made = Made::new();
    let files = Files::with(&made);
    let server = Server::start(&files.section(""));
    let connector = any_version(&[&made]);
    let mut config = (**connector.config()).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = std::sync::Arc::new(config).into();
    let stream = TcpStream::connect(server.address)
        .await
        .expect("a connection");
    let error = tls_over(stream, &connector).await.expect_err("no h2");
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
}

/// The swap that production sees: sockets stay, miss nothing, and only newcomers notice.
#[tokio::test]
async fn a_swap_of_certificates_drops_nobody() {
    const SOCKETS: usize = 200;
    const EVENTS: usize = 60;
    let (old, new) = (Made::new(), Made::new());
    let files = Files::with(&old);
    let server = Server::start(&files.section("watch_s = 0"));
    let certificates = server.certificates.clone().expect("TLS");
    let only_old = any_version(&[&old]);
    let both = any_version(&[&old, &new]);
    let sockets =
        (0..SOCKETS).map(async |_| Socket::on_room(tls(server.address, &only_old).await).await);
    let mut sockets = join_all(sockets).await;
    assert_eq!(server.node.connections(), SOCKETS);

    let mut php = tls(server.address, &only_old).await;
    for number in 0..EVENTS {
        if number == EVENTS / 3 {
            files.put(&new);
            assert_eq!(
                certificates.reload().expect("good files"),
                Reloaded::Changed
            );
            assert_eq!(
                certificates.reload().expect("good files"),
                Reloaded::Unchanged
            );
        }
        if number == EVENTS / 2 {
            std::fs::write(files.key(), &old.key).expect("written");
            let error = certificates.reload().expect_err("a key that doesn't match");
            assert!(error.to_string().contains("doesn't belong"), "{error}");
        }
        send(&mut php, publish(&event(&number.to_string()), "")).await;
        assert_eq!(ok(&mut php).await, "{}");
    }
    assert_eq!(shown_certificate(server.address, &both).await, new.der);
    join_all(sockets.iter_mut().map(async |socket| {
        for number in 0..EVENTS {
            assert_eq!(socket.next_data().await, number.to_string());
        }
    }))
    .await;
    assert_eq!(server.node.connections(), SOCKETS);
}

#[tokio::test]
async fn changed_files_are_noticed_and_bad_ones_change_nothing() {
    let (old, new, last) = (Made::new(), Made::new(), Made::new());
    let files = Files::with(&old);
    let server = Server::start(&files.section("watch_s = 1"));
    let all = any_version(&[&old, &new, &last]);
    assert_eq!(shown_certificate(server.address, &all).await, old.der);
    std::fs::write(files.certificate(), "nonsense").expect("written");
    let certificates = server.certificates.clone().expect("TLS");
    certificates.reload().expect_err("nonsense");
    assert_eq!(shown_certificate(server.address, &all).await, old.der);
    files.put(&new);
    let deadline = std::time::Instant::now() + crate::helpers::PATIENCE;
    while shown_certificate(server.address, &all).await != new.der {
        assert!(std::time::Instant::now() < deadline, "never noticed");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
