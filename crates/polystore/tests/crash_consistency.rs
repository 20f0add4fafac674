//! Stores on disk survive `kill -9` at any instant, and several processes at once.
//!
//! The tests run this very program again as a child that writes until it is killed.

#![cfg(all(unix, feature = "file", feature = "folder"))]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polystore_kv::{Store, kv};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

const CHILD_URL: &str = "POLYSTORE_TEST_CHILD_URL";
const CHILD_JOB: &str = "POLYSTORE_TEST_CHILD_JOB";

const TASKS: u64 = 4;
const KEYS_A_TASK: u64 = 10;
const KILLS: u32 = 50;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    version: u64,
    /// As long as the version says, so that half a value shows.
    padding: String,
}

impl Record {
    fn new(version: u64) -> Self {
        let length = usize::try_from(version * 97 % 5000).unwrap();
        Self {
            version,
            padding: "x".repeat(length),
        }
    }
}

fn key(task: u64, number: u64) -> String {
    format!("task/{task}:{number}")
}

/// What a child does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the others run it"]
async fn child() {
    let url = std::env::var(CHILD_URL).unwrap();
    let job = std::env::var(CHILD_JOB).unwrap();
    // The test harness has begun a line.
    println!();
    let store = kv(url).unwrap();
    let job: Arc<str> = job.into();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(run_task(store.clone(), Arc::clone(&job), task)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    store.close().await.unwrap();
}

async fn run_task(store: Store, job: Arc<str>, task: u64) {
    match job.split_once(' ') {
        // Writes for ever, saying before and after each write.
        Some(("until-killed", first)) => {
            let first: u64 = first.parse().unwrap();
            for round in 0.. {
                let key = key(task, round % KEYS_A_TASK);
                let version = first + round;
                println!("begin {key} {version}");
                store.set(&key, &Record::new(version)).await.unwrap();
                println!("done {key} {version}");
            }
        }
        // Writes its own keys, counts on a shared one and races for others.
        Some(("together", process)) => {
            for number in 0..25 {
                let key = format!("{process}:{task}:{number}");
                store.set(&key, &number).await.unwrap();
                if store
                    .insert(&format!("race:{number}"), process)
                    .await
                    .unwrap()
                {
                    store.add(&number).await.unwrap();
                }
            }
        }
        _ => panic!("no such job: {job}"),
    }
}

fn spawn_child(url: &str, job: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .env(CHILD_URL, url)
        .env(CHILD_JOB, job)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a child said of one key.
#[derive(Clone, Copy, Default)]
struct Said {
    begun: u64,
    done: u64,
}

/// Lets a child write for a while, kills it, and notes what it said. Says whether a
/// write was in flight.
fn kill_while_writing(url: &str, first: u64, said: &mut HashMap<String, Said>) -> bool {
    let mut child = spawn_child(url, &format!("until-killed {first}"));
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let random = RandomState::new().hash_one(first);
    let mut kill_at = None;
    for line in lines {
        // A line cut short by the kill says nothing.
        let Ok(line) = line else { break };
        if let [what, key, version] = line.split(' ').collect::<Vec<_>>()[..]
            && let Ok(version) = version.parse()
        {
            let said = said.entry(key.to_owned()).or_default();
            match what {
                "begin" => said.begun = version,
                "done" => said.done = version,
                _ => {}
            }
        }
        let at =
            *kill_at.get_or_insert_with(|| Instant::now() + Duration::from_micros(random % 30_000));
        if Instant::now() >= at {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    said.values().any(|said| said.begun > said.done)
}

fn survives_kills(open: impl Fn(&Path) -> String, check_files: impl Fn(&Path)) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = TempDir::new().unwrap();
    let url = open(folder.path());
    let mut said: HashMap<String, Said> = HashMap::new();
    let mut kills = 0;
    let mut first = 1;
    let deadline = Instant::now() + Duration::from_secs(300);
    while kills < KILLS {
        assert!(Instant::now() < deadline, "only {kills} kills hit a write");
        kills += u32::from(kill_while_writing(&url, first, &mut said));
        first += 1_000_000;
        check_files(folder.path());
        runtime.block_on(async {
            let store = kv(&url).unwrap();
            let stored = store.all::<Record>().await.unwrap();
            for (key, said) in &mut said {
                let record = stored.get(key);
                let version = record.map_or(0, |record| record.version);
                assert!(
                    version == said.done || version == said.begun,
                    "{key}: {version} is stored, {} was acknowledged, {} begun",
                    said.done,
                    said.begun
                );
                if let Some(record) = record {
                    assert_eq!(*record, Record::new(version), "{key}");
                }
                // What is stored after the kill is what must stay.
                (said.begun, said.done) = (version, version);
            }
            store.close().await.unwrap();
        });
    }
}

fn no_leftovers(folder: &Path) {
    for name in std::fs::read_dir(folder).unwrap() {
        let name = name.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".tmp"), "{name}");
    }
}

#[test]
fn a_file_survives_kills() {
    survives_kills(
        |folder| format!("file:{}/store.json", folder.display()),
        |folder| {
            // A kill may come before the first write.
            if let Ok(text) = std::fs::read(folder.join("store.json")) {
                serde_json::from_slice::<serde_json::Value>(&text).unwrap();
            }
        },
    );
}

#[test]
fn a_folder_survives_kills() {
    survives_kills(
        |folder| format!("file:{}/", folder.display()),
        |folder| {
            no_leftovers(folder);
            for name in std::fs::read_dir(folder).unwrap() {
                let path = name.unwrap().path();
                if path.is_file() {
                    let text = std::fs::read(path).unwrap();
                    serde_json::from_slice::<serde_json::Value>(&text).unwrap();
                }
            }
        },
    );
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_survives_kills() {
    survives_kills(
        |folder| format!("sqlite:{}/store.db", folder.display()),
        |_| {},
    );
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_without_syncing_survives_kills() {
    survives_kills(
        |folder| format!("sqlite:{}/store.db?sync=normal", folder.display()),
        |_| {},
    );
}

#[cfg(feature = "level")]
#[test]
fn level_survives_kills() {
    survives_kills(|folder| format!("level:{}/store", folder.display()), |_| {});
}

#[cfg(feature = "level")]
#[test]
fn level_without_syncing_survives_kills() {
    survives_kills(
        |folder| format!("level:{}/store?sync=normal", folder.display()),
        |_| {},
    );
}

fn nothing_is_lost_among_four_processes(open: impl Fn(&Path) -> String) {
    let folder = TempDir::new().unwrap();
    let url = open(folder.path());
    let children: Vec<Child> = (0..4)
        .map(|process| spawn_child(&url, &format!("together {process}")))
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = kv(&url).unwrap();
        for process in 0..4 {
            for task in 0..TASKS {
                for number in 0..25 {
                    let key = format!("{process}:{task}:{number}");
                    assert_eq!(store.get(&key).await.unwrap(), Some(number), "{key}");
                }
            }
        }
        // One winner for each race, and what each winner added.
        let added = store
            .keys()
            .await
            .unwrap()
            .into_iter()
            .filter(|key| !key.contains(':'));
        assert_eq!(added.count(), 25);
        assert_eq!(store.prefix("race:").keys().await.unwrap().len(), 25);
        store.close().await.unwrap();
    });
}

#[test]
fn a_file_loses_nothing_among_four_processes() {
    nothing_is_lost_among_four_processes(|folder| format!("file:{}/store.json", folder.display()));
}

#[test]
fn a_folder_loses_nothing_among_four_processes() {
    nothing_is_lost_among_four_processes(|folder| format!("file:{}/", folder.display()));
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_loses_nothing_among_four_processes() {
    nothing_is_lost_among_four_processes(|folder| format!("sqlite:{}/store.db", folder.display()));
}
