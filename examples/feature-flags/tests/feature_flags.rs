//! Flags are for whom they should be, and the file is for people too.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

fn program(folder: &Path, words: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_feature-flags"));
    program.args(words).current_dir(folder).env_remove("FLAGS");
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

/// A process that ends with the test, however that ends.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a person writes, with nothing but the two fields of each flag.
fn flag(value: &Value) -> Value {
    json!({"expires": null, "value": value})
}

fn edit(folder: &Path, flags: &Value) {
    save(folder, &flags.to_string());
}

/// As an editor does: nobody sees half of it.
fn save(folder: &Path, text: &str) {
    let new = folder.join("flags.json.new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, folder.join("flags.json")).unwrap();
}

#[test]
fn flags_are_set_listed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_eq!(says(folder, &["list"]), "");
    says(folder, &["set", "search", "on"]);
    says(folder, &["set", "checkout", "12.5%"]);
    says(folder, &["set", "banner", "on", "2 weeks"]);
    assert_eq!(
        says(folder, &["list"]),
        "on       banner (for 14 days)\n12.5%    checkout\non       search\n"
    );
    says(folder, &["rm", "search"]);
    assert_eq!(
        run(folder, &["is-on", "search", "ada"]).status.code(),
        Some(3)
    );
    assert_eq!(says(folder, &["is-on", "banner", "ada"]), "on\n");
    for wrong in ["yes", "120%", "-1%", "NaN%", "%"] {
        let output = run(folder, &["set", "search", wrong]);
        assert_eq!(output.status.code(), Some(1), "{wrong}");
    }
    let file = std::fs::read_to_string(folder.join("flags.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(
        file["checkout"],
        json!({"expires": null, "value": {"percent": 12.5}})
    );
}

#[test]
fn a_share_of_the_users_has_a_feature_and_keeps_it_while_it_grows() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let share = |percent: u32| -> Vec<bool> {
        // A hundred flags of the same share: for one user they fall as for a hundred users.
        let flag = flag(&json!({"percent": percent}));
        let flags = (0..100).map(|number| (format!("flag-{number:03}"), flag.clone()));
        edit(folder, &flags.collect());
        let said = says(folder, &["check", "ada"]);
        said.lines().map(|line| line.starts_with("on ")).collect()
    };
    let (few, again, more) = (share(20), share(20), share(60));
    assert_eq!((few.len(), &few), (100, &again));
    let count = |all: &[bool]| all.iter().filter(|is_on| **is_on).count();
    assert!((8..=32).contains(&count(&few)), "{}", count(&few));
    assert!((45..=75).contains(&count(&more)), "{}", count(&more));
    assert!(few.iter().zip(&more).all(|(few, more)| !few || *more));
    assert_eq!((count(&share(0)), count(&share(100))), (0, 100));
}

#[test]
fn a_running_process_sees_what_somebody_edits() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    says(folder, &["set", "search", "off"]);
    let mut watching = program(folder, &["watch", "ada"]);
    let mut watching = watching.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .try_for_each(|line| tell.send(line))
    });
    let watching = Ends(watching);
    let next = || told.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(next(), "watching 1 flags");

    edit(folder, &json!({"search": flag(&json!("on"))}));
    assert_eq!(next(), "search is on for ada");
    // Half a file is no news.
    save(folder, r#"{"search": {"val"#);
    assert_eq!(run(folder, &["list"]).status.code(), Some(1));
    edit(
        folder,
        &json!({"search": flag(&json!("on")), "banner": flag(&json!({"percent": 100}))}),
    );
    assert_eq!(next(), "banner is on for ada");
    says(folder, &["set", "search", "on", "400ms"]);
    assert_eq!(next(), "search is off for ada");
    drop(watching);
}

#[test]
fn a_running_process_says_once_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    edit(folder, &json!({"search": flag(&json!("onn"))}));
    let mut watching = program(folder, &["watch", "ada"]);
    watching.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watching = watching.spawn().unwrap();
    let (tell, told) = mpsc::channel();
    // Both in one: a line too many is seen in either.
    let (output, errors) = (watching.stdout.take(), watching.stderr.take());
    for output in [
        Box::new(output.unwrap()) as Box<dyn Read + Send>,
        Box::new(errors.unwrap()),
    ] {
        let tell = tell.clone();
        thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.try_for_each(|line| tell.send(line))
        });
    }
    let watching = Ends(watching);
    let next = || told.recv_timeout(Duration::from_secs(30)).unwrap();
    let mut first = [next(), next()];
    first.sort();
    assert!(first[0].starts_with("search counts as off: "), "{first:?}");
    assert_eq!(first[1], "watching 1 flags");

    save(folder, "{");
    let said = next();
    assert!(said.starts_with("all flags stay as they were: "), "{said}");
    edit(
        folder,
        &json!({"search": flag(&json!("onnn")), "banner": flag(&json!("on"))}),
    );
    let mut next_two = [next(), next()];
    next_two.sort();
    assert_eq!(next_two[0], "banner is on for ada");
    assert!(
        next_two[1].starts_with("search counts as off: "),
        "{next_two:?}"
    );
    // It looked many times meanwhile, and had nothing more to say.
    for turn in 0..5 {
        let (word, flag) = if turn % 2 == 0 {
            ("off", json!("off"))
        } else {
            ("on", json!("on"))
        };
        edit(
            folder,
            &json!({"search": self::flag(&json!("onnn")), "banner": self::flag(&flag)}),
        );
        assert_eq!(next(), format!("banner is {word} for ada"));
    }
    edit(folder, &json!({"search": flag(&json!("off"))}));
    assert_eq!(next(), "nothing is wrong any more");
    drop(watching);
}

#[test]
fn a_slip_in_one_flag_is_named_and_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    edit(
        folder,
        &json!({"search": flag(&json!("onn")), "banner": flag(&json!("on"))}),
    );
    let output = run(folder, &["list"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.starts_with("on       banner\nWRONG    search: "),
        "{said}"
    );

    assert_eq!(says(folder, &["check", "ada"]), "on  banner\noff search\n");
    for percent in [200, -1] {
        let flag = flag(&json!({"percent": percent}));
        edit(folder, &json!({"search": flag}));
        assert_eq!(run(folder, &["list"]).status.code(), Some(1));
        assert_eq!(says(folder, &["check", "ada"]), "off search\n");
    }
    // One without the two fields is no flag, and no listing has it; asked for, it is an error.
    edit(
        folder,
        &json!({"search": flag(&json!("onn")), "bare": "on"}),
    );
    for name in ["search", "bare"] {
        let output = run(folder, &["is-on", name, "ada"]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("file: get {name:?}")), "{said}");
    }
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    says(folder, &["set", "search", "on"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program(folder, &["list"]).stdout(writer).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
