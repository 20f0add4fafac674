//! Stores and origins that fail.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use polystore_http_cache::HttpCache;
use polystore_kv::{Entry, Expiry, Store, kv, lazy};
use tracing::subscriber::DefaultGuard;

use crate::origin::{Origin, client, get, in_memory, reply, send};

/// What this thread logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("nobody panicked").clone()).expect("text")
    }
}

#[tokio::test]
async fn a_store_that_fails_is_in_the_log_and_in_no_reply() {
    let closed = kv("memory:").unwrap();
    closed.close().await.unwrap();
    let never = lazy(|| async { Err::<Store, _>(std::io::Error::other("no store today")) });
    let mut stores = vec![closed, kv(never).unwrap()];
    for url in [
        "redis://ada:password-secret@127.0.0.1:1/?timeout=200ms",
        "postgres://ada:password-secret@127.0.0.1:1/a?timeout=200ms",
        "etcd://127.0.0.1:1?timeout=200ms",
        "http://ada:password-secret@127.0.0.1:1/?polystore.timeout=200ms",
        "sqlite:///dev/null/a.db",
        "level:///dev/null/a",
        "file:///dev/null/a.json",
        "file:///dev/null/a/",
    ] {
        stores.push(kv(url).unwrap());
    }
    let cloudflare = "cloudflare://ada/n?base=http://127.0.0.1:1/&timeout=200ms";
    stores.push(kv(polystore_kv::Cloudflare::new(cloudflare, "token-secret")).unwrap());
    let origin = Origin::counting(&[("cache-control", "max-age=60")]).await;
    for store in stores {
        let (log, _guard) = Log::begin();
        let client = client(HttpCache::new(&store).unwrap());
        let url = origin.url("/path-secret?token=query-secret");
        let before = origin.count();
        for count in 1..=2 {
            let got = send(client.get(&url).header("x-key", "header-secret")).await;
            assert_eq!(
                (got.status, got.text()),
                (200, &*(before + count).to_string()),
                "{}",
                store.kind()
            );
        }
        send(client.put(&url)).await;
        let log = log.text();
        for said in [
            "could not be read",
            "could not be kept",
            "could not be forgotten",
        ] {
            assert!(
                log.contains(said) && log.contains(" WARN "),
                "{}: {log}",
                store.kind()
            );
        }
        assert!(!log.contains("secret"), "{}: {log}", store.kind());
        // Nor the key, by which replies of one URL could be told.
        let is_key =
            |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(
            !log.split(|char: char| !char.is_ascii_alphanumeric())
                .any(is_key),
            "{}: {log}",
            store.kind()
        );
    }
}

#[tokio::test]
async fn what_is_no_reply_is_no_hit_and_is_overwritten() {
    for broken in [
        r#""text""#,
        "{}",
        r#"{"reply/2": {}}"#,
        r#"{"reply/1": {"born": 0, "status": 200, "http": "1.1", "headers": []}}"#,
        r#"{"reply/1": {"born": 0, "status": 99, "http": "1.1", "headers": [], "body": ""}}"#,
        r#"{"reply/1": {"born": 0, "status": 200, "http": "4", "headers": [], "body": ""}}"#,
        r#"{"reply/1": {"born": 0, "status": 200, "http": "1.1", "headers": [["a", "\u0100"]], "body": ""}}"#,
        r#"{"reply/1": {"born": 0, "status": 200, "http": "1.1", "headers": [["a b", ""]], "body": ""}}"#,
        r#"{"reply/1": {"born": 0, "status": 200, "http": "1.1", "headers": [], "body": "!"}}"#,
        r#"{"reply/1": {"born": 18446744073709551615, "status": 200, "http": "1.1", "headers": [], "body": ""}}"#,
        r#"{"variants/1": {"generation": "", "vary": ["a b"], "until": 0}}"#,
    ] {
        let store = kv("memory:").unwrap();
        let origin = Origin::counting(&[("cache-control", "max-age=60")]).await;
        let (client, url) = (client(HttpCache::new(&store).unwrap()), origin.url("/"));
        get(&client, &url).await;
        let key = store.keys().await.unwrap().remove(0);
        let entry = Entry::from_json(broken, Expiry::Never).unwrap();
        store.put(&key, entry).await.unwrap();
        for is_hit in [false, true] {
            let got = get(&client, &url).await;
            assert_eq!((got.text(), got.is_hit()), ("2", is_hit), "{broken}");
        }
    }
}

#[tokio::test]
async fn a_stale_reply_helps_out_if_that_was_said() {
    type Headers = &'static [(&'static str, &'static str)];
    let allowed: Headers = &[
        ("cache-control", "max-age=60, stale-if-error=600"),
        ("age", "100"),
    ];
    let silent: Headers = &[
        ("cache-control", "max-age=60"),
        ("age", "100"),
        ("etag", "\"a\""),
    ];
    let forbidden: Headers = &[
        (
            "cache-control",
            "max-age=60, stale-if-error=600, must-revalidate",
        ),
        ("age", "100"),
        ("etag", "\"a\""),
    ];
    for (headers, helps) in [(allowed, true), (silent, false), (forbidden, false)] {
        for status in [500, 502, 503, 504] {
            let origin = Origin::start(move |seen| match seen.before {
                0 => reply(200, headers, "good"),
                _ => reply(status, &[], "bad"),
            })
            .await;
            let (client, url) = (in_memory(), origin.url("/"));
            get(&client, &url).await;
            let got = get(&client, &url).await;
            let expected = if helps {
                (200, "good")
            } else {
                (status, "bad")
            };
            assert_eq!((got.status, got.text()), expected, "{headers:?}");
            let said = format!("polystore; fwd=stale; fwd-status={status}; detail=stale-if-error");
            assert_eq!(got.cache == said, helps, "{got:?}");
            assert_eq!(origin.count(), 2);
            let head = send(client.head(&url)).await;
            assert_eq!((head.status, head.cache == said), (expected.0, helps));
            assert_eq!((head.text(), origin.count()), ("", 3));
        }
        let mut origin = Origin::start(move |_| reply(200, headers, "good")).await;
        let (client, url) = (in_memory(), origin.url("/"));
        get(&client, &url).await;
        origin.stop().await;
        for request in [client.get(&url), client.head(&url)] {
            assert_eq!(request.try_clone().unwrap().send().await.is_ok(), helps);
            if helps {
                let said = "polystore; fwd=stale; detail=stale-if-error";
                assert_eq!(send(request).await.cache, said);
            }
        }
    }
}

#[tokio::test]
async fn a_request_may_say_that_it_takes_a_stale_reply_when_the_origin_fails() {
    let mut origin = Origin::counting(&[
        ("cache-control", "max-age=60"),
        ("age", "100"),
        ("etag", "\"a\""),
    ])
    .await;
    let (client, url) = (in_memory(), origin.url("/"));
    get(&client, &url).await;
    origin.stop().await;
    client.get(&url).send().await.unwrap_err();
    let wanted = client
        .get(&url)
        .header("cache-control", "stale-if-error=600");
    assert_eq!(send(wanted).await.text(), "1");
}

#[tokio::test]
async fn a_store_that_is_back_is_used_again() {
    let Some(redis) = polystore_servers::Redis::start() else {
        return;
    };
    let origin = Origin::counting(&[("cache-control", "max-age=600")]).await;
    let store = kv(redis.url_with("timeout=2s")).unwrap();
    let (client, url) = (client(HttpCache::new(&store).unwrap()), origin.url("/"));
    get(&client, &url).await;
    assert!(get(&client, &url).await.is_hit());
    redis.kill();
    assert_eq!(get(&client, &url).await.text(), "2");
    redis.start_again();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !get(&client, &url).await.is_hit() {
        assert!(Instant::now() < deadline, "the store is back");
    }
}
