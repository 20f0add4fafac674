//! What holds of every store that this crate and the npm package share.
//!
//! For tests: what does not hold panics.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use polystore_kv::Store;
use serde_json::{Value, json};

use crate::{Npm, Written};

/// One store, opened by both.
#[derive(Debug)]
pub struct Both {
    /// By the npm package.
    pub npm: Npm,
    /// By this crate.
    pub rust: Store,
    /// To what the npm package rounds the time that is left.
    pub rounding: Duration,
}

/// What a listing of `entries` is to give.
#[must_use]
pub fn expected(entries: &[Written]) -> BTreeMap<String, Value> {
    let pair = |entry: &Written| (entry.key.clone(), entry.value.clone());
    entries.iter().map(pair).collect()
}

/// Their keys.
#[must_use]
pub fn keys(entries: &[Written]) -> Vec<String> {
    entries.iter().map(|entry| entry.key.clone()).collect()
}

/// Writes them from here.
#[allow(clippy::missing_panics_doc, reason = "see above")]
pub async fn write(store: &Store, entries: &[Written]) {
    for entry in entries {
        let write = store.set(&entry.key, &entry.value);
        match entry.expires {
            Some(seconds) => write.expires(seconds).await.unwrap(),
            None => write.await.unwrap(),
        }
    }
}

#[allow(clippy::missing_panics_doc, reason = "see above")]
impl Both {
    /// They round nothing.
    #[must_use]
    pub fn new(npm: Npm, rust: Store) -> Self {
        // A fraction of a millisecond rounds up.
        let rounding = Duration::from_millis(1);
        Self {
            npm,
            rust,
            rounding,
        }
    }

    /// This crate sees exactly `entries`, with their expiries.
    pub async fn rust_sees(&self, entries: &[Written]) {
        let store = &self.rust;
        for entry in entries {
            let key = &entry.key;
            let found = store.get::<Value>(key).await.unwrap();
            assert_eq!(found.as_ref(), Some(&entry.value), "{key:?}");
            let left = store.ttl(key).await.unwrap().unwrap().as_duration();
            assert_eq!(left.is_some(), entry.expires.is_some(), "{key:?}");
            if let Some((left, seconds)) = left.zip(entry.expires) {
                let whole = Duration::from_secs_f64(seconds);
                assert!(left <= whole + self.rounding, "{key:?}: {left:?}");
                assert!(left + Duration::from_secs(600) > whole, "{key:?}: {left:?}");
            }
        }
        assert_eq!(store.all::<Value>().await.unwrap(), expected(entries));
        assert_eq!(store.keys().await.unwrap().len(), entries.len());
        let many = store.get_many::<Value>(keys(entries)).await.unwrap();
        assert_eq!(many, expected(entries));
        let users = store.prefix("user:").keys().await.unwrap();
        let written = keys(entries);
        let written = written.iter().filter(|key| key.starts_with("user:"));
        assert_eq!(users.len(), written.count());
    }

    /// The npm package sees exactly `entries`.
    pub fn npm_sees(&self, entries: &[Written]) {
        let values: Vec<Value> = entries.iter().map(|entry| entry.value.clone()).collect();
        assert_eq!(self.npm.get(&keys(entries)), values);
        let listed = self.npm.entries("");
        assert_eq!(listed.len(), entries.len());
        assert_eq!(BTreeMap::from_iter(listed), expected(entries));
        assert_eq!(self.npm.keys().len(), entries.len());
    }

    /// Each side reads, lists and deletes what the other wrote. The store is empty before and
    /// after.
    pub async fn share(&self, all: &[Written]) {
        let (kept, deleted) = all.split_at(100);
        self.npm.write(all);
        self.rust_sees(all).await;
        self.rust.del_many(keys(deleted)).await.unwrap();
        self.npm_sees(kept);
        assert_eq!(
            self.npm.get(&keys(deleted)),
            vec![Value::Null; deleted.len()]
        );
        self.rust.clear().await.unwrap();
        self.npm_sees(&[]);

        write(&self.rust, all).await;
        self.npm_sees(all);
        self.rust_sees(all).await;
        self.npm.del(&keys(kept));
        self.rust_sees(deleted).await;
        self.npm.clear();
        self.rust_sees(&[]).await;
    }

    /// What either side lets expire is gone for both, and not before.
    pub async fn expire(&self) {
        let begun = Instant::now();
        self.npm.write(&[Written {
            key: "theirs".into(),
            value: json!(1),
            expires: Some(2.0),
        }]);
        self.rust.set("ours", &1).expires(2).await.unwrap();
        let both = ["theirs".to_owned(), "ours".to_owned()];
        let deadline = begun + Duration::from_secs(60);
        loop {
            let here = self.rust.get_many::<Value>(&both).await.unwrap().len();
            let there = self.npm.get(&both);
            if here == 0 && there == [Value::Null, Value::Null] {
                break;
            }
            assert!(Instant::now() < deadline, "{here} here, {there:?} there");
        }
        assert!(begun.elapsed() >= Duration::from_secs(2));
        assert_eq!(self.rust.keys().await.unwrap(), [""; 0]);
        assert_eq!(self.npm.keys(), [""; 0]);
    }
}
