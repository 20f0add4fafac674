//! What is read, on whichever connection and thread.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row};

use super::failure::Attempt;
use super::table::Sql;
use crate::backend::Scan;
use crate::entry::{Entry, Expiry, Timestamp};
use crate::error::{Error, ErrorKind};
use crate::pages::Page;
use crate::scan::successor;

/// How many rows a listing reads at a time: about a millisecond's worth.
pub(super) const PAGE: usize = 2_000;

/// How many bytes of keys and values it reads at a time, a last large one aside.
const PAGE_BYTES: usize = 1 << 20;

/// How many expired rows are removed at a time, so that other writes get between.
pub(super) const BATCH: usize = 500;

pub(super) fn get(db: &Connection, sql: &Sql, key: &str) -> Attempt<Option<Entry>> {
    let mut get = db.prepare_cached(&sql.get)?;
    let mut rows = get.query([key])?;
    match rows.next()? {
        Some(row) => Ok(Some(entry(Some(row.get_ref(0)?), row.get_ref(1)?)?)),
        None => Ok(None),
    }
}

pub(super) fn has(db: &Connection, sql: &Sql, key: &str) -> Attempt<bool> {
    let mut has = db.prepare_cached(&sql.has)?;
    Ok(has.exists((key, Timestamp::now().as_millis()))?)
}

/// All as of one moment. One statement run again and again: for keys of usual length
/// that is as fast as handing all of them over as JSON.
pub(super) fn get_many(db: &Connection, sql: &Sql, keys: &[String]) -> Attempt<Vec<Option<Entry>>> {
    // Dropped, it ends; there is nothing to commit.
    let _moment = db.unchecked_transaction()?;
    keys.iter()
        .map(|key| get(db, sql, key).map_err(|failure| Error::from(failure).with_key(key).into()))
        .collect()
}

/// What a row holds. Without a value if that was not asked for.
fn entry(value: Option<ValueRef<'_>>, expires_at: ValueRef<'_>) -> Attempt<Entry> {
    let expiry = match expires_at {
        ValueRef::Null => Expiry::Never,
        ValueRef::Integer(millis) => Expiry::At(Timestamp::from_millis(millis).min(Timestamp::MAX)),
        ValueRef::Real(millis) => Expiry::At(Timestamp::from_fractional_millis(millis)),
        _ => return Err(corrupt("the row's expires_at is not a number").into()),
    };
    match value {
        None => Ok(Entry::without_value(expiry)),
        Some(ValueRef::Text(json)) => Ok(Entry::from_stored_bytes(json, expiry)?),
        Some(_) => Err(corrupt("the row's value is not text").into()),
    }
}

fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
}

/// Text as SQLite has it, which need not be UTF-8.
#[derive(Clone)]
pub(super) struct Text(Vec<u8>);

impl ToSql for Text {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

/// Keys from one (inclusive) to another (exclusive), in the order of their bytes.
#[derive(Clone)]
pub(super) struct Range {
    pub(super) start: Text,
    pub(super) end: End,
}

#[derive(Clone)]
pub(super) enum End {
    Before(String),
    AfterAllText,
}

impl ToSql for End {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Before(end) => ValueRef::from(&end[..]),
            // Blobs sort after text, and this is the first of them.
            Self::AfterAllText => ValueRef::Blob(&[]),
        }))
    }
}

impl Range {
    pub(super) fn of_prefix(prefix: &str) -> Self {
        Self {
            start: Text(prefix.as_bytes().to_owned()),
            end: successor(prefix).map_or(End::AfterAllText, End::Before),
        }
    }

    pub(super) fn of_scan(scan: &Scan) -> Self {
        let mut range = Self::of_prefix(&scan.prefix);
        if let Some(after) = scan
            .after
            .as_deref()
            .filter(|after| *after >= &scan.prefix[..])
        {
            range.start = Text::after(after.as_bytes());
        }
        range
    }
}

impl Text {
    /// The next text in order.
    fn after(text: &[u8]) -> Self {
        Self([text, &[0]].concat())
    }
}

/// A number of rows as SQLite takes it.
pub(super) fn most(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The first `limit` live rows in `range`, or fewer if they are large.
pub(super) fn page(
    db: &Connection,
    sql: &Sql,
    range: &Range,
    values: bool,
    limit: usize,
) -> Attempt<Page<Text>> {
    let sql = if values { &sql.page } else { &sql.page_of_keys };
    let mut page = Page::default();
    let (mut rows_read, mut bytes) = (0, 0);
    let now = Timestamp::now().as_millis();
    let mut list = db.prepare_cached(sql)?;
    let mut rows = list.query((&range.start, &range.end, now, most(limit)))?;
    while let Some(row) = rows.next()? {
        let id = row.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?;
        match named_entry(id, row, values) {
            Ok((key, entry)) => {
                bytes += id.len() + entry.json().len();
                page.entries.push((key, entry));
            }
            Err(failure) => {
                let error = Error::from(failure);
                tracing::debug!(%error, "skipped a row that is not an entry");
                page.skipped += 1;
            }
        }
        rows_read += 1;
        if rows_read == limit || bytes >= PAGE_BYTES {
            page.next = Some(Text::after(id));
            break;
        }
    }
    Ok(page)
}

fn named_entry(id: &[u8], row: &Row<'_>, values: bool) -> Attempt<(String, Entry)> {
    let value = if values { Some(row.get_ref(2)?) } else { None };
    let entry = entry(value, row.get_ref(1)?)?;
    match std::str::from_utf8(id) {
        Ok(key) => Ok((key.to_owned(), entry)),
        Err(_) => Err(corrupt("the row's id is not UTF-8").into()),
    }
}

/// The first keys in `range` that have expired by `now`, and where to go on.
pub(super) fn due(
    db: &Connection,
    sql: &Sql,
    range: &Range,
    now: Timestamp,
) -> Attempt<(Vec<Text>, Option<Text>)> {
    let mut list = db.prepare_cached(&sql.due)?;
    let mut rows = list.query((&range.start, &range.end, now.as_millis(), most(BATCH)))?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?;
        keys.push(Text(id.to_owned()));
    }
    let last = keys.last().filter(|_| keys.len() == BATCH);
    let next = last.map(|last| Text::after(&last.0));
    Ok((keys, next))
}
