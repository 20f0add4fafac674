//! One Redis server for both sides: each reads, lists and deletes what the other wrote.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use polystore_interop::{Npm, Written, entries, npm_is_there};
use polystore_kv::{Store, kv};
use polystore_servers::Redis;
use serde_json::{Value, json};

fn map(entries: &[Written]) -> BTreeMap<String, Value> {
    let pairs = entries.iter();
    pairs
        .map(|entry| (entry.key.clone(), entry.value.clone()))
        .collect()
}

fn keys(entries: &[Written]) -> Vec<String> {
    entries.iter().map(|entry| entry.key.clone()).collect()
}

/// Both see exactly `entries`, and here with their expiries.
async fn both_see(npm: &Npm, rust: &Store, entries: &[Written]) {
    let values: Vec<Value> = entries.iter().map(|entry| entry.value.clone()).collect();
    assert_eq!(npm.get(&keys(entries)), values);
    assert_eq!(BTreeMap::from_iter(npm.entries("")), map(entries));
    assert_eq!(npm.keys().len(), entries.len());

    assert_eq!(rust.all::<Value>().await.unwrap(), map(entries));
    assert_eq!(rust.keys().await.unwrap().len(), entries.len());
    let many = rust.get_many::<Value>(keys(entries)).await.unwrap();
    assert_eq!(BTreeMap::from_iter(many), map(entries));
    for Written {
        key,
        value,
        expires,
    } in entries
    {
        let found = rust.get::<Value>(key).await.unwrap();
        assert_eq!(found.as_ref(), Some(value), "{key:?}");
        let left = rust.ttl(key).await.unwrap().unwrap().as_duration();
        assert_eq!(left.is_some(), expires.is_some(), "{key:?}");
        if let Some((left, seconds)) = left.zip(*expires) {
            // The npm package rounds to whole seconds.
            let whole = Duration::from_secs_f64(seconds) + Duration::from_secs(1);
            assert!(left <= whole, "{key:?}: {left:?}");
            assert!(left + Duration::from_secs(600) > whole, "{key:?}: {left:?}");
        }
    }
}

#[tokio::test]
async fn a_redis_server_is_shared() {
    let Some(redis) = Redis::start().filter(|_| npm_is_there()) else {
        return;
    };
    let (npm, rust) = (Npm::new(redis.url()), kv(redis.url()).unwrap());
    let all = entries();
    assert_eq!(all.len(), 200);

    npm.write(&all);
    both_see(&npm, &rust, &all).await;
    let (kept, deleted) = all.split_at(100);
    rust.del_many(keys(deleted)).await.unwrap();
    both_see(&npm, &rust, kept).await;
    assert_eq!(npm.get(&keys(deleted)), vec![Value::Null; 100]);
    rust.clear().await.unwrap();
    both_see(&npm, &rust, &[]).await;

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
    both_see(&npm, &rust, &all).await;
    npm.del(&keys(kept));
    both_see(&npm, &rust, deleted).await;
    npm.clear();
    both_see(&npm, &rust, &[]).await;
}

#[tokio::test]
async fn what_either_side_lets_expire_is_gone_for_both_and_not_before() {
    let Some(redis) = Redis::start().filter(|_| npm_is_there()) else {
        return;
    };
    let (npm, rust) = (Npm::new(redis.url()), kv(redis.url()).unwrap());
    let begun = Instant::now();
    npm.write(&[Written {
        key: "theirs".into(),
        value: json!(1),
        expires: Some(2.0),
    }]);
    rust.set("ours", &1).expires(2).await.unwrap();
    let both = ["theirs".to_owned(), "ours".to_owned()];
    let deadline = begun + Duration::from_secs(60);
    while !rust.get_many::<Value>(&both).await.unwrap().is_empty()
        || npm.get(&both) != [Value::Null, Value::Null]
    {
        assert!(Instant::now() < deadline);
    }
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(rust.keys().await.unwrap(), [""; 0]);
}
