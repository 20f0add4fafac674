//! Each side reads, lists and deletes what the other wrote, in one table of a PostgreSQL database.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use polystore_interop::{Npm, Written, entries, npm_is_there};
use polystore_kv::{Store, kv};
use polystore_servers::Postgres;
use serde_json::{Value, json};

/// The 200 entries, but for keys that PostgreSQL cannot hold.
fn possible() -> Vec<Written> {
    let mut all = entries();
    all.retain(|entry| !entry.key.contains('\0'));
    assert!(all.len() > 195);
    all
}

fn keys(entries: &[Written]) -> Vec<String> {
    entries.iter().map(|entry| entry.key.clone()).collect()
}

fn expected(entries: &[Written]) -> BTreeMap<String, Value> {
    let pair = |entry: &Written| (entry.key.clone(), entry.value.clone());
    entries.iter().map(pair).collect()
}

async fn rust_sees(store: &Store, entries: &[Written]) {
    for Written {
        key,
        value,
        expires,
    } in entries
    {
        assert_eq!(
            store.get::<Value>(key).await.unwrap().as_ref(),
            Some(value),
            "{key:?}"
        );
        let left = store.ttl(key).await.unwrap().unwrap().as_duration();
        assert_eq!(left.is_some(), expires.is_some(), "{key:?}");
        if let Some((left, seconds)) = left.zip(*expires) {
            let whole = Duration::from_secs_f64(seconds);
            assert!(
                left <= whole + Duration::from_millis(100),
                "{key:?}: {left:?}"
            );
            assert!(left + Duration::from_secs(600) > whole, "{key:?}: {left:?}");
        }
    }
    assert_eq!(store.all::<Value>().await.unwrap(), expected(entries));
    let users = store.prefix("user:").keys().await.unwrap();
    let written = entries
        .iter()
        .filter(|entry| entry.key.starts_with("user:"));
    assert_eq!(users.len(), written.count());
}

fn npm_sees(npm: &Npm, entries: &[Written]) {
    let values: Vec<Value> = entries.iter().map(|entry| entry.value.clone()).collect();
    assert_eq!(npm.get(&keys(entries)), values);
    assert_eq!(BTreeMap::from_iter(npm.entries("")), expected(entries));
    assert_eq!(npm.keys().len(), entries.len());
}

async fn write(store: &Store, entries: &[Written]) {
    for Written {
        key,
        value,
        expires,
    } in entries
    {
        let write = store.set(key, value);
        match expires {
            Some(seconds) => write.expires(*seconds).await.unwrap(),
            None => write.await.unwrap(),
        }
    }
}

async fn shares_both_ways(npm: &Npm, rust: &Store) {
    let all = possible();
    npm.write(&all);
    rust_sees(rust, &all).await;
    let (kept, deleted) = all.split_at(100);
    rust.del_many(keys(deleted)).await.unwrap();
    npm_sees(npm, kept);
    rust.clear().await.unwrap();
    npm_sees(npm, &[]);

    write(rust, &all).await;
    npm_sees(npm, &all);
    rust_sees(rust, &all).await;
    npm.del(&keys(kept));
    rust_sees(rust, deleted).await;
    npm.clear();
    rust_sees(rust, &[]).await;
}

async fn expires_on_both_sides(npm: &Npm, rust: &Store) {
    let begun = Instant::now();
    npm.write(&[Written {
        key: "theirs".into(),
        value: json!(1),
        expires: Some(2.0),
    }]);
    rust.set("ours", &1).expires(2).await.unwrap();
    let both = ["theirs".to_owned(), "ours".to_owned()];
    let deadline = begun + Duration::from_secs(60);
    loop {
        let here = rust.get_many::<Value>(&both).await.unwrap().len();
        let there = npm.get(&both);
        if here == 0 && there == [Value::Null, Value::Null] {
            break;
        }
        assert!(Instant::now() < deadline, "{here} here, {there:?} there");
    }
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(npm.keys(), [""; 0]);
}

#[tokio::test]
async fn a_table_that_npm_made_is_shared() {
    let Some(server) = Postgres::start().filter(|_| npm_is_there()) else {
        return;
    };
    let npm = Npm::new(server.url());
    assert_eq!(npm.keys(), [""; 0]);
    let rust = kv(server.url()).unwrap();
    shares_both_ways(&npm, &rust).await;
    expires_on_both_sides(&npm, &rust).await;
}

#[tokio::test]
async fn a_table_that_this_crate_made_is_shared() {
    let Some(server) = Postgres::start().filter(|_| npm_is_there()) else {
        return;
    };
    let npm = Npm::new(server.url());
    let rust = kv(server.url()).unwrap();
    rust.capabilities().await.unwrap();
    shares_both_ways(&npm, &rust).await;
    expires_on_both_sides(&npm, &rust).await;
}
