//! Browsers go with their driver.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use polystore_servers::Chromium;

/// How many processes were started with `word` among their arguments.
fn processes(word: &str) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines
        .filter(|line| String::from_utf8_lossy(line).contains(word))
        .count()
}

#[test]
fn a_browser_ends_with_its_driver_also_when_that_is_killed() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let args = chromium.args();
    let profile = args.last().unwrap();
    let body = format!(
        r#"{{"capabilities":{{"alwaysMatch":{{"goog:chromeOptions":{{"binary":{:?},"args":{args:?}}}}}}}}}"#,
        chromium.browser()
    );
    let address = chromium.url().replace("http://", "");
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "POST /session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert!(processes(profile) > 0);
    chromium.kill();
    let deadline = Instant::now() + Duration::from_secs(30);
    while processes(profile) > 0 {
        assert!(Instant::now() < deadline, "the browser is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}
