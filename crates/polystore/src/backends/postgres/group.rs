//! Listings, and what removes many entries: in batches, on a connection of their own.

use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio_postgres::Row;

use super::failure::Failure;
use super::reads::entry;
use super::server::{Role, Server};
use super::session::Params;
use super::sql::{Ranged, Sql, Statement};
use crate::backend::Scan;
use crate::entry::Entry;
use crate::error::Result;
use crate::pages::{self, Page};
use crate::scan::successor;

/// How many rows a listing reads at a time.
const PAGE: usize = 1_000;

/// How many rows, if their values are not wanted.
const PAGE_OF_KEYS: usize = 5_000;

/// How many bytes of values it reads at a time, a last large one aside.
const PAGE_BYTES: i64 = 1 << 20;

/// How many rows are removed at a time, so that they are not locked for long.
const BATCH: i64 = 2_000;

/// Keys from one (inclusive) to another (exclusive), in the order of their bytes.
#[derive(Clone)]
struct Range {
    start: String,
    end: Option<String>,
}

impl Range {
    /// A NUL is in no key, and cannot be sent: what begins with one is nowhere.
    fn of_prefix(prefix: &str) -> Option<Self> {
        (!prefix.contains('\0')).then(|| Self {
            start: prefix.to_owned(),
            end: successor(prefix),
        })
    }

    fn of_scan(scan: &Scan) -> Option<Self> {
        let mut range = Self::of_prefix(&scan.prefix)?;
        if let Some(after) = scan
            .after
            .as_deref()
            .filter(|after| *after >= &scan.prefix[..])
        {
            // What comes after a text with a NUL comes after what stands before that.
            range.start = match after.split_once('\0') {
                Some((before, _)) => following(before),
                None => following(after),
            };
        }
        Some(range)
    }

    fn statements<'a>(&self, sql: &'a Sql) -> &'a Ranged {
        sql.ranged(self.end.is_some())
    }
}

/// The first text after it without a NUL.
fn following(text: &str) -> String {
    format!("{text}\u{1}")
}

/// What `scan` asks for.
pub(super) fn list(
    server: &Arc<Server>,
    scan: &Scan,
) -> BoxStream<'static, Result<(String, Entry)>> {
    let Some(start) = Range::of_scan(scan) else {
        return stream::empty().boxed();
    };
    let pages = Pages {
        server: Arc::clone(server),
        values: scan.values,
        expiries: scan.expiries,
    };
    let most = if scan.values { PAGE } else { PAGE_OF_KEYS };
    pages::list(start, scan.limit, most, move |range, most| {
        let pages = pages.clone();
        async move {
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let server = &pages.server;
            let rows = server.persist(Role::Group, || pages.rows(&range, most));
            pages.read(&rows.await?, range, most)
        }
    })
}

/// How a listing reads.
#[derive(Clone)]
struct Pages {
    server: Arc<Server>,
    values: bool,
    expiries: bool,
}

impl Pages {
    async fn rows(&self, range: &Range, most: i64) -> Result<Vec<Row>> {
        let server = &self.server;
        let table = server.table(Role::Group).await?;
        if self.expiries {
            server.compare_clocks(Role::Group).await?;
        }
        let statements = range.statements(&table.sql);
        let Range { start, end } = range;
        if self.values {
            let with: Params<'_> = &[start, end, &most, &PAGE_BYTES];
            server.read(Role::Group, &statements.page, with).await
        } else {
            let with: Params<'_> = &[start, end, &most];
            server
                .read(Role::Group, &statements.page_of_keys, with)
                .await
        }
    }

    /// What the rows hold, and what comes after them.
    fn read(&self, rows: &[Row], range: Range, most: i64) -> Result<Page<Range>> {
        let mut page = Page::default();
        let (mut last, mut bytes) = (None, 0);
        for row in rows {
            let id: &str = row.try_get(0).map_err(Failure::before)?;
            last = Some(id);
            let value = self.values.then_some(1);
            let expires = if self.values { 2 } else { 1 };
            match entry(&self.server, row, value, self.expiries.then_some(expires)) {
                Ok(entry) => {
                    bytes += entry.json().len();
                    page.entries.push((id.to_owned(), entry));
                }
                Err(error) => {
                    tracing::debug!(%error, "skipped a row that is not an entry");
                    page.skipped += 1;
                }
            }
        }
        let is_cut = self.values && i64::try_from(bytes).unwrap_or(i64::MAX) >= PAGE_BYTES;
        let is_full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= most;
        page.next = last.filter(|_| is_full || is_cut).map(|last| Range {
            start: following(last),
            end: range.end,
        });
        Ok(page)
    }
}

/// Removes all that begins with `prefix`.
pub(super) async fn clear(server: &Arc<Server>, prefix: &str) -> Result<u64> {
    remove(server, prefix, |statements| &statements.clear).await
}

/// Removes what has expired of it.
pub(super) async fn prune(server: &Arc<Server>, prefix: &str) -> Result<u64> {
    remove(server, prefix, |statements| &statements.prune).await
}

async fn remove(
    server: &Arc<Server>,
    prefix: &str,
    which: impl Fn(&Ranged) -> &Statement,
) -> Result<u64> {
    let Some(mut range) = Range::of_prefix(prefix) else {
        return Ok(0);
    };
    let mut all = 0;
    loop {
        let batch = async || {
            let table = server.table(Role::Group).await?;
            let statement = which(range.statements(&table.sql));
            let with: Params<'_> = &[&range.start, &range.end, &BATCH];
            server.write(Role::Group, statement, with).await
        };
        let rows = server.persist(Role::Group, batch).await;
        let rows = rows.map_err(|error| {
            if all > 0 {
                error.with_maybe_applied()
            } else {
                error
            }
        })?;
        let Some(row) = rows.first() else {
            return Ok(all);
        };
        let read = || {
            Ok::<(i64, Option<&str>, i64), tokio_postgres::Error>((
                row.try_get(0)?,
                row.try_get(1)?,
                row.try_get(2)?,
            ))
        };
        let (found, last, gone) = read().map_err(Failure::before)?;
        all += u64::try_from(gone).unwrap_or(0);
        match last.filter(|_| found >= BATCH) {
            Some(last) => range.start = following(last),
            None => return Ok(all),
        }
    }
}
