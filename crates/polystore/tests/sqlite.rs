//! SQLite stores as a program uses them: on real files, beside other programs.
#![cfg(all(feature = "sqlite", not(target_family = "wasm")))]
#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use futures_util::future::join_all;
use polystore_kv::{Entry, ErrorKind, Expiry, Result, Scan, Store, Timestamp, kv};
use rusqlite::Connection;
use tempfile::TempDir;

/// npm's layout, as its package makes it.
const TABLE: &str =
    "CREATE TABLE kv (id TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER)";

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("app.db")
    }

    fn store(&self, options: &str) -> Store {
        kv(format!("sqlite:{}{options}", self.path().display())).unwrap()
    }

    fn bare(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// A database that holds what `sql` makes.
    fn with(sql: &str) -> Self {
        let place = Self::new();
        place.bare().execute_batch(sql).unwrap();
        place
    }
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("that should fail"),
        Err(error) => error.kind(),
    }
}

fn in_millis(millis: i64) -> Expiry {
    Expiry::At(Timestamp::from_millis(
        Timestamp::now().as_millis() + millis,
    ))
}

#[test]
fn the_layout_is_npms() {
    let place = Place::new();
    let store = place.store("");
    block_on(async {
        store.set("user:1", &("Ada", 36)).await?;
        store.set("é\"'", &[0.1]).expires("1h").await?;
        store.close().await
    })
    .unwrap();
    let db = place.bare();
    let mut schema = db
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC")
        .unwrap();
    let schema: Vec<String> = schema
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    assert_eq!(
        schema,
        [
            "CREATE TABLE \"kv\" (id TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER)",
            "CREATE INDEX \"idx_kv_expires_at\" ON \"kv\" (expires_at)",
        ]
    );
    let mut rows = db
        .prepare(
            "SELECT id, value, typeof(value), typeof(expires_at), expires_at FROM kv ORDER BY id",
        )
        .unwrap();
    let rows: Vec<(String, String, String, String, Option<i64>)> = rows
        .query_map([], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
            ))
        })
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    let text = |text: &str| text.to_owned();
    let never = (
        text("user:1"),
        text("[\"Ada\",36]"),
        text("text"),
        text("null"),
        None,
    );
    assert_eq!(rows[0], never);
    assert_eq!(rows[1].0, "é\"'");
    assert_eq!((&rows[1].1[..], &rows[1].3[..]), ("[0.1]", "integer"));
    let left = rows[1].4.unwrap() - Timestamp::now().as_millis();
    assert!((3_590_000..=3_600_000).contains(&left), "{left}");
}

#[test]
fn what_npm_wrote_reads() {
    let later = Timestamp::now().as_millis() + 60_000;
    let place = Place::with(&format!(
        "{TABLE}; CREATE INDEX idx_kv_expires_at ON kv (expires_at);
         INSERT INTO kv VALUES ('a', '{{\n  \"b\": 1\n}}', NULL), ('fraction', '1', {later}.25),
         ('over', '2', 1700000000000.5), ('far', '3', 1e300)"
    ));
    let store = place.store("");
    block_on(async {
        let a: Option<serde_json::Value> = store.get("a").await?;
        assert_eq!(a.unwrap()["b"], 1);
        let fraction = store.entry("fraction").await?.unwrap();
        assert_eq!(
            fraction.expiry(),
            Expiry::At(Timestamp::from_millis(later + 1))
        );
        let far = store.entry("far").await?.unwrap();
        assert_eq!(far.expiry(), Expiry::At(Timestamp::MAX));
        assert_eq!(store.keys().await?, ["a", "far", "fraction"]);
        assert!(store.prune().await? <= 1);
        Ok::<(), polystore_kv::Error>(())
    })
    .unwrap();
}

#[test]
fn tables_of_other_makes_are_used_as_they_are() {
    for table in [
        "CREATE TABLE kv (id TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER) WITHOUT ROWID",
        "CREATE TABLE kv (n INTEGER PRIMARY KEY, ID VARCHAR(255) UNIQUE, Value TEXT, expires_at REAL)",
        "CREATE TABLE kv (id TEXT, value TEXT, expires_at BIGINT, more TEXT DEFAULT 'x'); \
         CREATE UNIQUE INDEX ids ON kv (id)",
        "CREATE TABLE kv (id TEXT PRIMARY KEY, value TEXT, expires_at INTEGER) STRICT",
    ] {
        let place = Place::with(table);
        let schema = || -> String {
            place
                .bare()
                .query_row("SELECT group_concat(sql) FROM sqlite_schema", [], |row| {
                    row.get(0)
                })
                .unwrap()
        };
        let before = schema();
        let store = place.store("");
        block_on(async {
            let users = store.prefix("user:");
            users.set("1", &1).await?;
            users.set("1", &2).expires("1h").await?;
            users.put("2", Entry::new(&3, in_millis(30))?).await?;
            store.set("other", &4).await?;
            assert_eq!(users.entries::<i32>().await?.len(), 2, "{table}");
            assert!(!users.insert("1", &5).await?);
            thread::sleep(Duration::from_millis(40));
            assert!(users.insert("2", &5).expires("10ms").await?);
            thread::sleep(Duration::from_millis(20));
            // Unless it has left by itself.
            assert!(users.prune().await? <= 1, "{table}");
            assert!(users.touch("1", "10ms").await?);
            thread::sleep(Duration::from_millis(20));
            assert_eq!(store.keys().await?, ["other"]);
            users.clear().await?;
            assert_eq!(store.get::<i32>("other").await?, Some(4));
            store.close().await
        })
        .unwrap();
        assert_eq!(schema(), before);
    }
}

#[test]
fn keys_are_bytes_where_the_table_ignores_case() {
    let place = Place::with(
        "CREATE TABLE kv (id TEXT COLLATE NOCASE PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER);
         INSERT INTO kv VALUES ('User:1', '1', NULL), ('user:2', '2', NULL), ('b', '3', NULL)",
    );
    let store = place.store("");
    block_on(async {
        assert_eq!(store.keys().await?, ["User:1", "b", "user:2"]);
        assert_eq!(store.prefix("user:").keys().await?, ["2"]);
        assert_eq!(store.get::<i32>("user:1").await?, None);
        assert!(!store.has("user:1").await?);
        store.del("user:1").await?;
        assert!(!store.touch("user:1", "1h").await?);
        assert!(!store.replace("user:1", &9).await?);
        assert_eq!(store.get::<i32>("User:1").await?, Some(1));
        // The table cannot hold both: an error, not a value that cannot be read again.
        assert_eq!(kind(store.set("user:1", &9).await), ErrorKind::InvalidKey);
        assert_eq!(
            kind(store.insert("user:1", &9).await),
            ErrorKind::InvalidKey
        );
        assert_eq!(store.get::<i32>("User:1").await?, Some(1));
        assert!(!store.insert("User:1", &9).await?);
        store.prefix("user").clear().await?;
        assert_eq!(store.keys().await?, ["User:1", "b"]);
        Ok::<(), polystore_kv::Error>(())
    })
    .unwrap();
}

#[test]
fn what_is_no_such_table_is_a_data_error_that_says_why() {
    for (sql, why) in [
        (
            "CREATE TABLE kv (id TEXT PRIMARY KEY, v TEXT)",
            "value, expires_at",
        ),
        (
            "CREATE TABLE kv (id TEXT, value TEXT, expires_at INTEGER)",
            "unique",
        ),
        (
            "CREATE TABLE kv (id INTEGER PRIMARY KEY, value TEXT, expires_at INTEGER)",
            "id is",
        ),
        (
            "CREATE TABLE kv (id TEXT PRIMARY KEY, value JSON, expires_at INTEGER)",
            "value is",
        ),
        (
            "CREATE TABLE kv (id TEXT PRIMARY KEY, value TEXT, expires_at TEXT)",
            "expires_at is",
        ),
        (
            "CREATE VIEW kv AS SELECT 1 AS id, 2 AS value, 3 AS expires_at",
            "view",
        ),
        (
            "PRAGMA encoding = 'UTF-16'; CREATE TABLE kv (id TEXT PRIMARY KEY, value TEXT, expires_at INTEGER)",
            "UTF-8",
        ),
    ] {
        let place = Place::with(sql);
        let before = fs::read(place.path()).unwrap();
        let error = block_on(place.store("").get::<i32>("a")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert!(fs::read(place.path()).unwrap() == before);
    }
}

#[test]
fn rows_that_are_no_entries_are_errors_of_get_and_skipped_by_listings() {
    let place = Place::with(&format!(
        "{TABLE};
         INSERT INTO kv VALUES ('blob', x'31', NULL), ('number', 1, 'soon'), ('not json', '!', NULL),
         (NULL, '1', NULL), (x'62', '1', NULL), (CAST(x'ff' AS TEXT), '1', NULL), ('z', '1', NULL)"
    ));
    let store = place.store("");
    block_on(async {
        for key in ["blob", "number", "not json"] {
            let error = store.get::<i32>(key).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert_eq!(error.key(), Some(key));
        }
        assert_eq!(store.entries::<i32>().await?, [("z".to_owned(), 1)]);
        assert_eq!(store.get::<i32>("b").await?, None);
        store.set("blob", &2).await?;
        assert_eq!(store.get::<i32>("blob").await?, Some(2));
        store.clear().await
    })
    .unwrap();
    let left: i64 = place
        .bare()
        .query_row("SELECT count(*) FROM kv", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn what_is_no_database_is_left_as_it_is() {
    let long = "no database at all. ".repeat(1000);
    let mut damaged = {
        let place = Place::new();
        block_on(async {
            let store = place.store("");
            store.set("a", &1).await.unwrap();
            store.close().await.unwrap();
        });
        fs::read(place.path()).unwrap()
    };
    damaged.truncate(5000);
    damaged[100..].fill(7);
    for bytes in [
        b"{}".to_vec(),
        b"hello".to_vec(),
        long.into_bytes(),
        damaged,
    ] {
        let place = Place::new();
        fs::write(place.path(), &bytes).unwrap();
        let store = place.store("");
        assert_eq!(kind(block_on(store.get::<i32>("a"))), ErrorKind::Corrupt);
        assert_eq!(kind(block_on(store.set("a", &1))), ErrorKind::Corrupt);
        assert_eq!(kind(block_on(store.clear())), ErrorKind::Corrupt);
        assert!(fs::read(place.path()).unwrap() == bytes);
        assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_folder_is_no_database_and_a_missing_folder_is_made() {
    let place = Place::new();
    fs::create_dir(place.path()).unwrap();
    let error = block_on(place.store("").get::<i32>("a")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("folder"), "{error}");

    let deep = place.0.path().join("a b/ä/:memory:");
    let store = kv(format!("sqlite:{}", deep.display())).unwrap();
    assert!(!deep.parent().unwrap().exists(), "nothing is opened yet");
    block_on(store.set("a", &1)).unwrap();
    assert!(deep.exists());
}

#[test]
fn a_failed_attempt_to_open_is_followed_by_another() {
    let place = Place::new();
    fs::write(place.path(), "no database").unwrap();
    let store = place.store("");
    assert_eq!(kind(block_on(store.set("a", &1))), ErrorKind::Corrupt);
    fs::remove_file(place.path()).unwrap();
    block_on(store.set("a", &1)).unwrap();
    assert_eq!(block_on(store.get::<i32>("a")).unwrap(), Some(1));
}

#[test]
fn a_read_only_file_is_read() {
    for mode in ["DELETE", "WAL"] {
        let place = Place::with(&format!(
            "PRAGMA journal_mode = {mode}; {TABLE}; INSERT INTO kv VALUES ('a', '1', NULL)"
        ));
        let mut permissions = fs::metadata(place.path()).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(place.path(), permissions).unwrap();
        let before = fs::read(place.path()).unwrap();
        let store = place.store("");
        block_on(async {
            assert_eq!(store.get::<i32>("a").await.unwrap(), Some(1));
            assert_eq!(store.keys().await.unwrap(), ["a"]);
            assert_eq!(kind(store.set("a", &2).await), ErrorKind::ReadOnly);
            assert_eq!(kind(store.set_many([("a", 2)]).await), ErrorKind::ReadOnly);
            assert_eq!(kind(store.del("a").await), ErrorKind::ReadOnly);
            assert_eq!(kind(store.clear().await), ErrorKind::ReadOnly);
            assert_eq!(kind(store.prune().await), ErrorKind::ReadOnly);
            assert_eq!(store.get::<i32>("a").await.unwrap(), Some(1));
            store.close().await.unwrap();
        });
        assert!(fs::read(place.path()).unwrap() == before);
        let other = place.store("?table=other");
        assert_eq!(kind(block_on(other.get::<i32>("a"))), ErrorKind::ReadOnly);
    }
}

#[test]
fn a_locked_database_is_waited_for_until_the_timeout() {
    let place = Place::new();
    for options in ["?timeout=300ms", "?timeout=300ms&sync=normal"] {
        let store = place.store(options);
        block_on(store.set("a", &1)).unwrap();
        block_on(store.set("a", &1)).unwrap();
        let other = place.bare();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();

        let begun = Instant::now();
        let error = block_on(store.set("a", &2)).unwrap_err();
        let waited = begun.elapsed();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        assert!(error.is_retryable() && !error.is_maybe_applied());
        assert!(waited >= Duration::from_millis(290), "{waited:?}");
        assert!(waited < Duration::from_secs(5), "{waited:?}");
        // Readers are in nobody's way.
        assert_eq!(block_on(store.get::<i32>("a")).unwrap(), Some(1));

        let frees = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            other.execute_batch("COMMIT").unwrap();
        });
        block_on(store.set("a", &3)).unwrap();
        frees.join().unwrap();
        assert_eq!(block_on(store.get::<i32>("a")).unwrap(), Some(3));
    }
}

#[test]
fn readers_wait_too_where_there_is_no_write_ahead_log() {
    let place = Place::with(&format!("{TABLE}; INSERT INTO kv VALUES ('a', '1', NULL)"));
    let store = place.store("?timeout=300ms");
    assert_eq!(block_on(store.get::<i32>("a")).unwrap(), Some(1));
    let other = place.bare();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_eq!(kind(block_on(store.get::<i32>("a"))), ErrorKind::Timeout);
    assert_eq!(kind(block_on(store.keys())), ErrorKind::Timeout);
    let frees = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        other.execute_batch("COMMIT").unwrap();
    });
    assert_eq!(block_on(store.get::<i32>("a")).unwrap(), Some(1));
    frees.join().unwrap();
}

#[test]
fn many_may_make_the_table_at_once() {
    let place = Place::new();
    let stores: Vec<Store> = (0..8).map(|_| place.store("")).collect();
    let writers: Vec<_> = stores
        .into_iter()
        .enumerate()
        .map(|(n, store)| {
            thread::spawn(move || {
                block_on(async {
                    for i in 0..20 {
                        store.set(&format!("{n} {i}"), &i).await?;
                    }
                    store.close().await
                })
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap().unwrap();
    }
    assert_eq!(block_on(place.store("").keys()).unwrap().len(), 160);
}

#[test]
fn tasks_of_many_threads_lose_nothing() {
    for options in ["", "?sync=normal"] {
        let place = Place::new();
        let store = place.store(options);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .build()
            .unwrap();
        let tasks = (0..64).map(|task| {
            let store = store.clone();
            runtime.spawn(async move {
                let own = store.prefix(format!("{task}:"));
                for n in 0..50 {
                    own.set(&n.to_string(), &n).await?;
                    assert_eq!(own.get::<i32>(&n.to_string()).await?, Some(n));
                    own.set("last", &n).await?;
                }
                assert_eq!(own.get::<i32>("last").await?, Some(49));
                own.del("last").await
            })
        });
        for done in runtime.block_on(join_all(tasks.collect::<Vec<_>>())) {
            done.unwrap().unwrap();
        }
        assert_eq!(block_on(store.keys()).unwrap().len(), 64 * 50);
    }
}

#[test]
fn racing_inserts_have_one_winner_over_two_stores() {
    let place = Place::new();
    let stores = [place.store(""), place.store("?sync=normal")];
    let inserts: Vec<_> = (0..50)
        .map(|n| {
            let store = stores[n % 2].clone();
            thread::spawn(move || block_on(store.insert("lock", &n)).unwrap())
        })
        .collect();
    let won = inserts.into_iter().map(|insert| insert.join().unwrap());
    assert_eq!(won.filter(|won| *won).count(), 1);
}

#[test]
fn two_stores_on_one_file_see_each_others_writes() {
    let place = Place::new();
    let (a, b) = (place.store(""), place.store("?sync=normal"));
    block_on(async {
        for n in 0..50 {
            a.set("n", &n).await?;
            assert_eq!(b.get::<i32>("n").await?, Some(n));
            b.set("n", &-n).await?;
            assert_eq!(a.get::<i32>("n").await?, Some(-n));
        }
        Ok::<(), polystore_kv::Error>(())
    })
    .unwrap();
}

#[test]
fn two_tables_in_one_file_are_two_stores() {
    let place = Place::new();
    let (a, b) = (place.store("?table=a"), place.store("?table=B_2"));
    block_on(async {
        a.set("n", &1).await?;
        b.set("n", &2).await?;
        a.clear().await?;
        assert_eq!(a.get::<i32>("n").await?, None);
        assert_eq!(b.get::<i32>("n").await?, Some(2));
        Ok::<(), polystore_kv::Error>(())
    })
    .unwrap();
}

#[test]
fn prefixes_match_literally() {
    let place = Place::new();
    let store = place.store("");
    let keys = [
        "a%",
        "a%b",
        "a_",
        "a_b",
        "axb",
        "A%b",
        "a*",
        "a?",
        "a[b]",
        "a\\",
        "a\\b",
        "a'b",
        "a\"b",
        "é",
        "e\u{301}",
        "",
        "\0",
        "\0\0",
        "a\0b",
        "a\0",
        "\u{10ffff}",
        "\u{10ffff}x",
        "\u{d7ff}",
        "\u{e000}",
    ];
    block_on(async {
        store.set_many(keys.map(|key| (key, key))).await?;
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        assert_eq!(store.keys().await?, sorted);
        for prefix in keys.iter().chain(&["a", "%", "_", "x"]) {
            let mut wanted: Vec<&str> = keys
                .iter()
                .filter_map(|key| key.strip_prefix(prefix))
                .collect();
            wanted.sort_unstable();
            let sub = store.prefix(prefix);
            assert_eq!(sub.keys().await?, wanted, "{prefix:?}");
        }
        store.prefix("a%").clear().await?;
        let left = store.keys().await?;
        assert_eq!(left.len(), keys.len() - 2);
        assert!(left.iter().all(|key| !key.starts_with("a%")));
        Ok::<(), polystore_kv::Error>(())
    })
    .unwrap();
}

#[test]
fn listings_come_in_pages_of_any_size() {
    let place = Place::new();
    let store = place.store("?sync=normal");
    block_on(async {
        let entries = (0..5_700).map(|n| (format!("k{n:05}"), n));
        store.set_many(entries).await?;
        let large = "x".repeat(700_000);
        for n in 0..5 {
            store.set(&format!("large{n}"), &large).await?;
        }
        for n in (0..5_700).step_by(2) {
            let gone = Entry::new(&n, in_millis(5))?;
            store.put(&format!("k{n:05}"), gone).await?;
        }
        thread::sleep(Duration::from_millis(10));
        let keys = store.keys().await?;
        assert_eq!(keys.len(), 2_850 + 5);
        let values = store.prefix("large").values::<String>().await?;
        assert!(values.len() == 5 && values.iter().all(|value| *value == large));
        let mut page = store.scan(Scan::new().prefix("k").after("k00999").limit(300));
        let mut seen = Vec::new();
        while let Some((key, entry)) = page.try_next().await? {
            seen.push((key, entry.decode::<i32>()?));
        }
        assert_eq!(seen.len(), 300);
        assert_eq!(seen[0], ("k01001".to_owned(), 1001));
        assert_eq!(seen[299].1, 1599);
        let many = store
            .get_many::<i32>(["k00001", "none", "k00000", "k00003"])
            .await?;
        assert_eq!(many.into_values().collect::<Vec<_>>(), [1, 3]);
        Ok::<(), polystore_kv::Error>(())
    })
    .unwrap();
}

#[test]
fn memory_is_one_database_for_all_tasks() {
    for store in [
        kv("sqlite::memory:").unwrap(),
        kv("sqlite::memory:?table=x&sync=full").unwrap(),
    ] {
        let writers: Vec<_> = (0..8)
            .map(|task| {
                let store = store.clone();
                thread::spawn(move || {
                    block_on(async {
                        for n in 0..100 {
                            let key = format!("{task}:{n}");
                            store.set(&key, &n).await.unwrap();
                            assert_eq!(store.get::<i32>(&key).await.unwrap(), Some(n));
                        }
                    });
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        block_on(async {
            assert_eq!(store.keys().await.unwrap().len(), 800);
            assert!(!store.capabilities().await.unwrap().persistent);
        });
        let another = kv("sqlite::memory:").unwrap();
        assert!(block_on(another.keys()).unwrap().is_empty());
    }
}

#[cfg(feature = "rusqlite-0_43")]
#[test]
fn a_connection_of_the_program_is_a_store() {
    let place = Place::with(&format!("{TABLE}; INSERT INTO kv VALUES ('a', '1', NULL)"));
    for db in [place.bare(), Connection::open_in_memory().unwrap()] {
        let persistent = db.path().is_some_and(|path| !path.is_empty());
        let store = kv(db).unwrap();
        block_on(async {
            assert_eq!(store.get::<i32>("a").await?.is_some(), persistent);
            store.set("b", &2).expires("1h").await?;
            store.set_many([("c", 3), ("d", 4)]).await?;
            assert_eq!(store.get::<i32>("b").await?, Some(2));
            assert_eq!(store.prefix("c").keys().await?, [""]);
            assert_eq!(store.capabilities().await?.persistent, persistent);
            store.close().await
        })
        .unwrap();
    }
    let db = place.bare();
    db.execute_batch("BEGIN").unwrap();
    assert_eq!(
        kind(block_on(kv(db).unwrap().get::<i32>("a"))),
        ErrorKind::InvalidOption
    );
}

#[test]
fn urls_and_options_are_checked() {
    for url in [
        "sqlite:",
        "sqlite://",
        "sqlite:dir/",
        "sqlite:a.db?table=",
        "sqlite:a.db?table=a b",
        "sqlite:a.db?table=sqlite_a",
        "sqlite:a.db?table=a%22b",
        "sqlite:a.db?timeout=never",
        "sqlite:a.db?sync=off",
        "sqlite://host/a.db",
    ] {
        let error = kv(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{url}");
    }
    let error = kv("sqlite:a.db?mode=ro").unwrap_err();
    assert!(
        error.to_string().contains("table, timeout, sync"),
        "{error}"
    );
}

#[test]
fn errors_show_no_value() {
    let place = Place::with(
        "CREATE TABLE kv (id TEXT PRIMARY KEY, value TEXT CHECK (length(value) < 5), expires_at INTEGER)",
    );
    let store = place.store("");
    let error = block_on(store.set("a", "hunter2")).unwrap_err();
    assert!(
        !format!("{error}{error:?}").contains("hunter2"),
        "{error:?}"
    );
}

#[cfg(feature = "rusqlite-0_43")]
#[test]
fn a_full_database_says_so_and_goes_on() {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch("PRAGMA max_page_count = 20").unwrap();
    let store = kv(db).unwrap();
    block_on(async {
        store.set("a", &1).await.unwrap();
        let large = "x".repeat(200_000);
        assert_eq!(kind(store.set("b", &large).await), ErrorKind::Full);
        // These share a transaction, which the full disk undoes as a whole.
        let writes = ["c", "d", "e"].map(|key| {
            let value = if key == "d" { &large[..] } else { "small" };
            store.set(key, value)
        });
        let done = join_all(writes).await;
        assert!(done[0].is_ok() && done[2].is_ok(), "{done:?}");
        assert_eq!(done[1].as_ref().unwrap_err().kind(), ErrorKind::Full);
        assert!(store.has("c").await.unwrap() && store.has("e").await.unwrap());
        store.set("a", &3).await.unwrap();
        assert_eq!(store.get::<i32>("a").await.unwrap(), Some(3));
        assert!(!store.has("d").await.unwrap());
    });
}

#[test]
fn a_path_says_what_it_is_and_is_not_decoded() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["100% ?#.db", "a.sqlite", "b.sqlite3"] {
        let store = kv(folder.path().join(name)).unwrap();
        block_on(store.has("a")).unwrap();
        assert_eq!(store.kind(), "sqlite");
        assert!(folder.path().join(name).is_file());
    }
    assert_eq!(kv(folder.path().join("a.json")).unwrap().kind(), "file");
    assert_eq!(kv(folder.path().join("a.txt")).unwrap().kind(), "folder");
}

#[cfg(unix)]
#[test]
fn nothing_is_written_into_a_file_that_is_gone() {
    for options in ["", "?sync=normal"] {
        let place = Place::new();
        let store = place.store(options);
        block_on(async { store.set("a", &1).await }).unwrap();
        for ending in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{ending}", place.path().display()));
        }
        assert_eq!(
            kind(block_on(async { store.set("b", &1).await })),
            ErrorKind::Unreachable
        );
        assert_eq!(kind(block_on(store.keys())), ErrorKind::Unreachable);
        let again = place.store(options);
        block_on(async { again.set("b", &1).await }).unwrap();
        assert_eq!(block_on(again.keys()).unwrap(), ["b"]);
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_databases_place_is_an_error() {
    let place = Place::new();
    let made = std::process::Command::new("mkfifo")
        .arg(place.path())
        .status();
    assert!(made.unwrap().success());
    assert_eq!(
        kind(block_on(place.store("").has("a"))),
        ErrorKind::Unreachable
    );
}
