//! `resound tail --admin` through the binary.
use std::{
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::{
    ADMIN,
    client::{Client, publish},
    helpers::{Server, eventually},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resound"));
    command
        .args(["tail", "--admin"])
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

fn url(server: &Server) -> String {
    format!("ws://{}", server.admin.expect("an admin listener"))
}

/// Starts it and waits until it listens.
async fn tail(server: &Server, arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let url = url(server);
    let mut command = command(&[&["--url", &url], arguments].concat());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let live = server.node.observe().live.clone();
    eventually("it listens", || live.listeners() == 1).await;
    (child, lines)
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let line = timeout(PATIENCE, lines.next_line()).await;
    line.expect("a line").unwrap().expect("not the end")
}

async fn output(arguments: &[&str]) -> Output {
    let output = timeout(PATIENCE, command(arguments).output()).await;
    output.expect("it ends").unwrap()
}

#[tokio::test]
async fn text_for_people() {
    let server = Server::with(ADMIN).await;
    let (_child, mut lines) = tail(&server, &["--kind", "subscribed,published", "--data"]).await;
    let client = Client::on(&server, "room").await;
    let line = next(&mut lines).await;
    let expected = format!("app 3, socket {}, channel room", client.socket_id);
    assert!(line.contains("subscribed"), "{line}");
    assert!(line.ends_with(&expected), "{line}");
    publish(&server, "room", "App\\Event", "{}").await;
    let line = next(&mut lines).await;
    let expected = "app 3, channel room, event App\\Event, bytes 2";
    assert!(line.ends_with(expected), "{line}");
    assert_eq!(next(&mut lines).await.trim(), "{}");
}

#[tokio::test]
async fn json_for_machines_filtered() {
    let server = Server::with("[admin]\nport = 0\ntoken = \"t0ken\"\n").await;
    let filters = ["--json", "--token", "t0ken", "--channel", "private-*"];
    let (_child, mut lines) = tail(&server, &filters).await;
    let mut client = Client::on(&server, "room").await;
    client.subscribe("private-room", None).await;
    let line = next(&mut lines).await;
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["kind"], "subscribed");
    assert_eq!(event["channel"], "private-room");
}

#[tokio::test]
async fn the_end_of_the_server_is_the_end() {
    let server = Server::with(ADMIN).await;
    let (child, _lines) = tail(&server, &[]).await;
    drop(server);
    let output = timeout(PATIENCE, child.wait_with_output()).await;
    assert_eq!(output.expect("it ends").unwrap().status.code(), Some(1));
}

#[tokio::test]
async fn failures_are_sentences() {
    let server = Server::with("[admin]\nport = 0\ntoken = \"t0ken\"\n").await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("ws://{}", free.local_addr().unwrap());
    drop(free);
    let url = url(&server);
    for (arguments, part) in [
        (vec!["--url", &url], "needs the token"),
        (
            vec!["--url", &url, "--token", "wrong"],
            "needs another token",
        ),
        (
            vec!["--url", &url, "--token", "t0ken", "--kind", "x"],
            "Unknown kind",
        ),
        (vec!["--url", &nobody], "nothing listens at"),
        (vec!["--url", "wss://127.0.0.1"], "speaks no TLS"),
    ] {
        let output = output(&arguments).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {error}");
        assert!(error.contains(part), "{arguments:?} {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(
            !error.contains("t0ken") && !error.contains("wrong"),
            "{error}"
        );
    }
}
