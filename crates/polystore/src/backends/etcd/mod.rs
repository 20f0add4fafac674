//! `etcd:`: entries in an etcd cluster, each the npm package's wrapper, with a lease.
//!
//! `server` finds a member and keeps the connection to it; `reads` and `writes` say how what
//! waits is sent as one transaction, `listing` pages through ranges, `leases` has entries leave the server
//! by themselves. `failure` is what becomes of errors. `proto` is generated.

mod failure;
#[cfg(feature = "tonic-0_14")]
mod given;
mod leases;
mod listing;
mod ops;
#[allow(
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    clippy::all,
    clippy::doc_markdown,
    reason = "generated: see proto/etcd.proto"
)]
#[rustfmt::skip]
#[path = "proto/etcdserverpb.rs"]
mod proto;
mod reads;
mod server;
mod writes;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::future::try_join_all;
use tonic::codegen::Bytes;

use self::leases::Leases;
use self::listing::{Pages, entry_in};
use self::ops::{Op, Put};
use self::proto::KeyValue;
use self::reads::Reads;
use self::server::{Config, Server, Source};
use self::writes::{Done, Writes};
use crate::address::Address;
use crate::backend::{Backend, Info, Scan};
use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};
use crate::gather::Lane;
use crate::opener::Opener;
use crate::random;
use crate::remote::{Authority, TlsFiles};
use crate::runtime::{self, TIMEOUT, timed_out};
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("etcd", open);

/// A request may have 1.5 MiB (`--max-request-bytes`), and one with a condition has the key three times.
const MOST_KEY_BYTES: usize = 16 << 10;
const MOST_VALUE_BYTES: usize = 1_500_000;

/// How much longer several steps may take than one.
const SLACK: Duration = Duration::from_millis(250);

/// How often the removal of a key that others change meanwhile is tried.
const REMOVALS: usize = 16;

/// How many operations of a group wait at a time.
const GROUP: usize = 1024;

fn open(mut address: Address) -> Result<Store> {
    let authority = Authority::parse(address.location())?;
    let is_tls = address.take_flag("tls")?;
    let files = TlsFiles::take(&mut address, ["tls_ca", "tls_cert", "tls_key"])?;
    let tls = (is_tls || files.is_given()).then_some(files);
    let timeout = address.take_timeout(TIMEOUT)?;
    address.finish(&["tls", "tls_ca", "tls_cert", "tls_key", "timeout"])?;
    let config = Config::new(authority, tls, timeout)?;
    let server = Server::new(Source::Url(Arc::new(config)), timeout);
    Ok(Store::new(Arc::new(Etcd::new(server))))
}

struct Etcd {
    server: Arc<Server>,
    reads: Lane<Reads>,
    writes: Lane<Writes>,
}

impl Etcd {
    fn new(server: Server) -> Self {
        let server = Arc::new(server);
        let timeout = server.timeout;
        let writes = Writes {
            server: Arc::clone(&server),
            leases: Leases::default(),
        };
        Self {
            reads: Lane::new(Arc::new(Reads(Arc::clone(&server))), timeout),
            writes: Lane::new(Arc::new(writes), timeout),
            server,
        }
    }

    async fn write(&self, op: Op) -> Result<Done> {
        self.writes.ask(op).await
    }

    /// Several steps, in the time of one operation.
    async fn within<T>(&self, steps: impl Future<Output = Result<T>> + Send) -> Result<T> {
        runtime::current()?;
        let timeout = self.server.timeout;
        // A step that takes all the time has its own error, which says more.
        let done = runtime::timeout(timeout + SLACK, steps).await;
        done.unwrap_or_else(|_| Err(timed_out(timeout).with_maybe_applied()))
    }

    /// Removes those that `is_meant`, if they are unchanged, and says how many.
    async fn remove(
        &self,
        prefix: &str,
        is_meant: impl Fn(&Entry) -> bool + Send + Sync,
    ) -> Result<u64> {
        let mut pages = Pages::new(Arc::clone(&self.server), prefix, None);
        let mut gone = 0;
        loop {
            let page = pages.next().await?;
            if page.is_empty() {
                return Ok(gone);
            }
            let meant = page
                .iter()
                .filter(|kv| entry_in(kv).is_some_and(|(_, entry)| is_meant(&entry)));
            let meant: Vec<_> = meant.map(|kv| (own(&kv.key), kv.mod_revision)).collect();
            drop(page);
            let removing = meant
                .into_iter()
                .map(|(key, revision)| self.remove_one(key, revision, &is_meant));
            let removed = try_join_all(removing).await?;
            gone += removed.into_iter().filter(|is_done| *is_done).count() as u64;
        }
    }

    /// The same for a key that was seen with this revision. One that is changed meanwhile, by
    /// a `touch` say, goes all the same if it still is meant; one that is written all the time may stay.
    async fn remove_one(
        &self,
        key: Bytes,
        mut revision: i64,
        is_meant: impl Fn(&Entry) -> bool + Send + Sync,
    ) -> Result<bool> {
        for _ in 0..REMOVALS {
            let done = self.write(Op::del_if(&key, revision)).await?;
            revision = match done.found {
                _ if done.is_done => return Ok(true),
                Some(kv) if text_of(&kv).is_ok_and(|entry| is_meant(&entry)) => kv.mod_revision,
                _ => return Ok(false),
            };
        }
        Ok(false)
    }
}

/// A copy that does not hold on to the whole reply.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn key_of(key: &str) -> Result<Bytes> {
    if key.is_empty() {
        return Err(Error::new(ErrorKind::InvalidKey, "etcd has no empty key"));
    }
    if key.len() > MOST_KEY_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidKey,
            format!("a key in etcd has at most {MOST_KEY_BYTES} bytes here"),
        ));
    }
    Ok(Bytes::copy_from_slice(key.as_bytes()))
}

fn put_of(entry: Entry) -> Result<Put> {
    if entry.json().len() > MOST_VALUE_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidValue,
            format!("a value in etcd has at most {MOST_VALUE_BYTES} bytes of JSON"),
        ));
    }
    Ok(Put::new(entry))
}

/// The entry under a key.
fn text_of(kv: &KeyValue) -> Result<Entry> {
    Entry::from_envelope(&kv.value)
}

#[async_trait]
impl Backend for Etcd {
    fn info(&self) -> Info {
        Info::new("etcd").with(|can| {
            can.insert = true;
            can.replace = true;
            can.touch = true;
            can.prune = true;
            can.ordered = true;
            can.persistent = true;
            can.max_key_bytes = Some(MOST_KEY_BYTES);
            can.max_value_bytes = Some(MOST_VALUE_BYTES);
            can.refused_keys = vec!["".into()];
        })
    }

    async fn connect(&self) -> Result<()> {
        runtime::current()?;
        let timeout = self.server.timeout;
        let connected = runtime::timeout(timeout, self.server.connection()).await;
        connected
            .unwrap_or_else(|_| Err(timed_out(timeout)))
            .map(drop)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        let found = self.reads.ask(key_of(key)?).await?;
        found.as_ref().map(text_of).transpose()
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        let mut entries = Vec::with_capacity(keys.len());
        for keys in keys.chunks(GROUP) {
            let reads = keys.iter().map(async |key| {
                let got = self.get(key).await;
                got.map_err(|error| error.with_key(key))
            });
            entries.extend(try_join_all(reads).await?);
        }
        Ok(entries)
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        listing::scan(Arc::clone(&self.server), &scan)
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        let op = Op::put(&key_of(key)?, put_of(entry)?);
        self.write(op).await.map(drop)
    }

    async fn add(&self, prefix: &str, entry: Entry) -> Result<String> {
        let key = format!("{prefix}{}", random::key()?);
        self.set(&key, entry).await?;
        Ok(key)
    }

    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        // What cannot be written fails before anything is.
        let mut ops = Vec::with_capacity(entries.len());
        for (key, entry) in entries {
            let op = key_of(&key).and_then(|bytes| Ok(Op::put(&bytes, put_of(entry)?)));
            ops.push(op.map_err(|error| error.with_key(&key))?);
        }
        self.write_all(ops).await
    }

    async fn del(&self, key: &str) -> Result<()> {
        self.write(Op::del(&key_of(key)?)).await.map(drop)
    }

    async fn del_many(&self, keys: &[String]) -> Result<()> {
        let ops = keys.iter().map(|key| {
            let bytes = key_of(key).map_err(|error| error.with_key(key))?;
            Ok(Op::del(&bytes))
        });
        self.write_all(ops.collect::<Result<_>>()?).await
    }

    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        let key = key_of(key)?;
        let put = put_of(entry)?;
        self.within(async {
            let mut revision = 0;
            loop {
                let op = Op::put_if(&key, revision, put.clone()).once();
                let done = self.write(op).await?;
                revision = match done.found {
                    _ if done.is_done => return Ok(true),
                    // It went meanwhile.
                    None => 0,
                    Some(kv) if text_of(&kv)?.is_expired() => kv.mod_revision,
                    Some(_) => return Ok(false),
                };
            }
        })
        .await
    }

    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        let put = put_of(entry)?;
        let replace = |key: &Bytes, revision, _| Op::replace_if(key, revision, put.clone());
        self.change(key, replace).await
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let touch = |key: &Bytes, revision, entry: Entry| {
            Op::touch_if(key, revision, Put::new(entry.with_expiry(expiry)))
        };
        self.change(key, touch).await
    }

    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        let key = key_of(key)?;
        self.within(async {
            let Some(kv) = self.write(Op::look(&key)).await?.found else {
                return Ok(false);
            };
            if text_of(&kv).ok().as_ref() != Some(seen) {
                return Ok(false);
            }
            let op = Op::del_if(&key, kv.mod_revision).once();
            Ok(self.write(op).await?.is_done)
        })
        .await
    }

    async fn clear(&self, prefix: &str) -> Result<()> {
        self.remove(prefix, |_| true).await.map(drop)
    }

    async fn prune(&self, prefix: &str) -> Result<u64> {
        self.remove(prefix, Entry::is_expired).await
    }

    async fn close(&self) -> Result<()> {
        self.writes.finish().await;
        self.reads.finish().await;
        self.server.close().await;
        Ok(())
    }
}

impl Etcd {
    /// Does what `new` makes of the live entry that is there and its revision, and gives whether there was one.
    async fn change(
        &self,
        key: &str,
        new: impl Fn(&Bytes, i64, Entry) -> Op + Send + Sync,
    ) -> Result<bool> {
        let key = key_of(key)?;
        self.within(async {
            let mut found = self.write(Op::look(&key)).await?.found;
            loop {
                let Some(kv) = found else { return Ok(false) };
                let entry = text_of(&kv)?;
                if entry.is_expired() {
                    return Ok(false);
                }
                let op = new(&key, kv.mod_revision, entry);
                // Of what is over, a second attempt would find what the first one left.
                let is_over = op.is_over();
                let done = self.write(if is_over { op.once() } else { op }).await?;
                if done.is_done {
                    return Ok(true);
                }
                found = done.found;
            }
        })
        .await
    }

    async fn write_all(&self, ops: Vec<Op>) -> Result<()> {
        let mut ops = ops.into_iter();
        loop {
            let some: Vec<Op> = ops.by_ref().take(GROUP).collect();
            if some.is_empty() {
                return Ok(());
            }
            try_join_all(some.into_iter().map(|op| self.write(op))).await?;
        }
    }
}
