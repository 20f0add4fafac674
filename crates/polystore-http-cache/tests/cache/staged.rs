//! A store whose writes wait for the test, or fail.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use polystore_kv::backend::{Backend, BoxStream, Info, Scan, async_trait};
use polystore_kv::{Entry, Error, ErrorKind, Result, Store, kv};
use tokio::sync::watch;

/// What is waited for comes within this, or not at all.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where writes wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Nothing,
    BeforeSets,
    AfterSets,
    BeforeDels,
}

#[derive(Clone)]
pub(crate) struct Staged(Arc<Inner>);

struct Inner {
    entries: Mutex<BTreeMap<String, Entry>>,
    hold: watch::Sender<Hold>,
    waiting: watch::Sender<usize>,
    is_down: AtomicBool,
}

impl Staged {
    pub(crate) fn new() -> (Self, Store) {
        let staged = Self(Arc::new(Inner {
            entries: Mutex::default(),
            hold: watch::Sender::new(Hold::Nothing),
            waiting: watch::Sender::new(0),
            is_down: AtomicBool::new(false),
        }));
        let store = kv(staged.clone()).expect("a store");
        (staged, store)
    }

    pub(crate) fn hold(&self, hold: Hold) {
        self.0.hold.send_replace(hold);
    }

    /// Waits until so many writes wait.
    pub(crate) async fn until_waiting(&self, count: usize) {
        let mut waiting = self.0.waiting.subscribe();
        let reached = waiting.wait_for(|waiting| *waiting == count);
        let reached = tokio::time::timeout(DEADLINE, reached).await;
        drop(reached.expect("writes wait").expect("it is there"));
    }

    /// From now on nothing works, or everything does.
    pub(crate) fn is_down(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::SeqCst);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries().len()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.entries.lock().expect("nobody panicked")
    }

    fn check(&self) -> Result<()> {
        match self.0.is_down.load(Ordering::SeqCst) {
            true => Err(Error::new(ErrorKind::Unreachable, "down")),
            false => Ok(()),
        }
    }

    async fn wait(&self, hold: Hold) {
        let mut held = self.0.hold.subscribe();
        if *held.borrow() != hold {
            return;
        }
        self.0.waiting.send_modify(|waiting| *waiting += 1);
        let freed = held.wait_for(|now| *now != hold).await;
        drop(freed.expect("it is there"));
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

#[async_trait]
impl Backend for Staged {
    fn info(&self) -> Info {
        Info::new("staged")
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.check()?;
        Ok(self.entries().get(key).cloned())
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        self.check()?;
        self.wait(Hold::BeforeSets).await;
        self.entries().insert(key.to_owned(), entry);
        self.wait(Hold::AfterSets).await;
        Ok(())
    }

    async fn del(&self, key: &str) -> Result<()> {
        self.check()?;
        self.wait(Hold::BeforeDels).await;
        self.entries().remove(key);
        Ok(())
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        scan.select(self.entries().clone())
    }
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What comes before the deadline.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(DEADLINE, future).await;
    done.unwrap_or_else(|_| panic!("never: {what}"))
}
