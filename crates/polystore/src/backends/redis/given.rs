//! A store on a client that the program already has.

use redis::Client;
use redis::aio::{ConnectionManager, MultiplexedConnection};
use redis::cluster::ClusterClient;

use super::source::Source;
use super::store;
use crate::error::Result;
use crate::kv::IntoStore;
use crate::runtime::TIMEOUT;
use crate::store::Store;

impl IntoStore for Client {
    /// The client's database, on one connection that is made on the first use and replaced
    /// when it is lost. See [the store's documentation](crate::stores::redis).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = redis::Client::open("redis://localhost/2")?;
    /// let store = polystore_kv::kv(client)?;
    /// # Ok(())
    /// # }
    /// ```
    fn into_store(self) -> Result<Store> {
        Ok(store(Source::Client(self), TIMEOUT))
    }
}

impl IntoStore for ClusterClient {
    /// The cluster. Retries are the client's own as well: build it with `retries(0)` if an
    /// insert must never be sent twice. See [the store's documentation](crate::stores::redis).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let nodes = ["redis://a:6379", "redis://b:6379"];
    /// let client = redis::cluster::ClusterClient::builder(nodes).retries(0).build()?;
    /// let store = polystore_kv::kv(client)?;
    /// # Ok(())
    /// # }
    /// ```
    fn into_store(self) -> Result<Store> {
        Ok(store(Source::Cluster(self), TIMEOUT))
    }
}

impl IntoStore for MultiplexedConnection {
    /// This connection. When it is lost every operation fails from then on: a
    /// `redis::Client` is a store that comes back.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = redis::Client::open("redis://localhost")?;
    /// let connection = client.get_multiplexed_async_connection().await?;
    /// let store = polystore_kv::kv(connection)?;
    /// # Ok(())
    /// # }
    /// ```
    fn into_store(self) -> Result<Store> {
        Ok(store(Source::Connection(self), TIMEOUT))
    }
}

impl IntoStore for ConnectionManager {
    /// The manager's connection, which it replaces itself, with its own time limits.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = redis::Client::open("redis://localhost")?;
    /// let manager = client.get_connection_manager().await?;
    /// let store = polystore_kv::kv(manager)?;
    /// # Ok(())
    /// # }
    /// ```
    fn into_store(self) -> Result<Store> {
        Ok(store(Source::Manager(self), TIMEOUT))
    }
}
