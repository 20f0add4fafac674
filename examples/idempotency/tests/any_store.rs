//! What the library promises, on whatever store its user has.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use custom_store::MapStore;
use idempotency::{Error, Idempotency};
use polystore_kv::backend::{Backend, BoxStream, Info, Scan, async_trait};
use polystore_kv::{Entry, ErrorKind, Result as StoreResult, kv};

/// Work that counts how often it is done.
#[derive(Clone, Default)]
struct Work(Arc<AtomicU32>);

impl Work {
    async fn pass(self) -> io::Result<u32> {
        Ok(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }

    async fn fail(self) -> io::Result<u32> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(io::Error::other("no money"))
    }

    fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What holds on every store.
async fn does_once(once: &Idempotency) {
    once.check().await.unwrap();
    let work = Work::default();
    let failed = once.run("a", || work.clone().fail()).await.unwrap_err();
    assert!(matches!(&failed, Error::Work(error) if error.to_string() == "no money"));
    for _ in 0..3 {
        assert_eq!(once.run("a", || work.clone().pass()).await.unwrap(), 2);
    }
    assert_eq!(once.run("b", || work.clone().pass()).await.unwrap(), 3);
    assert_eq!(work.count(), 3);
}

#[tokio::test]
async fn any_store_will_do() {
    let folder = tempfile::tempdir().unwrap();
    does_once(&Idempotency::new("memory:").unwrap()).await;
    does_once(&Idempotency::new(folder.path().join("done.json")).unwrap()).await;
    // One of the user's own, in an `Arc` that stays theirs.
    let map = Arc::new(MapStore::default());
    does_once(&Idempotency::new(Arc::clone(&map)).unwrap()).await;
    assert_eq!(map.len(), 2);
    // A store that is borrowed, and a part of one.
    let store = kv("memory:").unwrap();
    does_once(&Idempotency::new(&store).unwrap()).await;
    does_once(&Idempotency::new(store.prefix("shop:")).unwrap()).await;
    assert_eq!(
        store.keys().await.unwrap(),
        [
            "idempotency:a",
            "idempotency:b",
            "shop:idempotency:a",
            "shop:idempotency:b"
        ]
    );
}

#[test]
fn it_needs_no_runtime() {
    futures_executor::block_on(does_once(&Idempotency::new("memory:").unwrap()));
}

#[tokio::test]
async fn a_reply_outlives_the_process_and_then_expires() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("done.json");
    let work = Work::default();
    for _ in 0..2 {
        let once = Idempotency::new(&path).unwrap().keep_for("1h");
        assert_eq!(once.run("a", || work.clone().pass()).await.unwrap(), 1);
    }
    let once = Idempotency::new(&path).unwrap().keep_for("20ms");
    assert_eq!(once.run("b", || work.clone().pass()).await.unwrap(), 2);
    while once.run("b", || work.clone().pass()).await.unwrap() == 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn of_many_at_once_one_works() {
    let once = Idempotency::new("memory:").unwrap();
    let work = Work::default();
    let ask = |_| {
        let (once, work) = (once.clone(), work.clone());
        // It is `Send`, as servers want it.
        tokio::spawn(async move {
            let slow = async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                work.pass().await
            };
            once.run("a", || slow).await
        })
    };
    let asking: Vec<_> = (0..100).map(ask).collect();
    let mut replies = Vec::new();
    for asked in asking {
        match asked.await.unwrap() {
            Ok(reply) => replies.push(reply),
            Err(error) => assert!(matches!(error, Error::Running), "{error:?}"),
        }
    }
    assert_eq!((replies, work.count()), (vec![1], 1));
}

#[tokio::test]
async fn after_a_death_the_next_one_works_when_the_lease_is_over() {
    let once = Idempotency::new("memory:").unwrap();
    let once = once.lease(Duration::from_millis(300));
    let work = Work::default();
    let dies = once.run("a", std::future::pending::<io::Result<u32>>);
    let died = tokio::time::timeout(Duration::from_millis(20), dies).await;
    assert!(died.is_err());
    let reply = loop {
        match once.run("a", || work.clone().pass()).await {
            Err(Error::Running) => tokio::time::sleep(Duration::from_millis(10)).await,
            reply => break reply.unwrap(),
        }
    };
    assert_eq!(reply, 1);
}

/// A store that has no more than the five methods.
struct Plain(MapStore);

#[async_trait]
impl Backend for Plain {
    fn info(&self) -> Info {
        Info::new("plain")
    }
    async fn get(&self, key: &str) -> StoreResult<Option<Entry>> {
        self.0.get(key).await
    }
    async fn set(&self, key: &str, entry: Entry) -> StoreResult<()> {
        self.0.set(key, entry).await
    }
    async fn del(&self, key: &str) -> StoreResult<()> {
        self.0.del(key).await
    }
    fn scan(&self, scan: Scan) -> BoxStream<'static, StoreResult<(String, Entry)>> {
        self.0.scan(scan)
    }
}

#[tokio::test]
async fn a_time_that_means_nothing_is_refused_before_any_work() {
    let once = Idempotency::new("memory:").unwrap().keep_for("soon");
    assert!(matches!(once.check().await, Err(Error::Store(error)) if error.is_usage()));
    let work = Work::default();
    let failed = once.run("a", || work.clone().pass()).await;
    assert!(matches!(failed, Err(Error::Store(error)) if error.is_usage()));
    assert_eq!(work.count(), 0);
}

#[tokio::test]
async fn a_store_that_cannot_do_it_is_refused_before_any_work() {
    let once = Idempotency::new(Plain(MapStore::default())).unwrap();
    let work = Work::default();
    for error in [
        once.check().await.unwrap_err(),
        once.run("my-secret", || work.clone().pass())
            .await
            .unwrap_err(),
    ] {
        let Error::Store(error) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    assert_eq!(work.count(), 0);
    let error = Idempotency::new("redish://host").unwrap_err();
    assert!(matches!(error, Error::Store(error) if error.is_usage()));
}

#[tokio::test]
async fn no_error_shows_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("done.json");
    std::fs::write(&path, "no JSON").unwrap();
    let plain = Idempotency::new(Plain(MapStore::default())).unwrap();
    for once in [plain, Idempotency::new(&path).unwrap()] {
        let failed = once.run("my-secret", || Work::default().pass()).await;
        let error = failed.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("my-secret"), "{shown}");
    }
}
