//! The connections to one database: one that writes, and in a file a few that read.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::failure::{Attempt, Failure};
use super::link::{Link, look_at};
use super::pace::Pace;
use super::table::{Sql, Table, TableName};
use crate::address::Durability;
use crate::disk;
use crate::error::{Error, ErrorKind, Result};

/// As many readers as can be of use at a time, within reason.
const MOST_READERS: usize = 4;

/// How long the log that a checkpoint has emptied may stay on disk, in bytes.
const LOG_BYTES_KEPT: u32 = 8 << 20;

/// How long the first write may wait to turn a database into one with a write-ahead
/// log. Others may be reading it all the time; it works without, too.
const WAIT_FOR_LOG: Duration = Duration::from_millis(250);

/// What the user asked for.
pub(super) struct Config {
    pub(super) table: TableName,
    pub(super) timeout: Duration,
    pub(super) durability: Durability,
}

/// A connection, or its place once it is closed or while it is not open yet.
pub(super) type Slot = Mutex<Option<Link>>;

pub(super) struct Database {
    pub(super) sql: Sql,
    pub(super) has_expiry_index: bool,
    pub(super) is_persistent: bool,
    timeout: Duration,
    durability: Durability,
    /// `None`: in memory, or the user's own connection, which is all there is.
    file: Option<File>,
    writer: Arc<Slot>,
    readers: Box<[Slot]>,
    reading: Pace,
    closed: AtomicBool,
}

struct File {
    path: PathBuf,
    /// Which file that was when it was opened.
    identity: disk::Identity,
    is_read_only: bool,
    /// Whether it has a write-ahead log.
    has_log: AtomicBool,
    /// Whether the first write has seen to that.
    is_settled: AtomicBool,
    /// The pages in the log after the last commit here.
    log_pages: Arc<AtomicU32>,
}

impl Database {
    pub(super) fn open_file(path: &Path, config: &Config) -> Result<Self> {
        let is_read_only = look_at(path)?;
        let deadline = config.deadline();
        let log_pages = Arc::new(AtomicU32::new(0));
        let mut link = Link::open(path, is_read_only)?;
        let counted = Arc::clone(&log_pages);
        link.db
            .wal_hook(Some(move |_: &mut _, pages| {
                counted.store(u32::try_from(pages).unwrap_or_default(), Ordering::Relaxed);
                Ok(())
            }))
            .map_err(Failure::from)?;
        let (table, has_log) = link.waiting(deadline, |db| -> Attempt<_> {
            let found = Table::find(db, &config.table)?;
            let table = match found {
                Some(table) => table,
                None if is_read_only => return Err(no_table().into()),
                None => {
                    enter_log(db, deadline);
                    Table::make(db, &config.table)?
                }
            };
            let mode: String = db.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
            let has_log = mode == "wal";
            settle(db, has_log, config.durability)?;
            Ok((table, has_log))
        })?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut readers: Vec<Slot> = Vec::new();
        readers.resize_with(cores.min(MOST_READERS), Slot::default);
        let database = Self {
            file: Some(File {
                path: path.to_owned(),
                identity: disk::identity_at(path),
                is_read_only,
                has_log: AtomicBool::new(has_log),
                is_settled: AtomicBool::new(has_log || is_read_only),
                log_pages,
            }),
            readers: readers.into(),
            is_persistent: true,
            ..Self::new(Arc::new(Mutex::new(Some(link))), &table, config)
        };
        // So that the first read does not have to.
        drop(database.open_reader(&database.readers[0])?);
        Ok(database)
    }

    pub(super) fn open_in_memory(config: &Config) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_in_memory_with_flags(flags).map_err(Failure::from)?;
        Self::open_given(&Arc::new(Mutex::new(Some(Link::new(db)?))), config)
    }

    /// Of the connection in `slot`, which is left as it is if that fails.
    pub(super) fn open_given(slot: &Arc<Slot>, config: &Config) -> Result<Self> {
        let guard = lock(slot);
        let link = guard.as_ref().ok_or_else(Error::closed)?;
        if !link.db.is_autocommit() {
            return Err(crate::address::invalid(
                "the connection is in a transaction: end it first",
            ));
        }
        let table = link.waiting(config.deadline(), |db| {
            match Table::find(db, &config.table)? {
                Some(table) => Ok(table),
                None => Table::make(db, &config.table),
            }
        })?;
        let is_persistent = link.db.path().is_some_and(|path| !path.is_empty());
        Ok(Self {
            is_persistent,
            ..Self::new(Arc::clone(slot), &table, config)
        })
    }

    fn new(writer: Arc<Slot>, table: &Table, config: &Config) -> Self {
        Self {
            sql: Sql::new(&config.table, table),
            has_expiry_index: table.has_expiry_index,
            is_persistent: false,
            timeout: config.timeout,
            durability: config.durability,
            file: None,
            writer,
            readers: Box::default(),
            reading: Pace::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// When an operation that begins now has waited long enough.
    pub(super) fn deadline(&self) -> Instant {
        deadline(self.timeout)
    }

    /// Fails if the file is no longer the one that was opened: what is written into one that
    /// was removed or replaced would be lost.
    pub(super) fn check_in_place(&self) -> Result<()> {
        match &self.file {
            Some(file) if disk::identity_at(&file.path) != file.identity => Err(Error::new(
                ErrorKind::Unreachable,
                "the database's file was removed or replaced while it was open: open the \
                 store again",
            )
            .with_path(&file.path)),
            _ => Ok(()),
        }
    }

    /// Reads on the calling thread, or gives `None` if that might have to wait.
    pub(super) fn read_now<T>(
        &self,
        read: impl FnOnce(&Connection, &Sql) -> Attempt<T>,
    ) -> Option<Result<T>> {
        let begun = Instant::now();
        if !self.reading.is_quick(begun) {
            return None;
        }
        let slots = self.read_slots();
        let first = slot_of_this_thread();
        let guard = (0..slots.len())
            .filter_map(|at| slots[(first + at) % slots.len()].try_lock().ok())
            .find(|guard| guard.is_some())?;
        let done = read(&guard.as_ref()?.db, &self.sql);
        drop(guard);
        self.reading.note(begun);
        match done {
            Err(failure) if failure.is_busy() => None,
            done => Some(done.map_err(Error::from)),
        }
    }

    /// Reads, waiting for whoever is in the way until `deadline`.
    pub(super) fn read<T>(
        &self,
        deadline: Instant,
        read: impl FnOnce(&Connection, &Sql) -> Attempt<T>,
    ) -> Result<T> {
        self.check_in_place()?;
        let slots = self.read_slots();
        let first = slot_of_this_thread();
        let idle = (0..slots.len())
            .filter_map(|at| slots[(first + at) % slots.len()].try_lock().ok())
            .next();
        let guard = match idle {
            Some(guard) => self.open_in(guard)?,
            None => self.open_in(lock(&slots[first % slots.len()]))?,
        };
        let link = guard.as_ref().ok_or_else(Error::closed)?;
        Ok(link.waiting(deadline, |db| read(db, &self.sql))?)
    }

    fn read_slots(&self) -> &[Slot] {
        if self.readers.is_empty() {
            std::slice::from_ref(&*self.writer)
        } else {
            &self.readers
        }
    }

    fn open_reader<'a>(&self, slot: &'a Slot) -> Result<MutexGuard<'a, Option<Link>>> {
        self.open_in(lock(slot))
    }

    /// Opens a reader in its place if that is empty.
    fn open_in<'a>(
        &self,
        mut guard: MutexGuard<'a, Option<Link>>,
    ) -> Result<MutexGuard<'a, Option<Link>>> {
        let Some(file) = self.file.as_ref().filter(|_| guard.is_none()) else {
            return Ok(guard);
        };
        if self.is_closed() {
            return Err(Error::closed());
        }
        let link = Link::open(&file.path, file.is_read_only)?;
        // Not opened read-only: somebody has to finish what a process that was killed
        // left half done, and that may be a reader.
        link.db
            .execute_batch("PRAGMA query_only = ON")
            .map_err(Failure::from)?;
        *guard = Some(link);
        Ok(guard)
    }

    /// The connection that writes.
    pub(super) fn writer(&self) -> MutexGuard<'_, Option<Link>> {
        lock(&self.writer)
    }

    /// The connection that writes, if nobody has it.
    pub(super) fn idle_writer(&self) -> Option<MutexGuard<'_, Option<Link>>> {
        self.writer.try_lock().ok()
    }

    /// Whether a write waits for no disk: then the calling thread can do it.
    pub(super) fn writes_are_quick(&self) -> bool {
        match &self.file {
            Some(file) => {
                self.durability == Durability::Normal && file.has_log.load(Ordering::Relaxed)
            }
            None => !self.is_persistent,
        }
    }

    /// Before the first write: gives an existing database a write-ahead log, so that
    /// its readers need not wait for this writer. Not earlier: one that is only read
    /// stays as it is.
    pub(super) fn settle(&self, link: &Link) {
        let Some(file) = &self.file else { return };
        if file.is_settled.swap(true, Ordering::Relaxed) {
            return;
        }
        let until = deadline(WAIT_FOR_LOG.min(self.timeout));
        let has_log = link.waiting(until, |db| enter_log(db, until));
        file.has_log.store(has_log, Ordering::Relaxed);
        if let Err(failure) = settle(&link.db, has_log, self.durability) {
            tracing::warn!(?failure, "could not settle how writes are synced");
        }
        if !has_log {
            tracing::debug!("the database works without a write-ahead log");
        }
    }

    /// How many pages the write-ahead log has.
    pub(super) fn log_pages(&self) -> u32 {
        let pages = self.file.as_ref().map(|file| &file.log_pages);
        pages.map_or(0, |pages| pages.load(Ordering::Relaxed))
    }

    /// The next commit will say how many there are again.
    pub(super) fn forget_log_pages(&self) {
        if let Some(file) = &self.file {
            file.log_pages.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes all connections, the one that writes last: it empties the log and removes it.
    pub(super) fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        for reader in &self.readers {
            drop(lock(reader).take());
        }
        let Some(link) = self.writer().take() else {
            return Ok(());
        };
        let closed = link.close(self.deadline());
        closed.map_err(|error| Failure::from(error).into())
    }
}

impl Config {
    fn deadline(&self) -> Instant {
        deadline(self.timeout)
    }
}

fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    // So far ahead that it is never.
    let never = Duration::from_secs(1 << 30);
    now.checked_add(timeout).unwrap_or(now + never)
}

/// Locks it, and ends what a panic may have left open in it.
fn lock(slot: &Slot) -> MutexGuard<'_, Option<Link>> {
    slot.lock().unwrap_or_else(|poisoned| {
        slot.clear_poison();
        let guard = poisoned.into_inner();
        if let Some(link) = guard.as_ref().filter(|link| !link.db.is_autocommit()) {
            let _ = link.db.execute_batch("ROLLBACK");
        }
        guard
    })
}

/// Threads begin their search for an idle connection at different ones.
fn slot_of_this_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SLOT: usize = THREADS.fetch_add(1, Ordering::Relaxed);
    }
    SLOT.with(|slot| *slot)
}

/// Gives the database a write-ahead log and says whether it has one now.
fn enter_log(db: &Connection, deadline: Instant) -> bool {
    loop {
        let mode: rusqlite::Result<String> =
            db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        match mode.map_err(Failure::from) {
            Ok(mode) => return mode == "wal",
            // SQLite does not always ask the busy handler here.
            Err(failure) if failure.is_busy() && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(_) => return false,
        }
    }
}

/// What a commit waits for, and how the log is kept short.
fn settle(db: &Connection, has_log: bool, durability: Durability) -> Attempt<()> {
    // Without the log NORMAL could damage the file when the power fails.
    let synchronous = match durability {
        Durability::Normal if has_log => "NORMAL",
        _ => "FULL",
    };
    db.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous}; PRAGMA journal_size_limit = {LOG_BYTES_KEPT}"
    ))?;
    Ok(())
}

fn no_table() -> Error {
    Error::new(
        ErrorKind::ReadOnly,
        "the database is read-only and has no such table yet",
    )
}
