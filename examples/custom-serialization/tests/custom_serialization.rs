//! What is written reads back, is as small as promised, and older forms are read too.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn program(folder: &Path, words: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_custom-serialization"));
    program.args(words).current_dir(folder).env_remove("NOTES");
    program
}

fn run(folder: &Path, words: &[&str]) -> Output {
    program(folder, words).output().unwrap()
}

/// What it prints, where it must succeed.
fn gives(folder: &Path, words: &[&str]) -> Vec<u8> {
    let output = run(folder, words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    output.stdout
}

fn stored(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("notes.json")).unwrap()).unwrap()
}

#[test]
fn bytes_and_long_texts_read_back_and_are_kept_small() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = "It rained on the way to Tarragona. ".repeat(100) + "é\u{1f980}\n";
    let picture: Vec<u8> = (0..=255).cycle().take(3000).collect();
    std::fs::write(folder.join("text"), &text).unwrap();
    std::fs::write(folder.join("picture"), &picture).unwrap();
    gives(
        folder,
        &["put", "trip", "text", "picture", "holiday", "spain"],
    );
    gives(folder, &["put", "short", "text", "-"]);

    assert_eq!(gives(folder, &["get", "trip"]), text.as_bytes());
    assert_eq!(gives(folder, &["picture", "trip"]), picture);
    assert_eq!(run(folder, &["picture", "short"]).status.code(), Some(1));
    let listed = String::from_utf8(gives(folder, &["list"])).unwrap();
    assert!(
        listed.contains("trip: 3503 characters, a picture of 3000 bytes, [holiday spain]\n"),
        "{listed}"
    );

    let value = &stored(folder)["trip"]["value"];
    assert_eq!(value["v"], "2");
    assert_eq!(value["picture"].as_str().unwrap().len(), 4000);
    assert!(value["text"].as_str().unwrap().len() < text.len() / 2);
    assert_eq!(
        stored(folder)["short"]["value"].as_object().unwrap().len(),
        2
    );
}

#[test]
fn what_the_first_release_wrote_is_read_and_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let old = json!({"old": {"expires": null, "value": "as it was"}});
    std::fs::write(folder.join("notes.json"), old.to_string()).unwrap();
    let text = gives(folder, &["get", "old"]);
    assert_eq!(text, b"as it was");
    std::fs::write(folder.join("text"), text).unwrap();
    gives(folder, &["put", "old", "text", "-"]);
    assert_eq!(stored(folder)["old"]["value"]["v"], "2");
    assert_eq!(gives(folder, &["get", "old"]), b"as it was");
}

#[test]
fn what_cannot_be_read_is_an_error_that_shows_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Of a later release; half of a picture; a gigabyte of text in five bytes.
    let wrong = [
        json!({"v": "3", "secret": "secret"}),
        json!({"v": "2", "text": "AA==", "picture": "secret!"}),
        json!({"v": "2", "text": "gICAgAQ="}),
        json!(7),
    ];
    for wrong in wrong {
        let notes = json!({
            "good": {"expires": null, "value": "fine"},
            "wrong": {"expires": null, "value": wrong},
        });
        std::fs::write(folder.join("notes.json"), notes.to_string()).unwrap();
        let output = run(folder, &["get", "wrong"]);
        assert_eq!(output.status.code(), Some(1), "{wrong}: {output:?}");
        let listed = run(folder, &["list"]);
        let said = String::from_utf8([output.stderr, listed.stderr].concat()).unwrap();
        assert!(said.contains("file: get \"wrong\""), "{said}");
        assert!(said.contains("left out: file: stream \"wrong\""), "{said}");
        assert!(!said.contains("secret"), "{said}");
        assert_eq!(
            listed.stdout,
            b"good: 4 characters, a picture of 0 bytes, []\n"
        );
        // And nothing was changed by reading.
        assert_eq!(stored(folder), notes);
    }
}

#[test]
fn what_is_no_store_or_no_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("binary"), [0xff]).unwrap();
    for [text, picture, words] in [
        ["nowhere", "-", "nowhere: "],
        ["binary", "-", "binary is no text"],
        ["text", "no-picture", "no-picture: "],
    ] {
        std::fs::write(folder.join("text"), "text").unwrap();
        let output = run(folder, &["put", "trip", text, picture]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(words), "{said}");
    }
    // Not one of the notes, but all of them.
    std::fs::write(folder.join("notes.json"), "xx").unwrap();
    let output = run(folder, &["list"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("notes.json") && !said.contains("left out"),
        "{said}"
    );
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("text"), "text").unwrap();
    gives(folder, &["put", "trip", "text", "-"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program(folder, &["list"]).stdout(writer).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
