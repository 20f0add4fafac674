//! Listings that read a page at a time.

use std::future::Future;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use crate::entry::Entry;
use crate::error::Result;

/// A part of a listing.
#[derive(Debug)]
pub(crate) struct Page<P> {
    pub(crate) entries: Vec<(String, Entry)>,
    /// Where the next one begins, if there may be more.
    pub(crate) next: Option<P>,
    /// How many things there are not entries.
    pub(crate) skipped: u64,
}

impl<P> Default for Page<P> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            next: None,
            skipped: 0,
        }
    }
}

impl<P> Page<P> {
    pub(crate) fn map_next<Q>(self, next: impl FnOnce(P) -> Q) -> Page<Q> {
        Page {
            entries: self.entries,
            next: self.next.map(next),
            skipped: self.skipped,
        }
    }
}

/// What is at `start`, page after page: at most `limit` entries, `most` at a time. `read` reads
/// as many as it is told, or fewer.
pub(crate) fn list<P, R, F>(
    start: P,
    limit: Option<usize>,
    most: usize,
    read: R,
) -> BoxStream<'static, Result<(String, Entry)>>
where
    P: Send + 'static,
    R: Fn(P, usize) -> F + Send + 'static,
    F: Future<Output = Result<Page<P>>> + Send + 'static,
{
    let listing = Listing {
        next: Some(start),
        left: limit.unwrap_or(usize::MAX),
        skipped: 0,
        most,
        read,
    };
    stream::unfold(listing, Listing::page)
        .flat_map(stream::iter)
        .boxed()
}

struct Listing<P, R> {
    next: Option<P>,
    left: usize,
    skipped: u64,
    most: usize,
    read: R,
}

impl<P, R, F> Listing<P, R>
where
    R: Fn(P, usize) -> F,
    F: Future<Output = Result<Page<P>>>,
{
    async fn page(mut self) -> Option<(Vec<Result<(String, Entry)>>, Self)> {
        let Some(start) = self.next.take().filter(|_| self.left > 0) else {
            if self.skipped > 0 {
                let skipped = self.skipped;
                tracing::warn!(skipped, "a listing skipped what is not an entry");
            }
            return None;
        };
        // After an error there is no next page.
        let entries = match (self.read)(start, self.left.min(self.most)).await {
            Ok(page) => {
                self.left -= page.entries.len();
                self.skipped += page.skipped;
                self.next = page.next;
                page.entries.into_iter().map(Ok).collect()
            }
            Err(error) => vec![Err(error)],
        };
        Some((entries, self))
    }
}
