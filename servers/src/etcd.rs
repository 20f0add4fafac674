//! etcd.

mod client;
mod cluster;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::Path;
use std::sync::OnceLock;

pub use cluster::EtcdCluster;

use crate::certificates::{Certificates, Tls};
use crate::ports;
use crate::programs::program;
use crate::server::{Ends, Server, existing, line, with_query};

const ENDS: Ends = Ends {
    graceful: "TERM",
    quick: "KILL",
};

/// One etcd server, alone or a member of a cluster. What it acknowledged survives [`kill`](Server::kill).
#[derive(Debug)]
pub struct Etcd {
    server: Server,
    ports: Ports,
    certificates: Option<Certificates>,
}

/// How an [`Etcd`] or an [`EtcdCluster`] is to be started.
#[derive(Clone, Debug, Default)]
pub struct EtcdBuilder {
    flags: Vec<String>,
    tls: Option<Tls>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    clients: u16,
    peers: u16,
    /// Health is told here without TLS.
    health: u16,
}

impl Ports {
    fn free() -> Self {
        Self {
            clients: ports::free(),
            peers: ports::free(),
            health: ports::free(),
        }
    }
}

impl Etcd {
    /// A single empty one. Nothing where etcd is missing.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::builder().start()
    }

    /// To choose more: flags, TLS, a cluster.
    #[must_use]
    pub fn builder() -> EtcdBuilder {
        EtcdBuilder::default()
    }

    /// The URL of a server that this process' tests share: the one of `POLYSTORE_TEST_ETCD_URL` if that is set,
    /// else one that is started at the first call.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn shared() -> Option<String> {
        static SHARED: OnceLock<Option<Etcd>> = OnceLock::new();
        existing("POLYSTORE_TEST_ETCD_URL")
            .or_else(|| SHARED.get_or_init(Self::start).as_ref().map(Self::url))
    }

    /// `etcd://127.0.0.1:1234`, with `?tls` if it speaks that.
    #[must_use]
    pub fn url(&self) -> String {
        let tls = if self.certificates.is_some() {
            "?tls"
        } else {
            ""
        };
        format!("etcd://{}{tls}", self.address())
    }

    /// [`url`](Self::url) with parameters like `"timeout=1s"`.
    #[must_use]
    pub fn url_with(&self, query: &str) -> String {
        with_query(&self.url(), query)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.clients).into()
    }

    /// The files for a client, if it speaks TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Whether it says that it is well, for which a cluster must have a leader.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        is_healthy(self.ports.health)
    }

    /// What etcd's gateway answers: the JSON `body` is sent to `/v3/` and `path`, like `"kv/range"` or `"auth/user/add"`.
    /// Keys and values are in base64 there. Not with TLS.
    ///
    /// # Panics
    /// If the answer is an error, or the server speaks TLS.
    pub fn call(&self, path: &str, body: &str) -> String {
        self.try_call(path, body, None)
            .unwrap_or_else(|error| panic!("etcd answered to {path}: {error}"))
    }

    /// Like [`call`](Self::call), as the user that got `token` from `auth/authenticate`, and where an error is expected.
    ///
    /// # Errors
    /// What the server says, or why it can't be asked.
    ///
    /// # Panics
    /// If the server speaks TLS.
    pub fn try_call(&self, path: &str, body: &str, token: Option<&str>) -> Result<String, String> {
        assert!(self.certificates.is_none(), "call speaks no TLS");
        client::ask(
            self.ports.clients,
            &format!("/v3/{path}"),
            Some(body),
            token,
        )
    }

    /// Makes the user `root` with `password`, and has everyone prove who they are from now on.
    ///
    /// # Panics
    /// If that fails, or the server speaks TLS.
    pub fn enable_auth(&self, password: &str) {
        self.call("auth/role/add", r#"{"name":"root"}"#);
        let root = format!(r#"{{"name":"root","password":"{password}"}}"#);
        self.call("auth/user/add", &root);
        self.call("auth/user/grant", r#"{"user":"root","role":"root"}"#);
        self.call("auth/enable", "{}");
    }

    /// [`url`](Self::url) as a user.
    #[must_use]
    pub fn url_as(&self, user: &str, password: &str) -> String {
        let url = self.url();
        url.replacen("://", &format!("://{user}:{password}@"), 1)
    }
}

impl Deref for Etcd {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl EtcdBuilder {
    /// One more flag, like `"--quota-backend-bytes=16777216"`.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// TLS for clients, and nothing else.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Starts a single one.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn start(self) -> Option<Etcd> {
        let program = program("etcd", "etcd-server")?;
        let server = Server::new("etcd", &ENDS, None);
        let certificates = self.tls.map(|_| Certificates::create(server.folder()));
        let ports = server.start_on_free_ports(|| {
            let ports = Ports::free();
            let cluster = format!("0=http://127.0.0.1:{}", ports.peers);
            let script = self.script(
                &program,
                server.folder(),
                certificates.as_ref(),
                (0, ports, &cluster),
            );
            let outcome = server.start(&script, move || is_healthy(ports.health));
            (ports, outcome)
        });
        Some(Etcd {
            server,
            ports,
            certificates,
        })
    }

    fn script(
        &self,
        program: &Path,
        folder: &Path,
        certificates: Option<&Certificates>,
        (number, ports, cluster): (usize, Ports, &str),
    ) -> String {
        let at = |scheme: &str, port: u16| format!("{scheme}://127.0.0.1:{port}");
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let clients = at(scheme, ports.clients);
        let peers = at("http", ports.peers);
        let mut words = vec![
            program.display().to_string(),
            format!("--name={number}"),
            format!("--data-dir={}", folder.join("data").display()),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--listen-metrics-urls={}", at("http", ports.health)),
            format!("--initial-cluster={cluster}"),
        ];
        if let Some((tls, certificates)) = self.tls.zip(certificates) {
            let (certificate, key) = tls.server(certificates);
            words.extend([
                format!("--cert-file={}", certificate.display()),
                format!("--key-file={}", key.display()),
            ]);
            if tls.asks_clients() {
                let ca = certificates.ca();
                words.push("--client-cert-auth".to_owned());
                words.push(format!("--trusted-ca-file={}", ca.display()));
            }
        }
        words.extend(self.flags.iter().cloned());
        format!("exec {}\n", line(words))
    }
}

fn is_healthy(port: u16) -> bool {
    client::ask(port, "/health", None, None).is_ok_and(|health| health.contains("\"true\""))
}
