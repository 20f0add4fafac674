//! Requests over the network: what waits goes in one.
//!
//! A [`Lane`] has a queue, and a carrier: a task on the runtime of whoever asked when there
//! was none, which takes what has arrived, sends it, answers each, and ends when nothing is
//! left. A runtime that ends takes its tasks along: what such a carrier had not yet
//! answered goes back into the queue, and another one starts where somebody still waits.

mod batch;
#[cfg(test)]
mod tests;
mod trip;

use std::collections::VecDeque;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, WeakShared};

use self::batch::Batch;
pub(crate) use self::trip::Trip;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{self, Handle, Instant, timed_out, timeout_at};

/// How much longer than its time an operation waits for the carrier to say what went wrong.
const GRACE: Duration = Duration::from_millis(100);

/// What waits for one connection, or a part of one.
pub(crate) struct Lane<T: Trip>(Arc<Shared<T>>);

struct Shared<T: Trip> {
    trip: Arc<T>,
    timeout: Duration,
    queue: Mutex<Queue<T>>,
}

struct Queue<T: Trip> {
    waiting: VecDeque<Waiting<T>>,
    /// Operations that have come into it, ever.
    come: u64,
    carriers: Vec<Place>,
    /// Carriers that there have been, ever.
    seats: u64,
    /// A carrier was called and has not looked yet: it will take what comes meanwhile.
    called: bool,
    /// What a caller carries by itself.
    own: Option<WeakShared<BoxFuture<'static, ()>>>,
    /// Told when nothing waits and nobody carries.
    finished: Vec<oneshot::Sender<()>>,
}

/// What is known of a carrier.
struct Place {
    number: u64,
    /// When everyone whom it carries will have been answered.
    until: Instant,
    /// It has looked into the queue.
    looked: bool,
}

struct Waiting<T: Trip> {
    op: T::Op,
    /// Which one it is.
    ticket: u64,
    /// It is a write that was sent and may have been done, though nothing said so.
    is_unclear: bool,
    deadline: Instant,
    answer: oneshot::Sender<Result<T::Reply>>,
    /// Where it is waited for.
    home: Handle,
    /// The same, until a carrier was called there.
    runtime: Option<Handle>,
}

impl<T: Trip> Waiting<T> {
    /// Answers it. Of a write that was sent several times, each may have been done.
    fn tell(self, result: Result<T::Reply>) -> T::Op {
        let result = match self.is_unclear {
            true => result.map_err(Error::with_maybe_applied),
            false => result,
        };
        let _ = self.answer.send(result);
        self.op
    }
}

impl<T: Trip> Lane<T> {
    /// A lane whose operations wait at most `timeout`.
    pub(crate) fn new(trip: Arc<T>, timeout: Duration) -> Self {
        Self(Arc::new(Shared {
            trip,
            timeout,
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                come: 0,
                carriers: Vec::new(),
                seats: 0,
                called: false,
                own: None,
                finished: Vec::new(),
            }),
        }))
    }

    /// Has it sent, with what else waits, and waits for what comes back.
    pub(crate) async fn ask(&self, op: T::Op) -> Result<T::Reply> {
        let is_write = T::is_write(&op);
        let deadline = Instant::now() + self.0.timeout;
        let runtime = runtime::current()?;
        let (answer, receiver) = oneshot::channel();
        let mut waiting = Waiting {
            op,
            ticket: 0,
            is_unclear: false,
            deadline,
            answer,
            home: runtime.clone(),
            runtime: None,
        };
        if T::BY_CALLER
            && let Some(seat) = self.0.seat_if_idle(&runtime, deadline)
        {
            return self.0.carry_own(seat, waiting, receiver).await;
        }
        waiting.runtime = Some(runtime);
        let ticket = self.0.push(waiting);
        let error = match timeout_at(deadline + GRACE, receiver).await {
            Ok(Ok(result)) => return result,
            Ok(Err(_)) => Error::new(
                ErrorKind::Unreachable,
                "the task that carried the request has ended",
            )
            .retryable(true),
            Err(_) => timed_out(self.0.timeout),
        };
        let is_unclear = is_write && !self.0.queue().has_never_sent(ticket);
        if error.kind() == ErrorKind::Timeout {
            self.0.depose();
        }
        match is_unclear {
            true => Err(error.with_maybe_applied()),
            false => Err(error),
        }
    }

    /// Waits until what has arrived is done.
    pub(crate) async fn finish(&self) {
        let (own, receiver) = {
            let mut queue = self.0.queue();
            if queue.is_idle() {
                return;
            }
            let (finished, receiver) = oneshot::channel();
            queue.finished.push(finished);
            (queue.own.as_ref().and_then(WeakShared::upgrade), receiver)
        };
        if let Some(own) = own {
            own.await;
        }
        let _ = receiver.await;
    }
}

impl<T: Trip> fmt::Debug for Lane<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").finish_non_exhaustive()
    }
}

impl<T: Trip> Queue<T> {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.carriers.is_empty()
    }

    /// A place for one more carrier.
    fn seat(&mut self, until: Instant) -> u64 {
        let number = self.seats;
        self.seats += 1;
        self.carriers.push(Place {
            number,
            until,
            looked: false,
        });
        number
    }

    /// Where the next carrier is to be called, and until when somebody waits for it.
    fn caller(&mut self) -> Option<(Handle, Instant)> {
        if self.called {
            return None;
        }
        // Where the time is over, nothing may move any more.
        let now = Instant::now();
        let waiting = self.waiting.iter_mut();
        let mut alive =
            waiting.filter(|waiting| waiting.deadline > now && !waiting.answer.is_canceled());
        alive.find_map(|waiting| Some((waiting.runtime.take()?, waiting.deadline)))
    }

    /// Whether it waits there, and nothing has become of it.
    fn has_never_sent(&self, ticket: u64) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|waiting| waiting.ticket == ticket && !waiting.is_unclear)
    }

    fn tell_finished(&mut self) {
        if self.is_idle() {
            for waiting in self.finished.drain(..) {
                let _ = waiting.send(());
            }
        }
    }
}

impl<T: Trip> Shared<T> {
    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        // Nothing panics while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a caller that carries its own operation.
    fn seat_if_idle(self: &Arc<Self>, runtime: &Handle, until: Instant) -> Option<Seat<T>> {
        let mut queue = self.queue();
        if !queue.is_idle() {
            return None;
        }
        let number = queue.seat(until);
        if let Some(place) = queue.carriers.last_mut() {
            place.looked = true;
        }
        Some(Seat {
            shared: Arc::clone(self),
            home: runtime.id(),
            number,
        })
    }

    /// Sends what the caller itself waits for, in the place that it was given.
    async fn carry_own(
        self: &Arc<Self>,
        seat: Seat<T>,
        waiting: Waiting<T>,
        receiver: oneshot::Receiver<Result<T::Reply>>,
    ) -> Result<T::Reply> {
        let is_write = T::is_write(&waiting.op);
        let mut batch = Batch {
            shared: Arc::clone(self),
            waiting: vec![waiting],
            was_sent: false,
            is_polled: false,
        };
        let carrying = async move {
            let _seat = seat;
            let carried = AssertUnwindSafe(batch.carry()).catch_unwind().await;
            if carried.is_err() {
                batch.waiting.clear();
            }
        };
        let carrying = carrying.boxed().shared();
        self.queue().own = carrying.downgrade();
        // If the caller is dropped, this goes first: nobody waits for the batch then.
        let mut receiver = receiver;
        carrying.clone().await;
        if let Ok(Some(result)) = receiver.try_recv() {
            return result;
        }
        let error = Error::new(ErrorKind::Unreachable, "the driver panicked");
        Err(if is_write {
            error.with_maybe_applied()
        } else {
            error
        })
    }

    /// Puts it into the queue, and gives its number.
    fn push(self: &Arc<Self>, mut waiting: Waiting<T>) -> u64 {
        let mut queue = self.queue();
        let ticket = queue.come;
        queue.come += 1;
        waiting.ticket = ticket;
        let calls = !queue.called && queue.carriers.len() < T::UNDER_WAY;
        // A caller that carries by itself need not be looking: it may be one of many futures
        // whose next step waits for this very operation.
        let own = if calls { None } else { queue.own.take() };
        let runtime = match own {
            None if calls => waiting.runtime.take(),
            None => None,
            Some(_) => waiting.runtime.clone(),
        };
        let until = waiting.deadline;
        queue.waiting.push_back(waiting);
        let mut number = 0;
        if calls && runtime.is_some() {
            number = queue.seat(until);
            queue.called = true;
        }
        // What is dropped here may need it.
        drop(queue);
        let own = own.and_then(|own| own.upgrade());
        match (own, runtime) {
            (Some(own), Some(runtime)) => runtime::spawn(&runtime, own),
            (None, Some(runtime)) if calls => self.call(&runtime, number),
            _ => {}
        }
        ticket
    }

    /// Takes the places of those carriers that should have answered everyone by now: their runtimes
    /// stand still. What they do when these go on again is in nobody's way.
    fn depose(self: &Arc<Self>) {
        let now = Instant::now();
        let mut queue = self.queue();
        let before = queue.carriers.len();
        let is_stuck = |place: &Place| place.until + GRACE <= now;
        if queue
            .carriers
            .iter()
            .any(|place| is_stuck(place) && !place.looked)
        {
            queue.called = false;
        }
        queue.carriers.retain(|place| !is_stuck(place));
        if queue.carriers.len() == before {
            return;
        }
        // Nobody else is to be kept up by the one who carried by itself either.
        let own = queue.own.take();
        self.go_on(queue);
        drop(own);
        self.trip.gave_up();
    }

    /// After a place became empty: either something came at the last moment, or the runtime has ended or
    /// stands still, and others still wait elsewhere.
    fn go_on(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue<T>>) {
        match queue.caller() {
            Some((runtime, until)) => {
                let number = queue.seat(until);
                queue.called = true;
                drop(queue);
                self.call(&runtime, number);
            }
            None if queue.carriers.is_empty() => {
                // Those who are left have no runtime any more, or no time.
                let now = Instant::now();
                for waiting in std::mem::take(&mut queue.waiting) {
                    if waiting.deadline <= now {
                        waiting.tell(Err(timed_out(self.timeout)));
                    }
                }
                queue.tell_finished();
            }
            None => {}
        }
    }

    /// Starts a carrier, which has its place already.
    fn call(self: &Arc<Self>, runtime: &Handle, number: u64) {
        // Made here, so that it is left in good order even if the task never runs.
        let seat = Seat {
            shared: Arc::clone(self),
            home: runtime.id(),
            number,
        };
        runtime::spawn(runtime, seat.carry());
    }

    /// What the carrier with this place sends next, or `None` when nothing is left for it to carry.
    fn take(self: &Arc<Self>, number: u64) -> Option<Batch<T>> {
        let mut queue = self.queue();
        let mut places = queue.carriers.iter();
        let at = places.position(|place| place.number == number)?;
        queue.carriers[at].looked = true;
        queue.called = false;
        let now = Instant::now();
        let mut batch = Vec::with_capacity(queue.waiting.len().min(T::BATCH));
        let mut weight = 0;
        while let Some(waiting) = queue.waiting.pop_front() {
            if waiting.answer.is_canceled() {
                continue;
            }
            if waiting.deadline <= now {
                waiting.tell(Err(timed_out(self.timeout)));
                continue;
            }
            weight += T::weight(&waiting.op);
            if !batch.is_empty() && weight > T::BYTES {
                queue.waiting.push_front(waiting);
                break;
            }
            batch.push(waiting);
            if batch.len() == T::BATCH {
                break;
            }
        }
        let until = batch.iter().map(|waiting| waiting.deadline).max()?;
        queue.carriers[at].until = until;
        Some(Batch {
            shared: Arc::clone(self),
            waiting: batch,
            was_sent: false,
            is_polled: false,
        })
    }
}

/// A carrier's place.
struct Seat<T: Trip> {
    shared: Arc<Shared<T>>,
    home: runtime::Id,
    number: u64,
}

impl<T: Trip> Seat<T> {
    async fn carry(self) {
        loop {
            let Some(mut batch) = self.shared.take(self.number) else {
                // Dropping the seat looks again.
                return;
            };
            batch.carry().await;
        }
    }
}

impl<T: Trip> Drop for Seat<T> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        let mut places = queue.carriers.iter();
        let Some(at) = places.position(|place| place.number == self.number) else {
            // Another one has taken over.
            return;
        };
        if !queue.carriers.swap_remove(at).looked {
            // It never ran: nothing will on this runtime any more.
            queue.called = false;
            for waiting in &mut queue.waiting {
                let home = waiting.runtime.as_ref().map(Handle::id);
                if home == Some(self.home) {
                    waiting.runtime = None;
                }
            }
        }
        self.shared.go_on(queue);
    }
}
