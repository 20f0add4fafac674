//! What only a socket shows.

use std::time::Duration;

use polystore_server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const SOON: Duration = Duration::from_secs(20);

async fn connect() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(kv("memory:").unwrap());
    tokio::spawn(server.serve(listener, std::future::pending()));
    TcpStream::connect(address).await.unwrap()
}

/// Reads until `end` has come, or the connection ends.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&text).contains(end) {
            if stream.read_buf(&mut text).await.unwrap_or(0) == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(SOON, read).await.unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_body_that_says_to_be_too_long_is_refused_before_it_is_sent() {
    let mut stream = connect().await;
    let request =
        "PUT /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 99999999999\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let reply = read_until(&mut stream, "}").await;
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");
}

#[tokio::test]
async fn a_body_that_is_waited_for_is_asked_for() {
    let mut stream = connect().await;
    let request = "PUT /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let asked = read_until(&mut stream, "\r\n\r\n").await;
    assert!(asked.starts_with("HTTP/1.1 100 "), "{asked}");
    stream.write_all(b"7").await.unwrap();
    let reply = read_until(&mut stream, "\"a\"").await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
}

#[tokio::test]
async fn a_body_in_chunks_is_put_and_head_says_its_length() {
    let mut stream = connect().await;
    let request = "PUT /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[1\r\n3\r\n,2]\r\n0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let reply = read_until(&mut stream, "\"a\"").await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    for (method, query, length) in [
        ("HEAD", "", Some("content-length: 5")),
        ("HEAD", "?ttl=false", None),
        ("GET", "", Some("content-length: 5")),
    ] {
        let request = format!("{method} /a{query} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let end = if method == "GET" { "[1,2]" } else { "\r\n\r\n" };
        let reply = read_until(&mut stream, end).await;
        assert!(
            reply.starts_with("HTTP/1.1 200 ") && reply.ends_with(end),
            "{reply}"
        );
        match length {
            Some(length) => assert!(reply.contains(length), "{reply}"),
            None => assert!(!reply.contains("content-length"), "{reply}"),
        }
    }
}

#[tokio::test]
async fn paths_that_are_not_normal_reach_no_other_key() {
    for path in [
        "/..",
        "/.",
        "//",
        "/a/../b",
        "/./a",
        "/%2e%2e",
        "/_/t/T/..",
        "*",
        "/a%00/b",
    ] {
        let mut stream = connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let reply = read_until(&mut stream, "}").await;
        assert!(reply.starts_with("HTTP/1.1 400 "), "{path}: {reply}");
    }
}
