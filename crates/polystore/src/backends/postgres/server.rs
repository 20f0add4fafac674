//! The server as a store sees it: its connections, the table in it, and its clock.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls, Row};

use super::clock::{Clock, Moment, ServerTime};
use super::config::{Pooler, Settings};
use super::failure::{Failure, Remedy};
use super::session::{Connection, Params, Session};
use super::sql::Statement;
use super::table::Table;
use super::tls::Security;
use crate::error::{Error, ErrorKind, Result};
use crate::link::Link;
use crate::runtime::persist;

/// How long goodbye may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// How often the clocks are compared at a time.
const COMPARISONS: usize = 3;

/// What a connection is for. Each kind has its own, so that nobody waits behind another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Single entries.
    Read,
    Write,
    /// Listings, clearing, pruning: what takes long.
    Group,
}

/// Where connections come from.
pub(super) enum Source {
    Config(Arc<(Config, Security)>),
    #[cfg(feature = "tokio-postgres-0_7")]
    Client(Arc<Connection>),
    #[cfg(feature = "deadpool-postgres-0_14")]
    Pool(deadpool_postgres::Pool),
}

pub(super) struct Server {
    source: Source,
    pub(super) settings: Settings,
    links: [Link<Connection>; 3],
    table: Link<Table>,
    pub(super) clock: Clock,
    /// Behind a pooler, a connection is not given a second statement before the first is done.
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Server {
    pub(super) fn new(source: Source, settings: Settings) -> Self {
        Self {
            source,
            settings,
            links: Default::default(),
            table: Link::default(),
            clock: Clock::default(),
            one_at_a_time: tokio::sync::Mutex::new(()),
        }
    }

    fn link(&self, role: Role) -> &Link<Connection> {
        &self.links[role as usize]
    }

    /// Lets a connection go that may be dead.
    pub(super) fn drop_connection(&self, role: Role) {
        self.link(role).drop_connection();
    }

    /// Whether what failed like this may work if it is tried again now.
    pub(super) fn is_transient(&self, error: &Error) -> bool {
        // Before anything ever worked, the address may be wrong.
        let may_come = error.kind() != ErrorKind::Unreachable || self.table.was_connected();
        error.is_retryable() && may_come
    }

    /// Tries what does not go through a lane, for as long as an operation may take.
    pub(super) async fn persist<T, F>(&self, role: Role, attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let timeout = self.settings.timeout;
        let done = persist(timeout, |error| self.is_transient(error), attempt).await;
        if done
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Timeout)
        {
            self.drop_connection(role);
        }
        done
    }

    async fn session(&self, role: Role) -> Result<Session> {
        match &self.source {
            Source::Config(how) => {
                let link = self.link(role);
                loop {
                    let connection = link.get(|| connect(Arc::clone(how), self.setup())).await?;
                    if !connection.client.is_closed() {
                        return Ok(Session::Own(connection));
                    }
                    link.lose(&connection);
                }
            }
            #[cfg(feature = "tokio-postgres-0_7")]
            Source::Client(connection) if connection.client.is_closed() => Err(Error::new(
                ErrorKind::Unreachable,
                "the connection that the store was given has ended: only the program can make another",
            )),
            #[cfg(feature = "tokio-postgres-0_7")]
            Source::Client(connection) => Ok(Session::Own(Arc::clone(connection))),
            #[cfg(feature = "deadpool-postgres-0_14")]
            Source::Pool(pool) => {
                let client = pool.get().await.map_err(super::given::of_pool)?;
                Ok(Session::Pooled(Box::new(super::session::Pooled::new(
                    client,
                ))))
            }
        }
    }

    /// What a new connection is told. A statement that its client has given up must not wait for a
    /// lock for ever, and then do what nobody expects any more.
    fn setup(&self) -> Option<String> {
        (self.settings.pooler == Pooler::None).then(|| {
            let millis = self.settings.timeout.as_millis().clamp(1, i32::MAX as u128);
            format!("set statement_timeout = {millis}")
        })
    }

    /// The table, which is looked for, and made if it is absent, when it is first needed.
    pub(super) async fn table(self: &Arc<Self>, role: Role) -> Result<Arc<Table>> {
        if let Some(table) = self.table.now() {
            return Ok(table);
        }
        let this = Arc::clone(self);
        let find = || async move {
            let session = this.session(role).await?;
            Table::open(&session, &this.settings.table).await
        };
        let found = self.table.get(find).await;
        if found.as_ref().is_err_and(Error::is_connection) {
            self.drop_connection(role);
        }
        found
    }

    /// Compares the clocks, if that is to be done before an instant is converted.
    pub(super) async fn compare_clocks(&self, role: Role) -> Result<()> {
        if !self.clock.is_stale() {
            return Ok(());
        }
        let ask = Statement {
            text: "select clock_timestamp()".to_owned(),
            types: Vec::new(),
        };
        // The quickest of some says most.
        for _ in 0..COMPARISONS {
            let before = Moment::now();
            let rows = self.read(role, &ask, &[]).await?;
            let after = Moment::now();
            if let Some(row) = rows.first() {
                let there: ServerTime = row.try_get(0).map_err(Failure::before)?;
                self.clock.learn(before, there, after);
            }
        }
        Ok(())
    }

    /// Runs a statement that changes nothing.
    pub(super) async fn read(
        &self,
        role: Role,
        what: &Statement,
        with: Params<'_>,
    ) -> Result<Vec<Row>> {
        let done = self.run(role, what, with).await;
        done.map_err(|failure| match failure {
            Failed::Driver(failure) => failure.of_a_read().into(),
            Failed::Known(error) => error,
        })
    }

    /// Runs a statement that changes something, as a whole or not at all.
    pub(super) async fn write(
        &self,
        role: Role,
        what: &Statement,
        with: Params<'_>,
    ) -> Result<Vec<Row>> {
        let done = self.run(role, what, with).await;
        done.map_err(|failure| match failure {
            Failed::Driver(failure) => failure.into(),
            Failed::Known(error) => error,
        })
    }

    async fn run(
        &self,
        role: Role,
        what: &Statement,
        with: Params<'_>,
    ) -> std::result::Result<Vec<Row>, Failed> {
        let is_pooled = self.settings.pooler == Pooler::Transaction;
        let _turn = if is_pooled && role == Role::Group {
            Some(self.one_at_a_time.lock().await)
        } else {
            None
        };
        let session = self.session(role).await.map_err(Failed::Known)?;
        let done = if is_pooled {
            // Given up half-way, something would still be under way on it.
            let unfinished = Unfinished(Some((self, role)));
            let done = session.query_unnamed(what, with).await;
            unfinished.finish();
            done
        } else {
            session.query(what, with).await
        };
        done.map_err(|failure| {
            match failure.remedy() {
                Remedy::LookAgain => self.table.drop_connection(),
                Remedy::Reconnect => self.drop_connection(role),
                Remedy::None if failure.is_read_only() => self.drop_connection(role),
                Remedy::None | Remedy::PrepareAgain => {}
            }
            Failed::Driver(failure)
        })
    }

    /// Ends the connections, and waits until the server was told.
    pub(super) async fn close(&self) {
        let mut drivers = Vec::new();
        for link in &self.links {
            let connection = link.now();
            link.close().await;
            drivers.extend(connection.and_then(|connection| connection.take_driver()));
        }
        let gone = futures_util::future::join_all(drivers);
        let _ = tokio::time::timeout(FAREWELL, gone).await;
    }
}

enum Failed {
    Driver(Failure),
    Known(Error),
}

struct Unfinished<'a>(Option<(&'a Server, Role)>);

impl Unfinished<'_> {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some((server, role)) = self.0 {
            server.drop_connection(role);
        }
    }
}

async fn connect(how: Arc<(Config, Security)>, setup: Option<String>) -> Result<Connection> {
    let (config, security) = &*how;
    let connected = if config.get_ssl_mode() == SslMode::Disable || is_local(config) {
        let connected = config.connect(NoTls).await;
        connected.map(|(client, connection)| (client, tokio::spawn(drive(connection))))
    } else {
        let connected = config.connect(security.connector()?).await;
        connected.map(|(client, connection)| (client, tokio::spawn(drive(connection))))
    };
    let (client, driver) = connected.map_err(|error| Error::from(Failure::before(error)))?;
    let connection = Connection::new(client, Some(driver));
    if let Some(setup) = setup {
        let set = connection.client.batch_execute(&setup).await;
        set.map_err(|error| Error::from(Failure::before(error)))?;
    }
    Ok(connection)
}

/// Sockets of this machine have no TLS, and need none.
fn is_local(config: &Config) -> bool {
    #[cfg(unix)]
    {
        let mut hosts = config.get_hosts().iter();
        config.get_hostaddrs().is_empty()
            && hosts.all(|host| matches!(host, tokio_postgres::config::Host::Unix(_)))
    }
    #[cfg(not(unix))]
    {
        let _ = config;
        false
    }
}

async fn drive<S, T>(connection: tokio_postgres::Connection<S, T>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    if let Err(error) = connection.await {
        let error = Error::from(Failure::before(error));
        tracing::debug!(%error, "a connection has ended");
    }
}
