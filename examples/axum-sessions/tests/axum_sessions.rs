//! The example keeps sessions over a restart and among instances, and ends when it is told to.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use polystore_servers::Redis;

/// The program, as it runs.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Running {
    fn start(store: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_axum-sessions"));
        command
            .env("PORT", "0")
            .env_remove("STORE")
            .envs(store.map(|url| ("STORE", url)));
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("it says something");
        let kind = store.map_or("memory", |url| url.split(':').next().expect("a scheme"));
        let address = line
            .strip_prefix("http://")
            .and_then(|rest| rest.strip_suffix(&format!("/ with sessions in {kind}\n")))
            .unwrap_or_else(|| panic!("it said {line:?}"));
        Self {
            address: address.to_owned(),
            child,
            output,
        }
    }

    /// Ends it as a service manager does: what it said since it began, and what of errors.
    fn end(mut self) -> (String, String) {
        let kill = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        assert!(kill.expect("there is kill").success());
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
        let (mut said, mut errors) = (String::new(), String::new());
        self.output.read_to_string(&mut said).expect("it is text");
        let mut stderr = self.child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut errors).expect("it is text");
        (said, errors)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A browser with one cookie.
#[derive(Default)]
struct Browser {
    cookie: String,
}

impl Browser {
    /// The status, and the body.
    fn ask(&mut self, program: &Running, request: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&program.address).expect("it listens");
        let request = format!(
            "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncookie: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            self.cookie,
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("it answers");
        let (head, body) = reply.split_once("\r\n\r\n").expect("it is HTTP");
        for line in head.lines() {
            if let Some(cookie) = line.strip_prefix("set-cookie: ") {
                self.cookie = cookie.split(';').next().expect("a cookie").to_owned();
            }
        }
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (status.expect("it has a status"), body.to_owned())
    }

    fn home(&mut self, program: &Running) -> String {
        let (status, page) = self.ask(program, "GET /", "");
        assert_eq!(status, 200, "{page}");
        page
    }

    fn log_in(&mut self, program: &Running, user: &str) {
        let before = self.cookie.clone();
        let (status, said) = self.ask(program, "POST /login", &format!("user={user}"));
        assert_eq!(status, 303, "{said}");
        assert_ne!(self.cookie, before, "a login gives another id");
    }
}

#[test]
fn in_memory_it_counts_visits_logs_in_and_out_and_escapes_names() {
    let program = Running::start(None);
    let mut ada = Browser::default();
    assert!(ada.home(&program).contains("Visit 1.") && !ada.cookie.is_empty());
    assert!(ada.home(&program).contains("Visit 2."));
    ada.log_in(&program, "%3Cb%3EAda");
    let page = ada.home(&program);
    assert!(
        page.contains("Visit 3.") && page.contains("You are &lt;b&gt;Ada."),
        "{page}"
    );
    assert!(Browser::default().home(&program).contains("Visit 1."));

    let mut stolen = Browser {
        cookie: ada.cookie.clone(),
    };
    assert_eq!(ada.ask(&program, "POST /logout", "").0, 303);
    for browser in [&mut ada, &mut stolen] {
        let page = browser.home(&program);
        assert!(
            page.contains("Visit 1.") && page.contains("Log in"),
            "{page}"
        );
    }
    assert_eq!(program.end(), ("ended\n".to_owned(), String::new()));
}

#[test]
fn a_port_that_is_none_or_taken_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    for (port, words) in [
        ("abc", "PORT is a number up to 65535, not \"abc\""),
        (
            &address.port().to_string(),
            &format!("could not listen on {address}: "),
        ),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_axum-sessions"));
        let output = program.env("PORT", port).env_remove("STORE").output();
        let output = output.expect("the program runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(words), "{errors}");
    }
}

#[test]
fn in_sqlite_a_restart_keeps_who_is_logged_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}/sessions.db", folder.path().display());
    let mut ada = Browser::default();
    for start in 1..=3 {
        let program = Running::start(Some(&url));
        if start == 1 {
            ada.log_in(&program, "Ada");
        }
        let page = ada.home(&program);
        let visit = format!("Visit {start}.");
        assert!(
            page.contains(&visit) && page.contains("You are Ada."),
            "{page}"
        );
        assert_eq!(program.end(), ("ended\n".to_owned(), String::new()));
    }
}

#[test]
fn in_redis_two_instances_share_sessions_and_an_outage_is_an_error() {
    // What it has answered is on the disk.
    let Some(redis) = Redis::with(&["appendfsync always"]) else {
        return;
    };
    let url = redis.url_with("timeout=1s");
    let programs = [Running::start(Some(&url)), Running::start(Some(&url))];
    let mut ada = Browser::default();
    ada.log_in(&programs[0], "Ada");
    for visit in 1..=6 {
        let page = ada.home(&programs[visit % 2]);
        assert!(
            page.contains(&format!("Visit {visit}.")) && page.contains("You are Ada."),
            "{page}"
        );
    }
    redis.kill();
    let (status, page) = ada.ask(&programs[0], "GET /", "");
    assert_eq!((status, &*page), (500, "Please try again later."));
    redis.start_again();
    assert!(ada.home(&programs[0]).contains("Visit 7."));

    let [first, second] = programs;
    let (_, errors) = first.end();
    assert!(errors.starts_with("redis: get: "), "{errors}");
    let id = ada.cookie.trim_start_matches("id=");
    assert!(id.len() == 22 && !errors.contains(id), "{errors}");
    second.end();
}
