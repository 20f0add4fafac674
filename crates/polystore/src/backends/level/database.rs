//! An open database. It is only ever compacted while it is opened: see [`Database::turn`].

use std::cell::RefCell;
use std::cmp::Ordering;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use rusty_leveldb::infolog::Logger;
use rusty_leveldb::{
    Cmp, Compressor, CompressorId, CompressorList, DB, DBIterator, Options, WriteBatch, compressor,
};

use super::checksums::Damage;
use super::disk::{Disk, Shared};
use super::failure::of_damage;
use super::folder;
use crate::error::{Error, Result};

/// So many bytes are kept in the log, and in memory, before they go into a table.
const LOG_BYTES: usize = 4 << 20;

/// Tables that are kept open: far fewer than a process may have files.
const OPEN_TABLES: usize = 256;

/// Blocks of usual size that are kept in memory.
const CACHE_BYTES: usize = 4 << 20;

/// So many bytes of large blocks are read before the cache is emptied.
const LARGE_BLOCKS: usize = 32 << 20;

/// Compactions in a row. What is left is done when there is nothing else to do.
const COMPACTIONS: usize = 4;

pub(super) struct Database {
    disk: Arc<Shared>,
    db: Option<DB>,
    /// Bytes in the log.
    written: usize,
    /// The last time that it was opened, something was compacted: there may be more.
    wants_compaction: bool,
}

impl Database {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            disk: Arc::new(Shared::new(folder)),
            db: None,
            written: 0,
            wants_compaction: false,
        }
    }

    #[cfg(test)]
    pub(super) fn disk(&self) -> &Arc<Shared> {
        &self.disk
    }

    /// Opens it if it is not open.
    pub(super) fn open(&mut self) -> Result<&mut DB> {
        if self.db.is_none() {
            self.open_anew()?;
        }
        match &mut self.db {
            Some(db) => Ok(db),
            None => Err(Error::closed()),
        }
    }

    fn open_anew(&mut self) -> Result<()> {
        self.db = None;
        self.written = 0;
        let folder = self.disk.folder();
        let is_new = folder::is_new(folder)?;
        self.disk.faults.take();
        self.disk.take_edits();
        self.disk.forget_large_blocks();
        let opened = DB::open(folder, options(&self.disk));
        let faults = &self.disk.faults;
        let db = opened.map_err(|status| faults.explain(&status))?;
        // Some failures it only logs.
        self.db = Some(faults.or(db)?);
        // One edit is that of opening it, and one more makes a new one.
        self.wants_compaction = self.disk.take_edits() > 1 + usize::from(is_new);
        Ok(())
    }

    pub(super) fn close(&mut self) {
        self.db = None;
        self.wants_compaction = false;
    }

    /// Gives `read` an iterator, the only way of reading that finds everything: `DB::get`
    /// takes a removed key for its neighbour.
    ///
    /// What `read` has found counts only if [`check`](Self::check) has nothing to say.
    pub(super) fn read<T>(&mut self, read: impl FnOnce(&Self, &mut DBIterator) -> T) -> Result<T> {
        self.disk.faults.take();
        let iterator = self.open()?.new_iter();
        let faults = &self.disk.faults;
        let mut iterator = iterator.map_err(|status| faults.explain(&status))?;
        Ok(read(self, &mut iterator))
    }

    /// Fails if something could not be read since the last time.
    pub(super) fn check(&self) -> Result<()> {
        self.disk.faults.or(())
    }

    /// Writes it all or nothing, and waits for the disk if asked to.
    pub(super) fn write(&mut self, batch: WriteBatch, bytes: usize, syncs: bool) -> Result<()> {
        self.disk.faults.take();
        self.disk.sync_log(syncs);
        let db = self.open()?;
        let done = db.write(batch, true);
        self.written += bytes;
        let faults = &self.disk.faults;
        let done = match done {
            Ok(()) => faults.or(()),
            Err(status) => Err(faults.explain(&status)),
        };
        if done.is_err() {
            // What it has in memory and what is on the disk may differ now.
            self.forget();
        }
        done.map_err(Error::with_maybe_applied)
    }

    /// Lets go of one that may be in disorder.
    pub(super) fn forget(&mut self) {
        self.disk.faults.note(Error::closed());
        self.close();
        self.disk.faults.take();
    }

    /// Puts what is in the log into a table, and compacts, if it is time.
    ///
    /// By opening it anew, instead of leaving it to a write, for three reasons. Once an
    /// iterator was made, rusty-leveldb takes it for one that lives for ever: compactions
    /// drop nothing any more, and leave a key in two tables of a level, of which a later
    /// compaction may remove the newer alone. A write may put its table below an older one of
    /// the same keys. And a compaction that failed is taken for done; here
    /// it has written nothing, and all of it is forgotten.
    pub(super) fn turn(&mut self) -> Result<()> {
        let has_large_blocks = self.disk.large_blocks() > LARGE_BLOCKS;
        if self.db.is_none() || self.written < LOG_BYTES && !has_large_blocks {
            return Ok(());
        }
        self.open_anew()?;
        for _ in 1..COMPACTIONS {
            if !self.wants_compaction {
                break;
            }
            self.open_anew()?;
        }
        Ok(())
    }

    /// Whether there is something left to compact.
    pub(super) fn wants_compaction(&self) -> bool {
        self.db.is_some() && self.wants_compaction
    }

    /// Compacts a little of it.
    pub(super) fn compact(&mut self) -> Result<()> {
        self.open_anew()
    }
}

/// LevelDB's order of keys, that of their bytes.
///
/// rusty-leveldb's own panics at an empty key, and puts `a` and `a\0` apart so that LevelDB
/// itself does not find the second.
struct Bytewise;

impl Cmp for Bytewise {
    fn cmp(&self, one: &[u8], other: &[u8]) -> Ordering {
        one.cmp(other)
    }

    fn find_shortest_sep(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let at = from.iter().zip(to).position(|(one, other)| one != other);
        match at {
            Some(at) if from[at] < to[at].saturating_sub(1) => {
                let mut between = from[..=at].to_owned();
                between[at] += 1;
                between
            }
            _ => from.to_owned(),
        }
    }

    fn find_short_succ(&self, key: &[u8]) -> Vec<u8> {
        match key.iter().position(|byte| *byte != u8::MAX) {
            Some(at) => {
                let mut after = key[..=at].to_owned();
                after[at] += 1;
                after
            }
            None => key.to_owned(),
        }
    }

    fn id(&self) -> &'static str {
        "leveldb.BytewiseComparator"
    }
}

fn options(disk: &Arc<Shared>) -> Options {
    let mut compressors = CompressorList::new();
    compressors.set(compressor::NoneCompressor);
    compressors.set_with_id(compressor::SnappyCompressor::ID, Snappy(Arc::clone(disk)));
    Options {
        cmp: Rc::new(Box::new(Bytewise)),
        env: Rc::new(Box::new(Disk(Arc::clone(disk)))),
        // Else it makes a file that keys are written to.
        log: Some(Rc::new(RefCell::new(Logger(Box::new(std::io::sink()))))),
        // So that only opening puts it into a table.
        write_buffer_size: usize::MAX,
        max_open_files: OPEN_TABLES,
        block_cache_capacity_bytes: CACHE_BYTES,
        compressor: compressor::SnappyCompressor::ID,
        compressor_list: Rc::new(compressors),
        // What a crash left at their ends would hide what is written after it.
        reuse_logs: false,
        reuse_manifest: false,
        ..Options::default()
    }
}

/// Snappy that says when it fails: an iterator goes on to the next block.
struct Snappy(Arc<Shared>);

impl Compressor for Snappy {
    fn encode(&self, block: Vec<u8>) -> rusty_leveldb::Result<Vec<u8>> {
        compressor::SnappyCompressor.encode(block)
    }

    fn decode(&self, block: Vec<u8>) -> rusty_leveldb::Result<Vec<u8>> {
        compressor::SnappyCompressor.decode(block).inspect_err(|_| {
            let error = of_damage(self.0.folder(), Damage::Checksum);
            self.0.faults.note(error);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_keys_is_between_them() {
        let keys: &[&[u8]] = &[
            b"",
            b"\0",
            b"a",
            b"a\0",
            b"a\0\0",
            b"ab",
            b"abc",
            b"b",
            b"c",
            b"\xfe",
            b"\xff",
            b"\xff\xff",
        ];
        for (at, from) in keys.iter().enumerate() {
            assert!(Bytewise.find_short_succ(from) >= from.to_vec());
            for to in &keys[at + 1..] {
                let between = Bytewise.find_shortest_sep(from, to);
                assert!(
                    between >= from.to_vec() && between < to.to_vec(),
                    "{from:?} {to:?}"
                );
            }
        }
        assert_eq!(Bytewise.find_shortest_sep(b"abcd", b"abzz"), b"abd");
        assert_eq!(Bytewise.find_short_succ(b"\xffab"), b"\xffb");
    }
}
