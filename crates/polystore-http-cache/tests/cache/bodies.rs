//! Bodies of all bytes and of all lengths, kept while they are read.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::StreamExt;
use polystore_http_cache::HttpCache;
use polystore_kv::kv;

use crate::origin::{Origin, client, get, in_memory, reply};

const FRESH: [(&str, &str); 1] = [("cache-control", "max-age=60")];

#[tokio::test]
async fn all_bytes_survive() {
    let all: Vec<u8> = (0..=255).cycle().take(100_003).collect();
    for body in [all, Vec::new(), vec![0], vec![255; 2], vec![b'"'; 3]] {
        let sent = body.clone();
        let origin = Origin::start(move |_| reply(200, &FRESH, sent.clone())).await;
        let client = in_memory();
        for is_hit in [false, true] {
            let got = get(&client, &origin.url("/")).await;
            assert!(got.body == body && got.is_hit() == is_hit, "{}", body.len());
        }
    }
}

#[tokio::test]
async fn all_bytes_of_headers_survive() {
    let all: Vec<u8> = (0x20..=0xff).filter(|byte| *byte != 0x7f).collect();
    let value = axum::http::HeaderValue::from_bytes(&all[1..]).unwrap();
    let sent = value.clone();
    let origin = Origin::start(move |_| {
        let mut reply = reply(200, &FRESH, "");
        reply.headers_mut().insert("x-bytes", sent.clone());
        reply
            .headers_mut()
            .insert("x-quotes", "\"\\a\tb".parse().unwrap());
        reply
    })
    .await;
    let client = in_memory();
    for is_hit in [false, true] {
        let got = get(&client, &origin.url("/")).await;
        assert_eq!((&got.headers["x-bytes"], got.is_hit()), (&value, is_hit));
        assert_eq!(got.headers["x-quotes"], "\"\\a\tb");
    }
}

/// A body of which nobody knows how long it is.
fn chunks(count: u8, length: usize) -> Body {
    let chunks = (0..count).map(move |at| Ok::<_, std::io::Error>(Bytes::from(vec![at; length])));
    Body::from_stream(futures_util::stream::iter(chunks))
}

#[tokio::test]
async fn what_is_longer_than_the_limit_is_passed_on_and_not_kept() {
    for (limit, is_kept) in [(1000, true), (999, false), (0, false)] {
        for is_known in [true, false] {
            let origin = Origin::start(move |_| match is_known {
                true => reply(200, &FRESH, vec![7; 1000]),
                false => reply(200, &FRESH, chunks(10, 100)),
            })
            .await;
            let store = kv("memory:").unwrap();
            let client = client(HttpCache::new(&store).unwrap().max_body_bytes(limit));
            assert_eq!(get(&client, &origin.url("/")).await.body.len(), 1000);
            let again = get(&client, &origin.url("/")).await;
            assert_eq!(
                (again.is_hit(), again.body.len()),
                (is_kept, 1000),
                "{limit} {is_known}"
            );
            assert_eq!(store.keys().await.unwrap().len(), usize::from(is_kept));
        }
    }
}

#[tokio::test]
async fn what_comes_slowly_is_given_as_it_comes() {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<&str>();
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    let origin = Origin::start(move |_| {
        let receiver = receiver.lock().unwrap().take().expect("one request");
        let chunks = futures_util::stream::unfold(receiver, |mut receiver| async {
            let chunk = receiver.recv().await?;
            Some((Ok::<_, std::io::Error>(chunk), receiver))
        });
        reply(200, &FRESH, Body::from_stream(chunks))
    })
    .await;
    let client = in_memory();
    let mut reply = client.get(origin.url("/")).send().await.unwrap();
    for chunk in ["first", "second"] {
        sender.send(chunk).unwrap();
        let got = tokio::time::timeout(Duration::from_secs(20), reply.chunk()).await;
        assert_eq!(got.expect("it is not held back").unwrap().unwrap(), chunk);
    }
    drop(sender);
    assert!(reply.chunk().await.unwrap().is_none());
    assert_eq!(get(&client, &origin.url("/")).await.text(), "firstsecond");
}

#[tokio::test]
async fn what_was_not_read_to_its_end_is_not_kept() {
    let origin = Origin::start(|seen| match seen.before {
        0 => reply(200, &FRESH, chunks(3, 70_000)),
        1 => {
            let broken =
                futures_util::stream::iter([Ok("part"), Err(std::io::Error::other("cut"))]);
            reply(
                200,
                &FRESH,
                Body::from_stream(broken.then(|chunk| async {
                    tokio::task::yield_now().await;
                    chunk
                })),
            )
        }
        _ => reply(200, &FRESH, "whole"),
    })
    .await;
    let client = in_memory();
    let mut dropped = client.get(origin.url("/")).send().await.unwrap();
    dropped.chunk().await.unwrap().expect("a part");
    drop(dropped);
    let broken = client.get(origin.url("/")).send().await.unwrap();
    broken.bytes().await.unwrap_err();
    for is_hit in [false, true] {
        let got = get(&client, &origin.url("/")).await;
        assert_eq!((got.text(), got.is_hit()), ("whole", is_hit));
    }
}

#[tokio::test]
async fn a_reader_that_counts_and_does_not_ask_for_the_end_lets_it_be_kept() {
    let origin = Origin::start(|_| reply(200, &FRESH, "12345")).await;
    let client = in_memory();
    let mut counted = client.get(origin.url("/")).send().await.unwrap();
    assert_eq!(counted.content_length(), Some(5));
    assert_eq!(counted.chunk().await.unwrap().unwrap(), "12345");
    drop(counted);
    assert!(get(&client, &origin.url("/")).await.is_hit());
}
