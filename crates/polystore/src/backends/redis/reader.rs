//! Reads of single keys: those that wait go in one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::Value;

use super::command;
use super::server::Server;
use super::wire::Ask;
use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};
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

pub(super) struct Reader {
    server: Arc<Server>,
    /// Something was missing the last time.
    misses: AtomicBool,
}

/// So many gets are worth an MGET.
const SEVERAL: usize = 4;

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

impl Reader {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            misses: AtomicBool::new(false),
        }
    }

    /// By MGET, which costs the server much less than as many GETs, but gives nothing too for what is of
    /// another type. Where something is likely to be missing, EXISTS in the same request says how
    /// many really are; if that does not explain it, GET does.
    async fn get_together(&self, keys: &[&str]) -> Vec<Result<Found>> {
        let mget = command::mget(keys.iter().copied());
        let mut asks = vec![Ask::one(keys[0], mget)];
        if self.misses.load(Ordering::Relaxed) {
            let exists = command::exists(keys.iter().copied());
            asks.push(Ask::one(keys[0], exists));
        }
        let mut replies = self.server.ask(asks, false).await.into_iter();
        let values = match replies.next() {
            Some(Ok(Value::Array(values))) if values.len() == keys.len() => values,
            // A user who may read only some of them is refused all.
            Some(Err(error)) if error.kind() == ErrorKind::Denied => {
                let asks = keys.iter().map(|key| Ask::one(key, command::get(key)));
                let values = self.server.ask(asks.collect(), false).await.into_iter();
                return values
                    .map(|value| command::entry(value?, Expiry::Unread).map(Found::Entry))
                    .collect();
            }
            Some(Err(error)) => return keys.iter().map(|_| Err(error.clone())).collect(),
            _ => return keys.iter().map(|_| super::server::unexpected()).collect(),
        };
        let found = values.iter().filter(|value| **value != Value::Nil).count();
        let misses = found < keys.len();
        self.misses.store(misses, Ordering::Relaxed);
        let there = match replies.next() {
            Some(Ok(Value::Int(there))) => usize::try_from(there).ok(),
            _ => None,
        };
        let mut again = Vec::new().into_iter();
        let unexplained = misses && there != Some(found);
        if unexplained {
            let nothing = keys.iter().zip(&values);
            let nothing = nothing.filter(|(_, value)| **value == Value::Nil);
            let asks = nothing.map(|(key, _)| Ask::one(key, command::get(key)));
            again = self.server.ask(asks.collect(), false).await.into_iter();
        }
        let really = |value| match value {
            Value::Nil if unexplained => again.next().unwrap_or_else(super::server::unexpected),
            value => Ok(value),
        };
        let values = values.into_iter().map(really);
        values
            .map(|value| command::entry(value?, Expiry::Unread).map(Found::Entry))
            .collect()
    }
}

impl Trip for Reader {
    type Op = Read;
    type Reply = Found;

    const UNDER_WAY: usize = 2;
    const BATCH: usize = 512;
    const BY_CALLER: bool = true;

    async fn send(&self, ops: &[&Read]) -> Vec<Result<Found>> {
        if !self.server.is_cluster() {
            let gets = ops.iter().map(|op| match op {
                Read::Get(key) => Some(key.as_str()),
                Read::GetMany(_) | Read::Entry(_) | Read::Has(_) => None,
            });
            if let Some(keys) = gets.collect::<Option<Vec<&str>>>()
                && keys.len() >= SEVERAL
            {
                return self.get_together(&keys).await;
            }
        }
        let mut asks = Vec::with_capacity(ops.len());
        for op in ops {
            op.asks(&mut asks);
        }
        let mut values = self.server.ask(asks, false).await.into_iter();
        ops.iter().map(|op| op.found(&mut values)).collect()
    }

    fn is_transient(&self, error: &Error) -> bool {
        self.server.is_transient(error)
    }

    fn may_repeat(_: &Read) -> bool {
        true
    }

    fn is_write(_: &Read) -> bool {
        false
    }

    fn gave_up(&self) {
        self.server.drop_connection();
    }
}
