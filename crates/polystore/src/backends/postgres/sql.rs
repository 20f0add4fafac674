//! The statements, with the table's name in them.

use tokio_postgres::types::Type;

use super::name::TableName;

/// One statement and the types of what it is given.
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) types: Vec<Type>,
}

fn statement(text: String, types: &[Type]) -> Statement {
    Statement {
        text,
        types: types.to_vec(),
    }
}

/// What the table has of the two layouts for expiries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expires {
    /// `expires_at timestamptz`.
    Zoned,
    /// `"expiresAt" timestamp`, in UTC.
    Unzoned,
}

impl Expires {
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::Zoned => "expires_at",
            Self::Unzoned => "\"expiresAt\"",
        }
    }

    fn now(self, clock: &str) -> String {
        match self {
            Self::Zoned => format!("{clock}()"),
            Self::Unzoned => format!("({clock}() at time zone 'utc')"),
        }
    }

    fn types(self) -> (Type, Type) {
        match self {
            Self::Zoned => (Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY),
            Self::Unzoned => (Type::TIMESTAMP, Type::TIMESTAMP_ARRAY),
        }
    }
}

/// How keys are put in the order of their bytes, so that an index is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// By this collation, which compares bytes.
    Collation(String),
    /// By the operators that compare bytes whatever the collation is (`text_pattern_ops`).
    Pattern,
}

impl Order {
    pub(super) fn by_c() -> Self {
        Self::Collation("\"C\"".to_owned())
    }

    fn key(&self) -> String {
        match self {
            Self::Collation(collation) => format!("id collate {collation}"),
            Self::Pattern => "id".to_owned(),
        }
    }

    fn range(&self, has_end: bool) -> String {
        let key = self.key();
        let (from, to) = match self {
            Self::Collation(_) => (">=", "<"),
            Self::Pattern => ("~>=~", "~<~"),
        };
        if has_end {
            format!("{key} {from} $1 and {key} {to} $2")
        } else {
            // Takes it as well, so that all that is given has a place.
            format!("{key} {from} $1 and $2::text is null")
        }
    }

    fn by(&self, backwards: bool) -> String {
        match (self, backwards) {
            (Self::Collation(_), false) => self.key(),
            (Self::Collation(_), true) => format!("{} desc", self.key()),
            (Self::Pattern, false) => "id using ~<~".to_owned(),
            (Self::Pattern, true) => "id using ~>~".to_owned(),
        }
    }
}

/// With what each is given.
pub(super) struct Sql {
    pub(super) has: OneOrMany,
    pub(super) value: OneOrMany,
    pub(super) entry: OneOrMany,
    /// A key, a value, an expiry.
    pub(super) set: Statement,
    /// Three arrays of them.
    pub(super) set_many: Statement,
    pub(super) del: Statement,
    pub(super) del_many: Statement,
    /// The arrays of `set_many`, and one of keys to remove.
    pub(super) set_and_del: Statement,
    /// The arrays of `set_many`; gives the keys that were put.
    pub(super) insert: Statement,
    pub(super) replace: Statement,
    /// Keys and expiries; gives the keys that were there.
    pub(super) touch: Statement,
    /// A key, a value, the earliest and the latest expiry that are the same as was seen.
    pub(super) evict: Statement,
    /// How many go at most. Gives how many went.
    pub(super) sweep: Statement,
    pub(super) first_expiry: Statement,
    bounded: Ranged,
    unbounded: Ranged,
}

pub(super) struct OneOrMany {
    pub(super) one: Statement,
    pub(super) many: Statement,
}

/// What is about keys from one (inclusive) to another (exclusive).
pub(super) struct Ranged {
    /// And how many rows and bytes at most.
    pub(super) page: Statement,
    /// And how many rows at most.
    pub(super) page_of_keys: Statement,
    /// And how many at most. Gives how many were looked at, the last of them, and how many went.
    pub(super) clear: Statement,
    pub(super) prune: Statement,
}

impl Sql {
    pub(super) fn ranged(&self, has_end: bool) -> &Ranged {
        if has_end {
            &self.bounded
        } else {
            &self.unbounded
        }
    }

    pub(super) fn new(name: &TableName, expires: Expires, order: &Order) -> Self {
        let table = name.quoted();
        let column = expires.column();
        let (instant, instants) = expires.types();
        // By the clock at that row: a statement may have waited for others that held it.
        let clock = expires.now("clock_timestamp");
        // As an index can use it.
        let stable = expires.now("statement_timestamp");
        let live = format!("({column} is null or {column} > {clock})");

        let read = |columns: &str| OneOrMany {
            one: statement(
                format!("select {columns} from {table} where id = $1 and {live}"),
                &[Type::TEXT],
            ),
            many: statement(
                format!("select {columns} from {table} where id = any($1) and {live}"),
                &[Type::TEXT_ARRAY],
            ),
        };
        let replace = format!(
            "on conflict (id) do update set value = excluded.value, {column} = excluded.{column}"
        );
        let put_all = format!(
            "insert into {table} as t (id, value, {column}) select * from unnest($1, $2, $3) {replace}"
        );
        let arrays = [Type::TEXT_ARRAY, Type::TEXT_ARRAY, instants.clone()];
        let over = format!("t.{column} <= {clock}");
        // In the order in which puts take them, so that none waits for one that waits for it.
        let locked = format!(
            "with locked as materialized (select id from {table} where id = any($1) \
             order by id collate \"C\" for update)"
        );

        let ranged = |has_end| {
            let range = order.range(has_end);
            let (by, backwards) = (order.by(false), order.by(true));
            let bounds = [Type::TEXT, Type::TEXT, Type::INT8];
            // Locked before it is removed, and looked at again then: what was renewed meanwhile stays.
            let remove = |which: &str, lock: &str| {
                statement(
                    format!(
                        "with found as materialized (select id from {table} where {range}{which} \
                         order by {by} limit $3{lock}), \
                         gone as (delete from {table} using found where {table}.id = found.id returning 1) \
                         select count(*), (select id from found order by {backwards} limit 1), \
                         (select count(*) from gone) from found"
                    ),
                    &bounds,
                )
            };
            Ranged {
                page: statement(
                    format!(
                        "select id, value, {column} from (select id, value, {column}, \
                         sum(octet_length(value)) over (order by {by} \
                         rows between unbounded preceding and 1 preceding) as before \
                         from {table} where {range} and {live} order by {by} limit $3) page \
                         where before is null or before < $4 order by {by}"
                    ),
                    &[Type::TEXT, Type::TEXT, Type::INT8, Type::INT8],
                ),
                page_of_keys: statement(
                    format!(
                        "select id, {column} from {table} where {range} and {live} \
                         order by {by} limit $3"
                    ),
                    &bounds,
                ),
                clear: remove("", " for update"),
                prune: remove(
                    &format!(" and {column} <= {stable}"),
                    " for update skip locked",
                ),
            }
        };

        Self {
            has: read("id"),
            value: read("id, value"),
            entry: read(&format!("id, value, {column}")),
            set: statement(
                format!("insert into {table} (id, value, {column}) values ($1, $2, $3) {replace}"),
                &[Type::TEXT, Type::TEXT, instant.clone()],
            ),
            set_many: statement(put_all.clone(), &arrays),
            del: statement(format!("delete from {table} where id = $1"), &[Type::TEXT]),
            del_many: statement(
                format!("{locked} delete from {table} using locked where {table}.id = locked.id"),
                &[Type::TEXT_ARRAY],
            ),
            set_and_del: statement(
                format!("with gone as (delete from {table} where id = any($4)) {put_all}"),
                &[&arrays[..], &[Type::TEXT_ARRAY]].concat(),
            ),
            insert: statement(format!("{put_all} where {over} returning id"), &arrays),
            replace: statement(
                format!(
                    "{locked} update {table} as t set value = u.value, {column} = u.at \
                     from locked join unnest($1, $2, $3) as u (id, value, at) on u.id = locked.id \
                     where t.id = locked.id and (t.{column} is null or t.{column} > {clock}) returning t.id"
                ),
                &arrays,
            ),
            touch: statement(
                format!(
                    "{locked} update {table} as t set {column} = u.at \
                     from locked join unnest($1, $2) as u (id, at) on u.id = locked.id \
                     where t.id = locked.id and (t.{column} is null or t.{column} > {clock}) returning t.id"
                ),
                &[Type::TEXT_ARRAY, instants],
            ),
            evict: statement(
                format!(
                    "delete from {table} where id = $1 and value = $2 collate \"C\" and \
                     case when $3 is null then {column} is null \
                     else {column} between $3 and $4 end returning id"
                ),
                &[Type::TEXT, Type::TEXT, instant.clone(), instant],
            ),
            sweep: statement(
                format!(
                    "delete from {table} where id = any(array(select id from {table} \
                     where {column} <= {stable} order by {column} limit $1 for update skip locked)) returning 1"
                ),
                &[Type::INT8],
            ),
            first_expiry: statement(format!("select min({column}) from {table}"), &[]),
            bounded: ranged(true),
            unbounded: ranged(false),
        }
    }
}
