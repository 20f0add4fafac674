use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use futures_util::TryStreamExt;
use futures_util::future::{join, join_all};
use rusqlite::Connection;
use tempfile::TempDir;

use super::connection::{Config, Database};
use super::table::TableName;
use super::*;
use crate::address::Durability;
use crate::error::ErrorKind;
use crate::scan::successor;

/// A folder of the test's own, and a database in it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("app.db")
    }

    fn bare(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn sqlite(&self, durability: Durability) -> Sqlite {
        let database = Database::open_file(&self.path(), &config(durability)).unwrap();
        of(database)
    }
}

fn config(durability: Durability) -> Config {
    Config {
        table: TableName::new("kv".to_owned()).unwrap(),
        timeout: Duration::from_millis(300),
        durability,
    }
}

fn of(database: Database) -> Sqlite {
    let reads = Arc::new(Blocking::new("test", Arc::new(AnyJob)));
    Sqlite::new(Arc::new(database), reads)
}

fn entry(json: &str) -> Entry {
    Entry::from_stored(json.to_owned(), Expiry::Never)
}

fn expiring(json: &str, in_millis: i64) -> Entry {
    let at = Timestamp::from_millis(Timestamp::now().as_millis() + in_millis);
    entry(json).with_expiry(Expiry::At(at))
}

fn rows(path: &Path) -> i64 {
    let db = Connection::open(path).unwrap();
    db.query_row("SELECT count(*) FROM kv", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn ranges_end_before_the_next_text() {
    for (prefix, end) in [
        ("a", Some("b")),
        ("user:", Some("user;")),
        ("", None),
        ("a\u{10ffff}\u{10ffff}", Some("b")),
        ("\u{10ffff}", None),
        ("\u{d7ff}", Some("\u{e000}")),
        ("\0", Some("\u{1}")),
        ("é%", Some("é&")),
    ] {
        assert_eq!(successor(prefix).as_deref(), end, "{prefix:?}");
    }
}

#[test]
fn table_names_are_plain() {
    for name in ["kv", "_", "A1", "sessions_2"] {
        assert!(TableName::new(name.to_owned()).is_ok(), "{name}");
    }
    for name in [
        "", "1a", "a b", "a\"b", "a;b", "é", "sqlite_x", "SQLite_x", "a.b",
    ] {
        let error = TableName::new(name.to_owned()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{name}");
    }
}

#[test]
fn statements_search_by_index() {
    let place = Place::new();
    let sqlite = place.sqlite(Durability::Full);
    let sql = &sqlite.0.database.sql;
    let db = place.bare();
    for (statement, index) in [
        (&sql.get, "sqlite_autoindex_kv_1 (id=?)"),
        (&sql.has, "sqlite_autoindex_kv_1 (id=?)"),
        (&sql.page, "sqlite_autoindex_kv_1 (id>? AND id<?)"),
        (&sql.page_of_keys, "sqlite_autoindex_kv_1 (id>? AND id<?)"),
        (&sql.due, "sqlite_autoindex_kv_1 (id>? AND id<?)"),
        (&sql.touch, "sqlite_autoindex_kv_1 (id=?)"),
        (&sql.del, "sqlite_autoindex_kv_1 (id=?)"),
        (&sql.del_expired, "sqlite_autoindex_kv_1 (id=?)"),
        (&sql.clear, "sqlite_autoindex_kv_1 (id>? AND id<?)"),
        (&sql.sweep, "idx_kv_expires_at (expires_at<?)"),
        (&sql.first_expiry, "idx_kv_expires_at"),
    ] {
        let mut explained = db
            .prepare(&format!("EXPLAIN QUERY PLAN {statement}"))
            .unwrap();
        let parameters = vec![rusqlite::types::Null; explained.parameter_count()];
        let plan: Vec<String> = explained
            .query_map(rusqlite::params_from_iter(parameters), |row| row.get(3))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        let plan = plan.join("; ");
        assert!(plan.contains(index), "{statement}\n{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{statement}\n{plan}");
    }
}

#[test]
fn writes_that_wait_share_a_transaction() {
    let place = Place::new();
    let sqlite = place.sqlite(Durability::Full);
    let commits = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&commits);
    let mut guard = sqlite.0.database.writer();
    guard
        .as_mut()
        .unwrap()
        .db
        .commit_hook(Some(move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            false
        }))
        .unwrap();
    drop(guard);
    let keys: Vec<String> = (0..640).map(|n| format!("key {n}")).collect();
    block_on(join_all(keys.iter().map(|key| sqlite.set(key, entry("1")))))
        .into_iter()
        .for_each(Result::unwrap);
    let commits = commits.load(std::sync::atomic::Ordering::SeqCst);
    assert!(commits < 20, "{commits} commits");
    assert_eq!(rows(&place.path()), 640);
}

#[test]
fn one_write_that_fails_leaves_the_others_of_its_transaction() {
    let place = Place::new();
    place
        .bare()
        .execute_batch(
            "CREATE TABLE kv (id TEXT PRIMARY KEY, value TEXT NOT NULL CHECK (length(value) < 4), \
             expires_at INTEGER)",
        )
        .unwrap();
    let sqlite = place.sqlite(Durability::Full);
    let many = vec![
        ("many 1".to_owned(), entry("1")),
        ("many 2".to_owned(), entry("1313")),
    ];
    let (before, unlucky, many, after) = block_on(async {
        futures_util::future::join4(
            sqlite.set("before", entry("1")),
            sqlite.set("unlucky", entry("1313")),
            sqlite.set_many(many),
            sqlite.set("after", entry("1")),
        )
        .await
    });
    before.unwrap();
    after.unwrap();
    for error in [unlucky.unwrap_err(), many.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(!format!("{error:?}").contains("1313"), "{error:?}");
    }
    assert_eq!(rows(&place.path()), 2);
}

#[test]
fn a_callers_own_writes_keep_their_order_with_those_of_the_thread() {
    let place = Place::new();
    let sqlite = place.sqlite(Durability::Normal);
    let mut by_callers = 0;
    for round in 0..2000 {
        let last = entry(&round.to_string());
        let write = async {
            match sqlite.set_now("key", last.clone()) {
                Ok(done) => {
                    by_callers += 1;
                    done.unwrap();
                }
                Err(entry) => sqlite.set("key", entry).await.unwrap(),
            }
        };
        block_on(async {
            if round % 3 == 0 {
                // This one waits in the queue when the other begins.
                join(sqlite.set("key", entry("0")), write).await.0.unwrap();
            } else {
                write.await;
            }
        });
        assert_eq!(block_on(sqlite.get("key")).unwrap(), Some(last));
    }
    assert!(by_callers > 100, "{by_callers}");
}

/// Waits until `seen`, or for 20 seconds.
fn until(seen: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if seen() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

#[test]
fn expired_rows_leave_at_rest_whoever_wrote_them() {
    for durability in [Durability::Full, Durability::Normal] {
        let place = Place::new();
        let sqlite = place.sqlite(durability);
        for n in 0..20 {
            let key = n.to_string();
            match sqlite.set_now(&key, expiring("1", 300)) {
                Ok(done) => done.unwrap(),
                Err(entry) => block_on(sqlite.set(&key, entry)).unwrap(),
            }
        }
        block_on(sqlite.set("stays", expiring("1", 600_000))).unwrap();
        assert_eq!(rows(&place.path()), 21);
        assert!(until(|| rows(&place.path()) == 1));
        assert!(block_on(sqlite.get("stays")).unwrap().is_some());
    }
}

#[test]
fn expired_rows_leave_beside_writes_as_fast_as_they_come() {
    let place = Place::new();
    let sqlite = place.sqlite(Durability::Normal);
    for round in 0..60 {
        let entries = (0..1000)
            .map(|n| (format!("{round} {n}"), expiring("1", 50)))
            .collect();
        block_on(sqlite.set_many(entries)).unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    // Looked for once a second, and all of them found.
    assert!(rows(&place.path()) < 40_000, "{}", rows(&place.path()));
    assert!(until(|| rows(&place.path()) == 0));
}

#[test]
fn a_store_that_is_only_read_writes_nothing() {
    let place = Place::new();
    {
        let db = place.bare();
        db.execute_batch(
            "CREATE TABLE kv (id TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER);
             INSERT INTO kv VALUES ('gone', '1', 1), ('here', '2', NULL)",
        )
        .unwrap();
    }
    let before = std::fs::read(place.path()).unwrap();
    let sqlite = place.sqlite(Durability::Full);
    assert!(block_on(sqlite.get("here")).unwrap().is_some());
    let listed: Vec<_> = block_on(sqlite.scan(Scan::new()).try_collect()).unwrap();
    assert_eq!(listed, [("here".to_owned(), entry("2"))]);
    thread::sleep(Duration::from_millis(50));
    block_on(sqlite.close()).unwrap();
    assert!(std::fs::read(place.path()).unwrap() == before);
}

#[test]
fn the_log_stays_short_under_load() {
    for durability in [Durability::Full, Durability::Normal] {
        let place = Place::new();
        let sqlite = Arc::new(place.sqlite(durability));
        let reading = Arc::clone(&sqlite);
        let reader = thread::spawn(move || {
            let mut reads = 0;
            while Arc::strong_count(&reading) > 1 {
                reads += u64::from(reading.get_now("key 1").is_some());
            }
            reads
        });
        let mut longest = 0;
        let log = place.path().with_extension("db-wal");
        for round in 0..100 {
            let keys: Vec<String> = (0..500)
                .map(|n| format!("key {}", n * 97 + round))
                .collect();
            let writes = keys.iter().map(|key| async {
                match sqlite.set_now(
                    key,
                    entry("\"some fifty bytes of a value, as it might be\""),
                ) {
                    Ok(done) => done,
                    Err(entry) => sqlite.set(key, entry).await,
                }
            });
            for done in block_on(join_all(writes)) {
                done.unwrap();
            }
            let bytes = std::fs::metadata(&log).map_or(0, |found| found.len());
            longest = longest.max(bytes);
        }
        println!("{durability:?}: the log had at most {} MB", longest >> 20);
        assert!(longest < 64 << 20, "{longest}");
        drop(sqlite);
        assert!(reader.join().unwrap() > 0);
    }
}

#[test]
fn closing_leaves_one_file() {
    let place = Place::new();
    let sqlite = place.sqlite(Durability::Normal);
    block_on(sqlite.set("a", entry("1"))).unwrap();
    assert!(place.path().with_extension("db-wal").exists());
    block_on(sqlite.close()).unwrap();
    assert!(!place.path().with_extension("db-wal").exists());
    assert_eq!(rows(&place.path()), 1);
    let late = block_on(sqlite.get("a")).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
    let late = block_on(sqlite.set("a", entry("2"))).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
}

#[test]
fn dropping_the_last_handle_closes_too_after_what_has_arrived() {
    let place = Place::new();
    let sqlite = place.sqlite(Durability::Full);
    let stream = sqlite.scan(Scan::new());
    block_on(sqlite.set("a", entry("1"))).unwrap();
    drop(sqlite);
    // The listing is a handle as well.
    let listed: Vec<_> = block_on(stream.try_collect()).unwrap();
    assert_eq!(listed.len(), 1);
    assert!(until(|| !place.path().with_extension("db-wal").exists()));
    assert_eq!(rows(&place.path()), 1);
}

#[test]
fn eviction_takes_only_what_was_seen() {
    let place = Place::new();
    let sqlite = place.sqlite(Durability::Full);
    place
        .bare()
        .execute("INSERT INTO kv VALUES ('a', '1', 4000000000000.25)", [])
        .unwrap();
    let seen = block_on(sqlite.get("a")).unwrap().unwrap();
    assert_eq!(
        seen.expiry(),
        Expiry::At(Timestamp::from_millis(4_000_000_000_001))
    );
    let later = seen
        .clone()
        .with_expiry(Expiry::At(Timestamp::from_millis(4_000_000_000_002)));
    assert!(!block_on(sqlite.evict("a", &later)).unwrap());
    assert!(!block_on(sqlite.evict("a", &entry("2"))).unwrap());
    assert!(!block_on(sqlite.evict("b", &seen)).unwrap());
    assert!(block_on(sqlite.evict("a", &seen)).unwrap());
    assert_eq!(rows(&place.path()), 0);
}

#[test]
fn a_panic_leaves_a_connection_that_works_and_nothing_half_done() {
    let sqlite = of(Database::open_in_memory(&config(Durability::Full)).unwrap());
    let database = &sqlite.0.database;
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        database.read(database.deadline(), |db, _| -> failure::Attempt<()> {
            db.execute_batch("BEGIN; INSERT INTO kv VALUES ('half', '1', NULL)")?;
            panic!("an accident");
        })
    }));
    assert!(panicked.is_err());
    block_on(sqlite.set("a", entry("1"))).unwrap();
    let listed: Vec<_> = block_on(sqlite.scan(Scan::new()).try_collect()).unwrap();
    assert_eq!(listed, [("a".to_owned(), entry("1"))]);
}

#[test]
fn a_reader_that_stays_holds_up_no_writes() {
    let place = Place::new();
    let sqlite = place.sqlite(Durability::Normal);
    block_on(sqlite.set("a", entry("1"))).unwrap();
    let other = place.bare();
    other
        .execute_batch("BEGIN; SELECT count(*) FROM kv")
        .unwrap();
    let large = entry(&format!("\"{}\"", "x".repeat(100_000)));
    let begun = Instant::now();
    let writes = 1000;
    for n in 0..writes {
        block_on(sqlite.set(&n.to_string(), large.clone())).unwrap();
    }
    let each = begun.elapsed() / writes;
    assert!(each < Duration::from_millis(50), "{each:?}");
    other.execute_batch("COMMIT").unwrap();
    for n in 0..100 {
        block_on(sqlite.set(&n.to_string(), entry("1"))).unwrap();
    }
    let log = std::fs::metadata(place.path().with_extension("db-wal")).unwrap();
    assert!(log.len() < 64 << 20, "{}", log.len());
}

#[test]
fn what_says_no_instant_keeps_no_thread_busy() {
    let place = Place::new();
    let sqlite = place.sqlite(Durability::Full);
    place
        .bare()
        .execute("INSERT INTO kv VALUES ('a', '1', 'soon')", [])
        .unwrap();
    block_on(sqlite.set("b", entry("1"))).unwrap();
    block_on(sqlite.set("c", expiring("1", 200))).unwrap();
    assert!(until(|| rows(&place.path()) == 2));
}
