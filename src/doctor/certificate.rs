//! The TLS handshake, and what is wrong with a certificate when it fails.
use super::{
    Context, Finding,
    place::{Place, TLS},
    spoken,
};
use crate::{
    client::{self, ConnectError, one_line, tls},
    protocol::request::utc,
};
use rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::net::TcpStream;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    parse_x509_certificate,
};

/// Renewals that work are done by then.
const DAYS_LEFT_WANTED: i64 = 14;

const DAY_S: i64 = 86_400;

/// Names shown of a certificate.
const NAMES_MAX: usize = 5;

pub(super) async fn check(
    context: &Context<'_>,
    place: &Place,
    found: &[SocketAddr],
    stream: TcpStream,
) -> Finding {
    let name = place.named(TLS);
    let verifier = match Recording::new(context.roots.clone()) {
        Ok(verifier) => Arc::new(verifier),
        Err(reason) => return Finding::skipped(name, reason),
    };
    let config = Arc::new(tls::verified_by(verifier.clone()));
    let address = &place.address;
    let shaken = client::start_tls(address, stream, &config, context.patience).await;
    let chain = verifier.chain();
    match shaken {
        Ok(_) => valid(place, &chain),
        Err(ConnectError::Tls {
            error: Some(TlsError::InvalidCertificate(_)),
            ..
        }) if address.is_own => Finding::note(
            name,
            "TLS is spoken; whether the certificate is trusted only shows at the address that clients use: check that with --url",
        ),
        Err(ConnectError::Tls {
            error: Some(TlsError::InvalidCertificate(error)),
            ..
        }) => {
            let (text, cure) = fault(place, &error, &chain);
            Finding::wrong(name, text, cure)
        }
        // Resound answers TLS on a plain port with an alert, others with something that isn't TLS.
        Err(_) if spoken::speaks_plain_http(address, found, context.patience).await => {
            Finding::wrong(
                name,
                format!(
                    "{} speaks HTTP without TLS, but is asked with",
                    address.authority()
                ),
                format!(
                    "{}, or put a certificate there, or correct {}",
                    place.scheme_setting("http"),
                    place.port_setting()
                ),
            )
        }
        Err(ConnectError::Tls {
            error: Some(TlsError::AlertReceived(alert)),
            ..
        }) => Finding::wrong(
            name,
            format!(
                "{} refuses the TLS handshake ({alert:?})",
                address.authority()
            ),
            format!(
                "give the server or proxy a certificate for {}",
                address.host
            ),
        ),
        Err(error) => Finding::wrong(
            name,
            error.to_string(),
            format!(
                "look what answers at {}, and correct {} if it isn't meant",
                address.authority(),
                place.port_setting()
            ),
        ),
    }
}

fn valid(place: &Place, chain: &[CertificateDer<'_>]) -> Finding {
    let name = place.named(TLS);
    let Some(leaf) = parsed(chain, 0) else {
        return Finding::ok(name, "the certificate is trusted");
    };
    let now_s = i64::try_from(client::now_s()).unwrap_or(i64::MAX);
    let not_after_s = leaf.validity().not_after.timestamp();
    let days = not_after_s.saturating_sub(now_s) / DAY_S;
    let issuer = issuer(&leaf);
    let text =
        format!("the certificate is trusted, issued by {issuer}, and valid for {days} more days");
    match days < DAYS_LEFT_WANTED {
        true => Finding::warning(name, text, "see to it that it is renewed"),
        false => Finding::ok(name, text),
    }
}

/// What is wrong, and the cure.
fn fault(
    place: &Place,
    error: &CertificateError,
    chain: &[CertificateDer<'_>],
) -> (String, String) {
    let host = &place.address.host;
    let Some(leaf) = parsed(chain, 0) else {
        let text = format!("the certificate of {host} can't be read: {error}");
        return (
            text,
            "give the server or proxy another certificate".to_owned(),
        );
    };
    let validity = leaf.validity();
    let renew = "renew it, and see that the server or proxy has loaded the new one";
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            (expired(host, chain, &leaf), renew.to_owned())
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            format!(
                "the certificate of {host} is not valid before {}",
                utc(validity.not_before.timestamp())
            ),
            format!(
                "set the clock of this machine (it says {}), or wait",
                utc(i64::try_from(client::now_s()).unwrap_or(i64::MAX))
            ),
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("the certificate is for {}, not for {host}", names(&leaf)),
            format!(
                "get a certificate for {host}, or set {} to a name that is on it",
                place.host_setting()
            ),
        ),
        CertificateError::Revoked => (
            format!("the certificate of {host} was revoked"),
            renew.to_owned(),
        ),
        _ => untrusted(host, error, chain, &leaf),
    }
}

fn expired(host: &str, chain: &[CertificateDer<'_>], leaf: &X509Certificate<'_>) -> String {
    let now_s = i64::try_from(client::now_s()).unwrap_or(i64::MAX);
    let at = leaf.validity().not_after.timestamp();
    if at > now_s {
        // the server's own is good: one above it isn't
        let above = (1..chain.len()).filter_map(|index| parsed(chain, index));
        let mut old = above.filter(|one| one.validity().not_after.timestamp() <= now_s);
        let subject = old.next().map(|one| one_line(&one.subject().to_string()));
        let subject = subject.unwrap_or_else(|| "one of them".to_owned());
        return format!(
            "the certificate of {host} is good, but one in its chain has expired ({subject})"
        );
    }
    let days = (now_s - at) / DAY_S;
    format!(
        "the certificate of {host} expired on {}, {days} days ago",
        utc(at)
    )
}

fn untrusted(
    host: &str,
    error: &CertificateError,
    chain: &[CertificateDer<'_>],
    leaf: &X509Certificate<'_>,
) -> (String, String) {
    let trust = "PHP and every browser must trust it too: get one from a public authority (for example Let's Encrypt), or install it where they look and check with --ca FILE";
    if leaf.issuer() == leaf.subject() {
        let text = format!("the certificate of {host} is self-signed, so nobody trusts it");
        // With that, OpenSSL and PHP take it for a server's once it is installed; rustls, and this check, never do.
        let cure = match leaf.is_ca() {
            true => format!(
                "{trust}, for which it must not be one of an authority (openssl req -x509 … -addext basicConstraints=critical,CA:FALSE)"
            ),
            false => trust.to_owned(),
        };
        return (text, cure);
    }
    if !matches!(error, CertificateError::UnknownIssuer) {
        let text = format!("the certificate of {host} can't be used: {error}");
        return (text, "get another one".to_owned());
    }
    let last = parsed(chain, chain.len() - 1);
    let is_whole = last.is_some_and(|last| last.issuer() == last.subject());
    if is_whole || (chain.len() > 1 && !fetches_issuer(leaf)) {
        let text = format!(
            "the certificate of {host} is issued by {}, an authority that this machine doesn't know",
            issuer(leaf)
        );
        return (text, trust.to_owned());
    }
    let missing = format!(
        "the certificate of {host} is issued by {}, and the intermediate certificate that leads from there to a known authority isn't sent",
        issuer(leaf)
    );
    let cure = "give the server or proxy the whole chain (fullchain.pem, not cert.pem)";
    match fetches_issuer(leaf) {
        true => (missing, cure.to_owned()),
        false => (
            format!("{missing}, or that authority is private"),
            format!(
                "{cure}; a private authority: check with --ca FILE, and see that PHP and every browser trust it"
            ),
        ),
    }
}

/// Whether the certificate says where its issuer's can be had, as those of public authorities do.
fn fetches_issuer(certificate: &X509Certificate<'_>) -> bool {
    let is_access = |extension: &ParsedExtension<'_>| {
        matches!(extension, ParsedExtension::AuthorityInfoAccess(_))
    };
    let mut extensions = certificate.iter_extensions();
    extensions.any(|extension| is_access(extension.parsed_extension()))
}

fn parsed<'a>(chain: &'a [CertificateDer<'_>], index: usize) -> Option<X509Certificate<'a>> {
    let (_, certificate) = parse_x509_certificate(chain.get(index)?).ok()?;
    Some(certificate)
}

fn issuer(certificate: &X509Certificate<'_>) -> String {
    one_line(&certificate.issuer().to_string())
}

/// The names that a certificate is for.
fn names(certificate: &X509Certificate<'_>) -> String {
    let mut names = Vec::new();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.push(one_line(name)),
                GeneralName::IPAddress(bytes) => names.extend(ip(bytes)),
                _ => {}
            }
        }
    }
    match names.len() {
        0 => one_line(&certificate.subject().to_string()),
        count if count > NAMES_MAX => {
            format!(
                "{} and {} more",
                names[..NAMES_MAX].join(", "),
                count - NAMES_MAX
            )
        }
        _ => names.join(", "),
    }
}

fn ip(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from);
    v4.or(v6).ok().map(|address| address.to_string())
}

/// Checks as everybody does, and keeps what the server showed.
#[derive(Debug)]
struct Recording {
    inner: Arc<WebPkiServerVerifier>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl Recording {
    fn new(roots: RootCertStore) -> Result<Recording, String> {
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider());
        let inner = builder.build().map_err(|error| error.to_string())?;
        let chain = Mutex::default();
        Ok(Recording { inner, chain })
    }

    /// The server's own certificate first; empty before a handshake.
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *chain)
    }
}

impl ServerCertVerifier for Recording {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let shown = [end_entity].into_iter().chain(intermediates);
        let shown = shown.map(|one| one.clone().into_owned()).collect();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        let inner = &self.inner;
        inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
