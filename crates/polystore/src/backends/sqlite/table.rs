//! The table: npm's layout, made when it is absent and used as it is when it is not.

use rusqlite::{Connection, OptionalExtension};

use super::failure::Attempt;
use crate::address::invalid;
use crate::error::{Error, ErrorKind, Result};

/// What tells one table of a database from another, checked.
pub(super) struct TableName(String);

impl TableName {
    pub(super) const DEFAULT: &'static str = "kv";

    /// # Errors
    /// [`ErrorKind::InvalidOption`] unless it is a plain name.
    pub(super) fn new(name: String) -> Result<Self> {
        let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        // A table pragma_… would hide SQLite's function of that name.
        let lower = name.to_ascii_lowercase();
        let reserved = lower.starts_with("sqlite_") || lower.starts_with("pragma_");
        if plain && !reserved {
            return Ok(Self(name));
        }
        Err(invalid(
            "the option table is a name of letters, digits and _ that does not begin with a \
             digit, with sqlite_ or with pragma_",
        ))
    }
}

/// What a table turned out to be.
pub(super) struct Table {
    /// The collation of the unique index on `id`.
    collation: String,
    /// What expires first is found without reading everything.
    pub(super) has_expiry_index: bool,
}

impl Table {
    /// The table, or `None` if it is not there.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], saying what is missing, if it cannot hold entries.
    pub(super) fn find(db: &Connection, name: &TableName) -> Attempt<Option<Self>> {
        let name = &name.0[..];
        let kind: Option<String> = db
            .query_row(
                "SELECT type FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE \
                 AND type IN ('table', 'view')",
                [name],
                |row| row.get(0),
            )
            .optional()?;
        match kind.as_deref() {
            None => return Ok(None),
            Some("table") => {}
            Some(_) => return Err(unfit(name, "it is a view").into()),
        }
        let encoding: String = db.query_row("PRAGMA encoding", [], |row| row.get(0))?;
        if encoding != "UTF-8" {
            return Err(unfit(
                name,
                "its database keeps text in another encoding than UTF-8",
            )
            .into());
        }
        check_columns(db, name)?;
        let collation = unique_collation(db, name)?
            .ok_or_else(|| unfit(name, "its column id is neither its primary key nor unique"))?;
        let has_expiry_index = db.query_row(
            "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) AS l, \
             pragma_index_info(l.name) AS i WHERE l.partial = 0 AND i.seqno = 0 \
             AND i.name = 'expires_at' COLLATE NOCASE)",
            [name],
            |row| row.get(0),
        )?;
        Ok(Some(Self {
            collation,
            has_expiry_index,
        }))
    }

    /// Makes the table, unless another process is quicker.
    pub(super) fn make(db: &Connection, name: &TableName) -> Attempt<Self> {
        let TableName(text) = name;
        let made = db.execute_batch(&format!(
            "BEGIN IMMEDIATE;
             CREATE TABLE IF NOT EXISTS \"{text}\" \
             (id TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER);
             CREATE INDEX IF NOT EXISTS \"idx_{text}_expires_at\" ON \"{text}\" (expires_at);
             COMMIT;"
        ));
        if made.is_err() && !db.is_autocommit() {
            db.execute_batch("ROLLBACK")?;
        }
        made?;
        Self::find(db, name)?.ok_or_else(|| unfit(text, "it went away at once").into())
    }
}

/// SQLite's rule ("Determination Of Column Affinity"): whether a column of this declared
/// type keeps text as text, where another would make a number of "1".
fn keeps_text(declared: &str) -> bool {
    let declared = declared.to_ascii_uppercase();
    let has = |part| declared.contains(part);
    !has("INT") && (has("CHAR") || has("CLOB") || has("TEXT") || has("BLOB") || declared.is_empty())
}

/// Whether it keeps integers as integers.
fn keeps_integers(declared: &str) -> bool {
    let declared = declared.to_ascii_uppercase();
    let has = |part| declared.contains(part);
    has("INT") || !(has("CHAR") || has("CLOB") || has("TEXT"))
}

fn check_columns(db: &Connection, name: &str) -> Attempt<()> {
    let mut columns = db.prepare("SELECT lower(name), type FROM pragma_table_info(?1)")?;
    let columns: Vec<(String, String)> = columns
        .query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let declared = |wanted: &str| columns.iter().find(|(name, _)| name == wanted);
    let missing: Vec<&str> = ["id", "value", "expires_at"]
        .into_iter()
        .filter(|wanted| declared(wanted).is_none())
        .collect();
    if !missing.is_empty() {
        return Err(unfit(name, &format!("it has no column {}", missing.join(", "))).into());
    }
    for (wanted, fits) in [
        ("id", keeps_text as fn(&str) -> bool),
        ("value", keeps_text),
        ("expires_at", keeps_integers),
    ] {
        if let Some((_, declared)) = declared(wanted).filter(|(_, declared)| !fits(declared)) {
            let wants = if wanted == "expires_at" {
                "INTEGER"
            } else {
                "TEXT"
            };
            let what = format!("its column {wanted} is {declared:?} and has to be {wants}");
            return Err(unfit(name, &what).into());
        }
    }
    Ok(())
}

/// The collation of an index that holds each `id` once; BINARY if there is the choice.
fn unique_collation(db: &Connection, name: &str) -> Attempt<Option<String>> {
    let mut indexes = db.prepare(
        "SELECT max(i.coll) FROM pragma_index_list(?1) AS l, pragma_index_xinfo(l.name) AS i \
         WHERE l.\"unique\" = 1 AND l.partial = 0 AND i.key = 1 \
         GROUP BY l.name HAVING count(*) = 1 AND lower(max(i.name)) = 'id'",
    )?;
    let collations: Vec<String> = indexes
        .query_map([name], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let binary = collations.iter().find(|collation| *collation == BINARY);
    Ok(binary.or(collations.first()).cloned())
}

const BINARY: &str = "BINARY";

fn unfit(table: &str, why: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the table {table:?} is not one of this store's: {why}"),
    )
}

/// The statements, with the table's name in them. Keys are compared byte by byte
/// whatever the table's own collation is.
pub(super) struct Sql {
    /// Keys are told apart byte by byte by the table too.
    pub(super) is_binary: bool,
    pub(super) get: String,
    pub(super) has: String,
    pub(super) page: String,
    pub(super) page_of_keys: String,
    pub(super) due: String,
    pub(super) set: String,
    pub(super) insert: String,
    pub(super) replace: String,
    pub(super) touch: String,
    pub(super) del: String,
    pub(super) del_expired: String,
    pub(super) clear: String,
    pub(super) clear_all: String,
    pub(super) sweep: String,
    pub(super) first_expiry: String,
}

/// `id` is from ?1 (inclusive) to ?2 (exclusive).
const RANGE: &str = "id >= ?1 COLLATE BINARY AND id < ?2 COLLATE BINARY";

impl Sql {
    pub(super) fn new(name: &TableName, table: &Table) -> Self {
        let TableName(name) = name;
        let collation = &table.collation;
        let is_binary = collation == BINARY;
        // With another collation, that index narrows it down first.
        let (this, unless_mixed_up) = if is_binary {
            ("id = ?1 COLLATE BINARY".to_owned(), "")
        } else {
            (
                format!("id = ?1 COLLATE \"{collation}\" AND id = ?1 COLLATE BINARY"),
                " AND id = excluded.id COLLATE BINARY",
            )
        };
        let put = format!(
            "INSERT INTO \"{name}\" (id, value, expires_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (id) DO UPDATE \
             SET value = excluded.value, expires_at = excluded.expires_at"
        );
        let page = |columns: &str| {
            format!(
                "SELECT {columns} FROM \"{name}\" WHERE {RANGE} \
                 AND (expires_at IS NULL OR expires_at > ?3) \
                 ORDER BY id COLLATE BINARY LIMIT ?4"
            )
        };
        Self {
            is_binary,
            get: format!("SELECT value, expires_at FROM \"{name}\" WHERE {this}"),
            has: format!(
                "SELECT 1 FROM \"{name}\" WHERE {this} \
                 AND (expires_at IS NULL OR expires_at > ?2)"
            ),
            page: page("id, expires_at, value"),
            page_of_keys: page("id, expires_at"),
            due: format!(
                "SELECT id FROM \"{name}\" WHERE {RANGE} AND expires_at <= ?3 \
                 ORDER BY id COLLATE BINARY LIMIT ?4"
            ),
            set: format!("{put} WHERE true{unless_mixed_up}"),
            insert: format!(
                "{put} WHERE expires_at IS NOT NULL AND expires_at <= ?4{unless_mixed_up}"
            ),
            replace: format!(
                "UPDATE \"{name}\" SET value = ?2, expires_at = ?3 WHERE {this} \
                 AND (expires_at IS NULL OR expires_at > ?4)"
            ),
            touch: format!(
                "UPDATE \"{name}\" SET expires_at = ?2 WHERE {this} \
                 AND (expires_at IS NULL OR expires_at > ?3)"
            ),
            del: format!("DELETE FROM \"{name}\" WHERE {this}"),
            del_expired: format!("DELETE FROM \"{name}\" WHERE {this} AND expires_at <= ?2"),
            clear: format!("DELETE FROM \"{name}\" WHERE {RANGE}"),
            clear_all: format!("DELETE FROM \"{name}\""),
            sweep: format!(
                "DELETE FROM \"{name}\" WHERE id IN (SELECT id FROM \"{name}\" \
                 WHERE expires_at <= ?1 AND id IS NOT NULL LIMIT ?2)"
            ),
            first_expiry: format!("SELECT min(expires_at) FROM \"{name}\""),
        }
    }
}
