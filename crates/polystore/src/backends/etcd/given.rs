//! A store on a channel that the program already has.

use tonic::transport::Channel;

use super::Etcd;
use super::server::{Server, Source};
use crate::error::Result;
use crate::kv::IntoStore;
use crate::runtime::TIMEOUT;
use crate::store::Store;

impl IntoStore for Channel {
    /// The etcd at the other end of the channel, without a user. See [the store's
    /// documentation](crate::stores::etcd).
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use polystore_kv::kv;
    /// use tonic::transport::Endpoint;
    ///
    /// let channel = Endpoint::from_static("http://localhost:2379").connect().await?;
    /// let store = kv(channel)?;
    /// store.set("a", &1).await?;
    /// # Ok(())
    /// # }
    /// ```
    fn into_store(self) -> Result<Store> {
        let server = Server::new(Source::Given(self), TIMEOUT);
        Ok(Store::new(std::sync::Arc::new(Etcd::new(server))))
    }
}
