//! What a port speaks: HTTP, TLS, or neither.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::client::{self, Address, ConnectError, tls};

/// What is read of a first answer: enough for a status line and the sentence of a server that expects TLS.
const FIRST_BYTES_MAX: u64 = 2048;

/// What a port says to somebody who speaks HTTP without TLS.
pub(super) enum FirstAnswer {
    Http,
    /// it says, in plain HTTP, that it expects TLS
    WantsTls,
    Else(String),
}

/// Whether HTTP without TLS is answered there.
pub(super) async fn speaks_plain_http(
    address: &Address,
    found: &[SocketAddr],
    patience: Duration,
) -> bool {
    match client::connect_tcp(address, found, patience).await {
        Ok(mut stream) => {
            let said = ask(&mut stream, address, patience).await;
            matches!(said, FirstAnswer::Http)
        }
        Err(_) => false,
    }
}

pub(super) async fn ask(
    stream: &mut TcpStream,
    address: &Address,
    patience: Duration,
) -> FirstAnswer {
    let request = format!(
        "GET /up HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        address.authority()
    );
    let mut said = Vec::new();
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        // What came before a connection broke is an answer too.
        let read = stream.take(FIRST_BYTES_MAX).read_to_end(&mut said).await;
        if said.is_empty() {
            read.map(drop)
        } else {
            std::io::Result::Ok(())
        }
    };
    let end = timeout(patience, exchange).await;
    let text = String::from_utf8_lossy(&said);
    if !text.starts_with("HTTP/") {
        return FirstAnswer::Else(match end {
            _ if !said.is_empty() => "the answer isn't HTTP".to_owned(),
            Err(_) => format!("no answer within {} s", patience.as_secs()),
            Ok(Err(error)) => error.to_string(),
            Ok(Ok(())) => "the connection was closed without an answer".to_owned(),
        });
    }
    // nginx: "sent to HTTPS port"; Go: "to an HTTPS server"; Apache: "to an SSL-enabled server port"
    let wants_tls = ["HTTPS port", "an HTTPS server", "SSL-enabled"];
    let is_bad_request = text
        .split(' ')
        .nth(1)
        .is_some_and(|status| status.starts_with("400"));
    match is_bad_request && wants_tls.iter().any(|part| text.contains(part)) {
        true => FirstAnswer::WantsTls,
        false => FirstAnswer::Http,
    }
}

pub(super) async fn speaks_tls(
    address: &Address,
    found: &[SocketAddr],
    patience: Duration,
) -> bool {
    let Ok(stream) = client::connect_tcp(address, found, patience).await else {
        return false;
    };
    match client::start_tls(address, stream, &Arc::new(tls::unchecked()), patience).await {
        Ok(_) => true,
        // who refuses in TLS's own words speaks it
        Err(ConnectError::Tls { error, .. }) => {
            matches!(error, Some(rustls::Error::AlertReceived(_)))
        }
        Err(_) => false,
    }
}
