//! What is wrong is said in time, with exit code 2 or 3, and without secrets.

mod common;

use common::Shell;

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let shell = Shell::new("memory:");
    for args in [
        &[][..],
        &["frobnicate"],
        &["get"],
        &["get", "a", "b"],
        &["set", "a"],
        &["del"],
        &["touch", "a"],
        &["get", "a", "--expires", "1h"],
        &["set", "a", "1", "--expires", "5 fortnights"],
        &["completions", "tcsh"],
        &["--store", "redis://user:hunter2@host/0?table=kv", "keys"],
        // The URL in a place that is not its own.
        &["etcd://user:hunter2@host", "keys"],
        &["get", "a", "etcd://user:hunter2@host/#@1"],
        &["keys", "--stroe=redis://:hunter2@host"],
        &["--store", "hunter2", "keys"],
        &["--store", "", "keys"],
        &["--store", "memory:?hunter=2", "keys"],
        &["--store", "file:hunter2", "set", "a", "1"],
    ] {
        let done = shell.run(args).fails(2);
        assert!(!done.err.is_empty());
        assert!(!done.err.contains("hunter2"), "{done:?}");
    }
    assert!(shell.names().is_empty(), "{:?}", shell.names());
}

#[test]
fn a_server_that_is_not_there_is_exit_code_3_and_no_secret_is_told() {
    // Nothing listens at port 1.
    for url in [
        "redis://user:hunter2@127.0.0.1:1/0",
        "postgres://user:hunter2@127.0.0.1:1/kv",
        "etcd://user:hunter2@127.0.0.1:1",
    ] {
        let shell = Shell::new(url);
        for args in [
            &["get", "a"][..],
            &["set", "a", "1"],
            &["clear", "--yes"],
            &["export"],
            &["copy", url, "memory:"],
        ] {
            let done = shell.run(args).fails(3);
            assert!(done.err.contains("onnect"), "{done:?}");
            assert!(!format!("{done:?}").contains("hunter2"), "{done:?}");
        }
    }
}

#[test]
fn the_store_of_the_environment_shows_nowhere() {
    let shell = Shell::new("redis://user:hunter2@host/0");
    for args in [
        &["--help"][..],
        &["get", "--help"],
        &["keys"],
        &["set", "a"],
    ] {
        let done = shell.run(args);
        assert!(!format!("{done:?}").contains("hunter2"), "{done:?}");
    }
    let help = shell.run(&["--help"]).ok();
    assert!(help.contains("Exit codes:") && help.contains("POLYSTORE_STORE"));
    // What the command line names comes first.
    shell.run(&["--store", "memory:", "keys"]).ok();
}

#[test]
fn a_broken_store_is_exit_code_3_with_each_cause_once() {
    let shell = Shell::new("file:app.json");
    std::fs::write(shell.path("app.json"), "[\"hunter2\"").expect("write");
    for args in [
        &["get", "a"][..],
        &["set", "a", "1"],
        &["keys"],
        &["import", "lines"],
    ] {
        std::fs::write(shell.path("lines"), "{\"key\":\"a\",\"value\":1}").expect("write");
        let done = shell.run(args).fails(3);
        assert!(done.err.starts_with("polystore: file: "), "{done:?}");
        assert!(!done.err.contains("hunter2"), "{done:?}");
        let lines: Vec<&str> = done.err.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            assert!(!lines[n + 1..].contains(line), "{done:?}");
        }
    }
    let left = std::fs::read_to_string(shell.path("app.json")).expect("read");
    assert_eq!(left, "[\"hunter2\"");
}

#[test]
fn the_default_store_is_a_database_in_this_folder() {
    let shell = Shell::new("");
    let run = |args: &[&str]| {
        let output = shell.command(args).env_remove("POLYSTORE_STORE").output();
        output.expect("the program runs")
    };
    assert_eq!(run(&["keys"]).status.code(), Some(0));
    assert!(shell.names().is_empty(), "reading made {:?}", shell.names());
    assert_eq!(run(&["set", "a", "1"]).status.code(), Some(0));
    assert!(shell.path("polystore.db").is_file());
    assert_eq!(run(&["get", "a"]).stdout, b"1\n");
}

#[test]
fn completions_know_the_commands() {
    let shell = Shell::new("memory:");
    for (name, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef"),
        ("fish", "complete -c"),
    ] {
        let script = shell.run(&["completions", name]).ok();
        assert!(
            script.contains(part) && script.contains("prune"),
            "{name}: {script}"
        );
    }
}
