//! `file:dir/`: its format, and what it does with files that are not as they should be.

#![cfg(feature = "folder")]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::fs;
use std::time::{Duration, Instant};

use polystore_kv::{ErrorKind, Store, kv};
use serde_json::{Value, json};
use tempfile::TempDir;

fn store_in(folder: &TempDir) -> Store {
    kv(folder.path()).unwrap()
}

fn names(folder: &TempDir) -> Vec<String> {
    let found = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> = found
        .map(|name| name.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".polystore")
        .collect();
    names.sort();
    names
}

const ENVELOPE: &str = r#"{"expires":null,"value":"old"}"#;

#[tokio::test]
async fn the_files_are_the_npm_packages() {
    let folder = TempDir::new().unwrap();
    let store = store_in(&folder);
    for key in ["user:1", "a/b", "%41", "!'()~*", ""] {
        store.set(key, key).await.unwrap();
    }
    let expected = [
        "!'()~%2A.json",
        "%2541.json",
        ".json",
        "a%2Fb.json",
        "user%3A1.json",
    ];
    assert_eq!(names(&folder), expected);
    let text = fs::read(folder.path().join("user%3A1.json")).unwrap();
    let parsed: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(parsed, json!({"expires": null, "value": "user:1"}));
}

#[tokio::test]
async fn raw_names_are_found_listed_and_deleted_and_the_encoded_one_wins() {
    let folder = TempDir::new().unwrap();
    let store = store_in(&folder);
    let raw = folder.path().join("user:1.json");
    fs::write(&raw, ENVELOPE).unwrap();
    assert_eq!(store.get::<String>("user:1").await.unwrap().unwrap(), "old");
    assert_eq!(store.keys().await.unwrap(), ["user:1"]);
    assert!(!store.insert("user:1", "new").await.unwrap());
    store.del("user:1").await.unwrap();
    assert_eq!(names(&folder), [""; 0]);

    fs::write(&raw, ENVELOPE).unwrap();
    fs::write(
        folder.path().join("user%3A1.json"),
        ENVELOPE.replace("old", "new"),
    )
    .unwrap();
    assert_eq!(store.get::<String>("user:1").await.unwrap().unwrap(), "new");
    assert_eq!(
        store.entries::<String>().await.unwrap(),
        [("user:1".into(), "new".into())]
    );
    store.set("user:1", "newer").await.unwrap();
    assert_eq!(names(&folder), ["user%3A1.json"]);

    fs::write(&raw, ENVELOPE).unwrap();
    store.del("user:1").await.unwrap();
    assert_eq!(names(&folder), [""; 0]);

    // What could be either is the encoded name of one key, never the raw one of another.
    fs::write(folder.path().join("a%2Fb.json"), ENVELOPE).unwrap();
    fs::write(folder.path().join("100%.json"), ENVELOPE).unwrap();
    assert_eq!(store.get::<Value>("a%2Fb").await.unwrap(), None);
    assert!(store.has("a/b").await.unwrap() && store.has("100%").await.unwrap());
}

#[tokio::test]
async fn long_keys_live_in_the_subfolder() {
    let folder = TempDir::new().unwrap();
    let store = store_in(&folder);
    let keys = [
        "a".repeat(250),
        "b".repeat(251),
        "😀".repeat(1000),
        format!("{}1", "c".repeat(2000)),
    ];
    for key in &keys {
        store.set(key, key).await.unwrap();
        assert_eq!(store.get::<String>(key).await.unwrap().as_ref(), Some(key));
    }
    assert_eq!(names(&folder).len(), 1);
    assert_eq!(store.prefix("c").keys().await.unwrap(), [&keys[3][1..]]);
    let mut listed = store.keys().await.unwrap();
    listed.sort();
    let mut sorted = keys.to_vec();
    sorted.sort();
    assert_eq!(listed, sorted);
    for key in &keys {
        store.del(key).await.unwrap();
    }
    assert_eq!(store.keys().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn foreign_and_corrupt_files_are_reported_skipped_and_stay() {
    let folder = TempDir::new().unwrap();
    let store = store_in(&folder);
    store.set("ours", &1).await.unwrap();
    for (name, content) in [
        ("half.json", r#"{"expires":null,"value":"hun"#),
        ("empty.json", ""),
        ("list.json", "[]"),
        ("bare.json", "5"),
        ("package.json", r#"{"name":"hunter2"}"#),
        ("binary.json", "\u{0}\u{1}"),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
        let error = store
            .get::<Value>(name.trim_end_matches(".json"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}");
        assert!(!format!("{error:?}").contains("hun"));
    }
    fs::create_dir(folder.path().join("dir.json")).unwrap();
    assert_eq!(
        store.get::<Value>("dir").await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert!(store.set("dir", &1).await.is_err());
    fs::write(folder.path().join("notes.txt"), "not ours").unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();

    assert_eq!(store.keys().await.unwrap(), ["ours"]);
    assert_eq!(store.all::<u8>().await.unwrap().len(), 1);
    store.clear().await.unwrap();
    assert_eq!(names(&folder).len(), 9);

    store.set("half", &2).await.unwrap();
    assert_eq!(store.get("half").await.unwrap(), Some(2));
    assert!(store.insert("list", &3).await.unwrap());
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_no_file_never_blocks_or_leads_out() {
    use std::os::unix::ffi::OsStrExt;

    let folder = TempDir::new().unwrap();
    let inside = folder.path().join("in");
    let store = kv(&inside).unwrap();
    for key in [
        "..",
        ".",
        "../out",
        "/etc/passwd",
        "\0",
        "a\0b",
        "..\\out",
        "con",
        "nul",
        "x\n/../../y",
    ] {
        store.set(key, key).await.unwrap();
        assert_eq!(
            store.get::<String>(key).await.unwrap().as_deref(),
            Some(key)
        );
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let pipe = inside.join("pipe.json");
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    assert!(store.get::<Value>("pipe").await.unwrap_err().is_data());
    fs::write(inside.join(std::ffi::OsStr::from_bytes(b"\xff.json")), "x").unwrap();
    assert_eq!(store.keys().await.unwrap().len(), 10);
}

#[tokio::test]
async fn leftovers_of_dead_processes_are_removed() {
    let folder = TempDir::new().unwrap();
    store_in(&folder).set("a", &1).await.unwrap();
    let leftover = folder
        .path()
        .join(".polystore/.AAAAAAAAAAAAAAAAAAAAAAAA.tmp");
    fs::write(&leftover, "half a val").unwrap();
    assert_eq!(store_in(&folder).keys().await.unwrap(), ["a"]);
    assert!(!leftover.exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_folder_is_read_and_not_written() {
    use std::os::unix::fs::PermissionsExt;

    let folder = TempDir::new().unwrap();
    let store = store_in(&folder);
    store.set("a", &1).await.unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let error = store.set("b", &1).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::Denied),
        "{error:?}"
    );
    assert_eq!(store.get("a").await.unwrap(), Some(1));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn expired_entries_leave_the_folder_by_themselves() {
    let folder = TempDir::new().unwrap();
    let store = store_in(&folder);
    store.set("stays", &1).await.unwrap();
    store.set("later", &1).expires("1h").await.unwrap();
    for round in 0..2 {
        for n in 0..300 {
            let key = format!("goes:{round}:{n}");
            store.set(&key, &n).expires("20ms").await.unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        while names(&folder).len() > 2 {
            assert!(
                Instant::now() < deadline,
                "still there: {:?}",
                names(&folder)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn one_bad_file_stops_nothing_but_itself() {
    let folder = TempDir::new().unwrap();
    std::os::unix::fs::symlink("loop.json", folder.path().join("loop.json")).unwrap();
    fs::write(
        folder.path().join("null.json"),
        r#"{"expires":null,"value":null}"#,
    )
    .unwrap();
    let store = store_in(&folder);
    store.set("stays", &1).await.unwrap();
    store.set("goes", &1).expires("20ms").await.unwrap();
    assert_eq!(
        store.get::<Value>("loop").await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    // The npm package writes it for NaN, and takes it for no value.
    assert!(!store.has("null").await.unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    while folder.path().join("goes.json").exists() {
        assert!(Instant::now() < deadline, "still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(store.keys().await.unwrap(), ["stays"]);
    store.prune().await.unwrap();
    store.clear().await.unwrap();
    assert_eq!(names(&folder), ["loop.json", "null.json"]);
    assert!(store.insert("null", &1).await.unwrap());
}

/// On some file systems a file that is replaced moves in its folder's list: out of the way
/// of a reader, or back into it.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_whole_while_entries_are_replaced() {
    const KEYS: usize = 500;
    for place in ["/dev/shm", "/tmp"] {
        let Ok(folder) = TempDir::new_in(place) else {
            continue;
        };
        let store = kv(format!("file:{}/?sync=normal", folder.path().display())).unwrap();
        store
            .set_many((0..KEYS).map(|n| (n.to_string(), 0)))
            .await
            .unwrap();
        let writer = tokio::spawn({
            let store = store.clone();
            async move {
                for n in 0.. {
                    store.set(&(n * 7 % KEYS).to_string(), &n).await.unwrap();
                }
            }
        });
        for _ in 0..20 {
            let keys = store.keys().await.unwrap();
            let different: std::collections::HashSet<_> = keys.iter().collect();
            assert_eq!((keys.len(), different.len()), (KEYS, KEYS), "{place}");
        }
        writer.abort();
        let _ = writer.await;
        store.close().await.unwrap();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn many_who_wait_in_vain_keep_one_thread_waiting() {
    fn waiting_threads() -> usize {
        let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
        let names =
            threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
        names
            .filter(|name| name.starts_with("polystore-lock"))
            .count()
    }
    let folder = TempDir::new().unwrap();
    let url = format!("file:{}/?timeout=100ms", folder.path().display());
    let store = kv(url).unwrap();
    store.set("a", &1).await.unwrap();
    let lock = fs::File::open(folder.path().join(".polystore/lock")).unwrap();
    lock.lock().unwrap();
    for round in 0..3 {
        let writes = (0..16).map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.set(&n.to_string(), &n).await })
        });
        for write in writes.collect::<Vec<_>>() {
            let error = write.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "round {round}: {error:?}");
        }
    }
    assert!(waiting_threads() <= 1, "{}", waiting_threads());
    // One who holds the lock keeps nobody from reading.
    assert_eq!(store.keys().await.unwrap(), ["a"]);
    lock.unlock().unwrap();
    store.set("a", &2).await.unwrap();
    assert_eq!(names(&folder), ["a.json"]);
}

#[cfg(unix)]
#[tokio::test]
async fn an_entry_keeps_the_mode_of_its_file() {
    use std::os::unix::fs::PermissionsExt;

    let folder = TempDir::new().unwrap();
    let store = store_in(&folder);
    let path = folder.path().join("a.json");
    store.set("a", &1).await.unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    store.set("a", &2).await.unwrap();
    store.touch("a", "1h").await.unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}
