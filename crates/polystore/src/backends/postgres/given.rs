//! Stores on clients that the program already has.

use std::sync::Arc;

use super::config::Settings;
use super::server::Source;
use super::session::Connection;
use super::store;
use super::tls::Security;
use crate::error::Result;
use crate::kv::IntoStore;
use crate::store::Store;

#[cfg(feature = "tokio-postgres-0_7")]
impl IntoStore for tokio_postgres::Config {
    /// The table `kv`, on connections of the store's own, made on the first use. With the
    /// configuration's `sslmode` "require" the server's certificate is checked against the system's
    /// roots and the host's name; with "prefer", its default, nothing is.
    ///
    /// ```no_run
    /// use polystore_kv::kv;
    ///
    /// let config: tokio_postgres::Config = "host=localhost user=ada dbname=app sslmode=disable".parse()?;
    /// let store = kv(config)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn into_store(self) -> Result<Store> {
        let security = Security::of_config(&self);
        let how = Arc::new((self, security));
        Ok(store(Source::Config(how), Settings::default()))
    }
}

#[cfg(feature = "tokio-postgres-0_7")]
impl IntoStore for tokio_postgres::Client {
    /// The table `kv`, on this one connection. When that is lost, every operation is an error: the
    /// store cannot make another.
    ///
    /// ```no_run
    /// use polystore_kv::kv;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let url = "postgres://ada@localhost/app";
    /// let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    /// tokio::spawn(connection);
    /// let store = kv(client)?;
    /// # Ok(())
    /// # }
    /// ```
    fn into_store(self) -> Result<Store> {
        let connection = Arc::new(Connection::new(self, None));
        Ok(store(Source::Client(connection), Settings::default()))
    }
}

#[cfg(feature = "deadpool-postgres-0_14")]
impl IntoStore for deadpool_postgres::Pool {
    /// The table `kv`. A connection is taken from the pool for each statement and given back after it.
    ///
    /// ```no_run
    /// use deadpool_postgres::{Manager, Pool};
    /// use polystore_kv::kv;
    /// use tokio_postgres::NoTls;
    ///
    /// let config: tokio_postgres::Config = "host=localhost user=ada dbname=app".parse()?;
    /// let pool = Pool::builder(Manager::new(config, NoTls)).max_size(8).build()?;
    /// let store = kv(pool)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn into_store(self) -> Result<Store> {
        Ok(store(Source::Pool(self), Settings::default()))
    }
}

/// Why a pool gave no connection.
#[cfg(feature = "deadpool-postgres-0_14")]
pub(super) fn of_pool(error: deadpool_postgres::PoolError) -> crate::Error {
    use crate::error::{Error, ErrorKind};
    use deadpool_postgres::PoolError;
    let (kind, message) = match error {
        PoolError::Backend(error) => return super::failure::Failure::before(error).into(),
        PoolError::Timeout(_) => (ErrorKind::Timeout, "the pool had no connection in time"),
        PoolError::Closed => (ErrorKind::Unreachable, "the pool is closed"),
        PoolError::NoRuntimeSpecified => (
            ErrorKind::InvalidOption,
            "the pool has timeouts, and needs to be built with its runtime for them",
        ),
        PoolError::PostCreateHook(_) => (
            ErrorKind::Unreachable,
            "the pool's own hook refused a new connection",
        ),
    };
    Error::new(kind, message)
}
