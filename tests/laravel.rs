//! The binary in the folder of a Laravel project: it listens, serves the app of the `.env`, and says why it won't start.

use std::{fs, path::Path};

use tempfile::TempDir;

// what only others need
#[allow(dead_code)]
mod binary;
use binary::{Running, output};

const ENV: &str = "APP_URL=http://localhost
BROADCAST_CONNECTION=reverb
REVERB_APP_ID=482915
REVERB_APP_KEY=lab0key
REVERB_APP_SECRET=hush
REVERB_HOST=\"localhost\"
REVERB_PORT=8080
REVERB_SCHEME=http
REVERB_SERVER_HOST=127.0.0.1
VITE_REVERB_APP_KEY=\"${REVERB_APP_KEY}\"
VITE_REVERB_HOST=\"${REVERB_HOST}\"
VITE_REVERB_PORT=\"${REVERB_PORT}\"
VITE_REVERB_SCHEME=\"${REVERB_SCHEME}\"
";

fn project(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("written");
    }
    folder
}

/// `reverb:start` as Supervisor has it, on a free port.
fn start(folder: &Path) -> Running {
    let arguments = ["reverb:start", "--no-interaction", "--port", "0"];
    Running::start(folder, &arguments, &[])
}

fn handshake(running: &Running, key: &str) -> String {
    running.handshake(&format!("/app/{key}?protocol=7&client=js&version=8.6.0"))
}

fn ended(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = output(folder, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

#[test]
fn the_app_of_the_env_file_is_served() {
    let folder = project(&[(".env", ENV), ("artisan", "")]);
    let running = start(folder.path());
    assert!(
        running.log.contains("settings read from .env"),
        "{}",
        running.log
    );
    let answer = handshake(&running, "lab0key");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("pusher:connection_established"), "{answer}");
    let refused = handshake(&running, "another");
    assert!(refused.contains("4001"), "{refused}");
    let health = running.get("/up", "Connection: close\r\n");
    assert!(health.contains("{\"health\":\"OK\"}"), "{health}");

    let port = running.address.port();
    let text = running.stopped();
    let line = format!(
        "Laravel (.env): listening on 127.0.0.1:{port}, the app posts to http://localhost:8080, browsers use ws://localhost:8080\n"
    );
    assert!(text.contains(&line), "{text}");
    let mismatch = format!(
        "  can't work: the app posts to port 8080 of localhost, but this server listens on port {port}"
    );
    assert!(text.contains(&mismatch), "{text}");
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn the_apps_of_a_cached_configuration_are_served() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/compat-fixtures/laravel/cached-config-excerpt.php"
    );
    let cached = fs::read_to_string(path).expect("the excerpt");
    let cached = cached.replace("'0.0.0.0'", "'127.0.0.1'");
    let folder = project(&[(".env", ENV), ("bootstrap/cache/config.php", &cached)]);
    let running = start(folder.path());
    assert!(
        running.log.contains("the app's configuration is cached"),
        "{}",
        running.log
    );
    let answer = handshake(&running, "lab0key1lab2key3lab4");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(handshake(&running, "lab0key").contains("4001"));
}

#[test]
fn settings_that_cannot_be_used_end_with_78_and_one_sentence() {
    let check = |files: &[(&str, &str)], arguments: &[&str], expected: &str| {
        let folder = project(files);
        let (code, text) = ended(folder.path(), arguments);
        assert_eq!(code, Some(78), "{text}");
        assert!(text.starts_with(&format!("resound: {expected}")), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains("hush"), "{text}");
    };
    let broken = format!("{ENV}APP_NAME=hush hush\n");
    check(
        &[(".env", &broken)],
        &[],
        ".env can't be read, by Laravel neither: line 14: unexpected whitespace",
    );
    let incomplete = ENV.replace("REVERB_APP_SECRET=hush\n", "");
    check(
        &[(".env", &incomplete)],
        &["start"],
        "REVERB_APP_SECRET is missing from .env, but .env line 3 (REVERB_APP_ID) is set",
    );
    check(
        &[(".env", "BROADCAST_CONNECTION=log\n")],
        &["config"],
        "no app is configured: REVERB_APP_ID, REVERB_APP_KEY",
    );
    check(&[], &["--env-file", "nope"], "the file nope can't be read");
    check(
        &[("resound.toml", "[server]\nport = 70000")],
        &[],
        "server.port is 70000 in file resound.toml",
    );
    check(
        &[],
        &["--port", "x"],
        "server.port is \"x\" in option --port",
    );
}

#[test]
fn other_failures_have_other_codes() {
    let folder = project(&[(".env", ENV)]);
    assert_eq!(ended(folder.path(), &["--no-such-option"]).0, Some(2));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let (code, text) = ended(folder.path(), &["start", "--port", &port]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.lines()
            .last()
            .expect("a line")
            .starts_with("resound: "),
        "{text}"
    );
}

#[test]
fn the_listing_names_file_and_line() {
    let folder = project(&[(".env", ENV), ("other.env", &ENV.replace("482915", "5"))]);
    let listing = |arguments: &[&str]| {
        let output = output(folder.path(), arguments);
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = listing(&["config"]);
    assert!(
        text.contains("# from .env line 9 (REVERB_SERVER_HOST)"),
        "{text}"
    );
    assert!(
        text.contains("# from .env line 5 (REVERB_APP_SECRET)"),
        "{text}"
    );
    assert!(!text.contains("hush"), "{text}");
    let text = listing(&["config", "--env-file", "other.env"]);
    assert!(text.contains("apps.5.id"), "{text}");
    assert!(
        text.contains("# from other.env line 3 (REVERB_APP_ID)"),
        "{text}"
    );
}
