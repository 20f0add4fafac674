//! `serve` as a person starts and stops it.
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Shell, rest};

const TOKEN: &str = "0123456789abcdef";

struct Serving {
    child: Child,
    said: BufReader<ChildStderr>,
    address: String,
}

impl Serving {
    fn start(shell: &Shell, args: &[&str]) -> Self {
        let mut command = shell.command(&["serve", "--listen", "127.0.0.1:0"]);
        Self::of(command.args(args))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("spawn");
        let mut said = BufReader::new(child.stderr.take().expect("stderr"));
        let mut line = String::new();
        said.read_line(&mut line).expect("a line");
        let url = line
            .split([' ', '"'])
            .find_map(|it| it.strip_prefix("http://"));
        let address = url.unwrap_or_else(|| panic!("no address: {line}"));
        let address = address.trim_end_matches('/').to_owned();
        assert!(line.contains(&format!("http://{address}/_/")), "{line}");
        Self {
            child,
            said,
            address,
        }
    }

    fn ask(&self, request: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("connect");
        let length = body.len();
        write!(
            stream,
            "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\
             {headers}\r\n{body}"
        )
        .expect("send");
        let mut told = String::new();
        stream.read_to_string(&mut told).expect("read");
        told
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([name, &pid]).status();
        assert!(status.expect("kill runs").success());
    }

    /// What it says until it has ended.
    fn ends(mut self, code: i32) -> String {
        let said = rest(&mut self.said);
        let status = self.child.wait().expect("wait");
        assert_eq!(status.code(), Some(code), "{said}");
        said
    }
}

#[test]
fn it_serves_what_the_other_commands_see_and_stops_when_told() {
    let shell = Shell::new("sqlite:app.db");
    for signal in ["-TERM", "-INT"] {
        let serving = Serving::start(&shell, &[]);
        assert!(serving.ask("PUT /a", "", "[1]").starts_with("HTTP/1.1 200"));
        assert!(serving.ask("GET /a", "", "").ends_with("[1]"));
        serving.signal(signal);
        serving.ends(0);
        assert_eq!(shell.run(&["get", "a"]).ok(), "[1]\n");
    }
}

#[test]
fn what_is_under_way_is_finished_and_the_second_signal_waits_for_nothing() {
    let shell = Shell::new("memory:");
    for (again, code) in [(false, 0), (true, 130)] {
        let mut serving = Serving::start(&shell, &["--drain", "30s"]);
        let mut stream = TcpStream::connect(&serving.address).expect("connect");
        let head = "PUT /a HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("send");
        stream
            .read_exact(&mut [0; 25])
            .expect("it waits for the body");
        serving.signal("-TERM");
        let mut line = String::new();
        serving.said.read_line(&mut line).expect("a line");
        assert!(line.contains("finishing"), "{line}");
        if again {
            let asked = Instant::now();
            serving.signal("-TERM");
            serving.ends(code);
            assert!(asked.elapsed() < Duration::from_secs(10));
        } else {
            stream.write_all(b"1").expect("send");
            assert!(rest(stream).contains("HTTP/1.1 200"));
            serving.ends(code);
        }
    }
}

#[test]
fn a_port_in_use_is_said() {
    let shell = Shell::new("memory:");
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let done = shell.run(&["serve", "--listen", &address]).fails(3);
    let expected = format!("another program listens on {address} already");
    assert!(
        done.err.contains(&expected) && done.err.contains("--listen"),
        "{}",
        done.err
    );
}

#[test]
fn what_would_be_open_to_others_is_not_started() {
    let shell = Shell::new("memory:");
    let all = ["serve", "--listen", "0.0.0.0:0"];
    let done = shell.run(&all).fails(2);
    for word in [
        "--tokens",
        "POLYSTORE_TOKENS",
        "--allow-anonymous",
        "127.0.0.1",
    ] {
        assert!(done.err.contains(word), "{word}: {}", done.err);
    }
    for tokens in [
        "",
        "short read-only",
        "0123456789abcdef",
        "0123456789abcdef write",
    ] {
        let mut command = shell.command(&all);
        let output = command
            .env("POLYSTORE_TOKENS", tokens)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("token") && !said.contains(TOKEN), "{said}");
    }
    let mut command = shell.command(&["serve", "--listen", "127.0.0.1:0", "--allow-anonymous"]);
    let output = command
        .env("POLYSTORE_TOKENS", format!("{TOKEN} read-only"))
        .output();
    assert_eq!(output.expect("it runs").status.code(), Some(2));
    let wrong = ["--cors-origin", "*"];
    let done = shell.run(&[&["serve", "--listen", "127.0.0.1:0"], &wrong[..]].concat());
    assert!(done.fails(2).err.contains("origin"));
}

#[test]
fn tokens_come_from_a_file_or_the_environment_and_are_read_again() {
    use std::os::unix::fs::PermissionsExt;

    let shell = Shell::new("memory:");
    let file = shell.path("tokens");
    std::fs::write(&file, format!("# people\n{TOKEN} read-write\n")).expect("write");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("permissions");
    let mut serving = Serving::start(&shell, &["--tokens", "tokens", "--path-tokens"]);
    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    assert!(serving.ask("PUT /a", "", "1").starts_with("HTTP/1.1 401"));
    assert!(
        serving
            .ask("PUT /a", &bearer, "1")
            .starts_with("HTTP/1.1 200")
    );
    assert!(
        serving
            .ask(&format!("GET /_/t/{TOKEN}/a"), "", "")
            .starts_with("HTTP/1.1 200")
    );
    let mut said = String::new();
    std::fs::write(&file, "wrong\n").expect("write");
    serving.signal("-HUP");
    while !said.contains("stay as they were") {
        assert!(
            serving.said.read_line(&mut said).expect("a line") > 0,
            "{said}"
        );
    }
    assert!(said.contains("line 1"), "{said}");
    assert!(
        serving
            .ask("GET /a", &bearer, "")
            .starts_with("HTTP/1.1 200")
    );
    std::fs::write(&file, "fedcba9876543210 read-only\n").expect("write");
    serving.signal("-HUP");
    while !said.contains("read the tokens and certificates again") {
        assert!(
            serving.said.read_line(&mut said).expect("a line") > 0,
            "{said}"
        );
    }
    assert!(
        serving
            .ask("GET /a", &bearer, "")
            .starts_with("HTTP/1.1 401")
    );
    let key = "x-api-key: fedcba9876543210\r\n";
    assert!(serving.ask("GET /a", key, "").starts_with("HTTP/1.1 200"));
    serving.signal("-TERM");
    said += &serving.ends(0);
    assert!(
        !said.contains(TOKEN) && !said.contains("everyone"),
        "{said}"
    );

    let mut command = shell.command(&["serve", "--listen", "127.0.0.1:0"]);
    let serving = Serving::of(command.env("POLYSTORE_TOKENS", format!("{TOKEN} read-only p:")));
    assert!(
        serving
            .ask("GET /p%3Aa", &bearer, "")
            .starts_with("HTTP/1.1 404")
    );
    assert!(
        serving
            .ask("PUT /p%3Aa", &bearer, "1")
            .starts_with("HTTP/1.1 403")
    );
    serving.signal("-TERM");
    serving.ends(0);
}

#[test]
fn requests_are_logged_in_json_without_their_keys() {
    let shell = Shell::new("memory:");
    let serving = Serving::start(&shell, &["--log", "info"]);
    serving.ask("PUT /SECRET?expires=60", "", "\"SECRET\"");
    serving.signal("-TERM");
    let said = serving.ends(0);
    assert!(
        said.contains("operation=\"set\"") && !said.contains("SECRET"),
        "{said}"
    );
    let serving = Serving::start(&shell, &["--log", "info", "--json"]);
    serving.ask("GET /SECRET", "", "");
    serving.signal("-TERM");
    let said = serving.ends(0);
    let line = said
        .lines()
        .find(|line| line.contains("operation"))
        .expect("a line");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(
        (&line["operation"], &line["status"]),
        (&"get".into(), &404.into())
    );
    assert!(!said.contains("SECRET"), "{said}");
}

#[test]
fn files_that_are_no_text_are_said_to_be_what_they_are_not() {
    let shell = Shell::new("memory:");
    // As a certificate in DER begins.
    std::fs::write(shell.path("cert.der"), [0x30, 0x82, 0x01, 0xff]).expect("write");
    let args = ["serve", "--listen", "127.0.0.1:0"];
    let file = shell.path("cert.der");
    let file = file.to_str().expect("UTF-8");
    let refused = shell.run(&[&args[..], &["--tls-cert", file, "--tls-key", file]].concat());
    let said = refused.fails(2).err;
    assert!(said.contains("no certificate in PEM"), "{said}");
    let refused = shell.run(&[&args[..], &["--tokens", file]].concat());
    let said = refused.fails(2).err;
    assert!(said.contains("cert.der is not UTF-8"), "{said}");
}
