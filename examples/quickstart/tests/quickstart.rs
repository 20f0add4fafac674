//! The example does what it says, on the data that it says.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn run(folder: &Path) -> String {
    let mut quickstart = Command::new(env!("CARGO_BIN_EXE_quickstart"));
    let output = quickstart.arg(folder).output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn it_runs_again_and_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for _ in 0..2 {
        let said = run(&folder.path().join("not there yet"));
        for line in [
            "imported 249 countries in ",
            "country:EU:FR is France (FRA, 250), capital Paris\n",
            "the Nordic countries are Denmark, Finland, Iceland, Norway, Sweden\n",
            " keys begin with country:EU: from AD to VA\n",
            " of them use the euro\n",
            "the weather is kept for 2",
            "… and was gone after ",
            "a visit is kept as visit:",
            "worker 1 takes the lock\nworker 2 does not get the lock\n",
            "copied 251 entries to ",
        ] {
            assert!(said.contains(line), "{line:?} is not in:\n{said}");
        }
        let copy = folder.path().join("not there yet/copy");
        let names = std::fs::read_dir(copy).expect("the copy").flatten();
        let files = names.filter(|file| !file.file_name().as_encoded_bytes().starts_with(b"."));
        assert_eq!(files.count(), 251);
    }
}

#[test]
fn what_is_no_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for argument in ["--help", "-h", "redis://localhost:1"] {
        let mut quickstart = Command::new(env!("CARGO_BIN_EXE_quickstart"));
        let quickstart = quickstart.arg(argument).current_dir(folder.path());
        let output = quickstart.output().expect("the program runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(argument) && said.contains("usage: quickstart [DIR]"),
            "{said}"
        );
    }
    let made = std::fs::read_dir(folder.path()).expect("the folder");
    assert_eq!(made.count(), 0);
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut quickstart = Command::new(env!("CARGO_BIN_EXE_quickstart"));
    let quickstart = quickstart.arg(folder.path()).stdout(writer);
    let output = quickstart.output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_data_are_the_249_entries_of_iso_3166_1() {
    let countries: Vec<Value> =
        serde_json::from_str(include_str!("../data/countries.json")).expect("JSON");
    assert_eq!(countries.len(), 249);
    for (field, length) in [("alpha2", 2), ("alpha3", 3), ("numeric", 3)] {
        let mut seen = HashSet::new();
        for country in &countries {
            let code = country[field].as_str().expect(field);
            assert_eq!(code.len(), length, "{code}");
            let is_digits = code.bytes().all(|byte| byte.is_ascii_digit());
            let is_letters = code.bytes().all(|byte| byte.is_ascii_uppercase());
            assert!(
                if field == "numeric" {
                    is_digits
                } else {
                    is_letters
                },
                "{code}"
            );
            assert!(seen.insert(code), "{code} is there twice");
        }
    }
    for country in &countries {
        let continent = country["continent"].as_str().expect("continent");
        assert!(["AF", "AN", "AS", "EU", "NA", "OC", "SA"].contains(&continent));
        assert!(!country["name"].as_str().expect("name").is_empty());
    }
}
