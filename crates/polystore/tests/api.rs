//! What holds of the API whatever keeps the data.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use futures_util::{StreamExt, TryStreamExt};
use polystore_kv::backend::{Backend, BoxStream, Info, async_trait};
use polystore_kv::{
    Entry, Error, ErrorKind, Expires, Expiry, IntoStore, Result, Scan, Store, TypedStore, kv, lazy,
};
use serde_json::{Value, json};

fn memory() -> Store {
    kv("memory:").unwrap()
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn handles_are_send_sync_clone_and_debug() {
    fn is<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    is::<Store>();
    is::<TypedStore<std::cell::RefCell<u8>>>();
    is::<Error>();
}

#[test]
fn futures_and_streams_are_send() {
    let store = memory();
    drop(assert_send(store.get::<Value>("a")));
    drop(assert_send(store.set("a", &1).expires("1h")));
    drop(assert_send(store.add(&1)));
    drop(assert_send(store.insert("a", &1)));
    drop(assert_send(store.touch("a", "1h")));
    drop(assert_send(store.get_many::<Value>(["a"])));
    drop(assert_send(store.set_many([("a", 1)])));
    drop(assert_send(store.del_many(&["a".to_owned()])));
    drop(assert_send(store.keys()));
    drop(assert_send(store.all::<Value>()));
    drop(assert_send(store.clear()));
    drop(assert_send(store.stream::<std::cell::RefCell<u8>>()));
    drop(assert_send(store.close()));
}

#[tokio::test]
async fn an_expiry_may_be_said_in_any_of_its_forms() {
    let store = memory();
    let words = "1h".to_owned();
    store.set("a", &1).expires(3600).await.unwrap();
    store.set("a", &1).expires(3600_u64).await.unwrap();
    store.set("a", &1).expires(3600.5).await.unwrap();
    store.set("a", &1).expires(&words).await.unwrap();
    store.set("a", &1).expires(words).await.unwrap();
    store
        .set("a", &1)
        .expires(Duration::from_secs(3600))
        .await
        .unwrap();
    store.set("a", &1).expires(Expires::NEVER).await.unwrap();
    assert_eq!(store.ttl("a").await.unwrap(), Some(Expires::NEVER));
    let left = Expires::from(60);
    store.expires(left).set("a", &1).await.unwrap();
    assert!(
        store
            .touch("a", store.ttl("a").await.unwrap().unwrap())
            .await
            .unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_futures_to_spawn_and_to_join() {
    let store = memory();
    let spawned = (0..100).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.set(&n.to_string(), &n).expires("1h").await })
    });
    for task in spawned.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    let keys: Vec<String> = (100..500).map(|n: u32| n.to_string()).collect();
    try_join_all(keys.iter().map(|key| store.set(key, key)))
        .await
        .unwrap();
    let added = join_all((0..100).map(|n| store.add(&n))).await;
    assert!(added.iter().all(Result::is_ok));
    assert_eq!(store.keys().await.unwrap().len(), 600);
}

#[tokio::test]
async fn a_write_that_is_not_awaited_does_nothing() {
    let store = memory();
    drop(store.set("a", &1));
    assert!(!store.has("a").await.unwrap());
}

#[tokio::test]
async fn the_value_is_encoded_when_it_is_given() {
    let store = memory();
    let mut list = vec![1];
    let write = store.set("a", &list);
    list.push(2);
    write.await.unwrap();
    assert_eq!(store.get::<Vec<u8>>("a").await.unwrap(), Some(vec![1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_its_handles_and_moves_to_other_tasks() {
    let store = memory();
    store
        .set_many((0..1000).map(|n| (format!("a:{n}"), n)))
        .await
        .unwrap();
    let stream = store.prefix("a:").stream::<u32>();
    drop(store);
    let sum = tokio::spawn(async move {
        let values = stream.map_ok(|(_, value)| value);
        values
            .try_fold(0, |sum, value| async move { Ok(sum + value) })
            .await
    });
    assert_eq!(sum.await.unwrap().unwrap(), 999 * 500);
}

#[test]
fn a_store_works_on_one_runtime_after_another_and_on_none() {
    let folder = tempfile::TempDir::new().unwrap();
    let urls = [
        "memory:".to_owned(),
        #[cfg(feature = "folder")]
        format!("file:{}/folder/", folder.path().display()),
        #[cfg(feature = "file")]
        format!("file:{}/file.json", folder.path().display()),
        #[cfg(feature = "sqlite")]
        format!("sqlite:{}/store.db", folder.path().display()),
        #[cfg(feature = "level")]
        format!("level:{}/level", folder.path().display()),
    ];
    for url in urls {
        let store = kv(&url).unwrap();
        for n in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(store.set("n", &n)).unwrap();
            assert_eq!(runtime.block_on(store.get("n")).unwrap(), Some(n), "{url}");
        }
        futures_executor::block_on(async {
            store.set("n", &2).await.unwrap();
            assert_eq!(store.stream::<u8>().count().await, 1, "{url}");
            store.close().await.unwrap();
        });
    }
}

#[tokio::test]
async fn a_long_listing_lets_other_tasks_run() {
    let store = memory();
    store
        .set_many((0..10_000).map(|n| (n.to_string(), n)))
        .await
        .unwrap();
    let turns = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&turns);
    let other = tokio::spawn(poll_fn(move |cx| {
        counted.fetch_add(1, Ordering::SeqCst);
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    }));
    let listing = tokio::spawn(async move { store.keys().await.unwrap().len() });
    assert_eq!(listing.await.unwrap(), 10_000);
    other.abort();
    assert!(turns.load(Ordering::SeqCst) > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lazy_store_connects_once_for_all_who_wait() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let store = kv(lazy(move || {
        let attempts = Arc::clone(&counted);
        async move {
            attempts.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, Error>("memory:")
        }
    }))
    .unwrap();
    assert_eq!(attempts.load(Ordering::SeqCst), 0);
    assert_eq!(store.kind(), "lazy");
    let substores: Vec<Store> = (0..50).map(|n| store.prefix(n.to_string())).collect();
    try_join_all(substores.iter().map(|substore| substore.set("a", &1)))
        .await
        .unwrap();
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
    assert_eq!(store.kind(), "memory");
    assert_eq!(store.keys().await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_failed_attempt_fails_those_who_waited_and_the_next_tries_again() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let store = kv(lazy(move || {
        let attempt = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            match attempt {
                0 => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
                _ => Ok("memory:"),
            }
        }
    }))
    .unwrap();
    let failed = join_all((0..10).map(|_| store.has("a"))).await;
    for result in failed {
        let error = result.unwrap_err();
        assert!(error.is_connection());
        assert_eq!(error.backend(), Some("lazy"));
        assert!(std::error::Error::source(&error).is_some());
    }
    assert!(!store.has("a").await.unwrap());
    assert_eq!(attempts.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_cancelled_waiter_does_not_strand_the_others() {
    let store = kv(lazy(|| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok::<_, Error>("memory:")
    }))
    .unwrap();
    let waits = tokio::spawn({
        let store = store.clone();
        async move { store.set("a", &1).await }
    });
    let gives_up = tokio::time::timeout(Duration::from_millis(1), store.has("a")).await;
    assert!(gives_up.is_err());
    waits.await.unwrap().unwrap();
    assert!(store.has("a").await.unwrap());
}

#[tokio::test]
async fn a_panic_while_connecting_is_an_error_and_the_next_tries_again() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let store = kv(lazy(move || {
        // Before there is a future, and then in it.
        let attempt = counted.fetch_add(1, Ordering::SeqCst);
        assert!(attempt != 0, "the first attempt panics");
        async move {
            assert!(attempt != 1, "the second attempt panics");
            Ok::<_, Error>("memory:")
        }
    }))
    .unwrap();
    for _ in 0..2 {
        assert!(store.has("a").await.unwrap_err().is_connection());
    }
    assert!(!store.has("a").await.unwrap());
}

#[test]
fn an_attempt_ends_with_the_runtime_that_it_was_begun_on() {
    let store = kv(lazy(|| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok::<_, Error>("memory:")
    }))
    .unwrap();
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap()
    };
    let gives_up = runtime()
        .block_on(async { tokio::time::timeout(Duration::from_millis(1), store.has("a")).await });
    assert!(gives_up.is_err());
    assert!(!runtime().block_on(store.has("a")).unwrap());
}

#[test]
fn threads_that_begin_at_once_connect_once() {
    for _ in 0..300 {
        let attempts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&attempts);
        let store = kv(lazy(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, Error>("memory:") }
        }))
        .unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| futures_executor::block_on(store.has("a")).unwrap());
            }
        });
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
    }
}

/// A backend that does not keep its contract.
struct Faulty;

#[async_trait]
impl Backend for Faulty {
    fn info(&self) -> Info {
        Info::new("faulty")
    }
    async fn get(&self, _: &str) -> Result<Option<Entry>> {
        Ok(None)
    }
    async fn set(&self, key: &str, _: Entry) -> Result<()> {
        match key {
            "full" => Err(Error::new(ErrorKind::Full, "no room")),
            _ => Ok(()),
        }
    }
    async fn del(&self, _: &str) -> Result<()> {
        Ok(())
    }
    fn scan(&self, _: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        Scan::new().select([("é".to_owned(), Entry::new(&1, Expiry::Never).unwrap())])
    }
    async fn get_many(&self, _: &[String]) -> Result<Vec<Option<Entry>>> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_backend_that_breaks_its_contract_is_an_error_and_no_panic() {
    let store = kv(Faulty).unwrap();
    assert!(store.prefix("user:").keys().await.unwrap_err().is_data());
    assert!(store.get_many::<u8>(["a"]).await.unwrap_err().is_data());
    let error = store.set_many([("a", 1), ("full", 2)]).await.unwrap_err();
    assert!(error.is_maybe_applied(), "{error:?}");
    assert_eq!(error.key(), Some("full"));
    assert!(!store.set("full", &1).await.unwrap_err().is_maybe_applied());
}

#[tokio::test]
async fn a_page_is_only_short_at_the_end() {
    let store = memory();
    let entry = |json: &str| Entry::from_stored(json, Expiry::Never);
    // What somebody else left there: not JSON, and nulls.
    for (key, json) in [
        ("a", "1"),
        ("b", "{"),
        ("c", "null"),
        ("d", "2"),
        ("e", "3"),
        ("f", "{"),
    ] {
        store.backend().set(key, entry(json)).await.unwrap();
    }
    let page = store.scan(Scan::new().limit(2)).map_ok(|(key, _)| key);
    assert_eq!(page.try_collect::<Vec<_>>().await.unwrap(), ["a", "d"]);
    let page = store
        .scan(Scan::new().after("d").limit(2))
        .map_ok(|(key, _)| key);
    assert_eq!(page.try_collect::<Vec<_>>().await.unwrap(), ["e"]);
}

#[tokio::test]
async fn the_time_left_is_never_more_than_was_given_nor_nothing() {
    let store = memory();
    for _ in 0..300 {
        store.set("a", &1).expires("2ms").await.unwrap();
        while let Some(left) = store.ttl("a").await.unwrap() {
            let left = left.as_duration().unwrap();
            assert!(
                left <= Duration::from_millis(2) && !left.is_zero(),
                "{left:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_library_takes_any_store() {
    struct Limiter(Store);
    impl Limiter {
        fn new(store: impl IntoStore) -> Self {
            Self(kv(store).unwrap().prefix("limiter:"))
        }
    }
    let store = memory();
    let limiter = Limiter::new(&store);
    limiter.0.set("a", &1).await.unwrap();
    assert_eq!(store.keys().await.unwrap(), ["limiter:a"]);
    Limiter::new("memory:");
    Limiter::new(store.prefix("x"));
    Limiter::new(Arc::clone(store.backend()));
}

#[tokio::test]
async fn a_bad_expiry_is_reported_by_each_write_and_changes_nothing() {
    let store = memory();
    store.set("a", &1).await.unwrap();
    let bad = store.expires("5 fortnights");
    for error in [
        bad.set("a", &2).await.unwrap_err(),
        bad.add(&2).await.map(drop).unwrap_err(),
        bad.insert("b", &2).await.map(drop).unwrap_err(),
        bad.set_many([("a", 2)]).await.unwrap_err(),
        store.set("a", &2).expires(f64::NAN).await.unwrap_err(),
        store.set("a", &2).expires(Duration::MAX).await.unwrap_err(),
        store.touch("a", "soon").await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
        assert!(error.operation().is_some() && error.backend().is_some());
    }
    bad.set("a", &3).expires("1h").await.unwrap();
    assert_eq!(
        store.all::<u8>().await.unwrap(),
        BTreeMap::from([("a".to_owned(), 3)])
    );
}

#[tokio::test]
async fn errors_name_backend_operation_and_key_and_hide_the_value() {
    let store = memory().prefix("user:");
    store.set("1", "hunter2").await.unwrap();
    let error = store.get::<u32>("1").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"memory: get "user:1": the stored text is not a u32"#
    );
    assert_eq!(
        (error.backend(), error.operation(), error.key()),
        (Some("memory"), Some("get"), Some("user:1"))
    );
    let errors = [
        error,
        store.values::<u32>().await.unwrap_err(),
        store.get_many::<u32>(["1"]).await.unwrap_err(),
        store
            .set("1", &HashMap::from([((1, "hunter2"), 1)]))
            .await
            .unwrap_err(),
        store.insert("2", &("hunter2", f64::NAN)).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_data(), "{error:?}");
        assert!(
            !format!("{error:?} {error}").contains("hunter2"),
            "{error:?}"
        );
    }
    let debug = format!("{store:?} {:?}", store.set("1", "hunter2"));
    assert!(!debug.contains("hunter2"), "{debug}");
}

#[test]
fn urls_that_mean_nothing_are_usage_errors_without_their_secrets() {
    for url in [
        "",
        "memory",
        "redish://user:hunter2@host",
        "memory:hunter2",
        "memory:?size=1",
        "file:hunter2",
        "file:hunter2.txt",
        "file://hunter2/a.json",
        "file:a.json?hunter2=1",
        "file:a/?sync=hunter2",
        "memory:?max_entries=0",
        "memory:?redis://user:hunter2@host",
        "memory:#hunter2",
    ] {
        let error = kv(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{url}");
        let shown = format!("{error:?}");
        assert!(
            !shown.contains("hunter2") || url == "file:a.json?hunter2=1",
            "{shown}"
        );
    }
}

#[tokio::test]
async fn memory_evicts_what_was_not_used_and_refuses_what_cannot_fit() {
    let store = kv("memory:?max_entries=3").unwrap();
    for key in ["a", "b", "c"] {
        store.set(key, key).await.unwrap();
    }
    assert!(store.get::<String>("a").await.unwrap().is_some());
    store.set("d", "d").await.unwrap();
    assert_eq!(store.keys().await.unwrap(), ["a", "c", "d"]);
    for n in 0..1000 {
        store.set(&n.to_string(), &n).await.unwrap();
    }
    assert_eq!(store.keys().await.unwrap().len(), 3);

    let store = kv("memory:?max_bytes=10kB").unwrap();
    for n in 0..1000 {
        store
            .set(&n.to_string(), &json!({"padding": "x".repeat(n)}))
            .await
            .unwrap();
    }
    let kept = store.keys().await.unwrap();
    assert!(
        !kept.is_empty() && kept.contains(&"999".to_owned()) && kept.len() < 20,
        "{kept:?}"
    );
    let error = store.set("big", &"x".repeat(20_000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidValue);
    assert_eq!(store.keys().await.unwrap(), kept);
}

#[tokio::test]
async fn expired_entries_leave_memory_by_themselves() {
    let store = memory();
    store.set("stays", &1).await.unwrap();
    for n in 0..5000 {
        store.set(&n.to_string(), &n).expires("30ms").await.unwrap();
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        // What is physically there, expired or not.
        let there = store.backend().scan(Scan::new()).count().await;
        if there == 1 {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{there} entries are still there"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn raw_json_goes_through_typed_methods_as_it_is() {
    use serde_json::value::RawValue;
    let store = memory();
    for text in [
        "1e400",
        "[null]",
        "123456789012345678901234567890",
        r#"{"a":1, "a":2}"#,
        "1.50",
    ] {
        let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
        store.set("a", &raw).await.unwrap();
        assert_eq!(store.entry("a").await.unwrap().unwrap().json(), text);
        let back: Box<RawValue> = store.get("a").await.unwrap().unwrap();
        assert_eq!(back.get(), text);
    }
}

#[tokio::test]
async fn many_entries_are_put_as_one_is() {
    let store = memory().prefix("p:");
    let entry = |value: i32, expiry| Entry::new(&value, expiry).unwrap();
    let soon = Expires::try_from("1h")
        .unwrap()
        .to_expiry()
        .unwrap()
        .unwrap();
    let over = Expiry::At(polystore_kv::Timestamp::from_millis(1));
    store.set("old", &1).await.unwrap();
    let entries = vec![
        ("a".to_owned(), entry(1, Expiry::Never)),
        ("b".to_owned(), entry(1, soon)),
        ("old".to_owned(), entry(2, over)),
        ("a".to_owned(), entry(2, soon)),
        (
            "c".to_owned(),
            Entry::from_json("null", Expiry::Never).unwrap(),
        ),
        ("c".to_owned(), entry(3, Expiry::Never)),
        ("d".to_owned(), entry(4, Expiry::Never)),
        (
            "d".to_owned(),
            Entry::from_json("null", Expiry::Never).unwrap(),
        ),
    ];
    store.put_many(entries).await.unwrap();
    let all = store.all::<i32>().await.unwrap();
    assert_eq!(
        all,
        BTreeMap::from([("a".into(), 2), ("b".into(), 1), ("c".into(), 3)])
    );
    assert_eq!(store.entry("a").await.unwrap().unwrap().expiry(), soon);

    let bad = vec![
        ("x".to_owned(), entry(1, Expiry::Never)),
        ("y".to_owned(), entry(1, Expiry::Unread)),
    ];
    let error = store.put_many(bad).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.key()),
        (ErrorKind::InvalidOption, Some("p:y"))
    );
    assert!(!store.has("x").await.unwrap());
}
