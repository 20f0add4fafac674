//! A store on a connection that the program already has.

use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use super::connection::{Config, Database};
use super::link::Link;
use super::table::TableName;
use super::{TIMEOUT, lazily};
use crate::address::Durability;
use crate::error::Result;
use crate::kv::IntoStore;
use crate::store::Store;

impl IntoStore for Connection {
    /// The table `kv` of the connection's database, made on the first use if it is
    /// not there. See [the store's documentation](crate::stores::sqlite).
    fn into_store(self) -> Result<Store> {
        let config = Config {
            table: TableName::new(TableName::DEFAULT.to_owned())?,
            timeout: TIMEOUT,
            durability: Durability::Full,
        };
        let link = Link::new(self)?;
        let slot = Arc::new(Mutex::new(Some(link)));
        Ok(lazily(move || Database::open_given(&slot, &config)))
    }
}
