//! A connection that is made on the first use, shared, and replaced when it is lost.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;

use crate::attempt::Attempt;
use crate::error::{Error, ErrorKind, Result};

/// A place for a connection. Those who need it while it is being made share the attempt.
pub(crate) struct Link<C> {
    state: Mutex<State<C>>,
    attempt: Attempt<Arc<C>>,
}

struct State<C> {
    connection: Option<Arc<C>>,
    was_connected: bool,
}

impl<C> Default for Link<C> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                connection: None,
                was_connected: false,
            }),
            attempt: Attempt::default(),
        }
    }
}

impl<C: Send + Sync + 'static> Link<C> {
    /// The connection, made by `connect` if there is none.
    pub(crate) async fn get<F>(&self, connect: impl FnOnce() -> F) -> Result<Arc<C>>
    where
        F: Future<Output = Result<C>> + Send + 'static,
    {
        if let Some(connection) = self.now() {
            return Ok(connection);
        }
        let begin = || {
            let connecting = connect();
            async {
                // A driver that panics must not leave the others waiting.
                let connected = AssertUnwindSafe(connecting).catch_unwind().await;
                match connected {
                    Ok(connected) => connected.map(Arc::new),
                    // As some do when the runtime ends that the attempt was begun on.
                    Err(_) => Err(Error::new(
                        ErrorKind::Unreachable,
                        "the driver panicked while it connected",
                    )
                    .retryable(true)),
                }
            }
            .boxed()
        };
        let keep = |connection: &Arc<C>| {
            let mut state = self.state();
            state.connection = Some(Arc::clone(connection));
            state.was_connected = true;
        };
        self.attempt.join(|| self.now(), begin, keep).await
    }

    /// The connection, if there is one.
    pub(crate) fn now(&self) -> Option<Arc<C>> {
        self.state().connection.clone()
    }

    /// Lets `lost` go, unless it was replaced already. The next use connects again.
    pub(crate) fn lose(&self, lost: &Arc<C>) {
        let mut state = self.state();
        let current = state.connection.as_ref();
        if current.is_some_and(|current| Arc::ptr_eq(current, lost)) {
            state.connection = None;
        }
    }

    /// Lets the connection go, whichever it is.
    pub(crate) fn drop_connection(&self) {
        self.state().connection = None;
    }

    /// Whether there ever was a connection: then a failure to connect may pass, and
    /// is not a mistake in the address.
    pub(crate) fn was_connected(&self) -> bool {
        self.state().was_connected
    }

    /// Waits for an attempt under way, and lets the connection go.
    pub(crate) async fn close(&self) {
        self.attempt.settle().await;
        self.drop_connection();
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
