//! Whose certificates a tool believes.
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use std::{error::Error, path::Path, sync::Arc};

/// Mozilla's list, which is built in, the machine's own, and the certificates of `extra`.
pub fn roots(extra: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    // An image without a store, or a broken entry in one, leaves Mozilla's.
    let own = rustls_native_certs::load_native_certs().certs;
    roots.add_parsable_certificates(own);
    roots.add_parsable_certificates(extra.iter().cloned());
    roots
}

/// The certificates in a PEM file. Fails with a sentence.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let unreadable = |error: &dyn Error| format!("the file {shown} can't be read: {error}");
    let text = std::fs::read(path).map_err(|error| unreadable(&error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("there is no certificate (PEM) in the file {shown}")),
        Err(error) => Err(unreadable(&error)),
    }
}

/// Certificates are checked against these roots.
pub fn checked(roots: RootCertStore) -> ClientConfig {
    builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Certificates are checked against these roots, and who asks shows its own. Fails with a sentence if `key` isn't the key of
/// the first certificate of `chain`.
pub fn checked_with_identity(
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, String> {
    let config = builder().with_root_certificates(roots);
    let config = config.with_client_auth_cert(chain, key);
    config.map_err(|error| format!("the client certificate and its key can't be used: {error}"))
}

/// Certificates are checked by `verifier`.
pub fn verified_by(verifier: Arc<dyn ServerCertVerifier>) -> ClientConfig {
    builder()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth()
}

/// Any certificate will do: for this machine's own server, asked over the loopback interface. Its certificate is made for
/// the public name, and often by nobody that this machine knows.
pub fn unchecked() -> ClientConfig {
    verified_by(Arc::new(Anybody(provider())))
}

pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3")
}

/// What the TLS library said, somewhere in the causes of `error`.
pub fn error_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    super::causes(error).find_map(|cause| cause.downcast_ref())
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
