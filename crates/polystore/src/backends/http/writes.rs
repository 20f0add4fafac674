//! Writes: those that wait go in one request, and each key keeps their order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ::http::{Method, StatusCode};
use futures_util::FutureExt;
use futures_util::future::join;

use super::failure;
use super::reads::side_by_side;
use super::server::{Connection, Server};
use super::transport::Ask;
use super::wire;
use crate::entry::{Entry, Expiry};
use crate::error::{Error, Result};
use crate::gather::Trip;

/// How many keys go in one request, and about how many bytes if they are more than one.
const KEYS: usize = 1000;
const BYTES: usize = 4 << 20;

pub(super) enum Write {
    /// Entries under keys that are each there once.
    Put(Vec<(String, Entry)>),
    Del(Vec<String>),
    Insert(String, Entry),
    Replace(String, Entry),
    Touch(String, Expiry),
    Evict(String, Entry),
}

/// What becomes of a key.
type Change<'a> = (&'a str, Option<&'a Entry>);

impl Write {
    /// What it does to its keys, if it does so whatever they are.
    fn changes(&self) -> Option<Vec<Change<'_>>> {
        match self {
            Self::Put(entries) => {
                let entries = entries.iter();
                Some(
                    entries
                        .map(|(key, entry)| (&key[..], Some(entry)))
                        .collect(),
                )
            }
            Self::Del(keys) => Some(keys.iter().map(|key| (&key[..], None)).collect()),
            Self::Insert(..) | Self::Replace(..) | Self::Touch(..) | Self::Evict(..) => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        match self {
            Self::Put(entries) => entries.iter().map(|(key, _)| &key[..]).collect(),
            Self::Del(keys) => keys.iter().map(|key| &key[..]).collect(),
            Self::Insert(key, _)
            | Self::Replace(key, _)
            | Self::Touch(key, _)
            | Self::Evict(key, _) => vec![key],
        }
    }

    /// Fails if the store cannot hold what it writes.
    fn check(&self, to: &Connection) -> Result<()> {
        for key in self.keys() {
            to.check_key(key)?;
        }
        match self {
            Self::Put(entries) => entries.iter().try_for_each(|(key, entry)| {
                let checked = to.check_value(entry.json().len());
                checked.map_err(|error| error.with_key(key))
            }),
            Self::Insert(_, entry) | Self::Replace(_, entry) => to.check_value(entry.json().len()),
            Self::Del(_) | Self::Touch(..) | Self::Evict(..) => Ok(()),
        }
    }
}

/// What can be sent side by side: no key is in two requests. Of changes to a key that follow each
/// other, the last one is enough.
#[derive(Default)]
struct Round<'a> {
    changes: Vec<Change<'a>>,
    places: HashMap<&'a str, usize>,
    /// The operations that these are of.
    plain: Vec<usize>,
    /// Those that depend on what is there.
    bound: Vec<usize>,
    bound_keys: HashSet<&'a str>,
}

impl<'a> Round<'a> {
    /// Takes the operation, or leaves it to the next round.
    fn take(&mut self, number: usize, op: &'a Write) -> bool {
        let keys = op.keys();
        if keys.iter().any(|key| self.bound_keys.contains(key)) {
            return false;
        }
        let Some(changes) = op.changes() else {
            if keys.iter().any(|key| self.places.contains_key(key)) {
                return false;
            }
            self.bound.push(number);
            self.bound_keys.extend(keys);
            return true;
        };
        self.plain.push(number);
        for change in changes {
            match self.places.get(change.0) {
                Some(&place) => self.changes[place] = change,
                None => {
                    self.places.insert(change.0, self.changes.len());
                    self.changes.push(change);
                }
            }
        }
        true
    }
}

fn rounds<'a>(ops: impl Iterator<Item = (usize, &'a Write)>) -> Vec<Round<'a>> {
    let mut rounds = vec![Round::default()];
    for (number, op) in ops {
        let taken = rounds
            .last_mut()
            .is_some_and(|round| round.take(number, op));
        if !taken {
            let mut next = Round::default();
            next.take(number, op);
            rounds.push(next);
        }
    }
    rounds
}

pub(super) struct Writes(pub(super) Arc<Server>);

impl Writes {
    /// Sends a request, and gives whether its status is 200, or `no`.
    async fn is_done(&self, to: &Arc<Connection>, ask: &Ask, no: StatusCode) -> Result<bool> {
        let reply = self.0.ask(to, ask).await?;
        match reply.status {
            StatusCode::NO_CONTENT => Ok(true),
            status if status.is_success() => {
                // A page that somebody else has put in between is not a success.
                let said = wire::value_in(&reply.body);
                said.map(|_| true).map_err(Error::with_maybe_applied)
            }
            status if status == no && to.is_full() => Ok(false),
            _ => Err(failure::of_reply(&reply, to.is_full())),
        }
    }

    async fn one(&self, to: &Arc<Connection>, (key, entry): Change<'_>) -> Result<()> {
        let ask = match entry {
            Some(entry) => put(to, key, entry)?,
            None => to.about(Method::DELETE, key, &[])?,
        };
        // There is no status for it that is not an error.
        let done = self.is_done(to, &ask, StatusCode::OK).await;
        done.map(drop).map_err(|error| error.with_key(key))
    }

    /// Makes all of these changes, in as few requests as can be.
    async fn all(&self, to: &Arc<Connection>, changes: &[Change<'_>]) -> Result<()> {
        if !to.is_full() {
            let mut all = Vec::with_capacity(changes.len());
            for change in changes {
                all.push(self.one(to, *change).boxed());
            }
            let done = side_by_side(all).await;
            let is_begun = done.iter().any(Result::is_ok);
            let done: Result<()> = done.into_iter().collect();
            return done.map_err(|error| of_some(error, is_begun));
        }
        let mut start = 0;
        while start < changes.len() {
            let (mut end, mut bytes) = (start, 0);
            while end < changes.len() && end - start < KEYS {
                bytes += weight(&changes[end]);
                if bytes > BYTES && end > start {
                    break;
                }
                end += 1;
            }
            let done = self.some(to, &changes[start..end]).await;
            done.map_err(|error| of_some(error, start > 0))?;
            start = end;
        }
        Ok(())
    }

    /// In one request.
    async fn some(&self, to: &Arc<Connection>, changes: &[Change<'_>]) -> Result<()> {
        if let [change] = changes {
            return self.one(to, *change).await;
        }
        let ask = match changes.iter().all(|(_, entry)| entry.is_none()) {
            true => {
                let body = wire::keys_body(changes.iter().map(|(key, _)| *key));
                to.post("del", &[], wire::JSON, body)?
            }
            false => {
                let bytes: usize = changes.iter().map(weight).sum();
                let mut body = String::with_capacity(bytes);
                for (key, entry) in changes {
                    wire::write_line(&mut body, key, *entry);
                }
                to.post("set", &[], wire::LINES, body)?
            }
        };
        let reply = self.0.ask(to, &ask).await?;
        match reply.status.is_success() {
            true => {
                wire::check_count(&reply.body, changes.len()).map_err(Error::with_maybe_applied)
            }
            false => Err(failure::of_reply(&reply, to.is_full())),
        }
    }

    async fn bound(&self, to: &Arc<Connection>, op: &Write) -> Result<bool> {
        match op {
            Write::Put(_) | Write::Del(_) => Ok(true),
            Write::Insert(..) if !to.is_full() => Err(Error::unsupported(
                "insert: the server's protocol has no \"only if absent\"",
            )),
            Write::Replace(..) if !to.is_full() => Err(Error::unsupported(
                "replace: the server's protocol has no \"only if present\"",
            )),
            Write::Touch(..) if !to.is_full() => Err(Error::unsupported(
                "touch: the server's protocol cannot change an expiry",
            )),
            Write::Evict(..) if !to.is_full() => Err(Error::unsupported(
                "prune: the server's protocol cannot remove an entry only if it is unchanged",
            )),
            Write::Insert(key, entry) => {
                let ask = put(to, key, entry)?.only_if_absent();
                self.is_done(to, &ask, StatusCode::PRECONDITION_FAILED)
                    .await
            }
            Write::Replace(key, entry) => {
                let ask = put(to, key, entry)?.only_if_present();
                self.is_done(to, &ask, StatusCode::PRECONDITION_FAILED)
                    .await
            }
            Write::Touch(key, expiry) => {
                let seconds = wire::seconds_until(*expiry);
                let expires = seconds.as_deref().unwrap_or("never");
                let ask = to.about(Method::PATCH, key, &[("expires", expires)])?;
                self.is_done(to, &ask, StatusCode::NOT_FOUND).await
            }
            Write::Evict(key, seen) => {
                let body = wire::seen_body(key, seen);
                let ask = to.post("evict", &[], wire::JSON, body)?;
                let reply = self.0.ask(to, &ask).await?;
                match reply.status.is_success() {
                    true => wire::was_evicted(&reply.body).map_err(Error::with_maybe_applied),
                    false => Err(failure::of_reply(&reply, true)),
                }
            }
        }
    }

    /// The changes of a round, where one of them may be all that is wrong.
    async fn plain(
        &self,
        to: &Arc<Connection>,
        round: &Round<'_>,
        ops: &[&Write],
    ) -> Vec<(usize, Result<bool>)> {
        let done = self.all(to, &round.changes).await;
        let is_of_one = |error: &Error| round.plain.len() > 1 && failure::may_be_of_one(error);
        let error = match done {
            Err(error) if is_of_one(&error) => error,
            done => {
                let all = round.plain.iter();
                return all
                    .map(|number| (*number, done.clone().map(|()| true)))
                    .collect();
            }
        };
        drop(error);
        let mut results = Vec::with_capacity(round.plain.len());
        for number in &round.plain {
            let changes = ops[*number].changes().unwrap_or_default();
            let done = self.all(to, &changes).await;
            results.push((*number, done.map(|()| true)));
        }
        results
    }
}

fn of_some(error: Error, is_begun: bool) -> Error {
    match is_begun {
        true => error.with_maybe_applied(),
        false => error,
    }
}

fn put(to: &Connection, key: &str, entry: &Entry) -> Result<Ask> {
    let seconds = wire::seconds_until(entry.expiry());
    let expires = seconds.as_deref().map(|seconds| ("expires", seconds));
    let ask = to.about(Method::PUT, key, expires.as_slice())?;
    Ok(ask.body(wire::JSON, entry.json().to_owned()))
}

fn weight((key, entry): &Change<'_>) -> usize {
    key.len() + entry.map_or(0, |entry| entry.json().len()) + 64
}

impl Trip for Writes {
    type Op = Write;
    type Reply = bool;
    /// In their order.
    const UNDER_WAY: usize = 1;
    const BATCH: usize = 512;
    const BYTES: usize = BYTES;

    async fn send(&self, ops: &[&Write]) -> Vec<Result<bool>> {
        let to = match self.0.connection().await {
            Ok(to) => to,
            Err(error) => return ops.iter().map(|_| Err(error.clone())).collect(),
        };
        // What nothing was sent for has no effect.
        let mut results: Vec<Result<bool>> =
            ops.iter().map(|op| op.check(&to).map(|()| false)).collect();
        let right: Vec<_> = ops
            .iter()
            .enumerate()
            .filter(|(number, _)| results[*number].is_ok())
            .collect();
        let mut failed: Option<Error> = None;
        for round in rounds(right.into_iter().map(|(number, op)| (number, *op))) {
            if let Some(error) = &failed {
                for number in round.plain.iter().chain(&round.bound) {
                    results[*number] = Err(failure::not_sent(error));
                }
                continue;
            }
            let mut bound = Vec::with_capacity(round.bound.len());
            for number in round.bound.iter().copied() {
                let to = &to;
                let done = async move { (number, self.bound(to, ops[number]).await) };
                bound.push(done.boxed());
            }
            let (plain, bound) = join(self.plain(&to, &round, ops), side_by_side(bound)).await;
            for (number, done) in plain.into_iter().chain(bound) {
                if let Err(error) = &done
                    && self.is_transient(error)
                {
                    failed = Some(error.clone());
                }
                results[number] = done;
            }
        }
        results
    }

    fn is_transient(&self, error: &Error) -> bool {
        self.0.is_transient(error)
    }

    fn may_repeat(op: &Write) -> bool {
        match op {
            Write::Put(_) | Write::Del(_) => true,
            // They say what was there before: the second time that is their own doing.
            Write::Insert(..) | Write::Evict(..) => false,
            Write::Replace(_, entry) => !entry.expiry().is_over(),
            Write::Touch(_, expiry) => !expiry.is_over(),
        }
    }

    fn is_overtaken(op: &Write, later: &Write) -> bool {
        let keys: HashSet<&str> = op.keys().into_iter().collect();
        later.keys().iter().any(|key| keys.contains(key))
    }

    fn weight(op: &Write) -> usize {
        match op {
            Write::Insert(key, entry) | Write::Replace(key, entry) | Write::Evict(key, entry) => {
                weight(&(key, Some(entry)))
            }
            Write::Touch(key, _) => weight(&(key, None)),
            plain => plain.changes().unwrap_or_default().iter().map(weight).sum(),
        }
    }

    fn gave_up(&self) {
        self.0.give_up();
    }
}
