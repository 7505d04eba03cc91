//! One request to an endpoint, and why it failed. The only file that knows the HTTP client.
use crate::{
    apps::{address::is_public, webhook::Webhook},
    config::WebhookSettings,
};
use bytes::Bytes;
use reqwest::{
    Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::HeaderMap,
    redirect,
};
use rustls::{ClientConfig, RootCertStore};
use std::{error::Error, fmt, net::SocketAddr, sync::Arc, time::Duration};

/// Idle connections are closed after this, a little before Node's and Apache's 5 s: a request must not meet a connection
/// that the endpoint is just closing.
const IDLE: Duration = Duration::from_secs(4);

/// What is read of an answer's body, so that its connection can be used again. A longer or slower one costs the
/// connection, nothing else: bodies mean nothing (W-4).
const ANSWER_BYTES_MAX: usize = 16_384;
const ANSWER_TIME_MAX: Duration = Duration::from_millis(500);

/// The process's HTTP client; cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    allow_private: bool,
}

/// Why an endpoint didn't take a request. `Display` follows "failed: ".
#[derive(Debug)]
pub(super) enum Failure {
    /// not 2xx; redirects are not followed
    Status(StatusCode),
    Timeout,
    Private,
    /// no connection, or no HTTP over it
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Status(status) if status.is_redirection() => {
                write!(f, "it redirects ({}), which is not followed", status.as_u16())
            }
            Failure::Status(status) => write!(f, "it answered {}", status.as_u16()),
            Failure::Timeout => f.write_str("no answer in time"),
            Failure::Private => f.write_str(
                "its address is not on the public internet, and webhook.allow_private_targets is false",
            ),
            Failure::Broken(reason) => f.write_str(reason),
        }
    }
}

impl Client {
    pub(super) fn new(settings: &WebhookSettings) -> Client {
        Client::trusting(public_roots(), settings)
    }

    fn trusting(roots: RootCertStore, settings: &WebhookSettings) -> Client {
        let allow_private = settings.allow_private_targets;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(roots))
            .dns_resolver(Arc::new(Resolver { allow_private }))
            .http1_only()
            // php reads `X-Pusher-Key` in this spelling (W-2)
            .http1_title_case_headers()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            // a proxy from the environment would connect to private addresses for us
            .no_proxy()
            .user_agent(concat!("Resound/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(settings.requests_max)
            .tcp_nodelay(true)
            .build()
            .expect("nothing in these settings can be refused");
        Client {
            http,
            allow_private,
        }
    }

    /// Posts a body once. Done when the endpoint has said 2xx.
    pub(super) async fn post(
        &self,
        webhook: &Webhook,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), Failure> {
        // addresses in URLs never reach the resolver
        if !self.allow_private && webhook.names_private_host() {
            return Err(Failure::Private);
        }
        let request = self.http.post(webhook.url.clone());
        let answer = request.headers(headers).body(body).send().await;
        let answer = answer.map_err(failure)?;
        let status = answer.status();
        let _ = tokio::time::timeout(ANSWER_TIME_MAX, read_away(answer)).await;
        if status.is_success() {
            Ok(())
        } else {
            Err(Failure::Status(status))
        }
    }
}

async fn read_away(mut answer: Response) {
    let mut bytes = 0;
    while let Ok(Some(chunk)) = answer.chunk().await {
        bytes += chunk.len();
        if bytes > ANSWER_BYTES_MAX {
            return;
        }
    }
}

/// Mozilla's list, which is built in, so that an image without files can check certificates.
fn public_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

fn tls(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn failure(error: reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::Timeout;
    }
    // the URL may have a secret in it
    let error = error.without_url();
    let mut cause: &dyn Error = &error;
    loop {
        if cause.is::<PrivateTarget>() {
            return Failure::Private;
        }
        match cause.source() {
            Some(source) => cause = source,
            // The innermost cause says what happened, the others that something did.
            None => return Failure::Broken(cause.to_string()),
        }
    }
}

/// A name leads to no public address.
#[derive(Debug)]
struct PrivateTarget;

impl fmt::Display for PrivateTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no public address")
    }
}

impl Error for PrivateTarget {}

/// Looks names up and leaves out addresses that aren't public: what it returns is what is connected to, so a name can't be
/// checked as one address and used as another.
struct Resolver {
    allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(filtered(found, allow_private)?)
        })
    }
}

fn filtered(found: Vec<SocketAddr>, allow_private: bool) -> Result<Addrs, PrivateTarget> {
    let had_any = !found.is_empty();
    let mut left = found;
    left.retain(|address| allow_private || is_public(address.ip()));
    if left.is_empty() && had_any {
        return Err(PrivateTarget);
    }
    Ok(Box::new(left.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn only_public_addresses_are_left() {
        let check = |found: &[&str], allow_private: bool, expected: Option<&[&str]>| {
            let parse = |text: &&str| SocketAddr::new(text.parse().expect(text), 0);
            let left = filtered(found.iter().map(parse).collect(), allow_private);
            let left: Option<Vec<SocketAddr>> = left.ok().map(Iterator::collect);
            let expected = expected.map(|all| all.iter().map(parse).collect());
            assert_eq!(left, expected, "{found:?}");
        };
        check(&["8.8.8.8"], false, Some(&["8.8.8.8"]));
        check(&["10.0.0.1", "8.8.8.8", "::1"], false, Some(&["8.8.8.8"]));
        check(&["10.0.0.1", "::1"], false, None);
        check(&["10.0.0.1", "::1"], true, Some(&["10.0.0.1", "::1"]));
        check(&[], false, Some(&[]));
    }

    /// A server with a certificate of its own for `name`, which answers 200 to one request. Returns its port.
    async fn tls_server(name: &str) -> (u16, RootCertStore) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let certificate = made.cert.der().clone();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a root");
        let key = made.signing_key.serialize_der().try_into().expect("a key");
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a server");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await?;
            let mut stream = acceptor.accept(stream).await?;
            let mut request = Vec::new();
            while !request.ends_with(b"{}") {
                stream.read_buf(&mut request).await?;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            stream.shutdown().await
        });
        (port, roots)
    }

    #[tokio::test]
    async fn certificates_are_checked() {
        let settings =
            "[webhook]\nallow_private_targets = true\n[[apps]]\nid = 1\nkey = 'k'\nsecret = 's'";
        let post = async |port: u16, roots: RootCertStore| {
            let hook = format!("{settings}\nwebhooks = [{{ url = 'https://localhost:{port}' }}]");
            let settings = crate::config::from_toml(&hook).expect("settings");
            let client = Client::trusting(roots, &settings.webhook);
            let body = Bytes::from_static(b"{}");
            let webhook = &settings.apps[0].webhooks[0];
            client.post(webhook, HeaderMap::new(), body).await
        };
        let (port, roots) = tls_server("localhost").await;
        assert!(post(port, roots).await.is_ok());

        let refused = |sent: Result<(), Failure>| match sent {
            Err(Failure::Broken(reason)) => assert!(reason.contains("certificate"), "{reason}"),
            other => panic!("{other:?}"),
        };
        let (port, _) = tls_server("localhost").await;
        refused(post(port, public_roots()).await);
        let (port, roots) = tls_server("other.example.com").await;
        refused(post(port, roots).await);
    }
}
