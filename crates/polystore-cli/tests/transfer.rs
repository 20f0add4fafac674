//! Copy, export and import: everything, exactly, again and again.

mod common;

use std::fmt::Write;

use common::{HOSTILE, Shell};

on_each_store!(
    what_is_exported_imports_the_same,
    ten_thousand_entries,
    a_bad_line_is_named_and_what_was_before_it_stays,
    expiries_can_be_replaced,
);

const YEAR_3000: i64 = 32_503_680_000_123;

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Hostile keys and values, with and without expiry, in the form that export has.
fn hostile_lines() -> String {
    let values = [
        "18446744073709551615",
        "1.50",
        "-0.0",
        "5e-324",
        "false",
        "0",
        r#""""#,
        "[]",
        "{}",
        r#"[null,{"expires":1,"value":null}]"#,
    ];
    let mut lines = String::new();
    for (n, key) in HOSTILE.iter().enumerate() {
        let key = serde_json::Value::from(*key);
        let expires = if n % 2 == 0 {
            YEAR_3000.to_string()
        } else {
            "null".to_owned()
        };
        let value = match values.get(n) {
            Some(value) => (*value).to_owned(),
            None => key.to_string(),
        };
        let _ = writeln!(
            lines,
            r#"{{"key":{key},"value":{value},"expires":{expires}}}"#
        );
    }
    lines
}

fn what_is_exported_imports_the_same(store: &'static str) {
    let shell = Shell::new(store);
    let lines = hostile_lines();
    let count = HOSTILE.len();
    for _ in 0..2 {
        let imported = shell.pipe(&["import"], &lines);
        let report = format!("imported {count} entries, left out 0 expired\n");
        assert_eq!(imported.err, report);
        assert_eq!(imported.ok(), "");
        let exported = shell.run(&["export"]);
        assert_eq!(exported.err, format!("exported {count} entries\n"));
        assert_eq!(sorted(&exported.ok()), sorted(&lines));
    }
    shell.run(&["--prefix", "sub:", "set", "a", "1"]).ok();

    // To a file and, by way of every other store, back.
    let report = shell.run(&["--json", "export", "all.ndjson"]).ok();
    assert_eq!(report, format!("{{\"exported\":{}}}\n", count + 1));
    let exported = std::fs::read_to_string(shell.path("all.ndjson")).expect("the file");
    for (from, to) in [
        (store, "file:one/"),
        ("file:one/", "file:two.json"),
        ("file:two.json", "level:level"),
        ("level:level", "sqlite:three.db?table=kv"),
    ] {
        for _ in 0..2 {
            let report = shell.run(&["copy", from, to, "--json"]).ok();
            assert_eq!(
                report,
                format!("{{\"copied\":{},\"expired\":0}}\n", count + 1)
            );
        }
    }
    let there = shell
        .run(&["export", "-", "--store", "sqlite:three.db?table=kv"])
        .ok();
    assert_eq!(sorted(&there), sorted(&exported));

    let copied = shell.run(&["--prefix", "sub:", "copy", store, "file:four.json"]);
    assert_eq!(copied.err, "copied 1 entry, left out 0 expired\n");
    let keys = shell.run(&["keys", "--store", "file:four.json"]).ok();
    assert_eq!(keys, "sub:a\n");
}

fn ten_thousand_entries(store: &'static str) {
    let shell = Shell::new(store);
    let mut lines = String::new();
    for n in 0..10_000 {
        let _ = writeln!(
            lines,
            r#"{{"key":"k{n:05}","value":{{"n":{n}}},"expires":null}}"#
        );
    }
    let imported = shell.pipe(&["import", "--json"], &lines).ok();
    assert_eq!(imported, "{\"imported\":10000,\"expired\":0}\n");
    let exported = shell.run(&["export"]).ok();
    assert_eq!(sorted(&exported), sorted(&lines));
    assert_eq!(
        shell.run(&["--prefix", "k00", "keys"]).ok().lines().count(),
        1000
    );
}

fn a_bad_line_is_named_and_what_was_before_it_stays(store: &'static str) {
    let shell = Shell::new(store);
    let bad = "{\"key\":\"a\",\"value\":1}\n\r\n{\"key\":\"b\",\"value\":2}\n\
               {\"key\":\"c\",\"value\":\"hunter2}\n{\"key\":\"d\",\"value\":4}\n";
    let stopped = shell.pipe(&["import"], bad).fails(2);
    assert!(stopped.err.contains("line 4"), "{stopped:?}");
    assert!(
        stopped.err.contains("2 entries were imported and stay"),
        "{stopped:?}"
    );
    assert!(!stopped.err.contains("hunter2"), "{stopped:?}");
    assert_eq!(sorted(&shell.run(&["keys"]).ok()), ["a", "b"]);
}

fn expiries_can_be_replaced(store: &'static str) {
    let shell = Shell::new(store);
    let lines = "{\"key\":\"a\",\"value\":1}\n\
                 {\"key\":\"b\",\"value\":2,\"expires\":1}\n\
                 {\"key\":\"c\",\"value\":3,\"expires\":32503680000123}\n";
    let imported = shell.pipe(&["import"], lines);
    assert_eq!(imported.err, "imported 2 entries, left out 1 expired\n");
    shell.run(&["has", "b"]).fails(1);
    shell.pipe(&["import", "--expires", "1h"], lines).ok();
    for key in ["a", "b", "c"] {
        let left: f64 = shell
            .run(&["ttl", key])
            .ok()
            .trim()
            .parse()
            .expect("seconds");
        assert!(left > 3500.0 && left <= 3600.0, "{key}: {left}");
    }
    shell
        .run(&["copy", store, "file:other/", "--expires", "never"])
        .ok();
    assert_eq!(
        shell.run(&["ttl", "b", "--store", "file:other/"]).ok(),
        "never\n"
    );
    let refused = shell.pipe(&["import", "--expires=-5s"], lines).fails(2);
    assert!(refused.err.contains("over at once"), "{refused:?}");
}

#[test]
fn what_is_not_there_is_not_copied_as_empty() {
    let shell = Shell::new("file:none.json");
    shell.run(&["export", "backup.ndjson"]).fails(3);
    shell
        .run(&["copy", "sqlite:none.db", "file:other/"])
        .fails(3);
    shell.run(&["copy", "file:a/", "file:a/"]).fails(2);
    shell.run(&["copy", "level:none", "file:other/"]).fails(3);
    assert_eq!(shell.run(&["keys", "--store", "level:none"]).ok(), "");
    assert!(shell.names().is_empty(), "{:?}", shell.names());
    // A folder that is not LevelDB's is none of its stores either.
    std::fs::create_dir(shell.path("plain")).expect("a folder");
    shell.run(&["copy", "level:plain", "file:other/"]).fails(3);
    assert_eq!(shell.run(&["keys", "--store", "level:plain"]).ok(), "");
    assert_eq!(shell.names(), ["plain"]);
}

#[test]
fn nothing_is_copied_onto_itself() {
    let shell = Shell::new("sqlite:app.db");
    shell.run(&["set", "a", "1"]).ok();
    shell
        .run(&["copy", "sqlite:app.db", "sqlite:./app.db"])
        .fails(2);
    shell.run(&["export", "./app.db"]).fails(2);
    shell
        .run(&["copy", "sqlite:app.db", "sqlite:app.db?table=other"])
        .ok();
    assert_eq!(shell.run(&["get", "a"]).ok(), "1\n");
    shell.run(&["copy", "sqlite:app.db", "level:db"]).ok();
    shell
        .run(&["copy", "level:db", "level:./db/?sync=normal"])
        .fails(2);
    assert_eq!(shell.run(&["get", "a", "--store", "level:db"]).ok(), "1\n");
}

#[test]
fn an_export_that_fails_leaves_the_old_file() {
    let shell = Shell::new("file:app.json");
    std::fs::write(shell.path("app.json"), "{\"a\":{\"expires\":null,").expect("write");
    std::fs::write(shell.path("backup.ndjson"), "old").expect("write");
    shell.run(&["export", "backup.ndjson"]).fails(3);
    let backup = std::fs::read_to_string(shell.path("backup.ndjson")).expect("read");
    assert_eq!(backup, "old");
    assert_eq!(shell.names().len(), 2, "{:?}", shell.names());
    shell.run(&["import", "no.ndjson"]).fails(3);
}
