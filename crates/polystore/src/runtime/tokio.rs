//! Tokio, and in it the runtime that the caller is on.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

pub(crate) use tokio::runtime::{Handle, Id};
pub(crate) use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};

/// The runtime of the caller.
pub(crate) fn current() -> Result<Handle> {
    Handle::try_current().map_err(|_| {
        Error::new(
            ErrorKind::Unsupported,
            "a store on the network works on a tokio runtime: call it from inside one",
        )
    })
}

/// Has the runtime do it, whether anybody waits or not.
pub(crate) fn spawn(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
    runtime.spawn(work);
}

/// Waits until then, on whichever runtime it is polled.
///
/// What callers share is polled by any of them, and tokio's own timer belongs to the runtime that it was first polled
/// on: where that one has ended, it panics.
pub(crate) async fn sleep_until(until: Instant) {
    loop {
        let home = home();
        let mut timer = pin!(tokio::time::sleep_until(until));
        let is_over = poll_fn(|context| match self::home() == home {
            true => timer.as_mut().poll(context).map(|()| true),
            false => Poll::Ready(false),
        });
        if is_over.await {
            return;
        }
    }
}

fn home() -> Option<Id> {
    Handle::try_current().ok().map(|runtime| runtime.id())
}

/// The time is over.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// What `work` gives, unless that takes until after `deadline`; on whichever runtime it is polled.
pub(crate) async fn timeout_at<F: Future>(
    deadline: Instant,
    work: F,
) -> Result<F::Output, Elapsed> {
    let mut work = pin!(work);
    let mut over = pin!(sleep_until(deadline));
    // What is done at once needs no timer.
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => over.as_mut().poll(context).map(|()| Err(Elapsed)),
    })
    .await
}

/// [`timeout_at`], from now.
#[cfg(any(feature = "redis", feature = "etcd"))]
pub(crate) async fn timeout<F: Future>(
    limit: std::time::Duration,
    work: F,
) -> Result<F::Output, Elapsed> {
    // A limit beyond what the clock can say is none.
    let far = std::time::Duration::from_secs(30 * 365 * 86_400);
    timeout_at(Instant::now() + limit.min(far), work).await
}
