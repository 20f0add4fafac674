//! One attempt that those who wait share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use crate::error::Result;

pub(crate) type Trying<T> = Shared<BoxFuture<'static, Result<T>>>;

/// Something that is made once, and again if making it has failed.
///
/// The attempt is held weakly: one that nobody waits for any more ends there and then,
/// with the runtime that it was begun on.
pub(crate) struct Attempt<T: Clone>(Mutex<Option<WeakShared<BoxFuture<'static, Result<T>>>>>);

impl<T: Clone> Default for Attempt<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone + Send + 'static> Attempt<T> {
    /// What `made` has; else what the attempt under way gives, or the one that `begin`
    /// begins, which `keep` gets to see before anyone begins another.
    pub(crate) async fn join(
        &self,
        made: impl Fn() -> Option<T>,
        begin: impl FnOnce() -> BoxFuture<'static, Result<T>>,
        keep: impl FnOnce(&T),
    ) -> Result<T> {
        let attempt = {
            let mut current = self.current();
            // One may have ended since the caller looked.
            if let Some(made) = made() {
                return Ok(made);
            }
            match current.as_ref().and_then(WeakShared::upgrade) {
                Some(attempt) => attempt,
                None => {
                    let attempt = begin().shared();
                    *current = attempt.downgrade();
                    attempt
                }
            }
        };
        let outcome = attempt.clone().await;
        let mut current = self.current();
        // Whoever is first to see the end of an attempt makes room for the next.
        let now = current.as_ref().and_then(WeakShared::upgrade);
        if now.is_some_and(|now| now.ptr_eq(&attempt)) {
            if let Ok(made) = &outcome {
                keep(made);
            }
            *current = None;
        }
        outcome
    }

    /// Whether somebody waits for an attempt.
    pub(crate) fn is_under_way(&self) -> bool {
        self.pending().is_some()
    }

    /// Waits until no attempt is under way.
    pub(crate) async fn settle(&self) {
        let pending = self.pending();
        if let Some(attempt) = pending {
            let _ = attempt.await;
        }
    }

    /// The attempt that somebody waits for.
    pub(crate) fn pending(&self) -> Option<Trying<T>> {
        self.current().as_ref().and_then(WeakShared::upgrade)
    }

    fn current(&self) -> MutexGuard<'_, Option<WeakShared<BoxFuture<'static, Result<T>>>>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
