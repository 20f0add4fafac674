//! Values that are being computed, and what becomes of them when their keys change meanwhile.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::attempt::{Attempt, Trying};
use crate::backend::Backend;
use crate::entry::Entry;

/// What is being computed, by the keys as the backend has them.
#[derive(Default)]
pub(crate) struct Flights {
    list: Mutex<HashMap<String, Listed>>,
    /// How many there are, for writes to look at: mostly there is none.
    count: AtomicUsize,
    hashes: RandomState,
}

struct Listed {
    flight: Arc<Flight>,
    seats: usize,
}

/// A computation, and what becomes of its value.
#[derive(Default)]
pub(crate) struct Flight {
    pub(crate) attempt: Attempt<Entry>,
    phase: Mutex<Phase>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Phase {
    #[default]
    Computing,
    /// Whoever changes the key meanwhile has to wait for it, to be the last one.
    Writing,
    /// The key has changed since it began: its value may be of before that, and is not kept.
    Overtaken,
}

/// A seat in one of them. Nobody boards a flight any more that everybody has left, or that has written before a change.
pub(crate) struct Seat<'a> {
    flights: &'a Flights,
    key: String,
    pub(crate) flight: Arc<Flight>,
}

/// A write that was under way when a change came.
struct Writing<'a> {
    seat: Seat<'a>,
    attempt: Trying<Entry>,
}

/// The keys whose values change, as the backend has them.
pub(crate) enum Changed<'a> {
    One(&'a str),
    /// By their hashes: a key too many is but a value that is not kept.
    Many(Vec<u64>),
    Under(&'a str),
}

/// The backend, while something changes there by it.
pub(crate) struct Changing<'a> {
    backend: &'a dyn Backend,
    flights: &'a Flights,
    changed: Changed<'a>,
}

impl Flight {
    pub(crate) fn begin(&self) {
        let mut phase = self.phase();
        if *phase == Phase::Writing {
            *phase = Phase::Computing;
        }
    }

    /// Whether the value may be kept; from then on it is being written.
    pub(crate) fn lands(&self) -> bool {
        let mut phase = self.phase();
        if *phase == Phase::Computing {
            *phase = Phase::Writing;
        }
        *phase == Phase::Writing
    }

    /// Whether it was not too late for that.
    fn is_overtaken(&self) -> bool {
        let mut phase = self.phase();
        if *phase == Phase::Computing {
            *phase = Phase::Overtaken;
        }
        *phase == Phase::Overtaken
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        // Nothing panics while it is held.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flights {
    pub(crate) fn board(&self, key: &str) -> Seat<'_> {
        let mut list = self.list();
        let listed = list.entry(key.to_owned()).or_insert_with(|| Listed {
            flight: Arc::default(),
            seats: 0,
        });
        let seat = self.seat(key, listed);
        self.count.store(list.len(), Ordering::SeqCst);
        seat
    }

    fn seat(&self, key: &str, listed: &mut Listed) -> Seat<'_> {
        listed.seats += 1;
        Seat {
            flights: self,
            key: key.to_owned(),
            flight: Arc::clone(&listed.flight),
        }
    }

    /// Of what is being computed for `changed` nothing is kept, and who asks from now on gets nothing of it. What it gives
    /// is being written already.
    fn make_way(&self, changed: &Changed<'_>) -> Vec<Writing<'_>> {
        let mut writing = Vec::new();
        if self.are_none() {
            return writing;
        }
        let mut list = self.list();
        let mut stays = |key: &str, listed: &mut Listed| {
            let is_overtaken = listed.flight.is_overtaken();
            if !is_overtaken && let Some(attempt) = listed.flight.attempt.pending() {
                let seat = self.seat(key, listed);
                writing.push(Writing { seat, attempt });
            }
            !is_overtaken
        };
        match changed {
            Changed::One(key) => {
                if let Some(listed) = list.get_mut(*key)
                    && !stays(key, listed)
                {
                    list.remove(*key);
                }
            }
            Changed::Many(hashes) => list.retain(|key, listed| {
                !hashes.contains(&self.hashes.hash_one(key)) || stays(key, listed)
            }),
            Changed::Under(prefix) => {
                list.retain(|key, listed| !key.starts_with(prefix) || stays(key, listed));
            }
        }
        self.count.store(list.len(), Ordering::SeqCst);
        writing
    }

    /// Whether nothing has to be waited for before the change.
    #[inline]
    pub(crate) fn have_made_way(&self, changed: &Changed<'_>) -> bool {
        // What a write in memory takes is some nanoseconds.
        self.are_none() || self.make_way(changed).is_empty()
    }

    #[inline]
    fn are_none(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn keys<'a>(&self, keys: impl Iterator<Item = &'a String>) -> Changed<'static> {
        Changed::Many(keys.map(|key| self.hashes.hash_one(key)).collect())
    }

    /// To be held while `backend` changes them.
    pub(crate) async fn changing<'a>(
        &'a self,
        backend: &'a dyn Backend,
        changed: Changed<'a>,
    ) -> Changing<'a> {
        for writing in self.make_way(&changed) {
            let _ = writing.attempt.await;
            writing.seat.close();
        }
        Changing {
            backend,
            flights: self,
            changed,
        }
    }

    fn list(&self) -> MutexGuard<'_, HashMap<String, Listed>> {
        // Nothing panics while it is held.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Changing<'_> {
    type Target = dyn Backend;

    fn deref(&self) -> &Self::Target {
        self.backend
    }
}

impl Drop for Changing<'_> {
    /// What has begun since the change did may be of before it.
    fn drop(&mut self) {
        self.flights.make_way(&self.changed);
    }
}

impl Seat<'_> {
    /// Nobody else gets one in this flight.
    fn close(&self) {
        self.leave(|_| 0);
    }

    /// How many seats are left is up to `left`.
    fn leave(&self, left: impl FnOnce(usize) -> usize) {
        let mut list = self.flights.list();
        // It may have made way to another one.
        if let Some(listed) = list.get_mut(&self.key)
            && Arc::ptr_eq(&listed.flight, &self.flight)
        {
            listed.seats = left(listed.seats);
            if listed.seats == 0 {
                list.remove(&self.key);
                self.flights.count.store(list.len(), Ordering::SeqCst);
            }
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.leave(|seats| seats - 1);
    }
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::{join, pending};

    use super::*;
    use crate::entry::Expiry;
    use crate::kv::kv;

    #[test]
    fn who_has_left_and_who_was_waited_for_leave_nothing_on_the_list() {
        let store = kv("memory:").unwrap();
        let flights = Flights::default();
        let write = |seat: &Seat<'_>| {
            seat.flight.begin();
            assert!(seat.flight.lands());
            // It is not done before somebody waits for it again.
            let mut is_first = true;
            let done = std::future::poll_fn(move |cx| {
                if std::mem::take(&mut is_first) {
                    cx.waker().wake_by_ref();
                    return std::task::Poll::Pending;
                }
                std::task::Poll::Ready(Ok(Entry::from_stored("1", Expiry::Never)))
            });
            done.boxed()
        };
        let baker = async {
            let seat = flights.board("a");
            let attempt = &seat.flight.attempt;
            attempt.join(|| None, || write(&seat), |_| ()).await
        };
        let change = async {
            let changed = Changed::One("a");
            let backend = &**store.backend();
            flights.changing(backend, changed).await.del("a").await
        };
        let (baked, changed) = futures_executor::block_on(join(baker, change));
        assert!(baked.is_ok() && changed.is_ok());
        assert!(flights.list().is_empty());
        assert_eq!(flights.count.load(Ordering::SeqCst), 0);

        let seats = [flights.board("a"), flights.board("a"), flights.board("b")];
        let waits = seats[0]
            .flight
            .attempt
            .join(|| None, || pending().boxed(), |_| ());
        assert!(waits.now_or_never().is_none());
        assert_eq!(flights.count.load(Ordering::SeqCst), 2);
        drop(seats);
        assert!(flights.list().is_empty());
        assert_eq!(flights.count.load(Ordering::SeqCst), 0);
    }
}
