//! What can stand between a tool and the server: proxies with gaps, TLS with bad certificates, other servers.
use std::{io, net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
};

/// What a proxy does with a request.
pub enum Act {
    /// to the server, with this head
    Forward(String),
    Answer(String),
    /// reads and says nothing
    Silence,
}

/// Listens on a free port; every connection is served by `serve` until the test's runtime ends.
async fn listen<F, S>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// An address at which nobody listens, kept from others for as long as this lives.
pub struct Nobody {
    pub address: SocketAddr,
    _bound: TcpSocket,
}

pub fn nobody() -> Nobody {
    let socket = TcpSocket::new_v4().expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(any).expect("a port");
    Nobody {
        address: socket.local_addr().expect("bound"),
        _bound: socket,
    }
}

/// A proxy before `upstream` that decides by a request's head.
pub async fn proxy(
    upstream: SocketAddr,
    rule: impl Fn(&str) -> Act + Clone + Send + 'static,
) -> SocketAddr {
    listen(move |mut stream| {
        let rule = rule.clone();
        async move {
            let (head, rest) = read_head(&mut stream).await?;
            match rule(&head) {
                Act::Forward(head) => {
                    let mut server = TcpStream::connect(upstream).await?;
                    server.write_all(head.as_bytes()).await?;
                    server.write_all(&rest).await?;
                    copy_bidirectional(&mut stream, &mut server).await?;
                    Ok(())
                }
                Act::Answer(answer) => {
                    read_body(&mut stream, &head, rest.len()).await?;
                    stream.write_all(answer.as_bytes()).await?;
                    stream.shutdown().await
                }
                Act::Silence => {
                    let mut nothing = Vec::new();
                    stream.read_to_end(&mut nothing).await.map(drop)
                }
            }
        }
    })
    .await
}

/// A server that has one answer for all.
pub async fn answers(answer: String) -> SocketAddr {
    let unused = SocketAddr::from(([127, 0, 0, 1], 1));
    proxy(unused, move |_| Act::Answer(answer.clone())).await
}

/// The head up to its empty line, and what came along behind it.
async fn read_head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Reads a body away: who closes a connection with bytes unread resets it, and the answer is lost.
async fn read_body(stream: &mut TcpStream, head: &str, already: usize) -> io::Result<()> {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let mut rest = vec![0; length.unwrap_or(0).saturating_sub(already)];
    stream.read_exact(&mut rest).await.map(drop)
}

/// An HTTP answer, after which the connection is closed. `headers`: whole lines.
pub fn answer(status: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// The head without these headers, so that each connection is used once.
pub fn without(head: &str, headers: &[&str]) -> String {
    let stays = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default();
        !headers
            .iter()
            .any(|header| header.eq_ignore_ascii_case(name))
    };
    let kept: Vec<&str> = head.trim_end().split("\r\n").filter(stays).collect();
    format!("{}\r\n\r\n", kept.join("\r\n"))
}

/// The head as a proxy passes it on that closes its connections.
pub fn passed_on(head: &str) -> String {
    match head.to_ascii_lowercase().contains("upgrade: websocket") {
        true => head.to_owned(),
        false => {
            let head = without(head, &["connection"]);
            format!("{}\r\nConnection: close\r\n\r\n", head.trim_end())
        }
    }
}

/// A certificate authority of a test's own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: CertificateDer<'static>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let (params, key) = authority_params(name);
        let certificate = params.self_signed(&key).expect("a root").der().clone();
        let issuer = Issuer::new(params, key);
        Authority {
            issuer,
            certificate,
        }
    }

    /// An intermediate authority below this one.
    pub fn below(&self, name: &str) -> Authority {
        let (params, key) = authority_params(name);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let certificate = certificate.der().clone();
        let issuer = Issuer::new(params, key);
        Authority {
            issuer,
            certificate,
        }
    }

    pub fn issue(&self, params: CertificateParams) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate.der().clone(), key)
    }
}

fn authority_params(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    (params, KeyPair::generate().expect("a key"))
}

/// A certificate for this name, valid for long.
pub fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// TLS with this chain before `upstream`.
pub async fn tls_front(
    upstream: SocketAddr,
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
) -> SocketAddr {
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a server");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            let mut server = TcpStream::connect(upstream).await?;
            copy_bidirectional(&mut stream, &mut server).await?;
            Ok(())
        }
    })
    .await
}

/// A certificate as PEM.
pub fn pem(certificate: &CertificateDer<'_>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in certificate.chunks(48) {
        for group in line.chunks(3) {
            let byte = |index: usize| u32::from(*group.get(index).unwrap_or(&0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for digit in 0..4 {
                let value = (bits >> (18 - 6 * digit)) & 63;
                let is_used = digit <= group.len();
                text.push(if is_used {
                    DIGITS[value as usize] as char
                } else {
                    '='
                });
            }
        }
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}
