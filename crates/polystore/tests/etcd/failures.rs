//! A server that goes, comes back, hangs or is full.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use polystore_kv::{ErrorKind, kv};
use polystore_servers::{Etcd, Proxy};
use serde_json::json;

use super::load::Load;
use super::{fails, raw, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_loses_nothing() {
    let Some(etcd) = Etcd::start() else { return };
    let store = kv(etcd.url()).unwrap();
    store.set("a", &1).await.unwrap();
    let load = Load::start(&store);
    for _ in 0..2 {
        load.goes_on(100).await;
        etcd.kill();
        etcd.start_again();
    }
    load.goes_on(100).await;
    etcd.stop();
    etcd.start_again();
    load.goes_on(100).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stays_away_is_unreachable_until_it_is_back() {
    let Some(etcd) = Etcd::start() else { return };
    let store = kv(etcd.url_with("timeout=700ms")).unwrap();
    store.set("a", &1).await.unwrap();
    let load = Load::start(&store);
    load.goes_on(20).await;
    etcd.kill();
    let begun = Instant::now();
    let error = store.get::<i32>("a").await.unwrap_err();
    assert!(error.is_connection() && error.is_retryable(), "{error:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    etcd.start_again();
    load.goes_on(20).await;
    assert!(!load.end().await.is_empty());
}

#[tokio::test]
async fn connections_cut_in_the_middle_are_replaced() {
    let Some(etcd) = Etcd::start() else { return };
    let proxy = Proxy::to(etcd.address());
    let store = kv(proxy.url(&etcd.url())).unwrap();
    let text = "x".repeat(50_000);
    store
        .set_many((0..50).map(|n| (format!("k{n:02}"), &text)))
        .await
        .unwrap();
    for n in 0..40 {
        proxy.cut_after(n * 997);
        assert_eq!(
            store.get::<String>("k07").await.unwrap().as_ref(),
            Some(&text)
        );
        proxy.cut_after(n * 20_011);
        assert_eq!(store.keys().await.unwrap().len(), 50);
        store.set("k00", &text).await.unwrap();
    }
    for n in 0..40 {
        proxy.cut_after(n * 3);
        match store.insert(&format!("new{n}"), &n).await {
            Ok(inserted) => assert!(inserted),
            // It was sent, so it is never sent again.
            Err(error) => {
                assert!(
                    error.is_retryable() && error.is_maybe_applied(),
                    "{error:?}"
                );
                store.insert(&format!("new{n}"), &n).await.unwrap();
            }
        }
        assert_eq!(store.get(&format!("new{n}")).await.unwrap(), Some(n));
    }
}

#[tokio::test]
async fn silence_ends_in_a_timeout() {
    let Some(etcd) = Etcd::start() else { return };
    let proxy = Proxy::to(etcd.address());
    let store = kv(proxy.url(&etcd.url_with("timeout=600ms"))).unwrap();
    store.set("a", &1).await.unwrap();
    proxy.black_hole();
    let timed = async |write: bool| {
        let begun = Instant::now();
        let result = if write {
            store.set("a", &2).await
        } else {
            store.get::<i32>("a").await.map(drop)
        };
        let error = fails(result, ErrorKind::Timeout);
        assert!(
            error.is_retryable() && error.is_maybe_applied() == write,
            "{error:?}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
    };
    timed(true).await;
    // Now there is not even a connection.
    timed(false).await;
    let begun = Instant::now();
    fails(store.keys().await, ErrorKind::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(2));
    proxy.pass();
    store.set("a", &3).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), Some(3));
}

#[tokio::test]
async fn a_wrong_address_is_told_at_once() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let begun = Instant::now();
    let error = fails(
        kv(format!("etcd://ada:secret@{closed}"))
            .unwrap()
            .set("a", &1)
            .await,
        ErrorKind::Unreachable,
    );
    assert!(
        error.is_retryable() && !error.is_maybe_applied(),
        "{error:?}"
    );
    fails(
        kv("etcd://ada:secret@name.invalid")
            .unwrap()
            .get::<i32>("a")
            .await,
        ErrorKind::Unreachable,
    );

    // Something that is no etcd.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1000]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    });
    let store = kv(format!("etcd://ada:secret@{other}")).unwrap();
    fails(store.get::<i32>("a").await, ErrorKind::Unreachable);
    serving.join().unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_full_server_says_so_and_still_reads() {
    let builder = Etcd::builder().flag("--quota-backend-bytes=1000000");
    let Some(etcd) = builder.start() else { return };
    let store = kv(etcd.url()).unwrap();
    let text = "x".repeat(100_000);
    let mut written = 0;
    let error = loop {
        match store.set(&format!("k{written}"), &text).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100);
    };
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    assert!(!error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("quota"), "{error}");
    // etcd does the write that goes over the quota all the same, or not.
    assert!(error.is_maybe_applied(), "{error:?}");
    let kept = store.keys().await.unwrap().len();
    assert!((written..=written + 1).contains(&kept), "{kept}");
    fails(store.set_many([("a", 1), ("b", 2)]).await, ErrorKind::Full);
    fails(store.insert("a", &1).await, ErrorKind::Full);
    // Deleting works, as etcd's own advice needs it, also beside writes that do not.
    let some: Vec<_> = (0..10).map(|number| format!("new{number}")).collect();
    let sets = join_all(some.iter().map(|key| async { store.set(key, &1).await }));
    let dels = join_all((0..4).map(|number| {
        let (store, key) = (&store, format!("k{number}"));
        async move { store.del(&key).await }
    }));
    let (sets, dels) = join(sets, dels).await;
    for set in sets {
        fails(set, ErrorKind::Full);
    }
    for del in dels {
        del.unwrap();
    }
    assert!(!store.has("k3").await.unwrap());
    store.clear().await.unwrap();
    assert!(store.keys().await.unwrap().is_empty());
    etcd.call(
        "maintenance/alarm",
        &json!({"action": "DEACTIVATE", "alarm": "NOSPACE"}).to_string(),
    );
    assert!(store.get::<String>("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_write_that_was_applied_says_that_it_may_have_been_though_trying_again_failed() {
    let Some(etcd) = Etcd::start() else { return };
    let proxy = Proxy::to(etcd.address());
    let store = kv(proxy.url(&etcd.url_with("timeout=1s"))).unwrap();
    store.set("a", &1).await.unwrap();
    proxy.delay(Duration::ZERO, Duration::from_secs(5));
    let setting = {
        let store = store.clone();
        tokio::spawn(async move { store.set("a", &2).await })
    };
    until("it is applied", async || {
        raw(&etcd, b"a").is_some_and(|kv| kv["version"] == "2")
    })
    .await;
    proxy.refuse();
    proxy.cut();
    let error = fails(setting.await.unwrap(), ErrorKind::Unreachable);
    assert!(error.is_maybe_applied(), "{error:?}");
}
