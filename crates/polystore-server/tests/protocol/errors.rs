//! What a store's failure becomes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use polystore_kv::backend::{Backend, BoxStream, Info, Scan, async_trait};
use polystore_kv::{Entry, Error, ErrorKind, Expiry, Result};

use super::*;

const SECRET: &str = "postgres://ada:hunter2@10.0.0.7/kv";

/// Fails with one kind of error, each time or after so many entries of a listing.
struct Failing {
    kind: ErrorKind,
    after: usize,
    /// How many batches are put before it fails.
    batches: AtomicUsize,
}

impl Failing {
    fn error(&self) -> Error {
        Error::new(self.kind, format!("no {SECRET}"))
    }
}

#[async_trait]
impl Backend for Failing {
    fn info(&self) -> Info {
        Info::new("failing")
    }
    async fn get(&self, _key: &str) -> Result<Option<Entry>> {
        Err(self.error())
    }
    async fn set(&self, _key: &str, _entry: Entry) -> Result<()> {
        Err(self.error())
    }
    async fn del(&self, _key: &str) -> Result<()> {
        Err(self.error())
    }
    async fn set_many(&self, _entries: Vec<(String, Entry)>) -> Result<()> {
        match self.batches.load(Ordering::Relaxed) {
            0 => Err(self.error()),
            left => {
                self.batches.store(left - 1, Ordering::Relaxed);
                Ok(())
            }
        }
    }
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        match keys.first().map(String::as_str) {
            Some("0") => Ok(vec![
                Some(Entry::from_stored("1", Expiry::Never));
                keys.len()
            ]),
            _ => Err(self.error()),
        }
    }
    fn scan(&self, _scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let entry = |n| Ok((format!("{n:05}"), Entry::from_stored("1", Expiry::Never)));
        let failure = stream::iter([Err(self.error())]);
        stream::iter(0..self.after)
            .map(entry)
            .chain(failure)
            .boxed()
    }
}

fn failing(kind: ErrorKind, after: usize) -> Router {
    let batches = AtomicUsize::new(1);
    let backend = Failing {
        kind,
        after,
        batches,
    };
    polystore_server::router(kv(backend).unwrap())
}

#[tokio::test]
async fn each_kind_of_error_has_its_status() {
    use ErrorKind as Kind;
    for (kind, status, name, retryable) in [
        (Kind::InvalidKey, 400, "invalid_key", false),
        (Kind::InvalidValue, 400, "invalid_value", false),
        (Kind::InvalidOption, 400, "invalid_option", false),
        (Kind::Encode, 400, "encode", false),
        (Kind::ReadOnly, 403, "read_only", false),
        (Kind::Throttled, 429, "throttled", true),
        (Kind::Decode, 500, "decode", false),
        (Kind::Corrupt, 500, "corrupt", false),
        (Kind::Unsupported, 501, "unsupported", false),
        (Kind::Unreachable, 502, "unreachable", false),
        (Kind::Denied, 502, "unreachable", false),
        (Kind::Closed, 503, "closed", false),
        (Kind::Timeout, 504, "timeout", true),
        (Kind::Full, 507, "full", false),
    ] {
        let app = failing(kind, 0);
        for (what, headers, body) in [
            ("GET /a", &[][..], ""),
            ("GET /a?ttl=false", &[], ""),
            ("PUT /a", &[], "1"),
            ("PUT /a", &[], "null"),
            ("DELETE /a", &[], ""),
            ("POST /", &[JSON], "1"),
            ("GET /?prefix=", &[], ""),
            ("GET /?prefix=&limit=3", &[LINES], ""),
            ("DELETE /?prefix=a", &[], ""),
            ("POST /_/get", &[JSON], "{\"keys\":[\"a\"]}"),
            ("POST /_/del", &[JSON], "{\"keys\":[\"a\"]}"),
            ("POST /_/evict", &[JSON], "{\"key\":\"a\",\"value\":1}"),
            ("GET /_/ready", &[], ""),
        ] {
            let failed = ask(&app, what, headers, body).await;
            assert_eq!(failed.kind(), (status, name.to_owned()), "{what} {kind:?}");
            assert_eq!(failed.problem()["retryable"], retryable);
            let wait = failed.header("retry-after");
            assert_eq!(wait, if kind == Kind::Throttled { "1" } else { "" });
            // Of what only whoever runs the server can act on nothing is told.
            if matches!(status, 403 | 429 | 502 | 504 | 507) || kind == Kind::Corrupt {
                assert!(!failed.text.contains("10.0.0.7"), "{}", failed.text);
            }
        }
        let had = say(&app, "HEAD /a").await;
        assert_eq!((had.status.as_u16(), &had.text[..]), (status, ""));
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_said_with_501() {
    let app = failing(ErrorKind::Timeout, 0);
    let [new, old] = [("if-none-match", "*"), ("if-match", "*")];
    for (what, headers) in [
        ("PUT /a", &[new][..]),
        ("PUT /a", &[old]),
        ("PATCH /a?expires=1", &[]),
    ] {
        let body = if headers.is_empty() { "" } else { "1" };
        let refused = ask(&app, what, headers, body).await;
        assert_eq!(refused.kind(), (501, "unsupported".to_owned()), "{what}");
    }
}

#[tokio::test]
async fn a_listing_that_fails_in_between_says_so_or_is_cut_off() {
    for after in [1, 3, 5000, 20_000] {
        for query in ["", "&limit=30000"] {
            let app = failing(ErrorKind::Unreachable, after);
            let lines = ask(&app, &format!("GET /?prefix={query}"), &[LINES], "").await;
            assert!(lines.is_whole && lines.status == 200);
            // A limit asks again in between, and this store begins anew.
            if query.is_empty() || after < 10_000 {
                assert_eq!(lines.text.lines().count(), after + 1);
            }
            let last: serde_json::Value =
                serde_json::from_str(lines.text.lines().last().unwrap()).unwrap();
            assert_eq!(last["error"]["kind"], "unreachable");
            assert!(!lines.text.contains("10.0.0.7"));

            let object = say(&app, &format!("GET /?prefix={query}")).await;
            assert!(!object.is_whole && object.status == 200);
            assert!(serde_json::from_str::<serde_json::Value>(&object.text).is_err());
        }
    }
}

#[tokio::test]
async fn a_reply_to_many_keys_that_fails_in_between_says_so() {
    let app = failing(ErrorKind::Timeout, 0);
    let keys: Vec<_> = (0..700).map(|n| n.to_string()).collect();
    let keys = serde_json::json!({ "keys": keys }).to_string();
    let got = ask(&app, "POST /_/get", &[JSON, LINES], keys.clone()).await;
    let lines: Vec<_> = got.text.lines().collect();
    assert_eq!(lines.len(), 501);
    assert!(lines[500].starts_with("{\"error\":"), "{}", lines[500]);
    let got = ask(&app, "POST /_/get", &[JSON], keys).await;
    assert!(!got.is_whole);
}

#[tokio::test]
async fn lines_that_the_store_fails_at_are_named_and_may_be_put() {
    let app = failing(ErrorKind::Full, 0);
    let lines: String = (0..700)
        .map(|n| format!("{{\"key\":\"{n}\",\"value\":1}}\n"))
        .collect();
    let failed = ask(&app, "POST /_/set", &[LINES_IN], lines).await;
    assert_eq!(failed.kind(), (507, "full".to_owned()));
    let problem = failed.problem();
    assert_eq!(problem["maybe_applied"], true);
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("the 200 entries up to line 700: "),
        "{detail}"
    );
}

#[tokio::test]
async fn the_wait_that_the_store_asks_for_is_passed_on() {
    struct Busy;
    #[async_trait]
    impl Backend for Busy {
        fn info(&self) -> Info {
            Info::new("busy")
        }
        async fn get(&self, _key: &str) -> Result<Option<Entry>> {
            let wait = Duration::from_millis(2500);
            Err(Error::new(ErrorKind::Throttled, "busy").with_retry_after(wait))
        }
        async fn set(&self, _key: &str, _entry: Entry) -> Result<()> {
            Err(Error::new(ErrorKind::Timeout, "lost").with_maybe_applied())
        }
        async fn del(&self, _key: &str) -> Result<()> {
            Ok(())
        }
        fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
            scan.select([])
        }
    }
    let app = polystore_server::router(kv(Busy).unwrap());
    assert_eq!(say(&app, "GET /a").await.header("retry-after"), "3");
    let lost = ask(&app, "PUT /a", &[], "1").await;
    assert_eq!(lost.problem()["maybe_applied"], true);
}

#[tokio::test]
async fn what_the_store_closed_says_so() {
    let store = kv("memory:").unwrap();
    let app = polystore_server::router(store.clone());
    store.close().await.unwrap();
    for what in ["GET /a", "GET /?prefix=", "GET /_/ready", "GET /_/store"] {
        assert_eq!(
            say(&app, what).await.kind(),
            (503, "closed".to_owned()),
            "{what}"
        );
    }
    assert_eq!(say(&app, "GET /ping").await.status, 200);
}

/// Counts what was taken from it.
struct Endless(Arc<AtomicUsize>);

#[async_trait]
impl Backend for Endless {
    fn info(&self) -> Info {
        Info::new("endless")
    }
    async fn get(&self, _key: &str) -> Result<Option<Entry>> {
        Ok(None)
    }
    async fn set(&self, _key: &str, _entry: Entry) -> Result<()> {
        Ok(())
    }
    async fn del(&self, _key: &str) -> Result<()> {
        Ok(())
    }
    fn scan(&self, _scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let taken = Arc::clone(&self.0);
        let text: Arc<str> = format!("\"{}\"", "x".repeat(1000)).into();
        stream::iter(0_u64..)
            .map(move |n| {
                taken.fetch_add(1, Ordering::Relaxed);
                Ok((
                    n.to_string(),
                    Entry::from_stored(Arc::clone(&text), Expiry::Never),
                ))
            })
            .boxed()
    }
}

#[tokio::test]
async fn no_more_is_read_of_the_store_than_the_client_takes() {
    let taken = Arc::new(AtomicUsize::new(0));
    let app = polystore_server::router(kv(Endless(Arc::clone(&taken))).unwrap());
    for headers in [&[][..], &[LINES]] {
        taken.store(0, Ordering::Relaxed);
        let mut request = Request::get("/?prefix=");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = app
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let mut body = response.into_body();
        let mut read = 0;
        for _ in 0..100 {
            read += body
                .frame()
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap()
                .len();
            let taken = taken.load(Ordering::Relaxed);
            assert!(
                taken * 1000 <= read + (64 << 10),
                "{taken} entries for {read} bytes"
            );
        }
    }
}
