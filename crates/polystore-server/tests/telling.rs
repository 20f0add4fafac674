//! What operators are told: logs, metrics, whether the store is there.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use common::ask;
use http::Request;
use http_body_util::BodyExt;
use polystore_kv::backend::{Backend, BoxStream, Info, Scan, async_trait};
use polystore_kv::{Entry, Error, ErrorKind, Expiry, Result, kv};
use polystore_server::Server;
use tower::ServiceExt;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_request_is_one_line_without_key_value_or_token() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let tokens = "SECRET-token-0123456789 read-write SECRET\n"
        .parse()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = kv(&*format!("file:{}/", folder.path().display())).unwrap();
    let app = Server::new(store).tokens(tokens).path_tokens().router();
    let token = ("authorization", "Bearer SECRET-token-0123456789");
    let asked = [
        ("PUT /SECRET1?expires=60", "\"SECRET\"", "operation=\"set\""),
        ("GET /SECRET1", "", "operation=\"get\""),
        ("GET /SECRET2", "", "operation=\"get\""),
        ("PUT /SECRET1", "{SECRET", "operation=\"set\""),
        ("GET /?prefix=SECRET", "", "operation=\"list\""),
        (
            "POST /_/set",
            "{\"SECRET3\":\"SECRET\"}",
            "operation=\"set_many\"",
        ),
        (
            "POST /_/get",
            "{\"keys\":[\"SECRET3\",\"other\"]}",
            "operation=\"get_many\"",
        ),
        (
            "GET /_/t/SECRET-token-0123456789/SECRET1",
            "",
            "operation=\"get\"",
        ),
        ("GET /SECRET/SECRET", "", "operation=\"other\""),
    ];
    for (what, body, operation) in asked {
        let reply = ask(&app, what, &[token, JSON], body).await;
        let text = log.text();
        let line = text
            .lines()
            .rfind(|line| line.contains("operation="))
            .unwrap();
        let status = format!("status={}", reply.status.as_u16());
        for part in [operation, "backend=\"folder\"", &status, "micros="] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    let wrong = ("x-api-key", "SECRET-wrong-0123456789");
    ask(&app, "GET /SECRET1", &[wrong], "").await;
    let text = log.text();
    let lines = text
        .lines()
        .filter(|line| line.contains("operation="))
        .count();
    assert_eq!(lines, asked.len() + 1, "{text}");
    assert!(!text.contains("SECRET"), "{text}");
}

/// The numbers by name and labels, or what is not in the format.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    let mut types = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(
                types.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{line}"
            );
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, number) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap();
        for label in labels.split(',').filter(|it| !it.is_empty()) {
            let (name, value) = label.split_once('=').unwrap();
            assert!(name.bytes().all(|it| it.is_ascii_lowercase()), "{line}");
            assert!(
                value.len() > 2 && value.starts_with('"') && value.ends_with('"'),
                "{line}"
            );
        }
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end).filter(|it| types.contains_key(*it)));
        let family = family.unwrap_or(name);
        let kind = types.get(family).map(String::as_str);
        assert!(
            matches!(kind, Some("counter" | "gauge" | "histogram")),
            "{line}"
        );
        let number = number.parse().unwrap();
        assert!(
            numbers.insert(series.to_owned(), number).is_none(),
            "{line}"
        );
    }
    numbers
}

#[tokio::test]
async fn metrics_count_what_was_answered() {
    let app = Server::new(kv("memory:").unwrap()).router();
    for what in [
        "PUT /a",
        "PUT /a",
        "GET /a",
        "GET /b",
        "GET /?prefix=",
        "PATCH /b?expires=1",
        "GET /x/y",
    ] {
        let body = if what.starts_with("PUT") { "1" } else { "" };
        ask(&app, what, &[], body).await;
    }
    let told = ask(&app, "GET /_/metrics", &[], "").await;
    assert_eq!(
        told.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let numbers = parsed(&told.text);
    let requests = |operation: &str, status: u16| {
        let name =
            format!("polystore_requests_total{{operation=\"{operation}\",status=\"{status}\"}}");
        numbers.get(&name).copied()
    };
    assert_eq!(requests("set", 200), Some(2.0));
    assert_eq!(requests("get", 200), Some(1.0));
    assert_eq!(requests("get", 404), Some(1.0));
    assert_eq!(requests("list", 200), Some(1.0));
    assert_eq!(requests("other", 400), Some(1.0));
    assert_eq!(requests("del", 200), None);
    assert_eq!(
        numbers[r#"polystore_errors_total{operation="touch",kind="not_found"}"#],
        1.0
    );
    assert_eq!(numbers["polystore_requests_in_flight"], 1.0);
    let duration = "polystore_request_duration_seconds";
    assert_eq!(
        numbers[&format!("{duration}_count{{operation=\"set\"}}")],
        2.0
    );
    assert!(numbers[&format!("{duration}_sum{{operation=\"set\"}}")] > 0.0);
    let mut last = 0.0;
    for end in ["0.0001", "0.001", "0.01", "0.1", "1", "10", "+Inf"] {
        let count = numbers[&format!("{duration}_bucket{{operation=\"set\",le=\"{end}\"}}")];
        assert!(count >= last);
        last = count;
    }
    assert_eq!(last, 2.0);
}

#[cfg(unix)]
#[tokio::test]
async fn it_is_ready_while_its_redis_answers() {
    let Some(redis) = polystore_servers::Redis::start() else {
        return;
    };
    let app = Server::new(kv(&*redis.url()).unwrap()).router();
    let ready = async || ask(&app, "GET /_/ready", &[], "").await;
    assert_eq!(ready().await.status, 200);
    assert!(
        redis.command(&["DBSIZE"]).contains('0'),
        "something was written"
    );
    redis.pause();
    let asked = Instant::now();
    let reply = ready().await;
    assert_eq!(reply.status, 504, "{}", reply.text);
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "{:?}",
        asked.elapsed()
    );
    redis.resume();
    common::eventually("it answers again", async || ready().await.status == 200).await;
    redis.kill();
    let reply = ready().await;
    assert!(matches!(reply.status.as_u16(), 502 | 504), "{}", reply.text);
    assert!(reply.text.contains(r#""retryable":true"#), "{}", reply.text);
    redis.start_again();
    common::eventually("it answers again", async || ready().await.status == 200).await;
}

/// Entries, and then no more of them.
struct Breaking;

#[async_trait]
impl Backend for Breaking {
    fn info(&self) -> Info {
        Info::new("breaking")
    }
    async fn get(&self, _key: &str) -> Result<Option<Entry>> {
        Err(Error::new(ErrorKind::Unreachable, "gone"))
    }
    async fn set(&self, _key: &str, _entry: Entry) -> Result<()> {
        Ok(())
    }
    async fn del(&self, _key: &str) -> Result<()> {
        Ok(())
    }
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        match &*keys[0] {
            "0" => Ok(vec![
                Some(Entry::from_stored("1", Expiry::Never));
                keys.len()
            ]),
            _ => Err(Error::new(ErrorKind::Unreachable, "gone")),
        }
    }
    fn scan(&self, _scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let entry = Ok(("a".to_owned(), Entry::from_stored("1", Expiry::Never)));
        let error = Err(Error::new(ErrorKind::Unreachable, "gone"));
        Box::pin(futures_util::stream::iter([entry, error]))
    }
}

#[tokio::test]
async fn a_list_that_fails_after_it_has_begun_is_counted_and_logged_as_a_failure() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let keys: Vec<_> = (0..700).map(|n| format!("\"{n}\"")).collect();
    let keys = format!("{{\"keys\":[{}]}}", keys.join(","));
    for form in ["application/x-ndjson", "application/json"] {
        let app = Server::new(kv(Breaking).unwrap()).router();
        for (what, body) in [("GET /?prefix=", ""), ("POST /_/get", &*keys)] {
            let (method, path) = what.split_once(' ').unwrap();
            let request = Request::builder().method(method).uri(path);
            let request = request.header("accept", form).header(JSON.0, JSON.1);
            let request = request.body(Body::from(body.to_owned())).unwrap();
            let reply = app.clone().oneshot(request).await.unwrap();
            assert_eq!(reply.status(), 200);
            let _ = reply.into_body().collect().await;
        }
        let told = ask(&app, "GET /_/metrics", &[], "").await;
        let numbers = parsed(&told.text);
        for operation in ["list", "get_many"] {
            let name =
                format!("polystore_errors_total{{operation=\"{operation}\",kind=\"unreachable\"}}");
            assert_eq!(numbers.get(&name), Some(&1.0), "{form} {operation}");
            let text = log.text();
            let operation = format!("operation=\"{operation}\"");
            let line = text.lines().rfind(|line| line.contains(&operation));
            let line = line.unwrap_or_else(|| panic!("{operation} is not in the log"));
            assert!(line.contains("kind=\"unreachable\""), "{line}");
        }
        log.0.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn what_means_nothing_to_a_service_is_refused() {
    let app = Server::new(kv("memory:").unwrap()).router();
    for service in ["store", "ready", "metrics", "openapi.json", ""] {
        let what = format!("GET /_/{service}?limit=1");
        let reply = ask(&app, &what, &[], "").await;
        assert_eq!(reply.status, 400, "{what}: {}", reply.text);
    }
}
