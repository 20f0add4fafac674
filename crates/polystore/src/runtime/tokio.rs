//! Tokio, and in it the runtime that the caller is on.

use std::future::Future;

pub(crate) use tokio::runtime::{Handle, Id};
pub(crate) use tokio::time::{Instant, sleep_until, timeout_at};

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
