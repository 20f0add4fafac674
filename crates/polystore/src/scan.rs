//! What a listing is to give.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::future::ready;
use std::ops::Bound;
use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::entry::Entry;
use crate::error::Result;

/// How many entries a page of [`Scan::in_pages`] has.
pub(crate) const PAGE: usize = 256;

/// Which entries a listing is to give, and how much of each.
///
/// ```
/// use polystore_kv::Scan;
/// let page = Scan::new().prefix("user:").after("user:41").limit(100);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scan {
    /// What their keys begin with, literally. Empty: all.
    pub prefix: String,
    /// Only keys after this one, in the order of their bytes.
    pub after: Option<String>,
    /// At most so many live ones, and then the first, in the order of their keys' bytes.
    pub limit: Option<usize>,
    /// Whether the values are wanted; if not, a backend may give [`Entry::without_value`].
    pub values: bool,
    /// Whether the instants of expiry are wanted; if not, a backend may give [`Expiry::Unread`](crate::Expiry::Unread) for
    /// an entry that the store has judged live.
    pub expiries: bool,
}

impl Scan {
    /// Everything, with values and expiries.
    #[must_use]
    pub fn new() -> Self {
        Self {
            values: true,
            expiries: true,
            ..Self::default()
        }
    }

    /// Only keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Only keys after `key`, in the order of their bytes.
    #[must_use]
    pub fn after(mut self, key: impl Into<String>) -> Self {
        self.after = Some(key.into());
        self
    }

    /// The first `limit` of them, in the order of their keys' bytes.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Whether values are wanted.
    #[must_use]
    pub fn values(mut self, values: bool) -> Self {
        self.values = values;
        self
    }

    /// Whether the instants of expiry are wanted.
    #[must_use]
    pub fn expiries(mut self, expiries: bool) -> Self {
        self.expiries = expiries;
        self
    }

    /// Whether `key` is one of those asked for, the limit aside.
    #[must_use]
    pub fn wants(&self, key: &str) -> bool {
        key.starts_with(&self.prefix) && self.after.as_deref().is_none_or(|after| key > after)
    }

    /// What this asks for out of `entries`, which may be all that a store has and in
    /// any order: the simplest way to write [`Backend::scan`](crate::backend::Backend::scan).
    ///
    /// It holds no more than `limit` entries.
    pub fn select<I>(self, entries: I) -> BoxStream<'static, Result<(String, Entry)>>
    where
        I: IntoIterator<Item = (String, Entry), IntoIter: Send + 'static>,
    {
        self.select_from(stream::iter(entries).map(Ok))
    }

    /// As [`select`](Self::select), of a stream.
    pub fn select_from<S>(self, entries: S) -> BoxStream<'static, Result<(String, Entry)>>
    where
        S: futures_core::Stream<Item = Result<(String, Entry)>> + Send + 'static,
    {
        let limit = self.limit;
        let wanted = entries.try_filter(move |(key, _)| ready(self.wants(key)));
        match limit {
            None => wanted.boxed(),
            Some(limit) => stream::once(first_by_key(wanted.boxed(), limit))
                .map_ok(|first| stream::iter(first).map(Ok))
                .try_flatten()
                .boxed(),
        }
    }
}

impl Scan {
    /// The keys after `after` and not before the prefix, for a store that is in order.
    pub(crate) fn range_after<'a>(
        &'a self,
        after: Option<&'a str>,
    ) -> (Bound<&'a str>, Bound<&'a str>) {
        let start = match after {
            Some(after) if after >= &self.prefix[..] => Bound::Excluded(after),
            _ => Bound::Included(&self.prefix[..]),
        };
        (start, Bound::Unbounded)
    }

    /// What this asks for out of a store that is in order. `page` gives some of it, after the
    /// key that it is given, and the key after which the next page begins, if there is one.
    pub(crate) fn in_pages<P>(self, mut page: P) -> BoxStream<'static, Result<(String, Entry)>>
    where
        P: FnMut(&Self, Option<&str>) -> (Vec<(String, Entry)>, Option<Arc<str>>) + Send + 'static,
    {
        let limit = self.limit;
        let start = self.after.as_deref().map(Arc::from);
        let pages = stream::unfold(Some(start), move |after: Option<Option<Arc<str>>>| {
            ready(after.map(|after| {
                let (entries, next) = page(&self, after.as_deref());
                (stream::iter(entries).map(Ok), next.map(Some))
            }))
        });
        let entries = pages.flatten();
        match limit {
            None => entries.boxed(),
            Some(limit) => entries
                .try_filter(|(_, entry)| ready(!entry.is_expired()))
                .take(limit)
                .boxed(),
        }
    }
}

/// Where the keys that begin with `prefix` end: the first text after all of them, or
/// `None` if there is none.
pub(crate) fn successor(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // In the order of their bytes characters stand as they are numbered.
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

/// The `limit` entries of the smallest keys, in order. What has expired does not count.
async fn first_by_key(
    mut entries: BoxStream<'static, Result<(String, Entry)>>,
    limit: usize,
) -> Result<Vec<(String, Entry)>> {
    struct ByKey(String, Entry);
    impl PartialEq for ByKey {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl Eq for ByKey {}
    impl PartialOrd for ByKey {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for ByKey {
        fn cmp(&self, other: &Self) -> Ordering {
            self.0.cmp(&other.0)
        }
    }

    let mut first = BinaryHeap::new();
    while let Some((key, entry)) = entries.try_next().await? {
        if entry.is_expired() {
            continue;
        }
        first.push(ByKey(key, entry));
        if first.len() > limit {
            first.pop();
        }
    }
    let sorted = first.into_sorted_vec();
    Ok(sorted.into_iter().map(|ByKey(k, e)| (k, e)).collect())
}
