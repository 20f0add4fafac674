//! Slow clients hold nobody up, and much at once is bounded.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use std::time::{Duration, Instant};

use common::{eventually, run, until_closed};
use polystore_kv::{Store, kv};
use polystore_server::{Limits, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.header_time = Duration::from_millis(800);
    limits.request_time = Duration::from_millis(800);
    limits.idle_time = Duration::from_millis(1500);
    limits
}

fn server(store: &Store) -> Server {
    Server::new(store.clone()).limits(limits())
}

async fn filled() -> Store {
    let store = kv("memory:").unwrap();
    let value = "x".repeat(10_000);
    let entries: Vec<(String, &str)> = (0..4_000).map(|n| (format!("k{n:05}"), &*value)).collect();
    store.set_many(entries).await.unwrap();
    store
}

/// How many requests are under way, but for the one that asks.
async fn in_flight(running: &common::Running) -> usize {
    let told = running.get("/_/metrics").await;
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("polystore_requests_in_flight "));
    line.unwrap().parse::<usize>().unwrap() - 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_that_send_a_byte_a_time_are_cut_while_others_are_served() {
    let running = run(server(&kv("memory:").unwrap())).await;
    let began = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut stream = running.connect().await;
        slow.push(tokio::spawn(async move {
            let head =
                "GET /a HTTP/1.1\r\nhost: localhost\r\nx-long: ".to_owned() + &"a".repeat(999);
            for byte in head.as_bytes() {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                let mut byte = [0];
                let read = stream.read(&mut byte);
                if let Ok(read) = tokio::time::timeout(Duration::from_millis(100), read).await {
                    assert!(matches!(read, Ok(0) | Err(_)), "something was answered");
                    return;
                }
            }
            panic!("it was never cut");
        }));
    }
    while slow.iter().any(|it| !it.is_finished()) {
        let asked = Instant::now();
        assert!(running.get("/ping").await.starts_with("HTTP/1.1 200"));
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{:?}",
            asked.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for it in slow {
        it.await.unwrap();
    }
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_timeout() {
    let store = kv("memory:").unwrap();
    let running = run(server(&store)).await;
    let began = "PUT /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n\"12";
    let told = running.tell(began).await;
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
    assert!(
        told.contains(r#""kind":"timeout","retryable":true"#),
        "{told}"
    );
    // In lines it may take longer, as long as it goes on.
    let mut stream = running.connect().await;
    let head = "POST /_/set HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 6144\r\n\
        content-type: application/x-ndjson\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for n in 0..6 {
        let line = format!("{{\"key\":\"{n}\",\"value\":\"{n:01001}\"}}\n");
        assert_eq!(line.len(), 1024);
        stream.write_all(line.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let told = until_closed(&mut stream).await;
    assert!(told.contains("{\"set\":6}"), "{told}");
    let began = "POST /_/set HTTP/1.1\r\nhost: localhost\r\ncontent-length: 20\r\n\
        content-type: application/x-ndjson\r\n\r\n{\"key\"";
    assert!(running.tell(began).await.starts_with("HTTP/1.1 408"));
}

#[tokio::test]
async fn lines_that_trickle_hold_no_place_for_ever() {
    let store = kv("memory:").unwrap();
    let running = run(server(&store)).await;
    let mut stream = running.connect().await;
    let head = "POST /_/set HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\
        content-type: application/x-ndjson\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // What came fast does not buy a long time of next to nothing.
    let line = format!("{{\"key\":\"first\",\"value\":\"{:060000}\"}}\n", 0);
    let chunk = format!("{:x}\r\n{line}\r\n", line.len());
    stream.write_all(chunk.as_bytes()).await.unwrap();
    let began = Instant::now();
    let mut answer = [0; 12];
    loop {
        // Often enough that it is never idle.
        let _ = stream.write_all(b"1\r\n \r\n").await;
        let read = stream.read_exact(&mut answer);
        if let Ok(read) = tokio::time::timeout(Duration::from_millis(100), read).await {
            read.unwrap();
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "it goes on");
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
    eventually("its place is free", async || in_flight(&running).await == 0).await;
}

#[tokio::test]
async fn who_does_not_read_a_list_is_dropped_and_the_list_with_it() {
    let store = filled().await;
    let running = run(server(&store)).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(running.address).await.unwrap();
    let ask = "GET /?prefix= HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    eventually("the list is under way", async || {
        in_flight(&running).await == 1
    })
    .await;
    eventually("the list is dropped", async || {
        in_flight(&running).await == 0
    })
    .await;
    let read = until_closed(&mut stream).await;
    assert!(read.len() < 40_000_000, "all of it was sent");
    // Who reads on is served to the end, however slowly.
    let told = running.get("/?prefix=").await;
    assert!(told.len() > 40_000_000, "{}", told.len());
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let running = run(server(&kv("memory:").unwrap())).await;
    let mut stream = running.connect().await;
    let asked = Instant::now();
    stream
        .write_all(b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let told = until_closed(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    assert!(
        asked.elapsed() >= Duration::from_millis(1400),
        "{:?}",
        asked.elapsed()
    );
    let mut silent = running.connect().await;
    assert_eq!(until_closed(&mut silent).await, "");
}

#[tokio::test]
async fn beyond_its_requests_it_says_so_at_once() {
    let mut limits = Limits::default();
    limits.requests = 2;
    let running = run(Server::new(filled().await).limits(limits)).await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = running.connect().await;
        let ask = b"GET /?prefix= HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        streams.push(stream);
    }
    eventually("both are under way", async || {
        in_flight(&running).await == 2
    })
    .await;
    let told = running.get("/a").await;
    assert!(told.starts_with("HTTP/1.1 429"), "{told}");
    assert!(
        told.contains("retry-after: 1\r\n") && told.contains("throttled"),
        "{told}"
    );
    assert!(running.get("/ping").await.starts_with("HTTP/1.1 200"));
    drop(streams);
    eventually("there is room again", async || {
        running.get("/a").await.starts_with("HTTP/1.1 404")
    })
    .await;
}

#[tokio::test]
async fn beyond_its_connections_they_are_closed_at_once() {
    let mut limits = Limits::default();
    limits.connections = 2;
    let running = run(Server::new(kv("memory:").unwrap()).limits(limits)).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = running.connect().await;
        stream
            .write_all(b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut told = [0; 12];
        stream.read_exact(&mut told).await.unwrap();
        kept.push(stream);
    }
    let mut third = running.connect().await;
    let told = until_closed(&mut third).await;
    assert!(told.starts_with("HTTP/1.1 429"), "{told}");
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    let length = format!("content-length: {}", body.len());
    for line in [&*length, "retry-after: 1", "polystore-protocol: 1"] {
        assert!(head.lines().any(|it| it == line), "{line}: {head}");
    }
    assert!(
        body.contains(r#""kind":"throttled","retryable":true"#),
        "{body}"
    );
    kept.pop();
    eventually("there is room again", async || {
        running.get("/ping").await.starts_with("HTTP/1.1 200")
    })
    .await;
}

#[tokio::test]
async fn limits_may_be_as_high_as_can_be() {
    let mut limits = Limits::default();
    (limits.body, limits.key, limits.headers) = (usize::MAX, usize::MAX, usize::MAX);
    (limits.requests, limits.connections) = (usize::MAX, usize::MAX);
    (limits.request_time, limits.idle_time) = (Duration::MAX, Duration::MAX);
    (limits.header_time, limits.drain_time) = (Duration::MAX, Duration::MAX);
    let running = run(Server::new(filled().await).limits(limits)).await;
    assert!(running.get("/a").await.starts_with("HTTP/1.1 404"));
    assert!(running.get("/?prefix=").await.starts_with("HTTP/1.1 200"));
    running.stop.send(()).unwrap();
    running.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_too_long_is_refused() {
    let mut limits = Limits::default();
    (limits.body, limits.key, limits.headers) = (100, 20, 4096);
    let running = run(Server::new(kv("memory:").unwrap()).limits(limits)).await;
    let long = "x".repeat(101);
    let put = format!(
        "PUT /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 103\r\nconnection: close\r\n\r\n\"{long}\""
    );
    assert!(running.tell(&put).await.starts_with("HTTP/1.1 413"));
    assert!(
        running
            .get(&format!("/{}?prefix=abcd", &long[..17]))
            .await
            .starts_with("HTTP/1.1 414")
    );
    assert!(
        running
            .get(&format!("/{}?prefix=abcd", &long[..16]))
            .await
            .starts_with("HTTP/1.1 404")
    );
    let head = format!(
        "GET /a HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
        "y".repeat(5000)
    );
    assert!(running.tell(&head).await.starts_with("HTTP/1.1 431"));
    let body = format!("{{\"keys\":[\"{}\"]}}", &long[..21]);
    let post = format!(
        "POST /_/del HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    assert!(running.tell(&post).await.starts_with("HTTP/1.1 400"));
}
