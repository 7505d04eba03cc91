//! The binary's commands: what they print, and their exit codes.
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use crate::{
    fakes::{Authority, answer, answers, nobody, params, tls_front},
    helpers::{Server, eventually},
};

/// The binary with the settings of the test server's app and no other.
struct Tool {
    folder: tempfile::TempDir,
}

impl Tool {
    fn new() -> Tool {
        let folder = tempfile::tempdir().expect("a folder");
        let app =
            "[[apps]]\nid = '3'\nkey = '278d425bdf160c739803'\nsecret = '7ad3773142a6692b25b8'\n";
        std::fs::write(folder.path().join("resound.toml"), app).expect("settings");
        Tool { folder }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_resound"));
        command
            .current_dir(self.folder.path())
            .env_clear()
            .args(["--config", "resound.toml"])
            .args(line.split_whitespace());
        command
    }

    /// Runs in a thread, so that the test's own servers can answer meanwhile.
    async fn run(&self, line: &str) -> Output {
        self.run_with(line, "").await
    }

    async fn run_with(&self, line: &str, input: &str) -> Output {
        let mut command = self.command(line);
        let input = input.to_owned();
        let ran = tokio::task::spawn_blocking(move || {
            let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.stderr(Stdio::piped()).spawn().expect("started");
            let mut stdin = child.stdin.take().expect("piped");
            let _ = stdin.write_all(input.as_bytes());
            drop(stdin);
            child.wait_with_output().expect("its output")
        });
        ran.await.expect("no panic")
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn failed(output: &Output, code: i32, part: &str) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(err(output).contains(part), "no {part:?} in {}", err(output));
    assert!(!err(output).contains("7ad3773142a6692b25b8"), "a secret");
    assert!(!err(output).contains("auth_signature="), "a signature");
}

/// `resound tail`, subscribed.
struct Tail {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Tail {
    /// Waits until every channel has been confirmed.
    async fn start(tool: &Tool, line: &str, channels: usize) -> Tail {
        let mut command = tool.command(&format!("tail {line} --timeout 60"));
        let started = tokio::task::spawn_blocking(move || {
            let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().expect("started");
            let stderr = BufReader::new(child.stderr.take().expect("piped"));
            let mut notes = stderr.lines().map_while(Result::ok);
            let confirmed = notes.by_ref().filter(|note| note.contains("subscribed to"));
            assert_eq!(confirmed.take(channels).count(), channels);
            // whatever else it says must not fill the pipe
            std::thread::spawn(move || notes.for_each(drop));
            let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
            Tail { child, lines }
        });
        started.await.expect("subscribed")
    }

    /// The next line without its time.
    fn line(&mut self) -> String {
        let line = self.lines.next().expect("a line").expect("readable");
        let (_, rest) = line.split_once(' ').expect("a time");
        rest.to_owned()
    }

    fn ended(mut self) -> i32 {
        self.child.wait().expect("ended").code().unwrap_or(-1)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_prints_the_answer() {
    let server = Server::start().await;
    let tool = Tool::new();
    let at = format!("--url http://{}", server.addr);
    let published = tool
        .run(&format!(
            "publish --channel a,b --event e --data {{\"x\":1}} {at}"
        ))
        .await;
    assert_eq!(
        (out(&published).as_str(), published.status.code()),
        ("{}\n", Some(0))
    );
    let informed = tool
        .run_with(
            &format!("publish --channel presence-a --event e --data - --info user_count {at}"),
            "{}\n",
        )
        .await;
    assert_eq!(
        out(&informed),
        "{\"channels\":{\"presence-a\":{\"user_count\":0}}}\n"
    );
    let to_user = tool
        .run(&format!("publish --user 7 --event e --data 1 {at}"))
        .await;
    assert_eq!(to_user.status.code(), Some(0), "{to_user:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_says_why_not() {
    let server = Server::start().await;
    let tool = Tool::new();
    let at = format!("--url http://{}", server.addr);
    let refused = tool
        .run(&format!("publish --channel a! --event e --data 1 {at}"))
        .await;
    failed(
        &refused,
        1,
        "refuses the event with status 400: Invalid channel name: a!",
    );
    let no_json = tool
        .run(&format!("publish --channel a --event e --data x {at}"))
        .await;
    failed(&no_json, 1, "--data is not JSON");
    let no_app = tool
        .run(&format!(
            "publish --app 9 --channel a --event e --data 1 {at}"
        ))
        .await;
    failed(&no_app, 1, "there is no app 9");
    let nobody = nobody();
    let nowhere = nobody.address;
    let nothing = tool
        .run(&format!(
            "publish --channel a --event e --data 1 --url http://{nowhere}"
        ))
        .await;
    failed(&nothing, 1, "nothing listens there");
    let no_url = tool
        .run("publish --channel a --event e --data 1 --url localhost:8080")
        .await;
    failed(&no_url, 2, "is not where a server can be");
    let no_channel = tool.run(&format!("publish --event e --data 1 {at}")).await;
    failed(&no_channel, 2, "--channel");
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_prints_events_of_every_kind_of_channel() {
    let server = Server::start().await;
    let tool = Tool::new();
    let at = format!("--url http://{}", server.addr);
    let channels = "a private-a private-encrypted-a cache-a presence-a";
    let line = format!("{channels} --user-id 7 --user-info {{\"name\":\"Ann\"}} --count 5 {at}");
    let mut tail = Tail::start(&tool, &line, 5).await;
    assert_eq!(tail.line(), "cache-a pusher:cache_miss {}");
    for channel in channels.split(' ') {
        let event = format!("publish --channel {channel} --event e --data {{\"x\":1}} {at}");
        let published = tool.run(&event).await;
        assert_eq!(published.status.code(), Some(0), "{published:?}");
        assert_eq!(tail.line(), format!("{channel} e {{\"x\":1}}"));
    }
    assert_eq!(tail.ended(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_prints_json_and_ends_on_an_interrupt() {
    let server = Server::start().await;
    let tool = Tool::new();
    let at = format!("--url http://{}", server.addr);
    let mut tail = Tail::start(&tool, &format!("a --json {at}"), 1).await;
    tool.run(&format!(
        "publish --channel a --event e --data {{\"x\":1}} {at}"
    ))
    .await;
    let line = tail.lines.next().expect("a line").expect("readable");
    let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(event["channel"], "a");
    assert_eq!(event["event"], "e");
    assert_eq!(event["data"], "{\"x\":1}");
    let interrupt = Command::new("kill")
        .args(["-INT", &tail.child.id().to_string()])
        .status();
    assert!(interrupt.expect("kill").success());
    assert_eq!(tail.ended(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_ends_in_time_and_says_why() {
    let server = Server::start().await;
    let tool = Tool::new();
    let at = format!("--url http://{}", server.addr);
    let quiet = tool.run(&format!("tail a --timeout 1 {at}")).await;
    assert_eq!(quiet.status.code(), Some(0), "{quiet:?}");
    let missed = tool
        .run(&format!("tail a --count 2 --timeout 1 {at}"))
        .await;
    failed(&missed, 1, "time is over after 0 of 2 events");
    let presence = tool.run(&format!("tail presence-a {at}")).await;
    failed(&presence, 1, "--user-id");
    let nobody = nobody();
    let nowhere = nobody.address;
    let nothing = tool.run(&format!("tail a --url http://{nowhere}")).await;
    failed(&nothing, 1, "nothing listens");

    let other_secret = "[[apps]]\nid = '3'\nkey = '278d425bdf160c739803'\nsecret = 'other'\n";
    std::fs::write(tool.folder.path().join("resound.toml"), other_secret).expect("settings");
    let refused = tool.run(&format!("tail private-a {at}")).await;
    failed(&refused, 1, "private-a is refused: Invalid signature");
    let encrypted = tool.run(&format!("tail private-encrypted-a {at}")).await;
    failed(&encrypted, 1, "Invalid signature");
    let other_key = other_secret.replace("278d425bdf160c739803", "other");
    std::fs::write(tool.folder.path().join("resound.toml"), other_key).expect("settings");
    let unknown = tool.run(&format!("tail a {at}")).await;
    failed(&unknown, 1, "Application does not exist (code 4001)");
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_reconnects_when_the_server_restarts() {
    let server = Server::start().await;
    let tool = Tool::new();
    let port = server.addr.port();
    let mut command = tool.command(&format!(
        "tail a --timeout 60 --url http://127.0.0.1:{port}"
    ));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    let notes = BufReader::new(child.stderr.take().expect("piped"));
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for note in notes.lines().map_while(Result::ok) {
            let _ = told.send(note);
        }
    });
    let mut hear = async |part: &str| {
        while !heard.recv().await.expect("it goes on").contains(part) {}
    };
    hear("subscribed to a").await;
    drop(server);
    hear("reconnecting").await;
    let mut again = tool.command(&format!("start --host 127.0.0.1 --port {port}"));
    let again = again.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut again = again.expect("started");
    hear("subscribed to a").await;
    again.kill().expect("it ran");
    again.wait().expect("ended");
    child.kill().expect("it ran");
    child.wait().expect("ended");
}

#[tokio::test]
async fn nodes_of_no_cluster() {
    let tool = Tool::new();
    let output = tool.run("nodes").await;
    failed(&output, 1, "cluster.enabled is off");
    let output = tool.run("nodes --json").await;
    failed(&output, 1, "cluster.enabled is off");
    assert_eq!(out(&output), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_draining_from_broken() {
    let server = Server::start().await;
    let tool = Tool::new();
    let up = format!("health --url http://{}/up", server.addr);
    assert_eq!(tool.run(&up).await.status.code(), Some(0));
    let own = format!("health --host 127.0.0.1 --port {}", server.addr.port());
    assert_eq!(tool.run(&own).await.status.code(), Some(0));

    let mut stopping = Server::start().await;
    let url = format!("ws://{}/app/278d425bdf160c739803", stopping.addr);
    // It waits for this one, which doesn't answer its close frame.
    let (_held, _) = tokio_tungstenite::connect_async(url)
        .await
        .expect("a place");
    stopping.drain();
    eventually("it drains", || stopping.node.is_draining()).await;
    let output = tool
        .run(&format!("health --url http://{}/up", stopping.addr))
        .await;
    failed(&output, 1, "it is draining");
    let broken = answers(answer("503 Service Unavailable", &[], "")).await;
    let output = tool.run(&format!("health --url http://{broken}/up")).await;
    failed(&output, 1, "it answered with status 503");
    let nobody = nobody();
    let nowhere = nobody.address;
    let output = tool.run(&format!("health --url http://{nowhere}/up")).await;
    failed(&output, 1, "nothing listens there");

    // whatever certificate it has for its public name
    let (leaf, key) = Authority::new("Test CA").issue(params("ws.example.com"));
    let front = tls_front(server.addr, vec![leaf], &key).await;
    let output = tool.run(&format!("health --url https://{front}/up")).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = tool.run(&format!("health --url http://{front}/up")).await;
    failed(&output, 1, "if it speaks TLS");
    let output = tool
        .run(&format!("health --url https://{}/up", server.addr))
        .await;
    failed(&output, 1, "if it speaks no TLS");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_has_an_exit_code_for_scripts() {
    let server = Server::start().await;
    let tool = Tool::new();
    let at = format!("--url http://{}", server.addr);
    let well = tool.run(&format!("doctor {at}")).await;
    assert_eq!(well.status.code(), Some(0), "{}", out(&well));
    let json = tool.run(&format!("doctor --json {at}")).await;
    let report: serde_json::Value = serde_json::from_str(&out(&json)).expect("JSON");
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["first_wrong"], serde_json::Value::Null);
    assert_eq!(report["findings"][0]["check"], "settings");

    let nobody = nobody();
    let nowhere = nobody.address;
    let wrong = tool.run(&format!("doctor --url http://{nowhere}")).await;
    assert_eq!(wrong.status.code(), Some(1));
    let text = out(&wrong);
    assert!(
        text.contains("The first thing that is wrong (address): nothing listens"),
        "{text}"
    );
    assert!(text.contains("What to do: start the server"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_settings_that_cannot_be_used() {
    let empty = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_resound"));
    command
        .current_dir(empty.path())
        .env_clear()
        .env("REVERB_APP_ID", "7")
        .arg("doctor");
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let text = out(&output);
    assert!(text.contains("REVERB_APP_KEY is not set"), "{text}");
    assert!(text.contains("What to do: set"), "{text}");
    let json = command.arg("--json").output().expect("it runs");
    let report: serde_json::Value = serde_json::from_str(&out(&json)).expect("JSON");
    assert_eq!(report["first_wrong"]["check"], "settings");
}
