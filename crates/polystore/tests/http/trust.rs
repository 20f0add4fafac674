//! What replies cannot make of the client: no panic, no endless wait, nothing that nobody has stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use polystore_kv::{ErrorKind, HttpStore, kv};

use super::{Answer, Fake, INFO, fails, full, npm, store};

#[tokio::test]
async fn no_wait_that_a_server_asks_for_is_longer_than_the_time_there_is() {
    for wait in [
        "18446744073709551615",
        "9223372036854775807",
        "99999999999999999999999",
        "86400",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ] {
        for status in [429, 503] {
            let server = full(move |_| Answer::new(status, &[("retry-after", wait)], ""));
            let store = store(&server);
            let begun = Instant::now();
            let errors = [
                store.get::<u8>("a").await.unwrap_err(),
                store.set("a", &1).await.unwrap_err(),
                store.keys().await.unwrap_err(),
                store.clear().await.unwrap_err(),
                store.prune().await.unwrap_err(),
            ];
            assert!(begun.elapsed() < Duration::from_secs(2), "{wait}");
            for error in errors {
                assert!(error.is_retryable(), "{error:?}");
                let told = error.retry_after().unwrap();
                assert!(told >= Duration::from_secs(86_400), "{wait}: {told:?}");
            }
            assert_eq!(server.lines().len(), 5, "{wait}");
        }
    }
    // What is no time is as if it were not said.
    for wait in ["soon", "-1", "1.5", "Fri, 99 Nov 1994 08:49:37 GMT"] {
        let asked = AtomicU8::new(0);
        let server = full(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::new(429, &[("retry-after", wait)], ""),
            _ => Answer::ours(200, "7"),
        });
        assert_eq!(store(&server).get::<u8>("a").await.unwrap(), Some(7));
    }
}

#[tokio::test]
async fn no_time_limit_is_too_long() {
    let server = full(|_| Answer::ours(200, "7"));
    for time in ["1000 years", "200000 years", "290000000000 years"] {
        let url = server.url(&format!("/?polystore.timeout={time}"));
        match kv(url) {
            Ok(store) => {
                assert_eq!(store.get::<u8>("a").await.unwrap(), Some(7), "{time}");
                store.set("a", &1).await.unwrap();
                store.clear().await.unwrap();
            }
            Err(error) => assert!(error.is_usage(), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn only_what_is_a_whole_reply_is_one() {
    for status in [201, 202, 203, 204, 205, 206, 207, 304] {
        let bodies = ["", "7", "{\"key\":\"a\",\"value\":7}\n"];
        for body in bodies {
            let server = full(move |_| match status {
                204 | 304 => Answer::raw(format!(
                    "HTTP/1.1 {status} X\r\npolystore-protocol: 1\r\n\r\n"
                )),
                _ => Answer::ours(status, body),
            });
            let store = store(&server);
            fails(store.get::<u8>("a").await, ErrorKind::Unreachable);
            fails(store.has("a").await, ErrorKind::Unreachable);
            fails(store.keys().await, ErrorKind::Unreachable);
            let many = store.get_many::<u8>(["a", "b"]).await;
            fails(many, ErrorKind::Unreachable);
        }
    }
}

#[tokio::test]
async fn a_batch_is_about_the_keys_that_were_asked_for() {
    let line = |key: &str| format!("{{\"key\":\"{key}\",\"value\":1}}\n");
    for (reply, is_right) in [
        (String::new(), true),
        (line("b"), true),
        (line("b") + &line("a"), true),
        (line("a") + &line("c"), false),
        (line("a") + &line("b") + &line("a"), false),
        (line("a") + "\n", false),
        (line("a") + "\r\n", false),
        (line("a").replace('\n', "\r\n") + &line("b"), true),
        (line("a") + "{\"key\":\"b\",\"value\":", false),
    ] {
        let text = reply.clone();
        let server = full(move |_| Answer::ours(200, &text));
        let got = store(&server).get_many::<u8>(["a", "b"]).await;
        if is_right {
            let got = got.unwrap();
            assert!(got.values().all(|value| *value == 1), "{reply}");
            assert_eq!(got.len(), reply.lines().count(), "{reply}");
        } else {
            fails(got, ErrorKind::Unreachable);
        }
    }
}

#[tokio::test]
async fn a_line_is_never_longer_than_allowed() {
    let long = format!("{{\"key\":\"a\",\"value\":\"{}\"}}\n", "x".repeat(2000));
    let server = full(move |_| Answer::ours(200, &long));
    let store = kv(server.url("/?polystore.max_reply=1KB")).unwrap();
    let error = fails(store.values::<String>().await, ErrorKind::Unreachable);
    assert!(error.to_string().contains("polystore.max_reply"), "{error}");
}

#[tokio::test]
async fn a_null_that_somebody_has_stored_is_nothing_and_ends_no_listing() {
    let line = "{\"key\":\"a\",\"value\":null}\n{\"key\":\"b\",\"value\":1}\n";
    let server = full(move |_| Answer::ours(200, line));
    let store = store(&server);
    assert_eq!(store.values::<u8>().await.unwrap(), [1]);
    let many = store.get_many::<u8>(["a", "b"]).await.unwrap();
    assert_eq!(many.into_iter().collect::<Vec<_>>(), [("b".to_owned(), 1)]);
}

#[tokio::test]
async fn an_expiry_that_is_no_time_is_an_error() {
    for ttl in ["NaN", "nan", "inf", "-inf", "1e300", "soon", ""] {
        let headers = [("polystore-protocol", "1"), ("polystore-ttl", ttl)];
        let server = full(move |_| Answer::new(200, &headers, "7"));
        fails(store(&server).entry("a").await, ErrorKind::Unreachable);
    }
    for ttl in ["0", "-5", "0.001", "8e12"] {
        let headers = [("polystore-protocol", "1"), ("polystore-ttl", ttl)];
        let server = full(move |_| Answer::new(200, &headers, "7"));
        store(&server).entry("a").await.unwrap();
    }
}

#[tokio::test]
async fn interim_replies_without_end_are_not_waited_for() {
    let early = "HTTP/1.1 100 Continue\r\n\r\n".repeat(3);
    let text =
        format!("{early}HTTP/1.1 200 OK\r\npolystore-protocol: 1\r\ncontent-length: 1\r\n\r\n7");
    let server = full(move |_| Answer::raw(&*text));
    assert_eq!(store(&server).get::<u8>("a").await.unwrap(), Some(7));
    let endless = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(50);
    let server = full(move |_| Answer::raw(&*endless).hanging());
    let store = kv(server.url("/?polystore.timeout=300ms")).unwrap();
    store.get::<u8>("a").await.unwrap_err();
    let switch = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
    for server in [
        full(move |_| Answer::raw(switch).hanging()),
        npm(move |_| Answer::raw(switch).hanging()),
        Fake::start(move |_| Answer::raw(switch).hanging()),
    ] {
        let store = kv(server.url("/?polystore.timeout=300ms")).unwrap();
        store.get::<u8>("a").await.unwrap_err();
        store.set("a", &1).await.unwrap_err();
        store.keys().await.unwrap_err();
    }
}

#[tokio::test]
async fn what_has_no_end_is_read_no_further_than_allowed() {
    let many = "400\r\n".to_owned() + &"1".repeat(0x400) + "\r\n";
    let endless = format!(
        "HTTP/1.1 200 OK\r\npolystore-protocol: 1\r\ntransfer-encoding: chunked\r\n\r\n{}",
        many.repeat(64)
    );
    let server = full(move |_| Answer::raw(&*endless).hanging());
    let store = kv(server.url("/?polystore.max_reply=32KiB")).unwrap();
    for error in [
        store.get::<u8>("a").await.unwrap_err(),
        store.set("a", &1).await.unwrap_err(),
        store.keys().await.unwrap_err(),
        store.clear().await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("polystore.max_reply"), "{error}");
    }
    // Lengths that are none, or two.
    for head in [
        "content-length: x",
        "content-length: -1",
        "content-length: 99999999999999999999",
        "content-length: 1\r\ncontent-length: 2",
        "transfer-encoding: gzip",
    ] {
        let text = format!("HTTP/1.1 200 OK\r\npolystore-protocol: 1\r\n{head}\r\n\r\n7");
        let server = full(move |_| Answer::raw(&*text).closing());
        let store = kv(server.url("/?polystore.timeout=300ms")).unwrap();
        store.get::<u8>("a").await.unwrap_err();
        store.set("a", &1).await.unwrap_err();
        store.keys().await.unwrap_err();
    }
    // Nobody has asked for it to be compressed.
    let headers = [("polystore-protocol", "1"), ("content-encoding", "gzip")];
    let server = full(move |_| Answer::new(200, &headers, "\u{1f}\u{8b}"));
    store_fails_at(&server).await;
}

async fn store_fails_at(server: &Fake) {
    let store = store(server);
    store.get::<u8>("a").await.unwrap_err();
    store.set("a", &1).await.unwrap_err();
    store.keys().await.unwrap_err();
    store.get_many::<u8>(["a", "b"]).await.unwrap_err();
}

/// A server that speaks the whole protocol, the npm package's, or another version, as it is told.
fn changing() -> (Fake, Arc<AtomicU8>) {
    let now = Arc::new(AtomicU8::new(0));
    let spoken = Arc::clone(&now);
    let server = Fake::start(move |request| {
        let is_question = request.target.contains("/_/");
        match (spoken.load(Ordering::SeqCst), is_question) {
            (0, true) => Answer::ours(200, INFO),
            (0, false) => Answer::ours(200, "7"),
            (1, true) => Answer::status(404),
            (1, false) => Answer::json("7"),
            _ => Answer::new(200, &[("polystore-protocol", "2")], "7"),
        }
    });
    (server, now)
}

#[tokio::test]
async fn a_write_that_another_server_took_may_have_been_done() {
    let (server, now) = changing();
    let store = store(&server);
    for write in 0..4 {
        now.store(0, Ordering::SeqCst);
        store.get::<u8>("a").await.unwrap();
        now.store(1, Ordering::SeqCst);
        let error = match write {
            0 => store.set("a", &1).await.unwrap_err(),
            1 => store.del("a").await.unwrap_err(),
            2 => store.insert("a", &1).await.unwrap_err(),
            _ => store.clear().await.unwrap_err(),
        };
        assert!(error.is_maybe_applied(), "{write}: {error:?}");
        assert!(!error.is_retryable(), "{write}: {error:?}");
        // The next one finds out what there is now.
        store.set("a", &1).await.unwrap();
        fails(store.insert("a", &1).await, ErrorKind::Unsupported);
        now.store(0, Ordering::SeqCst);
        // It says in each reply what it speaks.
        assert_eq!(store.get::<u8>("a").await.unwrap(), Some(7));
        assert!(store.insert("a", &1).await.unwrap(), "{write}");
    }
}

#[tokio::test]
async fn a_question_that_never_gets_through_is_asked_less_and_less() {
    let server = Fake::start(|request| match request.target.contains("/_/") {
        true => Answer::status(404),
        false => Answer::ours(200, "7"),
    });
    let store = store(&server);
    for _ in 0..100 {
        assert_eq!(store.get::<u8>("a").await.unwrap(), Some(7));
    }
    let asked = server.seen().len() - server.lines().len();
    assert!((2..=8).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_version_that_comes_later_is_no_guess_either() {
    for before in [0, 1] {
        let (server, now) = changing();
        let store = store(&server);
        now.store(before, Ordering::SeqCst);
        store.get::<u8>("a").await.unwrap();
        now.store(2, Ordering::SeqCst);
        fails(store.get::<u8>("a").await, ErrorKind::Unsupported);
        now.store(before, Ordering::SeqCst);
        assert_eq!(store.get::<u8>("a").await.unwrap(), Some(7));
        now.store(2, Ordering::SeqCst);
        let error = fails(store.set("a", &1).await, ErrorKind::Unsupported);
        assert!(error.is_maybe_applied(), "{error:?}");
        fails(store.keys().await, ErrorKind::Unsupported);
    }
}

#[test]
fn what_is_no_name_of_a_variable_is_not_shown() {
    for name in [
        "supersecret",
        "3f9c0d5be1secret",
        "a secret",
        "secret%00",
        "secret=x",
        "SECRET-secret",
    ] {
        let url = format!("http://host/?polystore.token_env={name}");
        let error = fails(kv(url), ErrorKind::InvalidOption);
        assert!(error.to_string().contains("polystore.token_env"), "{error}");
    }
    for token in [
        " secret",
        "secret ",
        "\tsecret",
        "\n",
        "secret\r\nx: y",
        " ",
    ] {
        let given = HttpStore::new("http://host").token(token);
        fails(kv(given), ErrorKind::InvalidOption);
    }
}
