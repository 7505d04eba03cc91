//! Requests as proxies and strangers send them, byte by byte.
use serde_json::Value;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    helpers::{Files, Made, PATIENCE, Server},
    peer::{Socket, answer, any_version, event, ok, publish, rest, send, tcp, tls},
};

/// What proxies put on every request that they pass on.
const UPGRADES: [&str; 8] = [
    "Connection: Upgrade\r\n",
    "Connection: upgrade\r\nUpgrade: \r\n",
    "Connection: keep-alive, Upgrade\r\nUpgrade:\r\n",
    "Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "Upgrade: websocket\r\n",
    "Connection: Upgrade\r\nUpgrade: websocket\r\n",
    "Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nExpect: 100-continue\r\n",
];

#[tokio::test]
async fn posts_that_ask_for_an_upgrade_are_served_with_their_body() {
    let settings = "[app_defaults]\nevent_data_bytes_max = 200000\n";
    let server = Server::start(settings);
    let mut socket = Socket::on_room(tcp(server.address).await).await;
    let large = "x".repeat(100_000);
    for headers in UPGRADES {
        for data in ["1", &large] {
            let mut stream = tcp(server.address).await;
            // one in front of it on the same connection
            send(&mut stream, publish(&event("0"), "")).await;
            assert_eq!(ok(&mut stream).await, "{}");
            assert_eq!(socket.next_data().await, "0");
            let request = publish(&event(data), headers);
            // not in one piece
            let (head, tail) = request.split_at(request.len() - 10);
            send(&mut stream, head).await;
            tokio::task::yield_now().await;
            send(&mut stream, tail).await;
            let (head, body) = answer(&mut stream).await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{headers}: {head}");
            assert_eq!(body, "{}");
            assert!(!head.contains("upgrade"), "{head}");
            assert_eq!(socket.next_data().await, data);
            if head.contains("connection: close") {
                assert_eq!(rest(&mut stream).await, "");
            } else {
                // and one behind it
                send(&mut stream, publish(&event("2"), "")).await;
                assert_eq!(ok(&mut stream).await, "{}");
                assert_eq!(socket.next_data().await, "2");
            }
        }
    }
}

#[tokio::test]
async fn many_of_them_on_one_connection_then_a_real_handshake() {
    let server = Server::start("");
    let mut stream = tcp(server.address).await;
    let headers = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for _ in 0..50 {
        send(&mut stream, publish(&event("x"), headers)).await;
        assert_eq!(ok(&mut stream).await, "{}");
    }
    let get = format!("GET /up HTTP/1.1\r\nHost: test\r\n{headers}\r\n");
    // several at once
    send(&mut stream, get.repeat(3)).await;
    let mut text = String::new();
    while text.matches("{\"health\":\"OK\"}").count() < 3 {
        let mut bytes = [0; 1024];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut bytes)
            .await
            .expect("answers");
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    Socket::on_room(stream).await;
}

#[tokio::test]
async fn a_connection_that_is_to_be_closed_is() {
    let server = Server::start("");
    let mut stream = tcp(server.address).await;
    let headers = "Connection: close\r\nUpgrade: websocket\r\n";
    send(&mut stream, publish(&event("x"), headers)).await;
    assert!(rest(&mut stream).await.ends_with("{}"));
}

#[tokio::test]
async fn connect_is_no_way_in() {
    let server = Server::start("");
    let mut stream = tcp(server.address).await;
    send(
        &mut stream,
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    )
    .await;
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 405 "));
}

#[tokio::test]
async fn what_is_not_http_is_told_so() {
    let server = Server::start("");
    for (request, status, sentence) in [
        (
            "nonsense\r\n\r\n".to_owned(),
            "400 Bad Request",
            "not valid HTTP/1.1",
        ),
        (
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            "400 Bad Request",
            "not valid HTTP/1.1",
        ),
        (
            format!("GET /up HTTP/1.1\r\nHost: x\r\nA: {}", "a".repeat(140_000)),
            "431 Request Header Fields Too Large",
            "larger than 128 KiB",
        ),
    ] {
        let mut stream = tcp(server.address).await;
        send(&mut stream, &request).await;
        let told = rest(&mut stream).await;
        assert!(
            told.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{told}"
        );
        assert!(told.contains(sentence), "{told}");
    }
}

/// actix's own timer is for the first request of a connection.
#[tokio::test]
async fn a_later_head_that_never_comes_whole_is_cut() {
    let server = Server::start("[server]\nhandshake_timeout_s = 3\nkeep_alive_s = 3600\n");
    let mut idle = tcp(server.address).await;
    let whole = "GET /up HTTP/1.1\r\nHost: test\r\n\r\n";
    send(&mut idle, whole).await;
    let _: Value = serde_json::from_str(&ok(&mut idle).await).expect("JSON");
    for part in ["G", "GET /up HTTP/1.1\r\nHost: t"] {
        let mut stream = tcp(server.address).await;
        for _ in 0..3 {
            send(&mut stream, whole).await;
            ok(&mut stream).await;
        }
        send(&mut stream, part).await;
        let told = rest(&mut stream).await;
        assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
    }
    // silence between two requests is no half of one
    send(&mut idle, whole).await;
    ok(&mut idle).await;
}

/// Requests on one connection without waiting for an answer, and a sentence that each answer has.
const UNREAD: usize = 20_000;
const REQUEST: &str = "GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n";
const ANSWER: &[u8] = b"nothing is at /nowhere";

/// What a peer doesn't read is not kept for it.
#[tokio::test]
async fn who_reads_no_answers_is_not_read_from_and_then_cut() {
    let server = Server::start("[socket]\nwrite_timeout_s = 1\n[log]\nlevel = \"off\"\n");
    let mut stream = tcp(server.address).await;
    let requests = REQUEST.repeat(UNREAD);
    let sent = async { while stream.write_all(requests.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, sent)
        .await
        .expect("the connection is cut");
    let answered = server.node.observe().metrics.http.counts();
    let answered: u64 = answered.iter().map(|(_, _, count)| count).sum();
    assert!(answered < 10 * UNREAD as u64, "{answered}");
}

#[tokio::test]
async fn who_reads_its_answers_late_gets_them_all() {
    let made = Made::new();
    let files = Files::with(&made);
    let plain = Server::start("");
    let with_tls = Server::start(&files.section(""));
    let connector = any_version(&[&made]);
    for is_tls in [false, true] {
        // not before its turn: the time for the first request runs from here
        let stream = match is_tls {
            false => tcp(plain.address).await,
            true => tls(with_tls.address, &connector).await,
        };
        let (mut reading, mut writing) = tokio::io::split(stream);
        let requests = REQUEST.repeat(UNREAD);
        let sent = tokio::spawn(async move {
            writing.write_all(requests.as_bytes()).await.expect("sent");
            writing.flush().await.expect("sent");
            writing
        });
        // Until nothing more is taken: the answers fill all buffers there are.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let mut answers = 0;
        let mut unread = Vec::new();
        while answers < UNREAD {
            let read = tokio::time::timeout(PATIENCE, reading.read_buf(&mut unread));
            let length = read.await.expect("an answer").expect("an answer");
            assert!(length > 0, "ended after {answers}");
            while let Some(at) = unread.windows(ANSWER.len()).position(|part| part == ANSWER) {
                answers += 1;
                unread.drain(..at + ANSWER.len());
            }
        }
        sent.await.expect("sent");
    }
}

#[tokio::test]
async fn what_is_not_http_is_counted() {
    let server = Server::start("[server]\nhandshake_timeout_s = 1\n");
    for nonsense in [
        "nonsense\r\n\r\n".to_owned(),
        format!("GET /up HTTP/1.1\r\nA: {}", "a".repeat(140_000)),
        "\u{16}\u{3}\u{1}".to_owned(),
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_owned(),
        "GET /up HT".to_owned(),
        // says nothing: no refusal
        String::new(),
    ] {
        let mut stream = tcp(server.address).await;
        send(&mut stream, &nonsense).await;
        rest(&mut stream).await;
    }
    let told: Vec<_> = server.node.observe().metrics.refusals();
    let told: Vec<_> = told.iter().map(|((_, what), n)| (*what, *n)).collect();
    let expected = [
        ("head_too_large", 1),
        ("head_too_slow", 1),
        ("malformed_head", 1),
        ("proxy_header", 1),
        ("tls_on_plain", 1),
    ];
    assert_eq!(told, expected);
}
