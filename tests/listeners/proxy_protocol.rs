//! Connections that a proxy introduces.

use ppp::v2::{Builder, Command, IPv4, Protocol, Version};
use resound::server::Inherited;

use crate::{
    helpers::{Files, Made, Server, free_listener},
    peer::{Socket, Stream, any_version, event, ok, publish, rest, send, tcp, tls_over},
};

const ON: &str = "[server]\nproxy_protocol = true\nhandshake_timeout_s = 3\n";
pub const V1: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n";

pub fn v2() -> Vec<u8> {
    let addresses = IPv4::new([203, 0, 113, 7], [10, 0, 0, 1], 56324, 443);
    Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, addresses)
        .write_tlv(4u8, &[0; 300])
        .expect("an entry")
        .build()
        .expect("a header")
}

async fn introduced(server: &Server, header: &[u8]) -> Stream {
    let mut stream = tcp(server.address).await;
    send(&mut stream, header).await;
    stream
}

#[tokio::test]
async fn headers_of_both_versions() {
    let server = Server::start(ON);
    for header in [V1, &v2(), b"PROXY UNKNOWN\r\n"] {
        let mut socket = Socket::on_room(introduced(&server, header).await).await;
        // in one piece with the request, and byte by byte
        let mut php = introduced(
            &server,
            &[header, publish(&event("1"), "").as_bytes()].concat(),
        )
        .await;
        assert_eq!(ok(&mut php).await, "{}");
        assert_eq!(socket.next_data().await, "1");
        let mut slow = tcp(server.address).await;
        for byte in header {
            send(&mut slow, [*byte]).await;
            tokio::task::yield_now().await;
        }
        send(&mut slow, "GET /up HTTP/1.1\r\nHost: test\r\n\r\n").await;
        ok(&mut slow).await;
    }
}

#[tokio::test]
async fn a_header_in_front_of_tls() {
    let made = Made::new();
    let files = Files::with(&made);
    let server = Server::start(&format!("{ON}{}", files.section("")));
    for header in [V1, &v2()] {
        let stream = introduced(&server, header).await;
        let stream = tls_over(stream, &any_version(&[&made])).await.expect("TLS");
        Socket::on_room(Box::new(stream)).await;
    }
}

#[tokio::test]
async fn whatever_is_no_header_is_refused() {
    let server = Server::start(ON);
    let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    let huge = [ppp::v2::PROTOCOL_PREFIX, &[0x21, 0x11, 0xff, 0xff]].concat();
    for garbage in [
        &b"PROXY TCP4 nonsense\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x99\0\0\0",
        b"\x16\x03\x01\x02\x00",
        &long,
        &huge,
    ] {
        let before = server.refused("proxy_header");
        let mut stream = introduced(&server, garbage).await;
        assert_eq!(rest(&mut stream).await, "", "{garbage:?}");
        assert!(server.refused("proxy_header") > before, "{garbage:?}");
    }
    let mut missing = introduced(&server, b"GET /up HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let told = rest(&mut missing).await;
    assert!(
        told.contains("A PROXY protocol header is required here"),
        "{told}"
    );
    // one that never gets whole, and nothing at all
    for start in [&V1[..20], b""] {
        let mut slow = introduced(&server, start).await;
        assert_eq!(rest(&mut slow).await, "");
    }
}

#[tokio::test]
async fn nobody_else_may_send_one() {
    let untrusting = "trusted_proxies = ['192.0.2.1']\n";
    let made = Made::new();
    let files = Files::with(&made);
    for settings in [
        String::new(),
        format!("{ON}{untrusting}"),
        format!("{ON}{untrusting}{}", files.section("")),
    ] {
        let server = Server::start(&settings);
        for header in [V1, &v2()] {
            let before = server.refused("proxy_header");
            let mut stream = introduced(
                &server,
                &[header, b"GET /up HTTP/1.1\r\nHost: test\r\n\r\n"].concat(),
            )
            .await;
            let told = rest(&mut stream).await;
            assert!(!told.contains("200 OK"), "{told}");
            assert!(server.refused("proxy_header") > before);
        }
    }
    // without one they are served
    let server = Server::start(&format!("{ON}{untrusting}"));
    Socket::on_room(tcp(server.address).await).await;
}

#[tokio::test]
async fn the_plain_port_expects_none() {
    let inherited = Inherited {
        plain: Some(free_listener()),
        ..Inherited::default()
    };
    let server = Server::with(ON, inherited);
    let plain = server.plain.expect("a port");
    Socket::on_room(tcp(plain).await).await;
    let mut stream = tcp(plain).await;
    send(&mut stream, V1).await;
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 400 "));
}
