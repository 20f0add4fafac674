//! What is kept, and what is somebody else's.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use polystore_conformance::{Outcome, Suite};
use polystore_kv::{ErrorKind, Scan, kv};
use polystore_servers::Etcd;
use serde_json::{Value, json};

use super::{base64, count, fails, put, raw};

/// The suite's other properties run on a server that they share.
#[test]
fn what_is_about_a_whole_store_holds() {
    let Some(etcd) = Etcd::start() else { return };
    let url = etcd.url();
    let suite = Suite::new().disposable_store("etcd", move || {
        let url = url.clone();
        async move {
            let store = kv(url)?;
            store.clear().await?;
            Ok::<_, polystore_kv::Error>(store)
        }
    });
    let trials = suite.outcomes(|name| name.ends_with("_at_the_root"));
    assert!(trials.len() > 10, "{}", trials.len());
    for trial in trials {
        assert_eq!(trial.outcome, Outcome::Passed, "{}", trial.property);
    }
}

#[tokio::test]
async fn the_wrapper_of_the_npm_package_is_kept() {
    let Some(etcd) = Etcd::start() else { return };
    let store = kv(etcd.url()).unwrap();
    store.set("é", &json!({"a": [1]})).await.unwrap();
    let kept = raw(&etcd, "é".as_bytes()).unwrap();
    assert_eq!(
        kept["value"],
        base64(br#"{"expires":null,"value":{"a":[1]}}"#)
    );
    assert_eq!(kept["lease"], Value::Null);

    put(
        &etcd,
        b"theirs",
        "{\n  \"expires\": null,\n  \"value\": \"b\"\n}",
    );
    assert_eq!(store.get("theirs").await.unwrap(), Some("b".to_owned()));
    put(&etcd, b"over", r#"{"expires":1.5,"value":1}"#);
    assert_eq!(store.get::<Value>("over").await.unwrap(), None);
}

#[tokio::test]
async fn what_is_no_entry_is_corrupt_to_get_left_out_of_listings_and_kept() {
    let Some(etcd) = Etcd::start() else { return };
    let store = kv(etcd.url()).unwrap();
    put(&etcd, b"\xff\xfe", r#"{"expires":null,"value":1}"#);
    put(&etcd, b"p:\xff", r#"{"expires":null,"value":1}"#);
    put(&etcd, b"p:foreign", "not JSON");
    put(&etcd, b"/registry/pods/a", "k8s\0\x12");
    store.set("p:mine", &1).await.unwrap();
    store.set("q", &1).await.unwrap();

    fails(store.get::<Value>("p:foreign").await, ErrorKind::Corrupt);
    fails(store.touch("p:foreign", "1h").await, ErrorKind::Corrupt);
    fails(store.insert("p:foreign", &1).await, ErrorKind::Corrupt);
    fails(store.replace("p:foreign", &1).await, ErrorKind::Corrupt);
    assert_eq!(store.keys().await.unwrap(), ["p:mine", "q"]);
    assert_eq!(store.prune().await.unwrap(), 0);

    store.prefix("p:").clear().await.unwrap();
    assert_eq!(store.keys().await.unwrap(), ["q"]);
    assert_eq!(count(&etcd), 5);
    store.clear().await.unwrap();
    assert_eq!(count(&etcd), 4);
    // What is written over is an entry, and what is deleted is gone.
    store.set("p:foreign", &1).await.unwrap();
    store.del("/registry/pods/a").await.unwrap();
    assert_eq!(store.keys().await.unwrap(), ["p:foreign"]);
    assert_eq!(count(&etcd), 3);
}

#[tokio::test]
async fn a_listing_is_of_one_moment_unless_that_is_compacted() {
    let Some(etcd) = Etcd::start() else { return };
    let store = kv(etcd.url()).unwrap();
    let entries: Vec<_> = (0..3000).map(|n| (format!("k{n:04}"), 1)).collect();
    store.set_many(entries.clone()).await.unwrap();

    // Each writes every key, while the listing is at its first page.
    let mut values = store.stream::<u32>();
    assert_eq!(values.try_next().await.unwrap().unwrap().1, 1);
    store
        .set_many(entries.iter().map(|(key, _)| (key, 2)))
        .await
        .unwrap();
    store.del("k2999").await.unwrap();
    let rest: Vec<_> = values.try_collect().await.unwrap();
    assert_eq!(rest.len(), 2999);
    assert!(rest.iter().all(|(_, value)| *value == 1));

    let mut values = store.stream::<u32>();
    let first = values.try_next().await.unwrap().unwrap().0;
    store
        .set_many(entries.iter().map(|(key, _)| (key, 3)))
        .await
        .unwrap();
    let revision = raw(&etcd, b"k2998").unwrap()["mod_revision"].clone();
    etcd.call(
        "kv/compaction",
        &json!({"revision": revision, "physical": true}).to_string(),
    );
    let rest: Vec<_> = values.try_collect().await.unwrap();
    let keys: BTreeSet<_> = rest
        .iter()
        .map(|(key, _)| key.clone())
        .chain([first])
        .collect();
    assert!(
        keys.len() >= 2999 && keys.len() == rest.len() + 1,
        "{}",
        keys.len()
    );
    assert!(rest.iter().any(|(_, value)| *value == 3));
}

#[tokio::test]
async fn a_listing_of_a_prefix_reads_no_more_than_that() {
    let Some(etcd) = Etcd::start() else { return };
    let proxy = polystore_servers::Proxy::to(etcd.address());
    let store = kv(proxy.url(&etcd.url())).unwrap();
    let text = "x".repeat(100);
    let entries = (0..20_000).map(|n| (format!("a{n}"), &text));
    store.set_many(entries).await.unwrap();
    store
        .set_many((0..100).map(|n| (format!("b{n}"), &text)))
        .await
        .unwrap();

    let before = proxy.counts();
    assert_eq!(store.prefix("b").keys().await.unwrap().len(), 100);
    let first = store.scan(Scan::new().limit(3));
    assert_eq!(first.try_collect::<Vec<_>>().await.unwrap().len(), 3);
    assert_eq!(
        store
            .get_many::<String>((0..100).map(|n| format!("b{n}")))
            .await
            .unwrap()
            .len(),
        100
    );
    store.prefix("b").clear().await.unwrap();
    let spent = proxy.counts() - before;
    assert!(spent.requests < 30, "{spent:?}");
    assert!(spent.reply_bytes < 100_000, "{spent:?}");
    assert_eq!(count(&etcd), 20_000);
}
