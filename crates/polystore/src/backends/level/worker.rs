//! The thread that has the database: it answers the reads that wait, then writes what waits in
//! one batch, and has expired entries removed when there is time.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use super::database::Database;
use super::folder::Lock;
use super::open::Place;
use super::reader::{self, Doomed, Range};
use super::sweeper::Sweeper;
use super::write::{Gathered, Op};
use crate::entry::{Entry, Timestamp};
use crate::error::{Error, Result};
use crate::gather::Work;
use crate::pages::Page;

pub(super) type Answer<T> = oneshot::Sender<Result<T>>;

pub(super) enum Job {
    /// To open it, if it is not, waiting for other programs until then.
    Open(Instant, Answer<()>),
    Get(String, Answer<Option<Entry>>),
    GetMany(Vec<String>, Answer<Vec<Option<Entry>>>),
    Page(Pages, Answer<Page<Vec<u8>>>),
    Write(Op, Syncs, Answer<u64>),
    Remove(Removal, Answer<Removed>),
    /// To close it, unless another store has it open too.
    Close(Option<Answer<()>>),
}

/// Whether a write waits for the disk.
pub(super) type Syncs = bool;

pub(super) struct Pages {
    pub(super) range: Range,
    pub(super) values: bool,
    pub(super) limit: usize,
}

/// To remove the entries at the beginning of a range.
pub(super) struct Removal {
    pub(super) range: Range,
    /// Only those that have expired by then.
    pub(super) expired_by: Option<Timestamp>,
    pub(super) syncs: Syncs,
}

/// How many went, and where to go on.
pub(super) struct Removed {
    pub(super) entries: u64,
    pub(super) next: Option<Vec<u8>>,
}

pub(super) struct Worker {
    place: Place,
    state: Mutex<State>,
}

pub(super) struct State {
    /// While the folder is open.
    lock: Option<Lock>,
    pub(super) database: Database,
    sweeper: Sweeper,
}

impl Worker {
    pub(super) fn new(place: Place) -> Self {
        let database = Database::new(place.folder.clone());
        let state = State {
            lock: None,
            database,
            sweeper: Sweeper::new(),
        };
        Self {
            place,
            state: Mutex::new(state),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            // Something panicked in there: what it has in memory is worth nothing.
            let mut state = poisoned.into_inner();
            state.database.forget();
            self.state.clear_poison();
            state
        })
    }
}

impl State {
    fn open(&mut self, place: &Place, deadline: Instant) -> Result<()> {
        match &self.lock {
            Some(lock) => lock.check_in_place()?,
            None => {
                self.sweeper = Sweeper::new();
                self.lock = Some(Lock::take(&place.folder, deadline)?);
            }
        }
        self.database.open().map(drop)
    }

    fn close(&mut self) {
        // In this order: nobody else may have it before.
        self.database.close();
        self.lock = None;
    }

    fn check_open(&self) -> Result<()> {
        match &self.lock {
            Some(_) => Ok(()),
            None => Err(Error::closed()),
        }
    }

    fn check_in_place(&self) -> Result<()> {
        match &self.lock {
            Some(lock) => lock.check_in_place(),
            None => Err(Error::closed()),
        }
    }

    /// Answers all of `gets` out of one iterator, in the order of the keys.
    fn get(&mut self, mut gets: Vec<(String, Answer<Option<Entry>>)>) {
        gets.retain(|(_, answer)| !answer.is_canceled());
        if gets.is_empty() {
            return;
        }
        gets.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let keys = gets.iter().map(|(key, _)| &key[..]);
        match self.get_each(keys) {
            Ok(found) => {
                for ((_, answer), found) in gets.into_iter().zip(found) {
                    let _ = answer.send(found);
                }
            }
            Err(error) => {
                for (_, answer) in gets {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }

    fn get_each<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<Result<Option<Entry>>>> {
        self.check_open()?;
        self.database.read(|database, iterator| {
            keys.map(|key| reader::get(database, iterator, key))
                .collect()
        })
    }

    fn get_many(&mut self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        let found = self.get_each(keys.iter().map(|key| &key[..]))?;
        let named = keys.iter().zip(found);
        named
            .map(|(key, found)| found.map_err(|error| error.with_key(key)))
            .collect()
    }

    fn page(&mut self, pages: &Pages) -> Result<Page<Vec<u8>>> {
        self.check_in_place()?;
        self.database.read(|database, iterator| {
            reader::page(database, iterator, &pages.range, pages.values, pages.limit)
        })?
    }

    fn remove(&mut self, removal: &Removal) -> Result<Doomed> {
        self.check_in_place()?;
        let doomed = self.database.read(|database, iterator| {
            reader::doomed(database, iterator, &removal.range, removal.expired_by)
        })??;
        let mut gathered = Gathered::new(false);
        gathered.remove(&doomed.keys, removal.syncs);
        gathered.write_batch(&mut self.database)?;
        Ok(doomed)
    }

    /// Does `writes` in their order, as many as possible together.
    fn write(&mut self, writes: Vec<Job>) {
        let has_conditions = writes
            .iter()
            .any(|job| matches!(job, Job::Write(op, ..) if op.is_conditional()));
        let mut gathered = Gathered::new(has_conditions);
        for job in writes {
            match job {
                Job::Write(op, syncs, answer) => match self.check_in_place() {
                    Ok(()) => {
                        self.sweeper.note_write(op.first_expiry());
                        gathered.add(&mut self.database, op, syncs, answer);
                    }
                    Err(error) => {
                        let _ = answer.send(Err(error));
                    }
                },
                Job::Remove(removal, answer) => {
                    gathered.write(&mut self.database);
                    let removed = self.remove(&removal).map(|doomed| Removed {
                        entries: doomed.keys.len() as u64,
                        next: doomed.next,
                    });
                    let _ = answer.send(removed);
                }
                _ => {}
            }
        }
        gathered.write(&mut self.database);
    }

    /// What is to be done between the batches, and is in nobody's way there.
    fn tidy(&mut self) {
        if let Err(error) = self.database.turn() {
            tracing::warn!(%error, "could not put the log into a table: it is tried again");
        }
        self.sweep();
    }

    fn sweep(&mut self) {
        let Some(range) = self.sweeper.next() else {
            return;
        };
        let begun = Instant::now();
        let removed = self.remove(&Removal {
            range,
            expired_by: Some(Timestamp::now()),
            syncs: false,
        });
        match removed {
            Ok(doomed) => self.sweeper.note_found(&doomed, begun.elapsed()),
            Err(error) => {
                tracing::debug!(%error, "could not remove expired entries");
                self.sweeper.note_failure();
            }
        }
    }
}

impl Work for Worker {
    type Job = Job;
    const THREADS: usize = 1;
    const BATCH: usize = 1000;

    fn work(&self, jobs: Vec<Job>) {
        let mut state = self.state();
        let (mut gets, mut writes, mut closing) = (Vec::new(), Vec::new(), Vec::new());
        for job in jobs {
            match job {
                Job::Get(key, answer) => gets.push((key, answer)),
                Job::GetMany(keys, answer) => {
                    if !answer.is_canceled() {
                        let _ = answer.send(state.get_many(&keys));
                    }
                }
                Job::Page(pages, answer) => {
                    if !answer.is_canceled() {
                        let _ = answer.send(state.page(&pages));
                    }
                }
                Job::Open(deadline, answer) => {
                    let _ = answer.send(state.open(&self.place, deadline));
                }
                Job::Close(answer) => closing.push(answer),
                write => writes.push(write),
            }
        }
        state.get(gets);
        if !writes.is_empty() {
            state.write(writes);
        }
        if !closing.is_empty() {
            self.place.if_unused(|| state.close());
            for answer in closing.into_iter().flatten() {
                let _ = answer.send(Ok(()));
            }
        } else if state.lock.is_some() {
            state.tidy();
        }
    }

    fn rest(&self) -> Option<Duration> {
        let mut state = self.state();
        state.lock.as_ref()?;
        if state.database.wants_compaction() {
            if let Err(error) = state.database.compact() {
                tracing::warn!(%error, "could not compact the tables");
                state.database.close();
            }
            return Some(Duration::ZERO);
        }
        state.sweep();
        state.sweeper.rest()
    }
}
