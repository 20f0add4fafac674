//! What a property is told about the store that it examines.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::TryStreamExt;
use polystore_kv::{Capabilities, Entry, Expiry, Result, Scan, Store, Timestamp};
use serde_json::Value;

use crate::runtime::{self, Instant};
use crate::verdict::{Stop, Verdict, holds, same};

/// How long something that has to happen soon may take.
const SOON: Duration = Duration::from_secs(20);

/// A store, and a part of it that is the property's own.
#[derive(Clone)]
pub(crate) struct Subject {
    /// Where the property works: a substore that nobody else uses, or all of a store
    /// that is the suite's own.
    pub(crate) store: Store,
    /// What the keys of that begin with.
    pub(crate) prefix: String,
    pub(crate) can: Capabilities,
}

impl Subject {
    /// The key as the backend has it.
    pub(crate) fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Whether the store can hold `key`.
    pub(crate) fn accepts(&self, key: &str) -> bool {
        self.can.accepts_key(&self.full(key))
    }

    /// The same with a substore of its own.
    pub(crate) fn under(&self, prefix: &str) -> Self {
        Self {
            store: self.store.prefix(prefix),
            prefix: self.full(prefix),
            can: self.can.clone(),
        }
    }

    /// Gives the backend an entry whose time is over already, as a clock would have
    /// made of one, and does not wait for it.
    pub(crate) async fn plant_expired(&self, key: &str) -> Result<()> {
        let past = Timestamp::from_millis(Timestamp::now().as_millis() - 1000);
        let entry = Entry::new("expired", Expiry::At(past))?;
        self.store.backend().set(&self.full(key), entry).await
    }

    /// The keys that the backend still has, expired ones included.
    pub(crate) async fn physical_keys(&self) -> Result<Vec<String>> {
        let scan = Scan::new().prefix(&self.prefix);
        let found = self.store.backend().scan(scan);
        let keys = found.map_ok(|(key, _)| key[self.prefix.len()..].to_owned());
        keys.try_collect().await
    }

    /// Everything in the store.
    pub(crate) async fn everything(&self) -> Result<BTreeMap<String, Value>> {
        self.store.all().await
    }

    /// How much later than asked an entry of a store with a clock of its own may go.
    pub(crate) fn granularity(&self) -> Duration {
        self.can.native_expiry.unwrap_or_default()
    }

    /// How much an instant of expiry that is read may differ from the one that was given, or
    /// read before: a store with a clock of its own is told and tells what is left.
    pub(crate) fn clocks_differ_by(&self) -> Duration {
        match self.can.native_expiry {
            Some(_) => Duration::from_secs(2),
            None => Duration::ZERO,
        }
    }

    /// Fails unless both are the same entry, as far as clocks allow.
    pub(crate) fn same_entry(&self, found: &Entry, expected: &Entry) -> Verdict {
        same(found.json(), expected.json())?;
        match (found.expiry(), expected.expiry()) {
            (Expiry::At(found), Expiry::At(expected)) => {
                let off = found.as_millis().abs_diff(expected.as_millis());
                holds(
                    u128::from(off) <= self.clocks_differ_by().as_millis(),
                    format_args!("it expires at {found:?} and not at {expected:?}"),
                )
            }
            (found, expected) => same(found, expected),
        }
    }

    /// How many entries of up to `wanted` the store has room for.
    pub(crate) fn room_for(&self, wanted: usize) -> usize {
        wanted.min(self.can.max_entries.unwrap_or(usize::MAX))
    }

    /// Waits until `key` has expired.
    pub(crate) async fn wait_until_gone(&self, key: &str) -> Verdict {
        let deadline = Instant::now() + SOON + self.granularity();
        while self.store.has(key).await? {
            if Instant::now() > deadline {
                return Err(Stop::failed(format_args!(
                    "{key:?} is still there {SOON:?} later"
                )));
            }
            runtime::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Writes `entries` in parts, so that no request grows beyond reason.
    pub(crate) async fn fill<V: serde::Serialize + Sync>(
        &self,
        entries: &[(String, V)],
    ) -> Result<()> {
        for part in entries.chunks(1000) {
            self.store
                .set_many(part.iter().map(|(k, v)| (k, v)))
                .await?;
        }
        Ok(())
    }
}
