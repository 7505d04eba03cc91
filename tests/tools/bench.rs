//! `resound bench`: each scenario for a moment against the real server, and against servers that lose, repeat, swap or invent
//! messages. Counts are compared, times never.
use crate::{
    binary::{Running, output},
    faulty::{Fault, faulty},
    helpers::{Server, eventually},
};
use serde_json::Value;
use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Output, Stdio},
};

fn text(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// Runs it, checks its exit code, and returns the JSON file's figures with what it printed.
#[track_caller]
fn bench(server: SocketAddr, line: &str, code: i32) -> (Value, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let line = format!("bench {line} --url http://{server} --threads 2 --json figures.json");
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let output = output(folder.path(), &arguments);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(code), "{line}\n{text}");
    let json = std::fs::read_to_string(folder.path().join("figures.json"));
    let json = json.map(|json| serde_json::from_str(&json).expect("JSON"));
    (json.unwrap_or_default(), text)
}

fn number(json: &Value, key: &str) -> u64 {
    let found = json["figures"][key].as_u64();
    found.unwrap_or_else(|| panic!("no {key} in {json:#}"))
}

/// Everything came, once, in its order, and nothing went wrong otherwise.
#[track_caller]
fn clean(json: &Value) {
    let fault = ["lost", "duplicated", "reordered", "misdirected"];
    for fault in fault {
        assert_eq!(number(json, fault), 0, "{fault}: {json:#}");
    }
    assert!(number(json, "received") > 0, "{json:#}");
    // an event whose answer was late is no fault of the count
    let is_known = json["notes"].as_array().is_some_and(Vec::is_empty);
    if is_known {
        assert_eq!(
            number(json, "received"),
            number(json, "expected"),
            "{json:#}"
        );
    }
    assert_eq!(json["ok"], true, "{json:#}");
    assert_eq!(json["interrupted"], false);
}

fn start(folder: &Path) -> Running {
    let settings = "[server]\nworkers = 2\n[admin]\nenabled = false\n";
    std::fs::write(folder.join("resound.toml"), settings).expect("written");
    Running::start(folder, &["--port", "0"], &[])
}

/// A scenario against the real server; `{pid}` is the server's.
#[track_caller]
fn against_the_server(line: &str, code: i32) -> (Value, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path());
    let line = line.replace("{pid}", &server.id().to_string());
    let line = line.replace("{server}", &format!("http://{}", server.address));
    bench(server.address, &line, code)
}

#[test]
fn connections() {
    let (json, text) = against_the_server("connections --sockets 60 --channels 7 --pid {pid}", 0);
    clean(&json);
    assert_eq!(number(&json, "sockets"), 60);
    assert_eq!(number(&json, "expected"), 60);
    assert_eq!(json["scenario"], "connections");
    assert_eq!(json["settings"]["channels"], 7);
    assert!(text.contains("connected and subscribed"), "{text}");
    if cfg!(target_os = "linux") {
        assert!(number(&json, "server_rss_bytes") > 0);
    }
}

#[test]
fn fanout_at_a_rate_and_saturated() {
    let line = "fanout --sockets 20 --rate 40 --seconds 1 --publishers 3";
    let (json, text) = against_the_server(line, 0);
    clean(&json);
    assert!((1..=40).contains(&number(&json, "events")), "{json:#}");
    // events of the warm-up count as well, but have no time
    let timed = json["figures"]["latency"]["count"].as_u64();
    let timed = timed.expect("a count");
    assert!((1..number(&json, "received")).contains(&timed), "{json:#}");
    assert_eq!((timed % 20, number(&json, "expected") % 20), (0, 0));
    assert!(text.contains("until the last one has it"), "{text}");
    let line = "fanout --sockets 20 --channels 2 --rate max --seconds 1 --size 1000";
    let (json, _) = against_the_server(line, 0);
    clean(&json);
    assert!(number(&json, "deliveries") > 0);
}

#[test]
fn rooms() {
    let line = "rooms --sockets 60 --channels 20 --rate 200 --seconds 1";
    let (json, _) = against_the_server(line, 0);
    clean(&json);
    assert_eq!(number(&json, "expected") % 3, 0);
}

#[test]
fn triggers() {
    let (json, _) = against_the_server("triggers --publishers 3 --seconds 1", 0);
    assert!(number(&json, "events") > 0);
    // kept alive: those of the warm-up are others
    assert_eq!(number(&json, "connects"), 3);
    let (json, _) = against_the_server("triggers --rate 50 --seconds 1", 0);
    assert!((1..=50).contains(&number(&json, "events")), "{json:#}");
}

#[test]
fn client_events() {
    let line = "client-events --sockets 40 --channels 10 --rate 100 --seconds 1";
    let (json, _) = against_the_server(line, 0);
    clean(&json);
    // three others in each room
    assert_eq!(number(&json, "expected") % 3, 0);
    let line = "client-events --sockets 40 --channels 10 --rate max --seconds 1";
    clean(&against_the_server(line, 0).0);
}

#[test]
fn presence() {
    let line = "presence --sockets 20 --channels 2 --rate 20 --seconds 1";
    let (json, _) = against_the_server(line, 0);
    clean(&json);
    assert_eq!(
        (number(&json, "staying"), number(&json, "churning")),
        (20, 2)
    );
    // ten of each channel see each joining and each leaving
    assert_eq!(number(&json, "expected") % 20, 0);
    assert!(
        json["figures"]["left"]["count"].as_u64() > Some(0),
        "{json:#}"
    );
}

#[test]
fn storm() {
    let line = "storm --sockets 80 --channels 8 --waves 3 --pid {pid}";
    let (json, text) = against_the_server(line, 0);
    clean(&json);
    // one event before, and one after each wave
    assert_eq!(number(&json, "expected"), 80 * 4);
    let back = json["figures"]["back_s"].as_array();
    assert_eq!(back.map(Vec::len), Some(3), "{text}");
}

/// Whether they are cut in so short a time is the system's matter; that those that read lack nothing isn't.
#[test]
fn slow_readers() {
    let line = "slow-readers --sockets 10 --stalled 3 --rate 20 --seconds 2";
    let (json, text) = against_the_server(line, 0);
    clean(&json);
    assert_eq!(json["figures"]["with_stalled_readers"]["stalled"], 3);
    assert_eq!(number(&json, "stalled_lost"), 0);
    assert!(text.contains("p99 with them over p99 without"), "{text}");
}

#[test]
fn cross_node() {
    // the same node twice: what is measured needs two, what is counted doesn't
    let line = "cross-node --other-url {server} --sockets 20 --rate 20 --seconds 1";
    let (json, _) = against_the_server(line, 0);
    clean(&json);
    let count = |node: &str| json["figures"][node]["count"].as_u64();
    // An event at the edge of the measured time may have been heard in time on one of them only.
    for node in ["same_node", "other_node"] {
        assert!(count(node) > Some(0), "{node}: {json:#}");
    }
}

#[test]
fn every_fault_of_a_server_shows() {
    let line = "fanout --sockets 4 --publishers 1 --rate 40 --seconds 1";
    let check = |fault: Fault, shows: &str| {
        let (json, text) = bench(faulty(fault), line, 1);
        let of = ["lost", "duplicated", "reordered", "misdirected"];
        for kind in of {
            let found = number(&json, kind);
            assert_eq!(found > 0, kind == shows, "{fault:?}: {json:#}");
            // each of the four lacks or has as many
            assert_eq!(found % 4, 0, "{fault:?}: {json:#}");
        }
        assert_eq!(json["ok"], false);
        assert!(text.contains("WRONG: of"), "{text}");
    };
    std::thread::scope(|scope| {
        let check = &check;
        scope.spawn(move || check(Fault::Loses, "lost"));
        scope.spawn(move || check(Fault::Duplicates, "duplicated"));
        scope.spawn(move || check(Fault::Reorders, "reordered"));
        scope.spawn(move || check(Fault::Invents, "misdirected"));
    });
}

#[test]
fn odd_servers_are_no_faulty_ones() {
    let line = "fanout --sockets 4 --publishers 2 --rate 40 --seconds 1";
    for fault in [Fault::None, Fault::ClosesAfterAnswers, Fault::Fragments] {
        clean(&bench(faulty(fault), line, 0).0);
    }
    let line = "triggers --publishers 2 --rate 40 --seconds 1";
    let (_, text) = bench(faulty(Fault::ClosesAfterAnswers), line, 0);
    assert!(text.contains("doesn't keep connections alive"), "{text}");
}

#[test]
fn servers_that_do_not_answer_give_a_result() {
    let line = "fanout --sockets 4 --publishers 2 --rate 40 --seconds 1";
    let (json, text) = bench(faulty(Fault::FallsSilent), line, 1);
    assert!(
        text.contains("got no answer: whether they arrived"),
        "{text}"
    );
    assert_eq!(number(&json, "received"), 0);
    let (_, text) = bench(faulty(Fault::RefusesEvents), line, 1);
    assert!(text.contains("status 503: busy"), "{text}");
    assert!(text.contains("took none of the events"), "{text}");
    let (_, text) = bench(faulty(Fault::RefusesSockets), line, 1);
    let expected = "no socket came about: the handshake is answered with HTTP/1.1 500 Out Of Order: no sockets today";
    assert!(text.contains(expected), "{text}");
    // the reason is told, though it was said before anything was measured
    let (json, text) = bench(faulty(Fault::RefusesOneSocket), line, 1);
    assert!(text.contains("1 of 4 sockets didn't come about"), "{text}");
    assert!(
        text.contains("socket failed: the handshake is answered with HTTP/1.1 500"),
        "{text}"
    );
    assert_eq!((number(&json, "sockets"), number(&json, "lost")), (3, 0));
    assert_eq!(number(&json, "received"), number(&json, "expected"));
}

#[test]
fn what_is_set_wrongly_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path());
    let check = |line: &str, code: i32, part: &str| {
        let (_, text) = bench(server.address, line, code);
        assert!(text.contains(part), "{line}: {text}");
        assert!(!text.contains("signature="), "{text}");
    };
    check("fanout --secret wrong", 1, "refused with status 401");
    check("fanout --app-id 99", 1, "refused with status");
    check("fanout --key none", 1, "refused with status 401");
    check("fanout --pid 4294967295", 1, "/proc tells nothing");
    check("fanout --sockets 0", 2, "--sockets is a number from 1");
    check("fanout --rate -1", 2, "");
    check("sing", 2, "possible values");
    let port = "http://127.0.0.1:1";
    let output = output(folder.path(), &["bench", "fanout", "--url", port]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("start the server, or say with --url"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(unix)]
async fn an_interrupted_run_tells_what_there_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_resound"));
    let line = "bench fanout --sockets 5 --rate 50 --seconds 600 --json figures.json --app-id 3 --key 278d425bdf160c739803 --secret 7ad3773142a6692b25b8 --url";
    let command = command
        .current_dir(folder.path())
        .env_clear()
        .args(line.split_whitespace())
        .arg(format!("http://{}", server.addr))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().expect("started");
    eventually("all sockets", || server.node.connections() == 5).await;
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-s", "INT", &id]).status();
    assert!(sent.expect("kill").success());
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output());
    let output = ended.await.expect("no panic").expect("its output");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(text(&output).contains("interrupted: this is what there was so far"));
    let json = std::fs::read_to_string(folder.path().join("figures.json")).expect("a file");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["interrupted"], true);
    assert_eq!(number(&json, "lost"), 0);
}
