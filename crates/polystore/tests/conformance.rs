//! Every store of this crate keeps the contract.
//!
//! How many properties pass and are skipped on each is in `conformance.counts`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

use polystore_conformance::Suite;
use polystore_kv::{Error, Result, kv};

/// What needs no place of its own: a name and a URL.
const ANYWHERE: &[(&str, &str)] = &[
    #[cfg(feature = "memory")]
    ("memory", "memory:"),
    #[cfg(feature = "memory")]
    (
        "memory with limits",
        "memory:?max_entries=20000&max_bytes=200MB",
    ),
    #[cfg(feature = "sqlite")]
    ("sqlite in memory", "sqlite::memory:"),
];

/// What does: a name, a scheme, and what comes after the path of a new folder.
const IN_A_FOLDER: &[(&str, &str, &str)] = &[
    #[cfg(feature = "file")]
    ("file", "file:", "a.json"),
    #[cfg(feature = "file")]
    ("file sync=normal", "file:", "a.json?sync=normal"),
    #[cfg(feature = "folder")]
    ("folder", "file:", ""),
    #[cfg(feature = "folder")]
    ("folder sync=normal", "file:", "?sync=normal"),
    #[cfg(feature = "sqlite")]
    ("sqlite", "sqlite:", "a.db"),
    #[cfg(feature = "sqlite")]
    ("sqlite sync=normal", "sqlite:", "a.db?sync=normal"),
];

fn main() -> ExitCode {
    // Removed when it goes out of scope, after all stores were closed.
    let scratch = tempfile::tempdir().expect("there is room for temporary files");
    let mut suite = Suite::new().counts("tests/conformance.counts");
    for (name, url) in ANYWHERE.iter().copied() {
        suite = suite.disposable_store(name, move || async move { kv(url) });
    }
    for (name, scheme, rest) in IN_A_FOLDER.iter().copied() {
        let scratch = scratch.path().to_owned();
        suite = suite.disposable_store(name, move || {
            let folder = new_folder(&scratch);
            async move { kv(format!("{scheme}{}/{rest}", folder?.display())) }
        });
    }
    #[cfg(all(feature = "etcd", unix))]
    if let Some(url) = polystore_servers::Etcd::shared() {
        // A server has one space of keys: what is about all of it is tried in `etcd.rs`.
        suite = suite.store("etcd", move || {
            let url = url.clone();
            async move { kv(url) }
        });
    }
    suite.run()
}

fn new_folder(scratch: &Path) -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let folder = scratch.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
    std::fs::create_dir(&folder).map_err(|error| Error::from_io("make a folder", error))?;
    Ok(folder)
}
