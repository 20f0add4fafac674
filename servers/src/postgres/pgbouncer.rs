//! `PgBouncer`, the pooler that many PostgreSQL servers are only reached through.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;

use super::{Postgres, client, socket};
use crate::ports;
use crate::programs::program;
use crate::server::{Ends, Owner, Server, line, with_query};

/// One `PgBouncer` in front of a [`Postgres`], with its databases and users.
#[derive(Debug)]
pub struct PgBouncer {
    server: Server,
    port: u16,
}

impl PgBouncer {
    /// One that pools by `mode`: `session`, `transaction` or `statement`, with two connections to the server.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn start(postgres: &Postgres, mode: &str) -> Option<Self> {
        let pgbouncer = program("pgbouncer", "pgbouncer")?;
        let server = Server::new(
            "pgbouncer",
            &Ends {
                graceful: "INT",
                quick: "KILL",
            },
            Owner::if_root(),
        );
        let port = server.start_on_free_ports(|| {
            let port = ports::free();
            // By the Unix socket, where the server asks for no password.
            let configuration = format!(
                "[databases]\n* = host={host} port={postgres} user=postgres\n[pgbouncer]\n\
                 listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir = {folder}\n\
                 auth_type = any\npool_mode = {mode}\ndefault_pool_size = 2\nmax_client_conn = 500\n\
                 ignore_startup_parameters = extra_float_digits\n",
                host = postgres.folder().display(),
                postgres = postgres.port,
                folder = server.folder().display(),
            );
            let path = server.write("pgbouncer.ini", &configuration);
            let words = [pgbouncer.to_string_lossy(), path.to_string_lossy()];
            let at = socket(&server, port);
            let outcome = server.start(&format!("exec {}\n", line(words)), move || {
                client::query(&at, "select 1").is_ok()
            });
            (port, outcome)
        });
        Some(Self { server, port })
    }

    /// `postgres://postgres@127.0.0.1:1234/postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address())
    }

    /// [`url`](Self::url) with parameters like `"table=kv"`.
    #[must_use]
    pub fn url_with(&self, query: &str) -> String {
        with_query(&self.url(), query)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

impl Deref for PgBouncer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}
