//! The store keeps the promises of all stores, and the program shows it.

use std::process::{Command, ExitCode};

use custom_store::MapStore;
use polystore_conformance::Suite;
use polystore_kv::kv;

fn main() -> ExitCode {
    let shown = Command::new(env!("CARGO_BIN_EXE_custom-store")).output();
    let shown = shown.expect("the program runs");
    assert_eq!(
        String::from_utf8_lossy(&shown.stdout),
        "{\"ada\": 36, \"grace\": 85}\na code of 24 characters\n\
         it has expired: 2 keys, 3 in the map\n1 pruned\ntrue false\n"
    );
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut unread = Command::new(env!("CARGO_BIN_EXE_custom-store"));
    let unread = unread.stdout(writer).output().expect("the program runs");
    assert!(
        unread.status.success() && unread.stderr.is_empty(),
        "{unread:?}"
    );
    Suite::new()
        .disposable_store("map", || async { kv(MapStore::default()) })
        .run()
}
