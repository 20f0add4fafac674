//! The thread that writes: what has arrived goes into one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use rusqlite::{Connection, ErrorCode};

use super::connection::Database;
use super::failure::{Attempt, Failure};
use super::link::Link;
use super::pace::Pace;
use super::sweeper::Sweeper;
use super::table::Sql;
use super::write::{self, Op, Transaction, apply_whole};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::gather::Work;

/// How many expired rows are removed at a time, at least.
const SWEEP: usize = 50;

/// How many while there is nothing else to do.
const SWEEP_AT_REST: usize = 500;

/// From how many pages on the log is written back into the database: SQLite's own number.
const LOG_PAGES: u32 = 1_000;

/// From how many on readers have to wait a little, so that it can begin anew.
const TOO_MANY_LOG_PAGES: u32 = 8_000;

/// How long to wait for readers then.
const WAIT_FOR_READERS: Duration = Duration::from_millis(200);

/// After so many writes by callers one goes through the thread though it need not, to see
/// whether it meets others there. While it meets none, the next such trial is twice as
/// far away, up to the second number.
const TRIAL: usize = 100;
const RAREST_TRIAL: usize = 3_200;

/// With so many in a transaction, the thread is quicker than each caller for itself.
const COMPANY: usize = 4;

pub(super) struct Writer {
    database: Arc<Database>,
    sweeper: Sweeper,
    /// The log was emptied: the next write begins it anew, and waits for the disk.
    begins_log: AtomicBool,
    /// From how many pages on readers have to wait.
    too_many_log_pages: AtomicU32,
    /// How many writes shared the transactions of late.
    company: AtomicUsize,
    /// The writes by callers between trials, and those left until the next.
    between_trials: AtomicUsize,
    until_trial: AtomicUsize,
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
            sweeper: Sweeper::new(database.has_expiry_index),
            database,
            begins_log: AtomicBool::new(true),
            too_many_log_pages: AtomicU32::new(TOO_MANY_LOG_PAGES),
            company: AtomicUsize::new(0),
            between_trials: AtomicUsize::new(TRIAL),
            until_trial: AtomicUsize::new(TRIAL),
            writing: Pace::default(),
        }
    }

    pub(super) fn set_now(&self, key: &str, entry: &Entry, is_idle: impl FnOnce() -> bool) -> Now {
        if !write::is_small(key, entry) {
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
        if self.is_time_for_a_trial() {
            return Now::Later;
        }
        let Some(link) = guard.as_ref() else {
            return Now::Done(Err(Error::closed()));
        };
        if self.database.check_in_place().is_err() {
            return Now::Later;
        }
        let done = write(&link.db, &self.database.sql);
        drop(guard);
        self.writing.note(begun);
        if done.as_ref().is_err_and(Failure::is_busy) {
            return Now::Later;
        }
        let done = done.map_err(Failure::of_commit);
        let sooner = self.sweeper.note_write(expires);
        if sooner || self.database.log_pages() >= LOG_PAGES {
            return Now::DoneAndNudge(done);
        }
        Now::Done(done)
    }

    /// The caller holds the connection, so nobody else counts.
    fn is_time_for_a_trial(&self) -> bool {
        let left = self.until_trial.load(Ordering::Relaxed);
        let next = left.checked_sub(1);
        let next = next.unwrap_or_else(|| {
            let between = self.between_trials.load(Ordering::Relaxed);
            let between = (2 * between).min(RAREST_TRIAL);
            self.between_trials.store(between, Ordering::Relaxed);
            between
        });
        self.until_trial.store(next, Ordering::Relaxed);
        left == 0
    }

    /// Does the writes in one transaction, and answers them.
    fn write(&self, mut pending: Vec<Pending>) {
        let guard = self.database.writer();
        let Some(link) = guard.as_ref() else {
            return answer_all(pending, &Error::closed());
        };
        if let Err(error) = self.database.check_in_place() {
            return answer_all(pending, &error);
        }
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
                // Perhaps only one of them is too large: the others may fit without it.
                Err(failure)
                    if failure.code() == Some(ErrorCode::DiskFull) && pending.len() > 1 =>
                {
                    break link.waiting(deadline, |db| self.attempt_each(db, &pending));
                }
                Err(failure) => return answer_all(pending, &failure.of_commit()),
            }
        };
        self.begins_log.store(false, Ordering::Relaxed);
        for write in &pending {
            self.sweeper.note_write(write.op.first_expiry());
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
        let sweeps = self.sweeper.is_due_beside_writes();
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
        if sweeps && let Err(failure) = self.sweeper.sweep(db, sql, SWEEP.max(2 * rows)) {
            if db.is_autocommit() {
                return Err(failure);
            }
            tracing::warn!(?failure, "could not remove expired rows");
        }
        transaction.commit()?;
        Ok(outcomes)
    }

    /// Each in a transaction of its own.
    fn attempt_each(&self, db: &Connection, pending: &[Pending]) -> Vec<Result<u64>> {
        let alone = pending.chunks(1).map(|write| self.attempt(db, write));
        alone
            .flat_map(|done| done.unwrap_or_else(|failure| vec![Err(failure.of_commit())]))
            .collect()
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
        let mut closing = Vec::new();
        for job in jobs {
            match job {
                Job::Write(write) => pending.push(write),
                Job::Nudge => {}
                Job::Close(answer) => closing.push(answer),
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
            if company >= COMPANY {
                self.between_trials.store(TRIAL, Ordering::Relaxed);
                self.until_trial.store(TRIAL, Ordering::Relaxed);
            }
            self.write(pending);
        }
        if !closing.is_empty() {
            let closed = self.database.close();
            for answer in closing.into_iter().flatten() {
                let _ = answer.send(closed.clone());
            }
        }
    }

    fn rest(&self) -> Option<Duration> {
        if self.sweeper.is_due_at_rest() {
            let guard = self.database.writer();
            let link = guard.as_ref()?;
            let swept = self
                .sweeper
                .sweep(&link.db, &self.database.sql, SWEEP_AT_REST);
            if let Err(failure) = swept {
                tracing::debug!(?failure, "could not remove expired rows");
            }
            self.checkpoint(link);
        }
        self.sweeper.rest()
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
