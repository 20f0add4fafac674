//! Writes of single keys: those that wait go in one request, in their order.

use std::slice;
use std::sync::Arc;

use redis::Value;

use super::command::{self, Stay};
use super::failure;
use super::server::Server;
use super::wire::Ask;
use crate::entry::{Entry, Expiry};
use crate::error::{Error, Result};
use crate::gather::Trip;

pub(super) enum Write {
    Set(String, Entry),
    SetMany(Vec<(String, Entry)>),
    Del(Vec<String>),
    Insert(String, Entry),
    Replace(String, Entry),
    Touch(String, Expiry),
    Evict(String, Entry),
}

pub(super) struct Writer {
    pub(super) server: Arc<Server>,
    /// Each key has a server of its own, perhaps.
    pub(super) is_cluster: bool,
}

impl Writer {
    fn asks<'a>(&self, op: &'a Write, asks: &mut Vec<Ask<'a>>) {
        let before = asks.len();
        match op {
            Write::Set(key, entry) => asks.push(Ask::one(key, command::set(key, entry))),
            Write::SetMany(entries) => asks.extend(
                entries
                    .iter()
                    .map(|(key, entry)| Ask::one(key, command::set(key, entry))),
            ),
            Write::Del(keys) => {
                let share = if self.is_cluster {
                    1
                } else {
                    keys.len().max(1)
                };
                asks.extend(keys.chunks(share).map(|keys| {
                    let unlink = command::unlink(keys.iter().map(String::as_str));
                    Ask::one(&keys[0], unlink)
                }));
            }
            Write::Insert(key, entry) => asks.push(Ask::one(key, command::insert(key, entry))),
            Write::Replace(key, entry) => asks.push(Ask::one(key, command::replace(key, entry))),
            Write::Touch(key, expiry) => asks.push(match Stay::until(*expiry) {
                Stay::Over => Ask::one(key, command::about("UNLINK", key)),
                Stay::ForEver => Ask::both(key, ["PERSIST", "EXISTS"]),
                Stay::Millis(millis) => {
                    let mut expire = command::about("PEXPIRE", key);
                    expire.arg(millis);
                    Ask::one(key, expire)
                }
            }),
            Write::Evict(key, seen) => asks.push(Ask::one(key, command::evict(key, seen))),
        }
        debug_assert_eq!(asks.len() - before, self.count(op));
    }

    /// How many asks it takes.
    fn count(&self, op: &Write) -> usize {
        match op {
            Write::SetMany(entries) => entries.len(),
            Write::Del(keys) if self.is_cluster => keys.len(),
            Write::Del(keys) => usize::from(!keys.is_empty()),
            Write::Set(..)
            | Write::Insert(..)
            | Write::Replace(..)
            | Write::Touch(..)
            | Write::Evict(..) => 1,
        }
    }

    /// What became of it: for those that say so, whether anything was done.
    fn done(&self, op: &Write, values: &mut impl Iterator<Item = Result<Value>>) -> Result<bool> {
        let mut done = Ok(true);
        let mut is_begun = false;
        // All of its replies are taken, whatever became of one.
        for value in values.take(self.count(op)) {
            let this = value.and_then(|value| match op {
                Write::Insert(..) => command::was_inserted(&value),
                Write::Replace(..) => command::was_replaced(&value),
                Write::Touch(..) | Write::Evict(..) => match value {
                    // Any of them may have been refused; the last one counts.
                    Value::Array(both) => {
                        let numbers: Result<Vec<_>> = both.iter().map(command::number).collect();
                        numbers.and_then(|all| all.last().copied().ok_or_else(failure::unexpected))
                    }
                    value => command::number(&value),
                }
                .map(|number| number > 0),
                Write::Set(..) | Write::SetMany(_) | Write::Del(_) => Ok(true),
            });
            is_begun |= this.is_ok();
            if done.is_ok() {
                done = this;
            }
        }
        match is_begun {
            true => done.map_err(Error::with_maybe_applied),
            false => done,
        }
    }
}

impl Write {
    fn keys(&self) -> Keys<'_> {
        match self {
            Self::Set(key, _)
            | Self::Insert(key, _)
            | Self::Replace(key, _)
            | Self::Touch(key, _)
            | Self::Evict(key, _) => Keys::Alone(slice::from_ref(key).iter()),
            Self::Del(keys) => Keys::Alone(keys.iter()),
            Self::SetMany(entries) => Keys::WithEntries(entries.iter()),
        }
    }
}

enum Keys<'a> {
    Alone(slice::Iter<'a, String>),
    WithEntries(slice::Iter<'a, (String, Entry)>),
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a String;

    fn next(&mut self) -> Option<&'a String> {
        match self {
            Self::Alone(keys) => keys.next(),
            Self::WithEntries(entries) => entries.next().map(|(key, _)| key),
        }
    }
}

impl Trip for Writer {
    type Op = Write;
    type Reply = bool;

    /// In their order.
    const UNDER_WAY: usize = 1;
    const BATCH: usize = 512;
    const BY_CALLER: bool = true;

    async fn send(&self, ops: &[&Write]) -> Vec<Result<bool>> {
        if !ops.iter().all(|op| Self::may_repeat(op)) {
            self.server.wake().await;
        }
        let mut asks = Vec::with_capacity(ops.len());
        for op in ops {
            self.asks(op, &mut asks);
        }
        let mut values = self.server.ask(asks, true).await.into_iter();
        ops.iter().map(|op| self.done(op, &mut values)).collect()
    }

    fn is_transient(&self, error: &Error) -> bool {
        self.server.is_transient(error)
    }

    fn may_repeat(op: &Write) -> bool {
        match op {
            Write::Set(..) | Write::SetMany(_) | Write::Del(_) => true,
            // They say what was there before: the second time that is their own doing.
            Write::Insert(..) | Write::Evict(..) => false,
            Write::Replace(_, entry) => !matches!(Stay::until(entry.expiry()), Stay::Over),
            Write::Touch(_, expiry) => !matches!(Stay::until(*expiry), Stay::Over),
        }
    }

    fn is_overtaken(op: &Write, later: &Write) -> bool {
        op.keys().any(|key| later.keys().any(|other| key == other))
    }

    fn weight(op: &Write) -> usize {
        match op {
            Write::Set(key, entry)
            | Write::Insert(key, entry)
            | Write::Replace(key, entry)
            | Write::Evict(key, entry) => key.len() + entry.json().len(),
            Write::SetMany(entries) => {
                let bytes = entries
                    .iter()
                    .map(|(key, entry)| key.len() + entry.json().len());
                bytes.sum()
            }
            Write::Del(keys) => keys.iter().map(String::len).sum(),
            Write::Touch(key, _) => key.len(),
        }
    }

    fn gave_up(&self) {
        self.server.drop_connection();
    }
}
