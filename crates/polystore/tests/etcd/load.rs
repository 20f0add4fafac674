//! Sixteen tasks that write and read while something happens to the server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use polystore_kv::{Error, Store};
use tokio::task::JoinHandle;

const TASKS: u64 = 16;

pub(super) struct Load {
    store: Store,
    is_over: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Report>>,
}

struct Report {
    key: String,
    /// The highest number that was acknowledged, and the highest that was tried.
    acknowledged: u64,
    tried: u64,
    inserted: Vec<String>,
    errors: Vec<Error>,
}

impl Load {
    pub(super) fn start(store: &Store) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU64::new(0));
        let tasks = (0..TASKS).map(|task| {
            let (store, is_over) = (store.clone(), Arc::clone(&is_over));
            let written = Arc::clone(&written);
            tokio::spawn(write(store, task, is_over, written))
        });
        Self {
            store: store.clone(),
            tasks: tasks.collect(),
            is_over,
            written,
        }
    }

    /// Waits for so many more acknowledged writes.
    pub(super) async fn goes_on(&self, more: u64) {
        let before = self.written.load(Ordering::Relaxed);
        super::until("the load goes on", async || {
            self.written.load(Ordering::Relaxed) >= before + more
        })
        .await;
    }

    /// Ends it, and holds the store to what it has acknowledged. Gives the errors.
    pub(super) async fn end(self) -> Vec<Error> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut errors = Vec::new();
        for task in self.tasks {
            let report = task.await.unwrap();
            let kept: u64 = self.store.get(&report.key).await.unwrap().unwrap_or(0);
            assert!(
                (report.acknowledged..=report.tried).contains(&kept),
                "{}: {kept} of {}..{}",
                report.key,
                report.acknowledged,
                report.tried
            );
            let found: BTreeMap<String, u64> = self.store.get_many(&report.inserted).await.unwrap();
            assert_eq!(found.len(), report.inserted.len());
            errors.extend(report.errors);
        }
        for error in &errors {
            assert!(error.is_connection() && error.is_retryable(), "{error:?}");
        }
        errors
    }
}

async fn write(
    store: Store,
    task: u64,
    is_over: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
) -> Report {
    let mut report = Report {
        key: format!("load:{task}"),
        acknowledged: 0,
        tried: 0,
        inserted: Vec::new(),
        errors: Vec::new(),
    };
    while !is_over.load(Ordering::Relaxed) {
        report.tried += 1;
        match store.set(&report.key, &report.tried).await {
            Ok(()) => {
                report.acknowledged = report.tried;
                written.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => report.errors.push(error),
        }
        match store.get::<u64>(&report.key).await {
            // Nobody else writes it.
            Ok(seen) => assert!(seen.unwrap_or(0) >= report.acknowledged, "{seen:?}"),
            Err(error) => report.errors.push(error),
        }
        if report.tried.is_multiple_of(16) {
            let key = format!("inserted:{task}:{}", report.tried);
            match store.insert(&key, &report.tried).await {
                Ok(inserted) => {
                    assert!(inserted, "{key}");
                    report.inserted.push(key);
                }
                Err(error) => report.errors.push(error),
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    report
}
