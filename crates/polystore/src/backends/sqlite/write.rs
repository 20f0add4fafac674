//! The single writes, as statements.

use rusqlite::Connection;

use super::failure::Attempt;
use super::reader::{self, Range, Text};
use super::table::Sql;
use crate::entry::{Entry, Expiry, Timestamp};
use crate::error::{Error, ErrorKind};

/// What SQLite holds in a row, its header aside (`SQLITE_MAX_LENGTH`).
pub(super) const MOST_BYTES: usize = 1_000_000_000 - 100;

/// What a calling thread writes at most, in bytes.
const SMALL: usize = 16 << 10;

/// One thing to write. Done, it gives the number of rows that it changed.
pub(super) enum Op {
    Set(String, Entry),
    SetMany(Vec<(String, Entry)>),
    Insert(String, Entry),
    Replace(String, Entry),
    Touch(String, Expiry),
    Del(String),
    DelMany(Vec<String>),
    /// Removes what still is as it was seen.
    Evict(String, Entry),
    /// Removes all whose keys have this prefix.
    Clear(String),
    /// Removes those of the keys that have expired by then.
    DelExpired(Vec<Text>, Timestamp),
    /// Removes so many of what has expired by then.
    Sweep(usize, Timestamp),
}

impl Op {
    pub(super) fn apply(&self, db: &Connection, sql: &Sql) -> Attempt<u64> {
        match self {
            Self::Set(key, entry) => set(db, sql, key, entry),
            Self::Insert(key, entry) => insert(db, sql, key, entry),
            Self::Replace(key, entry) => {
                let (json, now) = (text(key, entry)?, Timestamp::now().as_millis());
                let mut replace = db.prepare_cached(&sql.replace)?;
                Ok(replace.execute((key, json, entry.expiry().as_millis(), now))? as u64)
            }
            Self::Touch(key, expiry) => {
                let now = Timestamp::now().as_millis();
                let mut touch = db.prepare_cached(&sql.touch)?;
                Ok(touch.execute((key, expiry.as_millis(), now))? as u64)
            }
            Self::Del(key) => Ok(db.prepare_cached(&sql.del)?.execute([key])? as u64),
            Self::Evict(key, seen) => {
                if reader::get(db, sql, key)?.as_ref() != Some(seen) {
                    return Ok(0);
                }
                Ok(db.prepare_cached(&sql.del)?.execute([key])? as u64)
            }
            Self::SetMany(entries) => {
                for (key, entry) in entries {
                    set(db, sql, key, entry)
                        .map_err(|failure| Error::from(failure).with_key(key))?;
                }
                Ok(entries.len() as u64)
            }
            Self::DelMany(keys) => {
                let mut del = db.prepare_cached(&sql.del)?;
                let mut gone = 0;
                for key in keys {
                    gone += del.execute([key])?;
                }
                Ok(gone as u64)
            }
            Self::Clear(prefix) if prefix.is_empty() => {
                Ok(db.prepare_cached(&sql.clear_all)?.execute([])? as u64)
            }
            Self::Clear(prefix) => {
                let range = Range::of_prefix(prefix);
                let mut clear = db.prepare_cached(&sql.clear)?;
                Ok(clear.execute((&range.start, &range.end))? as u64)
            }
            Self::DelExpired(keys, now) => {
                let mut del = db.prepare_cached(&sql.del_expired)?;
                let mut gone = 0;
                for key in keys {
                    gone += del.execute((key, now.as_millis()))?;
                }
                Ok(gone as u64)
            }
            Self::Sweep(most, now) => {
                let mut sweep = db.prepare_cached(&sql.sweep)?;
                Ok(sweep.execute((now.as_millis(), reader::most(*most)))? as u64)
            }
        }
    }

    /// Whether it is more than one statement, so that a part of it can fail.
    pub(super) fn has_parts(&self) -> bool {
        match self {
            Self::Set(..)
            | Self::Insert(..)
            | Self::Replace(..)
            | Self::Touch(..)
            | Self::Del(_)
            | Self::Clear(_)
            | Self::Sweep(..) => false,
            Self::SetMany(_) | Self::DelMany(_) | Self::Evict(..) | Self::DelExpired(..) => true,
        }
    }

    /// Whether it takes microseconds, so that a calling thread may do it.
    pub(super) fn is_small(&self) -> bool {
        match self {
            Self::Set(key, entry) | Self::Insert(key, entry) | Self::Replace(key, entry) => {
                is_small(key, entry)
            }
            Self::Touch(..) | Self::Del(_) => true,
            _ => false,
        }
    }

    /// How many rows it is about.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::SetMany(entries) => entries.len(),
            _ => 1,
        }
    }

    /// When the first of what it puts expires.
    pub(super) fn first_expiry(&self) -> Option<i64> {
        match self {
            Self::Set(_, entry) | Self::Insert(_, entry) | Self::Replace(_, entry) => {
                entry.expiry().as_millis()
            }
            Self::SetMany(entries) => entries
                .iter()
                .filter_map(|(_, entry)| entry.expiry().as_millis())
                .min(),
            Self::Touch(_, expiry) => expiry.as_millis(),
            _ => None,
        }
    }
}

pub(super) fn set(db: &Connection, sql: &Sql, key: &str, entry: &Entry) -> Attempt<u64> {
    let json = text(key, entry)?;
    let mut set = db.prepare_cached(&sql.set)?;
    match set.execute((key, json, entry.expiry().as_millis()))? {
        0 => Err(mixed_up().into()),
        rows => Ok(rows as u64),
    }
}

fn insert(db: &Connection, sql: &Sql, key: &str, entry: &Entry) -> Attempt<u64> {
    let json = text(key, entry)?;
    let now = Timestamp::now().as_millis();
    let mut insert = db.prepare_cached(&sql.insert)?;
    let rows = insert.execute((key, json, entry.expiry().as_millis(), now))?;
    if rows == 0 && !sql.is_binary && !reader::has(db, sql, key)? {
        return Err(mixed_up().into());
    }
    Ok(rows as u64)
}

pub(super) fn is_small(key: &str, entry: &Entry) -> bool {
    key.len() + entry.json().len() <= SMALL
}

/// The text to keep, if it is some and short enough.
fn text<'a>(key: &str, entry: &'a Entry) -> Attempt<&'a str> {
    if key.len() + entry.json().len() > MOST_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidValue,
            "the key and the value are larger than the gigabyte that SQLite can hold",
        )
        .into());
    }
    Ok(entry.json())
}

fn mixed_up() -> Error {
    Error::new(
        ErrorKind::InvalidKey,
        "the table takes this key and another one in it for the same (its column id has a \
         collation of its own, such as NOCASE)",
    )
}

/// A transaction that writes, undone unless it is committed: by a panic, too.
pub(super) struct Transaction<'a> {
    db: &'a Connection,
}

impl<'a> Transaction<'a> {
    pub(super) fn begin(db: &'a Connection) -> Attempt<Self> {
        db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self { db })
    }

    pub(super) fn commit(self) -> Attempt<()> {
        self.db.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.db.is_autocommit() {
            let _ = self.db.execute_batch("ROLLBACK");
        }
    }
}

/// Does all parts of it or none.
pub(super) fn apply_whole(db: &Connection, sql: &Sql, op: &Op) -> Attempt<u64> {
    db.prepare_cached("SAVEPOINT op")?.execute([])?;
    let done = op.apply(db, sql);
    // Where the transaction is gone, so is the savepoint.
    if !db.is_autocommit() {
        if done.is_err() {
            db.prepare_cached("ROLLBACK TO op")?.execute([])?;
        }
        db.prepare_cached("RELEASE op")?.execute([])?;
    }
    done
}
