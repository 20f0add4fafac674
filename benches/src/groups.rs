//! Prefixes among many keys, and streams with their memory. Each runs in a process of its
//! own, so that what others left in memory does not count.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use polystore_kv::Store;
use serde::{Deserialize, Serialize};

use crate::local::ours;
use crate::subject::User;

/// Keys in the store when a prefix is listed, and keys with that prefix.
const MANY: u32 = 100_000;
const FEW: u32 = 1000;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prefix {
    /// Milliseconds, the median of several.
    pub(crate) keys_of_prefix: f64,
    pub(crate) keys_of_all: f64,
    pub(crate) clear_of_prefix: f64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Streamed {
    pub(crate) entries_per_sec: f64,
    /// Above what the process held before the stream began.
    pub(crate) peak_bytes: u64,
    /// The peak of the last third over that of the first.
    pub(crate) growth: f64,
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts")
        .block_on(work)
}

pub(crate) async fn fill(store: &Store, prefix: &str, count: u32) {
    let ids: Vec<u32> = (0..count).collect();
    for ids in ids.chunks(5000) {
        let users = ids
            .iter()
            .map(|id| (format!("{prefix}{id:07}"), User::new(*id)));
        store.set_many(users).await.expect("the store works");
    }
}

pub(crate) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

pub(crate) fn prefix(url: &str) -> Prefix {
    let store = ours(url);
    block_on(async {
        // A server may hold what was measured before.
        store.clear().await.expect("the store works");
        fill(&store, "other:", MANY).await;
        let few = store.prefix("few:");
        let (mut keys_of_prefix, mut keys_of_all, mut clear_of_prefix) = (vec![], vec![], vec![]);
        for _ in 0..7 {
            fill(&few, "", FEW).await;
            keys_of_prefix.push(timed(few.keys(), FEW).await);
            keys_of_all.push(timed(store.keys(), FEW + MANY).await);
            let begun = Instant::now();
            few.clear().await.expect("the store works");
            clear_of_prefix.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        store.close().await.expect("the store works");
        Prefix {
            keys_of_prefix: median(keys_of_prefix),
            keys_of_all: median(keys_of_all),
            clear_of_prefix: median(clear_of_prefix),
        }
    })
}

async fn timed(
    keys: impl Future<Output = polystore_kv::Result<Vec<String>>>,
    expected: u32,
) -> f64 {
    let begun = Instant::now();
    let keys = keys.await.expect("the store works");
    let took = begun.elapsed().as_secs_f64() * 1e3;
    assert_eq!(keys.len(), expected as usize);
    took
}

/// Streams what is in the store, which another process has filled unless it is memory.
pub(crate) fn stream(url: &str, count: u32) -> Streamed {
    let store = ours(url);
    block_on(async {
        if url.starts_with("memory") {
            fill(&store, "", count).await;
        }
        // Opens it.
        store.has("").await.expect("the store works");
        let begun = Instant::now();
        let (mut thirds, mut streamed) = ([0; 3], 0);
        let before = resident_bytes();
        let watch = Watch::start();
        let mut entries = store.stream::<User>();
        while let Some((key, user)) = entries.try_next().await.expect("the store works") {
            std::hint::black_box((key, user));
            let third = (streamed * 3 / count).min(2) as usize;
            streamed += 1;
            if streamed % 1000 == 0 {
                thirds[third] = watch.peak().max(thirds[third]);
                watch.reset();
            }
        }
        let took = begun.elapsed();
        watch.stop();
        assert_eq!(streamed, count);
        let peak = thirds.iter().max().copied().unwrap_or_default();
        Streamed {
            entries_per_sec: f64::from(count) / took.as_secs_f64(),
            peak_bytes: peak.saturating_sub(before),
            growth: thirds[2] as f64 / thirds[0] as f64,
        }
    })
}

/// Fills a store for [`stream`] to read in another process.
pub(crate) fn fill_for_stream(url: &str, count: u32) {
    let store = ours(url);
    block_on(async {
        store.clear().await.expect("the store works");
        fill(&store, "", count).await;
        store.close().await.expect("the store works");
    });
}

/// The highest resident size since it was last reset.
struct Watch {
    peak: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Watch {
    fn start() -> Self {
        let peak = Arc::new(AtomicU64::new(resident_bytes()));
        let done = Arc::new(AtomicBool::new(false));
        let (of_thread, until) = (Arc::clone(&peak), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                of_thread.fetch_max(resident_bytes(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { peak, done, thread }
    }

    fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed).max(resident_bytes())
    }

    fn reset(&self) {
        self.peak.store(0, Ordering::Relaxed);
    }

    fn stop(self) {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watch does not panic");
    }
}

fn resident_bytes() -> u64 {
    const PAGE: u64 = 4096;
    let statm = std::fs::read_to_string(Path::new("/proc/self/statm")).unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * PAGE
}
