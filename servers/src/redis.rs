//! Redis, and Valkey, which is the same from outside.

mod client;
mod cluster;
mod sentinel;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use cluster::RedisCluster;
pub use sentinel::RedisSentinel;

use crate::certificates::{Certificates, Tls};
use crate::ports;
use crate::programs::program;
use crate::server::{Ends, Server, existing, line, wait_until, with_query};

const ENDS: Ends = Ends {
    graceful: "TERM",
    quick: "KILL",
};

/// One Redis server. What it acknowledged survives [`kill`](Server::kill): it appends every write to a file.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    port: u16,
    password: Option<String>,
    certificates: Option<Certificates>,
}

/// How a [`Redis`] is to be started.
#[derive(Clone, Debug, Default)]
pub struct RedisBuilder {
    program: Option<PathBuf>,
    lines: Vec<String>,
    password: Option<String>,
    tls: Option<Tls>,
}

impl Redis {
    /// An empty one. Nothing where redis-server is missing.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::builder().start()
    }

    /// One with more lines of `redis.conf`, like `"maxmemory 2mb"` or `"user alice on >secret ~* +@all"`.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn with(lines: &[&str]) -> Option<Self> {
        let builder = Self::builder();
        lines
            .iter()
            .fold(builder, |all, line| all.line(line))
            .start()
    }

    /// To choose more: password, TLS.
    #[must_use]
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// A read-only replica of `primary`, which it is connected to.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn replica_of(primary: &Self) -> Option<Self> {
        let mut builder = Self::builder().line(&format!("replicaof 127.0.0.1 {}", primary.port));
        if let Some(password) = &primary.password {
            builder = builder.line(&format!("masterauth {password}"));
        }
        let replica = builder.start()?;
        replica.wait_for_primary();
        Some(replica)
    }

    /// A Valkey instead.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn valkey() -> Option<Self> {
        let builder = RedisBuilder {
            program: Some(program(
                "valkey-server",
                "valkey-server, from Debian 13 on",
            )?),
            ..RedisBuilder::default()
        };
        builder.start()
    }

    /// The URL of a server that this process' tests share: the one of `POLYSTORE_TEST_REDIS_URL` if that is set,
    /// else one that is started at the first call.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn shared() -> Option<String> {
        static SHARED: OnceLock<Option<Redis>> = OnceLock::new();
        existing("POLYSTORE_TEST_REDIS_URL")
            .or_else(|| SHARED.get_or_init(Self::start).as_ref().map(Self::url))
    }

    /// `redis://127.0.0.1:1234`, `rediss://…` with TLS, with the default user's password if there is one.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() {
            "rediss"
        } else {
            "redis"
        };
        let password = self.password.as_ref();
        let password = password.map_or_else(String::new, |word| format!(":{word}@"));
        format!("{scheme}://{password}{}", self.address())
    }

    /// [`url`](Self::url) with parameters like `"timeout=1s"`.
    #[must_use]
    pub fn url_with(&self, query: &str) -> String {
        with_query(&self.url(), query)
    }

    /// [`url`](Self::url) for the database `number`.
    #[must_use]
    pub fn database_url(&self, number: u32) -> String {
        format!("{}/{number}", self.url())
    }

    /// [`url`](Self::url) as a user of the access control list.
    #[must_use]
    pub fn url_as(&self, user: &str, password: &str) -> String {
        let scheme = if self.certificates.is_some() {
            "rediss"
        } else {
            "redis"
        };
        format!("{scheme}://{user}:{password}@{}", self.address())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The Unix socket, which it listens at too.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(&self.server)
    }

    /// The files for a client, if it speaks TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// What it answers to a command, of an array one element a line, and nothing for nil.
    ///
    /// # Panics
    /// If the answer is an error.
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words)
            .unwrap_or_else(|error| panic!("redis answered: {error}"))
    }

    /// Like [`command`](Self::command), where an error is expected.
    ///
    /// # Errors
    /// What the server says, or why it can't be asked.
    pub fn try_command(&self, words: &[&str]) -> Result<String, String> {
        client::ask(&self.socket(), self.password.as_deref(), words)
    }

    fn wait_for_primary(&self) {
        wait_until("the replica is connected", || {
            self.try_command(&["INFO", "replication"])
                .is_ok_and(|info| info.contains("master_link_status:up"))
        });
    }

    /// One field of `INFO`.
    fn info(&self, field: &str) -> Option<String> {
        let info = self.try_command(&["INFO"]).ok()?;
        let mut lines = info.lines();
        let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    }
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl RedisBuilder {
    /// One more line of `redis.conf`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// The default user's password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// TLS, and at the port nothing else.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn start(self) -> Option<Redis> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => program("redis-server", "redis-server")?,
        };
        let server = Server::new("redis", &ENDS, None);
        let certificates = self.tls.map(|_| Certificates::create(server.folder()));
        // A person may as well give it as a line.
        let password = self.password.clone().or_else(|| {
            let mut lines = self.lines.iter();
            lines.find_map(|line| Some(line.strip_prefix("requirepass ")?.to_owned()))
        });
        let port = server.start_on_free_ports(|| {
            let port = ports::free();
            server.write("redis.conf", &self.configuration(&server, port));
            (port, launch(&server, &program, &[], password.clone()))
        });
        Some(Redis {
            server,
            port,
            password,
            certificates,
        })
    }

    fn configuration(&self, server: &Server, port: u16) -> String {
        let folder = server.folder().display();
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            "daemonize no".to_owned(),
            format!("dir {folder}"),
            format!("unixsocket {}", socket(server).display()),
            "save \"\"".to_owned(),
            // Written before the answer, and to the disk once a second: a killed server loses nothing, unless the disk is
            // so busy that the write was put off. A test that counts on it says `appendfsync always`.
            "appendonly yes".to_owned(),
            "appendfsync everysec".to_owned(),
            // Else a replica's first copy begins five seconds late.
            "repl-diskless-sync-delay 0".to_owned(),
            "repl-ping-replica-period 1".to_owned(),
        ];
        match self.tls {
            None => lines.push(format!("port {port}")),
            Some(tls) => {
                let certificates = Certificates::in_folder(server.folder());
                let (certificate, key) = tls.server(&certificates);
                let ask = if tls.asks_clients() { "yes" } else { "no" };
                lines.extend([
                    "port 0".to_owned(),
                    format!("tls-port {port}"),
                    format!("tls-cert-file {}", certificate.display()),
                    format!("tls-key-file {}", key.display()),
                    format!("tls-ca-cert-file {}", certificates.ca().display()),
                    format!("tls-auth-clients {ask}"),
                ]);
            }
        }
        if let Some(password) = &self.password {
            lines.push(format!("requirepass {password}"));
        }
        lines.extend(self.lines.iter().cloned());
        lines.join("\n") + "\n"
    }
}

/// Starts what `redis.conf` describes.
fn launch(
    server: &Server,
    program: &Path,
    more: &[&str],
    password: Option<String>,
) -> Result<(), String> {
    let program = program.to_string_lossy();
    let configuration = server.folder().join("redis.conf");
    let configuration = configuration.to_string_lossy();
    let words = [&[&*program, &*configuration], more].concat();
    let socket = socket(server);
    server.start(&format!("exec {}\n", line(words)), move || {
        client::ask(&socket, password.as_deref(), &["PING"]).is_ok()
    })
}

fn socket(server: &Server) -> PathBuf {
    server.folder().join("redis.sock")
}
