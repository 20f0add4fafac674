//! What fails says why, and never whose session it was.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod backends;

use std::error::Error as _;
use std::fs;

use polystore_kv::{Cloudflare, Store, kv};
use polystore_servers::{Cloudflare as Workerd, Etcd, Postgres, Redis};
use polystore_tower_sessions::Sessions;
use time::{Duration, OffsetDateTime};
use tower_sessions::session::{Id, Record};
use tower_sessions::{ExpiredDeletion, SessionStore, session_store};

/// What is said of a server that is not there, the latter when the time is over before the next attempt.
const DOWN: [&str; 2] = ["refused", "has not answered"];

/// Every call is an error of the store with one of `causes` in it, and no error has the id: neither the text that tower-sessions gets,
/// nor any of the causes that it is made of.
async fn says_why_and_not_whose(store: &Store, causes: &[&str]) {
    let sessions = Sessions::new(store.prefix("session:")).expect("it is a store");
    let id = Id::default();
    let key = id.to_string();
    let mut record = Record {
        id,
        data: [("password".to_owned(), "hunter2".into())].into(),
        expiry_date: OffsetDateTime::now_utc() + Duration::HOUR,
    };
    let failures = [
        ("load", sessions.load(&id).await.err()),
        ("save", sessions.save(&record).await.err()),
        ("create", sessions.create(&mut record).await.err()),
        ("delete", sessions.delete(&id).await.err()),
        ("delete_expired", sessions.delete_expired().await.err()),
    ];
    for (call, error) in failures {
        // Cloudflare has nothing to delete.
        let Some(error) = error else {
            assert_eq!(call, "delete_expired");
            continue;
        };
        let (session_store::Error::Backend(text) | session_store::Error::Decode(text)) = &error
        else {
            panic!("{call}: {error:?}");
        };
        let said = format!("{error}\n{error:?}");
        println!("{call}: {error}");
        assert!(text.starts_with(&*store.kind()), "{call}: {said}");
        let has_cause = causes.iter().any(|cause| said.contains(cause));
        assert!(has_cause, "{call}: {causes:?}: {said}");
        assert!(
            !said.contains(&key) && !said.contains("hunter2"),
            "{call}: {said}"
        );
    }
    let prefixed = store.prefix("session:");
    let failures = [
        prefixed.get::<u32>(&key).await.err(),
        prefixed.set(&key, &1).await.err(),
        prefixed.insert(&key, &1).await.err(),
        prefixed.del(&key).await.err(),
    ];
    for error in failures.into_iter().flatten() {
        let mut cause = error.source();
        while let Some(error) = cause {
            let said = format!("{error} {error:?}");
            assert!(!said.contains(&key), "{said}");
            cause = error.source();
        }
        let said = format!("{0} {0:?}", error.without_key());
        assert!(!said.contains(&key), "{said}");
    }
}

#[tokio::test]
async fn of_a_store_that_was_closed() {
    let store = kv("memory:").unwrap();
    store.close().await.unwrap();
    says_why_and_not_whose(&store, &["closed"]).await;
}

#[tokio::test]
async fn of_files_that_are_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    fs::write(&path, "this is neither a folder nor a database").unwrap();
    let path = path.display();
    for (url, cause) in [
        (format!("file:{path}/sessions.json"), "taken"),
        (format!("file:{path}/"), "Not a directory"),
        (format!("sqlite:{path}"), "not a database"),
        (format!("level:{path}"), "taken"),
    ] {
        says_why_and_not_whose(&kv(url).unwrap(), &[cause]).await;
    }
}

#[tokio::test]
async fn of_a_json_file_that_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.json");
    fs::write(&path, "{").unwrap();
    let store = kv(path.as_path()).unwrap();
    let error = Sessions::new(&store).unwrap().load(&Id::default()).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, session_store::Error::Decode(_)),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_redis_that_is_down_or_refuses() {
    let lines = ["user reader on >secret ~other:* +@all"];
    let Some(redis) = Redis::with(&lines) else {
        return;
    };
    let refuses = kv(redis.url_as("reader", "secret")).unwrap();
    says_why_and_not_whose(&refuses, &["NOPERM"]).await;
    redis.kill();
    let down = kv(redis.url_with("timeout=200ms")).unwrap();
    says_why_and_not_whose(&down, &DOWN).await;
}

/// One such value is not the store's failure: it is nobody's session.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_value_in_redis_that_is_something_else_nobody_has_an_error() {
    let Some(redis) = Redis::start() else { return };
    let sessions = Sessions::new(redis.url()).unwrap();
    let [list, text] = [Id::default(), Id::default()];
    redis.command(&["LPUSH", &list.to_string(), "hunter2"]);
    redis.command(&["SET", &text.to_string(), "\u{1}hunter2, as no JSON is"]);
    for id in [list, text] {
        assert_eq!(sessions.load(&id).await.unwrap(), None);
    }
}

/// Not one entry, but the table of all: that is no empty session.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_table_that_is_not_as_it_was() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let sessions = Sessions::new(postgres.url_with("table=sessions")).unwrap();
    let id = Id::default();
    assert_eq!(sessions.load(&id).await.unwrap(), None);
    postgres.sql("ALTER TABLE sessions DROP COLUMN value");
    let error = sessions.load(&id).await.unwrap_err();
    assert!(
        matches!(error, session_store::Error::Decode(_)),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_postgres_that_is_down_or_refuses() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    postgres.sql("CREATE VIEW sessions AS SELECT 'a'::text AS id, 'b'::text AS value");
    let refuses = kv(postgres.url_with("table=sessions")).unwrap();
    says_why_and_not_whose(&refuses, &["sessions"]).await;
    postgres.kill();
    let down = kv(postgres.url_with("timeout=200ms")).unwrap();
    says_why_and_not_whose(&down, &DOWN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_etcd_that_is_down_or_refuses() {
    let Some(etcd) = Etcd::start() else { return };
    etcd.enable_auth("secret");
    let refuses = kv(etcd.url()).unwrap();
    says_why_and_not_whose(&refuses, &["user"]).await;
    etcd.kill();
    let down = kv(etcd.url_with("timeout=300ms")).unwrap();
    says_why_and_not_whose(&down, &DOWN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_server_over_http_that_is_down_or_refuses() {
    use axum::Router;
    use axum::extract::Request;
    use axum::http::StatusCode;

    // The worst that a server can do: it repeats what it was asked.
    let echo = async |request: Request| {
        let asked = format!("{} {}", request.method(), request.uri());
        (StatusCode::INTERNAL_SERVER_ERROR, asked)
    };
    let url = backends::served(Router::new().fallback(echo)).await;
    let echoes = kv(format!("{url}?polystore.timeout=500ms")).unwrap();
    says_why_and_not_whose(&echoes, &["500"]).await;
    let down = kv("http://127.0.0.1:9/?polystore.timeout=200ms").unwrap();
    says_why_and_not_whose(&down, &DOWN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_cloudflare_that_is_down_or_refuses() {
    let Some(server) = Workerd::start() else {
        return;
    };
    let refuses = Cloudflare::new(server.url(0), "another token");
    says_why_and_not_whose(&kv(refuses).unwrap(), &["cloudflare"]).await;
    server.stop();
    let down = Cloudflare::new(server.url_with(0, "timeout=200ms"), Workerd::TOKEN);
    says_why_and_not_whose(&kv(down).unwrap(), &DOWN).await;
}

/// A store of somebody's own may name the key wherever it likes.
#[tokio::test]
async fn of_a_store_that_talks() {
    use polystore_kv::backend::{Backend, BoxStream, Info, Scan, async_trait};
    use polystore_kv::{Entry, Error, ErrorKind, Result};

    struct Talks;

    fn says(key: &str) -> Error {
        Error::new(ErrorKind::Unreachable, format!("no {key}"))
            .with_source(Error::new(ErrorKind::Denied, format!("go away with {key}")))
    }

    #[async_trait]
    impl Backend for Talks {
        fn info(&self) -> Info {
            Info::new("talks")
        }
        async fn get(&self, key: &str) -> Result<Option<Entry>> {
            Err(says(key))
        }
        async fn set(&self, key: &str, _: Entry) -> Result<()> {
            Err(says(key))
        }
        async fn del(&self, key: &str) -> Result<()> {
            Err(says(key))
        }
        fn scan(&self, _: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
            Box::pin(futures_util::stream::empty())
        }
    }
    let sessions = Sessions::new(Talks).unwrap();
    let id = Id::default();
    let error = sessions.load(&id).await.unwrap_err().to_string();
    assert_eq!(error, "talks: get: no …: go away with …");
}

#[tokio::test]
async fn debug_shows_neither_ids_nor_data() {
    let sessions = Sessions::default();
    let mut record = Record {
        id: Id::default(),
        data: [("password".to_owned(), "hunter2".into())].into(),
        expiry_date: OffsetDateTime::now_utc() + Duration::HOUR,
    };
    sessions.create(&mut record).await.unwrap();
    let said = format!("{sessions:?} {sessions:#?}");
    assert!(said.contains("memory"), "{said}");
    for secret in [&*record.id.to_string(), &record.id.0.to_string(), "hunter2"] {
        assert!(!said.contains(secret), "{said}");
    }
}
