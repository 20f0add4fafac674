//! Writing single entries: those who wait share one statement, as far as they are of one kind.

use std::collections::HashSet;
use std::sync::Arc;

use super::clock::ServerTime;
use super::failure::Failure;
use super::plan::{Class, plan, puts};
use super::server::{Role, Server};
use super::session::Params;
use super::sql::Statement;
use super::sweeper::Sweeper;
use super::table::Table;
use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};
use crate::gather::Trip;

/// One thing to write.
pub(super) enum Op {
    /// Puts these, and removes those of `None`, as a whole or not at all.
    Put(Vec<(String, Option<Entry>)>),
    Insert(String, Entry),
    Replace(String, Entry),
    Touch(String, Expiry),
    Evict(String, Entry),
}

impl Op {
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let (many, one) = match self {
            Self::Put(entries) => (&entries[..], None),
            Self::Insert(key, _)
            | Self::Replace(key, _)
            | Self::Touch(key, _)
            | Self::Evict(key, _) => (&[][..], Some(&**key)),
        };
        many.iter().map(|(key, _)| &**key).chain(one)
    }

    /// Whether the table can hold what it puts.
    fn check(&self, table: &Table) -> Result<()> {
        match self {
            Self::Put(entries) => entries
                .iter()
                .filter(|(_, entry)| entry.is_some())
                .try_for_each(|(key, _)| table.check_key(key)),
            Self::Insert(key, _) | Self::Replace(key, _) => table.check_key(key),
            Self::Touch(..) | Self::Evict(..) => Ok(()),
        }
    }

    /// When the first of what it puts expires.
    fn first_expiry(&self) -> Option<i64> {
        match self {
            Self::Put(entries) => {
                let put = entries.iter().filter_map(|(_, entry)| entry.as_ref());
                put.filter_map(|entry| entry.expiry().as_millis()).min()
            }
            Self::Insert(_, entry) | Self::Replace(_, entry) => entry.expiry().as_millis(),
            Self::Touch(_, expiry) => expiry.as_millis(),
            Self::Evict(..) => None,
        }
    }

    fn has_expiry(&self) -> bool {
        self.first_expiry().is_some() || matches!(self, Self::Evict(..))
    }
}

/// By how much an expiry may differ from the one that was seen, in milliseconds: the clocks may have
/// been compared anew since.
const SAME: i64 = 100;

pub(super) struct Writes {
    pub(super) server: Arc<Server>,
    pub(super) sweeper: Arc<Sweeper>,
}

impl Writes {
    async fn carry(&self, ops: &[&Op]) -> Result<Vec<Result<bool>>> {
        let server = &self.server;
        let table = server.table(Role::Write).await?;
        if ops.iter().any(|op| op.has_expiry()) {
            server.compare_clocks(Role::Write).await?;
        }
        let mut results: Vec<Option<Result<bool>>> = ops
            .iter()
            .map(|op| op.check(&table).err().map(Err))
            .collect();
        let fit: Vec<usize> = (0..ops.len()).filter(|at| results[*at].is_none()).collect();
        let fitting: Vec<&Op> = fit.iter().map(|at| ops[*at]).collect();
        for (class, members) in plan(&fitting) {
            let step: Vec<&Op> = members.iter().map(|at| fitting[*at]).collect();
            let done = self.step(&table, class, &step).await;
            for (at, result) in members.into_iter().zip(done) {
                results[fit[at]] = Some(result);
            }
        }
        let first = ops.iter().filter_map(|op| op.first_expiry()).min();
        self.sweeper.note_write(server, first);
        // Each op is in one step.
        Ok(results.into_iter().flatten().collect())
    }

    async fn step(&self, table: &Table, class: Class, ops: &[&Op]) -> Vec<Result<bool>> {
        let error = match self.together(table, class, ops).await {
            Ok(done) => return done.into_iter().map(Ok).collect(),
            Err(error) => error,
        };
        // Rules of the table, its triggers or its policies refuse one of them: not all who came
        // together with it.
        let is_about_one = error.is_data() || error.is_usage() || error.kind() == ErrorKind::Denied;
        if ops.len() == 1 || !is_about_one || error.is_retryable() {
            return ops.iter().map(|_| Err(error.clone())).collect();
        }
        let mut results = Vec::with_capacity(ops.len());
        for op in ops {
            let done = self.together(table, class, &[op]).await;
            results.push(done.map(|done| done[0]));
        }
        results
    }

    /// One statement: all of them or none.
    async fn together(&self, table: &Table, class: Class, ops: &[&Op]) -> Result<Vec<bool>> {
        match class {
            Class::Put => {
                self.put(table, ops).await?;
                Ok(vec![true; ops.len()])
            }
            Class::Insert => self.put_if(&table.sql.insert, ops).await,
            Class::Replace => self.put_if(&table.sql.replace, ops).await,
            Class::Touch => self.touch(table, ops).await,
            Class::Evict => self.evict(table, ops).await,
        }
    }

    async fn put(&self, table: &Table, ops: &[&Op]) -> Result<()> {
        let (sets, dels) = puts(ops);
        let (server, sql) = (&self.server, &table.sql);
        let clock = &server.clock;
        match (&sets[..], &dels[..]) {
            ([], []) => return Ok(()),
            ([], [key]) => server.write(Role::Write, &sql.del, &[key]).await?,
            ([], _) => server.write(Role::Write, &sql.del_many, &[&dels]).await?,
            ([(key, entry)], []) => {
                let expires = clock.to_server(entry.expiry());
                let with: Params<'_> = &[key, &entry.json(), &expires];
                server.write(Role::Write, &sql.set, with).await?
            }
            _ => {
                let keys: Vec<&str> = sets.iter().map(|(key, _)| *key).collect();
                let values: Vec<&str> = sets.iter().map(|(_, entry)| entry.json()).collect();
                let expires = sets
                    .iter()
                    .map(|(_, entry)| clock.to_server(entry.expiry()));
                let expires: Vec<Option<ServerTime>> = expires.collect();
                if dels.is_empty() {
                    let with: Params<'_> = &[&keys, &values, &expires];
                    server.write(Role::Write, &sql.set_many, with).await?
                } else {
                    let with: Params<'_> = &[&keys, &values, &expires, &dels];
                    server.write(Role::Write, &sql.set_and_del, with).await?
                }
            }
        };
        Ok(())
    }

    /// Of two with one key, the plan has put the later into another step.
    async fn put_if(&self, statement: &Statement, ops: &[&Op]) -> Result<Vec<bool>> {
        let entries = ops.iter().filter_map(|op| match op {
            Op::Insert(key, entry) | Op::Replace(key, entry) => Some((&**key, entry)),
            _ => None,
        });
        let mut entries: Vec<(&str, &Entry)> = entries.collect();
        // All take the rows in one order, so that none waits for one that waits for it.
        entries.sort_unstable_by_key(|(key, _)| *key);
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        let values: Vec<&str> = entries.iter().map(|(_, entry)| entry.json()).collect();
        let expires = entries.iter().map(|(_, entry)| entry.expiry());
        let clock = &self.server.clock;
        let expires: Vec<_> = expires.map(|expiry| clock.to_server(expiry)).collect();
        let with: Params<'_> = &[&keys, &values, &expires];
        let rows = self.server.write(Role::Write, statement, with).await?;
        said(ops, &rows)
    }

    async fn touch(&self, table: &Table, ops: &[&Op]) -> Result<Vec<bool>> {
        let touched = ops.iter().filter_map(|op| match op {
            Op::Touch(key, expiry) => Some((&**key, self.server.clock.to_server(*expiry))),
            _ => None,
        });
        let (keys, expires): (Vec<&str>, Vec<Option<ServerTime>>) = touched.unzip();
        let with: Params<'_> = &[&keys, &expires];
        let rows = self
            .server
            .write(Role::Write, &table.sql.touch, with)
            .await?;
        said(ops, &rows)
    }

    async fn evict(&self, table: &Table, ops: &[&Op]) -> Result<Vec<bool>> {
        let mut results = Vec::with_capacity(ops.len());
        for op in ops {
            let Op::Evict(key, seen) = op else { continue };
            let clock = &self.server.clock;
            let near = |by: i64| {
                let near = |at: crate::Timestamp| {
                    Expiry::At(crate::Timestamp::from_millis(
                        at.as_millis().saturating_add(by),
                    ))
                };
                match seen.expiry() {
                    Expiry::At(at) => clock.to_server(near(at)),
                    _ => None,
                }
            };
            let (from, to) = (near(-SAME), near(SAME));
            let with: Params<'_> = &[key, &seen.json(), &from, &to];
            let rows = self
                .server
                .write(Role::Write, &table.sql.evict, with)
                .await?;
            results.push(!rows.is_empty());
        }
        Ok(results)
    }
}

/// Whether the server named the key of each.
fn said(ops: &[&Op], rows: &[tokio_postgres::Row]) -> Result<Vec<bool>> {
    let keys: std::result::Result<HashSet<&str>, _> =
        rows.iter().map(|row| row.try_get(0)).collect();
    let keys = keys.map_err(Failure::before)?;
    let of = |op: &&Op| op.keys().all(|key| keys.contains(key));
    Ok(ops.iter().map(of).collect())
}

impl Trip for Writes {
    type Op = Op;
    type Reply = bool;

    // Writes to one key keep their order.
    const UNDER_WAY: usize = 1;
    const BATCH: usize = 1024;

    async fn send(&self, ops: &[&Op]) -> Vec<Result<bool>> {
        match self.carry(ops).await {
            Ok(done) => done,
            Err(error) => ops.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn is_transient(&self, error: &Error) -> bool {
        self.server.is_transient(error)
    }

    fn may_repeat(op: &Op) -> bool {
        match op {
            Op::Put(_) => true,
            // The first may have made it expire, and the second would find nothing.
            Op::Touch(_, expiry) => !expiry.is_over(),
            Op::Replace(_, entry) => !entry.expiry().is_over(),
            Op::Insert(..) | Op::Evict(..) => false,
        }
    }

    fn is_overtaken(op: &Op, later: &Op) -> bool {
        op.keys().any(|key| later.keys().any(|other| other == key))
    }

    fn weight(op: &Op) -> usize {
        let of = |key: &str, entry: Option<&Entry>| {
            key.len() + entry.map_or(0, |entry| entry.json().len()) + 64
        };
        match op {
            Op::Put(entries) => {
                let entries = entries.iter();
                entries.map(|(key, entry)| of(key, entry.as_ref())).sum()
            }
            Op::Insert(key, entry) | Op::Replace(key, entry) | Op::Evict(key, entry) => {
                of(key, Some(entry))
            }
            Op::Touch(key, _) => of(key, None),
        }
    }

    fn gave_up(&self) {
        self.server.drop_connection(Role::Write);
    }
}

/// The longest key that its index takes whatever is in it: a row of an index has room for 2,704 bytes,
/// of which 12 are its own.
pub(super) const MOST_KEY_BYTES: usize = 2692;

/// What a row may hold, and a message with it: a little less than a gigabyte.
pub(super) const MOST_VALUE_BYTES: usize = 1_000_000_000;

/// Whether a key can be sent.
pub(super) fn check_key(key: &str) -> Result<()> {
    if key.contains('\0') {
        return Err(Error::new(
            ErrorKind::InvalidKey,
            "PostgreSQL holds no text with a NUL character",
        ));
    }
    Ok(())
}

/// Whether it can be kept.
pub(super) fn check(key: &str, entry: &Entry) -> Result<()> {
    check_key(key)?;
    if key.len() > MOST_KEY_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidKey,
            format!("a key of a postgres store has at most {MOST_KEY_BYTES} bytes"),
        ));
    }
    let json = entry.json();
    if json.len() > MOST_VALUE_BYTES || json.contains('\0') {
        return Err(Error::new(
            ErrorKind::InvalidValue,
            "a value of a postgres store has at most a gigabyte, and no NUL character that is not escaped",
        ));
    }
    Ok(())
}
