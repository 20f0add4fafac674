//! A database's folder: found or made, locked against other programs, and whether it still
//! is in its place.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::address::Durability;
use crate::disk::{self, Identity};
use crate::error::{Error, ErrorKind, Result};

const LOCK: &str = "LOCK";

/// How long to wait, at most, before the next try to lock it.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Makes the folder if it is not there, and gives what tells it from any other.
pub(super) fn find(folder: &Path) -> Result<(PathBuf, Identity)> {
    disk::create_folders(folder, Durability::Full).map_err(|error| error.with_path(folder))?;
    let found = || {
        let path = folder.canonicalize()?;
        let metadata = fs::metadata(&path)?;
        if !metadata.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok((path, disk::identity(&metadata)))
    };
    found().map_err(|error| Error::from_io("find the folder", error).with_path(folder))
}

/// LevelDB's own lock: all of the file `LOCK`, by POSIX's `fcntl`.
///
/// That is the process's, and gone as soon as it closes the file, however often it has
/// it open: so a folder is open only once in a process.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    identity: Identity,
    _file: File,
}

impl Lock {
    /// Waits for it until `deadline`.
    pub(super) fn take(folder: &Path, deadline: Instant) -> Result<Self> {
        let path = folder.join(LOCK);
        let mut pause = Duration::from_millis(1);
        loop {
            let locked = Self::try_take(&path)
                .map_err(|error| Error::from_io("lock the folder", error).with_path(folder))?;
            if let Some(lock) = locked {
                return Ok(lock);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    "another program has the folder open: LevelDB lets in one at a time",
                )
                .with_path(folder));
            }
            thread::sleep(pause.min(left));
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        if !try_lock(&file)? {
            return Ok(None);
        }
        let identity = disk::identity(&file.metadata()?);
        let lock = Self {
            path: path.to_owned(),
            identity,
            _file: file,
        };
        // Somebody may have removed it meanwhile.
        Ok(lock.is_in_place().then_some(lock))
    }

    fn is_in_place(&self) -> bool {
        self.identity.is_none() || disk::identity_at(&self.path) == self.identity
    }

    /// What is written now would be found by nobody if the folder was removed or replaced.
    pub(super) fn check_in_place(&self) -> Result<()> {
        if self.is_in_place() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unreachable,
            "the folder was removed or replaced while it was open",
        ))
    }
}

#[cfg(unix)]
fn try_lock(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, fcntl_lock};
    use rustix::io::Errno;
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(unix))]
fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Fails if there are data, but not the file that says where they begin: LevelDB would take
/// the folder for a new one, and remove them. Says whether it is new.
pub(super) fn is_new(folder: &Path) -> Result<bool> {
    let listed = || {
        if folder.join("CURRENT").try_exists()? {
            return Ok((false, false));
        }
        let mut has_data = false;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            let numbered = path
                .file_stem()
                .is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
            let ending = path.extension().and_then(|ending| ending.to_str());
            has_data |= numbered
                && matches!(ending, Some("ldb" | "sst" | "log"))
                && entry.metadata()?.len() > 0;
        }
        Ok((true, has_data))
    };
    let (is_new, has_data) = listed()
        .map_err(|error| Error::from_io("look into the folder", error).with_path(folder))?;
    if has_data {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "the folder has tables or logs of a database, but not its file CURRENT",
        )
        .with_path(folder));
    }
    Ok(is_new)
}
