//! `level:`: a LevelDB folder.
//!
//! `open` knows which folders this process has open, `folder` finds and locks them. `worker` is
//! the thread that has the database and gathers what waits: `reader` and `write` are what it
//! does, and the `sweeper` says when it removes what has expired. `database` keeps
//! rusty-leveldb from its known faults: `disk` writes its files so that they are on the disk,
//! and checks what it reads with `checksums`. `failure` is what becomes of errors.

mod checksums;
mod database;
mod disk;
mod failure;
mod folder;
mod open;
mod reader;
mod sweeper;
mod worker;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_core::stream::BoxStream;

use self::open::User;
use self::reader::{PAGE, Range};
use self::worker::{Job, Pages, Removal};
use self::write::{MOST_BYTES, Op};
use crate::address::{Address, Durability};
use crate::backend::{Backend, Info, Scan};
use crate::entry::{Entry, Expiry, Timestamp};
use crate::error::{Error, Result};
use crate::gather::{AnyJob, Blocking};
use crate::lazy::Lazy;
use crate::opener::Opener;
use crate::pages::{self, Page};
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("level", open);

const TIMEOUT: Duration = Duration::from_secs(10);

fn open(mut address: Address) -> Result<Store> {
    let timeout = address.take_timeout(TIMEOUT)?;
    let durability = address.take_durability()?;
    let path = crate::disk::absolute(&address.path()?)?;
    address.finish(&["timeout", "sync"])?;
    let threads = Arc::new(Blocking::new("polystore-level-open", Arc::new(AnyJob)));
    Ok(Store::new(Arc::new(Lazy::new("level", move || {
        let (threads, path) = (Arc::clone(&threads), path.clone());
        async move {
            let deadline = Instant::now() + timeout;
            let user = threads.run(move || User::of(&path)).await?;
            let level = Level::new(user, durability);
            level
                .0
                .user
                .crew
                .ask(|answer| Job::Open(deadline, answer))
                .await?;
            let level: Arc<dyn Backend> = Arc::new(level);
            Ok(level)
        }
    }))))
}

/// A handle to an open folder; the last one to go closes it.
struct Level(Arc<Handle>);

struct Handle {
    user: User,
    durability: Durability,
}

impl Handle {
    async fn ask<T>(&self, job: impl FnOnce(worker::Answer<T>) -> Job) -> Result<T> {
        if self.user.has_left() {
            return Err(Error::closed());
        }
        self.user.crew.ask(job).await
    }

    fn syncs(&self) -> bool {
        self.durability == Durability::Full
    }

    async fn write(&self, op: Op) -> Result<u64> {
        op.check()?;
        let syncs = self.syncs();
        self.ask(|answer| Job::Write(op, syncs, answer)).await
    }

    /// Removes what has `prefix`, or of that only what has expired by then, in batches that
    /// other jobs get between.
    async fn remove(&self, prefix: &str, expired_by: Option<Timestamp>) -> Result<u64> {
        let mut range = Range::of_prefix(prefix);
        let mut gone = 0;
        loop {
            let removal = Removal {
                range: range.clone(),
                expired_by,
                syncs: self.syncs(),
            };
            let removed = self.ask(|answer| Job::Remove(removal, answer)).await?;
            gone += removed.entries;
            match removed.next {
                Some(next) => range.start = next,
                None => return Ok(gone),
            }
        }
    }

    async fn page(&self, range: Range, values: bool, limit: usize) -> Result<Page<Vec<u8>>> {
        let pages = Pages {
            range,
            values,
            limit,
        };
        self.ask(|answer| Job::Page(pages, answer)).await
    }
}

impl Level {
    fn new(user: User, durability: Durability) -> Self {
        Self(Arc::new(Handle { user, durability }))
    }
}

#[async_trait]
impl Backend for Level {
    fn info(&self) -> Info {
        Info::new("level").with(|can| {
            can.insert = true;
            can.replace = true;
            can.touch = true;
            can.prune = true;
            can.ordered = true;
            can.persistent = true;
            can.max_value_bytes = Some(MOST_BYTES);
        })
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        let key = key.to_owned();
        self.0.ask(|answer| Job::Get(key, answer)).await
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        let keys = keys.to_vec();
        self.0.ask(|answer| Job::GetMany(keys, answer)).await
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let handle = Arc::clone(&self.0);
        let start = Range::of_scan(&scan);
        pages::list(start, scan.limit, PAGE, move |range, limit| {
            let handle = Arc::clone(&handle);
            async move {
                let page = handle.page(range.clone(), scan.values, limit).await?;
                Ok(page.map_next(|start| Range { start, ..range }))
            }
        })
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        let op = Op::Set(key.to_owned(), entry);
        self.0.write(op).await.map(drop)
    }

    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        let op = Op::Insert(key.to_owned(), entry);
        Ok(self.0.write(op).await? > 0)
    }

    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        let op = Op::Replace(key.to_owned(), entry);
        Ok(self.0.write(op).await? > 0)
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let op = Op::Touch(key.to_owned(), expiry);
        Ok(self.0.write(op).await? > 0)
    }

    async fn del(&self, key: &str) -> Result<()> {
        let op = Op::Del(key.to_owned());
        self.0.write(op).await.map(drop)
    }

    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        let op = Op::Evict(key.to_owned(), seen.clone());
        Ok(self.0.write(op).await? > 0)
    }

    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        self.0.write(Op::SetMany(entries)).await.map(drop)
    }

    async fn del_many(&self, keys: &[String]) -> Result<()> {
        self.0.write(Op::DelMany(keys.to_vec())).await.map(drop)
    }

    async fn clear(&self, prefix: &str) -> Result<()> {
        self.0.remove(prefix, None).await.map(drop)
    }

    async fn prune(&self, prefix: &str) -> Result<u64> {
        self.0.remove(prefix, Some(Timestamp::now())).await
    }

    async fn close(&self) -> Result<()> {
        self.0.user.close().await
    }
}
