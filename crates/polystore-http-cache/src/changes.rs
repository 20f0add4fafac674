//! Changes that this process made: what they make void, for replies that are on their way and for what could not be removed.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use polystore_kv::Store;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tracing::Instrument as _;

const SLOTS: usize = 256;
/// How many keys of a slot are remembered as void: of more the oldest are not.
const MOST_VOID: usize = 64;
/// How many keys of a slot are remembered as just kept.
const MOST_RECENT: usize = 8;
/// How many writes go on at once, with or without somebody who waits for them.
const MOST_TASKS: usize = 1024;

/// Something that waits for work, which goes on without it.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What happened to URLs whose keys begin alike: of a limited size, however many URLs there are.
#[derive(Clone)]
pub(crate) struct Changes(Arc<Shared>);

struct Shared {
    slots: [Mutex<Slot>; SLOTS],
    tasks: Arc<Semaphore>,
}

#[derive(Default)]
struct Slot {
    /// How many changes there were. That another URL's counts too costs at most a reply that is not kept.
    changes: u64,
    void: VecDeque<Void>,
    writes: Vec<Write>,
    /// How many replies were kept, and the last of them: where, the how manieth, and their `Date`.
    kept: u64,
    recent: VecDeque<(Place, u64, SystemTime)>,
}

/// A write that is on its way, of a reply that was asked for after so many changes.
struct Write {
    place: Place,
    seen: u64,
    /// Closed when it ended.
    end: watch::Receiver<()>,
}

/// A key in a part of a store.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Place {
    store: usize,
    prefix: String,
    pub(crate) key: String,
}

/// The moment at which a request of a URL began.
#[derive(Clone)]
pub(crate) struct Since {
    changes: Changes,
    pub(crate) place: Place,
    seen: u64,
    kept: u64,
    /// What is void there, if something was when the request began.
    pub(crate) void: Option<Void>,
}

/// What a change made void: what is in `store` there does not hold.
#[derive(Clone)]
pub(crate) struct Void {
    pub(crate) store: Store,
    pub(crate) place: Place,
    /// The how manieth change it was.
    change: u64,
}

/// That a reply is being written.
pub(crate) struct Writing {
    since: Since,
    /// Whether what is there is void.
    pub(crate) is_void: bool,
    _end: watch::Sender<()>,
}

impl Place {
    pub(crate) fn new(store: &Store, key: String) -> Self {
        // Which one it is, and no more: it is not followed.
        let at = Arc::as_ptr(store.backend()).cast::<()>() as usize;
        let prefix = store.full_key("").into_owned();
        Self {
            store: at,
            prefix,
            key,
        }
    }
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            slots: std::array::from_fn(|_| Mutex::default()),
            tasks: Arc::new(Semaphore::new(MOST_TASKS)),
        }))
    }

    /// From now on what is kept there is no hit, and what was asked for before is not kept.
    pub(crate) fn make_void(&self, store: &Store, key: String) -> Void {
        let place = Place::new(store, key);
        let mut slot = self.slot(&place);
        slot.changes += 1;
        let void = Void {
            store: store.clone(),
            change: slot.changes,
            place: place.clone(),
        };
        slot.void.retain(|known| known.place != place);
        if slot.void.len() == MOST_VOID {
            slot.void.pop_front();
        }
        slot.void.push_back(void.clone());
        void
    }

    pub(crate) fn since(&self, place: Place) -> Since {
        let slot = self.slot(&place);
        let since = Since {
            seen: slot.changes,
            kept: slot.kept,
            void: slot.void_at(&place).cloned(),
            changes: self.clone(),
            place,
        };
        drop(slot);
        since
    }

    /// The writes that may bring back what is `void`.
    pub(crate) fn older(&self, void: &Void) -> Vec<watch::Receiver<()>> {
        self.slot(&void.place).older(&void.place, void.change)
    }

    /// What is there now holds, unless it was made void anew.
    pub(crate) fn is_removed(&self, void: &Void) {
        self.slot(&void.place).holds(&void.place, void.change);
    }

    pub(crate) fn is_void(&self, void: &Void) -> bool {
        let slot = self.slot(&void.place);
        let known = slot.void_at(&void.place);
        known.is_some_and(|known| known.change == void.change)
    }

    /// Does `work` to its end, whatever becomes of who waits for it: a write that is given up halfway may
    /// still be made, when nobody looks any more. Where too much is being done, nothing more is begun.
    pub(crate) fn run(&self, work: impl Future<Output = ()> + Send + 'static) -> Waiting {
        let Ok(permit) = Arc::clone(&self.0.tasks).try_acquire_owned() else {
            tracing::warn!(
                "the store of the HTTP cache is too slow: a reply is not kept or not removed"
            );
            return Box::pin(std::future::ready(()));
        };
        let work = async move {
            work.await;
            drop(permit);
        };
        match Handle::try_current() {
            // One that panicked or whose runtime ends has ended too.
            Ok(runtime) => {
                let task = runtime.spawn(work.in_current_span());
                Box::pin(async move { drop(task.await) })
            }
            // Another middleware answered in place of reqwest, which needs the runtime.
            Err(_) => Box::pin(work),
        }
    }

    fn slot(&self, place: &Place) -> MutexGuard<'_, Slot> {
        // By the first two digits of the key, which is a hash.
        let digits = place.key.get(..2);
        let slot = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let slot = &self.0.slots[slot.unwrap_or(0) % SLOTS];
        slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn void_at(&self, place: &Place) -> Option<&Void> {
        self.void.iter().find(|known| known.place == *place)
    }

    /// What is there now was written or removed after the change `last`.
    fn holds(&mut self, place: &Place, last: u64) {
        self.void
            .retain(|known| known.place != *place || known.change > last);
    }

    fn older(&self, place: &Place, change: u64) -> Vec<watch::Receiver<()>> {
        let writes = self.writes.iter();
        writes
            .filter(|write| write.place == *place && write.seen < change)
            .filter(|write| write.end.has_changed().is_ok())
            .map(|write| write.end.clone())
            .collect()
    }
}

impl Since {
    /// To be called before a reply of that `date` is written under `key`. It must not be if the URL may have changed since, or
    /// if a newer one was kept meanwhile (RFC 9111, section 4).
    pub(crate) fn begin(&self, key: &str, date: SystemTime) -> Option<Writing> {
        let mut slot = self.changes.slot(&self.place);
        let written = Place {
            key: key.to_owned(),
            ..self.place.clone()
        };
        let is_newer = |(place, number, kept): &(Place, u64, SystemTime)| {
            *place == written && *number > self.kept && *kept > date
        };
        if slot.changes != self.seen || slot.recent.iter().any(is_newer) {
            return None;
        }
        let change = slot.void_at(&self.place).map(|void| void.change);
        // A write that may bring back what is void could come after this one.
        if change.is_some_and(|change| !slot.older(&self.place, change).is_empty()) {
            return None;
        }
        slot.kept += 1;
        let number = slot.kept;
        if slot.recent.len() == MOST_RECENT {
            slot.recent.pop_front();
        }
        slot.recent.push_back((written, number, date));

        slot.writes.retain(|write| write.end.has_changed().is_ok());
        let (end, ended) = watch::channel(());
        slot.writes.push(Write {
            place: self.place.clone(),
            seen: self.seen,
            end: ended,
        });
        drop(slot);
        Some(Writing {
            since: self.clone(),
            is_void: change.is_some(),
            _end: end,
        })
    }
}

impl Writing {
    /// What is there now holds.
    pub(crate) fn is_kept(&self) {
        let Since { place, seen, .. } = &self.since;
        self.since.changes.slot(place).holds(place, *seen);
    }
}

/// Waits for the end of a write.
pub(crate) async fn ended(mut write: watch::Receiver<()>) {
    while write.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use polystore_kv::kv;

    use super::*;

    /// Of one slot.
    fn key(number: usize) -> String {
        format!("00{number}")
    }

    #[test]
    fn what_is_remembered_has_an_end_and_is_the_last() {
        let (changes, store) = (Changes::new(), kv("memory:").unwrap());
        let place = |number| Place::new(&store, key(number));
        for number in 0..1000 {
            let since = changes.since(place(number));
            drop(since.begin(&key(number), SystemTime::UNIX_EPOCH));
            changes.make_void(&store, key(number));
        }
        let slot = changes.slot(&place(0));
        let sizes = (slot.void.len(), slot.recent.len(), slot.writes.len());
        assert_eq!(sizes, (MOST_VOID, MOST_RECENT, 1));
        drop(slot);
        assert!(changes.since(place(0)).void.is_none());
        assert!(changes.since(place(999)).void.is_some());
    }

    #[test]
    fn parts_of_one_store_are_void_each_for_itself() {
        let (changes, store) = (Changes::new(), kv("memory:").unwrap());
        let [first, second] = ["a:", "b:"].map(|part| store.prefix(part));
        let of_first = changes.make_void(&first, key(0));
        assert!(changes.since(Place::new(&second, key(0))).void.is_none());
        let of_second = changes.make_void(&second, key(0));
        changes.is_removed(&of_second);
        assert!(changes.is_void(&of_first), "another part's removal");
        assert!(!changes.is_void(&of_second));
    }

    #[test]
    fn a_removal_makes_nothing_hold_that_was_made_void_after_it_began() {
        let changes = Changes::new();
        let store = kv("memory:").unwrap();
        let [first, second] = [(); 2].map(|()| changes.make_void(&store, key(0)));
        changes.is_removed(&first);
        assert!(changes.is_void(&second));
        changes.is_removed(&second);
        assert!(changes.since(second.place).void.is_none());
    }
}
