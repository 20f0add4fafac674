//! What is read: single entries, parts of listings, and what is to be removed.

use rusty_leveldb::{DBIterator, LdbIterator};

use super::database::Database;
use crate::backend::Scan;
use crate::entry::{Entry, Timestamp};
use crate::error::Result;
use crate::pages::Page;

/// How many entries a listing looks at at a time: some milliseconds' worth.
pub(super) const PAGE: usize = 2_000;

/// How many bytes of keys and values it looks at at a time, a last large one aside.
const PAGE_BYTES: usize = 1 << 20;

pub(super) fn get(
    database: &Database,
    iterator: &mut DBIterator,
    key: &str,
) -> Result<Option<Entry>> {
    iterator.seek(key.as_bytes());
    let found = iterator.current();
    database.check()?;
    match found {
        Some((found, value)) if found == key.as_bytes() => Entry::from_envelope(value).map(Some),
        _ => Ok(None),
    }
}

/// Keys from one (inclusive) on, as long as they have a prefix, in the order of their bytes.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) start: Vec<u8>,
    pub(super) prefix: String,
}

impl Range {
    pub(super) fn of_prefix(prefix: &str) -> Self {
        Self {
            start: prefix.as_bytes().to_owned(),
            prefix: prefix.to_owned(),
        }
    }

    pub(super) fn of_scan(scan: &Scan) -> Self {
        let mut range = Self::of_prefix(&scan.prefix);
        let after = scan.after.as_deref();
        if let Some(after) = after.filter(|after| *after >= &scan.prefix[..]) {
            range.start = key_after(after.as_bytes());
        }
        range
    }
}

/// The next key in order.
fn key_after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// Shows `look` what is in `range`, foreign things too, until that is enough, and gives the key
/// at which to go on, if there may be more. `look` says whether to go on.
fn walk(
    database: &Database,
    iterator: &mut DBIterator,
    range: &Range,
    mut look: impl FnMut(&[u8], &[u8]) -> bool,
) -> Result<Option<Vec<u8>>> {
    let (mut entries, mut bytes) = (0, 0);
    iterator.seek(&range.start);
    while let Some((key, value)) = iterator.current() {
        if !key.starts_with(range.prefix.as_bytes()) {
            break;
        }
        entries += 1;
        bytes += key.len() + value.len();
        // In this order: a listing that has what it wants looks at nothing more.
        if !look(&key, &value) || entries == PAGE || bytes >= PAGE_BYTES {
            database.check()?;
            return Ok(Some(key_after(&key)));
        }
        iterator.advance();
    }
    database.check()?;
    Ok(None)
}

/// The key and the entry, if it is one.
fn entry(key: &[u8], value: &[u8]) -> Option<(String, Entry)> {
    let key = std::str::from_utf8(key).ok()?;
    Some((key.to_owned(), Entry::from_envelope(value).ok()?))
}

/// The first `limit` live entries in `range`, or fewer.
pub(super) fn page(
    database: &Database,
    iterator: &mut DBIterator,
    range: &Range,
    values: bool,
    limit: usize,
) -> Result<Page<Vec<u8>>> {
    let now = Timestamp::now();
    let mut page = Page::default();
    page.next = walk(database, iterator, range, |key, value| {
        match entry(key, value) {
            None => page.skipped += 1,
            Some((_, entry)) if entry.expiry().is_over_at(now) => {}
            Some((key, entry)) if values => page.entries.push((key, entry)),
            Some((key, entry)) => {
                let entry = Entry::without_value(entry.expiry());
                page.entries.push((key, entry));
            }
        }
        page.entries.len() < limit
    })?;
    Ok(page)
}

/// What to remove of a part of a range.
#[derive(Debug, Default)]
pub(super) struct Doomed {
    pub(super) keys: Vec<String>,
    pub(super) next: Option<Vec<u8>>,
    /// When the first of those that stay expires, in milliseconds since 1970.
    pub(super) first_expiry: Option<i64>,
}

/// The entries at the beginning of `range`: all of them, or those that have expired by then.
pub(super) fn doomed(
    database: &Database,
    iterator: &mut DBIterator,
    range: &Range,
    expired_by: Option<Timestamp>,
) -> Result<Doomed> {
    let mut doomed = Doomed::default();
    doomed.next = walk(database, iterator, range, |key, value| {
        if let Some((key, entry)) = entry(key, value) {
            if expired_by.is_none_or(|now| entry.expiry().is_over_at(now)) {
                doomed.keys.push(key);
            } else if let Some(expiry) = entry.expiry().as_millis() {
                let first = doomed.first_expiry.unwrap_or(expiry);
                doomed.first_expiry = Some(first.min(expiry));
            }
        }
        true
    })?;
    Ok(doomed)
}
