//! An etcd between this crate and the npm package `polystore` (etcd3), at the same time.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use polystore_interop::{Npm, Written, entries, npm_is_there};
use polystore_kv::{Store, kv};
use polystore_servers::Etcd;
use serde_json::{Value, json};

/// What both sides can write: etcd has no empty key.
fn possible() -> Vec<Written> {
    let mut all = entries();
    all.retain(|entry| !entry.key.is_empty());
    assert_eq!(all.len(), 199);
    all
}

fn map(entries: &[Written]) -> BTreeMap<String, Value> {
    let pairs = entries
        .iter()
        .map(|entry| (entry.key.clone(), entry.value.clone()));
    pairs.collect()
}

fn keys(entries: &[Written]) -> Vec<String> {
    entries.iter().map(|entry| entry.key.clone()).collect()
}

async fn rust_sees(store: &Store, entries: &[Written]) {
    for entry in entries {
        let key = &entry.key;
        let found = store.get::<Value>(key).await.unwrap();
        assert_eq!(found.as_ref(), Some(&entry.value), "{key:?}");
        let left = store.ttl(key).await.unwrap().unwrap().as_duration();
        assert_eq!(left.is_some(), entry.expires.is_some(), "{key:?}");
        if let Some((left, seconds)) = left.zip(entry.expires) {
            let whole = Duration::from_secs_f64(seconds);
            // A fraction of a millisecond rounds up.
            assert!(
                left <= whole + Duration::from_millis(1),
                "{key:?}: {left:?}"
            );
            assert!(left + Duration::from_secs(600) > whole, "{key:?}: {left:?}");
        }
    }
    assert_eq!(store.all::<Value>().await.unwrap(), map(entries));
    let users = store.prefix("user:").keys().await.unwrap().len();
    let written = keys(entries)
        .iter()
        .filter(|key| key.starts_with("user:"))
        .count();
    assert_eq!(users, written);
}

fn npm_sees(npm: &Npm, entries: &[Written]) {
    let values: Vec<Value> = entries.iter().map(|entry| entry.value.clone()).collect();
    assert_eq!(npm.get(&keys(entries)), values);
    assert_eq!(BTreeMap::from_iter(npm.entries("")), map(entries));
    assert_eq!(npm.keys().len(), entries.len());
}

#[tokio::test]
async fn each_side_reads_lists_and_deletes_what_the_other_wrote() {
    let Some(etcd) = Etcd::start().filter(|_| npm_is_there()) else {
        return;
    };
    let (npm, rust) = (Npm::new(etcd.url()), kv(etcd.url()).unwrap());
    let all = possible();
    let (kept, deleted) = all.split_at(100);

    npm.write(&all);
    rust_sees(&rust, &all).await;
    rust.del_many(keys(deleted)).await.unwrap();
    npm_sees(&npm, kept);
    assert_eq!(npm.get(&keys(deleted)), vec![Value::Null; deleted.len()]);
    // Over one of theirs, with a lease.
    assert!(rust.touch(&kept[0].key, "2h").await.unwrap());
    assert!(!rust.insert(&kept[0].key, &0).await.unwrap());
    npm_sees(&npm, kept);
    rust.clear().await.unwrap();
    npm_sees(&npm, &[]);

    for Written {
        key,
        value,
        expires,
    } in &all
    {
        let write = rust.set(key, value);
        match expires {
            Some(seconds) => write.expires(*seconds).await.unwrap(),
            None => write.await.unwrap(),
        }
    }
    npm_sees(&npm, &all);
    rust_sees(&rust, &all).await;
    npm.del(&keys(kept));
    rust_sees(&rust, deleted).await;
    npm.clear();
    rust_sees(&rust, &[]).await;
}

#[tokio::test]
async fn what_either_side_lets_expire_is_gone_for_both_and_not_before() {
    let Some(etcd) = Etcd::start().filter(|_| npm_is_there()) else {
        return;
    };
    let (npm, rust) = (Npm::new(etcd.url()), kv(etcd.url()).unwrap());
    let begun = Instant::now();
    npm.write(&[Written {
        key: "theirs".into(),
        value: json!(1),
        expires: Some(2.0),
    }]);
    rust.set("ours", &1).expires(2).await.unwrap();
    let both = ["theirs".to_owned(), "ours".to_owned()];
    loop {
        let here = rust.get_many::<Value>(&both).await.unwrap().len();
        let there = npm.get(&both);
        if here == 0 && there == [Value::Null, Value::Null] {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{here} here, {there:?} there"
        );
    }
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert!(rust.keys().await.unwrap().is_empty());
    // Theirs stays on the server until somebody prunes.
    assert_eq!(rust.prefix("theirs").prune().await.unwrap(), 1);
}
