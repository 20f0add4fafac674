//! PostgreSQL, and `PgBouncer` in front of it.

mod client;
mod pgbouncer;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

pub use pgbouncer::PgBouncer;

use crate::certificates::{Certificates, Tls};
use crate::ports;
use crate::programs::program;
use crate::server::{Ends, Owner, Server, existing, line, with_query};

/// By SIGTERM it would wait for the clients to go.
const ENDS: Ends = Ends {
    graceful: "INT",
    quick: "QUIT",
};

/// One PostgreSQL server with its superuser and database `postgres`. What it acknowledged survives
/// [`kill`](Server::kill): `fsync` and `synchronous_commit` are on.
///
/// Where the server's build has ICU, text is in the order of English unless a query says otherwise, as on
/// most servers and unlike the order of bytes: what relies on the latter is found out.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    port: u16,
    password: Option<String>,
    certificates: Option<Certificates>,
}

/// How a [`Postgres`] is to be started.
#[derive(Clone, Debug, Default)]
pub struct PostgresBuilder {
    settings: Vec<(String, String)>,
    password: Option<String>,
    tls: Option<Tls>,
}

impl Postgres {
    /// An empty one that asks for no password. Nothing where PostgreSQL is missing.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::builder().start()
    }

    /// To choose more: settings, password, TLS.
    #[must_use]
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::default()
    }

    /// The URL of a server that this process' tests share: the one of `POLYSTORE_TEST_POSTGRES_URL` if that is
    /// set, else one that is started at the first call.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn shared() -> Option<String> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        existing("POLYSTORE_TEST_POSTGRES_URL")
            .or_else(|| SHARED.get_or_init(Self::start).as_ref().map(Self::url))
    }

    /// `postgres://postgres@127.0.0.1:1234/postgres`, with the password if there is one.
    #[must_use]
    pub fn url(&self) -> String {
        self.database_url("postgres")
    }

    /// [`url`](Self::url) with parameters like `"table=kv"`.
    #[must_use]
    pub fn url_with(&self, query: &str) -> String {
        with_query(&self.url(), query)
    }

    /// [`url`](Self::url) for another database.
    #[must_use]
    pub fn database_url(&self, database: &str) -> String {
        let password = self.password.as_ref();
        let password = password.map_or_else(String::new, |word| format!(":{word}"));
        format!(
            "postgres://postgres{password}@{}/{database}",
            self.address()
        )
    }

    /// [`url`](Self::url) as another role.
    #[must_use]
    pub fn url_as(&self, role: &str, password: &str) -> String {
        format!("postgres://{role}:{password}@{}/postgres", self.address())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The Unix socket, where no password is asked for. Drivers want its folder, which is
    /// [`folder`](Server::folder), as the host.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(&self.server, self.port)
    }

    /// The files for a client, if it speaks TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Runs `sql` as superuser, by the Unix socket. Answers the rows, columns separated by `|` and null as nothing.
    ///
    /// # Panics
    /// If that fails.
    pub fn sql(&self, sql: &str) -> Vec<String> {
        self.try_sql(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Like [`sql`](Self::sql), where an error is expected.
    ///
    /// # Errors
    /// What the server says, or why it can't be asked.
    pub fn try_sql(&self, sql: &str) -> Result<Vec<String>, String> {
        client::query(&self.socket(), sql)
    }
}

impl Deref for Postgres {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl PostgresBuilder {
    /// A setting of `postgresql.conf`, like `("max_connections", "5")`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The superuser's password; every client over TCP must then give one (SCRAM).
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// TLS, and over TCP nothing else.
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
    pub fn start(self) -> Option<Postgres> {
        let postgres = program("postgres", "postgresql")?;
        let initdb = program("initdb", "postgresql")?;
        let server = Server::new("postgres", &ENDS, Owner::if_root());
        let certificates = self.tls.map(|_| {
            let folder = server.folder().join("certificates");
            std::fs::create_dir(&folder).expect("the folder is there, and ours or we are root");
            let certificates = Certificates::create(&folder);
            let files = std::fs::read_dir(&folder).expect("it was made just now");
            for file in files.flatten() {
                server.hand_over(&file.path());
            }
            server.hand_over(&folder);
            certificates
        });
        server.write("hba.conf", &self.access());
        let password = self.password.clone().unwrap_or_default();
        let password_file = server.write("password", &password);

        let data = server.folder().join("data");
        let data = data.to_string_lossy();
        let mut make = vec![
            initdb.to_string_lossy().into_owned(),
            format!("--pgdata={data}"),
            "--username=postgres".into(),
            "--auth=trust".into(),
            "--encoding=UTF8".into(),
            "--locale=C".into(),
            // The data of a test need not survive the machine while it is made.
            "--no-sync".into(),
        ];
        if self.password.is_some() {
            make.push(format!("--pwfile={}", password_file.display()));
        }
        if has_icu(&initdb) {
            make.extend(["--locale-provider=icu".into(), "--icu-locale=en-US".into()]);
        }
        let make = line(&make);

        let port = server.start_on_free_ports(|| {
            let port = ports::free();
            let mut serve = vec![postgres.to_string_lossy().into_owned(), "-D".into()];
            serve.push(data.clone().into_owned());
            for (name, value) in self.all_settings(&server, port) {
                serve.extend(["-c".into(), format!("{name}={value}")]);
            }
            let serve = line(&serve);
            // Not by us: if we were killed meanwhile, the supervisor must know of it.
            let script = format!(
                "[ -e {done} ] || {{ {make} && touch {done}; }} || exit\nexec {serve}\n",
                done = line([format!("{data}.made")]),
            );
            let at = socket(&server, port);
            let outcome = server.start(&script, move || client::query(&at, "select 1").is_ok());
            (port, outcome)
        });
        Some(Postgres {
            server,
            port,
            password: self.password,
            certificates,
        })
    }

    /// Who may come from where: `pg_hba.conf`.
    fn access(&self) -> String {
        let (connection, certificate) = match self.tls {
            None => ("host", ""),
            Some(tls) if tls.asks_clients() => ("hostssl", " clientcert=verify-ca"),
            Some(_) => ("hostssl", ""),
        };
        let method = self.password.as_ref().map_or("trust", |_| "scram-sha-256");
        format!("local all all trust\n{connection} all all 127.0.0.1/32 {method}{certificate}\n")
    }

    fn all_settings(&self, server: &Server, port: u16) -> Vec<(String, String)> {
        let folder = server.folder();
        let shown = |path: &Path| path.display().to_string();
        let mut settings = vec![
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("port", port.to_string()),
            ("unix_socket_directories", shown(folder)),
            ("hba_file", shown(&folder.join("hba.conf"))),
            ("fsync", "on".to_owned()),
            ("synchronous_commit", "on".to_owned()),
            ("logging_collector", "off".to_owned()),
        ];
        if let Some(tls) = self.tls {
            let certificates = Certificates::in_folder(&folder.join("certificates"));
            let (certificate, key) = tls.server(&certificates);
            settings.extend([
                ("ssl", "on".to_owned()),
                ("ssl_cert_file", shown(&certificate)),
                ("ssl_key_file", shown(&key)),
                ("ssl_ca_file", shown(&certificates.ca())),
            ]);
        }
        let own = settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        // Of a setting that is given twice, the last counts.
        own.chain(self.settings.iter().cloned()).collect()
    }
}

/// PostgreSQL 15 and later, unless built without.
fn has_icu(initdb: &Path) -> bool {
    let help = Command::new(initdb).arg("--help").output();
    help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--icu-locale"))
}

fn socket(server: &Server, port: u16) -> PathBuf {
    server.folder().join(format!(".s.PGSQL.{port}"))
}
