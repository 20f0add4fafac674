//! A LevelDB folder between this crate and the npm packages `polystore` and `level`, in turns.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use polystore_interop::{Npm, Written, entries, expected, keys, npm_folder, npm_is_there};
use polystore_kv::{ErrorKind, Store, kv};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn new() -> Option<Self> {
        if !npm_is_there() {
            return None;
        }
        Some(Self(TempDir::new().unwrap()))
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("db")
    }

    fn npm(&self) -> Npm {
        Npm::new(format!("level:{}", self.folder().display()))
    }

    fn rust(&self) -> Store {
        kv(format!("level:{}?timeout=300ms", self.folder().display())).unwrap()
    }
}

/// A program in Node that has the package `level`, given its source and the folder.
fn node(source: &str, folder: &Path) -> Child {
    let source = format!(
        "import {{ Level }} from 'level';
         const db = new Level(process.argv[1], {{ valueEncoding: 'utf8' }});
         {source}"
    );
    Command::new("node")
        .current_dir(npm_folder())
        .args(["--input-type=module", "--eval", &source])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn output(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "see above");
    String::from_utf8(output.stdout).unwrap()
}

async fn rust_sees(place: &Place, entries: &[Written]) {
    let store = place.rust();
    for Written {
        key,
        value,
        expires,
    } in entries
    {
        let found = store.get::<Value>(key).await.unwrap();
        assert_eq!(found.as_ref(), Some(value), "{key:?}");
        let left = store.ttl(key).await.unwrap().unwrap().as_duration();
        assert_eq!(left.is_some(), expires.is_some(), "{key:?}");
    }
    assert_eq!(store.all::<Value>().await.unwrap(), expected(entries));
    store.close().await.unwrap();
}

fn npm_sees(place: &Place, entries: &[Written]) {
    let values: Vec<Value> = entries.iter().map(|entry| entry.value.clone()).collect();
    assert_eq!(place.npm().get(&keys(entries)), values);
    let listed = place.npm().entries("");
    assert_eq!(listed.len(), entries.len());
    assert_eq!(BTreeMap::from_iter(listed), expected(entries));
}

#[tokio::test]
async fn each_side_reads_lists_and_deletes_what_the_other_wrote() {
    let Some(place) = Place::new() else { return };
    let mut all = entries();
    all.push(Written {
        key: "a\0".into(),
        value: json!("right after a"),
        expires: None,
    });
    let (kept, deleted) = all.split_at(100);

    place.npm().write(&all);
    rust_sees(&place, &all).await;
    let store = place.rust();
    store.del_many(keys(deleted)).await.unwrap();
    store.close().await.unwrap();
    npm_sees(&place, kept);
    let gone = place.npm().get(&keys(deleted));
    assert!(gone.iter().all(Value::is_null));

    let store = place.rust();
    store.clear().await.unwrap();
    for entry in &all {
        let write = store.set(&entry.key, &entry.value);
        match entry.expires {
            Some(seconds) => write.expires(seconds).await.unwrap(),
            None => write.await.unwrap(),
        }
    }
    store.close().await.unwrap();
    npm_sees(&place, &all);
    place.npm().del(&keys(kept));
    rust_sees(&place, deleted).await;
    place.npm().clear();
    rust_sees(&place, &[]).await;
}

/// Through tables, compactions and what is left of deleted keys.
#[tokio::test]
async fn large_folders_go_both_ways() {
    const KEYS: usize = 60_000;
    let Some(place) = Place::new() else { return };
    let key = |number: usize| match number % 4 {
        0 => format!("k:{}\0", number - number % 4 + 1),
        _ => format!("k:{number}"),
    };
    let value = |number: usize| json!([number, "x".repeat(number % 200)]);
    let is_deleted = |number: usize| number % 10 == 3;

    let store = place.rust();
    for chunk in 0..KEYS / 3000 {
        let numbers = chunk * 3000..(chunk + 1) * 3000;
        let old = numbers.clone().map(|number| (key(number), json!("old")));
        store.set_many(old).await.unwrap();
        let new = numbers.map(|number| (key(number), value(number)));
        store.set_many(new).await.unwrap();
    }
    let deleted: Vec<String> = (0..KEYS).filter(|n| is_deleted(*n)).map(key).collect();
    store.del_many(&deleted).await.unwrap();
    store.close().await.unwrap();

    // Node gets every key one by one, by another way than it lists them.
    let wrong = node(
        "const key = n => n % 4 ? `k:${n}` : `k:${n + 1}\\0`;
         let wrong = 0, listed = 0;
         for (let n = 0; n < 60000; n++) {
           const found = await db.get(key(n));
           const expected = n % 10 === 3 ? undefined
             : JSON.stringify({ expires: null, value: [n, 'x'.repeat(n % 200)] });
           if (found !== expected) wrong++;
         }
         for await (const _ of db.keys()) listed++;
         console.log(`${wrong} ${listed}`);
         // Theirs on top of ours: overwritten, deleted, compacted.
         for (let n = 0; n < 60000; n += 1000) {
           const batch = db.batch();
           for (let i = n; i < n + 1000; i++) {
             if (i % 10 === 5) batch.del(key(i));
             if (i % 10 === 7) batch.put(key(i), JSON.stringify({ expires: null, value: -i }));
           }
           await batch.write();
         }
         await db.compactRange('', 'z');
         await db.close();",
        &place.folder(),
    );
    assert_eq!(output(wrong), format!("0 {}\n", KEYS / 10 * 9));

    let store = place.rust();
    let all: Vec<String> = (0..KEYS).map(key).collect();
    let mut wrong = 0;
    for (chunk, keys) in all.chunks(1000).enumerate() {
        let found = store.get_many::<Value>(keys).await.unwrap();
        for (number, key) in (chunk * 1000..).zip(keys) {
            let expected = match number % 10 {
                3 | 5 => None,
                7 => Some(json!(-i64::try_from(number).unwrap())),
                _ => Some(value(number)),
            };
            wrong += usize::from(found.get(key) != expected.as_ref());
        }
    }
    assert_eq!(wrong, 0);
    assert_eq!(store.keys().await.unwrap().len(), KEYS / 10 * 8);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_folder_that_is_open_in_node_is_refused_and_the_other_way_round() {
    let Some(place) = Place::new() else { return };
    let mut child = node(
        "await db.open();
         console.log('open');
         process.stdin.on('data', async () => { await db.close(); process.exit(0); });",
        &place.folder(),
    );
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "open");
    let store = place.rust();
    let error = store.set("k", &1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    child.stdin.take().unwrap().write_all(b"close\n").unwrap();
    assert!(child.wait().unwrap().success());
    store.set("k", &1).await.unwrap();

    // Another store of the same folder that comes and goes frees nothing.
    let other = place.rust();
    other.set("l", &1).await.unwrap();
    other.close().await.unwrap();
    let open = "try { await db.open(); console.log('open'); await db.close(); }
                catch (error) { console.log(error.cause?.code); }";
    let refused = output(node(open, &place.folder()));
    assert_eq!(refused, "LEVEL_LOCKED\n");
    store.close().await.unwrap();
    assert_eq!(output(node(open, &place.folder())), "open\n");
}

#[tokio::test]
async fn what_node_had_written_when_it_was_killed_is_there() {
    let Some(place) = Place::new() else { return };
    let mut child = node(
        "for (let n = 0; ; n++) {
           await db.put(`k${n}`, JSON.stringify({ expires: null, value: 'x'.repeat(n % 5000) }));
           console.log(n);
         }",
        &place.folder(),
    );
    let mut last = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // A line that the kill cut short says nothing.
        let Ok(number) = line.unwrap_or_default().parse::<usize>() else {
            break;
        };
        last = last.max(number);
        if number == 3000 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    let store = place.rust();
    for number in 0..=3000.min(last) {
        let found = store.get::<String>(&format!("k{number}")).await.unwrap();
        assert_eq!(found.unwrap().len(), number % 5000, "{number}");
    }
    store.close().await.unwrap();
}
