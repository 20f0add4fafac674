//! The thread that writes: what has arrived goes into one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use rusqlite::Connection;

use super::connection::{Database, Link};
use super::failure::{Attempt, Failure};
use super::pace::Pace;
use super::table::Sql;
use super::write::{self, Op};
use crate::entry::{Entry, Timestamp};
use crate::error::{Error, Result};
use crate::gather::Work;

/// How many expired rows are removed at a time, at least.
const SWEEP: usize = 50;

/// How many while there is nothing else to do.
const SWEEP_AT_REST: usize = 500;

/// How long after a sweep the next one is, unless that one left something.
const BETWEEN_SWEEPS: i64 = 1_000;

/// The same for a table without an index on `expires_at`, where each reads all rows.
const BETWEEN_FULL_SWEEPS: i64 = 60_000;

/// The sleep of a thread that waits for something to expire: clocks are put right.
const LONGEST_REST: Duration = Duration::from_secs(600);

/// From how many pages on the log is written back into the database: SQLite's own number.
const LOG_PAGES: u32 = 1_000;

/// From how many on readers have to wait a little, so that it can begin anew.
const TOO_MANY_LOG_PAGES: u32 = 8_000;

/// How long to wait for readers then.
const WAIT_FOR_READERS: Duration = Duration::from_millis(200);

/// What a calling thread writes at most, in bytes.
const SMALL: usize = 16 << 10;

/// Each so manieth write goes through the thread though it need not, to see whether it
/// meets others there.
const PROBE: usize = 100;

/// With so many in a transaction, the thread is quicker than each caller for itself.
const COMPANY: usize = 4;

/// No sweep is due.
const NEVER: i64 = i64::MAX;

pub(super) struct Writer {
    database: Arc<Database>,
    /// Whether anything was written: a store that is only read removes nothing either.
    has_written: AtomicBool,
    /// When to look for expired rows next, in milliseconds since 1970.
    next_sweep: AtomicI64,
    last_sweep: AtomicI64,
    /// The log was emptied: the next write begins it anew, and waits for the disk.
    begins_log: AtomicBool,
    /// From how many pages on readers have to wait.
    too_many_log_pages: AtomicU32,
    /// How many writes shared the transactions of late.
    company: AtomicUsize,
    writes_by_callers: AtomicUsize,
    writing: Pace,
}

pub(super) enum Job {
    Write(Pending),
    /// To look at what is due.
    Nudge,
    Close(Option<oneshot::Sender<Result<()>>>),
}

pub(super) struct Pending {
    pub(super) op: Op,
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Result<u64>>,
}

/// What a caller's own attempt to write came to.
pub(super) enum Now {
    Done(Result<u64>),
    /// And the thread has something to do.
    DoneAndNudge(Result<u64>),
    Later,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            has_written: AtomicBool::new(false),
            next_sweep: AtomicI64::new(0),
            last_sweep: AtomicI64::new(0),
            begins_log: AtomicBool::new(true),
            too_many_log_pages: AtomicU32::new(TOO_MANY_LOG_PAGES),
            company: AtomicUsize::new(0),
            writes_by_callers: AtomicUsize::new(0),
            writing: Pace::default(),
        }
    }

    pub(super) fn set_now(&self, key: &str, entry: &Entry, is_idle: impl FnOnce() -> bool) -> Now {
        if key.len() + entry.json().len() > SMALL {
            return Now::Later;
        }
        let expires = entry.expiry().as_millis();
        self.write_now(expires, is_idle, |db, sql| write::set(db, sql, key, entry))
    }

    /// Writes on the calling thread if nothing would make it wait. `is_idle` says
    /// whether no write waits in the queue, which would have to come first.
    pub(super) fn write_now(
        &self,
        expires: Option<i64>,
        is_idle: impl FnOnce() -> bool,
        write: impl FnOnce(&Connection, &Sql) -> Attempt<u64>,
    ) -> Now {
        if !self.database.writes_are_quick()
            || self.begins_log.load(Ordering::Relaxed)
            || self.company.load(Ordering::Relaxed) >= COMPANY
        {
            return Now::Later;
        }
        let begun = Instant::now();
        if !self.writing.is_quick(begun) {
            return Now::Later;
        }
        let Some(guard) = self.database.idle_writer() else {
            return Now::Later;
        };
        // In this order: what arrives from now on finds the connection taken.
        if !is_idle() {
            return Now::Later;
        }
        if self.writes_by_callers.fetch_add(1, Ordering::Relaxed) % PROBE == PROBE - 1 {
            return Now::Later;
        }
        let Some(link) = guard.as_ref() else {
            return Now::Done(Err(Error::closed()));
        };
        let done = write(&link.db, &self.database.sql);
        drop(guard);
        self.writing.note(begun);
        if done.as_ref().is_err_and(Failure::is_busy) {
            return Now::Later;
        }
        let done = done.map_err(Error::from);
        let sooner = self.note_expiry(expires);
        if sooner || self.database.log_pages() >= LOG_PAGES {
            return Now::DoneAndNudge(done);
        }
        Now::Done(done)
    }

    /// Whether something expires before the thread would look.
    fn note_expiry(&self, expires: Option<i64>) -> bool {
        // Other processes write too: a look a minute later is due in any case.
        let later = Timestamp::now().as_millis() + BETWEEN_FULL_SWEEPS;
        let soon = self.last_sweep.load(Ordering::Relaxed) + BETWEEN_SWEEPS;
        let expires = expires.unwrap_or(NEVER).max(soon).min(later);
        let before = self.next_sweep.fetch_min(expires, Ordering::Relaxed);
        let is_first = !self.has_written.load(Ordering::Relaxed)
            && !self.has_written.swap(true, Ordering::Relaxed);
        is_first || expires < before
    }

    /// Does the writes in one transaction, and answers them.
    fn write(&self, mut pending: Vec<Pending>) {
        let guard = self.database.writer();
        let Some(link) = guard.as_ref() else {
            return answer_all(pending, &Error::closed());
        };
        self.database.settle(link);
        let outcomes = loop {
            let Some(deadline) = pending.iter().map(|write| write.deadline).min() else {
                return;
            };
            match link.waiting(deadline, |db| self.attempt(db, &pending)) {
                Ok(outcomes) => break outcomes,
                Err(failure) if failure.is_busy() => {
                    // Some have waited long enough, others not yet.
                    let error = Error::from(failure);
                    let now = Instant::now();
                    let (late, left) = pending
                        .into_iter()
                        .partition(|write| write.deadline <= now.max(deadline));
                    answer_all(late, &error);
                    pending = left;
                }
                Err(failure) => return answer_all(pending, &failure.of_commit()),
            }
        };
        self.begins_log.store(false, Ordering::Relaxed);
        for write in &pending {
            self.note_expiry(write.op.first_expiry());
        }
        for (write, outcome) in pending.into_iter().zip(outcomes) {
            let _ = write.answer.send(outcome);
        }
        self.checkpoint(link);
    }

    /// One transaction. What fails alone is an outcome; what fails as a whole, a failure.
    fn attempt(&self, db: &Connection, pending: &[Pending]) -> Attempt<Vec<Result<u64>>> {
        let sql = &self.database.sql;
        let rows: usize = pending.iter().map(|write| write.op.rows()).sum();
        let sweeps = self.is_sweep_due() && self.database.has_expiry_index;
        if let ([write], false) = (pending, sweeps)
            && !write.op.has_parts()
        {
            // It is a transaction of its own.
            let done = write.op.apply(db, sql);
            return match done {
                Err(failure) if failure.is_busy() => Err(failure),
                done => Ok(vec![done.map_err(Failure::of_commit)]),
            };
        }
        let transaction = Transaction::begin(db)?;
        let mut outcomes = Vec::with_capacity(pending.len());
        for write in pending {
            let done = if write.op.has_parts() {
                apply_whole(db, sql, &write.op)
            } else {
                write.op.apply(db, sql)
            };
            if let Err(failure) = done {
                if db.is_autocommit() {
                    // A full disk, for one, undoes the whole transaction.
                    return Err(failure);
                }
                outcomes.push(Err(failure.into()));
            } else {
                outcomes.push(done.map_err(Error::from));
            }
        }
        if sweeps && let Err(failure) = self.sweep(db, SWEEP.max(2 * rows)) {
            if db.is_autocommit() {
                return Err(failure);
            }
            tracing::warn!(?failure, "could not remove expired rows");
        }
        transaction.commit()?;
        Ok(outcomes)
    }

    fn is_sweep_due(&self) -> bool {
        self.next_sweep.load(Ordering::Relaxed) <= Timestamp::now().as_millis()
    }

    /// Removes up to `most` expired rows, and finds out when to do so next.
    fn sweep(&self, db: &Connection, most: usize) -> Attempt<()> {
        let sql = &self.database.sql;
        let now = Timestamp::now();
        let millis = now.as_millis();
        let gone = Op::Sweep(most, now).apply(db, sql)?;
        let next = if gone >= most as u64 {
            millis
        } else if self.database.has_expiry_index {
            let mut first = db.prepare_cached(&sql.first_expiry)?;
            // A fraction is cut off, which is early enough.
            let first: Option<f64> = first.query_row([], |row| row.get(0))?;
            first.map_or(NEVER, |first| {
                let first = Timestamp::from_fractional_millis(first).as_millis();
                first.max(millis + BETWEEN_SWEEPS)
            })
        } else {
            millis + BETWEEN_FULL_SWEEPS
        };
        self.last_sweep.store(millis, Ordering::Relaxed);
        self.next_sweep.store(next, Ordering::Relaxed);
        Ok(())
    }

    /// Writes the log back into the database when it has become long. Not on the threads
    /// of callers, as SQLite would: this waits for the disk.
    fn checkpoint(&self, link: &Link) {
        let pages = self.database.log_pages();
        if pages < LOG_PAGES {
            return;
        }
        self.database.forget_log_pages();
        self.begins_log.store(true, Ordering::Relaxed);
        // Passive waits for nobody. But the log only begins anew when no reader is in
        // it, and a store that is read all the time has one there at any moment.
        let too_many = self.too_many_log_pages.load(Ordering::Relaxed);
        let done = if pages < too_many {
            checkpoint(&link.db, "PASSIVE").map(drop)
        } else {
            let deadline = Instant::now() + WAIT_FOR_READERS;
            link.waiting(deadline, |db| checkpoint(db, "RESTART"))
                .map(|is_blocked| {
                    // A reader that stays is not waited for again and again.
                    let next = if is_blocked {
                        2 * pages
                    } else {
                        TOO_MANY_LOG_PAGES
                    };
                    self.too_many_log_pages.store(next, Ordering::Relaxed);
                })
        };
        if let Err(failure) = done {
            tracing::debug!(?failure, "could not shorten the write-ahead log");
        }
    }
}

impl Work for Writer {
    type Job = Job;
    const THREADS: usize = 1;
    const BATCH: usize = 1000;

    fn work(&self, jobs: Vec<Job>) {
        let mut pending = Vec::with_capacity(jobs.len());
        let mut closing = None;
        for job in jobs {
            match job {
                Job::Write(write) => pending.push(write),
                Job::Nudge => {}
                Job::Close(answer) => closing = Some(answer),
            }
        }
        if pending.is_empty() {
            if let Some(link) = self.database.writer().as_ref() {
                self.checkpoint(link);
            }
        } else {
            // Sinks slowly, so that a small transaction between large ones is no sign.
            let before = self.company.load(Ordering::Relaxed);
            let company = pending.len().max(before * 7 / 8);
            self.company.store(company, Ordering::Relaxed);
            self.write(pending);
        }
        if let Some(answer) = closing {
            let closed = self.database.close();
            if let Some(answer) = answer {
                let _ = answer.send(closed);
            }
        }
    }

    fn rest(&self) -> Option<Duration> {
        if !self.has_written.load(Ordering::Relaxed) {
            return None;
        }
        if self.is_sweep_due() {
            let guard = self.database.writer();
            let link = guard.as_ref()?;
            if let Err(failure) = self.sweep(&link.db, SWEEP_AT_REST) {
                let is_busy = failure.is_busy();
                tracing::debug!(?failure, "could not remove expired rows");
                let pause = if is_busy {
                    BETWEEN_SWEEPS
                } else {
                    BETWEEN_FULL_SWEEPS
                };
                let next = Timestamp::now().as_millis() + pause;
                self.next_sweep.store(next, Ordering::Relaxed);
            }
            self.checkpoint(link);
        }
        match self.next_sweep.load(Ordering::Relaxed) {
            NEVER => None,
            next => Some(
                Timestamp::from_millis(next)
                    .duration_from_now()
                    .min(LONGEST_REST),
            ),
        }
    }
}

fn answer_all(pending: Vec<Pending>, error: &Error) {
    for write in pending {
        let _ = write.answer.send(Err(error.clone()));
    }
}

/// Whether somebody was in the way.
fn checkpoint(db: &Connection, mode: &str) -> Attempt<bool> {
    let mut checkpoint = db.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    Ok(checkpoint.query_row([], |row| row.get(0))?)
}

/// A transaction that writes, undone unless it is committed: by a panic, too.
struct Transaction<'a> {
    db: &'a Connection,
}

impl<'a> Transaction<'a> {
    fn begin(db: &'a Connection) -> Attempt<Self> {
        db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self { db })
    }

    fn commit(self) -> Attempt<()> {
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
fn apply_whole(db: &Connection, sql: &Sql, op: &Op) -> Attempt<u64> {
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
