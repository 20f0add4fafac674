//! Reads that wait go in one transaction.

use std::sync::Arc;

use send_wrapper::SendWrapper;
use web_sys::wasm_bindgen::JsValue;
use web_sys::{IdbRequest, IdbTransactionMode};

use super::database::Database;
use super::failure::error_of;
use super::value::entry_of;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::gather::Trip;

pub(super) type Found = Option<Entry>;

pub(super) struct Reads(pub(super) Arc<Database>);

/// Reads them all, as of one moment.
pub(super) async fn read(database: &Database, keys: &[&str]) -> Result<Vec<Result<Found>>> {
    let transaction = database.begin(IdbTransactionMode::Readonly).await?;
    let gets = keys
        .iter()
        .map(|key| transaction.store().get(&JsValue::from_str(key)));
    let gets: Result<Vec<IdbRequest>, _> = gets.collect();
    let gets = gets.map_err(|exception| error_of(&exception))?;
    if let Some(last) = gets.last() {
        transaction.read(last).await?;
    }
    Ok(gets.iter().map(found).collect())
}

fn found(get: &IdbRequest) -> Result<Found> {
    let object = get.result().map_err(|exception| error_of(&exception))?;
    match object.is_undefined() {
        true => Ok(None),
        false => entry_of(&object, true).map(Some),
    }
}

impl Reads {
    /// The same, where one of them may be all that is wrong.
    async fn read_apart(&self, keys: &[&str]) -> Vec<Result<Found>> {
        let error = match read(&self.0, keys).await {
            Ok(found) => return found,
            Err(error) => error,
        };
        if keys.len() == 1 || error.is_connection() {
            return vec![Err(error); keys.len()];
        }
        let mut results = Vec::with_capacity(keys.len());
        for key in keys {
            let read = read(&self.0, &[key]).await;
            results.push(read.and_then(|mut found| found.pop().unwrap_or(Ok(None))));
        }
        results
    }
}

impl Trip for Reads {
    type Op = String;
    type Reply = Found;
    const UNDER_WAY: usize = 2;
    const BATCH: usize = 256;
    const BY_CALLER: bool = true;

    async fn send(&self, keys: &[&String]) -> Vec<Result<Found>> {
        let keys: Vec<&str> = keys.iter().map(|key| &key[..]).collect();
        SendWrapper::new(self.read_apart(&keys)).await
    }

    fn is_transient(&self, error: &Error) -> bool {
        Database::is_transient(error)
    }

    fn may_repeat(_: &String) -> bool {
        true
    }

    fn is_write(_: &String) -> bool {
        false
    }

    fn gave_up(&self) {
        self.0.give_up();
    }
}
