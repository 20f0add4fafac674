//! Everything that the properties need of a runtime. Another target needs another host here
//! and nothing else.

#[cfg(not(target_family = "wasm"))]
#[path = "tokio.rs"]
mod host;
#[cfg(target_family = "wasm")]
#[path = "event_loop.rs"]
mod host;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use self::host::*;

/// Two tasks that are to meet: one says when it begins what the other is to interrupt.
#[derive(Clone, Default)]
pub(crate) struct Signal(Arc<AtomicBool>);

impl Signal {
    pub(crate) fn give(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) async fn wait(&self) {
        while !self.0.load(Ordering::Acquire) {
            yield_now().await;
        }
    }
}

/// A number that differs from run to run.
pub(crate) fn random() -> u64 {
    getrandom::u64().expect("the OS gives randomness")
}
