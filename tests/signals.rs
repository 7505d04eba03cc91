//! The binary and its signals: SIGHUP reads the settings anew, a bad file changes nothing.
#![cfg(unix)]

use std::{fs, path::Path};

// what only others need
#[allow(dead_code)]
mod binary;
use binary::Running;

const FILE: &str = "resound.toml";

fn start(folder: &Path, settings: &str) -> Running {
    write(folder, settings);
    let arguments = ["--config", FILE, "--host", "127.0.0.1", "--port", "0"];
    Running::start(folder, &arguments, &[])
}

/// The statuses of unsigned requests for two apps: 401 for an app that exists, 404 for one that doesn't.
fn statuses(server: &Running) -> [u16; 2] {
    ["7", "8"].map(|app| server.status(&format!("/apps/{app}/channels")))
}

fn app(id: &str) -> String {
    format!("[[apps]]\nid = \"{id}\"\nkey = \"key{id}\"\nsecret = \"secret{id}\"\n")
}

fn write(folder: &Path, text: &str) {
    fs::write(folder.join(FILE), text).expect("the settings");
}

#[test]
fn sighup_puts_the_changed_file_into_force() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = start(folder.path(), &app("7"));
    assert_eq!(statuses(&process), [401, 404]);

    write(
        folder.path(),
        &format!("{}[log]\nlevel = \"debug\"", app("8")),
    );
    process.signal("HUP");
    process.wait_for("reloaded: log.level is \"debug\", it was \"info\"");
    process.wait_for("reloaded: app 8 is new");
    process.wait_for("reloaded: app 7 is gone");
    assert_eq!(statuses(&process), [404, 401]);

    write(folder.path(), &format!("{}[server]\nworkers = 1", app("8")));
    process.signal("HUP");
    process.wait_for("takes effect with the next start only: server.workers is 1");

    write(
        folder.path(),
        &format!("{}[server]\nworkers = 1\ndrain_s = 60", app("8")),
    );
    process.signal("HUP");
    process.wait_for("server.drain_deadline_s is 30, less than server.drain_s");
}

#[test]
fn sighup_with_a_bad_file_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = start(folder.path(), &app("7"));
    write(folder.path(), &format!("{}prot = 1", app("8")));
    process.signal("HUP");
    let line = process.wait_for("reload refused");
    assert!(line.contains("prot of [[apps]]"), "{line}");
    assert!(!line.contains("secret8"), "{line}");
    fs::remove_file(folder.path().join(FILE)).expect("removed");
    process.signal("HUP");
    process.wait_for("can't be read");
    assert_eq!(statuses(&process), [401, 404]);
}
