//! Reads of single keys: those that wait go in one request.

use std::slice;
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

/// So many keys are worth an MGET.
const SEVERAL: usize = 4;

/// So many keys have one of their own, so that the server does not stop for long.
const TOGETHER: usize = 1000;

impl Read {
    /// The keys of which it wants no more than the value.
    fn keys(&self) -> &[String] {
        match self {
            Self::Get(key) => slice::from_ref(key),
            Self::GetMany(keys) => keys,
            Self::Entry(_) | Self::Has(_) => &[],
        }
    }

    /// What else it asks.
    fn ask(&self) -> Option<Ask<'_>> {
        match self {
            Self::Get(_) | Self::GetMany(_) => None,
            Self::Entry(key) => Some(Ask::both(key, ["GET", "PTTL"])),
            Self::Has(key) => Some(Ask::one(key, command::about("TYPE", key))),
        }
    }

    fn found(
        &self,
        of_keys: &mut impl Iterator<Item = Result<Value>>,
        of_asks: &mut impl Iterator<Item = Result<Value>>,
    ) -> Result<Found> {
        let value = |values: &mut dyn Iterator<Item = Result<Value>>| {
            values.next().unwrap_or_else(super::server::unexpected)
        };
        match self {
            Self::Get(_) => command::entry(value(of_keys)?, Expiry::Unread).map(Found::Entry),
            Self::GetMany(keys) => {
                let mut entries = Vec::with_capacity(keys.len());
                let mut failed = None;
                for key in keys {
                    // All of them are taken, whatever became of one.
                    let found = value(of_keys);
                    match found.and_then(|value| command::entry(value, Expiry::Unread)) {
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
            Self::Entry(_) => command::entry_and_expiry(value(of_asks)?).map(Found::Entry),
            Self::Has(_) => command::is_there(&value(of_asks)?).map(Found::Has),
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

    /// What is under the keys, and what became of `asks`, in one request.
    ///
    /// By MGET, which costs the server much less than as many GETs, but gives nothing too for what is of
    /// another type. Where something is likely to be missing, EXISTS in the same request says how
    /// many really are; if that does not explain it, GET does.
    async fn ask<'a>(
        &self,
        keys: &[&'a str],
        asks: Vec<Ask<'a>>,
    ) -> (Vec<Result<Value>>, Vec<Result<Value>>) {
        let mut all = Vec::with_capacity(keys.len() + asks.len());
        if self.server.is_cluster() || keys.len() < SEVERAL {
            all.extend(keys.iter().map(|key| Ask::one(key, command::get(key))));
            all.extend(asks);
            let mut of_keys = self.server.ask(all, false).await;
            let of_asks = of_keys.split_off(keys.len());
            return (of_keys, of_asks);
        }
        let asks_exists = self.misses.load(Ordering::Relaxed);
        for keys in keys.chunks(TOGETHER) {
            all.push(Ask::one(keys[0], command::mget(keys.iter().copied())));
            if asks_exists {
                all.push(Ask::one(keys[0], command::exists(keys.iter().copied())));
            }
        }
        all.extend(asks);
        let mut replies = self.server.ask(all, false).await.into_iter();
        let mut of_keys = Vec::with_capacity(keys.len());
        let mut unexplained = Vec::new();
        let mut misses = false;
        for keys in keys.chunks(TOGETHER) {
            let values = replies.next();
            let there = replies.by_ref().take(usize::from(asks_exists)).last();
            let before = of_keys.len();
            match values {
                Some(Ok(Value::Array(values))) if values.len() == keys.len() => {
                    of_keys.extend(values.into_iter().map(Ok));
                }
                // A user who may read only some of them is refused all.
                Some(Err(error)) if error.kind() == ErrorKind::Denied => {
                    unexplained.extend(before..before + keys.len());
                    of_keys.extend(keys.iter().map(|_| Err(error.clone())));
                    continue;
                }
                Some(Err(error)) => of_keys.extend(keys.iter().map(|_| Err(error.clone()))),
                _ => of_keys.extend(keys.iter().map(|_| super::server::unexpected())),
            }
            let is_nil = |reply: &Result<Value>| matches!(reply, Ok(Value::Nil));
            let nils = (before..of_keys.len()).filter(|place| is_nil(&of_keys[*place]));
            let nils: Vec<usize> = nils.collect();
            misses |= !nils.is_empty();
            let there = match there {
                Some(Ok(Value::Int(there))) => usize::try_from(there).ok(),
                _ => None,
            };
            if there != Some(keys.len() - nils.len()) {
                unexplained.extend(nils);
            }
        }
        self.misses.store(misses, Ordering::Relaxed);
        if !unexplained.is_empty() {
            let gets = unexplained.iter().map(|place| keys[*place]);
            let gets = gets.map(|key| Ask::one(key, command::get(key))).collect();
            let values = self.server.ask(gets, false).await;
            for (place, value) in unexplained.into_iter().zip(values) {
                of_keys[place] = value;
            }
        }
        (of_keys, replies.collect())
    }
}

impl Trip for Reader {
    type Op = Read;
    type Reply = Found;

    const UNDER_WAY: usize = 2;
    const BATCH: usize = 512;
    const BY_CALLER: bool = true;

    async fn send(&self, ops: &[&Read]) -> Vec<Result<Found>> {
        let keys: Vec<&str> = ops
            .iter()
            .flat_map(|op| op.keys())
            .map(String::as_str)
            .collect();
        let asks = ops.iter().filter_map(|op| op.ask()).collect();
        let (of_keys, of_asks) = self.ask(&keys, asks).await;
        let (mut of_keys, mut of_asks) = (of_keys.into_iter(), of_asks.into_iter());
        ops.iter()
            .map(|op| op.found(&mut of_keys, &mut of_asks))
            .collect()
    }

    fn is_transient(&self, error: &Error) -> bool {
        self.server.is_transient(error)
    }

    fn is_write(_: &Read) -> bool {
        false
    }

    fn weight(op: &Read) -> usize {
        op.keys().iter().map(String::len).sum()
    }

    fn gave_up(&self) {
        self.server.drop_connection();
    }
}
