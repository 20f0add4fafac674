//! The same program on the store that the environment names, and what it says where there is none.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
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
    said: BufReader<ChildStdout>,
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
            said,
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

    /// As a service manager does.
    fn terminate(&self) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(status.unwrap().success());
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
fn health_does_not_wait_as_long_as_the_store_may_take() {
    let Some(redis) = Redis::start() else {
        return;
    };
    let url = redis.url_with("timeout=10min");
    let running = Running::start(&[("STORE_URL", &url)]);
    assert_eq!(running.health(), 200);
    // It takes what it is sent, and answers nothing.
    redis.pause();
    let begun = Instant::now();
    assert_eq!(running.health(), 503);
    assert!(begun.elapsed() < Duration::from_secs(60));
    redis.resume();
}

#[test]
fn what_is_under_way_is_answered_before_it_ends() {
    let mut running = Running::start(&[]);
    let mut stream = TcpStream::connect(&running.address).unwrap();
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 4\r\n";
    write!(
        stream,
        "{head}content-type: text/plain\r\nexpect: 100-continue\r\n\r\n"
    )
    .unwrap();
    let mut reply = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reply.read_line(&mut line).unwrap();
    // From here on it waits for the text.
    assert!(line.starts_with("HTTP/1.1 100 "), "{line}");
    running.terminate();
    stream.write_all(b"text").unwrap();
    let mut rest = String::new();
    reply.read_to_string(&mut rest).unwrap();
    assert!(rest.trim_start().starts_with("HTTP/1.1 201 "), "{rest}");

    let mut said = String::new();
    running.said.read_to_string(&mut said).unwrap();
    assert_eq!(said, "ended\n");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_no_store_that_is_away() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, said) = refused(&[("PORT", &address.port().to_string())]);
    assert_eq!(code, 1);
    assert!(said.contains(&address.to_string()), "{said}");
    let (code, said) = refused(&[("PORT", "abc")]);
    assert_eq!(code, 2);
    assert!(said.contains("PORT"), "{said}");
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
