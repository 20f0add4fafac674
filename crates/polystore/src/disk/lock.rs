//! A lock between processes, waited for in turn and not for ever.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind as Io};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{identity, identity_at};
use crate::error::{Error, ErrorKind, Result};

/// A lock between processes. It is on a file of its own, since the data are replaced under
/// any lock of theirs; the operating system frees it when the process dies.
#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
    taken: Mutex<bool>,
    freed: Condvar,
    waiter: Mutex<Option<Arc<Waiter>>>,
}

/// The lock, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock<'a> {
    of: &'a LockFile,
    file: Option<File>,
}

impl LockFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            taken: Mutex::new(false),
            freed: Condvar::new(),
            waiter: Mutex::new(None),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the lock until `deadline`. Its file is made if it does not exist.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if others hold it all the time.
    pub(crate) fn take(&self, deadline: Instant) -> Result<Lock<'_>> {
        // Threads of this process meet here, and only processes at the file.
        let mut taken = locked(&self.taken);
        while *taken {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(held_too_long());
            }
            let woken = self.freed.wait_timeout(taken, left);
            taken = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        drop(taken);
        let mut lock = Lock {
            of: self,
            file: None,
        };
        loop {
            let file = self.take_file(deadline)?;
            // Somebody may have removed it while we waited; then others lock a new one.
            if is_at(&file, &self.path) {
                lock.file = Some(file);
                return Ok(lock);
            }
        }
    }

    /// Waits for the lock as long as one of `jobs` may, taking out those whose time is over;
    /// `None` if none is left.
    pub(crate) fn take_for<J>(
        &self,
        jobs: &mut Vec<J>,
        deadline: impl Fn(&J) -> Instant,
        mut too_late: impl FnMut(J, Error),
    ) -> Result<Option<Lock<'_>>> {
        loop {
            let Some(first) = jobs.iter().map(&deadline).min() else {
                return Ok(None);
            };
            match self.take(first) {
                Err(error) if error.kind() == ErrorKind::Timeout => {
                    let now = Instant::now();
                    for job in jobs.extract_if(.., |job| deadline(job) <= now) {
                        too_late(job, error.clone());
                    }
                }
                taken => return taken.map(Some),
            }
        }
    }

    fn take_file(&self, deadline: Instant) -> Result<File> {
        let mut waiter = locked(&self.waiter);
        if let Some(earlier) = waiter.take()
            && let Some(got) = earlier.wait_until(deadline)
        {
            return match got {
                Some(file) => file.map_err(cannot_lock),
                None => {
                    *waiter = Some(earlier);
                    Err(held_too_long())
                }
            };
        }
        let file = open_lock_file(&self.path)?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(cannot_lock(error)),
        }
        let new = Waiter::start(file)?;
        match new.wait_until(deadline).flatten() {
            Some(file) => file.map_err(cannot_lock),
            None => {
                *waiter = Some(new);
                Err(held_too_long())
            }
        }
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // Closing it unlocks.
        self.file = None;
        *locked(&self.of.taken) = false;
        self.of.freed.notify_one();
    }
}

/// A thread that waits for the lock in the operating system, where those who wait are served
/// in turn; one that tries now and then could starve. That wait has no end, so it has a
/// thread of its own, at most one a store, which lets the lock go if nobody wants it then.
#[derive(Debug)]
struct Waiter {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug)]
enum Waiting {
    Wanted,
    Unwanted,
    Got(io::Result<File>),
    Over,
}

impl Waiter {
    fn start(file: File) -> Result<Arc<Self>> {
        let waiter = Arc::new(Self {
            state: Mutex::new(Waiting::Wanted),
            changed: Condvar::new(),
        });
        let of_thread = Arc::clone(&waiter);
        std::thread::Builder::new()
            .name("polystore-lock".to_owned())
            .spawn(move || {
                let got = file.lock().map(|()| file);
                let mut state = locked(&of_thread.state);
                *state = match *state {
                    Waiting::Wanted => Waiting::Got(got),
                    _ => Waiting::Over,
                };
                of_thread.changed.notify_all();
            })
            .map_err(|error| Error::from_io("start a thread that waits for the lock", error))?;
        Ok(waiter)
    }

    /// The lock, or `Some(None)` if it is not there by then, or `None` if it came and went
    /// while nobody wanted it.
    #[expect(clippy::option_option, reason = "each is explained above")]
    fn wait_until(&self, deadline: Instant) -> Option<Option<io::Result<File>>> {
        let mut state = locked(&self.state);
        loop {
            match std::mem::replace(&mut *state, Waiting::Over) {
                Waiting::Got(got) => return Some(Some(got)),
                Waiting::Over => return None,
                Waiting::Wanted | Waiting::Unwanted => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                *state = Waiting::Unwanted;
                return Some(None);
            }
            *state = Waiting::Wanted;
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_lock_file(path: &Path) -> Result<File> {
    let failed = |error| Error::from_io("open the lock file", error);
    // To open a pipe would wait for its other end.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "what has the name of the lock file is not a file",
        ));
    }
    let mut options = OpenOptions::new();
    match options.create(true).truncate(false).write(true).open(path) {
        Err(error) if matches!(error.kind(), Io::PermissionDenied | Io::ReadOnlyFilesystem) => {
            // Another user's, or on a disk that is not to be written: to lock it, reading
            // is enough.
            File::open(path).map_err(failed)
        }
        opened => opened.map_err(failed),
    }
}

/// Whether `file` is the one that is found at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    let ours = file.metadata();
    ours.is_ok_and(|ours| identity(&ours) == identity_at(path))
}

fn cannot_lock(error: io::Error) -> Error {
    Error::from_io("lock the store against other processes", error)
}

fn held_too_long() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "others have held the store's lock for all of the timeout",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::disk::tests::in_folder;

    #[test]
    fn a_lock_is_for_one_at_a_time_and_waiting_for_it_ends() {
        in_folder(|folder| {
            let in_time = || Instant::now() + Duration::from_secs(60);
            let (ours, theirs) = (
                LockFile::new(folder.join("lock")),
                LockFile::new(folder.join("lock")),
            );
            let held = theirs.take(Instant::now()).unwrap();
            for _ in 0..3 {
                let begun = Instant::now();
                let deadline = begun + Duration::from_millis(50);
                let error = ours.take(deadline).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Timeout);
                assert!(begun.elapsed() >= Duration::from_millis(50));
            }
            drop(held);
            drop(ours.take(in_time()).unwrap());
            // What came too late was let go.
            drop(theirs.take(in_time()).unwrap());

            let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
            std::thread::scope(|scope| {
                for lock_file in [&ours, &theirs].repeat(4) {
                    let (inside, most) = (&inside, &most);
                    scope.spawn(move || {
                        for _ in 0..20 {
                            let lock = lock_file.take(in_time()).unwrap();
                            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(now, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(lock);
                        }
                    });
                }
            });
            assert_eq!(most.into_inner(), 1);
        });
    }
}
