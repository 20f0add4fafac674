//! A connection, for one statement after another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::failure::{Failure, Remedy};
use super::sql::Statement;
use crate::error::{Error, Result};

/// What a statement is given.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection of a store's own, or the one that it was given.
pub(super) struct Connection {
    pub(super) client: Client,
    prepared: Mutex<HashMap<Box<str>, tokio_postgres::Statement>>,
    /// What moves its bytes, if that is ours.
    driver: Mutex<Option<JoinHandle<()>>>,
}

impl Connection {
    pub(super) fn new(client: Client, driver: Option<JoinHandle<()>>) -> Self {
        Self {
            client,
            prepared: Mutex::new(HashMap::new()),
            driver: Mutex::new(driver),
        }
    }

    async fn prepare(
        &self,
        statement: &Statement,
    ) -> std::result::Result<tokio_postgres::Statement, tokio_postgres::Error> {
        if let Some(prepared) = self.prepared().get(&*statement.text) {
            return Ok(prepared.clone());
        }
        let preparing = self.client.prepare_typed(&statement.text, &statement.types);
        let prepared = preparing.await?;
        let text = statement.text.as_str().into();
        self.prepared().insert(text, prepared.clone());
        Ok(prepared)
    }

    fn forget_prepared(&self) {
        // Each tells the server, which takes the lock of the client: not while this one is held.
        let forgotten = std::mem::take(&mut *self.prepared());
        drop(forgotten);
    }

    fn prepared(&self) -> MutexGuard<'_, HashMap<Box<str>, tokio_postgres::Statement>> {
        // Nothing panics while it is held.
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What ends when the server has been told goodbye, after the connection was dropped.
    pub(super) fn take_driver(&self) -> Option<JoinHandle<()>> {
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        driver.take()
    }
}

/// A connection as long as it is needed.
pub(super) enum Session {
    Own(Arc<Connection>),
    #[cfg(feature = "deadpool-postgres-0_14")]
    Pooled(Box<Pooled>),
}

/// Given back to its pool, unless it was left with something unfinished.
#[cfg(feature = "deadpool-postgres-0_14")]
pub(super) struct Pooled {
    client: Option<deadpool_postgres::Object>,
    is_busy: std::sync::atomic::AtomicBool,
}

#[cfg(feature = "deadpool-postgres-0_14")]
impl Pooled {
    pub(super) fn new(client: deadpool_postgres::Object) -> Self {
        Self {
            client: Some(client),
            is_busy: std::sync::atomic::AtomicBool::new(false),
        }
    }

    fn client(&self) -> &deadpool_postgres::Object {
        // Only taken when this is dropped.
        match &self.client {
            Some(client) => client,
            None => unreachable!("a pooled connection was used after it was given back"),
        }
    }
}

#[cfg(feature = "deadpool-postgres-0_14")]
impl Drop for Pooled {
    fn drop(&mut self) {
        if *self.is_busy.get_mut() {
            // Nobody knows whether it is alive: the pool makes another.
            drop(self.client.take().map(deadpool_postgres::Object::take));
        }
    }
}

impl Session {
    fn client(&self) -> &Client {
        match self {
            Self::Own(connection) => &connection.client,
            #[cfg(feature = "deadpool-postgres-0_14")]
            Self::Pooled(pooled) => pooled.client(),
        }
    }

    fn set_busy(&self, is_busy: bool) {
        match self {
            Self::Own(_) => {}
            #[cfg(feature = "deadpool-postgres-0_14")]
            Self::Pooled(pooled) => pooled
                .is_busy
                .store(is_busy, std::sync::atomic::Ordering::Relaxed),
        }
        #[cfg(not(feature = "deadpool-postgres-0_14"))]
        let _ = is_busy;
    }

    /// Runs it prepared, which the connection remembers.
    pub(super) async fn query(
        &self,
        statement: &Statement,
        params: Params<'_>,
    ) -> std::result::Result<Vec<Row>, Failure> {
        self.set_busy(true);
        let mut is_again = false;
        let done = loop {
            match self.query_once(statement, params).await {
                Err(failure) if !is_again && failure.remedy() == Remedy::PrepareAgain => {
                    is_again = true;
                    self.forget_prepared();
                }
                done => break done,
            }
        };
        self.set_busy(false);
        done
    }

    async fn query_once(
        &self,
        statement: &Statement,
        params: Params<'_>,
    ) -> std::result::Result<Vec<Row>, Failure> {
        let prepared = match self {
            Self::Own(connection) => connection.prepare(statement).await,
            #[cfg(feature = "deadpool-postgres-0_14")]
            Self::Pooled(pooled) => {
                let (text, types) = (&statement.text, &statement.types);
                pooled.client().prepare_typed_cached(text, types).await
            }
        };
        let prepared = prepared.map_err(Failure::before)?;
        self.sent(|client| client.query(&prepared, params)).await
    }

    fn forget_prepared(&self) {
        match self {
            Self::Own(connection) => connection.forget_prepared(),
            #[cfg(feature = "deadpool-postgres-0_14")]
            Self::Pooled(pooled) => pooled.client().statement_cache.clear(),
        }
    }

    /// Runs it in one message, and leaves nothing in the server's session.
    pub(super) async fn query_unnamed(
        &self,
        statement: &Statement,
        params: Params<'_>,
    ) -> std::result::Result<Vec<Row>, Failure> {
        let types = statement.types.iter().cloned();
        let params: Vec<(&(dyn ToSql + Sync), Type)> = params.iter().copied().zip(types).collect();
        self.set_busy(true);
        let done = self
            .sent(|client| client.query_typed(&statement.text, &params))
            .await;
        self.set_busy(false);
        done
    }

    /// As [`query_unnamed`](Self::query_unnamed), of what changes nothing.
    pub(super) async fn query_unprepared(
        &self,
        statement: &Statement,
        params: Params<'_>,
    ) -> Result<Vec<Row>> {
        let rows = self.query_unnamed(statement, params).await;
        rows.map_err(|failure| Error::from(failure.of_a_read()))
    }

    /// Statements without parameters, as one transaction.
    pub(super) async fn run_script(&self, script: &str) -> std::result::Result<(), Failure> {
        self.set_busy(true);
        let done = self.sent(|client| client.batch_execute(script)).await;
        self.set_busy(false);
        done
    }

    async fn sent<'a, T, F>(
        &'a self,
        send: impl FnOnce(&'a Client) -> F,
    ) -> std::result::Result<T, Failure>
    where
        F: Future<Output = std::result::Result<T, tokio_postgres::Error>>,
    {
        let client = self.client();
        // What is sent to a connection that has ended goes nowhere.
        let was_closed = client.is_closed();
        send(client).await.map_err(|error| {
            if was_closed {
                Failure::before(error)
            } else {
                Failure::after(error)
            }
        })
    }
}
