//! LevelDB stores as a program uses them: on real folders, beside other programs.
#![cfg(all(feature = "level", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_executor::block_on;
use futures_util::future::join_all;
use polystore_kv::{ErrorKind, Result, Store, kv};
use tempfile::TempDir;

const CHILD_FOLDER: &str = "POLYSTORE_TEST_CHILD_FOLDER";

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("db")
    }

    fn store(&self, options: &str) -> Store {
        kv(format!("level:{}{options}", self.path().display())).unwrap()
    }

    fn files(&self, ending: &str) -> usize {
        let names = fs::read_dir(self.path()).unwrap();
        names
            .filter(|name| {
                let name = name.as_ref().unwrap().file_name();
                name.to_string_lossy().ends_with(ending)
            })
            .count()
    }
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("that should fail"),
        Err(error) => error.kind(),
    }
}

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn urls_and_options_are_checked() {
    for url in [
        "level:",
        "level://host/dir",
        "level:dir?sync=fast",
        "level:dir?timeout=never",
        "level:dir?table=kv",
        "level:dir?createIfMissing=false",
    ] {
        assert_eq!(kind(kv(url)), ErrorKind::InvalidOption, "{url}");
    }
    let place = Place::new();
    let path = place.path();
    let odd = path.join("a b").join("ü?");
    let url = format!(
        "level://{}/a%20b/%C3%BC%3F/?sync=normal&timeout=3s",
        path.display()
    );
    let store = kv(url).unwrap();
    assert!(!path.exists(), "nothing is opened yet");
    block_on(async {
        store.set("k", &1).await.unwrap();
        assert!(odd.join("CURRENT").exists());
        let can = store.capabilities().await.unwrap();
        assert!(can.insert && can.touch && can.prune && can.ordered && can.persistent);
        store.close().await.unwrap();
        assert_eq!(kind(store.get::<u8>("k").await), ErrorKind::Closed);
    });
}

#[test]
fn what_is_no_folder_is_an_error_that_names_it() {
    let place = Place::new();
    fs::write(place.path(), "a file").unwrap();
    let error = block_on(place.store("").set("k", &1)).unwrap_err();
    assert!(error.is_connection(), "{error:?}");
    assert!(error.to_string().contains("db"), "{error}");
    assert_eq!(fs::read(place.path()).unwrap(), b"a file");
}

#[test]
fn of_200_000_keys_with_a_tenth_deleted_every_one_reads_right() {
    const KEYS: usize = 200_000;
    let key = |number: usize| format!("key:{:06}", number * 7919 % KEYS);
    let is_deleted = |number: usize| number % 10 == 3;
    let place = Place::new();
    let store = place.store("?sync=normal");
    block_on(async {
        for chunk in 0..KEYS / 5000 {
            let numbers = chunk * 5000..(chunk + 1) * 5000;
            store
                .set_many(numbers.map(|number| (key(number), number)))
                .await
                .unwrap();
        }
        let deleted: Vec<String> = (0..KEYS).filter(|n| is_deleted(*n)).map(key).collect();
        for keys in deleted.chunks(1000) {
            store.del_many(keys).await.unwrap();
        }
        store.close().await.unwrap();

        let store = place.store("?sync=normal");
        let mut wrong = 0;
        for chunk in 0..KEYS / 1000 {
            let numbers: Vec<usize> = (chunk * 1000..(chunk + 1) * 1000).collect();
            let keys: Vec<String> = numbers.iter().map(|number| key(*number)).collect();
            let found = store.get_many::<usize>(&keys).await.unwrap();
            for (key, number) in keys.iter().zip(numbers) {
                let expected = (!is_deleted(number)).then_some(number);
                wrong += usize::from(found.get(key).copied() != expected);
            }
        }
        assert_eq!(wrong, 0);
        for number in (0..KEYS).step_by(97) {
            let expected = (!is_deleted(number)).then_some(number);
            assert_eq!(store.get(&key(number)).await.unwrap(), expected);
        }
        assert_eq!(store.keys().await.unwrap().len(), KEYS / 10 * 9);
        assert_eq!(store.prefix("key:00001").keys().await.unwrap().len(), 9);
        store.close().await.unwrap();
    });
    assert!(place.files(".ldb") > 1, "nothing went into tables");
}

/// Overwrites, deletions, prefixes cleared, the store opened again and again, and several
/// megabytes more than the log holds.
#[test]
fn it_holds_what_a_map_would_through_reopenings_and_compactions() {
    let place = Place::new();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut model: BTreeMap<String, String> = BTreeMap::new();
    let key = |dice: &mut Dice| match dice.roll(50) {
        0 => String::new(),
        1 => "é😀".to_owned(),
        _ => format!("{}:{:03}", dice.roll(5), dice.roll(300)),
    };
    block_on(async {
        let mut store = place.store("?sync=normal");
        for step in 0..20_000_u64 {
            let key = key(&mut dice);
            match dice.roll(1000) {
                0..700 => {
                    let length = usize::try_from(dice.roll(4000)).unwrap();
                    let value = format!("{step}:").repeat(1 + length / 6);
                    store.set(&key, &value).await.unwrap();
                    model.insert(key, value);
                }
                700..850 => {
                    store.del(&key).await.unwrap();
                    model.remove(&key);
                }
                850..900 => {
                    let found = store.get::<String>(&key).await.unwrap();
                    assert_eq!(found.as_ref(), model.get(&key), "{key} at {step}");
                }
                900..950 => {
                    let inserted = store.insert(&key, &step.to_string()).await.unwrap();
                    assert_eq!(inserted, !model.contains_key(&key), "{key} at {step}");
                    model.entry(key).or_insert_with(|| step.to_string());
                }
                950..990 => {
                    let prefix = format!("{}:{}", dice.roll(5), dice.roll(3));
                    let found: BTreeMap<String, String> =
                        store.prefix(&*prefix).all().await.unwrap();
                    let expected = model.range(prefix.clone()..);
                    let expected = expected.take_while(|(key, _)| key.starts_with(&prefix));
                    let expected: Vec<_> = expected
                        .map(|(key, value)| (&key[prefix.len()..], value))
                        .collect();
                    let found: Vec<_> =
                        found.iter().map(|(key, value)| (&key[..], value)).collect();
                    assert!(found == expected, "{prefix} at {step}");
                }
                990..995 => {
                    let prefix = format!("{}:{}", dice.roll(5), dice.roll(3));
                    store.prefix(&*prefix).clear().await.unwrap();
                    model.retain(|key, _| !key.starts_with(&prefix));
                }
                _ => {
                    store.close().await.unwrap();
                    store = place.store("?sync=normal");
                    let found: BTreeMap<String, String> = store.all().await.unwrap();
                    assert!(found == model, "reopened at {step}");
                }
            }
        }
        let found: BTreeMap<String, String> = store.all().await.unwrap();
        assert!(found == model);
        store.close().await.unwrap();
    });
    // Of 25 MB that were written 2 MB are there. What was overwritten has left.
    let bytes: u64 = fs::read_dir(place.path())
        .unwrap()
        .map(|name| name.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < 12_000_000, "{bytes}");
    assert!(place.files(".ldb") > 0, "nothing went into tables");
}

#[test]
fn a_listing_goes_on_while_others_write_and_compact() {
    let place = Place::new();
    let store = place.store("?sync=normal");
    block_on(async {
        let keys = || (0..10_000).map(|number| format!("{number:05}"));
        store.set_many(keys().map(|key| (key, "1"))).await.unwrap();
        let mut listing = store.stream::<String>();
        let mut listed = Vec::new();
        while let Some((key, _)) = listing.try_next().await.unwrap() {
            if listed.len() % 1000 == 0 {
                let filler = "x".repeat(1 << 20);
                for number in 0..3 {
                    store
                        .set(&format!("filler:{number}"), &filler)
                        .await
                        .unwrap();
                }
            }
            listed.push(key);
        }
        listed.retain(|key| !key.starts_with("filler"));
        assert!(listed.into_iter().eq(keys()));
        store.close().await.unwrap();
    });
}

#[test]
fn values_of_many_megabytes_are_kept_and_larger_ones_refused() {
    let place = Place::new();
    let store = place.store("?sync=normal");
    block_on(async {
        let large = "é".repeat(10 << 20);
        store.set("large", &large).await.unwrap();
        store.set("after", &1).await.unwrap();
        store.close().await.unwrap();
        let store = place.store("");
        assert!(store.get::<String>("large").await.unwrap().as_ref() == Some(&large));
        assert_eq!(store.get("after").await.unwrap(), Some(1));
        let too_large = "x".repeat((256 << 20) + 1);
        let refused = store.set("after", &too_large).await;
        assert_eq!(kind(refused), ErrorKind::InvalidValue);
        assert_eq!(store.get("after").await.unwrap(), Some(1));
        store.close().await.unwrap();
    });
}

#[test]
fn a_folder_that_is_removed_while_it_is_open_is_an_error_of_writes() {
    let place = Place::new();
    let store = place.store("");
    block_on(async {
        store.set("k", &1).await.unwrap();
        fs::remove_dir_all(place.path()).unwrap();
        let error = store.set("k", &2).await.unwrap_err();
        assert!(
            error.is_connection() && !error.is_maybe_applied(),
            "{error:?}"
        );
        assert!(store.keys().await.unwrap_err().is_connection());
        store.close().await.unwrap();
        let store = place.store("");
        assert_eq!(store.keys().await.unwrap(), [""; 0]);
        store.close().await.unwrap();
    });
}

#[test]
fn stores_of_the_same_folder_by_whatever_name_share_it() {
    let place = Place::new();
    let link = place.0.path().join("link");
    std::os::unix::fs::symlink(place.path(), &link).unwrap();
    let one = place.store("");
    block_on(async {
        one.set("k", &1).await.unwrap();
        let other = kv(format!("level:{}/../link?timeout=1ms", link.display())).unwrap();
        assert_eq!(other.get("k").await.unwrap(), Some(1));
        other.set("k", &2).await.unwrap();
        one.close().await.unwrap();
        assert_eq!(other.get("k").await.unwrap(), Some(2));
        drop(other);
        // It is closed in the background: whoever opens it now waits for that, or shares it.
        for number in 0..50 {
            let store = place.store("?timeout=1ms");
            store.set("k", &number).await.unwrap();
            assert_eq!(store.get("k").await.unwrap(), Some(number));
            if number % 2 == 0 {
                store.close().await.unwrap();
            }
        }
    });
}

#[test]
fn many_that_open_it_at_once_share_it() {
    let place = Place::new();
    let stores: Vec<Store> = (0..20).map(|_| place.store("")).collect();
    block_on(async {
        let writes = stores.iter().enumerate().map(|(number, store)| async move {
            store.set(&number.to_string(), &number).await.unwrap();
        });
        join_all(writes).await;
        for store in &stores {
            assert_eq!(store.keys().await.unwrap().len(), 20);
        }
    });
}

/// What a child does: opens the folder, says so, and waits to be killed.
#[test]
#[ignore = "the others run it"]
fn child() {
    let folder = std::env::var(CHILD_FOLDER).unwrap();
    let store = kv(format!("level:{folder}")).unwrap();
    block_on(store.set("child", &1)).unwrap();
    println!("\nopen");
    loop {
        std::thread::park();
    }
}

fn child_with(folder: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| line.unwrap());
    assert!(lines.any(|line| line == "open"));
    child
}

#[test]
fn a_folder_that_another_program_has_open_is_refused_in_time() {
    let place = Place::new();
    let mut child = child_with(&place.path());
    let begun = Instant::now();
    let store = place.store("?timeout=300ms");
    let error = block_on(store.get::<u8>("child")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(error.is_retryable());
    assert!((250..5000).contains(&begun.elapsed().as_millis()));
    child.kill().unwrap();
    child.wait().unwrap();
    block_on(async {
        assert_eq!(store.get("child").await.unwrap(), Some(1));
        store.close().await.unwrap();
    });
}

#[test]
fn one_that_waits_gets_the_folder_when_the_other_is_done() {
    let place = Place::new();
    let mut child = child_with(&place.path());
    let store = place.store("?timeout=20s");
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        child.kill().unwrap();
        child.wait().unwrap();
    });
    assert_eq!(block_on(store.get("child")).unwrap(), Some(1));
    killer.join().unwrap();
    // And holds it until the last of its stores lets go.
    let other = place.store("");
    block_on(async {
        other.set("k", &1).await.unwrap();
        other.close().await.unwrap();
    });
    let mut second = Command::new(std::env::current_exe().unwrap())
        .args(["refused_child", "--exact", "--ignored", "--nocapture"])
        .env(CHILD_FOLDER, place.path())
        .spawn()
        .unwrap();
    assert!(second.wait().unwrap().success());
    block_on(store.close()).unwrap();
}

/// What another child does: finds the folder taken.
#[test]
#[ignore = "the others run it"]
fn refused_child() {
    let folder = std::env::var(CHILD_FOLDER).unwrap();
    let store = kv(format!("level:{folder}?timeout=1ms")).unwrap();
    assert_eq!(kind(block_on(store.get::<u8>("k"))), ErrorKind::Timeout);
}
