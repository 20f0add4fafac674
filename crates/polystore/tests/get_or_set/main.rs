//! A value that is not there is computed once, for all who ask.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod changes;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{join_all, pending, ready};
use polystore_kv::backend::{Backend, BoxStream, Info, Scan, async_trait};
use polystore_kv::{Entry, Error, ErrorKind, Expires, Result, Store, kv};
use tokio::sync::{Notify, Semaphore};

/// Counts computations, each of which waits until it may go on.
#[derive(Clone)]
struct Oven {
    begun: Arc<AtomicUsize>,
    may_end: Arc<Semaphore>,
}

impl Oven {
    fn new() -> Self {
        Self {
            begun: Arc::default(),
            may_end: Arc::new(Semaphore::new(0)),
        }
    }

    async fn bake(self) -> io::Result<usize> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.may_end.acquire().await.unwrap().forget();
        Ok(number)
    }

    fn let_out(&self, computations: usize) {
        self.may_end.add_permits(computations);
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    async fn has_begun(&self, computations: usize) {
        until(|| self.begun() >= computations).await;
    }
}

async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "it never happened");
        tokio::task::yield_now().await;
    }
}

fn ask(store: &Store, oven: &Oven) -> tokio::task::JoinHandle<Result<usize>> {
    let (store, oven) = (store.clone(), oven.clone());
    tokio::spawn(async move { store.get_or_set("bread", || oven.bake()).await })
}

async fn a_thousand_ask_and_one_computes(store: Store) {
    let oven = Oven::new();
    let asked: Vec<_> = (0..1000).map(|_| ask(&store, &oven)).collect();
    oven.has_begun(1).await;
    oven.let_out(1000);
    for answer in join_all(asked).await {
        assert_eq!(answer.unwrap().unwrap(), 1);
    }
    assert_eq!(oven.begun(), 1);
    assert_eq!(store.get("bread").await.unwrap(), Some(1));
    // And later it is only read.
    assert_eq!(ask(&store, &oven).await.unwrap().unwrap(), 1);
    assert_eq!(oven.begun(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_tasks_at_once_compute_once() {
    a_thousand_ask_and_one_computes(kv("memory:").unwrap()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_tasks_at_once_compute_once_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = kv(format!("sqlite:{}/a.db", folder.path().display())).unwrap();
    a_thousand_ask_and_one_computes(store).await;
}

#[tokio::test]
async fn substores_share_a_computation_and_other_keys_do_not() {
    let store = kv("memory:").unwrap();
    let oven = Oven::new();
    let (inner, whole) = (oven.clone(), oven.clone());
    let user = store.prefix("user:");
    let first = user.get_or_set("1", || inner.bake());
    let second = store.get_or_set("user:1", || whole.bake());
    let other = store.get_or_set("user:2", || async { io::Result::Ok(20) });
    oven.let_out(1);
    let (first, second, other) = tokio::join!(first, second, other);
    assert_eq!(
        (first.unwrap(), second.unwrap(), other.unwrap()),
        (1, 1, 20)
    );
    assert_eq!(oven.begun(), 1);
}

#[tokio::test]
async fn a_leader_that_is_dropped_leaves_the_computation_to_the_others() {
    let store = kv("memory:").unwrap();
    let oven = Oven::new();
    let leader = ask(&store, &oven);
    oven.has_begun(1).await;
    let others: Vec<_> = (0..10).map(|_| ask(&store, &oven)).collect();
    tokio::task::yield_now().await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    oven.let_out(1);
    for answer in join_all(others).await {
        assert_eq!(answer.unwrap().unwrap(), 1);
    }
    assert_eq!(oven.begun(), 1);
}

#[tokio::test]
async fn when_all_are_dropped_the_next_one_computes_anew() {
    let store = kv("memory:").unwrap();
    let oven = Oven::new();
    let asked: Vec<_> = (0..3).map(|_| ask(&store, &oven)).collect();
    oven.has_begun(1).await;
    for task in &asked {
        task.abort();
    }
    join_all(asked).await;
    oven.let_out(1);
    assert_eq!(ask(&store, &oven).await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn an_error_is_everyones_who_waits_and_is_not_kept() {
    let store = kv("memory:").unwrap();
    let (tries, gate) = (AtomicUsize::new(0), Arc::new(Notify::new()));
    let fail = || {
        let gate = Arc::clone(&gate);
        tries.fetch_add(1, Ordering::SeqCst);
        async move {
            gate.notified().await;
            Err::<u32, _>(io::Error::other("no flour"))
        }
    };
    let asked = join_all((0..20).map(|_| store.get_or_set("bread", fail)));
    let (answers, ()) = tokio::join!(asked, async {
        tokio::task::yield_now().await;
        gate.notify_one();
    });
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Compute);
        assert!(error.is_data() && !error.is_retryable());
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.downcast_ref::<io::Error>().is_some(), "{error:?}");
        let text = error.to_string();
        assert_eq!(
            text,
            r#"memory: get_or_set "bread": the value could not be computed"#
        );
    }
    assert_eq!(tries.load(Ordering::SeqCst), 1);
    assert!(!store.has("bread").await.unwrap());
    let next = store.get_or_set("bread", || ready(io::Result::Ok(7))).await;
    assert_eq!(next.unwrap(), 7);
}

#[tokio::test]
async fn an_error_of_this_crate_comes_out_as_it_is() {
    let store = kv("memory:").unwrap();
    let closed = || ready(Err::<u32, _>(Error::closed()));
    let error = store.get_or_set("bread", closed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_panic_is_an_error_and_the_next_one_computes() {
    let store = kv("memory:").unwrap();
    let burn = || async {
        assert!(store_is_closed(), "burnt");
        io::Result::Ok(1)
    };
    let error = store.get_or_set("bread", burn).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Compute);
    // Before it could give a future, too.
    let burn = || {
        assert!(store_is_closed(), "burnt");
        ready(io::Result::Ok(1))
    };
    let error = store.get_or_set("bread", burn).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Compute);
    let next = store.get_or_set("bread", || ready(io::Result::Ok(2))).await;
    assert_eq!(next.unwrap(), 2);
}

fn store_is_closed() -> bool {
    std::hint::black_box(false)
}

#[tokio::test]
async fn what_is_set_meanwhile_is_overwritten_by_nobody_who_looked_later() {
    let store = kv("memory:").unwrap();
    store.set("bread", &5).await.unwrap();
    let unneeded = || pending::<io::Result<u32>>();
    assert_eq!(store.get_or_set("bread", unneeded).await.unwrap(), 5);
}

#[tokio::test]
async fn it_expires_as_it_is_told_or_as_the_store_is() {
    let store = kv("memory:").unwrap().expires("1h");
    let one = || ready(io::Result::Ok(1));
    store.get_or_set("a", one).await.unwrap();
    store.get_or_set("b", one).expires("2h").await.unwrap();
    store
        .get_or_set("c", one)
        .expires(Expires::NEVER)
        .await
        .unwrap();
    store.get_or_set("d", one).expires(0).await.unwrap();
    let hours = async |key| {
        let left = store.ttl(key).await.unwrap().unwrap().as_duration();
        left.map(|left| left.as_secs().div_ceil(3600))
    };
    assert_eq!(hours("a").await, Some(1));
    assert_eq!(hours("b").await, Some(2));
    assert_eq!(hours("c").await, None);
    assert!(!store.has("d").await.unwrap(), "it was not to be kept");
    let bad = store
        .get_or_set("e", one)
        .expires("soon")
        .await
        .unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::InvalidOption);
    let bad = store
        .get_or_set("e", one)
        .stale_for("never")
        .await
        .unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::InvalidOption);
}

#[tokio::test]
async fn nothing_is_given_but_not_kept() {
    let store = kv("memory:").unwrap();
    let oven = Oven::new();
    oven.let_out(2);
    for number in 1..=2 {
        let baking = oven.clone();
        let none = || async move {
            baking.bake().await?;
            io::Result::Ok(None::<u32>)
        };
        assert_eq!(store.get_or_set("bread", none).await.unwrap(), None);
        assert_eq!(oven.begun(), number);
    }
}

#[tokio::test]
async fn a_value_of_another_type_is_a_decode_error_and_stays() {
    let store = kv("memory:").unwrap();
    store.set("bread", "rye").await.unwrap();
    let error = store
        .get_or_set("bread", || ready(io::Result::Ok(1)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(
        store.get::<String>("bread").await.unwrap().as_deref(),
        Some("rye")
    );
}

/// A loaf that is stale: it is kept for an hour more.
async fn stale(store: &Store) {
    store.set("bread", &0).expires("30min").await.unwrap();
}

#[tokio::test]
async fn the_stale_is_given_at_once_while_one_computes() {
    let store = kv("memory:").unwrap().expires("2h");
    stale(&store).await;
    let oven = Oven::new();
    let baker = {
        let (store, oven) = (store.clone(), oven.clone());
        tokio::spawn(async move {
            store
                .get_or_set("bread", || oven.bake())
                .stale_for("1h")
                .await
        })
    };
    oven.has_begun(1).await;
    for _ in 0..100 {
        let other = oven.clone();
        let given = store
            .get_or_set("bread", || other.bake())
            .stale_for("1h")
            .await;
        assert_eq!(given.unwrap(), 0);
    }
    oven.let_out(1);
    assert_eq!(baker.await.unwrap().unwrap(), 1);
    assert_eq!(oven.begun(), 1);
    let left = store
        .ttl("bread")
        .await
        .unwrap()
        .unwrap()
        .as_duration()
        .unwrap();
    assert!(left > Duration::from_secs(3 * 3600 - 60), "{left:?}");
    // Fresh again: nobody computes.
    let unneeded = || pending::<io::Result<usize>>();
    let given = store.get_or_set("bread", unneeded).stale_for("1h").await;
    assert_eq!(given.unwrap(), 1);
}

#[tokio::test]
async fn the_stale_is_given_when_computing_fails() {
    let store = kv("memory:").unwrap().expires("2h");
    stale(&store).await;
    let fail = || ready(Err::<u32, _>("no flour"));
    let given = store.get_or_set("bread", fail).stale_for("1h").await;
    assert_eq!(given.unwrap(), 0);
    // And what is not there at all fails.
    assert!(
        store
            .get_or_set("cake", fail)
            .stale_for("1h")
            .await
            .is_err()
    );
}

/// A store that holds on to nothing and cannot say for how long.
struct Sieve;

#[async_trait]
impl Backend for Sieve {
    fn info(&self) -> Info {
        Info::new("sieve")
    }
    async fn get(&self, _: &str) -> Result<Option<Entry>> {
        Ok(Some(Entry::from_stored("1", polystore_kv::Expiry::Unread)))
    }
    async fn set(&self, _: &str, _: Entry) -> Result<()> {
        Ok(())
    }
    async fn del(&self, _: &str) -> Result<()> {
        Ok(())
    }
    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        scan.select([])
    }
}

#[tokio::test]
async fn where_no_time_can_be_told_stale_for_is_unsupported() {
    let store = kv(Sieve).unwrap();
    let one = || ready(io::Result::Ok(1));
    assert_eq!(store.get_or_set("bread", one).await.unwrap(), 1);
    let error = store
        .get_or_set("bread", one)
        .stale_for("1h")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn after_close_it_is_a_usage_error() {
    let store = kv("memory:").unwrap();
    store.close().await.unwrap();
    let one = || ready(io::Result::Ok(1));
    let error = store.get_or_set("bread", one).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}
