//! The tools beside a running server, with nothing but its settings.
use crate::binary::{Running, output};
use std::{fs, net::TcpListener, path::Path, process::Output};

const APP: &str = "[[apps]]\nid = '7'\nkey = 'k7'\nsecret = 'not a published one'\n";

const PUBLISH: [&str; 7] = ["publish", "--channel", "a", "--event", "e", "--data", "1"];
const TAIL: [&str; 4] = ["tail", "a", "--timeout", "1"];

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Writes the settings and starts the server with them.
fn start(folder: &Path, server: &str, rest: &str) -> Running {
    let settings = format!("[server]\nhost = '127.0.0.1'\n{server}\n{rest}\n{APP}");
    fs::write(folder.join("resound.toml"), settings).expect("written");
    Running::start(folder, &[], &[])
}

#[track_caller]
fn succeeds(folder: &Path, arguments: &[&str], part: &str) {
    let output = output(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output).contains(part), "{output:?}");
}

#[track_caller]
fn fails(folder: &Path, arguments: &[&str], part: &str) {
    let output = output(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output).contains(part), "{output:?}");
}

fn text(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn a_server_with_tls_whatever_its_certificate() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let made = rcgen::generate_simple_self_signed(["ws.example.com".to_owned()]);
    let made = made.expect("a certificate");
    let both = made.cert.pem() + &made.signing_key.serialize_pem();
    fs::write(folder.join("both.pem"), both).expect("written");
    let tls = "[tls]\ncertificate = 'both.pem'";
    let _server = start(folder, &format!("port = {}", free_port()), tls);
    succeeds(folder, &["health"], "");
    succeeds(folder, &PUBLISH, "{}");
    succeeds(folder, &TAIL, "subscribed to a");
    succeeds(
        folder,
        &["doctor"],
        "whether the certificate is trusted only shows at the address that clients use",
    );
}

#[test]
fn a_server_that_hears_only_proxies() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let proxied = format!("port = {}\nproxy_protocol = true", free_port());
    let admin = format!("[admin]\nport = {}", free_port());
    let server = start(folder, &proxied, &admin);
    // the admin listener knows as well
    succeeds(folder, &["health"], "");
    for tool in [&PUBLISH[..], &TAIL, &["doctor"]] {
        fails(folder, tool, "server.proxy_protocol is on");
    }
    drop(server);
    let plain = format!("{proxied}\nplain_port = {}", free_port());
    let _server = start(folder, &plain, "[admin]\nenabled = false");
    succeeds(folder, &["health"], "");
    succeeds(folder, &PUBLISH, "{}");
    succeeds(folder, &TAIL, "subscribed to a");
    succeeds(folder, &["doctor"], "round trip");
}

#[test]
fn a_server_on_any_port() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let _server = start(folder, "port = 0", "[admin]\nenabled = false");
    for tool in [&["health"][..], &PUBLISH, &TAIL, &["doctor"]] {
        fails(folder, tool, "server.port is 0");
    }
}
