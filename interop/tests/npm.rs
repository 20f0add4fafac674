//! Each side reads, lists and deletes what the other wrote.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use polystore_interop::{Npm, Written, entries, npm_is_there};
use polystore_kv::{Store, kv};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The same store for both sides.
struct Both {
    npm: Npm,
    rust: Store,
    _folder: TempDir,
}

fn both(npm_url: impl Fn(&Path) -> String, rust_url: impl Fn(&Path) -> String) -> Option<Both> {
    if !npm_is_there() {
        return None;
    }
    let folder = TempDir::new().unwrap();
    Some(Both {
        npm: Npm::new(npm_url(folder.path())),
        rust: kv(rust_url(folder.path())).unwrap(),
        _folder: folder,
    })
}

fn file() -> Option<Both> {
    let url = |folder: &Path| format!("file://{}/store.json", folder.display());
    both(url, url)
}

fn folder() -> Option<Both> {
    let url = |folder: &Path| format!("file://{}/store/", folder.display());
    both(url, url)
}

fn sqlite() -> Option<Both> {
    let url = |folder: &Path| format!("sqlite:{}/store.db", folder.display());
    both(url, url)
}

fn expected(entries: &[Written]) -> BTreeMap<String, Value> {
    let pairs = entries
        .iter()
        .map(|entry| (entry.key.clone(), entry.value.clone()));
    pairs.collect()
}

fn keys(entries: &[Written]) -> Vec<String> {
    entries.iter().map(|entry| entry.key.clone()).collect()
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

/// Rust sees exactly `entries`, with their expiries.
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
            // A fraction of a millisecond rounds up.
            assert!(
                left <= whole + Duration::from_millis(1),
                "{key:?}: {left:?}"
            );
            assert!(left + Duration::from_secs(600) > whole, "{key:?}: {left:?}");
        }
    }
    assert_eq!(store.all::<Value>().await.unwrap(), expected(entries));
    assert_eq!(store.keys().await.unwrap().len(), entries.len());
    let users = store.prefix("user:").keys().await.unwrap();
    let written = entries
        .iter()
        .filter(|entry| entry.key.starts_with("user:"));
    assert_eq!(users.len(), written.count());
}

/// The npm package sees exactly `entries`.
fn npm_sees(npm: &Npm, entries: &[Written]) {
    let values: Vec<Value> = entries.iter().map(|entry| entry.value.clone()).collect();
    assert_eq!(npm.get(&keys(entries)), values);
    let listed = npm.entries("");
    assert_eq!(listed.len(), entries.len());
    assert_eq!(BTreeMap::from_iter(listed), expected(entries));
    assert_eq!(npm.keys().len(), entries.len());
}

async fn shares_both_ways(both: &Both) {
    let Both { npm, rust, .. } = both;
    let all = entries();
    assert_eq!(all.len(), 200);

    npm.write(&all);
    rust_sees(rust, &all).await;
    let (kept, deleted) = all.split_at(100);
    for key in keys(deleted) {
        rust.del(&key).await.unwrap();
    }
    npm_sees(npm, kept);
    assert_eq!(npm.get(&keys(deleted)), vec![Value::Null; 100]);
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

/// What either side lets expire is gone for both, and not before.
async fn expires_on_both_sides(both: &Both) {
    let Both { npm, rust, .. } = both;
    let begun = Instant::now();
    let short = [Written {
        key: "theirs".into(),
        value: json!(1),
        expires: Some(2.0),
    }];
    npm.write(&short);
    rust.set("ours", &1).expires(2).await.unwrap();
    let both_keys = ["theirs".to_owned(), "ours".to_owned()];
    let deadline = begun + Duration::from_secs(60);
    loop {
        let here = rust.get_many::<Value>(&both_keys).await.unwrap().len();
        let there = npm.get(&both_keys);
        if here == 0 && there == [Value::Null, Value::Null] {
            break;
        }
        assert!(Instant::now() < deadline, "{here} here, {there:?} there");
    }
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(rust.keys().await.unwrap(), [""; 0]);
    assert_eq!(npm.keys(), [""; 0]);
}

#[tokio::test]
async fn a_file_is_shared() {
    let Some(both) = file() else { return };
    shares_both_ways(&both).await;
    expires_on_both_sides(&both).await;
    // The npm package cannot write this key to a file, but it reads it.
    both.rust.set("__proto__", &1).await.unwrap();
    assert_eq!(both.npm.get(&["__proto__".to_owned()]), [json!(1)]);
}

#[tokio::test]
async fn a_folder_is_shared() {
    let Some(both) = folder() else { return };
    shares_both_ways(&both).await;
    expires_on_both_sides(&both).await;
    // What it cannot hold does not get in its way.
    both.rust.set(&"é".repeat(300), &1).await.unwrap();
    both.npm.write(&[Written {
        key: "__proto__".into(),
        value: json!(1),
        expires: None,
    }]);
    assert_eq!(both.npm.keys(), ["__proto__"]);
    assert_eq!(both.rust.keys().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_sqlite_table_is_shared() {
    let Some(both) = sqlite() else { return };
    shares_both_ways(&both).await;
    expires_on_both_sides(&both).await;
}
