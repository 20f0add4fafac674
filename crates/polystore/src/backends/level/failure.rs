//! What rusty-leveldb and the disk under it say when they fail, in this crate's words: the
//! one place for it.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rusty_leveldb::{Status, StatusCode};

use super::checksums::Damage;
use crate::error::{Error, ErrorKind};

/// The first thing that went wrong on the disk since somebody asked. rusty-leveldb goes on
/// after some failures as if nothing had been there; so once there is one, nothing more is
/// written, and what was read does not count.
#[derive(Debug, Default)]
pub(super) struct Faults {
    is_any: AtomicBool,
    first: Mutex<Option<Error>>,
}

impl Faults {
    pub(super) fn note(&self, error: Error) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
        self.is_any.store(true, Ordering::Release);
    }

    pub(super) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Acquire)
    }

    pub(super) fn take(&self) -> Option<Error> {
        if !self.is_any.swap(false, Ordering::AcqRel) {
            return None;
        }
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.take()
    }

    /// `Ok`, unless there was a fault; then that.
    pub(super) fn or<T>(&self, done: T) -> Result<T, Error> {
        self.take().map_or(Ok(done), Err)
    }

    /// What the failure `status` came of.
    pub(super) fn explain(&self, status: &Status) -> Error {
        self.take().unwrap_or_else(|| explain(status))
    }
}

/// Without the status as its source: some of them print parts of keys.
fn explain(status: &Status) -> Error {
    match status.code {
        StatusCode::PermissionDenied => {
            Error::new(ErrorKind::Denied, "the database may not be used")
        }
        StatusCode::Corruption
        | StatusCode::CompressionError
        | StatusCode::InvalidData
        | StatusCode::InvalidArgument
        | StatusCode::NotFound
        | StatusCode::NotSupported => Error::new(
            ErrorKind::Corrupt,
            "the database is damaged: files are missing, or not what they were",
        ),
        _ => Error::new(ErrorKind::Unreachable, "the database failed"),
    }
}

pub(super) fn of_file(what: &str, path: &Path, error: io::Error) -> Error {
    Error::from_io(what, error).with_path(path)
}

pub(super) fn of_damage(path: &Path, damage: Damage) -> Error {
    let message = match damage {
        Damage::Checksum => "a part of the table is damaged".to_owned(),
        Damage::Footer => "the table is cut short or damaged".to_owned(),
        Damage::Compression(way) => {
            format!("the table is compressed in a way (number {way}) that is not Snappy")
        }
    };
    Error::new(ErrorKind::Corrupt, message).with_path(path)
}

pub(super) fn damaged_log(path: &Path) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "the log is damaged, and not only at its end: opening it would lose what follows",
    )
    .with_path(path)
}
