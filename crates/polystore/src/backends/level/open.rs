//! Which folders this process has open. Stores of the same folder share one database: LevelDB
//! lets in one program at a time, and one database of that.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::folder;
use super::worker::{Job, Worker};
use crate::disk::Identity;
use crate::error::Result;
use crate::gather::Crew;

/// The folder by its identity, so that a symbolic link to it is the same, or by its path where
/// there is none.
type Id = (Identity, Option<PathBuf>);

static OPEN: LazyLock<Mutex<HashMap<Id, Opened>>> = LazyLock::new(Mutex::default);
static SERIAL: AtomicU64 = AtomicU64::new(0);

struct Opened {
    /// Whether it still is the one that was meant.
    serial: u64,
    crew: Arc<Crew<Worker>>,
    users: usize,
}

fn all() -> MutexGuard<'static, HashMap<Id, Opened>> {
    // Nothing panics that leaves it in disorder.
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a database is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    id: Id,
    serial: u64,
    pub(super) folder: PathBuf,
}

impl Place {
    /// Closes the database if no store uses it any more; none begins to meanwhile.
    pub(super) fn if_unused(&self, close: impl FnOnce()) {
        let mut all = all();
        let opened = all.get(&self.id);
        if opened.is_some_and(|opened| opened.serial == self.serial && opened.users == 0) {
            close();
            all.remove(&self.id);
        }
    }
}

/// A store's part in the database of a folder.
pub(super) struct User {
    pub(super) crew: Arc<Crew<Worker>>,
    id: Id,
    has_left: AtomicBool,
}

impl User {
    /// Makes the folder if it is not there. The database is not opened yet.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let (folder, identity) = folder::find(path)?;
        let id = match identity {
            Some(_) => (identity, None),
            None => (None, Some(folder.clone())),
        };
        let mut all = all();
        let opened = all.entry(id.clone()).or_insert_with(|| {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let place = Place {
                id: id.clone(),
                serial,
                folder,
            };
            let worker = Arc::new(Worker::new(place));
            Opened {
                serial,
                crew: Arc::new(Crew::new("polystore-level", worker)),
                users: 0,
            }
        });
        opened.users += 1;
        Ok(Self {
            crew: Arc::clone(&opened.crew),
            id,
            has_left: AtomicBool::new(false),
        })
    }

    pub(super) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Acquire)
    }

    /// Counts it no more. Afterwards the database is to be told to close.
    fn leave(&self) {
        if !self.has_left.swap(true, Ordering::AcqRel)
            && let Some(opened) = all().get_mut(&self.id)
        {
            opened.users -= 1;
        }
    }

    /// Ends it, and closes the database with the last.
    pub(super) async fn close(&self) -> Result<()> {
        self.leave();
        self.crew.ask(|answer| Job::Close(Some(answer))).await
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if !self.has_left() {
            self.leave();
            // On its thread, because that waits for the disk.
            self.crew.send(Job::Close(None));
        }
    }
}
