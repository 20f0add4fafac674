//! How it is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::subject::{Subject, User};

pub(crate) const KEYS: u32 = 1000;
pub(crate) const TASKS: u32 = 64;
/// As many as stores on the network are measured with as well.
pub(crate) const MANY_TASKS: u32 = 256;

/// How long one measurement of operations takes.
pub(crate) const SPAN: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Set,
    /// A hundred keys at once.
    GetMany,
}

pub(crate) fn keys() -> Vec<String> {
    (0..KEYS).map(|id| format!("user:{id}")).collect()
}

/// Puts all keys, many at a time.
pub(crate) fn fill<S: Subject>(subject: &S) {
    runtime(TASKS).block_on(async {
        let subject = subject.fresh().await;
        let tasks = (0..TASKS).map(|task| {
            let subject = subject.clone();
            tokio::spawn(async move {
                for id in (task..KEYS).step_by(TASKS as usize) {
                    subject.set(&format!("user:{id}"), &User::new(id)).await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("no task panics");
        }
    });
}

/// A lone task is measured without the wake-ups of a second thread.
fn runtime(tasks: u32) -> tokio::runtime::Runtime {
    let runtime = if tasks == 1 {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    } else {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
    };
    runtime.expect("a runtime starts")
}

/// Operations a second, by `tasks` at once.
pub(crate) fn operations<S: Subject>(subject: &S, operation: Operation, tasks: u32) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let keys: Arc<[String]> = keys().into();
    let runtime = runtime(tasks);
    // Connecting does not count.
    let subject = runtime.block_on(async {
        let subject = subject.fresh().await;
        assert!(subject.get(&keys[0]).await.is_some(), "it was filled");
        subject
    });
    let begun = Instant::now();
    let timer = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            std::thread::sleep(SPAN);
            stop.store(true, Ordering::Relaxed);
        })
    };
    let one = |task: u32| {
        let (subject, stop, done) = (subject.clone(), Arc::clone(&stop), Arc::clone(&done));
        let keys = Arc::clone(&keys);
        async move {
            let mut count: u32 = 0;
            let mut at = task as usize * 37;
            while !stop.load(Ordering::Relaxed) {
                at = (at + 1) % keys.len();
                match operation {
                    Operation::Get => {
                        let user = subject.get(&keys[at]).await;
                        assert!(
                            std::hint::black_box(user).is_some(),
                            "{} is missing",
                            keys[at]
                        );
                    }
                    Operation::GetMany => {
                        let hundred = &keys[at.min(keys.len() - 100)..][..100];
                        assert_eq!(subject.get_many(hundred).await, 100);
                    }
                    // Another value each time: SQLite does not write what is there already.
                    Operation::Set => subject.set(&keys[at], &User::new(count)).await,
                }
                count = count.wrapping_add(1);
                // Tasks that never wait take turns all the same.
                if tasks > 1 && count.is_multiple_of(64) {
                    tokio::task::yield_now().await;
                }
            }
            done.fetch_add(u64::from(count), Ordering::Relaxed);
        }
    };
    runtime.block_on(async {
        if tasks == 1 {
            return one(0).await;
        }
        let tasks: Vec<_> = (0..tasks).map(|task| tokio::spawn(one(task))).collect();
        for task in tasks {
            task.await.expect("no task panics");
        }
    });
    let took = begun.elapsed();
    timer.join().expect("the timer does not panic");
    done.load(Ordering::Relaxed) as f64 / took.as_secs_f64()
}
