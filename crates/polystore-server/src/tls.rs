//! The server's certificate.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use polystore_kv::{Error, ErrorKind, Result};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate and its key, to serve by TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2.
#[derive(Clone)]
pub struct Tls {
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// From PEM: the certificate with those that lead to its authority, and the private key.
    ///
    /// # Errors
    /// `InvalidOption` if one of them is not there or cannot be read, or they do not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(certificates)
            .collect::<std::result::Result<_, _>>()
            .map_err(|_| wrong("the certificate is not PEM"))?;
        if certificates.is_empty() {
            return Err(wrong(
                "there is no certificate in PEM in the file for it: it begins with -----BEGIN CERTIFICATE-----",
            ));
        }
        if is_encrypted(key) {
            return Err(wrong(
                "the private key is encrypted: take the password off, as `openssl pkey` does",
            ));
        }
        // What is wrong with a key may quote it.
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| wrong("there is no private key in PEM in the file for it"))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|it| it.with_no_client_auth().with_single_cert(certificates, key))
            .map_err(|error| {
                wrong("the certificate and the key cannot be used together").with_source(error)
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(RwLock::new(Arc::new(config))),
        })
    }

    /// Shows what `newer` has from now on, here and in every clone, so also in a server that runs.
    /// Connections that are there stay.
    pub fn replace(&self, newer: &Self) {
        let config = newer.config();
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&config)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// In PKCS #8, or as OpenSSL once did it.
fn is_encrypted(key: &[u8]) -> bool {
    let marks = [
        &b"BEGIN ENCRYPTED PRIVATE KEY"[..],
        b"Proc-Type: 4,ENCRYPTED",
    ];
    marks
        .iter()
        .any(|mark| key.windows(mark.len()).any(|it| it == *mark))
}

fn wrong(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOption, what)
}
