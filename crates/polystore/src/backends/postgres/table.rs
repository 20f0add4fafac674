//! The table: npm's layout, made when it is absent and used as it is when it is not.

use serde::Deserialize;
use tokio_postgres::types::Type;

use super::failure::Failure;
use super::name::TableName;
use super::session::Session;
use super::sql::{Expires, Order, Sql, Statement};
use crate::error::{Error, ErrorKind, Result};

/// Up to this size a table gets the index that listings need without asking: that takes less than a
/// second, in which nobody can write.
const INDEXED_UNASKED: i64 = 64 << 20;

/// How often others may be quicker.
const TRIES: usize = 5;

/// The server's word for what is in a database: which lock those take who make a table.
const LOCK: i64 = 0x706f_6c79_7374_6f72;

/// What a table turned out to be, and how to speak of it.
pub(super) struct Table {
    pub(super) sql: Sql,
    /// What expires first is found without reading everything.
    pub(super) has_expiry_index: bool,
    /// How many characters a key may have, if the table says so.
    longest_key: Option<usize>,
}

/// What the server knows of the table.
#[derive(Debug, Deserialize)]
struct Found {
    encoding: String,
    /// As `pg_class.relkind` has it.
    kind: String,
    bytes: i64,
    columns: Vec<Column>,
    indexes: Vec<Index>,
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
    type_name: String,
    /// It takes different texts for the same.
    is_loose: bool,
    /// How many characters it takes.
    length: Option<usize>,
}

/// A complete one that can be used.
#[derive(Debug, Deserialize)]
struct Index {
    first_column: String,
    columns: i32,
    is_unique: bool,
    operators: String,
    collation: Option<String>,
    /// In the order of bytes.
    is_by_bytes: bool,
}

/// One row of JSON, or none if there is no such table.
const FIND: &str = "
select json_build_object(
  'encoding', current_setting('server_encoding'),
  'kind', c.relkind,
  'bytes', case when c.relkind = 'r' then pg_relation_size(c.oid) else 9223372036854775807 end,
  'columns', (
    select coalesce(json_agg(json_build_object(
      'name', a.attname,
      'type_name', format_type(a.atttypid, null),
      'length', case when a.atttypid = 'pg_catalog.varchar'::regtype and a.atttypmod > 4 then a.atttypmod - 4 end,
      'is_loose', coalesce(not l.collisdeterministic, false))), '[]')
    from pg_attribute a left join pg_collation l on l.oid = a.attcollation
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
  'indexes', (
    select coalesce(json_agg(json_build_object(
      'first_column', a.attname,
      'columns', i.indnkeyatts,
      'is_unique', i.indisunique and i.indimmediate,
      'operators', o.opcname,
      'collation', quote_ident(n.nspname) || '.' || quote_ident(l.collname),
      'is_by_bytes', coalesce(case
        when l.collname = 'default' then
          coalesce(to_jsonb(d)->>'datlocprovider', 'c') = 'c' and d.datcollate in ('C', 'POSIX')
        else l.collprovider = 'c' and l.collcollate in ('C', 'POSIX') end, false))), '[]')
    from pg_index i
    join pg_class x on x.oid = i.indexrelid
    join pg_am m on m.oid = x.relam and m.amname = 'btree'
    join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
    join pg_opclass o on o.oid = i.indclass[0]
    left join pg_collation l on l.oid = i.indcollation[0]
    left join pg_namespace n on n.oid = l.collnamespace
    where i.indrelid = c.oid and i.indisvalid and i.indpred is null)
)::text
from pg_class c, pg_database d
where c.oid = to_regclass($1) and d.datname = current_database()";

impl Table {
    /// The table, made if it is not there.
    pub(super) async fn open(session: &Session, name: &TableName) -> Result<Self> {
        let find = Statement {
            text: FIND.to_owned(),
            types: vec![Type::TEXT],
        };
        let mut tries = TRIES;
        let found = loop {
            if let Some(found) = find_it(session, &find, name).await? {
                break found;
            }
            match session.run_script(&make(name)).await {
                Ok(()) => {}
                Err(failure) if failure.is_made_already() && tries > 0 => {}
                Err(failure) => {
                    let error = Error::from(failure);
                    return Err(match error.kind() {
                        ErrorKind::Denied => Error::new(
                            ErrorKind::Denied,
                            format!(
                                "there is no table {}, and this user may not make it",
                                name.shown()
                            ),
                        )
                        .with_source(error),
                        _ => error,
                    });
                }
            }
            if tries == 0 {
                return Err(unfit(name, "it goes away as soon as it is made"));
            }
            tries -= 1;
        };
        let expires = check(name, &found)?;
        let order = match byte_order(&found) {
            Some(order) => order,
            None => {
                index_bytes(session, name, &found).await;
                Order::by_c()
            }
        };
        let column = expires.column().trim_matches('"');
        let mut columns = found.columns.iter();
        Ok(Self {
            longest_key: columns
                .find(|column| column.name == "id")
                .and_then(|id| id.length),
            sql: Sql::new(name, expires, &order),
            has_expiry_index: found
                .indexes
                .iter()
                .any(|index| index.first_column == column),
        })
    }
}

impl Table {
    /// # Errors
    /// Where the table would cut off the end of `key`: the server does, if that is spaces.
    pub(super) fn check_key(&self, key: &str) -> Result<()> {
        match self.longest_key {
            Some(most) if key.len() > most && key.chars().count() > most => Err(Error::new(
                ErrorKind::InvalidKey,
                format!("the table's column id takes {most} characters"),
            )),
            _ => Ok(()),
        }
    }
}

async fn find_it(session: &Session, find: &Statement, name: &TableName) -> Result<Option<Found>> {
    let rows = session.query_unprepared(find, &[&name.quoted()]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let json: &str = row.try_get(0).map_err(Failure::before)?;
    let found = serde_json::from_str(json).map_err(|error| {
        Error::new(
            ErrorKind::Unreachable,
            "the server does not describe its tables as PostgreSQL 12 or later does",
        )
        .with_source(error)
    })?;
    Ok(Some(found))
}

/// Makes the table as a whole or not at all. One process at a time: the server fails where two make
/// the same, even if they ask for what is not there yet only.
fn make(name: &TableName) -> String {
    let (table, index) = (name.quoted(), name.index("expires_at"));
    format!(
        "select pg_advisory_xact_lock({LOCK});
         create table if not exists {table} \
         (id text collate \"C\" primary key, value text not null, expires_at timestamptz);
         create index if not exists {index} on {table} (expires_at);"
    )
}

/// # Errors
/// [`ErrorKind::Corrupt`], saying what is missing, if it cannot hold entries.
fn check(name: &TableName, found: &Found) -> Result<Expires> {
    if found.encoding != "UTF8" {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "the database keeps text in the encoding {}: make one with encoding 'UTF8'",
                found.encoding
            ),
        ));
    }
    if !matches!(&*found.kind, "r" | "p") {
        return Err(unfit(
            name,
            "it is a view or another thing that is no table",
        ));
    }
    let column = |name: &str| found.columns.iter().find(|column| column.name == name);
    let expires = match (column("expires_at"), column("expiresAt")) {
        (Some(at), _) => Some((at, Expires::Zoned, "timestamp with time zone")),
        (None, Some(at)) => Some((at, Expires::Unzoned, "timestamp without time zone")),
        (None, None) => None,
    };
    let missing: Vec<&str> = [
        ("id", column("id").is_some()),
        ("value", column("value").is_some()),
        ("expires_at", expires.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, is_there)| (!is_there).then_some(name))
    .collect();
    let (Some(id), Some(value), Some((at, expires, wanted))) =
        (column("id"), column("value"), expires)
    else {
        return Err(unfit(
            name,
            &format!("it has no column {}", missing.join(", ")),
        ));
    };
    for column in [id, value] {
        if !matches!(&*column.type_name, "text" | "character varying") {
            return Err(wrong_type(name, column, "text"));
        }
    }
    // Either column may be of either type.
    let expires = match &*at.type_name {
        "timestamp with time zone" | "timestamp without time zone" if at.type_name == wanted => {
            expires
        }
        _ => return Err(wrong_type(name, at, wanted)),
    };
    if id.is_loose {
        return Err(unfit(
            name,
            "its column id has a collation that takes different keys for the same",
        ));
    }
    let is_unique =
        |index: &Index| index.first_column == "id" && index.columns == 1 && index.is_unique;
    if !found.indexes.iter().any(is_unique) {
        return Err(unfit(
            name,
            "its column id is neither its primary key nor unique",
        ));
    }
    Ok(expires)
}

/// How an index has the keys in the order of their bytes, if one does.
fn byte_order(found: &Found) -> Option<Order> {
    let of_keys = || {
        found
            .indexes
            .iter()
            .filter(|index| index.first_column == "id")
    };
    let by_collation = of_keys()
        .filter(|index| index.is_by_bytes && !index.operators.ends_with("_pattern_ops"))
        .find_map(|index| index.collation.clone())
        .map(Order::Collation);
    by_collation.or_else(|| {
        of_keys()
            .any(|index| index.operators.ends_with("_pattern_ops"))
            .then_some(Order::Pattern)
    })
}

/// Without an index a page of a listing reads and sorts the whole table. A small table gets one, if
/// this user may.
async fn index_bytes(session: &Session, name: &TableName, found: &Found) {
    let (table, index) = (name.quoted(), name.index("id_bytes"));
    let why = if found.bytes > INDEXED_UNASKED {
        "the table is too large to do that unasked".to_owned()
    } else {
        let script = format!(
            "select pg_advisory_xact_lock({LOCK});
             create index if not exists {index} on {table} (id collate \"C\");"
        );
        match session.run_script(&script).await {
            Ok(()) => return,
            Err(failure) if failure.is_made_already() => return,
            Err(failure) => Error::from(failure).message().to_owned(),
        }
    };
    tracing::warn!(
        why,
        "the table {} has no index in the order of bytes: each listing and clear of a prefix reads all of \
         it. Make one: create index concurrently {index} on {table} (id collate \"C\")",
        name.shown(),
    );
}

fn wrong_type(name: &TableName, column: &Column, wanted: &str) -> Error {
    let Column {
        name: column,
        type_name,
        ..
    } = column;
    let why = format!("its column {column} is {type_name} and has to be {wanted}");
    unfit(name, &why)
}

fn unfit(name: &TableName, why: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "the table {} is not one of this store's: {why}",
            name.shown()
        ),
    )
}
