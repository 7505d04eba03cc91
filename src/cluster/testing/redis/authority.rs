//! A Redis that speaks TLS, with a CA of its own.

use tempfile::TempDir;

use super::RedisServer;
use crate::cluster::connection::Tls;

/// A CA, and a server's and a client's certificate of it, in files.
pub struct Authority {
    pub directory: TempDir,
    pub ca_pem: String,
    /// certificate and key
    pub client_pem: (String, String),
}

impl Authority {
    pub fn new() -> Authority {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let directory = tempfile::tempdir().expect("a directory");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        let name = format!("CA {}", rand::random::<u32>());
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = params.self_signed(&key).expect("a CA").pem();
        let issuer = Issuer::new(params, key);
        let issue = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new([name.to_owned()]).expect("parameters");
            let certificate = params.signed_by(&key, &issuer).expect("a certificate");
            (certificate.pem(), key.serialize_pem())
        };
        let (server, client_pem) = (issue("127.0.0.1"), issue("client"));
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).expect("written");
        };
        write("ca", &ca_pem);
        write("certificate", &server.0);
        write("key", &server.1);
        Authority {
            directory,
            ca_pem,
            client_pem,
        }
    }

    /// A Redis that speaks only TLS; `clients`: `yes` if it wants certificates of its clients.
    pub fn redis(&self, clients: &str) -> RedisServer {
        let file = |name: &str| self.directory.path().join(name).display().to_string();
        let mut server = RedisServer::start_with(&[
            "--tls-port",
            "PORT",
            "--tls-auth-clients",
            clients,
            "--tls-ca-cert-file",
            &file("ca"),
            "--tls-cert-file",
            &file("certificate"),
            "--tls-key-file",
            &file("key"),
        ]);
        server.access.tls = Some(self.tls());
        server
    }

    /// Believes this CA and no other.
    pub fn tls(&self) -> Tls {
        Tls::new(Some(self.ca_pem.as_bytes()), None).expect("TLS")
    }

    pub fn tls_with_identity(&self) -> Tls {
        let (certificate, key) = &self.client_pem;
        let identity = Some((certificate.as_bytes(), key.as_bytes()));
        Tls::new(Some(self.ca_pem.as_bytes()), identity).expect("TLS")
    }
}
