//! The proxy does to connections what it is told, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use polystore_servers::{Counts, Proxy};

/// Long enough for what is on its way on this machine to arrive, were it not held back.
const SILENCE: Duration = Duration::from_millis(300);

/// A server that says back what it hears.
fn echo() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || say_back(&stream));
        }
    });
    Proxy::to(address)
}

fn say_back(stream: &TcpStream) {
    let (mut from, mut to) = (stream, stream);
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).unwrap();
    stream
}

fn says(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

fn hears(stream: &mut TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(String::from_utf8(heard).unwrap(), text);
}

fn hears_nothing(stream: &mut TcpStream) {
    let patience = stream.read_timeout().unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let heard = stream.read(&mut [0; 1]).unwrap_err();
    assert!(matches!(
        heard.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    stream.set_read_timeout(patience).unwrap();
}

fn is_cut(stream: &mut TcpStream) {
    match stream.read(&mut [0; 1]) {
        Ok(length) => assert_eq!(length, 0, "more came instead of the end"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn everything_is_forwarded_and_counted() {
    let proxy = echo();
    let before = proxy.counts();
    let mut stream = connect(&proxy);
    for _ in 0..3 {
        says(&mut stream, "hello");
        hears(&mut stream, "hello");
    }
    let counts = proxy.counts() - before;
    let expected = Counts {
        connections: 1,
        requests: 3,
        request_bytes: 15,
        replies: 3,
        reply_bytes: 15,
    };
    assert_eq!(counts, expected);
    assert_eq!(proxy.open_connections(), 1);
}

#[test]
fn the_end_of_a_connection_is_forwarded() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    says(&mut stream, "last words");
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    hears(&mut stream, "last words");
    is_cut(&mut stream);
    let deadline = Instant::now() + Duration::from_secs(60);
    while proxy.open_connections() > 0 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn each_direction_is_delayed_by_its_own_time() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    for (requests, replies) in [(200, 0), (0, 200), (100, 100)] {
        let [requests, replies] = [requests, replies].map(Duration::from_millis);
        proxy.delay(requests, replies);
        let begun = Instant::now();
        says(&mut stream, "slow");
        hears(&mut stream, "slow");
        assert!(begun.elapsed() >= requests + replies);
    }
    // What comes behind is not delayed any longer: all of these are on their way at once.
    proxy.delay(Duration::from_millis(200), Duration::ZERO);
    let begun = Instant::now();
    for _ in 0..50 {
        says(&mut stream, "slow");
        // Each a chunk of its own.
        std::thread::sleep(Duration::from_millis(2));
    }
    hears(&mut stream, &"slow".repeat(50));
    assert!(begun.elapsed() < Duration::from_secs(5));
    // This would be heard by nobody who lives.
    proxy.delay(Duration::from_secs(1 << 32), Duration::ZERO);
    proxy.pass();
    says(&mut stream, "fast");
    hears(&mut stream, "fast");
}

#[test]
fn a_cut_ends_what_there_is_and_nothing_else() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    says(&mut stream, "a");
    hears(&mut stream, "a");
    proxy.cut();
    is_cut(&mut stream);
    let mut stream = connect(&proxy);
    says(&mut stream, "b");
    hears(&mut stream, "b");
}

#[test]
fn a_reply_is_cut_in_its_middle_once() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    proxy.cut_after(8);
    says(&mut stream, "abcdef");
    hears(&mut stream, "abcdef");
    says(&mut stream, "ghijkl");
    hears(&mut stream, "gh");
    is_cut(&mut stream);
    let mut stream = connect(&proxy);
    says(&mut stream, "a longer text than that");
    hears(&mut stream, "a longer text than that");
}

#[test]
fn a_truncated_reply_ends_in_silence() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    proxy.truncate_after(2);
    says(&mut stream, "abcdef");
    hears(&mut stream, "ab");
    says(&mut stream, "ghijkl");
    hears_nothing(&mut stream);
    let mut other = connect(&proxy);
    says(&mut other, "other");
    hears(&mut other, "other");
    // It could not make sense any more.
    proxy.pass();
    is_cut(&mut stream);
    says(&mut other, "other");
    hears(&mut other, "other");
}

#[test]
fn what_was_stalled_arrives_late() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    proxy.stall();
    says(&mut stream, "late");
    hears_nothing(&mut stream);
    let mut other = connect(&proxy);
    says(&mut other, "too");
    hears_nothing(&mut other);
    proxy.pass();
    hears(&mut stream, "late");
    hears(&mut other, "too");
}

#[test]
fn a_black_hole_gives_nothing_back() {
    let proxy = echo();
    let mut idle = connect(&proxy);
    says(&mut idle, "a");
    hears(&mut idle, "a");
    proxy.black_hole();
    let mut stream = connect(&proxy);
    says(&mut stream, "gone");
    hears_nothing(&mut stream);
    proxy.pass();
    is_cut(&mut stream);
    // It has lost nothing.
    says(&mut idle, "b");
    hears(&mut idle, "b");
}

#[test]
fn refusing_concerns_new_connections_only() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    says(&mut stream, "a");
    hears(&mut stream, "a");
    for _ in 0..3 {
        proxy.refuse();
        let refused = TcpStream::connect(proxy.address()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        says(&mut stream, "b");
        hears(&mut stream, "b");
        proxy.accept();
        let mut other = connect(&proxy);
        says(&mut other, "c");
        hears(&mut other, "c");
    }
    assert_eq!(proxy.counts().connections, 4);
}

#[test]
fn without_a_server_a_connection_ends_at_once() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::to(nobody.local_addr().unwrap());
    drop(nobody);
    is_cut(&mut connect(&proxy));
}

#[test]
fn a_proxy_that_is_dropped_leaves_nothing() {
    let proxy = echo();
    let address = proxy.address();
    let mut stream = connect(&proxy);
    says(&mut stream, "a");
    hears(&mut stream, "a");
    drop(proxy);
    is_cut(&mut stream);
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_url_leads_through_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let proxy = Proxy::to(server);
    let url = proxy.url(&format!("redis://:secret@{server}/1"));
    assert_eq!(url, format!("redis://:secret@{}/1", proxy.address()));
}
