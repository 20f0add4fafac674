//! What is checked of a server's certificate, as `sslmode` says.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{Error, ErrorKind, Result};
use crate::remote::{Pem, TlsFiles, provider};

/// How much of the certificate has to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checks {
    /// Anyone's will do: others cannot listen, but nobody knows who it is.
    Nothing,
    /// It was issued by an authority that is trusted.
    Authority,
    /// And to the host of the URL.
    Name,
}

#[derive(Clone, Debug)]
pub(super) struct Security {
    pub(super) checks: Checks,
    pub(super) files: TlsFiles,
}

impl Security {
    /// What a given configuration asks for: the checks of a browser if it requires TLS.
    #[cfg(feature = "tokio-postgres-0_7")]
    pub(super) fn of_config(config: &tokio_postgres::Config) -> Self {
        let checks = match config.get_ssl_mode() {
            tokio_postgres::config::SslMode::Require => Checks::Name,
            _ => Checks::Nothing,
        };
        Self {
            checks,
            files: TlsFiles::default(),
        }
    }

    /// Reads the files that are named.
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect> {
        let pem = self.files.read()?;
        let provider = provider();
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let config = match self.checks {
            Checks::Name => config.with_root_certificates(pem.root_store()?),
            Checks::Authority | Checks::Nothing => config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(self.lenient(&pem, provider)?)),
        };
        let config = match pem.client_identity()? {
            None => config.with_no_client_auth(),
            Some((chain, key)) => config.with_client_auth_cert(chain, key).map_err(unusable)?,
        };
        Ok(MakeRustlsConnect::new(config))
    }

    fn lenient(&self, pem: &Pem, provider: Arc<CryptoProvider>) -> Result<Lenient> {
        let authority = match self.checks {
            Checks::Nothing => None,
            Checks::Authority | Checks::Name => {
                let roots = Arc::new(pem.root_store()?);
                let provider = Arc::clone(&provider);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider);
                Some(verifier.build().map_err(unusable)?)
            }
        };
        Ok(Lenient {
            authority,
            provider,
        })
    }
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(
        ErrorKind::InvalidOption,
        "TLS cannot be used with these certificates",
    )
    .with_source(error)
}

/// Does not look at the name in a certificate, and without an authority at nothing in it. That
/// the server has the certificate's key is checked in any case.
#[derive(Debug)]
struct Lenient {
    authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(authority) = &self.authority else {
            return Ok(ServerCertVerified::assertion());
        };
        match authority.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is looked at last.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
