//! `file:cache.json`: all entries in one JSON file.
//!
//! The file is never changed in place: each rewrite is a new file that takes its name.
//! Writes that wait are gathered into one rewrite under a lock between processes, and
//! answered when it is on the disk. Readers share the parsed content until the file
//! changes.

mod content;
mod on_disk;

use std::fs::{self, OpenOptions};
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_channel::oneshot;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use self::content::{Content, Item};
use self::on_disk::OnDisk;
use crate::address::{Address, Durability};
use crate::backend::{Backend, Info, Scan};
use crate::disk;
use crate::disk::lock::LockFile;
use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};
use crate::gather::{Crew, Work};
use crate::opener::Opener;
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("file", open);

const TIMEOUT: Duration = Duration::from_secs(10);

/// How long expired entries may stay in a file that nothing else is written to.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

fn open(mut address: Address) -> Result<Store> {
    let path = disk::absolute(&address.path()?)?;
    let timeout = address.take_timeout(TIMEOUT)?;
    let durability = address.take_durability()?;
    address.finish(&["sync", "timeout"])?;
    Ok(Store::new(Arc::new(JsonFile::new(
        path, timeout, durability,
    ))))
}

struct JsonFile {
    timeout: Duration,
    writing: Arc<Writing>,
    readers: Arc<Crew<Reading>>,
    writer: Crew<Writing>,
}

/// Reads that wait are answered from one look at the file.
struct Reading(Arc<OnDisk>);

impl Work for Reading {
    type Job = oneshot::Sender<Result<Arc<Content>>>;
    const THREADS: usize = 1;
    const BATCH: usize = usize::MAX;

    fn work(&self, jobs: Vec<Self::Job>) {
        let content = self.0.load().map_err(|error| error.with_path(&self.0.path));
        for answer in jobs {
            let _ = answer.send(content.clone());
        }
    }
}

/// A change that waits: it gets the content, or why there is none, and returns what is to
/// be told how the rewrite went.
type Change = Box<dyn FnOnce(Result<&mut Content>) -> Told + Send>;
type Told = Box<dyn FnOnce(Result<()>) + Send>;

struct Job {
    change: Change,
    deadline: Instant,
}

impl Job {
    fn fail(self, error: Error) {
        (self.change)(Err(error))(Ok(()));
    }
}

/// Changes that wait are made in one rewrite.
struct Writing {
    disk: Arc<OnDisk>,
    sweeps: Mutex<Sweeps>,
    /// Only the one thread uses it. Another one when the path is a link that was changed.
    lock_file: Mutex<Option<Arc<LockFile>>>,
    leftovers: Once,
}

#[derive(Default)]
struct Sweeps {
    /// When the next expired entries are to go; nothing before the first write: a store
    /// that is only read never writes.
    next: Option<Instant>,
    closed: bool,
}

impl Writing {
    fn new(disk: Arc<OnDisk>) -> Self {
        Self {
            disk,
            sweeps: Mutex::default(),
            lock_file: Mutex::default(),
            leftovers: Once::new(),
        }
    }

    fn sweeps(&self) -> MutexGuard<'_, Sweeps> {
        // Nothing panics while it is held.
        self.sweeps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file to replace and its lock, once all that speaks against it is looked at.
    fn target(&self) -> Result<(PathBuf, Arc<LockFile>)> {
        let target = disk::follow_links(&self.disk.path)?;
        let folder = folder_of(&target);
        disk::create_folders(folder, self.disk.durability)?;
        check_writable(&target)?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = folder.join(format!(".{name}.lock"));
        let mut lock_file = self
            .lock_file
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let current = match &*lock_file {
            Some(current) if current.path() == path => Arc::clone(current),
            _ => Arc::clone(lock_file.insert(Arc::new(LockFile::new(path)))),
        };
        Ok((target, current))
    }

    fn change_all(&self, mut jobs: Vec<Job>) {
        let target = self.target();
        let opened = target.as_ref().map_err(Error::clone).and_then(|(_, lock)| {
            let lock = lock.take_for(&mut jobs, |job| job.deadline, Job::fail)?;
            Ok((lock, self.disk.load()?))
        });
        match (&target, opened) {
            (Ok((target, _)), Ok((Some(_lock), content))) => {
                let _ = self.change_under_lock(target, &content, jobs);
            }
            (_, Err(error)) => {
                let error = error.with_path(&self.disk.path);
                for job in jobs {
                    job.fail(error.clone());
                }
            }
            _ => {}
        }
    }

    fn change_under_lock(&self, target: &Path, content: &Content, jobs: Vec<Job>) -> Result<()> {
        let mut content = content.clone();
        let changes = jobs.into_iter().map(|job| job.change);
        let told: Vec<Told> = changes.map(|change| change(Ok(&mut content))).collect();
        content.remove_if(|_, entry| entry.is_expired());
        let next = content.first_expiry();
        let done = if std::mem::take(&mut content.changed) {
            self.leftovers
                .call_once(|| disk::remove_leftovers(folder_of(target)));
            self.disk.store(target, content)
        } else {
            Ok(())
        };
        if done.is_ok() {
            self.sweeps().next =
                next.map(|at| Instant::now() + at.duration_from_now().max(SWEEP_EVERY));
        }
        for tell in told {
            tell(done.clone());
        }
        done
    }

    fn sweep(&self) -> Result<()> {
        let (target, lock_file) = self.target()?;
        let _lock = lock_file.take(Instant::now() + SWEEP_EVERY)?;
        let content = self.disk.load()?;
        self.change_under_lock(&target, &content, Vec::new())
    }
}

/// The folder that holds the file.
fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn check_writable(path: &Path) -> Result<()> {
    let read_only = || Error::new(ErrorKind::ReadOnly, "the file is read-only");
    match fs::metadata(path) {
        // Root may write it all the same, and is not to.
        Ok(found) if found.permissions().readonly() => return Err(read_only()),
        Ok(found) if found.is_file() => {}
        _ => return Ok(()),
    }
    // Whoever may write the folder could replace any file in it.
    match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == Io::PermissionDenied => Err(read_only().with_source(error)),
        _ => Ok(()),
    }
}

impl Work for Writing {
    type Job = Job;
    const THREADS: usize = 1;
    const BATCH: usize = usize::MAX;

    fn work(&self, jobs: Vec<Job>) {
        self.change_all(jobs);
    }

    fn rest(&self) -> Option<Duration> {
        let next = self.sweeps().next?;
        if self.sweeps().closed {
            return None;
        }
        if let Some(wait) = next.checked_duration_since(Instant::now()) {
            return Some(wait);
        }
        if let Err(error) = self.sweep() {
            tracing::warn!(%error, "could not remove expired entries from the file");
            self.sweeps().next = Some(Instant::now() + SWEEP_EVERY);
        }
        let next = self.sweeps().next?;
        Some(next.saturating_duration_since(Instant::now()))
    }
}

impl JsonFile {
    fn new(path: PathBuf, timeout: Duration, durability: Durability) -> Self {
        let disk = Arc::new(OnDisk::new(path, durability));
        let reading = Arc::new(Reading(Arc::clone(&disk)));
        let writing = Arc::new(Writing::new(disk));
        Self {
            timeout,
            readers: Arc::new(Crew::new("polystore-file-r", reading)),
            writer: Crew::new("polystore-file-w", Arc::clone(&writing)),
            writing,
        }
    }

    async fn content(&self) -> Result<Arc<Content>> {
        self.readers.ask(|answer| answer).await
    }

    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Content) -> T + Send + 'static,
    ) -> Result<T> {
        let deadline = Instant::now() + self.timeout;
        self.writer
            .ask(|answer: oneshot::Sender<Result<T>>| {
                let change: Change = Box::new(move |content| match content {
                    Err(error) => {
                        let _ = answer.send(Err(error));
                        Box::new(|_| {})
                    }
                    Ok(content) => {
                        let outcome = change(content);
                        Box::new(move |done| {
                            let _ = answer.send(done.map(|()| outcome));
                        })
                    }
                });
                Job { change, deadline }
            })
            .await
    }
}

#[async_trait]
impl Backend for JsonFile {
    fn info(&self) -> Info {
        Info::new("file").with(|can| {
            can.insert = true;
            can.replace = true;
            can.touch = true;
            can.prune = true;
            can.ordered = true;
            can.persistent = true;
        })
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.content().await?.get(key)
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        let content = self.content().await?;
        keys.iter().map(|key| content.get(key)).collect()
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let readers = Arc::clone(&self.readers);
        let opened = async move {
            let content = readers.ask(|answer| answer).await;
            content.map(|content| pages(content, scan))
        };
        stream::once(opened).try_flatten().boxed()
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        let key = key.to_owned();
        self.change(move |content| content.set(&key, entry)).await
    }

    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        self.change(move |content| {
            for (key, entry) in entries {
                content.set(&key, entry);
            }
        })
        .await
    }

    async fn del(&self, key: &str) -> Result<()> {
        let key = key.to_owned();
        self.change(move |content| content.del(&key)).await
    }

    async fn del_many(&self, keys: &[String]) -> Result<()> {
        let keys = keys.to_vec();
        self.change(move |content| keys.iter().for_each(|key| content.del(key)))
            .await
    }

    async fn clear(&self, prefix: &str) -> Result<()> {
        let prefix = prefix.to_owned();
        self.change(move |content| content.remove_if(|key, _| key.starts_with(&prefix)))
            .await
            .map(drop)
    }

    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        let key = key.to_owned();
        self.change(move |content| {
            let vacant = content.live(&key).is_none();
            if vacant {
                content.set(&key, entry);
            }
            vacant
        })
        .await
    }

    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        let key = key.to_owned();
        self.change(move |content| {
            let found = content.live(&key).is_some();
            if found {
                content.set(&key, entry);
            }
            found
        })
        .await
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let key = key.to_owned();
        self.change(move |content| {
            let renewed = content.live(&key).cloned();
            let found = renewed.is_some();
            if let Some(entry) = renewed {
                content.set(&key, entry.with_expiry(expiry));
            }
            found
        })
        .await
    }

    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        let (key, seen) = (key.to_owned(), seen.clone());
        self.change(move |content| {
            let unchanged = content.items.get(&*key).and_then(Item::entry) == Some(&seen);
            if unchanged {
                content.del(&key);
            }
            unchanged
        })
        .await
    }

    async fn prune(&self, prefix: &str) -> Result<u64> {
        let prefix = prefix.to_owned();
        self.change(move |content| {
            content.remove_if(|key, entry| key.starts_with(&prefix) && entry.is_expired())
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        self.writing.sweeps().closed = true;
        self.writer.close().await;
        self.readers.close().await;
        Ok(())
    }
}

/// What `scan` asks for, of the content as it was when the listing began.
fn pages(content: Arc<Content>, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
    let foreign = content
        .items
        .iter()
        .filter(|(key, item)| item.entry().is_none() && scan.wants(key))
        .count();
    if foreign > 0 {
        tracing::warn!(
            backend = "file",
            skipped = foreign,
            "a listing left out what something else wrote into the file"
        );
    }
    scan.in_pages(move |scan, after| content.page(scan, after))
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;
    use crate::entry::Timestamp;

    #[test]
    fn a_closed_store_leaves_the_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = JsonFile::new(folder.path().join("a.json"), TIMEOUT, Durability::Normal);
        let soon = Expiry::At(Timestamp::now());
        let later = Expiry::At(Timestamp::MAX);
        for (key, expiry) in [("a", soon), ("b", later)] {
            block_on(file.set(key, Entry::new(&1, expiry).unwrap())).unwrap();
        }
        assert!(file.writing.rest().is_some());
        block_on(file.close()).unwrap();
        assert_eq!(file.writing.rest(), None);
    }
}
