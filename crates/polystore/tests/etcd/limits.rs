//! What etcd takes in one request, and what becomes of more.

use futures_util::future::join_all;
use polystore_kv::{ErrorKind, kv};
use polystore_servers::Etcd;

use super::fails;

const MOST: usize = 1_500_000;

#[tokio::test]
async fn the_largest_entry_fits_every_write_and_a_larger_one_is_refused() {
    let Some(etcd) = Etcd::start() else { return };
    let store = kv(etcd.url()).unwrap();
    let key = "k".repeat(16 << 10);
    let text = "x".repeat(MOST - 2);
    assert!(store.insert(&key, &text).expires("1h").await.unwrap());
    store.set(&key, &text).expires("1h").await.unwrap();
    assert!(store.touch(&key, "2h").await.unwrap());
    assert_eq!(store.get(&key).await.unwrap(), Some(text.clone()));

    let longer = format!("{text}x");
    fails(store.set(&key, &longer).await, ErrorKind::InvalidValue);
    fails(store.insert("new", &longer).await, ErrorKind::InvalidValue);
    let both = [("small", "x"), ("large", &longer)];
    fails(store.set_many(both).await, ErrorKind::InvalidValue);
    assert_eq!(store.keys().await.unwrap(), [key]);
}

#[tokio::test]
async fn many_large_entries_are_split_and_paged() {
    let Some(etcd) = Etcd::start() else { return };
    let store = kv(etcd.url_with("timeout=60s")).unwrap();
    // More than a page of them may have, after many small ones.
    let small: Vec<_> = (0..3000)
        .map(|n| (format!("a{n:04}"), "x".to_owned()))
        .collect();
    store.set_many(small).await.unwrap();
    let large: Vec<_> = (0..24)
        .map(|n| (format!("b{n:02}"), "x".repeat(MOST - 100 - n)))
        .collect();
    store.set_many(large.clone()).await.unwrap();
    let keys: Vec<_> = large.iter().map(|(key, _)| key.clone()).collect();
    let got = store.get_many::<String>(&keys).await.unwrap();
    assert!(got.into_iter().eq(large));
    let mut lengths = 0;
    let mut all = store.stream::<String>();
    while let Some((_, text)) = all.try_next().await.unwrap() {
        lengths += text.len();
    }
    assert_eq!(lengths, 3000 + 24 * (MOST - 100) - 23 * 12);
    store.prefix("b").clear().await.unwrap();
    assert_eq!(store.keys().await.unwrap().len(), 3000);
}

#[tokio::test]
async fn a_server_that_takes_less_is_given_less() {
    let builder = Etcd::builder().flag("--max-txn-ops=10");
    let Some(etcd) = builder.flag("--max-request-bytes=20000").start() else {
        return;
    };
    let store = kv(etcd.url()).unwrap();
    let entries: Vec<_> = (0..300).map(|n| (format!("k{n:03}"), n)).collect();
    store.set_many(entries.clone()).await.unwrap();
    let keys = entries.iter().map(|(key, _)| key);
    let got = store.get_many::<i32>(keys).await.unwrap();
    assert_eq!(got.len(), 300);

    // One that is too large for this server is refused alone.
    let text = "x".repeat(30_000);
    let writes = (0..30).map(|n| {
        let key = format!("k{n:03}");
        let text = if n == 7 { &text[..] } else { "short" };
        store.set(&key, text).into_future()
    });
    for (n, written) in join_all(writes).await.into_iter().enumerate() {
        if n == 7 {
            let error = fails(written, ErrorKind::InvalidValue);
            assert!(!error.is_retryable() && !error.is_maybe_applied());
        } else {
            written.unwrap();
        }
    }
    assert_eq!(store.get("k007").await.unwrap(), Some(7));
    assert_eq!(store.get("k008").await.unwrap(), Some("short".to_owned()));
    store.clear().await.unwrap();
    assert!(store.keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_key_is_a_usage_error() {
    let Some(url) = Etcd::shared() else { return };
    let store = kv(url).unwrap();
    fails(store.set("", &1).await, ErrorKind::InvalidKey);
    fails(store.get::<i32>("").await, ErrorKind::InvalidKey);
    fails(store.del("").await, ErrorKind::InvalidKey);
    fails(
        store.set(&"k".repeat(16_385), &1).await,
        ErrorKind::InvalidKey,
    );
}
