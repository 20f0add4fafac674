//! No tenant sees, changes or removes what belongs to another, whatever their names are.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn program(folder: &Path, words: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_multi-tenant"));
    let program_in = program.args(words).current_dir(folder);
    program_in.env_remove("TENANTS");
    program
}

fn run(folder: &Path, words: &[&str]) -> Output {
    program(folder, words).output().unwrap()
}

/// What it prints, where it must succeed.
fn says(folder: &Path, words: &[&str]) -> String {
    let output = run(folder, words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Names that are beginnings of each other, also with what the prefixes are made of.
const HOSTILE: [&str; 10] = ["a", "a:", "a:b", "a:user:", "1", ":", "1:a", "a%", "A", "é"];

#[test]
fn tenants_keep_apart_whatever_their_names_are() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let page = |name: &str| format!("seat 1: Ada <ada@{name}>\nname = {name}\n");
    for name in &HOSTILE {
        says(folder, &["create", name, "1"]);
        says(folder, &[name, "hire", &format!("ada@{name}"), "Ada"]);
        says(folder, &[name, "set", "name", name]);
    }
    for name in &HOSTILE {
        assert_eq!(says(folder, &[name]), page(name));
    }
    for (gone, name) in HOSTILE.iter().enumerate() {
        says(folder, &["remove", name]);
        assert_eq!(run(folder, &[name]).status.code(), Some(1));
        for other in &HOSTILE[gone + 1..] {
            assert_eq!(says(folder, &[other]), page(other), "after {name:?} went");
        }
    }
    assert_eq!(says(folder, &["list"]), "");
}

#[test]
fn there_are_never_more_users_than_seats() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    says(folder, &["create", "acme", "3"]);
    let hire = |number: usize| {
        let email = format!("{number}@acme");
        let mut hire = program(folder, &["acme", "hire", &email, "somebody"]);
        let hire = hire.stdout(Stdio::null()).stderr(Stdio::null());
        hire.spawn().unwrap()
    };
    let mut hired: Vec<Child> = (0..8).map(hire).collect();
    let succeeded = hired
        .iter_mut()
        .filter_map(|one| one.wait().ok()?.success().then_some(()));
    assert_eq!(succeeded.count(), 3);
    let page = says(folder, &["acme"]);
    for seat in ["seat 1", "seat 2", "seat 3"] {
        assert_eq!(page.matches(seat).count(), 1, "{page}");
    }

    let email = page.split(['<', '>']).nth(1).unwrap();
    assert_eq!(
        run(folder, &["acme", "hire", email, "again"]).status.code(),
        Some(1)
    );
    says(folder, &["acme", "dismiss", email]);
    assert_eq!(
        run(folder, &["acme", "dismiss", email]).status.code(),
        Some(1)
    );
    says(folder, &["acme", "hire", "next@acme", "Next"]);
    assert_eq!(says(folder, &["acme"]).lines().count(), 3);
}

#[test]
fn a_name_is_taken_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    says(folder, &["create", "acme", "3"]);
    let output = run(folder, &["create", "acme", "100"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(says(folder, &["list"]), "acme\n");
}

#[test]
fn what_is_no_name_or_no_number_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (name, seats, words) in [
        ("", "1", "a tenant needs a name"),
        (" ", "1", "a tenant needs a name"),
        ("list", "1", "no tenant can have the name list"),
        ("create", "1", "no tenant can have the name create"),
        ("remove", "1", "no tenant can have the name remove"),
        ("acme", "x", "SEATS is a number, not \"x\""),
    ] {
        let output = run(folder, &["create", name, seats]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(says(folder, &["list"]), "");
}

#[test]
fn a_seat_is_freed_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    says(folder, &["create", "acme", "1"]);
    for round in 0..5 {
        says(folder, &["acme", "hire", "ada@acme", "Ada"]);
        let dismiss = |_: usize| {
            let mut dismiss = program(folder, &["acme", "dismiss", "ada@acme"]);
            let dismiss = dismiss.stdout(Stdio::null()).stderr(Stdio::null());
            dismiss.spawn().unwrap()
        };
        let mut dismissed: Vec<Child> = (0..12).map(dismiss).collect();
        let succeeded = dismissed
            .iter_mut()
            .filter_map(|one| one.wait().ok()?.success().then_some(()));
        // A second one would free the seat of whoever got it meanwhile.
        assert_eq!(succeeded.count(), 1, "round {round}");
    }
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    says(folder, &["create", "acme", "1"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program(folder, &["list"]).stdout(writer).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
