//! What is sent together, again and again if need be, until each was answered.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use super::{Shared, Trip, Waiting};
use crate::error::{Error, Result};
use crate::runtime::{Backoff, Instant, sleep_until, timed_out, timeout_at};

/// What is sent together, until each was answered.
pub(super) struct Batch<T: Trip> {
    pub(super) shared: Arc<Shared<T>>,
    pub(super) waiting: Vec<Waiting<T>>,
    pub(super) was_sent: bool,
    /// Sending is being polled: if it goes no further, it has panicked.
    pub(super) is_polled: bool,
}

impl<T: Trip> Batch<T> {
    pub(super) async fn carry(&mut self) {
        let trip = Arc::clone(&self.shared.trip);
        let mut backoff = Backoff::default();
        while let Some(latest) = self.waiting.iter().map(|waiting| waiting.deadline).max() {
            self.was_sent = true;
            let sent = {
                let ops: Vec<&T::Op> = self.waiting.iter().map(|waiting| &waiting.op).collect();
                let mut sending = std::pin::pin!(trip.send(&ops));
                // On a runtime that has stood still until then, nothing more of it is sent.
                let is_polled = &mut self.is_polled;
                let in_time = poll_fn(|context| {
                    if Instant::now() >= latest {
                        return Poll::Pending;
                    }
                    *is_polled = true;
                    let sent = sending.as_mut().poll(context);
                    *is_polled = false;
                    sent
                });
                timeout_at(latest, in_time).await
            };
            let Ok(results) = sent else {
                trip.gave_up();
                return self.answer_timed_out();
            };
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
                waiting.tell(result);
            }
            return None;
        }

        let asked = results.iter().filter_map(|result| match result {
            Err(error) => error.retry_after(),
            Ok(_) => None,
        });
        let until = backoff.until(asked.max());
        // What is not sent again, and has been done or may have been.
        let mut over: Vec<T::Op> = Vec::new();
        // From the last to the first, so that it is known what has overtaken what.
        for (mut waiting, result) in waiting.into_iter().zip(results).rev() {
            match result {
                Err(error)
                    if again(&waiting.op, &error)
                        && waiting.deadline > until
                        && !waiting.answer.is_canceled()
                        && !over.iter().any(|later| T::is_overtaken(&waiting.op, later)) =>
                {
                    waiting.is_unclear |= error.is_maybe_applied();
                    self.waiting.push(waiting);
                }
                result => {
                    let is_done = result
                        .as_ref()
                        .map_or_else(Error::is_maybe_applied, |_| true);
                    let op = waiting.tell(result);
                    if T::is_write(&op) && is_done {
                        over.push(op);
                    }
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
            waiting.tell(Err(error));
        }
    }
}

impl<T: Trip> Drop for Batch<T> {
    /// The runtime has ended, or sending panicked: what may be sent again waits for another
    /// carrier, which the seat calls.
    fn drop(&mut self) {
        if self.waiting.is_empty() || self.is_polled {
            return;
        }
        let mut queue = self.shared.queue();
        let mut over: Vec<T::Op> = Vec::new();
        for mut waiting in self.waiting.drain(..).rev() {
            waiting.is_unclear |= self.was_sent && T::is_write(&waiting.op);
            let is_overtaken = || over.iter().any(|op| T::is_overtaken(&waiting.op, op));
            if waiting.answer.is_canceled()
                || (self.was_sent && !T::may_repeat(&waiting.op))
                || is_overtaken()
            {
                if waiting.is_unclear {
                    over.push(waiting.op);
                }
                continue;
            }
            // It may have been another runtime's carrier, and the one that it called itself is
            // gone, having found nothing to do.
            waiting.runtime = Some(waiting.home.clone());
            queue.waiting.push_front(waiting);
        }
    }
}
