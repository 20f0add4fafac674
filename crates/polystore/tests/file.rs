//! `file:cache.json`: its format, and what it does with files that are not as they should be.

#![cfg(feature = "file")]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use polystore_kv::{ErrorKind, Store, kv};
use serde_json::{Value, json};
use tempfile::TempDir;

fn store_in(folder: &TempDir) -> Store {
    kv(folder.path().join("cache.json")).unwrap()
}

fn parsed(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[tokio::test]
async fn the_file_is_the_npm_packages() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache.json");
    let store = store_in(&folder);
    store.set("user:1", &json!({"name": "Ada"})).await.unwrap();
    store.set("b", "é").expires("1h").await.unwrap();
    let file = parsed(&path);
    assert_eq!(
        file["user:1"],
        json!({"expires": null, "value": {"name": "Ada"}})
    );
    assert_eq!(file["b"]["value"], "é");
    let left = store
        .ttl("b")
        .await
        .unwrap()
        .unwrap()
        .as_duration()
        .unwrap();
    assert!(left > Duration::from_secs(3590) && left <= Duration::from_secs(3600));

    // As the npm package writes it, with a fraction in the expiry.
    let theirs =
        "{\n  \"a\": {\n    \"expires\": 32503680000000.5,\n    \"value\": [1, null]\n  }\n}";
    fs::write(&path, theirs).unwrap();
    assert_eq!(
        store.get::<Value>("a").await.unwrap(),
        Some(json!([1, null]))
    );
    assert_eq!(store.keys().await.unwrap(), ["a"]);
    let expiry = store.entry("a").await.unwrap().unwrap().expiry();
    assert_eq!(expiry.as_millis(), Some(32_503_680_000_001));
}

#[tokio::test]
async fn reading_makes_nothing_and_writing_makes_the_folder() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a/b/cache.json");
    let store = kv(&path).unwrap();
    assert_eq!(store.get::<u8>("a").await.unwrap(), None);
    assert_eq!(store.keys().await.unwrap(), [""; 0]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    store.set("a", &1).await.unwrap();
    assert_eq!(parsed(&path)["a"]["value"], 1);
}

#[tokio::test]
async fn a_file_that_is_no_store_is_an_error_and_stays_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache.json");
    let store = store_in(&folder);
    let half = r#"{"a":{"expires":null,"value":"hunter2"#;
    for content in [
        "",
        " \n",
        "[]",
        "null",
        "5",
        "\"hunter2\"",
        half,
        "{}{}",
        "\0\u{1}",
        "\u{feff}{}",
    ] {
        fs::write(&path, content).unwrap();
        let errors = [
            store.get::<Value>("a").await.unwrap_err(),
            store.keys().await.unwrap_err(),
            store.set("a", &1).await.unwrap_err(),
            store.del("a").await.unwrap_err(),
            store.clear().await.unwrap_err(),
            store.prune().await.unwrap_err(),
            store.insert("a", &1).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{content:?}: {error}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    fs::write(&path, "{}").unwrap();
    store.set("a", &1).await.unwrap();
}

#[tokio::test]
async fn what_is_no_entry_is_reported_skipped_and_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache.json");
    fs::write(
        &path,
        r#"{"theirs":{"n":1},"bare":5,"ours":{"expires":null,"value":1}}"#,
    )
    .unwrap();
    let store = store_in(&folder);
    assert_eq!(
        store.get::<Value>("theirs").await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert_eq!(store.keys().await.unwrap(), ["ours"]);
    store.clear().await.unwrap();
    assert_eq!(parsed(&path), json!({"theirs": {"n": 1}, "bare": 5}));
    store.set("bare", &6).await.unwrap();
    assert_eq!(store.get("bare").await.unwrap(), Some(6));
}

#[tokio::test]
async fn a_folder_in_the_files_place_is_an_error() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("cache.json")).unwrap();
    let store = store_in(&folder);
    assert!(store.get::<u8>("a").await.unwrap_err().is_data());
    assert!(store.set("a", &1).await.is_err());
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[tokio::test]
    async fn links_and_modes_stay() {
        let folder = TempDir::new().unwrap();
        let real = folder.path().join("real");
        fs::create_dir(&real).unwrap();
        let target = real.join("data.json");
        fs::write(&target, "{}").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        symlink("real/data.json", folder.path().join("cache.json")).unwrap();
        store_in(&folder).set("a", &1).await.unwrap();
        let link = fs::symlink_metadata(folder.path().join("cache.json")).unwrap();
        assert!(link.is_symlink());
        assert_eq!(parsed(&target)["a"]["value"], 1);
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o600);

        // To a file that is yet to be made.
        let dangling = folder.path().join("other.json");
        symlink("real/new.json", &dangling).unwrap();
        kv(&dangling).unwrap().set("a", &1).await.unwrap();
        assert_eq!(parsed(&real.join("new.json"))["a"]["value"], 1);
        assert!(fs::symlink_metadata(&dangling).unwrap().is_symlink());
    }

    #[tokio::test]
    async fn a_read_only_file_is_read_and_not_written() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("cache.json");
        let store = store_in(&folder);
        store.set("a", &1).await.unwrap();
        let before = fs::read(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        assert_eq!(store.get("a").await.unwrap(), Some(1));
        let error = store.set("a", &2).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly);
        assert!(error.is_connection() && !error.is_retryable());
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_file_is_secret_while_it_is_written_too() {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache.json");
    let store = store_in(&folder);
    store.set("a", &"x".repeat(100_000)).await.unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let watch = std::thread::spawn({
        let (done, folder) = (Arc::clone(&done), folder.path().to_owned());
        move || {
            while !done.load(Ordering::Relaxed) {
                for found in fs::read_dir(&folder).unwrap().flatten() {
                    let name = found.file_name().into_string().unwrap();
                    if let Ok(metadata) = found.metadata()
                        && !name.ends_with(".lock")
                    {
                        let mode = metadata.permissions().mode() & 0o777;
                        assert_eq!(mode, 0o600, "{name}");
                    }
                }
            }
        }
    });
    for n in 0..50 {
        store.set("n", &n).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    watch.join().unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_in_the_locks_place_is_an_error() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.path().join(".cache.json.lock");
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    assert!(store_in(&folder).set("a", &1).await.unwrap_err().is_data());
}

/// Writes as somebody who may write the folder but not the file.
#[cfg(unix)]
#[tokio::test]
#[ignore = "another test runs it as another user"]
async fn write_as_another_user() {
    let url = std::env::var("POLYSTORE_TEST_URL").unwrap();
    let error = kv(url).unwrap().set("a", &2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_one_may_not_write_is_not_replaced() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;

    const NOBODY: u32 = 65534;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache.json");
    store_in(&folder).set("a", &1).await.unwrap();
    let before = fs::metadata(&path).unwrap();
    if before.uid() != 0 {
        eprintln!("SKIPPED: only root can run a program as another user");
        return;
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    // Where it may be run from: the folder of this program may be root's alone.
    let program = folder.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = std::process::Command::new(&program)
        .args([
            "write_as_another_user",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env("POLYSTORE_TEST_URL", format!("file:{}", path.display()))
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::metadata(&path).unwrap().ino(), before.ino());
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_writes_at_once_are_all_kept() {
    let folder = TempDir::new().unwrap();
    let store = store_in(&folder);
    let writes = (0..2000).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.set(&n.to_string(), &n).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    assert_eq!(store.all::<u32>().await.unwrap().len(), 2000);
}

#[tokio::test]
async fn a_change_by_another_program_is_seen_at_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache.json");
    let store = store_in(&folder);
    // The same length each time, in place and at once: only the content tells.
    for round in 0..200 {
        let digit = round % 10;
        fs::write(
            &path,
            format!(r#"{{"a":{{"expires":null,"value":{digit}}}}}"#),
        )
        .unwrap();
        assert_eq!(store.get("a").await.unwrap(), Some(digit), "round {round}");
        if round % 3 == 0 {
            store.set("a", &7).await.unwrap();
            assert_eq!(store.get("a").await.unwrap(), Some(7), "round {round}");
        }
    }
}

#[tokio::test]
async fn expired_entries_leave_the_file_by_themselves() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache.json");
    let store = store_in(&folder);
    store.set("stays", &1).await.unwrap();
    store.set("goes", &1).expires("20ms").await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while parsed(&path).get("goes").is_some() {
        assert!(Instant::now() < deadline, "still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.keys().await.unwrap(), ["stays"]);
}

#[tokio::test]
async fn a_writer_waits_for_another_process_and_not_for_ever() {
    let folder = TempDir::new().unwrap();
    let url = format!("file:{}/cache.json?timeout=50ms", folder.path().display());
    let store = kv(url).unwrap();
    store.set("a", &1).await.unwrap();
    let lock = fs::File::open(folder.path().join(".cache.json.lock")).unwrap();
    lock.lock().unwrap();
    let error = store.set("a", &2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.is_retryable() && !error.is_maybe_applied());
    assert_eq!(store.get("a").await.unwrap(), Some(1));
    lock.unlock().unwrap();
    store.set("a", &2).await.unwrap();
}
