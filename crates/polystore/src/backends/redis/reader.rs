//! Reads of single keys: those that wait go in one request.

use std::sync::Arc;

use redis::Value;

use super::command;
use super::server::Server;
use super::wire::Ask;
use crate::entry::{Entry, Expiry};
use crate::error::{Error, Result};
use crate::gather::Trip;

pub(super) enum Read {
    Get(String),
    GetMany(Vec<String>),
    /// With the expiry.
    Entry(String),
    Has(String),
}

pub(super) enum Found {
    Entry(Option<Entry>),
    Entries(Vec<Option<Entry>>),
    Has(bool),
}

pub(super) struct Reader(pub(super) Arc<Server>);

impl Read {
    fn asks<'a>(&'a self, asks: &mut Vec<Ask<'a>>) {
        match self {
            Self::Get(key) => asks.push(Ask::one(key, command::get(key))),
            Self::GetMany(keys) => {
                asks.extend(keys.iter().map(|key| Ask::one(key, command::get(key))));
            }
            Self::Entry(key) => asks.push(Ask::atomic(
                key,
                vec![command::get(key), command::about("PTTL", key)],
            )),
            Self::Has(key) => asks.push(Ask::one(key, command::about("TYPE", key))),
        }
    }

    fn found(&self, mut values: impl Iterator<Item = Result<Value>>) -> Result<Found> {
        let mut next = || values.next().unwrap_or_else(super::server::unexpected);
        match self {
            Self::Get(_) => command::entry(next()?, Expiry::Unread).map(Found::Entry),
            Self::GetMany(keys) => {
                let mut entries = Vec::with_capacity(keys.len());
                let mut failed = None;
                for key in keys {
                    // All of them are taken, whatever became of one.
                    match next().and_then(|value| command::entry(value, Expiry::Unread)) {
                        Ok(entry) => entries.push(entry),
                        Err(error) => {
                            failed.get_or_insert_with(|| error.with_key(key));
                        }
                    }
                }
                match failed {
                    Some(error) => Err(error),
                    None => Ok(Found::Entries(entries)),
                }
            }
            Self::Entry(_) => command::entry_and_expiry(next()?).map(Found::Entry),
            Self::Has(_) => command::is_there(&next()?).map(Found::Has),
        }
    }
}

impl Trip for Reader {
    type Op = Read;
    type Reply = Found;

    const UNDER_WAY: usize = 2;
    const BATCH: usize = 512;
    const BY_CALLER: bool = true;

    async fn send(&self, ops: &[&Read]) -> Vec<Result<Found>> {
        let mut asks = Vec::with_capacity(ops.len());
        for op in ops {
            op.asks(&mut asks);
        }
        let mut values = self.0.ask(asks, false).await.into_iter();
        ops.iter().map(|op| op.found(&mut values)).collect()
    }

    fn is_transient(&self, error: &Error) -> bool {
        self.0.is_transient(error)
    }

    fn may_repeat(_: &Read) -> bool {
        true
    }

    fn is_write(_: &Read) -> bool {
        false
    }

    fn gave_up(&self) {
        self.0.drop_connection();
    }
}
