//! Reading single entries: those who wait share one statement.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Row;

use super::clock::ServerTime;
use super::failure::Failure;
use super::server::{Role, Server};
use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};
use crate::gather::Trip;

/// How much of an entry is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Want {
    /// Whether it is there.
    Presence,
    Value,
    /// And when it expires.
    Entry,
}

pub(super) struct Read {
    pub(super) keys: Vec<String>,
    pub(super) want: Want,
}

pub(super) struct Reads(pub(super) Arc<Server>);

impl Reads {
    async fn find(&self, ops: &[&Read]) -> Result<Vec<Result<Vec<Option<Entry>>>>> {
        let Self(server) = self;
        let want = ops.iter().map(|op| op.want).max().unwrap_or(Want::Presence);
        let table = server.table(Role::Read).await?;
        if want == Want::Entry {
            server.compare_clocks(Role::Read).await?;
        }
        let statements = match want {
            Want::Presence => &table.sql.has,
            Want::Value => &table.sql.value,
            Want::Entry => &table.sql.entry,
        };
        if let [Read { keys, .. }] = ops
            && let [key] = &keys[..]
        {
            let rows = server.read(Role::Read, &statements.one, &[key]).await?;
            let found = rows.first().map(|row| self.entry(row, 1, want)).transpose();
            return Ok(vec![found.map(|found| vec![found])]);
        }
        let keys: Vec<&str> = ops
            .iter()
            .flat_map(|op| op.keys.iter().map(String::as_str))
            .collect();
        let rows = server.read(Role::Read, &statements.many, &[&keys]).await?;
        let mut found: HashMap<&str, Result<Entry>> = HashMap::with_capacity(rows.len());
        for row in &rows {
            let id = row.try_get(0).map_err(Failure::before)?;
            found.insert(id, self.entry(row, 1, want));
        }
        let of_key = |key: &String| found.get(&**key).cloned().transpose();
        Ok(ops
            .iter()
            .map(|op| {
                let entries = op.keys.iter();
                entries
                    .map(|key| of_key(key).map_err(|error| error.with_key(key)))
                    .collect()
            })
            .collect())
    }

    fn entry(&self, row: &Row, first: usize, want: Want) -> Result<Entry> {
        entry(
            &self.0,
            row,
            (want > Want::Presence).then_some(first),
            (want == Want::Entry).then_some(first + 1),
        )
    }
}

/// What a row holds, of the columns that were asked for.
pub(super) fn entry(
    server: &Server,
    row: &Row,
    value: Option<usize>,
    expires: Option<usize>,
) -> Result<Entry> {
    let expiry = match expires {
        None => Expiry::Unread,
        Some(column) => {
            let at: Option<ServerTime> = row.try_get(column).map_err(Failure::before)?;
            server.clock.to_local(at)
        }
    };
    let Some(column) = value else {
        return Ok(Entry::without_value(expiry));
    };
    let json: Option<&str> = row.try_get(column).map_err(Failure::before)?;
    json.map(|json| Entry::from_stored(json, expiry))
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "the row's value is null"))
}

impl Trip for Reads {
    type Op = Read;
    type Reply = Vec<Option<Entry>>;

    // Behind a pooler there may not be more; and while one is under way, more of those come
    // together that the next one answers.
    const UNDER_WAY: usize = 1;
    const BATCH: usize = 1024;

    async fn send(&self, ops: &[&Read]) -> Vec<Result<Self::Reply>> {
        match self.find(ops).await {
            Ok(found) => found,
            Err(error) => ops.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn is_transient(&self, error: &Error) -> bool {
        self.0.is_transient(error)
    }

    fn is_write(_: &Read) -> bool {
        false
    }

    fn weight(op: &Read) -> usize {
        op.keys.iter().map(|key| key.len() + 32).sum()
    }

    fn gave_up(&self) {
        self.0.drop_connection(Role::Read);
    }
}
