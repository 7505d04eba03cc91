//! What an idle socket over TLS costs: the load generator speaks without TLS only.
use std::{
    error::Error,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring, pki_types::ServerName,
};

use super::servers::{Programs, Running};

const SOCKETS: usize = 1_000;

/// What the first sockets make a server prepare isn't counted for each.
const FIRST_SOCKETS: usize = 10;

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Bytes of resident memory for each of 1,000 sockets that are subscribed to a channel.
pub fn bytes_each(programs: &Programs) -> Result<f64, Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let both = made.cert.pem() + &made.signing_key.serialize_pem();
    fs::write(programs.folder.join("both.pem"), both)?;
    let settings = "[tls]\ncertificate = 'both.pem'";
    let server = Running::spawn(programs.resound(None, 0, settings))?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let address = server.address()?;
    let mut sockets = Vec::with_capacity(SOCKETS + FIRST_SOCKETS);
    for n in 0..FIRST_SOCKETS {
        sockets.push(subscribe(address, &config, n)?);
    }
    let before = server.rss_bytes()?;
    for n in 0..SOCKETS {
        sockets.push(subscribe(address, &config, n)?);
    }
    // until the server has done what it does afterwards
    std::thread::sleep(Duration::from_millis(500));
    let more = server.rss_bytes()? as f64 - before as f64;
    drop(sockets);
    Ok(more / SOCKETS as f64)
}

fn subscribe(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    n: usize,
) -> Result<Stream, Box<dyn Error>> {
    let tcp = TcpStream::connect(address)?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    let name = ServerName::try_from("localhost")?;
    let mut stream = StreamOwned::new(ClientConnection::new(config.clone(), name)?, tcp);
    stream.write_all(b"GET /app/app-key?protocol=7 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")?;
    read_until(&mut stream, b"connection_established")?;
    let channel = n % 100;
    let message =
        format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"room-{channel}"}}}}"#);
    let length = u8::try_from(message.len())?;
    // masked with zeros, which changes nothing
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.extend(message.into_bytes());
    stream.write_all(&frame)?;
    read_until(&mut stream, b"subscription_succeeded")?;
    Ok(stream)
}

fn read_until(stream: &mut Stream, part: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut said = Vec::new();
    let mut chunk = [0; 1024];
    while memchr::memmem::find(&said, part).is_none() {
        match stream.read(&mut chunk)? {
            0 => return Err(String::from_utf8_lossy(&said).into()),
            count => said.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(())
}
