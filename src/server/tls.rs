//! TLS: the certificate in force, read at the start and read again when its files change. New handshakes get the new one;
//! connections that stand notice nothing.

use std::{
    fmt, fs, io,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{CertificateSource, Settings};

/// A certificate file is a few kilobytes: what is larger isn't one.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why there is no TLS although there should be. `Display` names the file, what is wrong with it, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{what} {path}{by} can't be read: {reason}")]
    Unreadable {
        what: &'static str,
        path: String,
        /// `, named in .env line 7 (REVERB_SSL_PRIVATE_CERT),`
        by: String,
        reason: io::Error,
    },
    #[error("{path} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")]
    NoCertificate { path: String },
    #[error(
        "{path} holds no private key in PEM form (-----BEGIN PRIVATE KEY-----); name its file with tls.key"
    )]
    NoKey { path: String },
    #[error(
        "the private key in {path} is encrypted: write it without a passphrase (openssl pkey -in {path} -out plain.pem) into a file that only this server may read"
    )]
    EncryptedKey { path: String },
    #[error("{path} is not valid PEM: {reason}")]
    Malformed { path: String, reason: String },
    #[error(
        "the private key in {path} can't be used: {reason}; RSA (2048 bits or more), ECDSA P-256, P-384 and Ed25519 can"
    )]
    UnusableKey { path: String, reason: String },
    #[error("the private key in {key} doesn't belong to the first certificate in {certificate}")]
    Mismatch { certificate: String, key: String },
    #[error("TLS can't be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// A pair that was read and checked.
pub struct Pair {
    /// what the files held, to see whether they change
    contents: (Vec<u8>, Vec<u8>),
    key: Arc<CertifiedKey>,
    /// a sentence for the log: out of date, or not yet valid
    pub warning: Option<String>,
}

/// The certificate in force.
pub struct Certificates {
    source: CertificateSource,
    current: ArcSwap<Pair>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&self.source).finish()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().key.clone())
    }
}

/// What a reload has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    Changed,
    Unchanged,
}

impl Certificates {
    /// The certificate that the settings name; `None` = no TLS.
    pub fn find(settings: &Settings) -> Result<Option<Arc<Certificates>>, TlsError> {
        let Some(source) = settings.tls.source.clone() else {
            return Ok(None);
        };
        let pair = read(&source)?;
        if let Some(warning) = &pair.warning {
            tracing::warn!("{warning}");
        }
        let how = if source.is_found {
            " (found by its host name; --no-tls or tls.auto = false leaves it alone)"
        } else {
            ""
        };
        tracing::info!(
            "TLS with the certificate {}{how}",
            source.certificate.display()
        );
        Ok(Some(Arc::new(Certificates {
            source,
            current: ArcSwap::from_pointee(pair),
        })))
    }

    pub fn source(&self) -> &CertificateSource {
        &self.source
    }

    /// Reads and checks the files; nothing is in force yet.
    pub fn read(&self) -> Result<Pair, TlsError> {
        read(&self.source)
    }

    /// New handshakes get this certificate from now on.
    pub fn install(&self, pair: Pair) -> Reloaded {
        if self.current.load().contents == pair.contents {
            return Reloaded::Unchanged;
        }
        if let Some(warning) = &pair.warning {
            tracing::warn!("{warning}");
        }
        self.current.store(Arc::new(pair));
        tracing::info!(
            "new connections get the certificate that is in {} now",
            self.source.certificate.display()
        );
        Reloaded::Changed
    }

    /// Reads the files again. If they can't be used, the certificate stays as it was.
    pub fn reload(&self) -> Result<Reloaded, TlsError> {
        self.read().map(|pair| self.install(pair))
    }

    /// Looks at the files this often, for ever. What is wrong with them is said once, not at every look.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        let mut last_error = None;
        loop {
            tokio::time::sleep(every).await;
            // What is wrong with a file must not end the looking at it.
            let looked = panic::catch_unwind(AssertUnwindSafe(|| self.reload()));
            let error = match looked {
                Ok(reloaded) => reloaded.err().map(|error| error.to_string()),
                Err(_) => Some("reading it panicked, which is a fault of Resound".to_owned()),
            };
            if let Some(error) = &error
                && last_error.as_ref() != Some(error)
            {
                tracing::error!("the certificate stays as it was: {error}");
            }
            last_error = error;
        }
    }

    /// TLS 1.2 and 1.3, HTTP/1.1 only. No certificate is asked of clients: browsers would ask their users for one.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config).into())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(source: &CertificateSource) -> Result<Pair, TlsError> {
    let [certificate_by, key_by] = &source.origins;
    let certificate_bytes = read_file("the certificate", &source.certificate, certificate_by)?;
    let key_bytes = match source.key == source.certificate {
        true => certificate_bytes.clone(),
        false => read_file("the private key", &source.key, key_by)?,
    };
    let shown = |path: &Path| path.display().to_string();
    let (certificate_path, key_path) = (shown(&source.certificate), shown(&source.key));
    let chain = chain(&certificate_bytes, &certificate_path)?;
    let warning = out_of_date(&chain, &certificate_path);
    let key = private_key(&key_bytes, &key_path)?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
            certificate: certificate_path.clone(),
            key: key_path.clone(),
        },
        rustls::Error::InvalidCertificate(reason) => TlsError::Malformed {
            path: certificate_path.clone(),
            reason: format!("the certificate is {reason:?}"),
        },
        other => TlsError::UnusableKey {
            path: key_path.clone(),
            reason: other.to_string(),
        },
    })?;
    Ok(Pair {
        contents: (certificate_bytes, key_bytes),
        key: Arc::new(key),
        warning,
    })
}

fn read_file(what: &'static str, path: &Path, named_by: &str) -> Result<Vec<u8>, TlsError> {
    let bytes = || {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
            return Err(io::Error::other("it is no file, or far too large for one"));
        }
        fs::read(path)
    };
    bytes().map_err(|reason| TlsError::Unreadable {
        what,
        path: path.display().to_string(),
        by: match named_by {
            "" => String::new(),
            origin => format!(", named in {origin},"),
        },
        reason,
    })
}

fn chain(bytes: &[u8], path: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(bytes).collect();
    let chain = chain.map_err(|error| malformed(path, &error))?;
    match chain.is_empty() {
        true => Err(TlsError::NoCertificate {
            path: path.to_owned(),
        }),
        false => Ok(chain),
    }
}

/// PKCS#8, PKCS#1 and SEC1.
fn private_key(bytes: &[u8], path: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = String::from_utf8_lossy(bytes);
    let is_encrypted = text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text
            .lines()
            .any(|line| line.starts_with("Proc-Type:") && line.contains("ENCRYPTED"));
    if is_encrypted {
        return Err(TlsError::EncryptedKey {
            path: path.to_owned(),
        });
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey {
            path: path.to_owned(),
        },
        other => malformed(path, &other),
    })
}

/// The parser's own words for a missing end quote the bytes around it, which may be those of a key.
fn malformed(path: &str, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end (-----END …-----)",
        pem::Error::IllegalSectionStart { .. } => "a section's first line is damaged",
        pem::Error::Base64Decode(_) => "what is between its lines isn't Base64",
        _ => "it could not be understood",
    };
    TlsError::Malformed {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Clients refuse such a certificate, but that is for its owner to see, not a reason to stay away.
fn out_of_date(chain: &[CertificateDer<'_>], path: &str) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    let validity = certificate.validity();
    let now = x509_parser::time::ASN1Time::now();
    if now > validity.not_after {
        return Some(format!(
            "the certificate in {path} has expired ({}): clients will refuse it until it is renewed",
            validity.not_after
        ));
    }
    (now < validity.not_before).then(|| {
        format!(
            "the certificate in {path} is valid from {} on: clients refuse it until then; is this machine's clock right?",
            validity.not_before
        )
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, generate_simple_self_signed};
    use tempfile::TempDir;

    use super::*;

    fn pair() -> (String, String) {
        let made = generate_simple_self_signed(["localhost".to_owned()]).expect("certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    /// Reads files with these contents; `None` as the key: there is only one file.
    fn outcome(certificate: &str, key: Option<&str>) -> Result<Pair, String> {
        let folder = TempDir::new().expect("folder");
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("written");
            path
        };
        let certificate = path("cert.pem", certificate);
        let source = CertificateSource {
            key: key.map_or_else(|| certificate.clone(), |text| path("key.pem", text)),
            certificate,
            is_found: false,
            origins: Default::default(),
        };
        read(&source).map_err(|error| error.to_string())
    }

    #[test]
    fn a_pair_in_two_files_or_in_one() {
        let (certificate, key) = pair();
        let found = outcome(&certificate, Some(&key)).expect("a pair");
        assert_eq!(found.warning, None);
        outcome(&format!("{key}{certificate}"), None).expect("both in one file");
        outcome(&format!("words in front\n{certificate}\n{key}"), None).expect("with words");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file() {
        let (certificate, key) = pair();
        let (_, other_key) = pair();
        let check = |certificate: &str, key: Option<&str>, words: &[&str]| {
            let error = outcome(certificate, key).err().expect("an error");
            for word in words {
                assert!(error.contains(word), "{word}: {error}");
            }
            assert!(!error.contains('\n'), "{error}");
        };
        check("", Some(&key), &["cert.pem", "no certificate"]);
        check(&key, Some(&key), &["cert.pem", "no certificate"]);
        check(&certificate, Some(""), &["key.pem", "no private key"]);
        check(
            &certificate,
            None,
            &["cert.pem", "no private key", "tls.key"],
        );
        check(
            &certificate,
            Some(&other_key),
            &["key.pem", "cert.pem", "belong"],
        );
        let encrypted =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
        check(&certificate, Some(encrypted), &["key.pem", "encrypted"]);
        let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n";
        check(&certificate, Some(encrypted), &["key.pem", "encrypted"]);
        let cut = &key[..key.len() / 2];
        check(&certificate, Some(cut), &["key.pem", "no end"]);
        assert!(
            !outcome(&certificate, Some(cut))
                .err()
                .expect("an error")
                .contains(&key[40..60])
        );
        let garbage = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
        check(&certificate, Some(garbage), &["key.pem", "can't be used"]);
        let garbage = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        check(garbage, Some(&key), &["cert.pem"]);
        let missing = CertificateSource {
            certificate: "/nowhere/cert.pem".into(),
            key: "/nowhere/key.pem".into(),
            is_found: false,
            origins: ["option --x".to_owned(), String::new()],
        };
        let error = read(&missing).err().expect("an error").to_string();
        let expected = "the certificate /nowhere/cert.pem, named in option --x, can't be read: ";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn a_certificate_out_of_date_is_used_and_warned_about() {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        let expired = params.self_signed(&key).expect("certificate").pem();
        let found = outcome(&expired, Some(&key.serialize_pem())).expect("a pair");
        assert!(found.warning.expect("a warning").contains("expired"));
        params.not_before = rcgen::date_time_ymd(4000, 1, 1);
        params.not_after = rcgen::date_time_ymd(4001, 1, 1);
        let early = params.self_signed(&key).expect("certificate").pem();
        let found = outcome(&early, Some(&key.serialize_pem())).expect("a pair");
        assert!(found.warning.expect("a warning").contains("valid from"));
    }
}
