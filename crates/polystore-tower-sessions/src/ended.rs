//! Which sessions were ended.

use std::collections::HashSet;
use std::mem;
use std::sync::{Mutex, PoisonError};

use tower_sessions_core::session::Id;

/// How many are remembered at least.
const REMEMBERED: usize = 8192;

/// The ids of sessions that this process has ended lately.
///
/// `Session::flush` ends a session and keeps its id for what the same request puts in next, a message after a logout or the user of a
/// login. That is a new session, and needs a new id: the old one may be in somebody else's hands, or in those of a
/// request that is still under way.
#[derive(Default)]
pub(crate) struct Ended(Mutex<Generations>);

/// Two of them, so that what was not used for long is forgotten without a clock.
#[derive(Default)]
struct Generations {
    young: HashSet<Id>,
    old: HashSet<Id>,
}

impl Ended {
    pub(crate) fn remember(&self, id: Id) {
        self.with(|ended| {
            if ended.young.insert(id) && ended.young.len() >= REMEMBERED {
                ended.old = mem::take(&mut ended.young);
            }
        });
    }

    pub(crate) fn has(&self, id: &Id) -> bool {
        self.with(|ended| ended.young.contains(id) || ended.old.contains(id))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Generations) -> T) -> T {
        // Nothing panics while it is held.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_and_memory_is_bounded() {
        let ended = Ended::default();
        let count = 5 * REMEMBERED as i128 + 1;
        for id in 0..count {
            ended.remember(Id(id));
        }
        assert!((count - REMEMBERED as i128..count).all(|id| ended.has(&Id(id))));
        let remembered = (0..count).filter(|id| ended.has(&Id(*id))).count();
        assert!(remembered <= 2 * REMEMBERED, "{remembered}");
    }
}
