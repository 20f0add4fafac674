//! Expired entries leave the folder by themselves.
//!
//! There is no index of expiries: a thread walks through the files when something may have
//! expired, and learns on its way when to walk next. A store that is only read never
//! walks, and one without expiries never walks twice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::files::{Change, Files, Walk};
use crate::entry::{Expiry, Timestamp};
use crate::error::{Error, Result};
use crate::gather::{Crew, Work};

/// The walk rests so long after each page, and at least so long after the last one.
const BETWEEN_PAGES: Duration = Duration::from_millis(20);
const BETWEEN_WALKS: Duration = Duration::from_secs(1);

/// How long it waits for the lock, and else leaves the page to the next walk.
const LOCK: Duration = Duration::from_secs(1);

/// And after the last page so many times as long as the walk took.
const SHARE: u32 = 4;

pub(super) struct Sweeper {
    state: Arc<Sweeping>,
    crew: Crew<Sweeping>,
}

struct Sweeping {
    files: Arc<Files>,
    plan: Mutex<Plan>,
    /// Only the crew's thread takes it.
    walk: Mutex<Option<Begun>>,
}

#[derive(Default)]
struct Plan {
    /// When something expires next, as far as is known.
    next: Option<Timestamp>,
    /// No walk before this.
    not_before: Option<Instant>,
    stopped: bool,
}

struct Begun {
    walk: Walk,
    at: Instant,
}

impl Sweeper {
    pub(super) fn new(files: Arc<Files>) -> Self {
        let state = Arc::new(Sweeping {
            files,
            plan: Mutex::default(),
            walk: Mutex::default(),
        });
        let crew = Crew::new("polystore-folder-s", Arc::clone(&state));
        Self { state, crew }
    }

    /// Something was written that expires then.
    pub(super) fn note(&self, at: Timestamp) {
        if self.state.note(at) {
            self.crew.send(());
        }
    }

    pub(super) async fn close(&self) {
        self.state.plan().stopped = true;
        self.crew.close().await;
    }
}

impl Sweeping {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        // Nothing panics while it is held.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether this is sooner than what was known.
    fn note(&self, at: Timestamp) -> bool {
        let mut plan = self.plan();
        let sooner = plan.next.is_none_or(|next| at < next);
        if sooner {
            plan.next = Some(at);
        }
        sooner
    }

    /// How long until the next walk is due, if one is.
    fn wait(&self) -> Option<Duration> {
        let plan = self.plan();
        if plan.stopped {
            return None;
        }
        let expiry = plan.next?.duration_from_now();
        let pause = plan
            .not_before
            .map(|then| then.saturating_duration_since(Instant::now()));
        Some(expiry.max(pause.unwrap_or_default()))
    }

    /// One page of a walk. Says whether the walk goes on.
    fn step(&self, begun: &mut Begun) -> Result<bool> {
        let Some(page) = begun.walk.page(&self.files, |_| true)? else {
            return Ok(false);
        };
        let mut gone = Vec::new();
        for (key, entry) in page {
            match entry.expiry() {
                Expiry::At(_) if entry.is_expired() => {
                    gone.push(self.files.prepare(key, Change::Evict(entry))?);
                }
                Expiry::At(at) => {
                    self.note(at);
                }
                _ => {}
            }
        }
        if !gone.is_empty() {
            let lock = self.files.lock_file().take(Instant::now() + LOCK)?;
            for evicted in self.files.apply(lock, gone)? {
                evicted?;
            }
        }
        Ok(true)
    }
}

impl Work for Sweeping {
    type Job = ();
    const THREADS: usize = 1;
    const BATCH: usize = 1000;

    fn work(&self, _: Vec<()>) {}

    fn rest(&self) -> Option<Duration> {
        let mut walk = self.walk.lock().unwrap_or_else(PoisonError::into_inner);
        let mut begun = match walk.take() {
            Some(begun) => begun,
            None => {
                let wait = self.wait()?;
                if !wait.is_zero() {
                    return Some(wait);
                }
                self.plan().next = None;
                match self.files.walk() {
                    Ok(walk) => Begun {
                        walk,
                        at: Instant::now(),
                    },
                    Err(error) => {
                        self.failed(&error);
                        return self.pause(Instant::now());
                    }
                }
            }
        };
        if self.plan().stopped {
            return None;
        }
        match self.step(&mut begun) {
            Ok(true) => {
                *walk = Some(begun);
                Some(BETWEEN_PAGES)
            }
            Ok(false) => self.pause(begun.at),
            Err(error) => {
                // The rest of the folder is not to suffer for one file.
                self.failed(&error);
                *walk = Some(begun);
                Some(BETWEEN_PAGES)
            }
        }
    }
}

impl Sweeping {
    fn failed(&self, error: &Error) {
        tracing::warn!(%error, "could not remove expired entries from the folder");
        self.note(Timestamp::now());
    }

    /// A walk is over: the next one comes later.
    fn pause(&self, begun: Instant) -> Option<Duration> {
        self.plan().not_before = Some(Instant::now() + BETWEEN_WALKS.max(begun.elapsed() * SHARE));
        self.wait()
    }
}
