//! The example does what it says, in the stores that it names.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use polystore_servers::{Postgres, Redis};

/// The program, on a port of its own.
struct Program {
    child: Child,
    address: String,
    /// What it writes of errors, read as it comes: with backtraces it is more than a pipe holds.
    errors: Option<JoinHandle<String>>,
}

impl Program {
    fn start(folder: &Path, store: Option<&str>) -> Self {
        let mut child = command(folder, store).spawn().unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.as_mut().unwrap());
        said.read_line(&mut line).unwrap();
        let address = line.split('/').nth(2).unwrap_or_default().to_owned();
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut errors = String::new();
            stderr.read_to_string(&mut errors).unwrap();
            errors
        });
        Self {
            child,
            address,
            errors: Some(errors),
        }
    }

    /// As an administrator would, and gives what it wrote of errors.
    fn end(mut self) -> String {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(status.unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        self.errors.take().unwrap().join().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path, store: Option<&str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_actix-sessions"));
    command.current_dir(folder).env("PORT", "0");
    command.env_remove("STORE").env_remove("SECRET");
    command.envs(store.map(|store| ("STORE", store)));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[derive(Clone, Default)]
struct Browser {
    cookie: String,
}

impl Browser {
    /// The status and the body.
    fn ask(&mut self, program: &Program, method: &str, path: &str, form: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&program.address).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncookie: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            self.cookie,
            form.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        for line in head.lines() {
            if let Some(cookie) = line.strip_prefix("set-cookie: ") {
                assert!(cookie.contains("HttpOnly"), "{cookie}");
                cookie
                    .split(';')
                    .next()
                    .unwrap()
                    .clone_into(&mut self.cookie);
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    fn sees(&mut self, program: &Program, text: &str) {
        let (status, body) = self.ask(program, "GET", "/", "");
        assert!(status == 200 && body.contains(text), "{status}: {body}");
    }
}

/// A person comes, logs in, is still known when the program has started again, and logs out.
fn works(store: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path(), store);
    let mut browser = Browser::default();
    browser.sees(&program, "Visit 1.");
    browser.sees(&program, "Visit 2.");
    let mut before = browser.clone();
    let (status, _) = browser.ask(&program, "POST", "/login", "user=Ada+%3Cb%3E");
    assert_eq!(status, 303);
    browser.sees(&program, "Visit 3.</p><p>You are Ada &lt;b&gt;.");
    // The id from before the login is worth nothing.
    before.sees(&program, "Visit 1.");
    assert_eq!(program.end(), "");

    let program = Program::start(folder.path(), store);
    browser.sees(&program, "Visit 4.</p><p>You are Ada &lt;b&gt;.");
    let mut copy = browser.clone();
    let (status, _) = browser.ask(&program, "POST", "/logout", "");
    assert_eq!(status, 303);
    for browser in [&mut browser, &mut copy] {
        browser.sees(&program, "Visit 1.</p><form method=post action=/login>");
    }
    assert_eq!(program.end(), "");
    assert_eq!(folder.path().join("sessions.db").exists(), store.is_none());
}

#[test]
fn a_restart_keeps_the_logins_in_a_file() {
    works(None);
}

#[test]
fn a_restart_keeps_the_logins_in_redis_and_postgres() {
    for url in [Redis::shared(), Postgres::shared()].into_iter().flatten() {
        works(Some(&url));
    }
}

#[test]
fn a_store_that_goes_down_is_500_with_the_reason_in_the_log_alone() {
    let Some(redis) = Redis::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path(), Some(&redis.url_with("timeout=1s")));
    let mut browser = Browser::default();
    browser.sees(&program, "Visit 1.");
    redis.kill();
    let (status, body) = browser.ask(&program, "GET", "/", "");
    assert_eq!((status, &*body), (500, ""));
    redis.start_again();
    browser.sees(&program, "Visit 2.");
    let log = program.end();
    assert!(log.contains("redis: get: "), "{log}");
}

#[test]
fn what_cannot_work_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), Some("redish://host"))
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && errors.contains("redish"),
        "{errors}"
    );
    // Of a secret, not even a short one is shown.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (variable, value, words) in [
        ("SECRET", "short", "SECRET needs 64 bytes or more"),
        ("PORT", "abc", "PORT is a number up to 65535, not \"abc\""),
        (
            "PORT",
            &address.port().to_string(),
            &format!("could not listen on {address}: "),
        ),
    ] {
        let output = command(folder.path(), Some("memory:"))
            .env(variable, value)
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(words), "{errors}");
        assert!(variable != "SECRET" || !errors.contains(value), "{errors}");
    }
}
