//! PostgreSQL stores on tables of all kinds: made here, by the npm package, or by hand.
#![cfg(all(feature = "deadpool-postgres-0_14", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use polystore_kv::{Entry, Error, ErrorKind, Expiry, Result, Store, Timestamp, kv};
use polystore_servers::Postgres;

/// One server for all of these tests; each has tables of its own.
fn server() -> Option<&'static Postgres> {
    static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
    SERVER.get_or_init(Postgres::start).as_ref()
}

fn store(server: &Postgres, query: &str) -> Store {
    kv(server.url_with(&format!("sslmode=disable&{query}"))).unwrap()
}

fn fails<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("that should fail"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn the_table_is_made_as_npm_makes_it_and_keys_are_in_the_order_of_bytes() {
    let Some(server) = server() else { return };
    let store = store(server, "table=made");
    store.set("a", &1).expires("1h").await.unwrap();
    let columns = server.sql(
        "select column_name, data_type, is_nullable, coalesce(collation_name, '') \
         from information_schema.columns where table_name = 'made' order by ordinal_position",
    );
    assert_eq!(
        columns,
        [
            "id|text|NO|C",
            "value|text|NO|",
            "expires_at|timestamp with time zone|YES|"
        ]
    );
    let indexes =
        server.sql("select indexname from pg_indexes where tablename = 'made' order by 1");
    assert_eq!(indexes, ["idx_made_expires_at", "made_pkey"]);
    assert_eq!(server.sql("select id, value from made"), ["a|1"]);
}

#[tokio::test]
async fn many_processes_can_start_at_once() {
    let Some(server) = server() else { return };
    for round in 0..3 {
        let query = format!("table=started_{round}");
        // npm makes it too, without our lock.
        let making = server.sql("select 1");
        assert_eq!(making, ["1"]);
        let stores = (0..12).map(|_| store(server, &query));
        let stores: Vec<Store> = stores.collect();
        let writes = stores.iter().enumerate();
        let writes = writes.map(|(n, store)| async move { store.set(&n.to_string(), &n).await });
        try_join_all(writes).await.unwrap();
        assert_eq!(stores[0].keys().await.unwrap().len(), 12);
    }
}

#[tokio::test]
async fn a_table_in_a_schema_is_used_without_the_right_to_make_one() {
    let Some(server) = server() else { return };
    server.sql("create role reader login password 'x'");
    server.sql("create schema app");
    let make =
        "create table app.there (id text primary key, value text not null, expires_at timestamptz)";
    server.sql(make);
    server.sql("grant usage on schema app to reader");
    server.sql("grant select, insert, update, delete on app.there to reader");
    let url = server.url_as("reader", "x");
    let store = kv(format!("{url}?sslmode=disable&table=app.there")).unwrap();
    store.set("a", &1).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), Some(1));
    assert_eq!(store.keys().await.unwrap(), ["a"]);
    store.clear().await.unwrap();
    assert_eq!(store.keys().await.unwrap().len(), 0);

    let absent = kv(format!("{url}?sslmode=disable&table=app.absent")).unwrap();
    let error = fails(absent.get::<u32>("a").await);
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(error.to_string().contains("app.absent"), "{error}");
    let error = fails(
        self::store(server, "table=nowhere.kv")
            .get::<u32>("a")
            .await,
    );
    assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error:?}");
}

#[tokio::test]
async fn a_table_of_the_older_layout_is_used_as_it_is() {
    let Some(server) = server() else { return };
    server.sql(
        "create table older (id text primary key, value text not null, \"expiresAt\" timestamp, more int default 7)",
    );
    let now = "now() at time zone 'utc'";
    server.sql(&format!(
        "insert into older values ('theirs', '1', {now} + interval '1 hour'), ('over', '2', {now} - interval '1 second')"
    ));
    let store = store(server, "table=older&options=-c%20TimeZone%3DAsia/Tokyo");
    assert_eq!(
        store.all::<u32>().await.unwrap(),
        [("theirs".to_owned(), 1)].into()
    );
    let left = store
        .ttl("theirs")
        .await
        .unwrap()
        .unwrap()
        .as_duration()
        .unwrap();
    assert!(
        left > Duration::from_secs(3590) && left <= Duration::from_secs(3601),
        "{left:?}"
    );

    let at = Timestamp::from_millis(Timestamp::now().as_millis() + 7_200_123);
    let entry = Entry::new(&3, Expiry::At(at)).unwrap();
    store.put("ours", entry.clone()).await.unwrap();
    assert_eq!(store.entry("ours").await.unwrap(), Some(entry));
    let left = server.sql(&format!(
        "select round(extract(epoch from \"expiresAt\" - {now}) / 10) from older where id = 'ours'"
    ));
    assert_eq!(left, ["720"]);
    assert!(store.touch("ours", "1h").await.unwrap());
    assert!(!store.insert("ours", &4).await.unwrap());
    assert!(!store.replace("over", &4).await.unwrap());
    assert!(store.insert("over", &4).await.unwrap());
    assert_eq!(store.prune().await.unwrap(), 0);
    assert_eq!(store.keys().await.unwrap(), ["ours", "over", "theirs"]);
}

#[tokio::test]
async fn a_table_that_cannot_hold_entries_is_a_data_error_that_says_why() {
    let Some(server) = server() else { return };
    server.sql("create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)");
    for (number, (columns, why)) in [
        ("id text primary key, value text", "expires_at"),
        ("id text primary key, expires_at timestamptz", "value"),
        ("id text, value text, expires_at timestamptz", "unique"),
        (
            "id int primary key, value text, expires_at timestamptz",
            "integer",
        ),
        (
            "id text primary key, value jsonb, expires_at timestamptz",
            "jsonb",
        ),
        (
            "id text primary key, value text, expires_at bigint",
            "bigint",
        ),
        (
            "id text collate loose primary key, value text, expires_at timestamptz",
            "collation",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        server.sql(&format!("create table unfit{number} ({columns})"));
        let store = store(server, &format!("table=unfit{number}"));
        let error = fails(store.get::<u32>("a").await);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{columns}: {error:?}");
        assert!(error.to_string().contains(why), "{columns}: {error}");
        assert!(!error.is_retryable());
    }
    server
        .sql("create view looks as select ''::text as id, ''::text as value, now() as expires_at");
    let error = fails(store(server, "table=looks").set("a", &1).await);
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");

    server.sql("create database latin encoding 'LATIN1' locale 'C' template template0");
    let latin = kv(format!("{}?sslmode=disable", server.database_url("latin"))).unwrap();
    let error = fails(latin.get::<u32>("a").await);
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(error.to_string().contains("LATIN1"), "{error}");
}

#[tokio::test]
async fn prefixes_use_an_index_whatever_the_collation() {
    let server = Postgres::builder()
        .setting("session_preload_libraries", "auto_explain")
        .setting("auto_explain.log_min_duration", "0");
    let Some(server) = server.start() else { return };
    let columns = "value text not null, expires_at timestamptz";
    for (table, make, gets_index) in [
        ("ours", "", false),
        (
            "npms",
            "create table npms (id text primary key, COLUMNS)",
            true,
        ),
        (
            "pattern",
            "create table pattern (id text primary key, COLUMNS); \
             create index on pattern (id text_pattern_ops)",
            false,
        ),
        (
            "posix",
            "create table posix (id text collate \"POSIX\" primary key, COLUMNS)",
            false,
        ),
    ] {
        let store = kv(server.url_with(&format!("sslmode=disable&table={table}"))).unwrap();
        let indexes = || {
            server.sql(&format!(
                "select indexname from pg_indexes where tablename = '{table}'"
            ))
        };
        if make.is_empty() {
            store.capabilities().await.unwrap();
        } else {
            server.sql(&make.replace("COLUMNS", columns));
        }
        let before = indexes().len();
        let keys = (0..20_000).map(|n| (format!("k{n:05}"), n));
        store.set_many(keys).await.unwrap();
        store.set("K00017", &0).await.unwrap();
        assert_eq!(indexes().len(), before + usize::from(gets_index), "{table}");
        server.sql(&format!("analyze {table}"));

        let log = server.log().len();
        for _ in 0..8 {
            // More often than the server makes a new plan each time.
            let keys = store.prefix("k0001").keys().await.unwrap();
            assert_eq!(keys, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
            assert_eq!(store.prefix("k0001").all::<u32>().await.unwrap().len(), 10);
        }
        store.prefix("k0001").prune().await.unwrap();
        store.prefix("k0001").clear().await.unwrap();
        store.get::<u32>("k00020").await.unwrap();
        let log = server.log().split_off(log);
        let plans = log.matches("plan:").count();
        assert!(plans >= 19, "{table}: {plans} plans in the log");
        assert!(log.contains("Index"), "{table}: {log}");
        let whole = format!("Seq Scan on {table}");
        assert!(!log.contains(&whole), "{table}: {log}");
        assert_eq!(store.prefix("k").keys().await.unwrap().len(), 19_990);
    }
}

#[tokio::test]
async fn clear_touches_no_other_table_and_no_other_prefix() {
    let Some(server) = server() else { return };
    let (left, right) = (
        store(server, "table=left_one"),
        store(server, "table=right_one"),
    );
    for key in ["a:1", "a:2", "a%3", "A:1", "a;", "a", "b"] {
        left.set(key, &1).await.unwrap();
        right.set(key, &1).await.unwrap();
    }
    left.prefix("a:").clear().await.unwrap();
    assert_eq!(left.keys().await.unwrap(), ["A:1", "a", "a%3", "a;", "b"]);
    left.clear().await.unwrap();
    assert_eq!(left.keys().await.unwrap().len(), 0);
    assert_eq!(right.keys().await.unwrap().len(), 7);
    // Not dropped, nor truncated.
    assert_eq!(server.sql("select count(*) from left_one"), ["0"]);
}

#[tokio::test]
async fn what_one_row_may_not_have_fails_alone() {
    let Some(server) = server() else { return };
    server.sql(
        "create table strict (id text primary key, value text not null check (value <> '\"secret\"'), \
         expires_at timestamptz)",
    );
    let store = store(server, "table=strict");
    store.set("warm", &1).await.unwrap();
    let sets = (0..50).map(|n| {
        let store = store.clone();
        async move {
            let value = if n == 25 { "secret" } else { "fine" };
            store.set(&n.to_string(), value).await
        }
    });
    let done = join_all(sets).await;
    for (n, done) in done.into_iter().enumerate() {
        match done {
            Ok(()) => assert_ne!(n, 25),
            Err(error) => {
                assert_eq!(n, 25);
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                assert!(!error.is_maybe_applied());
                assert!(!format!("{error:?}").contains("secret"), "{error:?}");
            }
        }
    }
    assert_eq!(store.keys().await.unwrap().len(), 50);
    let error = fails(store.set_many([("x", "fine"), ("y", "secret")]).await);
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    assert!(!store.has("x").await.unwrap(), "a part of it was done");
}

#[tokio::test]
async fn what_triggers_and_policies_refuse_fails_alone_and_shows_no_value() {
    let Some(server) = server() else { return };
    let store = store(server, "table=guarded");
    store.set("k 0", &1).await.unwrap();
    server.sql(
        "create function guard() returns trigger language plpgsql as $$ begin \
         if new.id like 'raise %' then raise exception 'not % %', new.id, new.value \
         using errcode = substr(new.id, 7); end if; return new; end $$",
    );
    server.sql("create trigger g before insert on guarded for each row execute function guard()");
    server.sql("create role guarded_one login");
    server.sql("grant all on guarded to guarded_one");
    server.sql("alter table guarded enable row level security");
    server.sql("create policy p on guarded to guarded_one using (id not like 'policy%')");
    let url = server.url_as("guarded_one", "x");
    let store = kv(format!("{url}?table=guarded")).unwrap();
    store.set("k 0", &1).await.unwrap();
    for (bad, kind) in [
        ("raise KV001", ErrorKind::Corrupt),
        ("raise 55000", ErrorKind::Corrupt),
        ("raise 54000", ErrorKind::InvalidValue),
        ("raise 42501", ErrorKind::Denied),
        ("policy", ErrorKind::Denied),
    ] {
        let keys = (0..20).map(|n| {
            if n == 7 {
                bad.to_owned()
            } else {
                format!("k {n}")
            }
        });
        let sets = keys.map(|key| {
            let store = store.clone();
            async move { store.set(&key, "secret").await }
        });
        for (n, done) in join_all(sets).await.into_iter().enumerate() {
            if n != 7 {
                done.unwrap();
                continue;
            }
            let error = fails(done);
            assert_eq!(error.kind(), kind, "{bad}: {error:?}");
            assert!(!error.is_retryable() && !error.is_maybe_applied(), "{bad}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{bad}");
        }
    }
}

#[tokio::test]
async fn a_key_that_a_column_would_cut_is_refused_and_alone() {
    let Some(server) = server() else { return };
    server.sql("create table short (id varchar(5) primary key, value text not null, expires_at timestamptz)");
    let store = store(server, "table=short");
    // The server cuts off spaces without a word.
    let keys = ["ééééé", "abcde", "abcde ", "abcdef", "b"];
    let sets = join_all(keys.map(|key| async { store.set(key, key).await })).await;
    for (key, set) in keys.into_iter().zip(sets) {
        let fits = key.chars().count() <= 5;
        match set {
            Ok(()) => assert!(fits, "{key}"),
            Err(error) => assert!(!fits && error.kind() == ErrorKind::InvalidKey, "{error:?}"),
        }
    }
    let error = fails(
        store
            .insert("b    ", &1)
            .await
            .and(store.insert("c     ", &1).await),
    );
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    let error = fails(store.replace("abcde ", &1).await);
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    let abcde = store.get::<String>("abcde").await.unwrap();
    assert_eq!(abcde.as_deref(), Some("abcde"));
    store.del("abcde ").await.unwrap();
    assert_eq!(
        store.keys().await.unwrap(),
        ["abcde", "b", "b    ", "ééééé"]
    );
}

#[tokio::test]
async fn the_longest_key_fits_whatever_is_in_it() {
    let Some(server) = server() else { return };
    server.sql(
        "create table theirs (id text primary key, value text not null, expires_at timestamptz)",
    );
    for query in ["table=longest", "table=theirs"] {
        let store = store(server, query);
        let most = store.capabilities().await.unwrap().max_key_bytes.unwrap();
        // Characters in no order: the server cannot make it shorter.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let random = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(33 + u8::try_from(state % 94).unwrap())
        });
        let key: String = random.take(most).collect();
        store.set(&key, &1).await.unwrap();
        assert_eq!(store.keys().await.unwrap(), [&*key]);
        let error = fails(store.set(&(key + "x"), &1).await);
        assert_eq!(error.kind(), ErrorKind::InvalidKey);
    }
}

#[tokio::test]
async fn statements_survive_changes_of_the_table_and_discard_all() {
    let Some(server) = server() else { return };
    let store = store(server, "table=changing&application_name=changing");
    for round in 0..8 {
        store.set("a", &round).expires("1h").await.unwrap();
        assert_eq!(store.get("a").await.unwrap(), Some(round));
        store.entry("a").await.unwrap().unwrap();
        store.keys().await.unwrap();
        match round {
            2 => drop(server.sql("alter table changing add column more int")),
            3 => drop(server.sql("alter table changing alter column value type varchar")),
            4 => drop(server.sql("alter table changing drop column more")),
            5 => drop(server.sql("drop table changing")),
            6 => drop(server.sql(
                "alter table changing rename to gone; create table changing (id text primary key, \
                 value text not null, \"expiresAt\" timestamp)",
            )),
            _ => {}
        }
    }
    let (client, connection) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    // Another store on a client whose session somebody resets: the pool runs this on each way back.
    drop(client);
    let config: tokio_postgres::Config = server.url().parse().unwrap();
    let manager = deadpool_postgres::Manager::from_config(
        config,
        tokio_postgres::NoTls,
        deadpool_postgres::ManagerConfig {
            recycling_method: deadpool_postgres::RecyclingMethod::Custom("discard all".into()),
        },
    );
    let pool = deadpool_postgres::Pool::builder(manager)
        .max_size(2)
        .build()
        .unwrap();
    let store = kv(pool).unwrap();
    for round in 0..5 {
        store.set("a", &round).await.unwrap();
        assert_eq!(store.get("a").await.unwrap(), Some(round));
    }
    store.clear().await.unwrap();
}
