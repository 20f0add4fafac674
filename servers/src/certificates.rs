//! Certificates for servers with TLS, and wrong ones to show that they are refused.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// How a server speaks TLS.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tls {
    asks_clients: bool,
    shows: Shows,
}

#[derive(Clone, Copy, Debug, Default)]
enum Shows {
    #[default]
    Good,
    Expired,
    OtherHost,
}

impl Tls {
    /// A good certificate for `localhost` and 127.0.0.1, and clients may come without one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Turns away every client without a certificate of the CA.
    #[must_use]
    pub fn asking_clients(mut self) -> Self {
        self.asks_clients = true;
        self
    }

    /// Shows a certificate that ran out long ago.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.shows = Shows::Expired;
        self
    }

    /// Shows a certificate for `other.example`.
    #[must_use]
    pub fn for_another_host(mut self) -> Self {
        self.shows = Shows::OtherHost;
        self
    }

    pub(crate) fn asks_clients(self) -> bool {
        self.asks_clients
    }

    /// The certificate that the server shows, and its key.
    #[must_use]
    pub fn server(self, certificates: &Certificates) -> (PathBuf, PathBuf) {
        certificates.pair(match self.shows {
            Shows::Good => "server",
            Shows::Expired => "expired",
            Shows::OtherHost => "other-host",
        })
    }
}

/// PEM files: a CA with what it signed, and a CA that nobody trusts with a client of its own.
#[derive(Clone, Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// The name in the client's certificate: etcd takes it for the user's, and PostgreSQL can be told to.
    pub const CLIENT_NAME: &str = "polystore";

    /// Makes all of them in `folder`, which must exist.
    ///
    /// # Panics
    /// If `folder` cannot be written to.
    #[must_use]
    pub fn create(folder: &Path) -> Self {
        let certificates = Self {
            folder: folder.to_owned(),
        };
        let server = ExtendedKeyUsagePurpose::ServerAuth;
        let client = ExtendedKeyUsagePurpose::ClientAuth;
        let here = ["localhost", "127.0.0.1", "::1"].as_slice();

        let ca = certificates.authority("ca");
        // etcd's own gateway to JSON is a client too, by the server's certificate.
        let good = leaf("localhost", here, &[server.clone(), client.clone()]);
        certificates.sign("server", &good, &ca);
        let mut expired = leaf("localhost", here, std::slice::from_ref(&server));
        expired.not_before = date_time_ymd(2020, 1, 1);
        expired.not_after = date_time_ymd(2021, 1, 1);
        certificates.sign("expired", &expired, &ca);
        let other = leaf("other.example", &["other.example"], &[server]);
        certificates.sign("other-host", &other, &ca);
        let own = || leaf(Self::CLIENT_NAME, &[], std::slice::from_ref(&client));
        certificates.sign("client", &own(), &ca);

        let untrusted = certificates.authority("untrusted-ca");
        certificates.sign("untrusted-client", &own(), &untrusted);
        certificates
    }

    /// The CA's certificate, which a client must trust.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The certificate of a client that the CA signed.
    #[must_use]
    pub fn client_certificate(&self) -> PathBuf {
        self.path("client.pem")
    }

    /// The key of that client.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.path("client.key")
    }

    /// A CA that signed no server here.
    #[must_use]
    pub fn untrusted_ca(&self) -> PathBuf {
        self.path("untrusted-ca.pem")
    }

    /// The certificate and key of a client that only the untrusted CA signed.
    #[must_use]
    pub fn untrusted_client(&self) -> (PathBuf, PathBuf) {
        self.pair("untrusted-client")
    }

    fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        (
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn authority(&self, name: &str) -> Issuer<'static, KeyPair> {
        let mut params = leaf(name, &[], &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = key();
        let certificate = params.self_signed(&key).expect("the parameters are sound");
        self.save(name, &certificate.pem(), &key);
        Issuer::new(params, key)
    }

    fn sign(&self, name: &str, params: &CertificateParams, issuer: &Issuer<'_, KeyPair>) {
        let key = key();
        let certificate = params.signed_by(&key, issuer);
        let certificate = certificate.expect("the parameters are sound");
        self.save(name, &certificate.pem(), &key);
    }

    fn save(&self, name: &str, certificate: &str, key: &KeyPair) {
        let (certificate_path, key_path) = self.pair(name);
        fs::write(certificate_path, certificate).expect("the folder can be written to");
        fs::write(key_path, key.serialize_pem()).expect("the folder can be written to");
    }

    /// Those that [`create`](Self::create) made in `folder`.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system has randomness")
}

fn leaf(name: &str, hosts: &[&str], uses: &[ExtendedKeyUsagePurpose]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(hosts).expect("they are host names");
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = uses.to_vec();
    params.use_authority_key_identifier_extension = true;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}
