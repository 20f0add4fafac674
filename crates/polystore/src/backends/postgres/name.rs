//! What the table is called.

use crate::address::invalid;
use crate::error::Result;

/// How long a name may be: the server cuts longer ones (`NAMEDATALEN`).
const LONGEST: usize = 63;

/// The name of a table, checked; with its schema, or else where the user's `search_path` leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableName {
    schema: Option<String>,
    table: String,
}

impl Default for TableName {
    fn default() -> Self {
        Self {
            schema: None,
            table: "kv".to_owned(),
        }
    }
}

impl TableName {
    /// # Errors
    /// [`InvalidOption`](crate::ErrorKind::InvalidOption) unless it is `name` or `schema.name`, both plain.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (schema, table) = match text.split_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (None, text),
        };
        if !is_plain(table) || !schema.is_none_or(is_plain) {
            return Err(invalid(
                "the option table is a name of letters, digits and _ that does not begin with a \
                 digit, of at most 63 characters, or two such names as in schema.table",
            ));
        }
        Ok(Self {
            schema: schema.map(str::to_owned),
            table: table.to_owned(),
        })
    }

    /// As SQL has it: `"schema"."name"`. Nothing in it needs to be escaped.
    pub(super) fn quoted(&self) -> String {
        match &self.schema {
            Some(schema) => format!("\"{schema}\".\"{}\"", self.table),
            None => format!("\"{}\"", self.table),
        }
    }

    /// For messages.
    pub(super) fn shown(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.table),
            None => self.table.clone(),
        }
    }

    /// What an index of it is called, quoted. It stands in the schema of its table.
    pub(super) fn index(&self, of: &str) -> String {
        let table = &self.table;
        let room = LONGEST - "idx__".len() - of.len();
        // The server would cut off its end, which tells the indexes of a table apart.
        let table = &table[..table.len().min(room)];
        format!("\"idx_{table}_{of}\"")
    }
}

fn is_plain(name: &str) -> bool {
    name.len() <= LONGEST
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        for (text, quoted) in [
            ("kv", "\"kv\""),
            ("_a1", "\"_a1\""),
            ("App.Sessions", "\"App\".\"Sessions\""),
        ] {
            assert_eq!(TableName::parse(text).unwrap().quoted(), quoted);
        }
        let long = "a".repeat(64);
        for text in [
            "", ".", "a.", ".a", "a.b.c", "1a", "a-b", "a b", "a\"b", "a;b", "ä", &long,
        ] {
            assert!(TableName::parse(text).unwrap_err().is_usage(), "{text:?}");
        }
    }

    #[test]
    fn an_index_has_a_name_that_fits() {
        let name = TableName::parse("s.kv").unwrap();
        assert_eq!(name.index("expires_at"), "\"idx_kv_expires_at\"");
        let name = TableName::parse(&"a".repeat(63)).unwrap();
        assert_eq!(name.index("expires_at").len(), 63 + 2);
        assert_ne!(name.index("expires_at"), name.index("id"));
    }
}
