//! What only shows from inside: what waits for the disk, and what damage and panics leave.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_executor::block_on;
use rusty_leveldb::{LdbIterator, WriteBatch};

use super::database::Database;
use super::open::User;
use super::worker::{Job, Worker};
use super::{Level, TIMEOUT};
use crate::address::Durability;
use crate::backend::{Backend, Scan};
use crate::entry::{Entry, Expiry, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::{Store, random};

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("polystore-{}", random::key().unwrap());
        Self(std::env::temp_dir().join(name))
    }

    fn open(&self, durability: Durability) -> Level {
        let level = Level::new(User::of(&self.0).unwrap(), durability);
        let deadline = Instant::now() + TIMEOUT;
        let crew = &level.0.user.crew;
        block_on(crew.ask(|answer| Job::Open(deadline, answer))).unwrap();
        level
    }

    fn store(&self, durability: Durability) -> Store {
        Store::new(std::sync::Arc::new(self.open(durability)))
    }

    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let names = fs::read_dir(&self.0)
            .unwrap()
            .map(|name| name.unwrap().path());
        names
            .filter(|path| path.to_string_lossy().ends_with(ending))
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The database itself, for a folder that no store has open.
fn bare(folder: &Path) -> Database {
    fs::create_dir_all(folder).unwrap();
    Database::new(folder.to_owned())
}

fn put(database: &mut Database, entries: &[(&[u8], &[u8])]) -> Result<()> {
    let mut batch = WriteBatch::default();
    let mut bytes = 0;
    for (key, value) in entries {
        batch.put(key, value);
        bytes += key.len() + value.len();
    }
    database.write(batch, bytes, false)
}

fn contents(database: &mut Database) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    database.read(|database, iterator| {
        let mut found = BTreeMap::new();
        iterator.seek(b"");
        while let Some((key, value)) = iterator.current() {
            found.insert(key.to_vec(), value.to_vec());
            iterator.advance();
        }
        database.check().map(|()| found)
    })?
}

fn text(value: &str) -> Entry {
    Entry::new(value, Expiry::Never).unwrap()
}

/// How often the disk was waited for so far.
fn syncs(level: &Level) -> usize {
    let crew = &level.0.user.crew;
    crew.work(|worker: &Worker| worker.state().database.disk().syncs())
}

#[test]
fn a_write_returns_when_the_disk_has_it_and_gathered_ones_share_that() {
    let folder = Folder::new();
    let full = folder.open(Durability::Full);
    let normal = folder.open(Durability::Normal);
    block_on(full.set("first", text("names the log"))).unwrap();
    for number in 0..10 {
        let key = format!("k{number}");
        let before = syncs(&full);
        block_on(full.set(&key, text("v"))).unwrap();
        assert_eq!(syncs(&full), before + 1, "{number}");
        block_on(normal.set(&key, text("v"))).unwrap();
        assert_eq!(syncs(&full), before + 1, "{number}");
    }
    let before = syncs(&full);
    let many: Vec<_> = (0..500).map(|n| (format!("many{n}"), text("v"))).collect();
    block_on(full.set_many(many)).unwrap();
    assert_eq!(syncs(&full), before + 1);

    // What arrives while the thread is held up is one batch.
    let crew = &full.0.user.crew;
    let (before, answers) = crew.work(|worker| {
        let state = worker.state();
        let send = |number| {
            let (answer, receiver) = futures_channel::oneshot::channel();
            let op = super::write::Op::Set(format!("held{number}"), text("v"));
            crew.send(Job::Write(op, true, answer));
            receiver
        };
        let answers: Vec<_> = (0..64).map(send).collect();
        (state.database.disk().syncs(), answers)
    });
    for answer in answers {
        block_on(answer).unwrap().unwrap();
    }
    // The thread may have taken the first ones alone.
    assert!(syncs(&full) - before <= 2);
}

#[test]
fn a_panic_costs_its_own_operations_and_nothing_that_was_acknowledged() {
    let folder = Folder::new();
    let level = folder.open(Durability::Full);
    block_on(level.set("kept", text("v"))).unwrap();
    let crew = &level.0.user.crew;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        crew.work(|worker| {
            let mut state = worker.state();
            // As one in the middle of a write would leave it.
            let mut batch = WriteBatch::default();
            batch.put(b"half", b"a record");
            state.database.open().unwrap().write(batch, false).unwrap();
            panic!("inside");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(block_on(level.get("kept")).unwrap(), Some(text("v")));
    block_on(level.set("after", text("w"))).unwrap();
    block_on(level.close()).unwrap();
    let again = folder.open(Durability::Full);
    assert_eq!(block_on(again.get("kept")).unwrap(), Some(text("v")));
    assert_eq!(block_on(again.get("after")).unwrap(), Some(text("w")));
}

#[test]
fn what_others_keep_there_is_corrupt_and_left_out_of_listings_and_left_alone() {
    let folder = Folder::new();
    let mut database = bare(&folder.0);
    put(
        &mut database,
        &[
            (b"a", br#"{"expires":null,"value":1}"#),
            (b"b", b"plain text"),
            (b"c\xff", br#"{"expires":null,"value":1}"#),
            (b"d", b"\xff\xfe"),
            (b"e", br#"{"value":1}"#),
            (b"", br#"{"expires":null,"value":"empty"}"#),
        ],
    )
    .unwrap();
    drop(database);
    let store = folder.store(Durability::Full);
    block_on(async {
        assert_eq!(store.keys().await.unwrap(), ["", "a"]);
        assert_eq!(store.get::<String>("").await.unwrap().unwrap(), "empty");
        for key in ["b", "d", "e"] {
            let error = store.get::<u8>(key).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{key}");
        }
        store.clear().await.unwrap();
        assert_eq!(store.keys().await.unwrap(), [""; 0]);
        store.close().await.unwrap();
    });
    let left = contents(&mut bare(&folder.0)).unwrap();
    assert_eq!(left.len(), 4);
}

#[test]
fn what_has_expired_leaves_the_folder_by_itself() {
    let folder = Folder::new();
    let mut database = bare(&folder.0);
    put(&mut database, &[(b"old", br#"{"expires":1,"value":1}"#)]).unwrap();
    drop(database);
    let level = folder.open(Durability::Normal);
    let count = || {
        level.0.user.crew.work(|worker| {
            let mut state = worker.state();
            contents(&mut state.database).unwrap().len()
        })
    };
    let soon = Expiry::At(Timestamp::from_millis(Timestamp::now().as_millis() + 300));
    let short = Entry::new("short", soon).unwrap();
    let many = (0..3000).map(|n| (format!("{n}"), short.clone())).collect();
    block_on(async {
        assert_eq!(level.get("old").await.unwrap().unwrap().json(), "1");
        level.set_many(many).await.unwrap();
        level.set("stays", text("v")).await.unwrap();
    });
    let deadline = Instant::now() + Duration::from_secs(30);
    while count() > 1 {
        assert!(Instant::now() < deadline, "{} are left", count());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(block_on(level.get("stays")).unwrap(), Some(text("v")));
}

/// Fills a folder so that it has tables, and gives what is in it.
fn filled(folder: &Folder) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut database = bare(&folder.0);
    let mut all = BTreeMap::new();
    for round in 0..3_u32 {
        for number in 0..400_u32 {
            let key = format!("{:05}", number * 7919 % 1009);
            let value = format!("{round}:{number}:").repeat(1 + number as usize % 50);
            put(&mut database, &[(key.as_bytes(), value.as_bytes())]).unwrap();
            all.insert(key.into_bytes(), value.into_bytes());
        }
        // A log becomes a table when it is opened.
        database.close();
        database.open().unwrap();
    }
    all
}

#[test]
fn a_flipped_bit_in_a_table_is_an_error_and_never_a_missing_or_an_older_entry() {
    let folder = Folder::new();
    let all = filled(&folder);
    let tables = folder.files(".ldb");
    assert!(!tables.is_empty());
    let mut failures = 0;
    for table in tables {
        let whole = fs::read(&table).unwrap();
        let step = whole.len() / 25;
        for at in (0..whole.len())
            .step_by(step)
            .chain([whole.len() - 48, whole.len() - 1])
        {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&table, &damaged).unwrap();
            let mut database = bare(&folder.0);
            match contents(&mut database) {
                Ok(found) => assert!(found == all, "{at} of {}", table.display()),
                Err(error) => {
                    failures += 1;
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
                }
            }
            // Opened again, it may compact what is damaged: that must remove nothing.
            for _ in 0..5 {
                database.close();
                let _ = database.open();
            }
            drop(database);
            if !table.exists() {
                break;
            }
            fs::write(&table, &whole).unwrap();
            assert!(contents(&mut bare(&folder.0)).unwrap() == all, "{at}");
        }
    }
    assert!(failures > 20, "{failures}");
}

#[test]
fn a_missing_or_shortened_table_is_an_error() {
    let folder = Folder::new();
    let all = filled(&folder);
    let table = folder.files(".ldb").pop().unwrap();
    let whole = fs::read(&table).unwrap();
    for length in [0, 10, 48, whole.len() / 2, whole.len() - 1] {
        fs::write(&table, &whole[..length]).unwrap();
        let error = contents(&mut bare(&folder.0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}: {error:?}");
    }
    fs::remove_file(&table).unwrap();
    let error = contents(&mut bare(&folder.0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    fs::write(&table, &whole).unwrap();
    assert!(contents(&mut bare(&folder.0)).unwrap() == all);
}

#[test]
fn a_compaction_that_fails_loses_nothing() {
    let folder = Folder::new();
    let mut database = bare(&folder.0);
    let mut all = BTreeMap::new();
    let mut damaged = None;
    let mut failures = 0;
    for round in 0..12_u32 {
        for number in 0..100_u32 {
            let key = format!("{number:03}").into_bytes();
            let value = format!("{round}").repeat(100).into_bytes();
            if put(&mut database, &[(&key, &value)]).is_ok() {
                all.insert(key, value);
            }
        }
        database.close();
        failures += u32::from(database.open().is_err());
        if round == 2 {
            let table = folder.files(".ldb").into_iter().min().unwrap();
            let whole = fs::read(&table).unwrap();
            let mut flipped = whole.clone();
            flipped[20] ^= 1;
            fs::write(&table, &flipped).unwrap();
            damaged = Some((table, whole));
        }
    }
    assert!(failures > 0, "nothing was compacted");
    drop(database);
    let (table, whole) = damaged.unwrap();
    assert!(table.exists());
    fs::write(&table, &whole).unwrap();
    assert!(contents(&mut bare(&folder.0)).unwrap() == all);
}

#[test]
fn wherever_a_log_is_cut_off_the_batches_before_that_stay_and_later_ones_are_kept() {
    let folder = Folder::new();
    let mut database = bare(&folder.0);
    let mut sizes = vec![0];
    for number in 0..60_usize {
        let value = vec![b'v'; number * 97];
        put(
            &mut database,
            &[(format!("{number:02}").as_bytes(), &value)],
        )
        .unwrap();
        let log = folder.files(".log").pop().unwrap();
        sizes.push(fs::metadata(log).unwrap().len());
    }
    database.close();
    let log = folder.files(".log").pop().unwrap();
    let saved: Vec<(PathBuf, Vec<u8>)> = folder
        .files("")
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    let length = *sizes.last().unwrap();
    for cut in (0..length).step_by(7001).chain([length - 1, length]) {
        for path in folder.files("") {
            fs::remove_file(path).unwrap();
        }
        for (path, content) in &saved {
            fs::write(path, content).unwrap();
        }
        let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
        file.set_len(cut).unwrap();
        let whole = sizes.iter().filter(|size| **size <= cut).count() - 1;
        // What is written after the crash is there after the next.
        for round in 0..3 {
            let mut database = bare(&folder.0);
            assert_eq!(
                contents(&mut database).unwrap().len(),
                whole + round,
                "{cut}"
            );
            put(&mut database, &[(format!("x{round}").as_bytes(), b"later")]).unwrap();
        }
    }
}

#[test]
fn a_log_that_is_damaged_before_its_end_is_an_error() {
    let folder = Folder::new();
    let mut database = bare(&folder.0);
    for number in 0..100 {
        put(&mut database, &[(format!("{number}").as_bytes(), b"value")]).unwrap();
    }
    database.close();
    let log = folder.files(".log").pop().unwrap();
    let whole = fs::read(&log).unwrap();
    let mut damaged = whole.clone();
    damaged[20] ^= 1;
    fs::write(&log, &damaged).unwrap();
    let error = contents(&mut bare(&folder.0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    fs::write(&log, &whole).unwrap();
    assert_eq!(contents(&mut bare(&folder.0)).unwrap().len(), 100);
}

#[test]
fn a_folder_that_lost_its_beginning_is_not_taken_for_a_new_one() {
    let folder = Folder::new();
    let all = filled(&folder);
    let current = folder.0.join("CURRENT");
    let content = fs::read(&current).unwrap();
    fs::remove_file(&current).unwrap();
    let error = contents(&mut bare(&folder.0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    fs::write(&current, content).unwrap();
    assert!(contents(&mut bare(&folder.0)).unwrap() == all);
}

#[test]
fn large_values_do_not_fill_the_memory_that_is_for_blocks() {
    let folder = Folder::new();
    let level = folder.open(Durability::Normal);
    let value = Entry::new(&"x".repeat(3 << 20), Expiry::Never).unwrap();
    block_on(async {
        for number in 0..30 {
            let key = format!("{number:02}");
            level.set(&key, value.clone()).await.unwrap();
        }
        for _ in 0..2 {
            let mut listing = level.scan(Scan::new());
            let mut found = 0;
            while let Some(entry) = futures_util::StreamExt::next(&mut listing).await {
                assert_eq!(entry.unwrap().1, value);
                found += 1;
                let cached = level
                    .0
                    .user
                    .crew
                    .work(|worker| worker.state().database.disk().large_blocks());
                assert!(cached <= 40 << 20, "{cached}");
            }
            assert_eq!(found, 30);
        }
    });
}

#[test]
fn stores_of_one_folder_share_it_until_the_last_is_closed() {
    let folder = Folder::new();
    let one = folder.open(Durability::Full);
    let other = folder.open(Durability::Normal);
    block_on(one.set("k", text("v"))).unwrap();
    assert_eq!(block_on(other.get("k")).unwrap(), Some(text("v")));
    block_on(one.close()).unwrap();
    block_on(one.close()).unwrap();
    let closed: Error = block_on(one.get("k")).unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
    block_on(other.set("k", text("w"))).unwrap();
    drop(one);
    drop(other);
    let again = folder.open(Durability::Full);
    assert_eq!(block_on(again.get("k")).unwrap(), Some(text("w")));
}
