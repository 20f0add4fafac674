//! What is pushed is there for a Worker to read, on Cloudflare's own runtime behind the paths of its API.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::path::Path;
use std::process::{Command, Output};

use polystore_servers::Cloudflare;

fn program(url: &str, token: &str, words: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_cloudflare-kv"));
    program.args(words).env("REDIRECTS", url);
    program.env("CLOUDFLARE_API_TOKEN", token);
    program
}

/// What it prints, where it must succeed.
fn says(server: &Cloudflare, words: &[&str]) -> String {
    let output = program(&server.url(0), Cloudflare::TOKEN, words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn fails(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!said.contains("secret"), "{said}");
    said
}

/// What a Worker would get.
fn value(server: &Cloudflare, key: &str) -> (u16, String) {
    server.api(0, "GET", &format!("/values/{key}"), "")
}

#[test]
fn a_file_becomes_what_is_in_the_namespace() {
    let Some(server) = Cloudflare::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("redirects.txt");
    let push = |text: &str| {
        std::fs::write(&file, text).unwrap();
        says(&server, &["push", path(&file)])
    };
    // Something else in the same namespace stays.
    let put = server.api(0, "PUT", "/values/other", "1");
    assert_eq!(put.0, 200, "{put:?}");

    let said = push("# old paths\n\n/a https://example.org/a\n/b/c  https://example.org/b?x=1\n");
    assert_eq!(said, "2 to write, 0 to remove, of 2\n");
    assert_eq!(
        value(&server, "redirect:%2Fa"),
        (200, r#"{"to":"https://example.org/a"}"#.into())
    );
    assert_eq!(
        says(&server, &["list"]),
        "/a https://example.org/a\n/b/c https://example.org/b?x=1\n"
    );

    let said = push("/b/c https://example.org/b?x=1\n/d https://example.org/d\n");
    assert_eq!(said, "1 to write, 1 to remove, of 2\n");
    assert_eq!(value(&server, "redirect:%2Fa").0, 404);
    assert_eq!(
        push("/b/c https://example.org/b?x=1\n/d https://example.org/d\n"),
        "0 to write, 0 to remove, of 2\n"
    );

    says(&server, &["add", "/sale", "https://example.org/sale", "1h"]);
    assert_eq!(says(&server, &["list"]).lines().count(), 3);
    says(&server, &["rm", "/sale", "/d"]);
    assert_eq!(says(&server, &["list"]), "/b/c https://example.org/b?x=1\n");
    assert_eq!(value(&server, "other"), (200, "1".into()));

    // What the file says is there for good, also what was added for a while.
    says(&server, &["add", "/b/c", "https://example.org/b?x=1", "1h"]);
    let file_again = "/b/c https://example.org/b?x=1\n";
    assert_eq!(push(file_again), "1 to write, 0 to remove, of 1\n");
    assert_eq!(push(file_again), "0 to write, 0 to remove, of 1\n");

    // Nothing is changed by a file with a slip in it.
    std::fs::write(&file, "/x https://example.org\n/y javascript:alert(1)\n").unwrap();
    let mut pushing = program(&server.url(0), Cloudflare::TOKEN, &["push", path(&file)]);
    let said = fails(&pushing.output().unwrap());
    assert!(said.contains("line 2"), "{said}");
    assert_eq!(says(&server, &["list"]).lines().count(), 1);

    let mut adding = program(
        &server.url(0),
        Cloudflare::READ_ONLY,
        &["add", "/x", "https://x"],
    );
    let said = fails(&adding.output().unwrap());
    assert!(said.contains("cloudflare: set \"redirect:/x\""), "{said}");

    says(&server, &["clear"]);
    assert_eq!(says(&server, &["list"]), "");
    assert_eq!(value(&server, "other"), (200, "1".into()));
}

#[test]
fn a_file_that_says_nothing_is_refused_before_anything_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("redirects.txt");
    let push = || {
        let words = ["push", path(&file)];
        let mut pushing = program("cloudflare://account/namespace", "token", &words);
        fails(&pushing.output().unwrap())
    };
    assert!(push().contains("redirects.txt: "));
    std::fs::write(&file, [0xff]).unwrap();
    assert!(push().contains("redirects.txt: "));
    for text in ["", "# none\n\n"] {
        std::fs::write(&file, text).unwrap();
        let said = push();
        assert!(said.contains("no redirect in the file"), "{said}");
    }
}

#[test]
fn what_is_missing_is_said() {
    let mut listing = program("cloudflare://account/namespace", "", &["list"]);
    let output = listing.env_remove("CLOUDFLARE_API_TOKEN").output().unwrap();
    let said = fails(&output);
    assert!(said.contains("CLOUDFLARE_API_TOKEN"), "{said}");
    let output = listing.env_remove("REDIRECTS").output().unwrap();
    assert!(fails(&output).contains("REDIRECTS"));
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
