//! `sqlite:`: a table in an SQLite database.
//!
//! `table` finds or makes the table and words the statements, `reader` and `write` run
//! them. `connection` holds the connections (each a `link`), one that writes and some that
//! read, on the calling thread as long as `pace` allows. `writer` is the thread that
//! gathers what waits into transactions, and has the `sweeper` remove what has expired.
//! `failure` is what becomes of SQLite's errors.

mod connection;
mod failure;
#[cfg(feature = "rusqlite-0_43")]
mod given;
mod link;
mod pace;
mod reader;
mod sweeper;
mod table;
mod write;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_core::stream::BoxStream;

use self::connection::{Config, Database};
use self::reader::{Range, Text};
use self::table::TableName;
use self::write::{MOST_BYTES, Op};
use self::writer::{Job, Now, Pending, Writer};
use crate::address::Address;
use crate::backend::{Backend, Info, Scan};
use crate::disk;
use crate::entry::{Entry, Expiry, Timestamp};
use crate::error::Result;
use crate::gather::{AnyJob, Blocking, Crew};
use crate::lazy::Lazy;
use crate::opener::Opener;
use crate::pages::{self, Page};
use crate::random;
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("sqlite", open);

const TIMEOUT: Duration = Duration::from_secs(10);

fn open(mut address: Address) -> Result<Store> {
    let table = address.take("table");
    let config = Config {
        table: TableName::new(table.unwrap_or_else(|| TableName::DEFAULT.to_owned()))?,
        timeout: address.take_timeout(TIMEOUT)?,
        durability: address.take_durability()?,
    };
    let file = match address.location() {
        ":memory:" => None,
        location if location.ends_with('/') => {
            return Err(crate::address::invalid(
                "a sqlite: URL names a file: its path does not end in /",
            ));
        }
        // SQLite takes no absolute path for a name of its own (`:memory:`, `file:…`).
        _ => Some(disk::absolute(&address.path()?)?),
    };
    address.finish(&["table", "timeout", "sync"])?;
    Ok(lazily(move || match &file {
        Some(path) => Database::open_file(path, &config).map_err(|error| error.with_path(path)),
        None => Database::open_in_memory(&config),
    }))
}

/// A store whose database `open` opens on the first use, on a thread.
fn lazily(open: impl Fn() -> Result<Database> + Send + Sync + 'static) -> Store {
    let threads = Arc::new(Blocking::new("polystore-sqlite", Arc::new(AnyJob)));
    let open = Arc::new(open);
    Store::new(Arc::new(Lazy::new("sqlite", move || {
        let threads = Arc::clone(&threads);
        let open = Arc::clone(&open);
        async move {
            let database = Arc::new(threads.run(move || open()).await?);
            let sqlite: Arc<dyn Backend> = Arc::new(Sqlite::new(database, threads));
            Ok(sqlite)
        }
    })))
}

/// A handle to an open database; the last one to go closes it.
struct Sqlite(Arc<Handle>);

struct Handle {
    database: Arc<Database>,
    writer: Arc<Writer>,
    writes: Crew<Writer>,
    reads: Arc<Blocking>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // On its thread, because that waits for the disk.
        if !self.database.is_closed() {
            self.writes.send(Job::Close(None));
        }
    }
}

impl Handle {
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&rusqlite::Connection, &table::Sql) -> failure::Attempt<T> + Send + 'static,
    ) -> Result<T> {
        let database = Arc::clone(&self.database);
        let deadline = database.deadline();
        self.reads.run(move || database.read(deadline, read)).await
    }

    /// Writes it on this thread if that makes nobody wait, else on the writer's.
    async fn write(&self, op: Op) -> Result<u64> {
        if op.is_small() {
            let expires = op.first_expiry();
            let written = self.writer.write_now(
                expires,
                || self.writes.is_idle(),
                |db, sql| op.apply(db, sql),
            );
            if let Some(done) = self.done(written) {
                return done;
            }
        }
        self.queue(op).await
    }

    async fn queue(&self, op: Op) -> Result<u64> {
        let deadline = self.database.deadline();
        self.writes
            .ask(|answer| {
                Job::Write(Pending {
                    op,
                    deadline,
                    answer,
                })
            })
            .await
    }

    fn done(&self, written: Now) -> Option<Result<u64>> {
        match written {
            Now::Done(done) => Some(done),
            Now::DoneAndNudge(done) => {
                self.writes.send(Job::Nudge);
                Some(done)
            }
            Now::Later => None,
        }
    }

    async fn page(&self, range: Range, values: bool, limit: usize) -> Result<Page<Text>> {
        self.read(move |db, sql| reader::page(db, sql, &range, values, limit))
            .await
    }
}

impl Sqlite {
    fn new(database: Arc<Database>, reads: Arc<Blocking>) -> Self {
        let writer = Arc::new(Writer::new(Arc::clone(&database)));
        let writes = Crew::new("polystore-sqlite-writer", Arc::clone(&writer));
        Self(Arc::new(Handle {
            database,
            writer,
            writes,
            reads,
        }))
    }
}

#[async_trait]
impl Backend for Sqlite {
    fn info(&self) -> Info {
        Info::new("sqlite").with(|can| {
            can.insert = true;
            can.replace = true;
            can.touch = true;
            can.prune = true;
            can.ordered = true;
            can.persistent = self.0.database.is_persistent;
            can.max_value_bytes = Some(MOST_BYTES);
        })
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        let key = key.to_owned();
        self.0.read(move |db, sql| reader::get(db, sql, &key)).await
    }

    fn get_now(&self, key: &str) -> Option<Result<Option<Entry>>> {
        self.0
            .database
            .read_now(|db, sql| reader::get(db, sql, key))
    }

    async fn entry(&self, key: &str) -> Result<Option<Entry>> {
        match self.get_now(key) {
            Some(entry) => entry,
            None => self.get(key).await,
        }
    }

    async fn has(&self, key: &str) -> Result<bool> {
        let now = self
            .0
            .database
            .read_now(|db, sql| reader::has(db, sql, key));
        if let Some(has) = now {
            return has;
        }
        let key = key.to_owned();
        self.0.read(move |db, sql| reader::has(db, sql, &key)).await
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        let keys = keys.to_vec();
        self.0
            .read(move |db, sql| reader::get_many(db, sql, &keys))
            .await
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let handle = Arc::clone(&self.0);
        let start = Range::of_scan(&scan);
        pages::list(start, scan.limit, reader::PAGE, move |range, limit| {
            let handle = Arc::clone(&handle);
            async move {
                let page = handle.page(range.clone(), scan.values, limit).await?;
                Ok(page.map_next(|start| Range { start, ..range }))
            }
        })
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        // Store has tried set_now already.
        self.0.queue(Op::Set(key.to_owned(), entry)).await.map(drop)
    }

    fn set_now(&self, key: &str, entry: Entry) -> Result<Result<()>, Entry> {
        let writes = &self.0.writes;
        let written = self.0.writer.set_now(key, &entry, || writes.is_idle());
        match self.0.done(written) {
            Some(done) => Ok(done.map(drop)),
            None => Err(entry),
        }
    }

    async fn add(&self, prefix: &str, entry: Entry) -> Result<String> {
        let key = format!("{prefix}{}", random::key()?);
        self.0.write(Op::Set(key.clone(), entry)).await?;
        Ok(key)
    }

    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        let inserted = self.0.write(Op::Insert(key.to_owned(), entry)).await?;
        Ok(inserted > 0)
    }

    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        let replaced = self.0.write(Op::Replace(key.to_owned(), entry)).await?;
        Ok(replaced > 0)
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let touched = self.0.write(Op::Touch(key.to_owned(), expiry)).await?;
        Ok(touched > 0)
    }

    async fn del(&self, key: &str) -> Result<()> {
        self.0.write(Op::Del(key.to_owned())).await.map(drop)
    }

    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        let evicted = self
            .0
            .write(Op::Evict(key.to_owned(), seen.clone()))
            .await?;
        Ok(evicted > 0)
    }

    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        self.0.write(Op::SetMany(entries)).await.map(drop)
    }

    async fn del_many(&self, keys: &[String]) -> Result<()> {
        self.0.write(Op::DelMany(keys.to_vec())).await.map(drop)
    }

    async fn clear(&self, prefix: &str) -> Result<()> {
        self.0.write(Op::Clear(prefix.to_owned())).await.map(drop)
    }

    async fn prune(&self, prefix: &str) -> Result<u64> {
        let now = Timestamp::now();
        let mut gone = 0;
        if prefix.is_empty() {
            // In the order of expiry, in batches that other writes get between.
            loop {
                let swept = self.0.write(Op::Sweep(reader::BATCH, now)).await?;
                gone += swept;
                if swept < reader::BATCH as u64 {
                    return Ok(gone);
                }
            }
        }
        let mut range = Range::of_prefix(prefix);
        loop {
            let page = range.clone();
            let due = self.0.read(move |db, sql| reader::due(db, sql, &page, now));
            let (keys, next) = due.await?;
            if !keys.is_empty() {
                gone += self.0.write(Op::DelExpired(keys, now)).await?;
            }
            match next {
                Some(next) => range.start = next,
                None => return Ok(gone),
            }
        }
    }

    async fn close(&self) -> Result<()> {
        self.0.writes.ask(|answer| Job::Close(Some(answer))).await
    }
}
