//! The single writes, and how those that wait become one batch.

use std::collections::HashMap;

use futures_channel::oneshot;
use rusty_leveldb::WriteBatch;

use super::database::Database;
use super::reader;
use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};

/// What a key and its value may have together: they are held in memory several times.
pub(super) const MOST_BYTES: usize = 256 << 20;

/// From how many bytes on a batch is written though more writes wait.
const BATCH_BYTES: usize = 4 << 20;

/// What an entry takes beside its key and its value, about.
const OVERHEAD: usize = 16;

/// One thing to write. Done, it gives the number of entries that it was about.
#[derive(Debug)]
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
}

impl Op {
    /// Fails if it is about something too large, before anything is written.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Set(key, entry) | Self::Insert(key, entry) | Self::Replace(key, entry) => {
                check(key, entry)
            }
            Self::SetMany(entries) => entries.iter().try_for_each(|(key, entry)| {
                check(key, entry).map_err(|error| error.with_key(key))
            }),
            Self::Touch(..) | Self::Del(_) | Self::DelMany(_) | Self::Evict(..) => Ok(()),
        }
    }

    /// Whether what it does depends on what is there.
    pub(super) fn is_conditional(&self) -> bool {
        matches!(
            self,
            Self::Insert(..) | Self::Replace(..) | Self::Touch(..) | Self::Evict(..)
        )
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
            Self::Del(_) | Self::DelMany(_) | Self::Evict(..) => None,
        }
    }
}

fn check(key: &str, entry: &Entry) -> Result<()> {
    if key.len() + entry.json().len() > MOST_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidValue,
            "the key and the value are larger than 256 MiB",
        ));
    }
    Ok(())
}

/// Writes that go to the disk together.
pub(super) struct Gathered {
    batch: WriteBatch,
    bytes: usize,
    /// What is in the batch, if there may be conditions on it.
    fresh: Option<HashMap<String, Option<Entry>>>,
    syncs: bool,
    waiting: Vec<(oneshot::Sender<Result<u64>>, u64)>,
}

impl Gathered {
    pub(super) fn new(has_conditions: bool) -> Self {
        Self {
            batch: WriteBatch::default(),
            bytes: 0,
            fresh: has_conditions.then(HashMap::new),
            syncs: false,
            waiting: Vec::new(),
        }
    }

    /// Takes in one write, to be answered with the batch, or at once if it fails alone.
    pub(super) fn add(
        &mut self,
        database: &mut Database,
        op: Op,
        syncs: bool,
        answer: oneshot::Sender<Result<u64>>,
    ) {
        // In the same batch as the writes before it, if those are not durable yet: what it
        // finds there is on its way to the disk like itself.
        self.syncs |= syncs;
        match self.apply(database, op) {
            Ok(entries) => self.waiting.push((answer, entries)),
            Err(error) => {
                let _ = answer.send(Err(error));
            }
        }
        if self.bytes >= BATCH_BYTES {
            self.write(database);
        }
    }

    fn apply(&mut self, database: &mut Database, op: Op) -> Result<u64> {
        match op {
            Op::Set(key, entry) => self.put(key, Some(entry)),
            Op::Del(key) => self.put(key, None),
            Op::SetMany(entries) => {
                let count = entries.len() as u64;
                for (key, entry) in entries {
                    self.put(key, Some(entry));
                }
                return Ok(count);
            }
            Op::DelMany(keys) => {
                let count = keys.len() as u64;
                for key in keys {
                    self.put(key, None);
                }
                return Ok(count);
            }
            Op::Insert(key, entry) => {
                let found = self.find(database, &key)?;
                if found.is_some_and(|found| !found.is_expired()) {
                    return Ok(0);
                }
                self.put(key, Some(entry));
            }
            Op::Replace(key, entry) => match self.find(database, &key)? {
                Some(found) if !found.is_expired() => self.put(key, Some(entry)),
                _ => return Ok(0),
            },
            Op::Touch(key, expiry) => match self.find(database, &key)? {
                Some(found) if !found.is_expired() => {
                    self.put(key, Some(found.with_expiry(expiry)));
                }
                _ => return Ok(0),
            },
            Op::Evict(key, seen) => {
                if self.find(database, &key)? != Some(seen) {
                    return Ok(0);
                }
                self.put(key, None);
            }
        }
        Ok(1)
    }

    /// What is under `key` when the batch so far is written.
    fn find(&self, database: &mut Database, key: &str) -> Result<Option<Entry>> {
        let fresh = self.fresh.as_ref().and_then(|fresh| fresh.get(key));
        match fresh {
            Some(entry) => Ok(entry.clone()),
            None => database.read(|database, iterator| reader::get(database, iterator, key))?,
        }
    }

    pub(super) fn remove(&mut self, keys: &[String], syncs: bool) {
        self.syncs |= syncs;
        for key in keys {
            self.bytes += key.len() + OVERHEAD;
            self.batch.delete(key.as_bytes());
        }
    }

    fn put(&mut self, key: String, entry: Option<Entry>) {
        self.bytes += key.len() + OVERHEAD;
        match &entry {
            Some(entry) => {
                let envelope = entry.to_envelope();
                self.bytes += envelope.len();
                self.batch.put(key.as_bytes(), envelope.as_bytes());
            }
            None => self.batch.delete(key.as_bytes()),
        }
        if let Some(fresh) = &mut self.fresh {
            fresh.insert(key, entry);
        }
    }

    /// Writes what there is, and answers those who wait for it.
    pub(super) fn write(&mut self, database: &mut Database) {
        let written = self.write_batch(database);
        for (answer, entries) in self.waiting.drain(..) {
            let _ = answer.send(written.clone().map(|()| entries));
        }
    }

    pub(super) fn write_batch(&mut self, database: &mut Database) -> Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let bytes = std::mem::take(&mut self.bytes);
        let syncs = std::mem::take(&mut self.syncs);
        if let Some(fresh) = &mut self.fresh {
            fresh.clear();
        }
        database.write(batch, bytes, syncs)
    }
}
