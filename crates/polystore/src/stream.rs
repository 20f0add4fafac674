//! Listings as streams.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::BoxStream;
use serde::de::DeserializeOwned;

use crate::backend::Scan;
use crate::entry::Entry;
use crate::error::{ErrorKind, Result};
use crate::store::Shared;

/// So many entries in a row, and the other tasks of the thread get their turn.
const FAIR: u32 = 256;

/// Entries as JSON text with their expiry: what [`Store::scan`](crate::Store::scan)
/// returns.
///
/// It is a [`Stream`] that owns what it needs. [`try_next`](Self::try_next) is enough to
/// read it; the crates of the futures family have more.
#[must_use = "nothing is read until it is polled"]
pub struct RawEntries {
    entries: BoxStream<'static, Result<(String, Entry)>>,
    shared: Arc<Shared>,
    operation: &'static str,
    prefix_len: usize,
    values: bool,
    skipped: u64,
    in_a_row: u32,
    done: bool,
}

impl RawEntries {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        operation: &'static str,
        prefix_len: usize,
        scan: Scan,
    ) -> Self {
        Self {
            values: scan.values,
            entries: match shared.check_open() {
                Ok(()) => shared.backend.scan(scan),
                Err(error) => Box::pin(futures_util::stream::iter([Err(error)])),
            },
            shared: Arc::clone(shared),
            operation,
            prefix_len,
            skipped: 0,
            in_a_row: 0,
            done: false,
        }
    }

    /// The next entry, its key without the prefix, or `None` at the end.
    ///
    /// # Errors
    /// A connection error, after which the stream ends; [`ErrorKind::Closed`] once the
    /// store is closed.
    pub async fn try_next(&mut self) -> Result<Option<(String, Entry)>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx))
            .await
            .transpose()
    }

    /// The next live entry with its whole key.
    fn poll_live(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(String, Entry)>>> {
        loop {
            if self.done {
                return Poll::Ready(None);
            }
            if let Err(error) = self.shared.check_open() {
                self.done = true;
                return Poll::Ready(Some(Err(self.shared.explain(self.operation, None)(error))));
            }
            self.in_a_row += 1;
            if self.in_a_row > FAIR {
                self.in_a_row = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Poll::Ready(next) = self.entries.as_mut().poll_next(cx) else {
                self.in_a_row = 0;
                return Poll::Pending;
            };
            match next {
                Some(Ok((_, entry))) if entry.is_expired() => {}
                // Somebody else may have stored a null; here it stands for no value.
                Some(Ok((_, entry))) if self.values && entry.is_null() => {}
                Some(Ok(found)) => return Poll::Ready(Some(Ok(found))),
                Some(Err(error)) => {
                    self.done = true;
                    let explain = self.shared.explain(self.operation, None);
                    return Poll::Ready(Some(Err(explain(error))));
                }
                None => {
                    self.done = true;
                    self.report_skipped();
                }
            }
        }
    }

    /// What is there under `key` is no value of this store: a listing goes on without it.
    fn skip(&mut self, key: &str) {
        self.skipped += 1;
        tracing::debug!(
            backend = self.shared.backend.info().kind,
            key,
            "skipped: not JSON"
        );
    }

    fn report_skipped(&self) {
        if self.skipped > 0 {
            tracing::warn!(
                backend = self.shared.backend.info().kind,
                operation = self.operation,
                skipped = self.skipped,
                "a listing left out entries that are not JSON"
            );
        }
    }
}

impl Stream for RawEntries {
    type Item = Result<(String, Entry)>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(next) = ready!(self.poll_live(cx)) else {
                return Poll::Ready(None);
            };
            let (mut key, entry) = match next {
                Ok(found) => found,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            if self.values && entry.check().is_err() {
                self.skip(&key);
                continue;
            }
            let key = key.split_off(self.prefix_len);
            return Poll::Ready(Some(Ok((key, entry))));
        }
    }
}

impl fmt::Debug for RawEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawEntries")
            .field("kind", &self.shared.backend.info().kind)
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

/// Keys and values: what [`Store::stream`](crate::Store::stream) returns.
///
/// It is a [`Stream`] that owns what it needs. [`try_next`](Self::try_next) is enough to
/// read it; the crates of the futures family have more.
#[must_use = "nothing is read until it is polled"]
pub struct Entries<T> {
    raw: RawEntries,
    _values: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Entries<T> {
    pub(crate) fn new(raw: RawEntries) -> Self {
        Self {
            raw,
            _values: PhantomData,
        }
    }

    /// The next key, without the prefix, and its value, or `None` at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] for a value that is no `T`, after which the stream goes on;
    /// a connection error, after which it ends.
    pub async fn try_next(&mut self) -> Result<Option<(String, T)>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx))
            .await
            .transpose()
    }
}

impl<T: DeserializeOwned> Stream for Entries<T> {
    type Item = Result<(String, T)>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let raw = &mut self.raw;
        loop {
            let Some(next) = ready!(raw.poll_live(cx)) else {
                return Poll::Ready(None);
            };
            let (mut key, entry) = match next {
                Ok(found) => found,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            return Poll::Ready(Some(match entry.decode() {
                Ok(value) => Ok((key.split_off(raw.prefix_len), value)),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    raw.skip(&key);
                    continue;
                }
                Err(error) => Err(raw.shared.explain(raw.operation, Some(&key))(error)),
            }));
        }
    }
}

impl<T> fmt::Debug for Entries<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}
