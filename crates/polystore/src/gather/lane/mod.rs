//! Requests over the network: what waits goes in one.
//!
//! A [`Lane`] has a queue, and a carrier: a task on the runtime of whoever asked when there
//! was none, which takes what has arrived, sends it, answers each, and ends when nothing is
//! left. A runtime that ends takes its tasks along: what such a carrier had not yet
//! answered goes back into the queue, and another one starts where somebody still waits.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::error::{Error, ErrorKind, Result};
use crate::remote::{Backoff, runtime, timed_out};

/// How much longer than its time an operation waits for the carrier to say what went wrong.
const GRACE: Duration = Duration::from_millis(100);

/// How what has gathered is sent.
pub(crate) trait Trip: Send + Sync + 'static {
    /// One thing to do.
    type Op: Send + Sync + 'static;
    /// What comes back for it.
    type Reply: Send + 'static;

    /// How many batches may be under way. With one, operations keep their order.
    const UNDER_WAY: usize;

    /// How many operations are sent together at most.
    const BATCH: usize;

    /// Whether an operation that comes when nothing is under way is sent by its caller, which
    /// spares it the way to a carrier and back. If the caller is dropped meanwhile, what comes
    /// next is sent at once: it must not overtake what was sent.
    const BY_CALLER: bool = false;

    /// How much they weigh together at most, if more than one.
    const BYTES: usize = 4 << 20;

    /// Sends them once, and gives what came back for each, in their order. Connects first
    /// if that is needed. What has failed on the way to the server is
    /// [not applied](Error::is_maybe_applied), what may have got there is.
    ///
    /// Dropped when the time of all of them is over, or when its one caller is.
    fn send(&self, ops: &[&Self::Op]) -> impl Future<Output = Vec<Result<Self::Reply>>> + Send;

    /// Whether an operation that failed like this may succeed if it is sent again by itself.
    fn is_transient(&self, error: &Error) -> bool;

    /// Whether sending it twice does no more than sending it once.
    fn may_repeat(op: &Self::Op) -> bool;

    /// Whether it changes anything.
    fn is_write(op: &Self::Op) -> bool;

    /// Whether `later`, which has succeeded, makes it wrong to send `op` again.
    fn is_overtaken(op: &Self::Op, later: &Self::Op) -> bool {
        let _ = (op, later);
        false
    }

    /// About how many bytes it takes.
    fn weight(op: &Self::Op) -> usize {
        let _ = op;
        0
    }

    /// Called when nothing has come back in time: the connection may be dead.
    fn gave_up(&self);
}

/// What waits for one connection, or a part of one.
pub(crate) struct Lane<T: Trip>(Arc<Shared<T>>);

struct Shared<T: Trip> {
    trip: Arc<T>,
    timeout: Duration,
    queue: Mutex<Queue<T>>,
}

struct Queue<T: Trip> {
    waiting: VecDeque<Waiting<T>>,
    /// Operations that have been taken out of `waiting` for good, ever.
    taken: u64,
    /// Operations that have come into it, ever.
    come: u64,
    carriers: usize,
    /// A carrier was called and has not looked yet: it will take what comes meanwhile.
    called: bool,
    /// Told when nothing waits and nobody carries.
    finished: Vec<oneshot::Sender<()>>,
}

struct Waiting<T: Trip> {
    op: T::Op,
    deadline: Instant,
    answer: oneshot::Sender<Result<T::Reply>>,
    /// Where it is waited for, until a carrier was called there.
    runtime: Option<Handle>,
}

impl<T: Trip> Lane<T> {
    /// A lane whose operations wait at most `timeout`.
    pub(crate) fn new(trip: Arc<T>, timeout: Duration) -> Self {
        Self(Arc::new(Shared {
            trip,
            timeout,
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                taken: 0,
                come: 0,
                carriers: 0,
                called: false,
                finished: Vec::new(),
            }),
        }))
    }

    /// Has it sent, with what else waits, and waits for what comes back.
    pub(crate) async fn ask(&self, op: T::Op) -> Result<T::Reply> {
        let is_write = T::is_write(&op);
        let deadline = Instant::now() + self.0.timeout;
        let runtime = runtime()?;
        let (answer, receiver) = oneshot::channel();
        let mut waiting = Waiting {
            op,
            deadline,
            answer,
            runtime: None,
        };
        if T::BY_CALLER
            && let Some(seat) = self.0.seat_if_idle(&runtime)
        {
            return seat.carry_own(waiting, receiver).await;
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
        // Nobody looks into the queue twice for what was taken.
        if is_write && self.0.queue().taken > ticket {
            return Err(error.with_maybe_applied());
        }
        Err(error)
    }

    /// Waits until what has arrived is done.
    pub(crate) async fn finish(&self) {
        let receiver = {
            let mut queue = self.0.queue();
            if queue.is_idle() {
                return;
            }
            let (finished, receiver) = oneshot::channel();
            queue.finished.push(finished);
            receiver
        };
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
        self.waiting.is_empty() && self.carriers == 0
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
    fn seat_if_idle(self: &Arc<Self>, runtime: &Handle) -> Option<Seat<T>> {
        let mut queue = self.queue();
        if !queue.is_idle() {
            return None;
        }
        queue.carriers += 1;
        Some(Seat {
            shared: Arc::clone(self),
            home: runtime.id(),
            looked: true,
        })
    }

    /// Puts it into the queue, and gives its number.
    fn push(self: &Arc<Self>, mut waiting: Waiting<T>) -> u64 {
        let mut queue = self.queue();
        let ticket = queue.come;
        queue.come += 1;
        let calls = !queue.called && queue.carriers < T::UNDER_WAY;
        let runtime = if calls { waiting.runtime.take() } else { None };
        queue.waiting.push_back(waiting);
        if let Some(runtime) = runtime {
            queue.carriers += 1;
            queue.called = true;
            drop(queue);
            self.call(&runtime);
        }
        ticket
    }

    /// Starts a carrier, which was counted already.
    fn call(self: &Arc<Self>, runtime: &Handle) {
        // Made here, so that it is left in good order even if the task never runs.
        let seat = Seat {
            shared: Arc::clone(self),
            home: runtime.id(),
            looked: false,
        };
        runtime.spawn(seat.carry());
    }

    /// What is to be sent next, or `None` when nothing is left to carry.
    fn take(self: &Arc<Self>) -> Option<Batch<T>> {
        let mut queue = self.queue();
        queue.called = false;
        let now = Instant::now();
        let mut batch = Vec::with_capacity(queue.waiting.len().min(T::BATCH));
        let mut weight = 0;
        while let Some(waiting) = queue.waiting.pop_front() {
            if waiting.answer.is_canceled() {
                queue.taken += 1;
                continue;
            }
            if waiting.deadline <= now {
                let _ = waiting.answer.send(Err(timed_out(self.timeout)));
                queue.taken += 1;
                continue;
            }
            weight += T::weight(&waiting.op);
            if !batch.is_empty() && weight > T::BYTES {
                queue.waiting.push_front(waiting);
                break;
            }
            queue.taken += 1;
            batch.push(waiting);
            if batch.len() == T::BATCH {
                break;
            }
        }
        if batch.is_empty() {
            return None;
        }
        Some(Batch {
            shared: Arc::clone(self),
            waiting: batch,
            was_sent: false,
        })
    }
}

/// A carrier's place.
struct Seat<T: Trip> {
    shared: Arc<Shared<T>>,
    home: tokio::runtime::Id,
    /// It has looked into the queue.
    looked: bool,
}

impl<T: Trip> Seat<T> {
    async fn carry(mut self) {
        loop {
            self.looked = true;
            let Some(mut batch) = self.shared.take() else {
                // Dropping the seat looks again.
                return;
            };
            batch.carry().await;
        }
    }
}

impl<T: Trip> Seat<T> {
    /// Sends what the caller itself waits for. Who comes meanwhile gets a carrier when this is over.
    async fn carry_own(
        self,
        waiting: Waiting<T>,
        receiver: oneshot::Receiver<Result<T::Reply>>,
    ) -> Result<T::Reply> {
        let mut batch = Batch {
            shared: Arc::clone(&self.shared),
            waiting: vec![waiting],
            was_sent: false,
        };
        // If this future is dropped, it goes first: nobody waits for the batch then.
        let mut receiver = receiver;
        let carried = AssertUnwindSafe(batch.carry()).catch_unwind().await;
        let answer = receiver.try_recv();
        if let (Ok(()), Ok(Some(result))) = (carried, answer) {
            return result;
        }
        let error = Error::new(ErrorKind::Unreachable, "the driver panicked");
        let is_write = batch.waiting.iter().any(|waiting| T::is_write(&waiting.op));
        batch.waiting.clear();
        Err(if is_write {
            error.with_maybe_applied()
        } else {
            error
        })
    }
}

impl<T: Trip> Drop for Seat<T> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.carriers -= 1;
        if !self.looked {
            // It never ran: nothing will on this runtime any more.
            queue.called = false;
            for waiting in &mut queue.waiting {
                let home = waiting.runtime.as_ref().map(Handle::id);
                if home == Some(self.home) {
                    waiting.runtime = None;
                }
            }
        }
        // Either something came at the last moment, or the runtime has ended and others still
        // wait elsewhere.
        let next = if queue.called {
            None
        } else {
            let waiting = queue.waiting.iter_mut();
            let mut alive = waiting.filter(|waiting| !waiting.answer.is_canceled());
            alive.find_map(|waiting| waiting.runtime.take())
        };
        match next {
            Some(runtime) => {
                queue.carriers += 1;
                queue.called = true;
                drop(queue);
                self.shared.call(&runtime);
            }
            None if queue.carriers == 0 => {
                // Those who are left have no runtime any more.
                queue.taken += queue.waiting.len() as u64;
                queue.waiting.clear();
                queue.tell_finished();
            }
            None => {}
        }
    }
}

/// What is sent together, until each was answered.
struct Batch<T: Trip> {
    shared: Arc<Shared<T>>,
    waiting: Vec<Waiting<T>>,
    was_sent: bool,
}

impl<T: Trip> Batch<T> {
    async fn carry(&mut self) {
        let trip = Arc::clone(&self.shared.trip);
        let mut backoff = Backoff::default();
        while let Some(latest) = self.waiting.iter().map(|waiting| waiting.deadline).max() {
            self.was_sent = true;
            let ops: Vec<&T::Op> = self.waiting.iter().map(|waiting| &waiting.op).collect();
            let Ok(results) = timeout_at(latest, trip.send(&ops)).await else {
                trip.gave_up();
                return self.answer_timed_out();
            };
            drop(ops);
            self.was_sent = false;
            let Some(until) = self.answer(results, &mut backoff) else {
                return;
            };
            sleep_until(until).await;
        }
    }

    /// Answers those that are done. What is left is to be sent again, at the time that it gives.
    fn answer(&mut self, results: Vec<Result<T::Reply>>, backoff: &mut Backoff) -> Option<Instant> {
        let trip = Arc::clone(&self.shared.trip);
        debug_assert_eq!(results.len(), self.waiting.len());
        let again = |op: &T::Op, error: &Error| {
            trip.is_transient(error) && (T::may_repeat(op) || !error.is_maybe_applied())
        };
        // The usual case: nothing failed, or nothing that may be tried again.
        let waiting = std::mem::take(&mut self.waiting);
        let fails = |(waiting, result): (&Waiting<T>, &Result<T::Reply>)| {
            result
                .as_ref()
                .is_err_and(|error| again(&waiting.op, error))
        };
        if !waiting.iter().zip(&results).any(fails) {
            for (waiting, result) in waiting.into_iter().zip(results) {
                let _ = waiting.answer.send(result);
            }
            return None;
        }

        let asked = results.iter().filter_map(|result| match result {
            Err(error) => error.retry_after(),
            Ok(_) => None,
        });
        let until = Instant::now() + backoff.next().max(asked.max().unwrap_or_default());
        let mut succeeded: Vec<T::Op> = Vec::new();
        // From the last to the first, so that it is known what has overtaken what.
        for (waiting, result) in waiting.into_iter().zip(results).rev() {
            match result {
                Err(error)
                    if again(&waiting.op, &error)
                        && waiting.deadline > until
                        && !waiting.answer.is_canceled()
                        && !succeeded
                            .iter()
                            .any(|later| T::is_overtaken(&waiting.op, later)) =>
                {
                    self.waiting.push(waiting);
                }
                result => {
                    if result.is_ok() && T::is_write(&waiting.op) {
                        succeeded.push(waiting.op);
                    }
                    let _ = waiting.answer.send(result);
                }
            }
        }
        self.waiting.reverse();
        (!self.waiting.is_empty()).then_some(until)
    }

    fn answer_timed_out(&mut self) {
        let error = timed_out(self.shared.timeout);
        for waiting in self.waiting.drain(..) {
            let mut error = error.clone();
            if T::is_write(&waiting.op) {
                error = error.with_maybe_applied();
            }
            let _ = waiting.answer.send(Err(error));
        }
    }
}

impl<T: Trip> Drop for Batch<T> {
    /// The runtime has ended, or sending panicked: what may be sent again waits for another
    /// carrier, which the seat calls.
    fn drop(&mut self) {
        if self.waiting.is_empty() || std::thread::panicking() {
            return;
        }
        let mut queue = self.shared.queue();
        for waiting in self.waiting.drain(..).rev() {
            if waiting.answer.is_canceled() || (self.was_sent && !T::may_repeat(&waiting.op)) {
                continue;
            }
            queue.taken -= 1;
            queue.waiting.push_front(waiting);
        }
    }
}
