//! Which sessions are known to be there.

use std::collections::HashSet;
use std::mem;
use std::sync::{Mutex, PoisonError};

use tower_sessions_core::session::Id;

/// How many are remembered at least.
const REMEMBERED: usize = 8192;

/// The sessions that this process has made or loaded lately, and has not deleted since.
///
/// `save` is called for an id that is there: the middleware loads a session before it changes it. The exceptions are what an
/// attacker or a race can make of it: `Session::clear` takes the cookie's word for the id, and a request may save what
/// another one has deleted since. Neither is known here, so that `save` looks first; for all others it need not.
#[derive(Default)]
pub(crate) struct Known(Mutex<Generations>);

/// Two of them, so that what was not used for long is forgotten without a clock.
#[derive(Default)]
struct Generations {
    young: HashSet<Id>,
    old: HashSet<Id>,
}

impl Known {
    pub(crate) fn remember(&self, id: Id) {
        self.with(|known| {
            if known.young.insert(id) && known.young.len() >= REMEMBERED {
                known.old = mem::take(&mut known.young);
            }
        });
    }

    pub(crate) fn forget(&self, id: &Id) {
        self.with(|known| {
            known.young.remove(id);
            known.old.remove(id);
        });
    }

    pub(crate) fn has(&self, id: &Id) -> bool {
        self.with(|known| known.young.contains(id) || known.old.contains(id))
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
    fn the_latest_are_known_and_memory_is_bounded() {
        let known = Known::default();
        let count = 5 * REMEMBERED as i128 + 1;
        for id in 0..count {
            known.remember(Id(id));
        }
        assert!((count - REMEMBERED as i128..count).all(|id| known.has(&Id(id))));
        let remembered = (0..count).filter(|id| known.has(&Id(*id))).count();
        assert!(remembered <= 2 * REMEMBERED, "{remembered}");
    }

    #[test]
    fn what_was_forgotten_is_not_known() {
        let known = Known::default();
        for id in 0..REMEMBERED as i128 + 1 {
            known.remember(Id(id));
        }
        for id in [Id(0), Id(REMEMBERED as i128)] {
            assert!(known.has(&id));
            known.forget(&id);
            assert!(!known.has(&id));
        }
    }
}
