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
use crate::error::{Error, ErrorKind, Result};
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
    prefix: Arc<str>,
    scan: Scan,
    /// How many of the limit were left out, and the last key seen.
    short: usize,
    last: Option<String>,
    skipped: u64,
    in_a_row: u32,
    done: bool,
}

impl RawEntries {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        operation: &'static str,
        prefix: Arc<str>,
        scan: Scan,
    ) -> Self {
        Self {
            entries: match shared.check_open() {
                Ok(()) => shared.backend.scan(scan.clone()),
                Err(error) => Box::pin(futures_util::stream::iter([Err(error)])),
            },
            shared: Arc::clone(shared),
            operation,
            prefix,
            scan,
            short: 0,
            last: None,
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
                Some(Ok((key, entry))) => {
                    if !key.starts_with(&*self.prefix) {
                        return self.fail(outside(&key));
                    }
                    if self.scan.limit.is_some() {
                        self.last = Some(key.clone());
                    }
                    // Somebody else may have stored a null; here it stands for no value.
                    if entry.is_expired() || self.scan.values && entry.is_null() {
                        self.short += 1;
                    } else {
                        return Poll::Ready(Some(Ok((key, entry))));
                    }
                }
                Some(Err(error)) => return self.fail(error),
                None => self.end(),
            }
        }
    }

    fn fail<T>(&mut self, error: Error) -> Poll<Option<Result<T>>> {
        self.done = true;
        let explain = self.shared.explain(self.operation, None);
        Poll::Ready(Some(Err(explain(error))))
    }

    /// The backend gave all that it was asked for. If some of a page was left out, the
    /// page goes on behind it: only the last one may be short.
    fn end(&mut self) {
        let short = std::mem::take(&mut self.short);
        if self.scan.limit.is_some() && short > 0 {
            self.scan.after = self.last.take();
            self.scan.limit = Some(short);
            self.entries = self.shared.backend.scan(self.scan.clone());
        } else {
            self.done = true;
            self.report_skipped();
        }
    }

    /// What is there is no value of this store: a listing goes on without it.
    fn skip(&mut self) {
        self.skipped += 1;
        self.short += 1;
    }

    fn report_skipped(&self) {
        if self.skipped > 0 {
            tracing::warn!(
                backend = %self.shared.backend.info().kind,
                operation = self.operation,
                skipped = self.skipped,
                "a listing left out entries that are not JSON"
            );
        }
    }
}

fn outside(key: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "the backend listed a key that does not begin with the prefix",
    )
    .with_key(key)
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
            if self.scan.values && entry.check().is_err() {
                self.skip();
                continue;
            }
            let key = key.split_off(self.prefix.len());
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
                Ok(value) => Ok((key.split_off(raw.prefix.len()), value)),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    raw.skip();
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
