//! A lock with a lease.
//!
//! # What it promises, and what no lease can
//!
//! - Of all who try, one gets the lock: [`insert`](Store::insert) is atomic in the store.
//! - If its holder dies, the lock is free when the lease is over, and not before.
//! - A holder whose lease ran out does not release the lock of the next one: [`evict`](Store::evict) removes
//!   an entry only if it still is the one that was seen.
//! - It can **not** promise that a holder knows in time. A process that stops (a debugger, a full
//!   disk, a virtual machine that is moved, a computer asleep, whose [`Instant`] may stand still meanwhile)
//!   for longer than its lease goes on afterwards as if nothing had been, at least as far as its next
//!   [`Held::check`]. Keep the lease much longer than such pauses, call `check` right before
//!   what others can see, and where that is not enough let what is written to refuse the late
//!   one: a row that must not exist yet, `insert` under a key of that very piece of work.
//! - All who use a lock have to give the same lease: a renewal that comes too late gives the entry of the next
//!   holder the length of the late one.
//! - Nor is it better than the clock that ends it: a server's own (Redis, etcd, PostgreSQL), or for
//!   files and SQLite that of the processes, which somebody may set.
//! - It is fair to nobody: who asks first after a release has it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use polystore_kv::{Error, ErrorKind, IntoStore, Result, Store, kv};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Locks in a store that all processes share.
pub(crate) struct Locks {
    store: Store,
    lease: Duration,
}

impl Locks {
    /// The locks in `store`, which hold for `lease` unless they are renewed: the same one in all processes.
    pub(crate) fn new(store: impl IntoStore, lease: Duration) -> Result<Self> {
        let store = kv(store)?.prefix("lock:");
        Ok(Self { store, lease })
    }

    /// Waits until the lock is free and takes it.
    pub(crate) async fn acquire(&self, name: &str) -> Result<Held> {
        loop {
            if let Some(held) = self.try_acquire(name).await? {
                return Ok(held);
            }
            // Of a different length each time, so that those who wait do not march in step.
            let jitter = Duration::from_millis(getrandom::u64().map_err(no_randomness)? % 20);
            sleep(Duration::from_millis(10) + jitter).await;
        }
    }

    /// Takes the lock if it is free.
    pub(crate) async fn try_acquire(&self, name: &str) -> Result<Option<Held>> {
        // Nobody else has this word, not even another lock of this process.
        let random = getrandom::u64().map_err(no_randomness)?;
        let owner = format!("{}-{random:016x}", std::process::id());
        // The lease begins in the store after this moment: the store never ends it before we do.
        let asked = Instant::now();
        let inserted = self.store.insert(name, &owner).expires(self.lease).await;
        let is_ours = match inserted {
            Ok(is_ours) => is_ours,
            // Sent, and the answer was lost. The word tells whether it is we who have the lock.
            Err(error) if error.is_maybe_applied() => {
                self.store.get::<String>(name).await?.as_ref() == Some(&owner)
            }
            Err(error) => return Err(error),
        };
        if !is_ours {
            return Ok(None);
        }
        let lease = Lease {
            store: self.store.clone(),
            name: name.to_owned(),
            owner,
            length: self.lease,
            until: Mutex::new(asked + self.lease),
        };
        let lease = Arc::new(lease);
        let heartbeat = tokio::spawn(Arc::clone(&lease).beat());
        Ok(Some(Held { lease, heartbeat }))
    }
}

/// A lock that is held. Dropped without [`release`](Self::release), it is free when its lease is over.
pub(crate) struct Held {
    lease: Arc<Lease>,
    heartbeat: JoinHandle<()>,
}

impl Held {
    /// Fails if the lock may be somebody else's by now. To be asked before each step that others can see.
    pub(crate) fn check(&self) -> Result<()> {
        if Instant::now() < self.lease.until() {
            return Ok(());
        }
        let message = "the lock was lost: it could not be renewed in time";
        Err(Error::new(ErrorKind::Timeout, message))
    }

    /// Gives the lock back at once.
    pub(crate) async fn release(mut self) -> Result<()> {
        self.heartbeat.abort();
        // Only an end by itself or by abort: there is nothing to report.
        let _ = (&mut self.heartbeat).await;
        let Lease { store, name, .. } = &*self.lease;
        if let Some(seen) = store.entry(name).await?
            && seen.decode::<String>()? == self.lease.owner
        {
            // Should it end and be taken just now, then it is another entry, and stays.
            store.evict(name, &seen).await?;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

struct Lease {
    store: Store,
    name: String,
    owner: String,
    length: Duration,
    /// By the clock that no one sets.
    until: Mutex<Instant>,
}

impl Lease {
    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews the lease three times within its length, for as long as it is ours.
    async fn beat(self: Arc<Self>) {
        loop {
            sleep(self.length / 3).await;
            let asked = Instant::now();
            if asked >= self.until() {
                return;
            }
            match self.renew().await {
                Ok(true) => {
                    let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
                    *until = asked + self.length;
                }
                Ok(false) => return,
                // What was not renewed now may be next time; `check` knows when it is too late.
                Err(error) => eprintln!("the lock is not renewed: {error}"),
            }
        }
    }

    /// `touch` does not ask whose entry it is, so that is looked at afterwards. Should it have been another's
    /// by then, theirs lasts a little longer, which does no harm.
    async fn renew(&self) -> Result<bool> {
        Ok(self.store.touch(&self.name, self.length).await?
            && self.store.get::<String>(&self.name).await?.as_ref() == Some(&self.owner))
    }
}

fn no_randomness(error: getrandom::Error) -> Error {
    Error::new(ErrorKind::Unreachable, "there is no randomness to be had").with_source(error)
}
