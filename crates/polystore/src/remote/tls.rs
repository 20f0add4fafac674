//! TLS by rustls: with the system's roots or given ones, and a certificate of our own
//! where a server wants to know its clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::address::{Address, invalid};
use crate::error::{Error, ErrorKind, Result};

/// The files that a URL names, all in PEM. They are read for each new connection, so
/// that a renewed certificate is used by the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    roots: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
}

/// What was in them.
pub(crate) struct Pem {
    /// Whom to trust; the system's roots if it is not there.
    pub(crate) roots: Option<Vec<u8>>,
    /// The client's certificate chain, and its key.
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl TlsFiles {
    /// The options by these names: trusted roots, the client's certificate, its key.
    pub(crate) fn take(address: &mut Address, names: [&str; 3]) -> Result<Self> {
        let [roots, certificate, key] = names.map(|name| address.take(name).map(PathBuf::from));
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(invalid(format!(
                    "the options {} and {} go together",
                    names[1], names[2]
                )));
            }
        };
        Ok(Self { roots, identity })
    }

    /// Whether any file is named.
    pub(crate) fn is_given(&self) -> bool {
        *self != Self::default()
    }

    /// Whether trusted roots are named.
    pub(crate) fn has_roots(&self) -> bool {
        self.roots.is_some()
    }

    pub(crate) fn read(&self) -> Result<Pem> {
        let identity = match &self.identity {
            Some((certificate, key)) => Some((read(certificate)?, read(key)?)),
            None => None,
        };
        Ok(Pem {
            roots: self.roots.as_deref().map(read).transpose()?,
            identity,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::from_io("read a PEM file for TLS", error).with_path(path))
}

/// The program's own choice of cryptography, or ring's.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()))
}

/// For drivers that look for the process's choice: makes it ring, if there is none yet.
pub(crate) fn choose_provider() {
    if CryptoProvider::get_default().is_none() {
        // Another thread may have been faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

impl Pem {
    /// The roots to trust.
    pub(crate) fn root_store(&self) -> Result<RootCertStore> {
        let mut store = RootCertStore::empty();
        match &self.roots {
            Some(pem) => {
                for certificate in certificates(pem)? {
                    store.add(certificate).map_err(|error| {
                        bad_pem("a trusted root is no certificate").with_source(error)
                    })?;
                }
            }
            None => {
                let system = rustls_native_certs::load_native_certs();
                store.add_parsable_certificates(system.certs);
                if store.is_empty() {
                    return Err(bad_pem(
                        "this system has no trusted roots: install its CA certificates, or name a file of them",
                    ));
                }
            }
        }
        Ok(store)
    }

    /// Who we are to the server, if it is told.
    pub(crate) fn client_identity(
        &self,
    ) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>> {
        let Some((chain, key)) = &self.identity else {
            return Ok(None);
        };
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| bad_pem("the client's key is not a private key in PEM"))?;
        Ok(Some((certificates(chain)?, key)))
    }

    /// What rustls needs, with the checks of a browser.
    pub(crate) fn client_config(&self) -> Result<ClientConfig> {
        self.client_config_with(self.root_store()?)
    }

    /// The same with these roots.
    pub(crate) fn client_config_with(&self, roots: RootCertStore) -> Result<ClientConfig> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| bad_pem("TLS cannot be used").with_source(error))?
            .with_root_certificates(roots);
        match self.client_identity()? {
            None => Ok(config.with_no_client_auth()),
            Some((chain, key)) => config.with_client_auth_cert(chain, key).map_err(|error| {
                bad_pem("the client's certificate and key do not go together").with_source(error)
            }),
        }
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok()
        .filter(|all| !all.is_empty())
        .ok_or_else(|| bad_pem("a file of certificates has none in PEM"))
}

fn bad_pem(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOption, message)
}
