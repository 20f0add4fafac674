//! What each command prints and how it exits, on each store.

mod common;

use common::{HOSTILE, Shell};

on_each_store!(
    one_key,
    values_keep_their_digits,
    text_and_standard_input,
    hostile_keys,
    groups,
    expiry,
    clear_and_prune,
);

fn one_key(store: &'static str) {
    let shell = Shell::new(store);
    assert_eq!(shell.run(&["get", "a"]).fails(1).out, "");
    assert_eq!(shell.run(&["--json", "get", "a"]).fails(1).out, "null\n");
    assert_eq!(shell.run(&["has", "a"]).fails(1).out, "false\n");
    assert!(shell.names().is_empty(), "reading made {:?}", shell.names());

    assert_eq!(shell.run(&["set", "a", r#"{"b": [1, 2]}"#]).ok(), "");
    assert_eq!(shell.run(&["get", "a"]).ok(), "{\"b\":[1,2]}\n");
    assert_eq!(shell.run(&["has", "a"]).ok(), "true\n");
    assert_eq!(shell.run(&["insert", "a", "1"]).fails(1).out, "false\n");
    assert_eq!(shell.run(&["insert", "c", "1"]).ok(), "true\n");
    let late = shell.run(&["replace", "none", "1"]).fails(1);
    assert_eq!(late.out, "false\n");
    assert_eq!(shell.run(&["replace", "c", "2"]).ok(), "true\n");
    assert_eq!(shell.run(&["get", "c"]).ok(), "2\n");
    let missing = shell.run(&["get", "nothing"]).fails(1);
    assert!(missing.err.contains("\"nothing\""), "{missing:?}");

    let key = shell.run(&["--prefix", "new:", "add", "hello"]).ok();
    assert_eq!(key.trim().len(), 24, "{key}");
    let key = format!("new:{}", key.trim());
    assert_eq!(shell.run(&["get", &key]).ok(), "\"hello\"\n");
    assert_eq!(shell.run(&["get", "--raw", &key]).ok(), "hello\n");

    assert_eq!(shell.run(&["del", "a", "c", "none"]).ok(), "");
    assert_eq!(shell.run(&["del", &key]).ok(), "");
    assert_eq!(shell.run(&["keys"]).ok(), "");
    shell.run(&["set", "a", "1"]).ok();
    shell.run(&["set", "a", "null"]).ok();
    shell.run(&["has", "a"]).fails(1);
    shell.run(&["add", "null"]).fails(2);
    shell.run(&["insert", "a", "null"]).fails(2);
    shell.run(&["replace", "a", "null"]).fails(2);
}

fn values_keep_their_digits(store: &'static str) {
    let shell = Shell::new(store);
    for value in [
        "-5",
        "0.10",
        "-0",
        "1e3",
        "18446744073709551615",
        "123456789012345678901234567890",
        "0.1000000000000000055511151231257827",
        "false",
        "\"\"",
        "[]",
        "\"\\u0000\\ud83d\\ude00\"",
    ] {
        shell.run(&["set", "a", value]).ok();
        assert_eq!(shell.run(&["get", "a"]).ok().trim_end(), value);
        assert_eq!(shell.run(&["values"]).ok().trim_end(), value);
    }
    let error = shell.run(&["set", "a", "1e400"]).fails(2);
    assert!(error.err.contains("number"), "{error:?}");
}

fn text_and_standard_input(store: &'static str) {
    let shell = Shell::new(store);
    let get = || shell.run(&["get", "a"]).ok();
    for text in ["-x", "--nope", "007", "NaN", "it's", "{"] {
        shell.run(&["set", "a", text]).ok();
        assert_eq!(get(), format!("{}\n", serde_json::Value::from(text)));
    }
    shell.run(&["set", "a", "5", "--text"]).ok();
    assert_eq!(get(), "\"5\"\n");
    shell.run(&["set", "--text", "--", "a", "--text"]).ok();
    assert_eq!(get(), "\"--text\"\n");

    for (input, text, expected) in [
        ("{\n  \"a\": 1\n}\n", false, r#"{"a":1}"#),
        ("5\n", false, "5"),
        ("5\n", true, r#""5\n""#),
        ("two\nlines\n", false, r#""two\nlines""#),
        ("dos\r\n", false, r#""dos""#),
        ("two\n\n", false, r#""two\n""#),
        ("two\n\n", true, r#""two\n\n""#),
        ("", false, r#""""#),
    ] {
        let args: &[&str] = if text {
            &["set", "a", "-", "--text"]
        } else {
            &["set", "a", "-"]
        };
        shell.pipe(args, input).ok();
        assert_eq!(get().trim_end(), expected, "{input:?}");
    }
    let error = shell.pipe(&["set", "a", "-"], b"\xff").fails(2);
    assert!(error.err.contains("UTF-8"), "{error:?}");
    shell.run(&["set", "a", r#""a\nb\"c""#]).ok();
    assert_eq!(shell.run(&["get", "a", "--raw"]).ok(), "a\nb\"c\n");
}

fn hostile_keys(store: &'static str) {
    let shell = Shell::new(store);
    for key in HOSTILE {
        let value = serde_json::Value::from(*key).to_string();
        shell.run(&["set", "--", key, &value]).ok();
    }
    for key in HOSTILE {
        assert_eq!(
            shell.run(&["get", "--raw", "--", key]).ok(),
            format!("{key}\n")
        );
    }
    let quoted = shell.run(&["--json", "keys"]).ok();
    let mut keys: Vec<String> = quoted
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    keys.sort();
    let mut expected = HOSTILE.to_vec();
    expected.sort_unstable();
    assert_eq!(keys, expected);

    // Prefixes match literally.
    for (prefix, rest) in [
        ("%", ""),
        ("_", ""),
        ("_", "_proto__"),
        ("..", "/x"),
        ("\\", ""),
    ] {
        let keys = shell.run(&["--prefix", prefix, "--json", "keys"]).ok();
        let rest = serde_json::Value::from(rest).to_string();
        assert!(keys.lines().any(|line| line == rest), "{prefix}: {keys}");
        assert!(keys.lines().count() <= 2, "{prefix}: {keys}");
    }
    shell.run(&["--prefix", "k", "clear"]).ok();
    shell.run(&["has", "k"]).fails(1);
    shell.run(&["has", "K"]).ok();
}

fn groups(store: &'static str) {
    let shell = Shell::new(store);
    for listing in ["keys", "values", "entries"] {
        assert_eq!(shell.run(&[listing]).ok(), "");
    }
    assert_eq!(shell.run(&["all"]).ok(), "{}\n");
    for (key, value) in [("user:1", r#"{"n": 1.50}"#), ("user:2", "two"), ("x", "3")] {
        shell.run(&["set", key, value]).ok();
    }
    let users = |args: &[&str]| {
        let args = [&["--prefix", "user:"], args].concat();
        let mut lines: Vec<String> = shell.run(&args).ok().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(users(&["keys"]), ["1", "2"]);
    assert_eq!(users(&["keys", "--json"]), [r#""1""#, r#""2""#]);
    assert_eq!(users(&["values"]), [r#""two""#, r#"{"n":1.50}"#]);
    assert_eq!(
        users(&["entries"]),
        [
            r#"{"key":"1","value":{"n":1.50},"expires":null}"#,
            r#"{"key":"2","value":"two","expires":null}"#,
        ]
    );
    let all: serde_json::Value = serde_json::from_str(&shell.run(&["all"]).ok()).expect("JSON");
    assert_eq!(
        all,
        serde_json::json!({"user:1": {"n": 1.5}, "user:2": "two", "x": 3})
    );
}

fn expiry(store: &'static str) {
    let shell = Shell::new(store);
    shell.run(&["ttl", "a"]).fails(1);
    assert_eq!(shell.run(&["--json", "ttl", "a"]).fails(1).out, "null\n");
    assert_eq!(
        shell.run(&["touch", "a", "--expires", "1h"]).fails(1).out,
        "false\n"
    );

    shell.run(&["set", "a", "1"]).ok();
    assert_eq!(shell.run(&["ttl", "a"]).ok(), "never\n");
    assert_eq!(shell.run(&["ttl", "a", "--json"]).ok(), "\"never\"\n");
    assert_eq!(
        shell.run(&["touch", "a", "--expires", "1h 30m"]).ok(),
        "true\n"
    );
    let left = shell.run(&["ttl", "a"]).ok();
    let (seconds, millis) = left.trim().split_once('.').expect("a fraction");
    assert!(
        (5000..=5400).contains(&seconds.parse().expect("seconds")),
        "{left}"
    );
    assert_eq!(millis.len(), 3);

    shell.run(&["set", "a", "2", "--expires", "-5s"]).ok();
    shell.run(&["has", "a"]).fails(1);
    shell.run(&["insert", "a", "3", "--expires", "0.001"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(5));
    shell.run(&["get", "a"]).fails(1);
    assert_eq!(
        shell.run(&["insert", "a", "4", "--expires", "1 day"]).ok(),
        "true\n"
    );
    let entry = shell.run(&["entries"]).ok();
    let entry: serde_json::Value = serde_json::from_str(&entry).expect("JSON");
    assert!(
        entry["expires"].as_u64() > Some(1_700_000_000_000),
        "{entry}"
    );
    // Another write has no expiry again.
    shell.run(&["set", "a", "5"]).ok();
    assert_eq!(shell.run(&["ttl", "a"]).ok(), "never\n");
}

fn clear_and_prune(store: &'static str) {
    let shell = Shell::new(store);
    for key in ["a:1", "a:2", "b:1"] {
        shell.run(&["set", key, "1"]).ok();
    }
    let refused = shell.run(&["clear"]).fails(2);
    assert!(refused.err.contains("--yes"), "{refused:?}");
    shell.run(&["--prefix", "", "clear"]).fails(2);
    assert_eq!(shell.run(&["keys"]).ok().lines().count(), 3);
    shell.run(&["--prefix", "a:", "clear"]).ok();
    assert_eq!(shell.run(&["keys"]).ok(), "b:1\n");
    shell.run(&["clear", "--yes"]).ok();
    assert_eq!(shell.run(&["keys"]).ok(), "");
    let pruned = shell.run(&["prune"]).ok();
    assert_eq!(pruned, "0\n");
}
