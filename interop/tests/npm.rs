//! Each side reads, lists and deletes what the other wrote.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::path::Path;

use polystore_interop::{Both, Npm, Written, entries, npm_is_there};
use polystore_kv::kv;
use serde_json::json;
use tempfile::TempDir;

fn both(
    npm_url: impl Fn(&Path) -> String,
    rust_url: impl Fn(&Path) -> String,
) -> Option<(Both, TempDir)> {
    if !npm_is_there() {
        return None;
    }
    let folder = TempDir::new().unwrap();
    let npm = Npm::new(npm_url(folder.path()));
    let rust = kv(rust_url(folder.path())).unwrap();
    Some((Both::new(npm, rust), folder))
}

fn file() -> Option<(Both, TempDir)> {
    let url = |folder: &Path| format!("file://{}/store.json", folder.display());
    both(url, url)
}

fn folder() -> Option<(Both, TempDir)> {
    let url = |folder: &Path| format!("file://{}/store/", folder.display());
    both(url, url)
}

fn sqlite() -> Option<(Both, TempDir)> {
    let url = |folder: &Path| format!("sqlite:{}/store.db", folder.display());
    both(url, url)
}

async fn share(both: &Both) {
    let all = entries();
    assert_eq!(all.len(), 200);
    both.share(&all).await;
    both.expire().await;
}

#[tokio::test]
async fn a_file_is_shared() {
    let Some((both, _folder)) = file() else {
        return;
    };
    share(&both).await;
    // The npm package cannot write this key to a file, but it reads it.
    both.rust.set("__proto__", &1).await.unwrap();
    assert_eq!(both.npm.get(&["__proto__".to_owned()]), [json!(1)]);
}

#[tokio::test]
async fn a_folder_is_shared() {
    let Some((both, _folder)) = folder() else {
        return;
    };
    share(&both).await;
    // What it cannot hold does not get in its way.
    both.rust.set(&"é".repeat(300), &1).await.unwrap();
    both.npm.write(&[Written {
        key: "__proto__".into(),
        value: json!(1),
        expires: None,
    }]);
    assert_eq!(both.npm.keys(), ["__proto__"]);
    assert_eq!(both.rust.keys().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_sqlite_table_is_shared() {
    let Some((both, _folder)) = sqlite() else {
        return;
    };
    share(&both).await;
}
