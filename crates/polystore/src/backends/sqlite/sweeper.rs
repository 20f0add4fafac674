//! When expired rows are looked for, and how they are removed.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::failure::Attempt;
use super::table::Sql;
use super::write::Op;
use crate::entry::Timestamp;

/// How long after a sweep the next one is, unless that one left something.
const BETWEEN_SWEEPS: i64 = 1_000;

/// The same for a table without an index on `expires_at`, where each reads all rows. So
/// long after a write another one is due in any case: other processes write too.
const BETWEEN_FULL_SWEEPS: i64 = 60_000;

/// The sleep of a thread that waits for something to expire: clocks are put right.
const LONGEST_REST: Duration = Duration::from_secs(600);

/// No sweep is due.
const NEVER: i64 = i64::MAX;

/// Instants are in milliseconds since 1970.
pub(super) struct Sweeper {
    has_index: bool,
    /// Whether anything was written: a store that is only read removes nothing either.
    has_written: AtomicBool,
    next: AtomicI64,
    last: AtomicI64,
}

impl Sweeper {
    /// `has_index`: whether what expires first is found without reading everything.
    pub(super) fn new(has_index: bool) -> Self {
        Self {
            has_index,
            has_written: AtomicBool::new(false),
            // What expired before this store was opened.
            next: AtomicI64::new(0),
            last: AtomicI64::new(0),
        }
    }

    /// Hears of a write, and whether what it put expires before anybody would look.
    pub(super) fn note_write(&self, first_expiry: Option<i64>) -> bool {
        let soon = self.last.load(Ordering::Relaxed) + BETWEEN_SWEEPS;
        let later = Timestamp::now().as_millis() + BETWEEN_FULL_SWEEPS;
        let due = first_expiry.unwrap_or(NEVER).max(soon).min(later);
        let before = self.next.fetch_min(due, Ordering::Relaxed);
        let is_first = !self.has_written.load(Ordering::Relaxed)
            && !self.has_written.swap(true, Ordering::Relaxed);
        is_first || due < before
    }

    /// Whether to look for expired rows now, beside the writes.
    pub(super) fn is_due_beside_writes(&self) -> bool {
        self.has_index && self.is_due()
    }

    /// Whether to look for them now, as there is nothing else to do.
    pub(super) fn is_due_at_rest(&self) -> bool {
        self.has_written.load(Ordering::Relaxed) && self.is_due()
    }

    fn is_due(&self) -> bool {
        self.next.load(Ordering::Relaxed) <= Timestamp::now().as_millis()
    }

    /// How long until it will be, if ever.
    pub(super) fn rest(&self) -> Option<Duration> {
        match self.next.load(Ordering::Relaxed) {
            _ if !self.has_written.load(Ordering::Relaxed) => None,
            NEVER => None,
            next => {
                let left = Timestamp::from_millis(next).duration_from_now();
                Some(left.min(LONGEST_REST))
            }
        }
    }

    /// Removes up to `most` expired rows, and finds out when to do so next.
    pub(super) fn sweep(&self, db: &Connection, sql: &Sql, most: usize) -> Attempt<()> {
        let now = Timestamp::now();
        let next = self.sweep_and_look(db, sql, most, now);
        let later = now.as_millis() + BETWEEN_FULL_SWEEPS;
        let at = match &next {
            Ok(next) => *next,
            Err(failure) if failure.is_busy() => now.as_millis() + BETWEEN_SWEEPS,
            Err(_) => later,
        };
        self.last.store(now.as_millis(), Ordering::Relaxed);
        self.next.store(at, Ordering::Relaxed);
        next.map(drop)
    }

    fn sweep_and_look(
        &self,
        db: &Connection,
        sql: &Sql,
        most: usize,
        now: Timestamp,
    ) -> Attempt<i64> {
        let gone = Op::Sweep(most, now).apply(db, sql)?;
        if gone >= most as u64 {
            return Ok(now.as_millis());
        }
        if !self.has_index {
            return Ok(now.as_millis() + BETWEEN_FULL_SWEEPS);
        }
        let mut first = db.prepare_cached(&sql.first_expiry)?;
        let mut first = first.query([])?;
        let first = match first.next()?.map(|row| row.get_ref(0)).transpose()? {
            Some(ValueRef::Integer(millis)) => millis,
            Some(ValueRef::Real(millis)) => Timestamp::from_fractional_millis(millis).as_millis(),
            _ => return Ok(NEVER),
        };
        Ok(first.max(now.as_millis() + BETWEEN_SWEEPS))
    }
}
