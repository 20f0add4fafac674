//! Pages of a range of keys, all as of one revision.

use std::ops::ControlFlow;
use std::sync::Arc;

use futures_core::stream::BoxStream;
use tonic::codegen::Bytes;

use super::failure::Cause;
use super::proto::{KeyValue, RangeRequest};
use super::server::Server;
use super::text_of;
use crate::backend::Scan;
use crate::entry::Entry;
use crate::error::Result;
use crate::pages::{self, Page};
use crate::runtime::persist;

const FIRST_LIMIT: i64 = 128;
const MOST_ENTRIES: i64 = 4096;

/// What a page is to have.
const PAGE_BYTES: usize = 1 << 20;

/// What it may have, if it is of more than one entry.
const MOST_BYTES: usize = 16 << 20;

/// A walk through the keys, in the order of their bytes.
pub(super) struct Pages {
    server: Arc<Server>,
    start: Bytes,
    end: Bytes,
    /// That of the first page; 0 is now.
    revision: i64,
    limit: i64,
    has_more: bool,
}

impl Pages {
    pub(super) fn new(server: Arc<Server>, prefix: &str, after: Option<&str>) -> Self {
        let (start, end) = bounds(prefix, after);
        Self {
            server,
            start,
            end,
            revision: 0,
            limit: FIRST_LIMIT,
            has_more: true,
        }
    }

    /// No page has more entries than this.
    fn at_most(mut self, entries: usize) -> Self {
        // More than fits any page is as good as no limit.
        self.limit = self
            .limit
            .min(i64::try_from(entries).unwrap_or(i64::MAX))
            .max(1);
        self
    }

    /// The next page; empty when there is none.
    pub(super) async fn next(&mut self) -> Result<Vec<KeyValue>> {
        while self.has_more {
            let limit = self.limit;
            let most_bytes = if limit > 1 { MOST_BYTES } else { usize::MAX };
            let range = RangeRequest {
                key: self.start.clone(),
                range_end: self.end.clone(),
                limit,
                revision: self.revision,
                keys_only: false,
            };
            let server = &self.server;
            let page = persist(
                server.timeout,
                |error| server.is_transient(error),
                async || {
                    let range = range.clone();
                    let page = server
                        .call(async move |connection| connection.range(range, most_bytes).await);
                    match page.await {
                        Ok(page) => Ok(ControlFlow::Continue(page)),
                        Err(failure)
                            if matches!(failure.cause, Cause::Compacted | Cause::LargeReply) =>
                        {
                            Ok(ControlFlow::Break(failure))
                        }
                        Err(failure) => Err(failure.error),
                    }
                },
            );
            let page = match page.await? {
                ControlFlow::Continue(page) => page,
                // Those who compact at once leave no choice: the rest is as of now.
                ControlFlow::Break(failure)
                    if failure.cause == Cause::Compacted && self.revision > 0 =>
                {
                    self.revision = 0;
                    continue;
                }
                ControlFlow::Break(failure) if failure.cause == Cause::LargeReply && limit > 1 => {
                    self.limit = limit / 2;
                    continue;
                }
                ControlFlow::Break(failure) => return Err(failure.error),
            };
            if self.revision == 0 {
                self.revision = page.header.map_or(0, |header| header.revision);
            }
            self.has_more = page.more;
            let Some(last) = page.kvs.last() else {
                self.has_more = false;
                break;
            };
            self.start = after_key(&last.key);
            let bytes: usize = page
                .kvs
                .iter()
                .map(|kv| kv.key.len() + kv.value.len())
                .sum();
            let fitting = PAGE_BYTES * page.kvs.len() / bytes.max(1);
            let fitting = i64::try_from(fitting).unwrap_or(MOST_ENTRIES);
            self.limit = fitting.clamp(1, MOST_ENTRIES).min(limit * 4);
            return Ok(page.kvs);
        }
        Ok(Vec::new())
    }
}

/// The first key that is asked for, and the first one after them.
fn bounds(prefix: &str, after: Option<&str>) -> (Bytes, Bytes) {
    let start = match after {
        Some(after) if after >= prefix => after_key(after.as_bytes()),
        // There is no empty key.
        _ if prefix.is_empty() => Bytes::from_static(b"\0"),
        _ => Bytes::copy_from_slice(prefix.as_bytes()),
    };
    let mut end = prefix.as_bytes().to_vec();
    // No byte of UTF-8 is 255.
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0),
    }
    (start, end.into())
}

fn after_key(key: &[u8]) -> Bytes {
    [key, b"\0"].concat().into()
}

/// What is an entry of this store among what a page has.
pub(super) fn entry_in(kv: &KeyValue) -> Option<(String, Entry)> {
    let key = std::str::from_utf8(&kv.key).ok()?;
    Some((key.to_owned(), text_of(kv).ok()?))
}

pub(super) fn scan(
    server: Arc<Server>,
    scan: &Scan,
) -> BoxStream<'static, Result<(String, Entry)>> {
    let pages = Pages::new(server, &scan.prefix, scan.after.as_deref());
    let pages = match scan.limit {
        Some(limit) => pages.at_most(limit),
        None => pages,
    };
    let (values, is_limited) = (scan.values, scan.limit.is_some());
    pages::list(
        pages,
        scan.limit,
        usize::MAX,
        move |mut pages, left| async move {
            let read = pages.next().await?;
            let mut page = Page {
                next: (!read.is_empty()).then_some(pages),
                ..Page::default()
            };
            for kv in read {
                let Some((key, entry)) = entry_in(&kv) else {
                    page.skipped += 1;
                    continue;
                };
                // A limit counts what is live.
                if page.entries.len() == left || (is_limited && entry.is_expired()) {
                    continue;
                }
                let entry = if values {
                    entry
                } else {
                    Entry::without_value(entry.expiry())
                };
                page.entries.push((key, entry));
            }
            Ok(page)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_of_the_prefix_and_after_the_key() {
        let range = |prefix, after| {
            let (start, end) = bounds(prefix, after);
            (start.to_vec(), end.to_vec())
        };
        assert_eq!(range("", None), (b"\0".to_vec(), b"\0".to_vec()));
        assert_eq!(range("", Some("a")), (b"a\0".to_vec(), b"\0".to_vec()));
        assert_eq!(range("p:", None), (b"p:".to_vec(), b"p;".to_vec()));
        assert_eq!(range("p:", Some("a")), (b"p:".to_vec(), b"p;".to_vec()));
        assert_eq!(range("p:", Some("p:")), (b"p:\0".to_vec(), b"p;".to_vec()));
        let last = "\u{10ffff}";
        let (start, end) = bounds(last, None);
        assert!(start == last.as_bytes() && end > start && end[0] == 0xf4);
    }
}
