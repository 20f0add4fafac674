//! How it is found out what a server speaks.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use polystore_kv::{ErrorKind, kv};

use super::{Answer, Fake, INFO, fails, full, store};

#[tokio::test]
async fn a_server_that_does_not_know_the_question_speaks_npm() {
    for status in [200, 204, 304, 400, 404, 405, 406, 501] {
        let server = Fake::start(move |request| match request.target.contains("/_/") {
            true => Answer::status(status),
            false => Answer::json("7"),
        });
        let store = store(&server);
        assert_eq!(store.get::<u8>("a").await.unwrap(), Some(7), "{status}");
        assert!(!store.capabilities().await.unwrap().ttl, "{status}");
        assert_eq!(server.lines(), ["GET /a"], "{status}");
    }
}

#[tokio::test]
async fn a_failure_is_no_answer_and_the_next_one_asks_again() {
    for (status, kind, retryable) in [
        (401, ErrorKind::Denied, false),
        (403, ErrorKind::Denied, false),
        (410, ErrorKind::Unreachable, false),
        (429, ErrorKind::Throttled, true),
        (500, ErrorKind::Unreachable, false),
        (502, ErrorKind::Unreachable, true),
        (503, ErrorKind::Unreachable, true),
        (504, ErrorKind::Timeout, true),
    ] {
        let asked = AtomicU32::new(0);
        let server = Fake::start(move |request| {
            match (
                request.target.contains("/_/"),
                asked.fetch_add(1, Ordering::Relaxed),
            ) {
                // Longer than the operation has time.
                (true, 0) => Answer::new(status, &[("retry-after", "60")], "secret"),
                (true, _) => Answer::ours(200, INFO),
                (false, _) => Answer::ours(200, "7"),
            }
        });
        let store = store(&server);
        let error = fails(store.set("a", &1).await, kind);
        assert_eq!(error.is_retryable(), retryable, "{error:?}");
        assert!(!error.is_maybe_applied(), "{error:?}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(server.seen().len(), 1, "{status}");
        assert_eq!(store.get::<u8>("a").await.unwrap(), Some(7), "{status}");
        assert!(store.capabilities().await.unwrap().insert, "{status}");
    }
}

#[tokio::test]
async fn another_version_is_an_error_and_not_a_guess() {
    let server = Fake::start(|_| Answer::new(200, &[("polystore-protocol", "2")], "{}"));
    fails(store(&server).get::<u8>("a").await, ErrorKind::Unsupported);
    assert!(server.lines().is_empty());
}

#[tokio::test]
async fn it_is_asked_once_however_many_wait() {
    let server = full(|request| match request.target.ends_with("/_/get") {
        true => Answer::ours(200, ""),
        false => Answer::ours(404, ""),
    });
    let store = store(&server);
    let gets = (0..64).map(|n| {
        let store = store.prefix("");
        tokio::spawn(async move { store.get::<u8>(&n.to_string()).await })
    });
    for get in gets.collect::<Vec<_>>() {
        get.await.unwrap().unwrap();
    }
    let seen = server.seen();
    let asked = seen.iter().filter(|it| it.target == "/_/store").count();
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn a_server_that_is_down_is_unreachable_until_it_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let store = kv(format!("http://{address}/")).unwrap();
    let begun = Instant::now();
    let error = fails(store.set("a", &1).await, ErrorKind::Unreachable);
    assert!(
        error.is_retryable() && !error.is_maybe_applied(),
        "{error:?}"
    );
    // A mistake in the URL is told at once.
    assert!(begun.elapsed() < Duration::from_secs(5));
    let _server = Fake::on(TcpListener::bind(address).unwrap(), |request| match request
        .target
        .contains("/_/")
    {
        true => Answer::ours(200, INFO),
        false => Answer::ours(200, "7"),
    });
    assert_eq!(store.get::<u8>("a").await.unwrap(), Some(7));
}

#[tokio::test]
async fn another_server_in_the_place_of_the_old_one_is_no_empty_store() {
    let is_ours = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let now = std::sync::Arc::clone(&is_ours);
    let server = Fake::start(move |request| {
        match (request.target.contains("/_/"), now.load(Ordering::SeqCst)) {
            (true, true) => Answer::ours(200, INFO),
            (false, true) => Answer::ours(200, "7"),
            (_, false) => Answer::status(404),
        }
    });
    let store = store(&server);
    assert_eq!(store.get::<u8>("a").await.unwrap(), Some(7));
    is_ours.store(false, Ordering::SeqCst);
    fails(store.get::<u8>("a").await, ErrorKind::Unreachable);
    // Now it is found out that this one speaks npm.
    assert_eq!(store.get::<u8>("a").await.unwrap(), None);
}
