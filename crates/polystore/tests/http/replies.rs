//! What becomes of replies: statuses, waits, and bodies that are not what they should be.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use polystore_kv::{ErrorKind, kv};

use super::{Answer, Fake, fails, full, npm, store};

const KINDS: [(u16, ErrorKind, bool); 13] = [
    (400, ErrorKind::InvalidOption, false),
    (401, ErrorKind::Denied, false),
    (403, ErrorKind::Denied, false),
    (405, ErrorKind::Unsupported, false),
    (413, ErrorKind::InvalidValue, false),
    (414, ErrorKind::InvalidKey, false),
    (418, ErrorKind::Unreachable, false),
    (429, ErrorKind::Throttled, true),
    (500, ErrorKind::Unreachable, false),
    (502, ErrorKind::Unreachable, true),
    (503, ErrorKind::Unreachable, true),
    (504, ErrorKind::Timeout, true),
    (507, ErrorKind::Full, false),
];

#[tokio::test]
async fn every_status_but_404_is_an_error_that_names_it() {
    for (status, kind, retryable) in KINDS {
        // More than there is time for.
        let wait = [("retry-after", "60")];
        let ours = [("retry-after", "60"), ("polystore-protocol", "1")];
        let servers = [
            npm(move |_| Answer::new(status, &wait, "secret")),
            full(move |_| Answer::new(status, &ours, "")),
        ];
        for server in servers {
            let store = store(&server);
            let errors = [
                fails(store.get::<u8>("a").await, kind),
                fails(store.set("a", &1).await, kind),
                fails(store.del("a").await, kind),
                fails(store.has("a").await, kind),
                fails(store.keys().await, kind),
                fails(store.clear().await, kind),
            ];
            for error in &errors {
                assert_eq!(error.is_retryable(), retryable, "{error:?}");
                assert!(error.to_string().contains(&status.to_string()), "{error}");
                let wait = retryable.then_some(Duration::from_secs(60));
                assert_eq!(error.retry_after(), wait, "{error:?}");
            }
            assert!(!errors[0].is_maybe_applied());
        }
    }
    let missing = full(|_| Answer::ours(404, ""));
    assert_eq!(store(&missing).get::<u8>("a").await.unwrap(), None);
    let missing = npm(|_| Answer::status(404));
    assert_eq!(store(&missing).get::<u8>("a").await.unwrap(), None);
    // There is always a listing, if an empty one.
    fails(store(&missing).keys().await, ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_problem_is_the_error_that_the_server_had() {
    let problem =
        r#"{"status":507,"kind":"full","detail":"no room","retryable":false,"maybe_applied":true}"#;
    let server = full(move |_| Answer::ours(507, problem));
    let error = fails(store(&server).set("a", &1).await, ErrorKind::Full);
    assert!(error.is_maybe_applied());
    assert_eq!(
        error.to_string(),
        r#"http: set "a": the server replied 507: no room"#
    );
}

/// A server that answers `first` to the first request about a key, and then as it should.
fn at_first(first: Answer) -> Fake {
    let asked = AtomicU32::new(0);
    full(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => first.clone(),
        _ => Answer::ours(200, "7"),
    })
}

#[tokio::test]
async fn the_wait_that_a_server_asks_for_is_kept() {
    for status in [429, 503] {
        let server = at_first(Answer::new(status, &[("retry-after", "1")], ""));
        let store = store(&server);
        let begun = Instant::now();
        assert_eq!(store.get::<u8>("a").await.unwrap(), Some(7));
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_secs(1), "{waited:?}");
        assert_eq!(server.lines().len(), 2);
    }
}

#[tokio::test]
async fn what_may_be_repeated_is_and_an_insert_never() {
    for passing in [Answer::status(502), Answer::status(503), Answer::nothing()] {
        let server = at_first(passing.clone());
        assert_eq!(store(&server).get::<u8>("a").await.unwrap(), Some(7));
        let server = at_first(passing.clone());
        store(&server).set("a", &1).await.unwrap();
        assert_eq!(server.lines(), ["PUT /a", "PUT /a"]);
        let server = at_first(passing.clone());
        assert!(store(&server).replace("a", &1).await.unwrap());
        assert_eq!(server.lines(), ["PUT /a", "PUT /a"]);
        let server = at_first(passing.clone());
        // The first one may have removed it: the second would find nothing.
        let replace = store(&server).replace("a", &1).expires(0).await;
        fails(replace, ErrorKind::Unreachable);
        let server = at_first(passing);
        let insert = store(&server).insert("a", &1).await;
        let error = fails(insert, ErrorKind::Unreachable);
        assert!(error.is_maybe_applied(), "{error:?}");
        assert_eq!(server.lines(), ["PUT /a"]);
    }
    // It was not even looked at.
    let server = at_first(Answer::new(429, &[("retry-after", "0")], ""));
    assert!(store(&server).insert("a", &1).await.unwrap());
    let server = at_first(Answer::status(500));
    fails(store(&server).get::<u8>("a").await, ErrorKind::Unreachable);
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn what_is_not_json_is_an_error() {
    for page in ["<html>secret</html>", "", "{\"secret\":", "1 2"] {
        let server = npm(move |_| Answer::new(200, &[("content-type", "text/html")], page));
        let store = store(&server);
        fails(store.get::<u8>("a").await, ErrorKind::Corrupt);
        fails(store.has("a").await, ErrorKind::Corrupt);
        fails(store.keys().await, ErrorKind::Corrupt);
        let error = fails(store.set("a", &1).await, ErrorKind::Corrupt);
        assert!(error.is_maybe_applied());
    }
}

const CUT: &str = "HTTP/1.1 200 OK\r\npolystore-protocol: 1\r\n";

#[tokio::test]
async fn what_is_cut_short_is_an_error() {
    for (head, body) in [
        ("content-length: 5\r\n", "12"),
        ("transfer-encoding: chunked\r\n", "2\r\n12\r\n"),
        // Nobody can say whether this is whole.
        ("", "12"),
    ] {
        let text = format!("{CUT}{head}\r\n{body}");
        let server = full(move |_| Answer::raw(&*text).closing());
        let url = server.url("/?polystore.timeout=400ms");
        let store = kv(url).unwrap();
        // It is tried again until the time is over.
        for error in [
            store.get::<u8>("a").await.unwrap_err(),
            store.set("a", &1).await.unwrap_err(),
            store.keys().await.unwrap_err(),
        ] {
            assert!(error.is_connection(), "{error:?}");
        }
    }
}

#[tokio::test]
async fn what_is_longer_than_allowed_is_an_error() {
    let long = format!("\"{}\"", "x".repeat(2000));
    let chunked = format!(
        "{CUT}transfer-encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    let line = format!("{{\"key\":\"a\",\"value\":{long}}}");
    for answer in [
        Answer::ours(200, &long),
        Answer::raw(chunked),
        Answer::ours(200, &line),
    ] {
        let server = full(move |_| answer.clone());
        let store = kv(server.url("/?polystore.max_reply=1KB")).unwrap();
        let error = fails(store.get::<String>("a").await, ErrorKind::Unreachable);
        assert!(error.to_string().contains("polystore.max_reply"), "{error}");
        let error = fails(store.values::<String>().await, ErrorKind::Unreachable);
        assert!(error.to_string().contains("polystore.max_reply"), "{error}");
    }
}

#[tokio::test]
async fn a_listing_ends_with_its_last_line_or_an_error() {
    let first = "{\"key\":\"a\",\"value\":1}\n";
    let failed = format!(
        "{first}{{\"error\":{{\"status\":504,\"kind\":\"timeout\",\"detail\":\"slow\",\"retryable\":true}}}}\n"
    );
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let chunked = format!("{CUT}transfer-encoding: chunked\r\n\r\n");
    let cases = [
        (Answer::ours(200, &failed), ErrorKind::Timeout),
        // Half a line, half a listing, nothing more, something else.
        (
            Answer::ours(200, &format!("{first}{{\"key\":")),
            ErrorKind::Unreachable,
        ),
        (
            Answer::raw(format!("{chunked}{}", chunk(first))).closing(),
            ErrorKind::Unreachable,
        ),
        (
            Answer::raw(format!("{chunked}{}", chunk(first))).hanging(),
            ErrorKind::Timeout,
        ),
        (
            Answer::ours(200, &format!("{first}[1]\n")),
            ErrorKind::Unreachable,
        ),
    ];
    for (answer, kind) in cases {
        let server = full(move |_| answer.clone());
        let store = kv(server.url("/?polystore.timeout=500ms")).unwrap();
        let mut entries = store.stream::<u8>();
        assert_eq!(entries.try_next().await.unwrap(), Some(("a".to_owned(), 1)));
        let error = fails(entries.try_next().await, kind);
        assert!(!error.is_maybe_applied(), "{error:?}");
        assert_eq!(entries.try_next().await.unwrap(), None);
        fails(store.keys().await, kind);
    }
}

#[tokio::test]
async fn silence_ends_with_the_time_of_the_operation() {
    let server = full(|_| Answer::raw("").hanging());
    let store = kv(server.url("/?polystore.timeout=300ms")).unwrap();
    let begun = Instant::now();
    assert!(!fails(store.get::<u8>("a").await, ErrorKind::Timeout).is_maybe_applied());
    assert!(fails(store.set("a", &1).await, ErrorKind::Timeout).is_maybe_applied());
    fails(store.keys().await, ErrorKind::Timeout);
    fails(store.clear().await, ErrorKind::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(10));
}
