//! Clients that read slowly or not at all, that never come to an end, or that send as fast as they can: they are cut for a
//! reason that is counted, and the others notice nothing.
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::raw::{FIN, PING, Raw, TEXT, app_path, frame, handshake, text};
use crate::{
    client::{Client, publish},
    helpers::{Server, eventually, until},
    rest::request::post,
};

/// Healthy subscribers of `room`, on every worker.
struct Others(Vec<Client>);

const OTHERS: usize = 4;

/// In which they have a batch of events at the latest, however busy the machine.
const LATENCY_MAX: Duration = Duration::from_secs(5);

impl Others {
    async fn of(server: &Server) -> Others {
        Others(join_all((0..OTHERS).map(|_| Client::on(server, "room"))).await)
    }

    /// Publishes numbered events until `done`, and expects all of them at each of the others, in their order.
    async fn get_everything_until(
        &mut self,
        server: &Server,
        bytes: usize,
        done: impl Fn() -> bool,
    ) {
        const BATCH: usize = 10;
        let padding = "x".repeat(bytes);
        let mut number = 0;
        while !done() {
            assert!(number < 20_000, "it never happens");
            let events: Vec<_> = (number..number + BATCH)
                .map(|n| json!({"channel": "room", "name": n.to_string(), "data": padding}))
                .collect();
            let batch = json!({ "batch": events }).to_string();
            let begin = Instant::now();
            post(server, "/batch_events", &batch)
                .await
                .assert_json("{}");
            for client in &mut self.0 {
                for n in number..number + BATCH {
                    assert_eq!(client.next().await["event"], n.to_string());
                }
            }
            let latency = begin.elapsed();
            assert!(latency < LATENCY_MAX, "held up for {latency:?}");
            number += BATCH;
        }
    }
}

/// How often a connection ended for this reason.
fn ended(server: &Server, reason: &str) -> u64 {
    let closed = server.node.observe().metrics.app("3").closed();
    let of_reason = closed.iter().find(|(name, _)| *name == reason);
    of_reason.map_or(0, |(_, count)| *count)
}

/// On `room`, with room for hardly anything that it doesn't read.
async fn narrow(server: &Server) -> Raw {
    let mut raw = Raw::open_narrow(server).await.upgrade().await;
    raw.established().await;
    raw.subscribe("room").await;
    raw
}

/// A closing time that nobody waits for: who reads nothing can't be told anything.
#[tokio::test]
async fn stalled_readers_are_let_go_of_at_once_and_counted_by_reason() {
    const STALLED: u64 = 6;
    for (settings, reason) in [
        (
            "[socket]\noutbox_bytes_max = 65536\nclose_timeout_s = 600\nwrite_timeout_s = 600\n",
            "slow_consumer",
        ),
        (
            "[socket]\noutbox_bytes_max = 104857600\nclose_timeout_s = 600\nwrite_timeout_s = 1\n",
            "write_timeout",
        ),
        (
            "[socket]\noutbox_bytes_max = 104857600\nclose_timeout_s = 1\n\
             [app_defaults]\nping_interval_s = 1\npong_timeout_s = 1\n",
            "pong_timeout",
        ),
    ] {
        let server = Server::with(settings).await;
        let mut others = Others::of(&server).await;
        let stalled = join_all((0..STALLED).map(|_| narrow(&server))).await;
        let node = server.node.clone();
        others
            .get_everything_until(&server, 10_000, || node.connections() == OTHERS)
            .await;
        assert_eq!(ended(&server, reason), STALLED, "{reason}");
        // no end in order: what the system still had for them is gone
        let resets = join_all(stalled.into_iter().map(Raw::ends_in_reset)).await;
        assert!(resets.iter().all(|is_reset| *is_reset), "{reason}");
    }
}

#[tokio::test]
async fn who_reads_a_byte_at_a_time_stays_while_he_keeps_up() {
    let server =
        Server::with("[socket]\noutbox_bytes_max = 65536\nunsent_bytes_max = 16384\n").await;
    let mut others = Others::of(&server).await;
    let readers = join_all((0..3).map(|_| narrow(&server))).await;
    let reading = readers.into_iter().map(|mut reader| {
        tokio::spawn(async move {
            let mut received = 0;
            while reader.next_by_bytes().await != "last" {
                received += 1;
            }
            (received, reader)
        })
    });
    let reading: Vec<_> = reading.collect();
    let rounds = std::cell::Cell::new(0);
    others
        .get_everything_until(&server, 20, || rounds.replace(rounds.get() + 1) == 20)
        .await;
    publish(&server, "room", "last", "").await;
    let mut readers = Vec::new();
    for reader in reading {
        let (received, reader) = reader.await.unwrap();
        assert_eq!(received, 200);
        readers.push(reader);
    }
    assert_eq!(server.node.connections(), 7);
}

#[tokio::test]
async fn who_reads_a_byte_at_a_time_is_cut_when_he_does_not_keep_up() {
    let server = Server::with("[socket]\noutbox_bytes_max = 65536\nclose_timeout_s = 1\n").await;
    let mut others = Others::of(&server).await;
    let mut slow = narrow(&server).await;
    let reading = tokio::spawn(async move { while slow.read_byte().await {} });
    let node = server.node.clone();
    others
        .get_everything_until(&server, 10_000, || node.connections() == OTHERS)
        .await;
    assert_eq!(ended(&server, "slow_consumer"), 1);
    reading.abort();
}

#[tokio::test]
async fn a_message_that_is_trickled_is_cut_off() {
    let server = Server::with("[socket]\nmessage_timeout_s = 1\nclose_timeout_s = 1\n").await;
    let mut others = Others::of(&server).await;
    let long = text(&"x".repeat(10_000));
    let fragment = frame(TEXT, b"x");
    let more = frame(0, b"x");
    let ping = frame(FIN | PING, b"");
    // the bytes of one frame; fragments without an end; the same with control frames in between
    let pieces: [Vec<Vec<u8>>; 3] = [
        long.chunks(1).map(<[u8]>::to_vec).collect(),
        std::iter::once(fragment.clone())
            .chain(std::iter::repeat_n(more.clone(), 1000))
            .collect(),
        std::iter::once(fragment)
            .chain(std::iter::repeat_n([ping, more].concat(), 1000))
            .collect(),
    ];
    for pieces in pieces {
        let mut raw = Raw::connect(&server).await;
        let mut pieces = pieces.iter();
        let mut closed = None;
        while closed.is_none() {
            raw.send(pieces.next().expect("it is never closed")).await;
            let close = tokio::time::timeout(Duration::from_millis(20), raw.closed());
            closed = close.await.ok();
        }
        let told = (4100, "Message not received whole in time".to_owned());
        assert_eq!(closed, Some(told));
    }
    eventually("all are counted", || ended(&server, "message_timeout") == 3).await;
    // one who takes his time between messages, and sends them in pieces
    let mut patient = Raw::connect(&server).await;
    let message = text(r#"{"event":"pusher:ping"}"#);
    for _ in 0..4 {
        for piece in message.chunks(message.len() / 2) {
            pause().await;
            patient.send(piece).await;
        }
        assert_eq!(patient.next_text().await["event"], "pusher:pong");
    }
    let rounds = std::cell::Cell::new(0);
    others
        .get_everything_until(&server, 20, || rounds.replace(rounds.get() + 1) == 3)
        .await;
}

/// Between two looks of somebody slow: what he does meanwhile is nothing, which nobody can wait for.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// What somebody sends as fast as it is taken, reading what comes of it.
#[tokio::test]
async fn floods_hold_nobody_up() {
    let server = Server::start().await;
    let mut others = Others::of(&server).await;
    let subscribe = |n: usize| {
        let data = json!({ "channel": format!("flood-{n}") });
        let join = json!({"event": "pusher:subscribe", "data": data});
        let leave = json!({"event": "pusher:unsubscribe", "data": data});
        [text(&join.to_string()), text(&leave.to_string())].concat()
    };
    let floods: Vec<Vec<u8>> = vec![
        frame(FIN | PING, &[b'x'; 125]).repeat(100),
        text(r#"{"event":"pusher:ping"}"#).repeat(100),
        text("no JSON").repeat(100),
        text(r#"{"event":"client-x","channel":"private-x","data":"x"}"#).repeat(100),
        text(r#"{"event":"pusher:subscribe","data":{"channel":"private-x","auth":"x"}}"#)
            .repeat(50),
        (0..50).flat_map(subscribe).collect(),
    ];
    let flooders = floods.len();
    let mut flooding = Vec::new();
    for flood in floods {
        let raw = Raw::on(&server, "flooders").await;
        flooding.push(tokio::spawn(raw.flood(flood)));
    }
    let rounds = std::cell::Cell::new(0);
    others
        .get_everything_until(&server, 200, || rounds.replace(rounds.get() + 1) == 20)
        .await;
    // all of them are still at it, but for those that didn't read their answers as fast as they asked for more
    let cut = || ended(&server, "slow_consumer") as usize;
    eventually("nobody else is gone", || {
        server.node.connections() + cut() == flooders + OTHERS
    })
    .await;
    flooding.iter().for_each(tokio::task::JoinHandle::abort);
    eventually("they are gone", || server.node.connections() == 4).await;
    // a broken stream ends who sends it, again and again
    let broken = async {
        for _ in 0..50 {
            let mut raw = Raw::connect(&server).await;
            raw.send([0xff; 4096]).await;
            assert_eq!(raw.closed().await.0, 1002);
        }
    };
    broken.await;
    let rounds = std::cell::Cell::new(0);
    others
        .get_everything_until(&server, 200, || rounds.replace(rounds.get() + 1) == 3)
        .await;
}

/// Heads, bodies and handshakes of which a byte comes now and then.
#[tokio::test]
async fn trickled_requests_are_cut_on_both_ports() {
    let settings = "[admin]\nport = 0\n[server]\nhandshake_timeout_s = 1\nkeep_alive_s = 600\n";
    let server = Server::with(settings).await;
    let mut others = Others::of(&server).await;
    let admin = server.admin.expect("an admin listener");
    let get = "GET /live HTTP/1.1\r\nHost: test\r\n";
    let whole = format!("{get}\r\n");
    let endless = "X-Header: x\r\n".repeat(200);
    let post = "POST /apps/3/events HTTP/1.1\r\nHost: test\r\nContent-Length: 2000\r\n\r\n";
    let body = "x".repeat(2000);
    let handshake = handshake(&app_path(), &endless);
    let handshake = handshake.trim_end().to_owned();
    let cases = [
        (server.addr, format!("{get}{endless}")),
        (server.addr, handshake),
        (admin, format!("{get}{endless}")),
        // not the first one of its connection
        (server.addr, format!("{whole}{get}{endless}")),
        (admin, format!("{whole}{get}{endless}")),
        (server.addr, format!("{post}{body}")),
        (admin, format!("{post}{body}")),
    ];
    join_all(cases.map(async |(address, request)| {
        // what comes at once, so that the rest of it is what takes long
        let at_once = request.find("\r\n\r\n").map_or(0, |end| end + 4);
        let (first, rest) = request.split_at(at_once);
        let mut raw = Raw::open_at(address).await;
        raw.send(first).await;
        for byte in rest.as_bytes().chunks(1) {
            raw.send(byte).await;
            let end = tokio::time::timeout(Duration::from_millis(20), raw.end());
            if end.await.is_ok() {
                return;
            }
        }
        panic!("{address} took all of {first:?}, and more");
    }))
    .await;
    let rounds = std::cell::Cell::new(0);
    others
        .get_everything_until(&server, 20, || rounds.replace(rounds.get() + 1) == 3)
        .await;
}

/// HTTP clients that read none of their answers are counted, too.
#[tokio::test]
async fn who_takes_no_answers_is_counted() {
    let server = Server::with("[socket]\nwrite_timeout_s = 1\n[log]\nlevel = \"off\"\n").await;
    let mut deaf = Raw::open_narrow(&server).await;
    let requests = "GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n".repeat(1000);
    while deaf
        .try_send(requests.as_bytes(), Duration::from_secs(20))
        .await
    {}
    until("it is counted", async || {
        let refusals = server.node.observe().metrics.refusals();
        refusals
            .iter()
            .any(|((_, reason), count)| *reason == "answers_untaken" && *count == 1)
    })
    .await;
}
