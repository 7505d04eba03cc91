//! Clients that do what they shouldn't, and an operator who reloads while they do. Nobody else may notice.
use crate::{
    PATIENCE,
    client::{Client, reset},
    field::Field,
    listener::FLOOD,
    server::{Running, STALLED_PATIENCE},
};
use futures_util::StreamExt;
use resound::client::{Address, http::Http};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::client_async;

/// Stalled readers at a time.
const STALLED: usize = 4;
/// What the system takes for one of them, in bytes.
const STALLED_RECEIVE_BYTES: u32 = 4096;
const SILENT: usize = 3;
/// Slow senders of each kind of request.
const SLOW: usize = 3;

/// What isn't WebSocket or isn't Pusher, after the greeting.
const GARBAGE: [&[u8]; 12] = [
    // not masked; reserved opcodes and bits; a length of 2^63 - 1; a control frame that is too long; a lone continuation
    b"\x81\x02{}",
    b"\x83\x80\0\0\0\0",
    b"\xf1\x80\0\0\0\0",
    b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    b"\x89\xfe\x01\x00\0\0\0\0",
    b"\x80\x80\0\0\0\0",
    // UTF-8 that isn't; a close code that isn't; an unfinished frame
    b"\x81\x82\0\0\0\0\xff\xfe",
    b"\x88\x82\0\0\0\0\x00\x01",
    b"\x81\xfe\x10\x00\0\0\0\0{\"event\":",
    // text that isn't JSON, JSON that isn't an event, an event without what it needs
    b"\x81\x85\0\0\0\0hello",
    b"\x81\x84\0\0\0\0[{}]",
    b"\x81\xa5\0\0\0\0{\"event\":\"pusher:subscribe\",\"data\":{}}",
];

/// What isn't a handshake or a request, or not the whole of one.
const REQUESTS: [&str; 5] = [
    "\0\u{1}\u{2}\r\n\r\n",
    "GET /app/nobody HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "GET /app/ HTTP/9.9\r\n\r\n",
    "POST /apps/7/events HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n{}",
    "POST /apps/7/events?auth_key=key7 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
];

/// Sent a byte at a time.
const SLOW_HANDSHAKE: &str = "GET /app/key7?protocol=7 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Slow: ";
const SLOW_REQUEST: &str =
    "POST /apps/7/events HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n{\"name\":\"";

pub fn spawn(tasks: &mut JoinSet<()>, field: &Arc<Field>) {
    for _ in 0..STALLED {
        tasks.spawn(repeated(field.clone(), stalled));
    }
    for _ in 0..SILENT {
        tasks.spawn(repeated(field.clone(), silent));
    }
    for _ in 0..SLOW {
        tasks.spawn(repeated(field.clone(), |field| slow(field, SLOW_HANDSHAKE)));
        tasks.spawn(repeated(field.clone(), |field| slow(field, SLOW_REQUEST)));
    }
    tasks.spawn(repeated(field.clone(), garbage));
    tasks.spawn(repeated(field.clone(), half_requests));
    tasks.spawn(repeated(field.clone(), reload));
    tasks.spawn(repeated(field.clone(), health));
    tasks.spawn(repeated(field.clone(), operator));
}

/// Again and again, until the wave is over. What fails is a fault.
async fn repeated<F>(field: Arc<Field>, work: impl Fn(Arc<Field>) -> F)
where
    F: Future<Output = Result<(), String>>,
{
    while !field.is_over() {
        if let Err(wrong) = work(field.clone()).await {
            field.fault(wrong);
        }
    }
}

/// Subscribes to much and reads nothing: must be cut.
async fn stalled(field: Arc<Field>) -> Result<(), String> {
    let mut client = Client::connect_with(&field, Some(STALLED_RECEIVE_BYTES)).await?;
    client.ask(&field, FLOOD, "").await?;
    field.rest(STALLED_PATIENCE).await;
    ends(&field, client.into_stream(), "a stalled reader").await?;
    field.did("stalled readers");
    Ok(())
}

/// Answers nothing, not even pings: must be closed.
async fn silent(field: Arc<Field>) -> Result<(), String> {
    let mut client = Client::connect(&field).await?;
    client.ask(&field, "quiet", "").await?;
    ends(&field, client.into_stream(), "a silent client").await?;
    field.did("silent clients");
    Ok(())
}

/// Begins a request and never finishes it.
async fn slow(field: Arc<Field>, beginning: &'static str) -> Result<(), String> {
    let stream = TcpStream::connect(field.address).await;
    let mut stream = stream.map_err(|error| format!("a slow sender: {error}"))?;
    for byte in beginning.bytes().chain(std::iter::repeat_n(b'a', 2_000)) {
        if field.is_over() || stream.write_all(&[byte]).await.is_err() {
            break;
        }
        // reads, as otherwise what was answered is taken for a connection that is open
        let mut answer = [0; 256];
        let read = timeout(Duration::from_millis(20), stream.read(&mut answer)).await;
        if matches!(read, Ok(Ok(0) | Err(_))) {
            break;
        }
    }
    ends(&field, stream, "a slow sender").await?;
    field.did("slow senders");
    Ok(())
}

async fn garbage(field: Arc<Field>) -> Result<(), String> {
    for bytes in GARBAGE {
        let client = Client::connect(&field).await?;
        let mut stream = client.into_stream();
        // refused in the middle of it is fine
        let _ = stream.write_all(bytes).await;
        let mut answer = [0; 256];
        let _ = timeout(Duration::from_millis(50), stream.read(&mut answer)).await;
        reset(stream);
        field.did("garbage frames");
        field.rest(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn half_requests(field: Arc<Field>) -> Result<(), String> {
    for (number, request) in REQUESTS.iter().enumerate() {
        for bytes in [request.len(), request.len() / 2, 0] {
            let stream = TcpStream::connect(field.address).await;
            let mut stream = stream.map_err(|error| format!("half a request: {error}"))?;
            let _ = stream.write_all(&request.as_bytes()[..bytes]).await;
            if number % 2 == 0 {
                reset(stream);
            }
            field.did("broken requests");
        }
        field.rest(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The server ends it in time. Nothing is asked after the wave: then it is we who leave.
async fn ends(field: &Field, mut stream: TcpStream, who: &str) -> Result<(), String> {
    let mut chunk = vec![0; 65_536];
    let deadline = std::time::Instant::now() + PATIENCE;
    while !field.is_over() {
        let read = timeout(Duration::from_millis(100), stream.read(&mut chunk)).await;
        if matches!(read, Ok(Ok(0) | Err(_))) {
            return Ok(());
        }
        if std::time::Instant::now() >= deadline {
            return Err(format!("{who} is still connected after {PATIENCE:?}"));
        }
    }
    Ok(())
}

/// Settings change, nobody is disturbed.
async fn reload(field: Arc<Field>) -> Result<(), String> {
    field.rest(Duration::from_secs(2)).await;
    Running::reload(&field)?;
    field.did("reloads");
    Ok(())
}

/// Looks on for a moment: what happens is told while somebody listens, and nothing of the listener remains.
async fn operator(field: Arc<Field>) -> Result<(), String> {
    let stream = TcpStream::connect(field.admin).await;
    let stream = stream.map_err(|error| format!("an operator: {error}"))?;
    let opened = timeout(PATIENCE, client_async("ws://admin/stream?data=1", stream)).await;
    let opened = opened.map_err(|_| "no live stream in time".to_owned())?;
    let (mut socket, _) = opened.map_err(|error| format!("no live stream: {error}"))?;
    let end = std::time::Instant::now() + Duration::from_secs(1);
    while let left = end.saturating_duration_since(std::time::Instant::now())
        && !left.is_zero()
    {
        match timeout(left, socket.next()).await {
            Ok(Some(Ok(_))) => field.did("live events"),
            Ok(ended) => return Err(format!("the live stream ended: {ended:?}")),
            Err(_) => break,
        }
    }
    drop(socket);
    field.rest(Duration::from_millis(500)).await;
    Ok(())
}

/// What a load balancer asks, on both listeners.
async fn health(field: Arc<Field>) -> Result<(), String> {
    let patience = Duration::from_secs(5);
    let admin = Address::of_listener(field.admin.ip(), field.admin.port(), false);
    for (at, path) in [
        (&field.at, "/up"),
        (&field.at, "/ready"),
        (&admin, "/ready"),
    ] {
        let answer = Http::to(at, patience).get(&at.http_url(path)).await;
        let answer = answer.map_err(|error| format!("{path} doesn't answer: {error}"))?;
        if answer.status != 200 {
            return Err(format!("{path} answers {}: {}", answer.status, answer.body));
        }
        field.did("health checks");
    }
    field.rest(Duration::from_millis(250)).await;
    Ok(())
}
