//! What others do to a key while its value is computed, and what becomes of a value that cannot be kept.

use std::future::ready;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use polystore_kv::backend::{Backend, BoxStream, Info, Scan, async_trait};
use polystore_kv::{Entry, ErrorKind, Expiry, Result, Store, kv};
use tokio::sync::Semaphore;

use super::{Oven, ask, stale};

type Change = fn(&Store) -> BoxFuture<'_, Result<()>>;

/// What is to be under the key after each.
const CHANGES: [(&str, Change, Option<usize>); 10] = [
    ("set", |store| store.set("bread", &9).boxed(), Some(9)),
    ("set to null", |store| store.set("bread", &()).boxed(), None),
    ("del", |store| store.del("bread").boxed(), None),
    (
        "set_many",
        |store| store.set_many([("cake", 1), ("bread", 9)]).boxed(),
        Some(9),
    ),
    (
        "del_many",
        |store| store.del_many(["cake", "bread"]).boxed(),
        None,
    ),
    (
        "insert",
        |store| store.insert("bread", &9).map(|done| done.map(drop)).boxed(),
        Some(9),
    ),
    (
        "put",
        |store| async { store.put("bread", Entry::new(&9, Expiry::Never)?).await }.boxed(),
        Some(9),
    ),
    (
        "put_many",
        |store| {
            async {
                let bread = Entry::new(&9, Expiry::Never)?;
                store.put_many(vec![("bread".to_owned(), bread)]).await
            }
            .boxed()
        },
        Some(9),
    ),
    ("clear", |store| store.clear().boxed(), None),
    (
        "clear of a prefix",
        |store| async { store.prefix("br").clear().await }.boxed(),
        None,
    ),
];

async fn a_change_counts_and_a_value_of_before_does_not(open: impl Fn() -> Store) {
    for (name, change, after) in CHANGES {
        let (store, oven) = (open(), Oven::new());
        let early = ask(&store, &oven);
        oven.has_begun(1).await;
        // By another handle of the same store.
        change(&store.prefix("")).await.unwrap();
        let late = ask(&store, &oven);
        match after {
            Some(set) => assert_eq!(late.await.unwrap().unwrap(), set, "{name}"),
            None => {
                oven.has_begun(2).await;
                oven.let_out(1);
                // One of both, whichever goes on first: each has asked for its own.
                oven.let_out(1);
                assert_eq!(late.await.unwrap().unwrap(), 2, "{name}");
            }
        }
        oven.let_out(1);
        // It asked before, and gets what was computed for it.
        assert_eq!(early.await.unwrap().unwrap(), 1, "{name}");
        let kept = store.get::<usize>("bread").await.unwrap();
        assert_eq!(kept, after.or(Some(2)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_not_undone_by_what_was_being_computed() {
    a_change_counts_and_a_value_of_before_does_not(|| kv("memory:").unwrap()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_not_undone_by_what_was_being_computed_on_sqlite() {
    a_change_counts_and_a_value_of_before_does_not(|| kv("sqlite::memory:").unwrap()).await;
}

#[tokio::test]
async fn changes_of_other_keys_disturb_nothing() {
    let (store, oven) = (kv("memory:").unwrap(), Oven::new());
    let baker = ask(&store, &oven);
    oven.has_begun(1).await;
    store.set("breadcrumbs", &1).await.unwrap();
    store.del("brea").await.unwrap();
    store.prefix("bread:").clear().await.unwrap();
    let other = ask(&store, &oven);
    oven.let_out(1);
    assert_eq!(baker.await.unwrap().unwrap(), 1);
    assert_eq!(other.await.unwrap().unwrap(), 1);
    assert_eq!(store.get("bread").await.unwrap(), Some(1));
}

/// A memory that is slow to write: each `set` waits for a permit.
#[derive(Clone)]
struct Slow(Store, Arc<Semaphore>, Arc<Semaphore>);

impl Slow {
    fn new() -> Self {
        let [begun, may_go_on] = [(); 2].map(|()| Arc::new(Semaphore::new(0)));
        Self(kv("memory:").unwrap(), begun, may_go_on)
    }
}

#[async_trait]
impl Backend for Slow {
    fn info(&self) -> Info {
        Info::new("slow")
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.0.backend().get(key).await
    }
    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        self.1.add_permits(1);
        self.2.acquire().await.unwrap().forget();
        self.0.backend().set(key, entry).await
    }
    async fn del(&self, key: &str) -> Result<()> {
        self.0.backend().del(key).await
    }
    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        self.0.backend().scan(scan)
    }
}

#[tokio::test]
async fn a_change_comes_after_a_value_that_is_being_written() {
    for is_abandoned in [false, true] {
        let slow = Slow::new();
        let store = kv(slow.clone()).unwrap();
        let (oven, other) = (Oven::new(), store.clone());
        oven.let_out(1);
        let baker = ask(&store, &oven);
        slow.1.acquire().await.unwrap().forget();
        if is_abandoned {
            baker.abort();
        }
        let deletion = tokio::spawn(async move { other.del("bread").await });
        tokio::task::yield_now().await;
        assert!(is_abandoned || !deletion.is_finished(), "it overtook");
        slow.2.add_permits(1);
        deletion.await.unwrap().unwrap();
        if !is_abandoned {
            assert_eq!(baker.await.unwrap().unwrap(), 1);
        }
        assert_eq!(store.get::<usize>("bread").await.unwrap(), None);
    }
}

#[tokio::test]
async fn who_asks_after_a_change_gets_nothing_of_before_even_if_an_older_one_still_waits() {
    let slow = Slow::new();
    let store = kv(slow.clone()).unwrap();
    let one = || ready(io::Result::Ok(1));
    let mut old = pin!(store.get_or_set("bread", one));
    assert!(old.as_mut().now_or_never().is_none(), "it is being written");
    slow.2.add_permits(2);
    // It goes on with the write, as nobody else does now.
    store.del("bread").await.unwrap();
    let two = store.get_or_set("bread", || ready(io::Result::Ok(2)));
    assert_eq!(two.await.unwrap(), 2);
    assert_eq!(old.await.unwrap(), 1);
    assert_eq!(store.get("bread").await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_change_that_is_on_its_way_counts_as_well() {
    for is_given_up in [false, true] {
        let slow = Slow::new();
        let store = kv(slow.clone()).unwrap();
        let (oven, other) = (Oven::new(), store.clone());
        let change = tokio::spawn(async move { other.set("bread", &9).await });
        slow.1.acquire().await.unwrap().forget();
        // It finds nothing, as the change has not arrived.
        let baker = ask(&store, &oven);
        oven.has_begun(1).await;
        if is_given_up {
            // Nobody knows whether it will arrive.
            change.abort();
            assert!(change.await.unwrap_err().is_cancelled());
        } else {
            slow.2.add_permits(1);
            change.await.unwrap().unwrap();
        }
        slow.2.add_permits(1);
        oven.let_out(1);
        assert_eq!(baker.await.unwrap().unwrap(), 1);
        let kept = (!is_given_up).then_some(9);
        assert_eq!(store.get::<usize>("bread").await.unwrap(), kept);
    }
}

#[tokio::test]
async fn what_the_store_does_not_take_is_given_all_the_same() {
    let store = kv("memory:?max_bytes=1000").unwrap().expires("2h");
    let large = "a".repeat(2000);
    let bake = || ready(io::Result::Ok(large.clone()));
    let given = store.get_or_set("bread", bake).await.unwrap();
    assert_eq!(given, large);
    store.set("bread", "small").expires("30min").await.unwrap();
    let given = store.get_or_set("bread", bake).stale_for("1h").await;
    assert_eq!(given.unwrap(), large, "not the stale one");
}

#[tokio::test]
async fn a_value_that_is_gone_takes_the_stale_one_along() {
    let store = kv("memory:").unwrap().expires("2h");
    let nothing = || ready(io::Result::Ok(None::<u32>));
    let none = || store.get_or_set("bread", nothing).stale_for("1h");
    stale(&store).await;
    assert_eq!(none().await.unwrap(), None);
    assert!(!store.has("bread").await.unwrap());

    stale(&store).await;
    let given = store
        .get_or_set("bread", || ready(io::Result::Ok(1)))
        .expires(0)
        .stale_for("1h");
    assert_eq!(given.await.unwrap(), 1);
    assert!(!store.has("bread").await.unwrap(), "it was not to be kept");
}

#[tokio::test]
async fn a_store_that_was_closed_meanwhile_is_a_usage_error() {
    let (store, oven) = (kv("memory:").unwrap(), Oven::new());
    let baker = ask(&store, &oven);
    oven.has_begun(1).await;
    store.close().await.unwrap();
    oven.let_out(1);
    assert_eq!(baker.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}
