//! `file:dir/`: a folder with a file for each entry.
//!
//! A file is never changed in place: a new one takes its name. Changes are made under a
//! lock between processes, held only for the renaming; what takes long, writing the
//! content to the disk, comes before it.

mod files;
mod names;
mod sweep;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_channel::oneshot;
use futures_core::stream::BoxStream;
use futures_util::future::{join_all, try_join_all};
use futures_util::{StreamExt, TryStreamExt, stream};

use self::files::{Change, Files, Prepared, Walk};
use self::sweep::Sweeper;
use crate::address::Address;
use crate::backend::{Backend, Info, Scan};
use crate::disk;
use crate::entry::{Entry, Expiry};
use crate::error::{Error, Result};
use crate::gather::{AnyJob, Blocking, Crew, Work};
use crate::opener::Opener;
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("folder", open);

const TIMEOUT: Duration = Duration::from_secs(10);

/// So many threads write side by side. Each key has its own, so that writes to it keep
/// their order.
const WRITERS: usize = 4;

/// How many removals are sent off together.
const BATCH: usize = 500;

fn open(mut address: Address) -> Result<Store> {
    let root = disk::absolute(&address.path()?)?;
    let timeout = address.take_timeout(TIMEOUT)?;
    let durability = address.take_durability()?;
    address.finish(&["sync", "timeout"])?;
    let files = Arc::new(Files::new(root, timeout, durability));
    let writer = || Crew::new("polystore-folder-w", Arc::new(Writing(Arc::clone(&files))));
    Ok(Store::new(Arc::new(Folder {
        readers: Arc::new(Blocking::new("polystore-folder-r", Arc::new(AnyJob))),
        writers: std::array::from_fn(|_| writer()),
        sweeper: Sweeper::new(Arc::clone(&files)),
        timeout,
        hasher: RandomState::new(),
        files,
    })))
}

struct Folder {
    files: Arc<Files>,
    readers: Arc<Blocking>,
    writers: [Crew<Writing>; WRITERS],
    sweeper: Sweeper,
    timeout: Duration,
    hasher: RandomState,
}

/// Changes that wait are made under one lock, and share the syncing of the folder.
struct Writing(Arc<Files>);

struct Job {
    key: String,
    change: Change,
    deadline: Instant,
    answer: oneshot::Sender<Result<bool>>,
}

/// A job whose change is ready to be made.
struct Ready {
    change: Prepared,
    deadline: Instant,
    answer: oneshot::Sender<Result<bool>>,
}

impl Ready {
    fn fail(self, error: Error) {
        let _ = self.answer.send(Err(error));
    }
}

impl Work for Writing {
    type Job = Job;
    const THREADS: usize = 1;
    const BATCH: usize = 64;

    fn work(&self, jobs: Vec<Job>) {
        let mut ready = Vec::with_capacity(jobs.len());
        for job in jobs {
            let (deadline, answer) = (job.deadline, job.answer);
            match self.0.prepare(job.key, job.change) {
                Ok(change) => ready.push(Ready {
                    change,
                    deadline,
                    answer,
                }),
                Err(error) => {
                    let _ = answer.send(Err(error.with_path(self.0.root())));
                }
            }
        }
        let lock_file = self.0.lock_file();
        let lock = match lock_file.take_for(&mut ready, |job| job.deadline, Ready::fail) {
            Ok(Some(lock)) => lock,
            Ok(None) => return,
            Err(error) => {
                let error = error.with_path(self.0.root());
                return ready.into_iter().for_each(|job| job.fail(error.clone()));
            }
        };
        let (changes, answers): (Vec<_>, Vec<_>) = ready
            .into_iter()
            .map(|job| (job.change, job.answer))
            .unzip();
        match self.0.apply(lock, changes) {
            Ok(outcomes) => {
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    let _ = answer.send(outcome);
                }
            }
            Err(error) => {
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }
}

impl Folder {
    async fn change(&self, key: &str, change: Change) -> Result<bool> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
        let hash = self.hasher.hash_one(key) as usize;
        let (key, deadline) = (key.to_owned(), Instant::now() + self.timeout);
        self.writers[hash % WRITERS]
            .ask(|answer| Job {
                key,
                change,
                deadline,
                answer,
            })
            .await
    }

    async fn write(&self, key: &str, expiry: Expiry, change: Change) -> Result<bool> {
        let done = self.change(key, change).await;
        if let Expiry::At(at) = expiry {
            self.sweeper.note(at);
        }
        done
    }

    async fn read(&self, key: &str) -> Result<Option<Entry>> {
        let (files, key) = (Arc::clone(&self.files), key.to_owned());
        self.readers.run(move || files.read(&key)).await
    }
}

enum Walking {
    NotBegun,
    Begun(Walk),
}

#[async_trait]
impl Backend for Folder {
    fn info(&self) -> Info {
        Info::new("folder").with(|can| {
            can.insert = true;
            can.replace = true;
            can.touch = true;
            can.prune = true;
            can.persistent = true;
        })
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.read(key).await
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        let expiry = entry.expiry();
        self.write(key, expiry, Change::Set(entry)).await.map(drop)
    }

    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        let mut entries = entries.into_iter();
        loop {
            let batch: Vec<_> = entries.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(());
            }
            let sets = batch.into_iter().map(async |(key, entry)| {
                let expiry = entry.expiry();
                let set = self.write(&key, expiry, Change::Set(entry)).await;
                set.map_err(|error| error.with_key(&key))
            });
            try_join_all(sets).await?;
        }
    }

    async fn del(&self, key: &str) -> Result<()> {
        self.change(key, Change::Del).await.map(drop)
    }

    async fn del_many(&self, keys: &[String]) -> Result<()> {
        for keys in keys.chunks(BATCH) {
            try_join_all(keys.iter().map(|key| self.del(key))).await?;
        }
        Ok(())
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let (files, readers) = (Arc::clone(&self.files), Arc::clone(&self.readers));
        let wanted = scan.clone();
        let pages = stream::try_unfold(Walking::NotBegun, move |walking| {
            let (files, readers) = (Arc::clone(&files), Arc::clone(&readers));
            let wanted = wanted.clone();
            async move {
                readers
                    .run(move || {
                        let mut walk = match walking {
                            Walking::NotBegun => files
                                .walk()
                                .map_err(|error| error.with_path(files.root()))?,
                            Walking::Begun(walk) => walk,
                        };
                        let page = walk.page(&files, |key| wanted.wants(key))?;
                        Ok(page.map(|page| (page, Walking::Begun(walk))))
                    })
                    .await
            }
        });
        let entries = pages
            .map_ok(|page| stream::iter(page).map(Ok))
            .try_flatten();
        scan.select_from(entries)
    }

    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        let expiry = entry.expiry();
        self.write(key, expiry, Change::Insert(entry)).await
    }

    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        let expiry = entry.expiry();
        self.write(key, expiry, Change::Replace(entry)).await
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.write(key, expiry, Change::Touch(expiry)).await
    }

    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        self.change(key, Change::Evict(seen.clone())).await
    }

    async fn prune(&self, prefix: &str) -> Result<u64> {
        let expired = self
            .scan(Scan::new().prefix(prefix))
            .try_filter(|(_, entry)| std::future::ready(entry.is_expired()));
        let mut batches = expired.try_chunks(BATCH);
        let mut pruned = 0;
        while let Some(batch) = batches.try_next().await.map_err(|failed| failed.1)? {
            let evictions = batch.iter().map(|(key, seen)| self.evict(key, seen));
            let evicted = try_join_all(evictions).await?;
            pruned += evicted.iter().filter(|evicted| **evicted).count() as u64;
        }
        Ok(pruned)
    }

    async fn close(&self) -> Result<()> {
        join_all(self.writers.iter().map(Crew::close)).await;
        self.sweeper.close().await;
        self.readers.close().await;
        Ok(())
    }
}
