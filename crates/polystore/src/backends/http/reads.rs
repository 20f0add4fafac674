//! Reads of keys: those that wait go in one request.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::{BoxFuture, join};
use futures_util::{FutureExt, StreamExt, stream};
use reqwest::{Method, StatusCode};

use super::failure;
use super::server::{Connection, Server};
use super::wire::{self, Wanted};
use crate::entry::{Entry, Expiry};
use crate::error::{Error, Result};
use crate::gather::Trip;

/// How many requests about single keys are under way at a time.
const SIDE_BY_SIDE: usize = 64;

/// How many keys go in one request.
const KEYS: usize = 1000;

/// Does all of them, and gives what each gave, in their order.
pub(super) async fn side_by_side<T>(asks: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    stream::iter(asks).buffered(SIDE_BY_SIDE).collect().await
}

pub(super) enum Read {
    /// The entries under keys that are each there once.
    Get(Vec<String>),
    /// Without the value.
    Has(String),
    /// With the expiry.
    Entry(String),
}

impl Read {
    fn keys(&self) -> &[String] {
        match self {
            Self::Get(keys) => keys,
            Self::Has(key) | Self::Entry(key) => std::slice::from_ref(key),
        }
    }
}

/// What is under each of the keys.
pub(super) type Found = Vec<Option<Entry>>;

pub(super) struct Reads(pub(super) Arc<Server>);

impl Reads {
    async fn one(&self, to: &Arc<Connection>, read: &Read, key: &str) -> Result<Option<Entry>> {
        to.check_key(key)?;
        let fast = [("ttl", "false")];
        let (method, parameters) = match read {
            _ if !to.is_full() => (Method::GET, &[][..]),
            Read::Get(_) => (Method::GET, &fast[..]),
            Read::Has(_) => (Method::HEAD, &fast[..]),
            Read::Entry(_) => (Method::GET, &[][..]),
        };
        let is_head = method == Method::HEAD;
        let reply = self.0.ask(to, &to.about(method, key, parameters)?).await?;
        match reply.status {
            StatusCode::OK if is_head => Ok(Some(Entry::without_value(Expiry::Unread))),
            StatusCode::OK => {
                let expiry = match read {
                    Read::Entry(_) => {
                        let ttl = reply.headers.get("polystore-ttl");
                        wire::expiry_of_header(ttl.and_then(|ttl| ttl.to_str().ok()))?
                    }
                    _ => Expiry::Unread,
                };
                let json = wire::value_in(&reply.body)?;
                Ok(Some(Entry::from_stored(json, expiry)))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(failure::of_reply(&reply, to.is_full())),
        }
    }

    /// The entries under `keys`, all different.
    async fn many(&self, to: &Arc<Connection>, keys: &[&str]) -> Result<HashMap<String, Entry>> {
        let mut found = HashMap::with_capacity(keys.len());
        let patience = self.0.config.timeout;
        let wanted = Wanted {
            values: true,
            expiries: false,
        };
        for keys in keys.chunks(KEYS) {
            let mut asked: HashSet<&str> = keys.iter().copied().collect();
            let body = wire::keys_body(keys.iter().copied());
            let ask = to.post("get", &[], wire::JSON, body)?.accept(wire::LINES);
            let mut lines = self.0.lines(to, &ask).await?;
            while let Some(line) = lines.next(patience).await? {
                let (key, entry) = wire::read_line(&line, wanted)?;
                // Each comes once; of others there could be any number.
                if !asked.remove(&key[..]) {
                    return Err(failure::not_the_protocol("a key that was not asked for"));
                }
                found.insert(key, entry);
            }
        }
        Ok(found)
    }

    /// Each key by itself.
    async fn apart(&self, to: &Arc<Connection>, ops: &[&Read]) -> Vec<Result<Found>> {
        let mut asks = Vec::new();
        for (at, read) in ops.iter().copied().enumerate() {
            for key in read.keys() {
                let ask = async move {
                    let read = self.one(to, read, key).await;
                    (at, read.map_err(|error| error.with_key(key)))
                };
                asks.push(ask.boxed());
            }
        }
        let mut results: Vec<Result<Found>> = ops.iter().map(|_| Ok(Vec::new())).collect();
        for (at, entry) in side_by_side(asks).await {
            match (&mut results[at], entry) {
                (Ok(found), Ok(entry)) => found.push(entry),
                (Err(_), _) => {}
                (result, Err(error)) => *result = Err(error),
            }
        }
        results
    }

    /// In as few requests as can be.
    async fn together(&self, to: &Arc<Connection>, ops: &[&Read]) -> Vec<Result<Found>> {
        let mut keys: Vec<&str> = ops
            .iter()
            .flat_map(|op| op.keys())
            .map(|key| &key[..])
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let read = match (&keys[..], ops) {
            ([], _) | (_, []) => return self.apart(to, ops).await,
            ([key], [op, ..]) => {
                let entry = self.one(to, op, key).await;
                entry.map(|entry| {
                    entry
                        .map(|entry| ((*key).to_owned(), entry))
                        .into_iter()
                        .collect()
                })
            }
            _ => self.many(to, &keys).await,
        };
        let error = match read {
            Ok(found) => {
                let of = |op: &&Read| {
                    op.keys()
                        .iter()
                        .map(|key| found.get(key).cloned())
                        .collect()
                };
                return ops.iter().map(|op| Ok(of(op))).collect();
            }
            Err(error) => error,
        };
        // One key may be all that is wrong.
        match keys.len() > 1 && failure::may_be_of_one(&error) {
            true => self.apart(to, ops).await,
            false => ops.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

impl Trip for Reads {
    type Op = Read;
    type Reply = Found;
    const UNDER_WAY: usize = 4;
    const BATCH: usize = 512;
    const BY_CALLER: bool = true;

    async fn send(&self, ops: &[&Read]) -> Vec<Result<Found>> {
        let to = match self.0.connection().await {
            Ok(to) => to,
            Err(error) => return ops.iter().map(|_| Err(error.clone())).collect(),
        };
        let is_held = |op: &&&Read| op.keys().iter().all(|key| to.check_key(key).is_ok());
        let is_get = |op: &&&Read| to.is_full() && matches!(op, Read::Get(_)) && is_held(op);
        let (gets, others): (Vec<&Read>, Vec<&Read>) = ops.iter().partition(is_get);
        let (got, other) = join(self.together(&to, &gets), self.apart(&to, &others)).await;
        let (mut got, mut other) = (got.into_iter(), other.into_iter());
        let results = ops.iter().map(|op| match is_get(&op) {
            true => got.next(),
            false => other.next(),
        });
        // Whatever became of it, nothing is changed.
        let results = results.flatten();
        results
            .map(|result| result.map_err(Error::not_applied))
            .collect()
    }

    fn is_transient(&self, error: &Error) -> bool {
        self.0.is_transient(error)
    }

    fn is_write(_: &Read) -> bool {
        false
    }

    fn weight(op: &Read) -> usize {
        op.keys().iter().map(String::len).sum()
    }

    fn gave_up(&self) {
        self.0.give_up();
    }
}
