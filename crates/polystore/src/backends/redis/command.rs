//! The commands, and what their replies mean.

use redis::{Cmd, Value, cmd};

use super::failure;
use crate::entry::{Entry, Expiry, Timestamp};
use crate::error::{Error, ErrorKind, Result};

/// The longest string that Redis keeps, unless it is told otherwise (`proto-max-bulk-len`).
pub(super) const MOST_BYTES: usize = 512 << 20;

/// How far an instant that was read may be off: the time that the request took, and that
/// clocks were set in.
const OFF_MILLIS: i64 = 2000;

/// Fails if the server cannot hold it.
pub(super) fn check(key: &str, entry: &Entry) -> Result<()> {
    if key.len() > MOST_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidKey,
            "Redis keeps no key that is longer than 512 MB",
        ));
    }
    if entry.json().len() > MOST_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidValue,
            "Redis keeps no value that is longer than 512 MB",
        ));
    }
    Ok(())
}

/// How long something stays, by the clock of the server, which counts from when it
/// gets the command.
pub(super) enum Stay {
    ForEver,
    Millis(i64),
    Over,
}

impl Stay {
    pub(super) fn until(expiry: Expiry) -> Self {
        let Expiry::At(at) = expiry else {
            return Self::ForEver;
        };
        // The millisecond that has begun counts as whole: nothing may go early.
        match at.as_millis().saturating_sub(Timestamp::now().as_millis()) {
            left if left > 0 => Self::Millis(left),
            _ => Self::Over,
        }
    }
}

pub(super) fn about(name: &str, key: &str) -> Cmd {
    let mut command = cmd(name);
    command.arg(key);
    command
}

pub(super) fn get(key: &str) -> Cmd {
    about("GET", key)
}

pub(super) fn mget<'a>(keys: impl Iterator<Item = &'a str>) -> Cmd {
    about_all("MGET", keys)
}

/// How many of them are there.
pub(super) fn exists<'a>(keys: impl Iterator<Item = &'a str>) -> Cmd {
    about_all("EXISTS", keys)
}

pub(super) fn unlink<'a>(keys: impl Iterator<Item = &'a str>) -> Cmd {
    about_all("UNLINK", keys)
}

fn about_all<'a>(name: &str, keys: impl Iterator<Item = &'a str>) -> Cmd {
    let mut command = cmd(name);
    for key in keys {
        command.arg(key);
    }
    command
}

pub(super) fn set(key: &str, entry: &Entry) -> Cmd {
    let stay = Stay::until(entry.expiry());
    if let Stay::Over = stay {
        return about("UNLINK", key);
    }
    let mut command = about("SET", key);
    command.arg(entry.json());
    if let Stay::Millis(millis) = stay {
        command.arg("PX").arg(millis);
    }
    command
}

/// Its reply is OK if nothing was there.
pub(super) fn insert(key: &str, entry: &Entry) -> Cmd {
    let stay = Stay::until(entry.expiry());
    if let Stay::Over = stay {
        // Only whether it could.
        return about("EXISTS", key);
    }
    let mut command = about("SET", key);
    command.arg(entry.json()).arg("NX");
    if let Stay::Millis(millis) = stay {
        command.arg("PX").arg(millis);
    }
    command
}

/// Its reply is OK if something was there.
pub(super) fn replace(key: &str, entry: &Entry) -> Cmd {
    let stay = Stay::until(entry.expiry());
    if let Stay::Over = stay {
        return about("UNLINK", key);
    }
    let mut command = about("SET", key);
    command.arg(entry.json()).arg("XX");
    if let Stay::Millis(millis) = stay {
        command.arg("PX").arg(millis);
    }
    command
}

pub(super) fn was_replaced(reply: &Value) -> Result<bool> {
    match reply {
        Value::Okay => Ok(true),
        Value::Nil => Ok(false),
        Value::Int(gone) => Ok(*gone > 0),
        _ => Err(failure::unexpected()),
    }
}

pub(super) fn was_inserted(reply: &Value) -> Result<bool> {
    match reply {
        Value::Okay => Ok(true),
        Value::Nil => Ok(false),
        Value::Int(there) => Ok(*there == 0),
        _ => Err(failure::unexpected()),
    }
}

/// Removes the key if it holds what was seen: the value, and the expiry if that is known, give or take
/// what clocks are off.
pub(super) fn evict(key: &str, seen: &Entry) -> Cmd {
    const SCRIPT: &str = "\
        if redis.call('TYPE', KEYS[1]).ok ~= 'string' then return 0 end \
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
        local left = redis.call('PTTL', KEYS[1]) \
        if ARGV[2] == 'never' and left ~= -1 then return 0 end \
        if ARGV[2] == 'at' and (left == -1 or left < tonumber(ARGV[3]) or left > tonumber(ARGV[4])) \
        then return 0 end \
        return redis.call('UNLINK', KEYS[1])";
    let mut command = cmd("EVAL");
    command.arg(SCRIPT).arg(1).arg(key).arg(seen.json());
    match seen.expiry() {
        Expiry::Never => command.arg("never"),
        Expiry::Unread => command.arg("any"),
        Expiry::At(at) => {
            let left = at.as_millis().saturating_sub(Timestamp::now().as_millis());
            let most = left.saturating_add(OFF_MILLIS);
            command
                .arg("at")
                .arg(left.saturating_sub(OFF_MILLIS))
                .arg(most)
        }
    };
    command
}

/// Both commands about the key at once, as a transaction does it: for users who may run scripts, but also
/// where the server's memory is used up. It refuses each command inside a transaction then, whatever it does.
pub(super) fn both_by_script(key: &str, names: [&str; 2]) -> Cmd {
    const SCRIPT: &str = "return { redis.pcall(ARGV[1], KEYS[1]), redis.pcall(ARGV[2], KEYS[1]) }";
    let mut command = cmd("EVAL");
    command.arg(SCRIPT).arg(1).arg(key).arg(&names);
    command
}

/// What GET gave.
pub(super) fn entry(reply: Value, expiry: Expiry) -> Result<Option<Entry>> {
    match reply {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Entry::from_stored_bytes(&bytes, expiry).map(Some),
        Value::SimpleString(text) => Ok(Some(Entry::from_stored(text, expiry))),
        Value::ServerError(error) => Err(failure::of_command(&error)),
        _ => Err(failure::unexpected()),
    }
}

/// What PTTL gave: nothing if the key is not there.
pub(super) fn expiry(reply: &Value) -> Result<Option<Expiry>> {
    match reply {
        Value::Int(-2) => Ok(None),
        Value::Int(-1) => Ok(Some(Expiry::Never)),
        Value::Int(left) => {
            let at = Timestamp::now().as_millis().saturating_add((*left).max(0));
            Ok(Some(Expiry::At(
                Timestamp::from_millis(at).min(Timestamp::MAX),
            )))
        }
        Value::ServerError(error) => Err(failure::of_command(error)),
        _ => Err(failure::unexpected()),
    }
}

/// What GET and PTTL gave in one transaction.
pub(super) fn entry_and_expiry(reply: Value) -> Result<Option<Entry>> {
    let Value::Array(replies) = reply else {
        return Err(failure::unexpected());
    };
    let Ok([value, left]) = <[Value; 2]>::try_from(replies) else {
        return Err(failure::unexpected());
    };
    match expiry(&left)? {
        Some(expiry) => entry(value, expiry),
        None => Ok(None),
    }
}

/// What TYPE gave.
pub(super) fn is_there(reply: &Value) -> Result<bool> {
    let kind = match reply {
        Value::SimpleString(kind) => kind.as_bytes(),
        Value::BulkString(kind) => kind,
        _ => return Err(failure::unexpected()),
    };
    match kind {
        b"string" => Ok(true),
        b"none" => Ok(false),
        _ => Err(failure::other_type()),
    }
}

pub(super) fn number(reply: &Value) -> Result<i64> {
    match reply {
        Value::Int(number) => Ok(*number),
        Value::ServerError(error) => Err(failure::of_command(error)),
        _ => Err(failure::unexpected()),
    }
}
