//! The binary with what soketi's users have: its JSON file and variables as they stand, and as `resound import` turns them into
//! a file of our own.
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::{
    fs,
    net::TcpListener,
    time::{SystemTime, UNIX_EPOCH},
};

// what only others need
#[allow(dead_code)]
mod binary;
use binary::{Running, output, status};

const SECRET: &str = "not a published one";

/// The status of a signed request.
fn status_of(server: &Running, app: &str, key: &str, secret: &str) -> u16 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    let path = format!("/apps/{app}/channels");
    let query = format!(
        "auth_key={key}&auth_timestamp={}&auth_version=1.0",
        now.as_secs()
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(format!("GET\n{path}\n{query}").as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    server.status(&format!("{path}?{query}&auth_signature={signature}"))
}

/// soketi's file for one app, on a port that was free a moment ago.
fn soketi_file(port: u16) -> String {
    format!(
        "{{\"host\": \"127.0.0.1\", \"port\": {port}, \"pathPrefix\": \"/ws\", \"appManager.array.apps\": [{{\"id\": 9, \"key\": \"k9\", \"secret\": \"{SECRET}\", \"max_connections\": 100}}]}}"
    )
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn check_app_nine(server: &Running, port: u16) {
    assert_eq!(server.address.port(), port);
    assert_eq!(status_of(server, "9", "k9", SECRET), 200);
    assert_eq!(status_of(server, "9", "k9", "app-secret"), 401);
    assert_eq!(status(&server.handshake("/ws/app/k9?protocol=7")), 101);
}

#[test]
fn soketis_file_starts_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    fs::write(folder.path().join("soketi.json"), soketi_file(port)).expect("written");
    let server = Running::start(folder.path(), &["start", "--config=soketi.json"], &[]);
    check_app_nine(&server, port);
}

#[test]
fn an_imported_file_starts_the_same_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    fs::write(folder.path().join("config.json"), soketi_file(port)).expect("written");
    for from in ["config.json", "."] {
        let imported = output(folder.path(), &["import", from]);
        assert!(imported.status.success(), "{imported:?}");
        let file = folder.path().join("resound.toml");
        fs::write(file, imported.stdout).expect("written");
        let server = Running::start(folder.path(), &["--config", "resound.toml"], &[]);
        check_app_nine(&server, port);
    }
}

/// As Sail's stock service sets them, in a container.
#[test]
fn the_variables_of_sails_soketi_start_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let metrics = free_port().to_string();
    let variables = [
        ("SOKETI_DEBUG", "1"),
        ("SOKETI_METRICS_SERVER_PORT", metrics.as_str()),
        ("SOKETI_DEFAULT_APP_ID", "app-id"),
        ("SOKETI_DEFAULT_APP_KEY", "app-key"),
        ("SOKETI_DEFAULT_APP_SECRET", SECRET),
    ];
    // tests listen on this machine only, and 6001 may be taken on it
    let variables = [&variables[..], &[("SOKETI_METRICS_HOST", "127.0.0.1")]].concat();
    let options = ["--host", "127.0.0.1", "--port", "0"];
    let server = Running::start(folder.path(), &options, &variables);
    assert_eq!(status_of(&server, "app-id", "app-key", SECRET), 200);
    assert_eq!(status(&server.handshake("/app/app-key?protocol=7")), 101);
}

#[test]
fn what_cannot_be_imported_is_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("bad.json"), "{\"port\": }").expect("written");
    for (from, part) in [
        ("bad.json", "not valid JSON"),
        ("missing.json", "missing.json doesn't exist"),
        (".", "nothing to import"),
    ] {
        let output = binary::output(folder.path(), &["import", from]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty());
        assert!(
            error.contains(part) && error.lines().count() == 1,
            "{error}"
        );
    }
}
