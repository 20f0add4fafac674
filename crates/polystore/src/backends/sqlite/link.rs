//! One connection: how it is opened, and how long it waits for others.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::failure::Failure;
use crate::error::{Error, ErrorKind, Result};

/// More than there are statements.
const STATEMENTS: usize = 32;

/// A connection, and until when it waits for others that hold the database.
pub(super) struct Link {
    pub(super) db: Connection,
    /// `None`: not at all.
    patience: Arc<Mutex<Option<Instant>>>,
}

impl Link {
    pub(super) fn new(mut db: Connection) -> Result<Self> {
        let patience = Arc::new(Mutex::new(None));
        let asked = Arc::clone(&patience);
        db.busy_handler(Some(move |times: i32| {
            let until = *asked.lock().unwrap_or_else(PoisonError::into_inner);
            let left = until.map_or(Duration::ZERO, |until: Instant| {
                until.saturating_duration_since(Instant::now())
            });
            let pause = Duration::from_millis(1 << times.clamp(0, 4));
            thread::sleep(pause.min(left));
            !left.is_zero()
        }))
        .map_err(Failure::from)?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Self { db, patience })
    }

    pub(super) fn open(path: &Path, is_read_only: bool) -> Result<Self> {
        // One user at a time is what the slot's lock is for.
        let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags |= if is_read_only {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        } else {
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
        };
        let db = Connection::open_with_flags(path, flags).map_err(|error| {
            let failure = Failure::from(error);
            match why_not_opened(path) {
                Some(reason) if failure.code() == Some(rusqlite::ErrorCode::CannotOpen) => {
                    Error::from_io("open the database", reason)
                }
                _ => failure.into(),
            }
        })?;
        Self::new(db)
    }

    /// Does `work`, which may wait for others until `deadline`.
    pub(super) fn waiting<T>(&self, deadline: Instant, work: impl FnOnce(&Connection) -> T) -> T {
        struct Impatient<'a>(&'a Link);
        impl Drop for Impatient<'_> {
            fn drop(&mut self) {
                self.0.set_patience(None);
            }
        }
        self.set_patience(Some(deadline));
        let _after = Impatient(self);
        work(&self.db)
    }

    /// Closes it for good.
    pub(super) fn close(self, deadline: Instant) -> rusqlite::Result<()> {
        self.set_patience(Some(deadline));
        self.db.close().map_err(|(_, error)| error)
    }

    fn set_patience(&self, until: Option<Instant>) {
        *self.patience.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// What the operating system says, as SQLite only says that it could not. Nothing is
/// opened that could be: closing it would free the locks of other connections.
fn why_not_opened(path: &Path) -> Option<io::Error> {
    let mut how = fs::OpenOptions::new();
    if path.exists() {
        how.read(true);
    } else {
        how.write(true).create_new(true);
    }
    how.open(path).err()
}

/// Whether the file is read-only; makes the folder of one that is not there yet.
pub(super) fn look_at(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(Error::new(
            ErrorKind::Unreachable,
            "the path of the database is that of a folder",
        )),
        // To open a pipe would wait for its other end.
        Ok(found) if !found.is_file() => Err(Error::new(
            ErrorKind::Unreachable,
            "the path of the database is not that of a file",
        )),
        // The superuser could write it all the same.
        Ok(found) => Ok(found.permissions().readonly()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(path);
            fs::create_dir_all(folder)
                .map_err(|error| Error::from_io("make the folder of the database", error))?;
            Ok(false)
        }
        Err(error) => Err(Error::from_io("look at the database's file", error)),
    }
}
