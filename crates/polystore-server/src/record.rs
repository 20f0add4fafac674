//! What is told of each request when it is over: a line of the log, and numbers. Never a key.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use crate::connection::Connection;
use crate::handle::Handle;
use crate::operation::Operation;

/// What nginx says for a client that did not wait.
const GONE: u16 = 499;

/// The kind of what goes wrong with a reply after it has begun; goes with the reply.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure(Arc<OnceLock<&'static str>>);

impl Failure {
    pub(crate) fn tell(&self, kind: &'static str) {
        // The first one ends the reply.
        let _ = self.0.set(kind);
    }
}

/// A request that is under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Record {
    handle: Arc<Handle>,
    connection: Option<Arc<Connection>>,
    started: Instant,
    pub(crate) operation: Option<Operation>,
    pub(crate) status: u16,
    pub(crate) kind: Option<&'static str>,
    /// Of a reply that can fail when it has begun.
    pub(crate) failure: Option<Failure>,
    /// One of the requests that may be under way at once.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl Record {
    pub(crate) fn begin(handle: Arc<Handle>, connection: Option<Arc<Connection>>) -> Self {
        handle.metrics.begin();
        if let Some(connection) = &connection {
            connection.begin();
        }
        Self {
            handle,
            connection,
            started: Instant::now(),
            operation: None,
            status: GONE,
            kind: None,
            failure: None,
            permit: None,
        }
    }

    /// The client takes nothing of what it asked for.
    pub(crate) fn give_up(&mut self) {
        self.kind = Some("timeout");
        if let Some(connection) = &self.connection {
            connection.give_up();
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let failed = self.failure.as_ref().and_then(|it| it.0.get().copied());
        let (handle, status, kind) = (&self.handle, self.status, self.kind.or(failed));
        handle.metrics.end(self.operation, status, kind, took);
        if let Some(connection) = &self.connection {
            connection.end();
        }
        let operation = self.operation.map_or("other", Operation::as_str);
        let backend = &*handle.kind;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if status >= 500 || (kind.is_some() && status < 400) {
            tracing::warn!(operation, backend, status, kind, micros, "failed");
        } else {
            tracing::info!(operation, backend, status, kind, micros, "answered");
        }
    }
}
