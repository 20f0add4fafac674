//! Changes that this process made, for the replies that are on their way meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const SLOTS: usize = 256;

/// How many changes there were of URLs whose keys begin alike: of a fixed size, however many URLs there
/// are. That another one's change counts too costs at most a reply that is not kept.
#[derive(Clone)]
pub(crate) struct Changes(Arc<[AtomicU32; SLOTS]>);

/// The moment at which a request of a URL began.
#[derive(Clone)]
pub(crate) struct Since {
    changes: Changes,
    slot: usize,
    seen: u32,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self(Arc::new([const { AtomicU32::new(0) }; SLOTS]))
    }

    /// To be called before what is kept is removed: what is kept after that is looked at once more.
    pub(crate) fn note(&self, key: &str) {
        self.0[slot(key)].fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn since(&self, key: &str) -> Since {
        let slot = slot(key);
        Since {
            seen: self.0[slot].load(Ordering::SeqCst),
            changes: self.clone(),
            slot,
        }
    }
}

impl Since {
    /// Whether the URL may have changed since.
    pub(crate) fn is_over(&self) -> bool {
        self.changes.0[self.slot].load(Ordering::SeqCst) != self.seen
    }
}

/// By the first two digits of the key, which is a hash.
fn slot(key: &str) -> usize {
    let digits = key.get(..2);
    let slot = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok());
    slot.unwrap_or(0) % SLOTS
}
