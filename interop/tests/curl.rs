//! The examples of `docs/curl.md`, as they stand there.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::process::{Command, Stdio};

use polystore_interop::{Served, blocks};
use polystore_kv::kv;
use polystore_server::{Server, Tokens};
use polystore_servers::skip;

/// Where the page says that the server is.
const SAID: &str = "http://127.0.0.1:3000/";

/// The tokens that the page names.
const TOKENS: &str =
    "an-example-token-to-write read-write\nan-example-token-to-read read-only user:\n";

/// Each command of a session in a shell, with what it prints.
fn session(text: &str) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    let mut is_command = false;
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push((command.to_owned(), String::new()));
        } else {
            let (command, output) = steps.last_mut().expect("a session begins with a command");
            let text = if is_command { command } else { output };
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line);
        }
        is_command = line.ends_with(['|', '\\']);
    }
    steps
}

/// Whether `text` is `pattern`, in which `…` stands for anything within a line.
fn is_like(text: &str, pattern: &str) -> bool {
    let (mut texts, mut patterns) = (text.lines(), pattern.lines());
    loop {
        match (texts.next(), patterns.next()) {
            (None, None) => return true,
            (Some(text), Some(pattern)) if line_is_like(text, pattern) => {}
            _ => return false,
        }
    }
}

fn line_is_like(text: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('…') else {
        return text == pattern;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.into_iter().any(|end| line_is_like(&text[end..], rest))
}

#[test]
fn what_differs_is_what_is_left_out() {
    assert!(is_like("abc\nd", "a…c\nd"));
    assert!(is_like("{\"a\":1,\"b\":2}", "{…\"b\":2…}"));
    assert!(!is_like("abc", "a…d"));
    assert!(!is_like("abc\n", "ab"));
    assert!(!is_like("a", "a\nb"));
    assert!(!is_like("a\nb", "a"));
    assert!(!is_like("a\nb", "a…b"));
}

#[test]
fn each_example_prints_what_the_page_says() {
    if Command::new("curl").arg("--version").output().is_err() {
        skip("needs curl (cargo xtask test installs it)");
        return;
    }
    let mut commands = 0;
    for block in blocks("curl.md") {
        let server = Server::new(kv("memory:").unwrap());
        let served = Served::with(match &block.language[..] {
            "console" => server,
            "console tokens" => {
                let tokens: Tokens = TOKENS.parse().unwrap();
                server.tokens(tokens)
            }
            _ => continue,
        });
        for (command, expected) in session(&block.text) {
            assert!(command.contains(SAID), "{command}");
            let here = command.replace(SAID, &served.url());
            let output = Command::new("sh")
                .args(["-c", &here])
                // As the shell of a reader has it, without what a person has set up for curl or for a proxy.
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap())
                .env("HOME", "/nonexistent")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert!(output.status.success(), "{command}");
            let printed = String::from_utf8(output.stdout).unwrap();
            let printed = printed.replace('\r', "");
            assert!(
                is_like(&printed, &expected),
                "{command}\nprints {printed}\ninstead of {expected}"
            );
            commands += 1;
        }
    }
    assert!(commands > 30, "{commands}");
}
