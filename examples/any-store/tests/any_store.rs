//! The same program on the store that the environment names, and what it says where there is none.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use polystore_servers::Redis;

fn program(environment: &[(&str, &str)]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_any-store"));
    program.env_remove("STORE_URL").env_remove("APP_ENV");
    program.env("PORT", "0").envs(environment.iter().copied());
    program.stdout(Stdio::piped()).stderr(Stdio::piped());
    program
}

/// The program while it serves.
struct Running {
    child: Child,
    address: String,
    kind: String,
}

impl Running {
    fn start(environment: &[(&str, &str)]) -> Self {
        let mut child = program(environment)
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let (address, kind) = line.trim().split_once(", ").unwrap();
        Self {
            child,
            address: address
                .strip_prefix("listening on http://")
                .unwrap()
                .to_owned(),
            kind: kind.rsplit(' ').next().unwrap().to_owned(),
        }
    }

    /// The status and the body.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\ncontent-length: {length}\r\n");
        write!(stream, "{head}content-type: text/plain\r\n\r\n{body}").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    fn add(&self, text: &str) -> String {
        let (status, id) = self.ask("POST", "/", text);
        assert_eq!(status, 201);
        id.trim().to_owned()
    }

    fn health(&self) -> u16 {
        self.ask("GET", "/health", "").0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How it ends, and what it says.
fn refused(environment: &[(&str, &str)]) -> (i32, String) {
    let output = program(environment).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("my-secret"), "{said}");
    (output.status.code().unwrap(), said)
}

#[test]
fn without_a_url_it_develops_in_memory() {
    let first = Running::start(&[]);
    assert_eq!(first.kind, "memory");
    let id = first.add("some \u{1f980} text");
    assert_eq!(
        first.ask("GET", &format!("/{id}"), ""),
        (200, "some \u{1f980} text".into())
    );
    assert_eq!(first.ask("GET", "/nobody", "").0, 404);
    assert_eq!(first.health(), 200);
    // Another process has another memory.
    assert_eq!(Running::start(&[]).ask("GET", &format!("/{id}"), "").0, 404);
}

#[test]
fn with_redis_processes_share_and_an_outage_passes() {
    let Some(redis) = Redis::start() else {
        return;
    };
    let url = redis.url_with("timeout=1s");
    let environment = [("STORE_URL", &url[..]), ("APP_ENV", "production")];
    let (one, two) = (Running::start(&environment), Running::start(&environment));
    assert_eq!((&one.kind[..], &two.kind[..]), ("redis", "redis"));
    let id = one.add("text");
    assert_eq!(two.ask("GET", &format!("/{id}"), ""), (200, "text".into()));

    redis.stop();
    assert_eq!(one.health(), 503);
    assert_eq!(one.ask("GET", &format!("/{id}"), ""), (503, String::new()));
    redis.start_again();
    let deadline = Instant::now() + Duration::from_secs(20);
    while one.health() != 200 {
        assert!(Instant::now() < deadline, "it stays ill");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(one.ask("GET", &format!("/{id}"), ""), (200, "text".into()));
}

#[test]
fn a_wrong_configuration_and_a_store_that_is_away_are_told_apart() {
    let (code, said) = refused(&[("APP_ENV", "production")]);
    assert_eq!(code, 2);
    assert!(said.contains("STORE_URL"), "{said}");
    let (code, said) = refused(&[("APP_ENV", "prod")]);
    assert_eq!(code, 2);
    assert!(said.contains("APP_ENV"), "{said}");
    let (code, said) = refused(&[("STORE_URL", "mysql://user:my-secret@localhost")]);
    assert_eq!(code, 2);
    assert!(said.contains("mysql"), "{said}");
    // Nobody listens at this port.
    let away = "redis://:my-secret@127.0.0.1:1?timeout=500ms";
    let (code, said) = refused(&[("STORE_URL", away)]);
    assert_eq!(code, 3);
    assert!(said.contains("redis: set"), "{said}");
}
