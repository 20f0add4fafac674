//! `localforage:`: IndexedDB, as localForage keeps it.
//!
//! `database` opens it and makes object stores, `transaction` waits for what is asked in one. `reads` and
//! `writes` say how what waits goes in one transaction, `listing` pages through ranges. `value` is how entries
//! are stored, `failure` what becomes of exceptions.

mod database;
mod failure;
mod listing;
mod reads;
mod transaction;
mod value;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use send_wrapper::SendWrapper;

use self::database::Database;
use self::reads::Reads;
use self::writes::{Op, Writes};
use crate::address::{Address, invalid};
use crate::backend::{Backend, Info, Scan};
use crate::browser::storage::{Area, WebStorage};
use crate::entry::{Entry, Expiry};
use crate::error::Result;
use crate::gather::Lane;
use crate::opener::Opener;
use crate::runtime::{self, TIMEOUT, persist};
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("localForage", open);

/// What localForage calls them if it is not told otherwise.
const NAME: &str = "localforage";
const STORE_NAME: &str = "keyvaluepairs";

/// How many entries of a group go in one transaction, and how many bytes.
const GROUP: usize = 1024;
const GROUP_BYTES: usize = 4 << 20;

fn open(mut address: Address) -> Result<Store> {
    if !address.location().is_empty() {
        return Err(invalid(
            "localforage: has its database in ?name= and its object store in &store=",
        ));
    }
    let name = name_in(address.take("name"), NAME)?;
    let store = name_in(address.take("store"), STORE_NAME)?;
    let driver = address.take("driver");
    let timeout = address.take_timeout(TIMEOUT)?;
    address.finish(&["name", "store", "driver", "timeout"])?;
    match driver.as_deref() {
        None | Some("indexeddb") => {
            Ok(Store::new(Arc::new(LocalForage::new(name, store, timeout))))
        }
        Some("localstorage") => {
            let front = match &store[..] {
                STORE_NAME => format!("{name}/"),
                other => format!("{name}/{other}/"),
            };
            let kept = WebStorage::new("localforage", Area::Local, front);
            Ok(Store::new(Arc::new(kept)))
        }
        Some(_) => Err(invalid("the option driver is indexeddb or localstorage")),
    }
}

fn name_in(given: Option<String>, default: &str) -> Result<String> {
    let name = given.unwrap_or_else(|| default.to_owned());
    match name.is_empty() {
        true => Err(invalid("the options name and store are not empty")),
        false => Ok(name),
    }
}

struct LocalForage {
    database: Arc<Database>,
    reads: Lane<Reads>,
    writes: Arc<Lane<Writes>>,
}

impl LocalForage {
    fn new(name: String, store: String, timeout: Duration) -> Self {
        let database = Arc::new(Database::new(name, store, timeout));
        let writes = Arc::new(Writes(Arc::clone(&database)));
        Self {
            reads: Lane::new(Arc::new(Reads(Arc::clone(&database))), timeout),
            writes: Arc::new(Lane::new(writes, timeout)),
            database,
        }
    }

    async fn write(&self, op: Op) -> Result<bool> {
        self.writes.ask(op).await
    }

    /// Removes what has expired, unless it is renewed meanwhile. Nobody waits for that.
    fn expire(writes: &Arc<Lane<Writes>>, keys: Vec<String>) {
        let Ok(here) = runtime::current() else { return };
        let writes = Arc::clone(writes);
        runtime::spawn(&here, async move {
            // If it fails, it goes another time.
            let _ = writes.ask(Op::expire(keys)).await;
        });
    }

    async fn sweep(&self, prefix: &str, is_meant: fn(&Entry) -> bool) -> Result<u64> {
        SendWrapper::new(listing::sweep(&self.database, prefix, is_meant)).await
    }
}

#[async_trait]
impl Backend for LocalForage {
    fn info(&self) -> Info {
        Info::new("localforage").with(|can| {
            can.insert = true;
            can.replace = true;
            can.touch = true;
            can.prune = true;
            can.persistent = true;
        })
    }

    async fn connect(&self) -> Result<()> {
        let database = &self.database;
        let connect = persist(database.timeout, Database::is_transient, || {
            database.connection()
        });
        SendWrapper::new(connect).await.map(drop)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        let found = self.reads.ask(key.to_owned()).await?;
        if found.as_ref().is_some_and(Entry::is_expired) {
            Self::expire(&self.writes, vec![key.to_owned()]);
            return Ok(None);
        }
        Ok(found)
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        let database = &self.database;
        let mut entries = Vec::with_capacity(keys.len());
        for keys in keys.chunks(GROUP) {
            let texts: Vec<&str> = keys.iter().map(|key| &key[..]).collect();
            let read = persist(database.timeout, Database::is_transient, || {
                reads::read(database, &texts)
            });
            let found = SendWrapper::new(read).await?;
            for (key, found) in keys.iter().zip(found) {
                entries.push(found.map_err(|error| error.with_key(key))?);
            }
        }
        Ok(entries)
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let writes = Arc::clone(&self.writes);
        let expire = move |keys| Self::expire(&writes, keys);
        let all = listing::list(&self.database, &scan.prefix, scan.values, expire);
        scan.select_from(all)
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        let op = Op::put(key, &entry)?;
        self.write(op).await.map(drop)
    }

    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        // What cannot be written fails before anything is.
        let mut ops = Vec::new();
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take(GROUP).take_while(|(_, entry)| {
                let is_first = bytes == 0;
                bytes += entry.json().len();
                is_first || bytes <= GROUP_BYTES
            });
            let (group, others) = rest.split_at(fits.count());
            ops.push(Op::put_all(group)?);
            rest = others;
        }
        self.write_all(ops).await
    }

    async fn del(&self, key: &str) -> Result<()> {
        self.write(Op::del(key)).await.map(drop)
    }

    async fn del_many(&self, keys: &[String]) -> Result<()> {
        self.write_all(keys.chunks(GROUP).map(Op::del_all).collect())
            .await
    }

    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        let op = Op::insert(key, &entry)?;
        self.write(op).await
    }

    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        let op = Op::replace(key, &entry)?;
        self.write(op).await
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.write(Op::touch(key, expiry)).await
    }

    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        self.write(Op::evict(key, seen)).await
    }

    async fn clear(&self, prefix: &str) -> Result<()> {
        self.sweep(prefix, |_| true).await.map(drop)
    }

    async fn prune(&self, prefix: &str) -> Result<u64> {
        self.sweep(prefix, Entry::is_expired).await
    }

    async fn close(&self) -> Result<()> {
        self.writes.finish().await;
        self.reads.finish().await;
        self.database.close().await;
        Ok(())
    }
}

impl LocalForage {
    async fn write_all(&self, ops: Vec<Op>) -> Result<()> {
        for op in ops {
            self.write(op).await?;
        }
        Ok(())
    }
}
