//! Pages of keys, and the values of those that are asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_core::stream::BoxStream;

use super::{Api, Cause, Failure, MOST_KEY_BYTES, MOST_KEYS};
use crate::backend::Scan;
use crate::entry::{Entry, Expiry};
use crate::error::{Error, Result};
use crate::pages::{self, Page};
use crate::runtime::persist;

/// How many keys Cloudflare gives at a time, and how many it gives at least.
const MOST_LISTED: usize = 1000;
const LEAST_LISTED: usize = 10;

/// A walk through the keys that begin with a prefix, in the order of their bytes.
pub(crate) struct Keys<A> {
    api: Arc<A>,
    prefix: String,
    limit: usize,
    cursor: Option<String>,
    has_more: bool,
}

impl<A: Api> Keys<A> {
    pub(crate) fn new(api: Arc<A>, prefix: &str) -> Self {
        Self {
            api,
            prefix: prefix.to_owned(),
            limit: MOST_LISTED,
            cursor: None,
            // No key is as long, and Cloudflare would not even look for one.
            has_more: prefix.len() <= MOST_KEY_BYTES,
        }
    }

    /// The next ones; none when there are no more.
    pub(crate) async fn next(&mut self) -> Result<Vec<(String, Expiry)>> {
        while self.has_more {
            let cursor = self.cursor.as_deref();
            let page = persist(self.api.timeout(), Error::is_retryable, async || {
                let page = self.api.list(&self.prefix, cursor, self.limit).await;
                page.map_err(Failure::of_read)
            });
            let mut page = page.await.map_err(|error| self.given_up(error))?;
            self.has_more = page.cursor.is_some();
            self.cursor = page.cursor;
            // What is below another prefix is not ours to show, nor to clear.
            page.keys.retain(|(key, _)| key.starts_with(&self.prefix));
            if !page.keys.is_empty() {
                return Ok(page.keys);
            }
        }
        Ok(Vec::new())
    }

    /// A connection on which nothing came in time may be dead.
    fn given_up(&self, error: Error) -> Error {
        if error.kind() == crate::ErrorKind::Timeout {
            self.api.give_up();
        }
        error
    }
}

struct Walk<A> {
    keys: Keys<A>,
    after: Option<String>,
    values: bool,
    /// What comes next.
    waiting: VecDeque<(String, Expiry)>,
    /// How many values are read at a time: fewer where they are large.
    at_a_time: usize,
}

impl<A: Api> Walk<A> {
    /// The next entries, at most so many. There may be none of them, and more later.
    async fn page(mut self, left: usize) -> Result<Page<Self>> {
        if self.waiting.is_empty() {
            let keys = self.keys.next().await?;
            if keys.is_empty() {
                return Ok(Page::default());
            }
            let after = self.after.as_deref();
            let wanted = |key: &str| after.is_none_or(|after| key > after);
            let live = |(key, expiry): &(String, Expiry)| wanted(key) && !expiry.is_over();
            self.waiting = keys.into_iter().filter(live).collect();
        }
        let mut page = Page::default();
        if self.values {
            self.read(left, &mut page).await?;
        } else {
            let keys = self.waiting.drain(..left.min(self.waiting.len()));
            let entry = |(key, expiry)| (key, Entry::without_value(expiry));
            page.entries.extend(keys.map(entry));
        }
        page.next = Some(self);
        Ok(page)
    }

    /// Puts the next entries with their values into the page.
    async fn read(&mut self, left: usize, page: &mut Page<Self>) -> Result<()> {
        let some = left.min(self.at_a_time).min(self.waiting.len());
        if some == 0 {
            return Ok(());
        }
        let keys: Vec<&str> = self
            .waiting
            .iter()
            .take(some)
            .map(|(key, _)| &**key)
            .collect();
        let api = &self.keys.api;
        let read = persist(api.timeout(), Error::is_retryable, async || {
            match api.read(&keys).await {
                Ok(found) => Ok(Some(found)),
                Err(failure) if failure.cause != Cause::OneOfMany => Err(failure.of_read()),
                Err(_) if keys.len() > 1 => Ok(None),
                Err(_) => {
                    let alone = api.read_alone(keys[0]).await;
                    let alone = alone.map_err(Failure::of_read)?;
                    let key = keys[0].to_owned();
                    Ok(Some(alone.map(|entry| (key, entry)).into_iter().collect()))
                }
            }
        });
        let read = read.await.map_err(|error| self.keys.given_up(error));
        let mut found = match read {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.at_a_time = some.div_ceil(2);
                return Ok(());
            }
            // One alone that is not text.
            Err(error) if error.is_data() => {
                self.waiting.pop_front();
                page.skipped += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.at_a_time = (self.at_a_time * 2).min(MOST_KEYS);
        for (key, listed) in self.waiting.drain(..some) {
            let entry = found.remove(&key).map(|entry| match entry.expiry() {
                Expiry::Unread => entry.with_expiry(listed),
                _ => entry,
            });
            match entry {
                Some(entry) if entry.check().is_err() => page.skipped += 1,
                Some(entry) if !entry.is_expired() => page.entries.push((key, entry)),
                // It went meanwhile.
                _ => {}
            }
        }
        Ok(())
    }
}

pub(crate) fn scan<A: Api>(api: Arc<A>, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
    let mut keys = Keys::new(api, &scan.prefix);
    if let (Some(limit), None) = (scan.limit, &scan.after) {
        keys.limit = limit.clamp(LEAST_LISTED, MOST_LISTED);
    }
    let walk = Walk {
        keys,
        after: scan.after,
        values: scan.values,
        waiting: VecDeque::new(),
        at_a_time: MOST_KEYS,
    };
    pages::list(walk, scan.limit, usize::MAX, Walk::page)
}
