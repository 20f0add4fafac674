//! Listings: SCAN, a page at a time, and what the keys of a page hold.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use redis::{Value, cmd};

use super::command;
use super::server::{self, Server};
use super::topology::Masters;
use super::wire::{Ask, Wire};
use crate::entry::{Entry, Expiry};
use crate::error::{ErrorKind, Result};
use crate::runtime::{self, Backoff};
use crate::scan::Scan;

/// About how many keys the server looks at for a page.
const LOOKED_AT: usize = 1000;

/// The values of how many keys are asked for together, at first and at most.
const FEW: usize = 32;
const MANY: usize = 500;

/// How many bytes of values are worth asking for together.
const BYTES: usize = 1 << 20;

type Page = Vec<Result<(String, Entry)>>;

/// What `scan` asks for, its limit and order aside.
pub(super) fn list(
    server: Arc<Server>,
    scan: &Scan,
) -> BoxStream<'static, Result<(String, Entry)>> {
    let listing = Listing {
        server,
        pattern: pattern(&scan.prefix),
        scan: scan.clone(),
        place: Place::default(),
        masters: Masters::default(),
        found: VecDeque::new(),
        together: FEW,
        shown: Shown::default(),
        skipped: 0,
        state: State::Scanning,
    };
    stream::unfold(listing, Listing::next)
        .flat_map(stream::iter)
        .boxed()
}

struct Listing {
    server: Arc<Server>,
    scan: Scan,
    /// The prefix in the words of MATCH.
    pattern: Vec<u8>,
    place: Place,
    masters: Masters,
    /// Keys whose values were not yet asked for.
    found: VecDeque<String>,
    together: usize,
    shown: Shown,
    skipped: u64,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Scanning,
    /// The last page was found.
    Found,
    Done,
}

/// How far SCAN has come. A cursor means nothing to another server, nor to the same one after
/// it was started again.
#[derive(Default)]
struct Place {
    wire: Option<Arc<Wire>>,
    cursor: u64,
}

/// The keys that were given already, by a number for each: SCAN may come across one twice
/// when the server reorders its keys, and does when it begins again.
#[derive(Default)]
struct Shown {
    numbers: HashSet<u64>,
    keyed: RandomState,
}

impl Shown {
    fn is_new(&mut self, key: &str) -> bool {
        self.numbers.insert(self.keyed.hash_one(key))
    }
}

impl Listing {
    async fn next(mut self) -> Option<(Page, Self)> {
        if self.state == State::Done {
            return None;
        }
        match self.page().await {
            Ok(Some(page)) => Some((page, self)),
            Ok(None) => {
                if self.skipped > 0 {
                    let keys = self.skipped;
                    tracing::warn!(keys, "a listing skipped keys that are not entries");
                }
                None
            }
            Err(error) => {
                self.state = State::Done;
                Some((vec![Err(error)], self))
            }
        }
    }

    /// Some entries, or nothing when all were given.
    async fn page(&mut self) -> Result<Option<Page>> {
        if self.found.is_empty() {
            if self.state == State::Found {
                return Ok(None);
            }
            self.find().await?;
        }
        let wanted = self.found.len().min(self.together);
        let keys: Vec<String> = self.found.drain(..wanted).collect();
        if keys.is_empty() {
            return Ok(Some(Vec::new()));
        }
        if !self.scan.values && !self.scan.expiries {
            // SCAN has left out what is expired or no string.
            let entry = || Entry::without_value(Expiry::Unread);
            return Ok(Some(
                keys.into_iter().map(|key| Ok((key, entry()))).collect(),
            ));
        }
        let entries = self.read(&keys).await?;
        let mut bytes = 0;
        let mut page = Vec::with_capacity(keys.len());
        for (key, entry) in keys.into_iter().zip(entries) {
            match entry {
                Ok(None) => {}
                Ok(Some(entry)) => {
                    bytes += entry.json().len();
                    if self.scan.values && entry.check().is_err() {
                        self.skipped += 1;
                    } else {
                        page.push(Ok((key, entry)));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Corrupt => self.skipped += 1,
                Err(error) => return Err(error.with_key(&key)),
            }
        }
        self.together = match bytes {
            0..BYTES => (self.together * 2).min(MANY),
            _ => (self.together / 2).max(1),
        };
        Ok(Some(page))
    }

    /// Asks for the next keys.
    async fn find(&mut self) -> Result<()> {
        runtime::current()?;
        let mut backoff = Backoff::default();
        let deadline = tokio::time::Instant::now() + self.server.timeout();
        let keys = loop {
            let server = Arc::clone(&self.server);
            let page = server.within_time(self.scan_once()).await;
            match page {
                Ok(keys) => break keys,
                Err(error) => {
                    // Whoever answers next begins anew.
                    self.place = Place::default();
                    let until = backoff.until(None);
                    if !self.server.is_transient(&error) || until >= deadline {
                        return Err(error);
                    }
                    crate::runtime::sleep_until(until).await;
                }
            }
        };
        for key in keys {
            match String::from_utf8(key) {
                Ok(key) if !self.scan.wants(&key) => {}
                Ok(key) => {
                    if self.shown.is_new(&key) {
                        self.found.push_back(key);
                    }
                }
                Err(_) => self.skipped += 1,
            }
        }
        Ok(())
    }

    async fn scan_once(&mut self) -> Result<Vec<Vec<u8>>> {
        let wire = self.server.wire().await?;
        let same = self.place.wire.as_ref();
        if !same.is_some_and(|same| Arc::ptr_eq(same, &wire)) {
            self.place = Place::default();
        }
        if wire.is_cluster()
            && self.place.wire.is_none()
            && !self.masters.next(&self.server, &wire).await?
        {
            self.state = State::Found;
            return Ok(Vec::new());
        }
        let mut scan = cmd("SCAN");
        scan.arg(self.place.cursor);
        if !self.scan.prefix.is_empty() {
            scan.arg("MATCH").arg(&self.pattern[..]);
        }
        scan.arg("COUNT").arg(LOOKED_AT).arg("TYPE").arg("string");
        let reply = self
            .server
            .ask_node(&wire, self.masters.node(), &scan)
            .await?;
        let (cursor, keys) = scanned(reply)?;
        if cursor == 0 {
            self.place = Place::default();
            if wire.is_cluster() {
                self.masters.done();
            } else {
                self.state = State::Found;
            }
        } else {
            self.place = Place {
                wire: Some(wire),
                cursor,
            };
        }
        Ok(keys)
    }

    /// What the keys hold.
    async fn read(&self, keys: &[String]) -> Result<Vec<Result<Option<Entry>>>> {
        self.server
            .persist(|| async {
                let asks: Vec<Ask<'_>> = match (self.scan.values, self.scan.expiries) {
                    (true, false) if !self.server.is_cluster() => {
                        return self.read_values(keys).await;
                    }
                    (true, false) => keys
                        .iter()
                        .map(|key| Ask::one(key, command::get(key)))
                        .collect(),
                    (false, _) => keys
                        .iter()
                        .map(|key| Ask::one(key, command::about("PTTL", key)))
                        .collect(),
                    (true, true) => keys
                        .iter()
                        .map(|key| Ask::both(key, ["GET", "PTTL"]))
                        .collect(),
                };
                let mut entries = Vec::with_capacity(keys.len());
                for value in self.server.ask(asks, false).await {
                    let entry = match value {
                        Err(error) if error.kind() == ErrorKind::Corrupt => Err(error),
                        Err(error) => return Err(error),
                        Ok(value) => match (self.scan.values, self.scan.expiries) {
                            (true, false) => command::entry(value, Expiry::Unread),
                            (false, _) => command::expiry(&value)
                                .map(|expiry| expiry.map(Entry::without_value)),
                            (true, true) => command::entry_and_expiry(value),
                        },
                    };
                    entries.push(entry);
                }
                Ok(entries)
            })
            .await
    }

    async fn read_values(&self, keys: &[String]) -> Result<Vec<Result<Option<Entry>>>> {
        let mget = command::mget(keys.iter().map(String::as_str));
        let reply = self.server.ask(vec![Ask::one(&keys[0], mget)], false).await;
        match reply.into_iter().next() {
            Some(Ok(Value::Array(values))) if values.len() == keys.len() => Ok(values
                .into_iter()
                .map(|value| command::entry(value, Expiry::Unread))
                .collect()),
            Some(Err(error)) => Err(error),
            _ => server::unexpected(),
        }
    }
}

/// The cursor and the keys that SCAN gives.
fn scanned(reply: Value) -> Result<(u64, Vec<Vec<u8>>)> {
    let Value::Array(parts) = reply else {
        return server::unexpected();
    };
    let Ok([Value::BulkString(cursor), Value::Array(keys)]) = <[Value; 2]>::try_from(parts) else {
        return server::unexpected();
    };
    let cursor = std::str::from_utf8(&cursor)
        .ok()
        .and_then(|text| text.parse().ok());
    let keys: Option<Vec<_>> = keys
        .into_iter()
        .map(|key| match key {
            Value::BulkString(key) => Some(key),
            _ => None,
        })
        .collect();
    match (cursor, keys) {
        (Some(cursor), Some(keys)) => Ok((cursor, keys)),
        _ => server::unexpected(),
    }
}

/// What begins with `prefix`, as MATCH has it.
fn pattern(prefix: &str) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for byte in prefix.bytes() {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_literal_in_a_pattern() {
        assert_eq!(pattern(""), b"*");
        assert_eq!(
            pattern("a*b?[c]\\^-é"),
            "a\\*b\\?\\[c\\]\\\\^-é*".as_bytes()
        );
    }

    #[test]
    fn a_key_is_new_once() {
        let mut shown = Shown::default();
        assert!(shown.is_new("a") && shown.is_new("b") && !shown.is_new("a"));
    }
}
