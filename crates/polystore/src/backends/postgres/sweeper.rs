//! Removes what has expired, in small batches, in a store that has written something.
//!
//! A task on the runtime of a write; another one is started when that runtime has ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::clock::ServerTime;
use super::failure::Failure;
use super::server::{Role, Server};
use crate::entry::Timestamp;
use crate::error::Result;

/// How many rows go at a time, so that they are not locked for long.
const BATCH: i64 = 500;

/// Between two batches.
const BREATH: i64 = 20;

/// How long after a sweep the next one is, unless that one left something.
const BETWEEN_SWEEPS: i64 = 1_000;

/// The same where each reads all rows, and after a failure. So long after a write another one is due in
/// any case: other processes write too.
const BETWEEN_FULL_SWEEPS: i64 = 60_000;

#[derive(Default)]
pub(super) struct Sweeper {
    plan: Mutex<Plan>,
    wake: Notify,
}

/// Instants are in milliseconds since 1970.
#[derive(Default)]
struct Plan {
    /// When the next sweep is due, if ever.
    next: Option<i64>,
    last: i64,
    task: Option<JoinHandle<()>>,
    is_closed: bool,
}

impl Sweeper {
    /// Hears of a write, and when the first of what it put expires.
    pub(super) fn note_write(self: &Arc<Self>, server: &Arc<Server>, first_expiry: Option<i64>) {
        let now = Timestamp::now().as_millis();
        let mut plan = self.plan();
        if plan.is_closed {
            return;
        }
        // What expired before this store was opened goes first.
        let soon = plan.last + BETWEEN_SWEEPS;
        let later = now + BETWEEN_FULL_SWEEPS;
        let due = match first_expiry {
            _ if plan.task.is_none() => now,
            Some(first) => first.max(soon).min(later),
            None => later,
        };
        if plan.next.is_none_or(|next| due < next) {
            plan.next = Some(due);
            self.wake.notify_one();
        }
        if plan.task.as_ref().is_none_or(JoinHandle::is_finished) {
            let sweeping = Arc::clone(self).sweep_on(Arc::downgrade(server));
            plan.task = Some(tokio::spawn(sweeping));
        }
    }

    /// Ends it for good.
    pub(super) fn close(&self) {
        let mut plan = self.plan();
        plan.is_closed = true;
        if let Some(task) = plan.task.take() {
            task.abort();
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // Nothing panics while it is held.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sweep_on(self: Arc<Self>, server: Weak<Server>) {
        loop {
            let now = Timestamp::now().as_millis();
            let next = self.plan().next;
            let left = next.map(|next| u64::try_from(next - now).unwrap_or(0));
            match left {
                Some(0) => {}
                None => {
                    self.wake.notified().await;
                    continue;
                }
                Some(millis) => {
                    let _ = timeout(Duration::from_millis(millis), self.wake.notified()).await;
                    continue;
                }
            }
            let Some(server) = server.upgrade() else {
                return;
            };
            // What is written from now on may be due earlier than what is found.
            self.plan().next = None;
            let limit = server.settings.timeout;
            let found = match timeout(limit, sweep(&server)).await {
                Ok(Ok(found)) => found,
                failed => {
                    if let Ok(Err(error)) = failed {
                        tracing::debug!(%error, "could not remove what has expired");
                    } else {
                        server.drop_connection(Role::Group);
                    }
                    Some(now + BETWEEN_FULL_SWEEPS)
                }
            };
            let mut plan = self.plan();
            plan.last = now;
            plan.next = match (plan.next, found) {
                (Some(noted), Some(found)) => Some(noted.min(found)),
                (noted, found) => noted.or(found),
            };
        }
    }
}

/// Removes some, and says when to do so next.
async fn sweep(server: &Arc<Server>) -> Result<Option<i64>> {
    let table = server.table(Role::Group).await?;
    let gone = server
        .write(Role::Group, &table.sql.sweep, &[&BATCH])
        .await?;
    let now = Timestamp::now().as_millis();
    if gone.len() as i64 >= BATCH {
        return Ok(Some(now + BREATH));
    }
    if !table.has_expiry_index {
        return Ok(Some(now + BETWEEN_FULL_SWEEPS));
    }
    server.compare_clocks(Role::Group).await?;
    let rows = server
        .read(Role::Group, &table.sql.first_expiry, &[])
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let first: Option<ServerTime> = row.try_get(0).map_err(Failure::before)?;
    let first = server.clock.to_local(first).as_millis();
    Ok(first.map(|first| first.max(now + BETWEEN_SWEEPS)))
}
