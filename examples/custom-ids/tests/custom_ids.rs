//! Ids are in the order of time, in listings and pages, and none is given twice.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn program(folder: &Path, words: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_custom-ids"));
    program
        .args(words)
        .current_dir(folder)
        .env_remove("JOURNAL");
    program
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn says(folder: &Path, words: &[&str]) -> Vec<String> {
    lines(&program(folder, words).output().unwrap())
}

/// The last word of each line: what was added.
fn texts(lines: &[String]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect()
}

#[test]
fn a_listing_is_in_the_order_of_time_and_comes_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let add = |text: &&str| says(folder, &["add", text]).remove(0);
    let ids: Vec<String> = ["c", "a", "d", "b", "e"].iter().map(add).collect();
    let all = says(folder, &["list"]);
    assert_eq!(texts(&all), ["c", "a", "d", "b", "e"]);
    assert!(all.iter().zip(&ids).all(|(line, id)| line.starts_with(id)));

    assert_eq!(texts(&says(folder, &["list", "2"])), ["c", "a"]);
    assert_eq!(texts(&says(folder, &["list", "2", &ids[1]])), ["d", "b"]);
    assert_eq!(texts(&says(folder, &["list", "2", &ids[3]])), ["e"]);
    assert_eq!(
        texts(&says(folder, &["since", "1h"])),
        ["c", "a", "d", "b", "e"]
    );
    assert_eq!(says(folder, &["since", "0"]), [""; 0]);
    assert!(
        !program(folder, &["list", "2", "abc"])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn processes_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let start = |number: u32| {
        let mut add = program(folder, &["add", &number.to_string()]);
        add.stdout(Stdio::piped()).spawn().unwrap()
    };
    let adding: Vec<Child> = (0..12).map(start).collect();
    let mut ids = Vec::new();
    for child in adding {
        ids.extend(lines(&child.wait_with_output().unwrap()));
    }
    ids.sort();
    let all = says(folder, &["list"]);
    let listed: Vec<&str> = all
        .iter()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(listed, ids);
    let mut numbers = texts(&all);
    numbers.sort_by_key(|number| number.parse::<u32>().unwrap());
    assert_eq!(
        numbers,
        (0..12).map(|number| number.to_string()).collect::<Vec<_>>()
    );
}

#[test]
fn a_store_without_an_order_is_refused_and_not_listed_anyhow() {
    let folder = tempfile::tempdir().unwrap();
    let mut listing = program(folder.path(), &["list"]);
    let output = listing.env("JOURNAL", "file:journal/").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("in no order"), "{said}");
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    says(folder, &["add", "text"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program(folder, &["list"]).stdout(writer).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
