//! The npm package alone, on the servers that the tests start: what the tests beside it stand on.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::BTreeMap;

use polystore_interop::{Npm, Written, entries, npm_is_there};
use polystore_servers::{Etcd, Postgres, Redis};
use serde_json::Value;
use tempfile::TempDir;

/// Keys that the npm package can't write to PostgreSQL or etcd.
fn possible(url: &str, key: &str) -> bool {
    let nul = url.starts_with("postgres:") && key.contains('\0');
    let empty = url.starts_with("etcd:") && key.is_empty();
    !nul && !empty
}

/// It reads, lists and deletes what it wrote.
fn works_alone(url: &str) {
    let npm = Npm::new(url.to_owned());
    let mut all = entries();
    all.retain(|entry| possible(url, &entry.key));
    let keys: Vec<String> = all.iter().map(|entry| entry.key.clone()).collect();
    let values: Vec<Value> = all.iter().map(|entry| entry.value.clone()).collect();
    assert!(keys.len() > 190);

    npm.write(&all);
    assert_eq!(npm.get(&keys), values);
    let pair = |entry: &Written| (entry.key.clone(), entry.value.clone());
    let expected: BTreeMap<String, Value> = all.iter().map(pair).collect();
    assert_eq!(BTreeMap::from_iter(npm.entries("")), expected);
    assert_eq!(npm.keys().len(), keys.len());
    let users = keys.iter().filter(|key| key.starts_with("user:")).count();
    assert_eq!(npm.entries("user:").len(), users);

    let (kept, deleted) = keys.split_at(100);
    npm.del(deleted);
    assert_eq!(npm.get(deleted), vec![Value::Null; deleted.len()]);
    assert_eq!(npm.keys().len(), kept.len());
    npm.clear();
    assert_eq!(npm.keys(), [""; 0]);
}

/// Servers of its own, as it clears all of them.
#[test]
fn npm_keeps_entries_in_redis() {
    let Some(redis) = Redis::start().filter(|_| npm_is_there()) else {
        return;
    };
    works_alone(&redis.url());
}

#[test]
fn npm_keeps_entries_in_postgres() {
    let Some(postgres) = Postgres::start().filter(|_| npm_is_there()) else {
        return;
    };
    works_alone(&postgres.url());
}

#[test]
fn npm_keeps_entries_in_etcd() {
    let Some(etcd) = Etcd::start().filter(|_| npm_is_there()) else {
        return;
    };
    works_alone(&etcd.url());
}

#[test]
fn npm_keeps_entries_in_leveldb() {
    if !npm_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    works_alone(&format!("level:{}", folder.path().join("store").display()));
}
