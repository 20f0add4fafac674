//! Tasks, runtimes and clients that share a store.

use std::time::Duration;

use futures_util::future::join_all;
use polystore_kv::{ErrorKind, kv};
use polystore_servers::{Etcd, Proxy};
use tokio::runtime::Runtime;

use super::fails;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_share_requests() {
    let Some(etcd) = Etcd::start() else { return };
    let proxy = Proxy::to(etcd.address());
    let store = kv(proxy.url(&etcd.url())).unwrap();
    let entries = (0..64).map(|n| (format!("k{n}"), n));
    store.set_many(entries).await.unwrap();
    let delay = Duration::from_millis(50);
    proxy.delay(delay, Duration::ZERO);

    let before = proxy.counts();
    let gets = (0..64).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.get::<i32>(&format!("k{n}")).await })
    });
    for (n, got) in (0..).zip(join_all(gets.collect::<Vec<_>>()).await) {
        assert_eq!(got.unwrap().unwrap(), Some(n));
    }
    let reads = proxy.counts() - before;
    let sets = (0..64).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.set(&format!("k{n}"), &(n + 1)).await })
    });
    for set in join_all(sets.collect::<Vec<_>>()).await {
        set.unwrap().unwrap();
    }
    let writes = proxy.counts() - before;
    // A request of HTTP/2 comes in a few pieces, and window updates are in between.
    assert!(reads.requests <= 16, "{reads:?}");
    assert!(writes.requests <= 32, "{writes:?}");
    assert_eq!(store.get("k63").await.unwrap(), Some(64));
    assert_eq!(proxy.counts().connections, 1);
}

#[test]
fn a_store_goes_from_runtime_to_runtime() {
    let Some(etcd) = Etcd::start() else { return };
    let store = kv(etcd.url()).unwrap();
    for n in 0..5 {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            store.set("a", &n).await.unwrap();
            assert!(store.insert(&format!("new{n}"), &n).await.unwrap());
            assert_eq!(store.get("a").await.unwrap(), Some(n));
            assert_eq!(store.keys().await.unwrap().len(), n + 2);
        });
        // What is under way goes with it.
        runtime.block_on(async {
            let store = store.clone();
            tokio::spawn(async move { store.set("a", &0).await });
        });
        runtime.shutdown_background();
    }
    let both: Vec<_> = (0..2).map(|_| Runtime::new().unwrap()).collect();
    for n in 0..20 {
        both[n % 2].block_on(async { store.set("a", &n).await.unwrap() });
    }
    let got = both[0].block_on(store.get("a")).unwrap();
    assert_eq!(got, Some(19));
    let error = fails(
        futures_executor::block_on(store.get::<i32>("a")),
        ErrorKind::Unsupported,
    );
    assert!(error.to_string().contains("tokio"), "{error}");
}

#[tokio::test]
async fn closing_finishes_what_is_under_way() {
    let Some(etcd) = Etcd::start() else { return };
    let proxy = Proxy::to(etcd.address());
    let store = kv(proxy.url(&etcd.url())).unwrap();
    store.set("first", &1).await.unwrap();
    proxy.delay(Duration::from_millis(100), Duration::ZERO);
    let writes: Vec<_> = (0..40)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.set(&format!("k{n}"), &n).await })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await.unwrap();
    let mut done = 0;
    for write in writes {
        match write.await.unwrap() {
            Ok(()) => done += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}"),
        }
    }
    assert!(done > 0);
    let again = kv(etcd.url()).unwrap();
    assert_eq!(again.prefix("k").keys().await.unwrap().len(), done);
    super::until("the connection is closed", async || {
        proxy.open_connections() == 0
    })
    .await;
}

#[tokio::test]
async fn dropped_operations_leave_the_old_or_the_new() {
    let Some(etcd) = Etcd::start() else { return };
    let proxy = Proxy::to(etcd.address());
    let store = kv(proxy.url(&etcd.url())).unwrap();
    store.set("a", &(0, "x".repeat(1000))).await.unwrap();
    proxy.delay(Duration::from_millis(1), Duration::from_millis(1));
    for n in 1..150_u32 {
        let limit = Duration::from_micros(u64::from(n % 10) * 700);
        let write = async {
            let value = (n, "x".repeat(1000));
            let _ = store.set("a", &value).await;
            let _ = store.touch("a", "1h").await;
        };
        let _ = tokio::time::timeout(limit, write).await;
        let read = async { (store.get::<(u32, String)>("a").await, store.keys().await) };
        let _ = tokio::time::timeout(limit, read).await;
        let (seen, text) = store.get::<(u32, String)>("a").await.unwrap().unwrap();
        assert!(seen <= n && text.len() == 1000);
    }
    store.set("a", &1).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), Some(1));
    assert_eq!(proxy.counts().connections, 1);
}

#[cfg(feature = "tonic-0_14")]
#[tokio::test]
async fn a_channel_of_the_program_is_a_store() {
    use tonic::transport::Endpoint;

    let Some(etcd) = Etcd::start() else { return };
    let endpoint = Endpoint::from_shared(format!("http://{}", etcd.address())).unwrap();
    let store = kv(endpoint.connect_lazy()).unwrap();
    store.set("a", &1).expires("1h").await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), Some(1));
    assert_eq!(store.kind(), "etcd");
    etcd.kill();
    etcd.start_again();
    store.set("a", &2).await.unwrap();
    assert_eq!(store.keys().await.unwrap(), ["a"]);

    etcd.enable_auth("secret");
    fails(store.get::<i32>("a").await, ErrorKind::Denied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_touched_all_the_time_goes_with_a_clear() {
    let Some(etcd) = Etcd::start() else { return };
    let store = kv(etcd.url()).unwrap();
    let keys: Vec<_> = (0..5000).map(|n| format!("k{n:04}")).collect();
    store
        .set_many(keys.iter().map(|key| (key, 1)))
        .await
        .unwrap();
    let (begin, begun) = tokio::sync::oneshot::channel();
    let touching = {
        let store = store.clone();
        tokio::spawn(async move {
            assert!(store.touch("k4500", 1000).await.unwrap());
            begin.send(()).unwrap();
            while store.touch("k4500", 1000).await.unwrap() {}
        })
    };
    begun.await.unwrap();
    store.clear().await.unwrap();
    let left = store.keys().await.unwrap();
    touching.abort();
    assert!(left.is_empty(), "{left:?}");
}

/// A session that all of a page's requests change, a lock that is held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_one_key_share_requests_too() {
    let Some(etcd) = Etcd::start() else { return };
    let proxy = Proxy::to(etcd.address());
    let store = kv(proxy.url(&etcd.url())).unwrap();
    store.set("a", &0).await.unwrap();
    proxy.delay(Duration::from_millis(50), Duration::ZERO);
    let before = proxy.counts();
    let changes = (0..200).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            match number % 4 {
                0 => store.touch("a", "1h").await,
                _ => store.replace("a", &number).await,
            }
        })
    });
    for changed in join_all(changes.collect::<Vec<_>>()).await {
        assert!(changed.unwrap().unwrap(), "it was there all the time");
    }
    let requests = proxy.counts() - before;
    assert!(requests.requests <= 100, "{requests:?}");
    assert!(store.get::<u32>("a").await.unwrap() > Some(0));
    store.del("a").await.unwrap();
    assert!(!store.replace("a", &1).await.unwrap());
}
